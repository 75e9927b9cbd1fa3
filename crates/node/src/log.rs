//! How Mainstay's processes log: a JSON object a line, to standard error.

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::prelude::*;

use crate::platform::log_pipe;

/// The environment variable that sets what is logged: `debug`, or `info,mainstay_http=trace`. `info` if it is absent.
pub const VARIABLE: &str = "MAINSTAY_LOG";

/// Sends everything traced, and every panic, to standard error. To be called once, at the start of the process.
pub fn start() {
    let filter = std::env::var(VARIABLE).ok().and_then(|text| text.parse::<Targets>().ok());
    let filter = filter.unwrap_or_else(|| Targets::new().with_default(LevelFilter::INFO));
    let lines = tracing_subscriber::fmt::layer().json().flatten_event(true).with_writer(|| log_pipe::Writer);
    tracing_subscriber::registry().with(lines.with_filter(filter)).init();
    std::panic::set_hook(Box::new(|panic| tracing::error!("{panic}")));
}
