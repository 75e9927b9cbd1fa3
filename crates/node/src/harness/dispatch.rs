//! Which module does the work of which service.

use mainstay_site::plan::Config;

use crate::service::Context;
use crate::{app, database, dns, sql};

/// Why a service ended without being asked.
pub(super) type Failure = Box<dyn std::error::Error + Send + Sync>;

/// A service that is planned and that this build cannot run.
#[derive(Debug, thiserror::Error)]
#[error("this build has no {service} service yet: install a newer mainstay, or take the role {role} from the server")]
struct Missing {
    service: &'static str,
    role: mainstay_site::names::Role,
}

/// Runs the service until it is asked to end.
pub(super) fn run(context: Context) -> Result<(), Failure> {
    let role = context.launch.service.role;
    let config = context.launch.service.config.clone();
    let missing = |service| Err(Missing { service, role }.into());
    match &config {
        Config::Dns(config) => Ok(dns::run(context, config)?),
        Config::Balancer(_) => missing("balancer"),
        Config::Web(_) => missing("web"),
        Config::App(config) => Ok(app::run(context, config)?),
        Config::Sql(config) => Ok(sql::run(context, config)?),
        Config::Database(config) => Ok(database::run(context, config)?),
    }
}
