//! `mainstay plan`: what every server will run, listen on, write, and talk to.

use std::fmt::Write;
use std::process::ExitCode;

use mainstay_node::release::identify;
use mainstay_site::firewall::Opening;
use mainstay_site::model::Codebase;
use mainstay_site::names::{Generation, ServerName};
use mainstay_site::plan::{Config, Flow, Listen, Plan, Service, derive};

use super::declaration::{Declaration, File};
use crate::render::{self, Paint};

/// Show what every server will run, listen on, write, and talk to
#[derive(clap::Args, Debug)]
#[command(after_help = super::help::PLAN)]
pub struct Args {
    #[command(flatten)]
    file: File,
    /// Only this server
    #[arg(long, value_name = "NAME")]
    server: Option<String>,
    /// Print JSON: one plan per server
    #[arg(long)]
    json: bool,
}

/// Derives and prints the plans.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let declaration = args.file.load()?;
    let mut plans = derive(&declaration.site, &codebases(&declaration)?, Generation(1));
    if let Some(name) = &args.server {
        plans.retain(|plan| plan.server == ServerName(name.clone()));
        let known: Vec<&str> = declaration.site.servers.iter().map(|server| server.name.as_str()).collect();
        anyhow::ensure!(!plans.is_empty(), "there is no server `{name}`; the site has {}", known.join(", "));
    }
    if args.json {
        render::print_json(&plans)?;
    } else {
        let paint = Paint(render::colour(&std::io::stdout()));
        let servers = plans.iter().map(|plan| told(plan, &paint)).collect::<Vec<_>>().join("\n");
        render::print(&format!("{servers}{}", notices(&plans, &paint)));
    }
    Ok(ExitCode::SUCCESS)
}

/// The release that each codebase's contents make.
pub fn codebases(declaration: &Declaration) -> anyhow::Result<Vec<Codebase>> {
    let codebase =
        |app: &mainstay_site::model::App| Ok(Codebase::new(&app.name, &identify(&declaration.folder.join(&app.path))?));
    declaration.site.apps.iter().map(codebase).collect()
}

fn told(plan: &Plan, paint: &Paint) -> String {
    let mut out = format!("{}  {}\n", paint.bold(plan.server.as_str()), plan.address);
    if plan.services.is_empty() {
        out.push_str("  runs nothing yet\n");
    }
    if let Some(open) = &plan.firewall {
        let all: Vec<String> = open.iter().map(Opening::told).collect();
        let shown = if all.is_empty() { vec!["nothing".to_owned()] } else { all };
        lines(&mut out, paint, "opens", shown);
    }
    for service in &plan.services {
        let _ = writeln!(out, "  {:<12} {}", service.name, paint.dim(&format!("user {}", service.user)));
        lines(&mut out, paint, "listens", listens(&plan.server, service));
        lines(&mut out, paint, "talks to", service.talks.iter().map(flow));
        lines(&mut out, paint, "writes", writes(service));
    }
    out
}

/// The same for every server: said once.
fn notices(plans: &[Plan], paint: &Paint) -> String {
    let all = plans.first().map(|plan| plan.notices.as_slice()).unwrap_or_default();
    let mut out = String::new();
    if !all.is_empty() {
        let _ = writeln!(out, "\n{}", paint.bold("Declared, not enforced by this version"));
    }
    for notice in all {
        let _ = writeln!(out, "  {} {}: {}", paint.yellow("!"), notice.declared, notice.instead);
    }
    out
}

fn lines(out: &mut String, paint: &Paint, label: &str, all: impl IntoIterator<Item = String>) {
    for (place, line) in all.into_iter().enumerate() {
        let label = if place == 0 { label } else { "" };
        let _ = writeln!(out, "    {} {line}", paint.dim(&format!("{label:<9}")));
    }
}

/// MariaDB and etcd bind their listeners themselves.
fn listens(server: &ServerName, service: &Service) -> Vec<String> {
    let mut all: Vec<String> = service.listens.iter().map(listen).collect();
    if let Config::Database(database) = &service.config {
        all.push(format!("tcp {}  mysql", database.address));
    }
    if let Config::Store(store) = &service.config
        && let Some(own) = store.member(server)
    {
        all.extend([format!("tcp {}  etcd", own.client), format!("tcp {}  raft", own.peer)]);
    }
    all
}

fn listen(listen: &Listen) -> String {
    let transport = format!("{:?}", listen.transport).to_lowercase();
    let cores = if listen.per_core { ", a socket per core" } else { "" };
    format!("{transport} {}  {}{cores}", listen.address, listen.name)
}

fn flow(flow: &Flow) -> String {
    format!("{} {} at {}  {}", flow.server, flow.service, flow.address, flow.protocol)
}

fn writes(service: &Service) -> Vec<String> {
    let run = format!("run/{}", service.name);
    std::iter::once(run).chain(service.writes.iter().cloned()).collect()
}
