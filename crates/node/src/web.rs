//! The web server: static files, and everything else to the applications.

use std::path::Path;
use std::sync::Arc;

use mainstay_http::files::Folder;
use mainstay_http::{Config, Route};
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
    let (tiers, of) = tiers(&plan.routes, launch, before)?;
    let cache = engine::cache(plan.cache.as_ref(), before);
    let route = |(route, tier): (&plan::Route, &usize)| {
        let folders = route.statics.iter().map(|it| folder(&launch.state, it)).collect::<Result<_, Error>>()?;
        Ok(Route { cache: cache.clone(), ..tiers[*tier].route(route.host.clone(), &route.prefix, folders) })
    };
    let routes = plan.routes.iter().zip(&of).map(route).collect::<Result<Arc<[Route]>, Error>>()?;
    let via = format!("web={}", launch.server);
    let config = Config { via, front: plan.front, routes, limits: engine::limits(plan.front), ..Config::default() };
    let config = door::with(&plan.door, launch, config, before)?;
    Ok(Made { launch: launch.clone(), config, tiers })
}

/// A tier for each pool, and of each route which: a folder beside an application's route has its application's pool, which
/// is checked and reported once.
fn tiers(routes: &[plan::Route], launch: &Launch, before: Option<&Made>) -> Result<(Vec<Tier>, Vec<usize>), Error> {
    let (mut pools, mut of): (Vec<&plan::Pool>, Vec<usize>) = (Vec::new(), Vec::new());
    for route in routes {
        let known = pools.iter().position(|pool| **pool == route.pool);
        of.push(known.unwrap_or(pools.len()));
        if known.is_none() {
            pools.push(&route.pool);
        }
    }
    let tiers = pools.into_iter().map(|pool| Tier::new(pool, launch, before)).collect::<Result<_, Error>>()?;
    Ok((tiers, of))
}

fn folder(state: &Path, plan: &plan::Static) -> Result<Folder, Error> {
    let path = state.join(&plan.folder);
    let open = |path: std::path::PathBuf| Folder::open(&path).map_err(|source| Error::Folder { path, source });
    let mut folder = open(path)?;
    if let Some(before) = &plan.before {
        let mut before = open(state.join(before))?;
        before.never.clone_from(&plan.never);
        folder.before = Some(Box::new(before));
    }
    folder.prefix.clone_from(&plan.prefix);
    folder.never.clone_from(&plan.never);
    folder.fall_through = plan.fall_through;
    folder.fallback.clone_from(&plan.fallback);
    folder.cache_control = plan.cache_control.as_deref().map(Arc::from);
    Ok(folder)
}
