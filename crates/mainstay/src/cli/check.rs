//! `mainstay check`: is the declaration valid, and what is wrong with the design?

use std::ops::Range;
use std::process::ExitCode;

use mainstay_site::declaration::{Diagnostic, Place};
use mainstay_site::findings::{Finding, Group, findings, notices};
use mainstay_site::model::{FORMAT, Site};
use mainstay_site::plan::Notice;
use serde::Serialize;

use super::declaration::{File, Wrong};
use super::exit::{DENIED, INVALID};
use crate::render::{self, Paint, wrap};

/// Check the declaration, and tell what is wrong with the design
#[derive(clap::Args, Debug)]
#[command(after_help = super::help::CHECK)]
pub struct Args {
    #[command(flatten)]
    file: File,
    /// Print JSON, mistakes too
    #[arg(long)]
    json: bool,
    /// End with exit code 4 if there are findings of these groups: spof, security, maintenance, scaling, monitoring
    #[arg(long, value_name = "GROUP,…", value_delimiter = ',', value_parser = group)]
    deny: Vec<Group>,
}

fn group(word: &str) -> Result<Group, String> {
    let words = Group::ALL.map(Group::as_str).join(", ");
    Group::ALL.into_iter().find(|group| group.as_str() == word).ok_or(format!("one of {words}"))
}

/// What `--json` prints.
#[derive(Serialize)]
struct Checked {
    format: u32,
    site: String,
    servers: usize,
    findings: Vec<Finding>,
    notices: Vec<Notice>,
}

/// What `--json` prints of a declaration with mistakes.
#[derive(Serialize)]
struct Refused<'w> {
    format: u32,
    file: &'w str,
    mistakes: Vec<Mistake<'w>>,
}

/// A mistake and its places: from the first character to the one behind the last.
#[derive(Serialize)]
struct Mistake<'w> {
    message: &'w str,
    from: Place,
    to: Place,
    label: &'w str,
    also: Option<Also<'w>>,
    hint: Option<&'w str>,
}

/// The other place that has to do with it.
#[derive(Serialize)]
struct Also<'w> {
    from: Place,
    to: Place,
    label: &'w str,
}

impl<'w> Refused<'w> {
    fn of(wrong: &'w Wrong) -> Refused<'w> {
        let places = |span: &Range<usize>| [span.start, span.end].map(|offset| Place::of(&wrong.text, offset));
        let also = |(span, label): &'w (Range<usize>, String)| {
            let [from, to] = places(span);
            Also { from, to, label }
        };
        let mistake = |it: &'w Diagnostic| {
            let ([from, to], hint) = (places(&it.span), it.hint.as_deref());
            Mistake { message: &it.message, from, to, label: &it.label, also: it.also.as_ref().map(also), hint }
        };
        Refused { format: FORMAT, file: &wrong.file, mistakes: wrong.mistakes.iter().map(mistake).collect() }
    }
}

/// Checks and tells.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    if args.json
        && let Err(wrong) = args.file.read()?
    {
        render::print_json(&Refused::of(&wrong))?;
        return Ok(ExitCode::from(INVALID));
    }
    let site = args.file.load()?.site;
    let checked = Checked {
        format: FORMAT,
        site: site.domain.to_string(),
        servers: site.servers.len(),
        findings: findings(&site),
        notices: notices(&site),
    };
    if args.json {
        render::print_json(&checked)?;
    } else {
        render::print(&told(&site, &checked, &Paint(render::colour(&std::io::stdout()))));
    }
    let denied = checked.findings.iter().any(|finding| args.deny.contains(&finding.group));
    Ok(if denied { ExitCode::from(DENIED) } else { ExitCode::SUCCESS })
}

/// Lines no longer than this are read without turning the head.
const WIDTH: usize = 100;

fn told(site: &Site, checked: &Checked, paint: &Paint) -> String {
    let servers = if checked.servers == 1 { "1 server".to_owned() } else { format!("{} servers", checked.servers) };
    let domain = paint.bold(site.domain.as_str());
    let mut out = format!("{} {domain}: the declaration is valid, {servers}\n", paint.green("✓"));
    if !checked.notices.is_empty() {
        let count = checked.notices.len();
        let things = if count == 1 { "one thing".to_owned() } else { format!("{count} things") };
        let line = format!("{things} it asks for this version does not do yet: see below");
        out.push_str(&format!("{} {}\n", paint.yellow("!"), line));
    }
    for group in Group::ALL {
        let found: Vec<&Finding> = checked.findings.iter().filter(|finding| finding.group == group).collect();
        if found.is_empty() {
            out.push_str(&format!("\n{}  {}\n", paint.bold(group.title()), paint.dim("none")));
            continue;
        }
        out.push_str(&format!("\n{}  {}\n", paint.bold(group.title()), found.len()));
        for finding in found {
            out.push_str(&finding_told(finding, paint));
        }
    }
    if !checked.notices.is_empty() {
        out.push_str(&format!("\n{}\n", paint.bold("Declared, not enforced by this version")));
        for notice in &checked.notices {
            let line = format!("{}: {}", notice.declared, notice.instead);
            out.push_str(&format!("  {} {}\n", paint.yellow("!"), wrap(&line, WIDTH, 4)));
        }
    }
    out
}

fn finding_told(finding: &Finding, paint: &Paint) -> String {
    let line = |label: &str, text: &str| format!("      {} {}\n", paint.dim(label), wrap(text, WIDTH, 14));
    format!(
        "  {} {}  {}\n{}{}",
        paint.red("✗"),
        wrap(&finding.what, WIDTH, 4),
        paint.dim(&finding.id),
        line("so:    ", &finding.consequence),
        line("remedy:", &finding.remedy),
    )
}
