//! What is planned: nobody may notice.

use std::fs;

use anyhow::{Context, ensure};
use mainstay_lab::scenario::Visitors;
use mainstay_site::names::Role;

use super::super::stage::Stage;
use super::orders::{apply, carried_out, declare, order, said, target};
use super::play::Happened;

/// One after the other is taken out and brought back.
pub fn maintain(stage: &mut Stage, _: &Visitors) -> anyhow::Result<Happened> {
    let domain = stage.site.domain.to_string();
    let serves = [Role::Balancer, Role::Web, Role::App, Role::Database];
    let mut happened = Happened::default();
    for server in stage.site.servers.iter().filter(|server| serves.iter().any(|role| server.has(*role))) {
        let name = server.name.as_str();
        happened.orders.push(carried_out(&["maintain", name, "--site", &domain])?);
        happened.orders.push(carried_out(&["maintain", name, "--done", "--site", &domain])?);
    }
    Ok(happened)
}

/// A file of the codebase that a release may change without changing what it does.
const STYLE: &str = "static/style.css";
/// The one that it begins with.
const ENTRY: &str = "guestbook.py";

/// The same code with other files.
pub fn release(stage: &mut Stage, _: &Visitors) -> anyhow::Result<Happened> {
    let (file, before) = (stage.root.join("code").join(STYLE), target(stage)?);
    let text = fs::read_to_string(&file)?;
    fs::write(&file, format!("{text}/* {before} */\n"))?;
    let took = apply(stage)?;
    ensure!(target(stage)? > before, "the release made no generation");
    Ok(Happened { orders: vec![took], ..Happened::default() })
}

/// Code that ends before it serves: what ran goes on, and is what is wanted again.
pub fn broken_release(stage: &mut Stage, _: &Visitors) -> anyhow::Result<Happened> {
    let file = stage.root.join("code").join(ENTRY);
    let text = fs::read_to_string(&file)?;
    fs::write(&file, format!("raise SystemExit('this release is broken')\n{text}"))?;
    let declared = stage.root.join("site.toml").display().to_string();
    let applied = order(&["apply", "--yes", "--wait", &declared]);
    fs::write(&file, text)?;
    let (took, output) = applied?;
    let mut happened = Happened { orders: vec![took], ..Happened::default() };
    if output.status.success() || !said(&output).contains("back to generation") {
        happened.wrong.push(format!("a broken release was not gone back from: {}", said(&output)));
    }
    Ok(happened)
}

/// Another weight, so that the balancers change and nobody else.
pub fn pool(stage: &mut Stage, _: &Visitors) -> anyhow::Result<Happened> {
    weigh(stage)?;
    Ok(Happened { orders: vec![apply(stage)?], ..Happened::default() })
}

/// Declares another weight of a web server than there was.
pub fn weigh(stage: &Stage) -> anyhow::Result<()> {
    let web = stage.site.with_role(Role::Web).next().context("there is no web server")?;
    let address = format!("address = \"{}\"\n", web.address);
    declare(stage, |text| match text.contains("weight = 2\n") {
        true => text.replace("weight = 2\n", "weight = 3\n"),
        false if text.contains("weight = 3\n") => text.replace("weight = 3\n", "weight = 2\n"),
        false => text.replace(&address, &format!("{address}weight = 2\n")),
    })
    .map(drop)
}

/// Declares another number of workers than there was, so that every application server changes.
pub fn staff(stage: &Stage) -> anyhow::Result<()> {
    declare(stage, |text| match text.contains("workers = 3\n") {
        true => text.replace("workers = 3\n", "workers = 2\n"),
        false if text.contains("workers = 2\n") => text.replace("workers = 2\n", "workers = 3\n"),
        false => text.replace("kind = \"wsgi\"\n", "kind = \"wsgi\"\nworkers = 3\n"),
    })
    .map(drop)
}
