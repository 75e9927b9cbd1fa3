//! `mainstay draw`: the site as a picture.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::ValueEnum;
use mainstay_site::draw;
use mainstay_site::model::Site;

use super::declaration::File;
use crate::render;

/// Draw the site: tiers, servers, protocols, single points of failure
#[derive(clap::Args, Debug)]
#[command(after_help = super::help::DRAW)]
pub struct Args {
    #[command(flatten)]
    file: File,
    /// The format; without it what the ending of --output says, else text
    #[arg(long, value_enum, value_name = "FORMAT")]
    format: Option<Format>,
    /// Write to this file instead of standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// How the picture is written.
#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
pub enum Format {
    /// For wikis and browsers; light and dark
    Svg,
    /// For Markdown that draws Mermaid, such as GitHub's
    Mermaid,
    /// For terminals
    Text,
}

impl Format {
    fn of(path: &Path) -> Option<Format> {
        match path.extension()?.to_str()? {
            "svg" => Some(Format::Svg),
            "mmd" | "mermaid" => Some(Format::Mermaid),
            _ => None,
        }
    }

    fn draw(self, site: &Site) -> String {
        match self {
            Format::Svg => draw::svg(site, None),
            Format::Mermaid => draw::mermaid(site),
            Format::Text => draw::text(site),
        }
    }
}

/// Draws and writes.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let site = args.file.load()?.site;
    let format = args.format.or_else(|| Format::of(args.output.as_ref()?)).unwrap_or(Format::Text);
    let picture = format.draw(&site);
    match &args.output {
        None => render::print(&picture),
        Some(path) => std::fs::write(path, picture).with_context(|| {
            format!("cannot write the drawing to `{}`; name another file with --output", path.display())
        })?,
    }
    Ok(ExitCode::SUCCESS)
}
