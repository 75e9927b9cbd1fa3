//! Servers that lose their power.

use std::time::Duration;

use anyhow::{Context, ensure};
use mainstay_lab::scenario::{Moment, Visitors};
use mainstay_site::names::{Role, ServerName};
use rustix::process::Signal;

use super::super::patience::wait;
use super::super::site::goes_on;
use super::super::stage::Stage;
use super::super::vip::holders;
use super::play::{Broke, Happened};

/// Longer than others need to take the place of one that is gone.
const OFF: Duration = Duration::from_secs(5);

/// The one that has the address: nobody is there until another one has it.
pub fn balancer_off(stage: &mut Stage, visitors: &Visitors) -> anyhow::Result<Happened> {
    let holders = holders(stage)?;
    ensure!(holders.len() == 1, "the address is at {holders:?}");
    let moment = off(stage, visitors, &holders[0])?;
    Ok(Happened { broke: Some(Broke::From(moment)), ..Happened::default() })
}

pub fn web_off(stage: &mut Stage, visitors: &Visitors) -> anyhow::Result<Happened> {
    one_off(stage, visitors, Role::Web)
}

pub fn app_off(stage: &mut Stage, visitors: &Visitors) -> anyhow::Result<Happened> {
    one_off(stage, visitors, Role::App)
}

/// The first of several: others are there at once.
fn one_off(stage: &mut Stage, visitors: &Visitors, role: Role) -> anyhow::Result<Happened> {
    let server = first(stage, role)?;
    let moment = off(stage, visitors, &server)?;
    Ok(Happened { broke: Some(Broke::During(moment)), ..Happened::default() })
}

/// Off, and on again when others have served for a while; when it went off.
fn off(stage: &mut Stage, visitors: &Visitors, server: &ServerName) -> anyhow::Result<Moment> {
    let from = visitors.now();
    stage.lab()?.black_out(server)?;
    let moment = Moment { from, to: visitors.now() };
    goes_on(visitors)?;
    wait(OFF);
    stage.lab()?.power_on_again(server)?;
    Ok(moment)
}

pub fn first(stage: &Stage, role: Role) -> anyhow::Result<ServerName> {
    let server = stage.site.with_role(role).next();
    Ok(server.with_context(|| format!("there is no {role} server"))?.name.clone())
}

/// The cache's server: it says nothing any more. Nobody at all may be failed, whatever was under way.
pub fn cache_off(stage: &mut Stage, visitors: &Visitors) -> anyhow::Result<Happened> {
    let server = first(stage, Role::Cache)?;
    off(stage, visitors, &server).map(|_| Happened::default())
}

/// Redis alone, which is started anew and empty.
pub fn cache_killed(stage: &mut Stage, visitors: &Visitors) -> anyhow::Result<Happened> {
    redis(stage, visitors, &[Signal::KILL])
}

/// Redis stands still for a while: it takes connections and answers nobody.
pub fn cache_frozen(stage: &mut Stage, visitors: &Visitors) -> anyhow::Result<Happened> {
    redis(stage, visitors, &[Signal::STOP, Signal::CONT])
}

/// Sends Redis one signal after the other. Nobody at all may be failed here either.
fn redis(stage: &Stage, visitors: &Visitors, signals: &[Signal]) -> anyhow::Result<Happened> {
    let server = first(stage, Role::Cache)?;
    for signal in signals {
        stage.signal(&server, &["redis-server"], *signal)?;
        goes_on(visitors)?;
        wait(OFF);
    }
    Ok(Happened::default())
}
