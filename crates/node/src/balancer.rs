//! The balancer: the front door that spreads requests over the web servers.

use mainstay_http::Config;
use mainstay_site::plan;

use crate::door;
use crate::engine::{self, Error, Tier};
use crate::service::Context;

/// Serves until the service is asked to end.
///
/// # Errors
/// See [`Error`].
pub fn run(context: Context, plan: &plan::Balancer) -> Result<(), Error> {
    let tier = Tier::new(&plan.pool, &context.launch.secrets.sticky)?;
    let config = Config {
        via: format!("balancer={}", context.launch.server),
        front: true,
        routes: [tier.route(None, "/", Vec::new())].into(),
        limits: engine::limits(true),
        ..Config::default()
    };
    engine::run(context, door::with(&plan.door, config), vec![tier])
}
