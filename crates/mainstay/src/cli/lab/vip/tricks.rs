//! Somebody on the wire who lies.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use mainstay_lab::Cable;
use mainstay_lab::scenario::forger;
use mainstay_site::names::ServerName;

use super::super::patience::wait;
use super::super::stage::Stage;
use super::play::{Scene, goes_on, moved, stayed};

/// Adverts that say what is not so.
const LIES: usize = 200;

/// Adverts of the highest priority, from an address that is believed, without the site's key.
pub fn forged(stage: &mut Stage, scene: &Scene<'_>) -> anyhow::Result<Vec<String>> {
    let (from, to) = (own(stage, &scene.other)?, own(stage, &scene.master)?);
    let before = counters(stage, &scene.master)?;
    let IpAddr::V4(floating) = super::play::address(stage)? else { bail!("the stage's address is of IPv4") };
    let unsigned = forger::claim(floating, from, to);
    // With a seal of the right form and the wrong key.
    let mut forged = unsigned.clone();
    forged.extend(b"MSv1\x03\0\0\0");
    forged.extend([0xff; 8 + 32]);
    let lies: Vec<Vec<u8>> = [unsigned, forged].into_iter().cycle().take(LIES).collect();
    forger::send(&stage.namespace(&scene.other)?, from, to, &lies)?;
    goes_on(scene)?;
    // Figures are published each second.
    wait(Duration::from_millis(2_500));
    let mut wrong = stayed(stage, scene);
    let after = counters(stage, &scene.master)?;
    for name in ["refused_unsigned_total", "refused_forged_total"] {
        let of = |counters: &BTreeMap<String, u64>| counters.get(name).copied().unwrap_or(0);
        let counted = of(&after) - of(&before);
        if counted != LIES as u64 / 2 {
            wrong.push(format!("{counted} of {} are counted as {name}", LIES / 2));
        }
    }
    Ok(wrong)
}

/// As many as a core sends: whoever hears them must read and refuse each, and say in time what it has to say itself.
pub fn storm(stage: &mut Stage, scene: &Scene<'_>) -> anyhow::Result<Vec<String>> {
    const LASTS: Duration = Duration::from_secs(2);
    let (from, to) = (own(stage, &scene.other)?, own(stage, &scene.master)?);
    let IpAddr::V4(floating) = super::play::address(stage)? else { bail!("the stage's address is of IPv4") };
    let namespace = stage.namespace(&scene.other)?;
    let lies = vec![forger::claim(floating, from, to); LIES];
    let (begun, mut sent) = (Instant::now(), 0);
    while begun.elapsed() < LASTS {
        forger::send(&namespace, from, to, &lies)?;
        sent += LIES;
    }
    goes_on(scene)?;
    let mut wrong = stayed(stage, scene);
    if sent < 5_000 {
        wrong.push(format!("{sent} adverts in {LASTS:?} are no storm"));
    }
    Ok(wrong)
}

/// What the one that has the address said, said again once it is off.
pub fn replayed(stage: &mut Stage, scene: &Scene<'_>) -> anyhow::Result<Vec<String>> {
    let (from, to) = (own(stage, &scene.master)?, own(stage, &scene.other)?);
    let said = forger::record(&stage.namespace(&scene.other)?, Duration::from_secs(2))?;
    let namespace = stage.namespace(&scene.master)?;
    let before = counters(stage, &scene.other)?;
    stage.lab()?.black_out(&scene.master)?;
    // The machine is off; its namespace lends us its address and its cable.
    stage.wires()?.cable(&scene.master, Cable::Plugged)?;
    for packet in said.iter().cycle().take(60) {
        forger::send(&namespace, from, to, std::slice::from_ref(packet))?;
        wait(Duration::from_millis(25));
    }
    goes_on(scene)?;
    wait(Duration::from_millis(1_500));
    let mut wrong = moved(stage, scene);
    let after = counters(stage, &scene.other)?;
    let of = |counters: &BTreeMap<String, u64>| counters.get("refused_replayed_total").copied().unwrap_or(0);
    if said.is_empty() || of(&after) - of(&before) != 60 {
        wrong.push(format!("{} of 60 are counted as replayed, of {} recorded", of(&after) - of(&before), said.len()));
    }
    wait(Duration::from_secs(2));
    stage.lab()?.power_on_again(&scene.master)?;
    Ok(wrong)
}

fn own(stage: &Stage, server: &ServerName) -> anyhow::Result<Ipv4Addr> {
    match stage.site.server(server).context("the site has no such server")?.address {
        IpAddr::V4(address) => Ok(address),
        IpAddr::V6(address) => bail!("{address} is of IPv6, and the stage's are of IPv4"),
    }
}

fn counters(stage: &Stage, server: &ServerName) -> anyhow::Result<BTreeMap<String, u64>> {
    let status = stage.runtime.block_on(stage.control(server).status())?;
    let vip = status.services.into_iter().find(|service| service.name.as_str() == "vip");
    Ok(vip.and_then(|service| service.report).with_context(|| format!("{server}: vip says nothing"))?.counters)
}
