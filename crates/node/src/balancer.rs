//! The balancer: the front door that spreads requests over the web servers.

use mainstay_http::{Config, Route};
use mainstay_site::plan;

use crate::door;
use crate::engine::{self, Error, Made, Tier};
use crate::service::{Context, Launch};

/// Serves until the service is asked to end.
///
/// # Errors
/// See [`Error`].
pub fn run(context: Context, _: &plan::Balancer) -> Result<(), Error> {
    engine::run(context, make)
}

fn make(launch: &Launch, before: Option<&Made>) -> Result<Made, Error> {
    let plan::Config::Balancer(plan) = &launch.service.config else { return Err(Error::Foreign) };
    let tier = Tier::new(&plan.pool, launch, before)?;
    let config = Config {
        via: format!("balancer={}", launch.server),
        front: true,
        routes: [Route { cache: engine::cache(plan.cache.as_ref(), before), ..tier.route(None, "/", Vec::new()) }]
            .into(),
        limits: engine::limits(true),
        ..Config::default()
    };
    let config = door::with(&plan.door, launch, config, before)?;
    Ok(Made { launch: launch.clone(), config, tiers: vec![tier] })
}
