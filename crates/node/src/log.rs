//! How Mainstay's processes log: a JSON object a line, to standard error; in words if that is a terminal.

use std::io::{IsTerminal, stderr};

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::prelude::*;

use crate::platform::log_pipe;

/// The environment variable that sets what is logged: `debug`, or `info,mainstay_http=trace`. `info` if it is absent.
pub const VARIABLE: &str = "MAINSTAY_LOG";

/// Sends everything traced, and every panic, to standard error. To be called once, at the start of the process.
pub fn start() {
    let filter = std::env::var(VARIABLE).ok().and_then(|text| text.parse::<Targets>().ok());
    let filter = filter.unwrap_or_else(|| Targets::new().with_default(LevelFilter::INFO));
    let layer = tracing_subscriber::fmt::layer();
    let lines = match stderr().is_terminal() {
        true => layer.with_target(false).with_writer(|| log_pipe::Writer).boxed(),
        false => layer.json().flatten_event(true).with_writer(|| log_pipe::Writer).boxed(),
    };
    tracing_subscriber::registry().with(lines.with_filter(filter)).init();
    std::panic::set_hook(Box::new(|panic| tracing::error!("{panic}")));
}
