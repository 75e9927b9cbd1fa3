//! The web server: static files, and everything else to the applications.

use std::path::Path;
use std::sync::Arc;

use mainstay_http::files::Folder;
use mainstay_http::{Cache, CacheSettings, Config, Route};
use mainstay_site::plan;

use crate::door;
use crate::engine::{self, Error, Made, Tier};
use crate::service::{Context, Launch};

/// Serves until the service is asked to end.
///
/// # Errors
/// See [`Error`].
pub fn run(context: Context, _: &plan::Web) -> Result<(), Error> {
    engine::run(context, make)
}

fn make(launch: &Launch, before: Option<&Made>) -> Result<Made, Error> {
    let plan::Config::Web(plan) = &launch.service.config else { return Err(Error::Foreign) };
    let tiers = plan.routes.iter().map(|route| Tier::new(&route.pool, launch, before));
    let tiers = tiers.collect::<Result<Vec<Tier>, Error>>()?;
    let cache = cache(plan, before);
    let route = |(route, tier): (&plan::Route, &Tier)| {
        let folders = route.statics.iter().map(|it| folder(&launch.state, it)).collect::<Result<_, Error>>()?;
        Ok(Route { cache: cache.clone(), ..tier.route(route.host.clone(), &route.prefix, folders) })
    };
    let routes = plan.routes.iter().zip(&tiers).map(route).collect::<Result<Arc<[Route]>, Error>>()?;
    let via = format!("web={}", launch.server);
    let config = Config { via, front: plan.front, routes, limits: engine::limits(plan.front), ..Config::default() };
    let config = door::with(&plan.door, launch, config, before)?;
    Ok(Made { launch: launch.clone(), config, tiers })
}

/// One for all routes: what one application does not need, another has. One of another size begins empty.
fn cache(plan: &plan::Web, before: Option<&Made>) -> Option<Arc<Cache>> {
    let settings = plan.cache?;
    let known =
        before.filter(|made| matches!(&made.launch.service.config, plan::Config::Web(was) if was.cache == plan.cache));
    let known = known.and_then(|made| made.config.routes.iter().find_map(|route| route.cache.clone()));
    Some(known.unwrap_or_else(|| {
        Cache::new(CacheSettings { memory_bytes: settings.memory_bytes, ..CacheSettings::default() })
    }))
}

fn folder(state: &Path, plan: &plan::Static) -> Result<Folder, Error> {
    let path = state.join(&plan.folder);
    let mut folder = Folder::open(&path).map_err(|source| Error::Folder { path, source })?;
    folder.prefix.clone_from(&plan.prefix);
    folder.never.clone_from(&plan.never);
    folder.fall_through = plan.fall_through;
    Ok(folder)
}
