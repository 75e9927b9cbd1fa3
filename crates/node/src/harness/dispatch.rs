//! Which module does the work of which service.

use mainstay_site::plan::Config;

use crate::service::Context;
use crate::{app, balancer, cache, database, dns, etcd, hook, sql, vip, web};

/// Why a service ended without being asked.
pub(super) type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Runs the service until it is asked to end.
pub(super) fn run(context: Context) -> Result<(), Failure> {
    let config = context.launch.service.config.clone();
    match &config {
        Config::Dns(config) => Ok(dns::run(context, config)?),
        Config::Balancer(config) => Ok(balancer::run(context, config)?),
        Config::Web(config) => Ok(web::run(context, config)?),
        Config::App(config) => Ok(app::run(context, config)?),
        Config::Sql(config) => Ok(sql::run(context, config)?),
        Config::Database(config) => Ok(database::run(context, config)?),
        Config::Store(config) => Ok(etcd::run(context, config)?),
        Config::Vip(config) => Ok(vip::run(context, config)?),
        Config::Hook(config) => Ok(hook::run(context, config)?),
        Config::Cache(config) => Ok(cache::run(context, config)?),
    }
}
