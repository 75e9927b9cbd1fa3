//! `mainstay schema`: the JSON Schema of the declaration.

use std::process::ExitCode;

use crate::render;

/// Print the JSON Schema of the declaration, for editors
#[derive(clap::Args, Debug)]
#[command(after_help = super::help::SCHEMA)]
pub struct Args {}

/// Prints it.
pub fn run(_: Args) -> anyhow::Result<ExitCode> {
    render::print_json(&mainstay_site::declaration::schema())?;
    Ok(ExitCode::SUCCESS)
}
