//! The web server: static files, and everything else to the applications.

use std::path::Path;
use std::sync::Arc;

use mainstay_http::files::Folder;
use mainstay_http::{Cache, CacheSettings, Config, Route};
use mainstay_site::plan;

use crate::door;
use crate::engine::{self, Error, Tier};
use crate::service::Context;

/// Serves until the service is asked to end.
///
/// # Errors
/// See [`Error`].
pub fn run(context: Context, plan: &plan::Web) -> Result<(), Error> {
    let key = &context.launch.secrets.sticky;
    let tiers = plan.routes.iter().map(|route| Tier::new(&route.pool, key)).collect::<Result<Vec<Tier>, Error>>()?;
    // One for all routes: what one application does not need, another has.
    let cache = plan
        .cache
        .map(|cache| Cache::new(CacheSettings { memory_bytes: cache.memory_bytes, ..CacheSettings::default() }));
    let route = |(route, tier): (&plan::Route, &Tier)| {
        let folders = route.statics.iter().map(|it| folder(&context.launch.state, it)).collect::<Result<_, Error>>()?;
        Ok(Route { cache: cache.clone(), ..tier.route(route.host.clone(), &route.prefix, folders) })
    };
    let routes = plan.routes.iter().zip(&tiers).map(route).collect::<Result<Arc<[Route]>, Error>>()?;
    let via = format!("web={}", context.launch.server);
    let config = Config { via, front: plan.front, routes, limits: engine::limits(plan.front), ..Config::default() };
    engine::run(context, door::with(&plan.door, config), tiers)
}

fn folder(state: &Path, plan: &plan::Static) -> Result<Folder, Error> {
    let path = state.join(&plan.folder);
    let mut folder = Folder::open(&path).map_err(|source| Error::Folder { path, source })?;
    folder.prefix.clone_from(&plan.prefix);
    folder.never.clone_from(&plan.never);
    folder.fall_through = plan.fall_through;
    Ok(folder)
}
