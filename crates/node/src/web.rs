//! The web server: static files, and everything else to the applications.

use mainstay_http::{Config, Limits, Route};
use mainstay_site::plan;

use crate::engine::{self, Error, Tier};
use crate::service::Context;

/// Serves until the service is asked to end.
///
/// # Errors
/// See [`Error`].
pub fn run(context: Context, plan: &plan::Web) -> Result<(), Error> {
    let tiers: Vec<Tier> = plan.routes.iter().map(|route| Tier::new(&route.pool)).collect();
    let routes: Vec<Route> =
        plan.routes.iter().zip(&tiers).map(|(route, tier)| tier.route(route.host.clone(), &route.prefix)).collect();
    let via = format!("web={}", context.launch.server);
    engine::run(context, Config { via, front: plan.front, routes, limits: Limits::default() }, tiers)
}
