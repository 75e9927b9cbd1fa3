//! One run: callers call, something happens, all is mended.

use std::cell::Cell;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use mainstay_lab::Cable;
use mainstay_lab::scenario::{Callers, Door, Toll, processes, toll};
use mainstay_site::names::{Role, ServerName};
use mainstay_site::wire::vip::{Fitness, State, View, Wish};
use rustix::process::Signal;

use super::super::stage::Stage;
use super::{Act, Outcome, Scenario};

/// Callers call for so long before anything happens, and after all goes on.
const WARM: Duration = Duration::from_millis(1_000);
/// Longer than the address may be away.
const LASTS: Duration = Duration::from_secs(3);
/// Until calls are answered again after a fault.
const GOES_ON: Duration = Duration::from_secs(15);
/// Until every balancer is well and one of them has the address.
const SETTLES: Duration = Duration::from_secs(40);
/// Calls that go on are so many.
const SOME: u64 = 40;
/// Between two looks.
const LOOK: Duration = Duration::from_millis(20);

/// What a scenario plays with.
pub struct Scene<'s> {
    /// The one that has the address, and the other one.
    pub master: ServerName,
    pub other: ServerName,
    pub callers: &'s Callers,
    /// What was before is not counted.
    pub counted_from: Cell<Duration>,
}

/// Plays a scenario once, and the same by keepalived if that is wanted and there is one.
pub fn play(stage: &mut Stage, scenario: &Scenario) -> anyhow::Result<Outcome> {
    let (toll, mut wrong) = once(stage, scenario.act, SETTLES)?;
    if toll.gap > scenario.gap_max {
        let (gap, most) = (toll.gap.as_millis(), scenario.gap_max.as_millis());
        wrong.push(format!("nobody was answered for {gap} ms, and it may be {most}"));
    }
    if scenario.none_fails && toll.failed > 0 {
        wrong.push(format!("{} requests failed", toll.failed));
    }
    let beside = match scenario.beside.filter(|_| super::keepalived::is_there()) {
        Some(act) => Some(once(stage, act, SETTLES)?.0),
        None => None,
    };
    Ok(Outcome { toll, beside, wrong })
}

fn once(stage: &mut Stage, act: Act, patience: Duration) -> anyhow::Result<(Toll, Vec<String>)> {
    let master = settle(stage, patience)?;
    let other = balancers(stage).into_iter().find(|it| *it != master).context("there is no other balancer")?;
    let door = Door {
        namespace: stage.internet()?,
        address: SocketAddr::new(address(stage)?, stage.site.ports.http),
        host: stage.site.domain.to_string(),
    };
    let callers = Callers::start(door);
    wait(stage, WARM);
    let scene = Scene { master, other, callers: &callers, counted_from: Cell::default() };
    let acted = act(stage, &scene);
    let from = scene.counted_from.get();
    wait(stage, WARM);
    let calls = callers.end()?;
    let mut wrong = acted?;
    wrong.extend(settle(stage, patience).err().map(|error| format!("{error:#}")));
    Ok((toll(&calls, from), wrong))
}

pub fn power_off(stage: &mut Stage, scene: &Scene<'_>) -> anyhow::Result<Vec<String>> {
    stage.lab()?.black_out(&scene.master)?;
    goes_on(stage, scene)?;
    wait(stage, LASTS);
    stage.lab()?.power_on_again(&scene.master)?;
    Ok(moved(stage, scene))
}

pub fn kill_proxy(stage: &mut Stage, scene: &Scene<'_>) -> anyhow::Result<Vec<String>> {
    signal(stage, &scene.master, "balancer", Signal::KILL)?;
    goes_on(stage, scene)?;
    Ok(stayed(stage, scene))
}

pub fn kill_vip(stage: &mut Stage, scene: &Scene<'_>) -> anyhow::Result<Vec<String>> {
    signal(stage, &scene.master, "vip", Signal::KILL)?;
    goes_on(stage, scene)?;
    wait(stage, LASTS);
    Ok(stayed(stage, scene))
}

pub fn hand_over(stage: &mut Stage, scene: &Scene<'_>) -> anyhow::Result<Vec<String>> {
    wish(stage, &scene.master, Wish::Yield)?;
    goes_on(stage, scene)?;
    wait(stage, LASTS);
    let wrong = moved(stage, scene);
    wish(stage, &scene.master, Wish::Return)?;
    Ok(wrong)
}

pub fn pull_cable(stage: &mut Stage, scene: &Scene<'_>) -> anyhow::Result<Vec<String>> {
    stage.wires()?.cable(&scene.master, Cable::Pulled)?;
    goes_on(stage, scene)?;
    wait(stage, LASTS);
    stage.wires()?.cable(&scene.master, Cable::Plugged)?;
    wait(stage, WARM);
    Ok(moved(stage, scene))
}

pub fn freeze(stage: &mut Stage, scene: &Scene<'_>) -> anyhow::Result<Vec<String>> {
    signal(stage, &scene.master, "vip", Signal::STOP)?;
    wait(stage, Duration::from_secs(2));
    // While it stands still it could not give anything up by itself.
    let mut wrong = moved(stage, scene);
    signal(stage, &scene.master, "vip", Signal::CONT)?;
    goes_on(stage, scene)?;
    wait(stage, WARM);
    wrong.extend(moved(stage, scene));
    Ok(wrong)
}

pub fn split(stage: &mut Stage, scene: &Scene<'_>) -> anyhow::Result<Vec<String>> {
    stage.wires()?.part(std::slice::from_ref(&scene.master), std::slice::from_ref(&scene.other))?;
    wait(stage, LASTS);
    let both = holders(stage)?;
    stage.wires()?.heal()?;
    goes_on(stage, scene)?;
    wait(stage, WARM);
    let mut wrong: Vec<String> = one_has_it(stage).err().map(|error| format!("{error:#}")).into_iter().collect();
    if both.len() != 2 {
        wrong.push(format!("cut off from each other, {both:?} had the address: the scenario shows nothing"));
    }
    Ok(wrong)
}

/// What is wrong if the address has not moved to the other one.
pub fn moved(stage: &Stage, scene: &Scene<'_>) -> Vec<String> {
    is_at(stage, &scene.other)
}

/// What is wrong if the address is not where it was.
pub fn stayed(stage: &Stage, scene: &Scene<'_>) -> Vec<String> {
    is_at(stage, &scene.master)
}

fn is_at(stage: &Stage, server: &ServerName) -> Vec<String> {
    match holders(stage) {
        Ok(holders) if holders == [server.clone()] => Vec::new(),
        Ok(holders) => vec![format!("the address is at {holders:?} and should be at {server}")],
        Err(error) => vec![format!("{error:#}")],
    }
}

fn one_has_it(stage: &Stage) -> anyhow::Result<ServerName> {
    let holders = holders(stage)?;
    ensure!(holders.len() == 1, "the address is at {holders:?}");
    Ok(holders[0].clone())
}

pub fn address(stage: &Stage) -> anyhow::Result<IpAddr> {
    stage.site.public_addresses().first().copied().context("the site has no address")
}

pub fn balancers(stage: &Stage) -> Vec<ServerName> {
    stage.site.with_role(Role::Balancer).map(|server| server.name.clone()).collect()
}

/// The balancers that are on and whose interface has the address, as their kernels say. One that is off has none, whatever is
/// left in its namespace.
pub fn holders(stage: &Stage) -> anyhow::Result<Vec<ServerName>> {
    let wanted = format!("{}/", address(stage)?);
    let mut holders = Vec::new();
    for server in balancers(stage) {
        let namespace = stage.namespace(&server)?;
        let is_on = !processes(&namespace, &["serve"]).is_empty();
        let listed =
            std::process::Command::new("ip").args(["-n", &namespace, "-o", "addr", "show", "eth0"]).output()?;
        if is_on && String::from_utf8_lossy(&listed.stdout).split_whitespace().any(|word| word.starts_with(&wanted)) {
            holders.push(server);
        }
    }
    Ok(holders)
}

/// Waits until every balancer is well and knows where the address is; gives who has it.
fn settle(stage: &Stage, patience: Duration) -> anyhow::Result<ServerName> {
    let begun = Instant::now();
    loop {
        let (unsettled, holder) = (unsettled(stage), one_has_it(stage));
        match (unsettled, holder) {
            (None, Ok(holder)) => return Ok(holder),
            (unsettled, holder) if begun.elapsed() > patience => {
                let holder = holder.err().map(|error| error.to_string());
                bail!("not settled after {} s: {:?} {:?}", patience.as_secs(), unsettled, holder);
            }
            _ => wait(stage, LOOK),
        }
    }
}

fn unsettled(stage: &Stage) -> Option<String> {
    balancers(stage).into_iter().find_map(|server| match wish(stage, &server, Wish::Look) {
        Err(error) => Some(format!("{server}: {error:#}")),
        Ok(view) if view.fitness != Some(Fitness::Fit) || view.away => Some(format!("{server}: {view:?}")),
        Ok(view) => {
            let waits = view.routers.iter().any(|it| !matches!(it.state, State::Master | State::Backup));
            (waits || view.routers.iter().any(|it| it.master.is_none())).then(|| format!("{server}: {view:?}"))
        }
    })
}

pub fn wish(stage: &Stage, server: &ServerName, wish: Wish) -> anyhow::Result<View> {
    Ok(stage.runtime.block_on(stage.control(server).wish_of_vip(wish))?)
}

pub fn signal(stage: &Stage, server: &ServerName, service: &str, signal: Signal) -> anyhow::Result<()> {
    let found = processes(&stage.namespace(server)?, &["service", service]);
    ensure!(!found.is_empty(), "{server} runs no {service}");
    found.iter().for_each(|process| process.signal(signal));
    Ok(())
}

pub fn wait(stage: &Stage, time: Duration) {
    stage.runtime.block_on(async { tokio::time::sleep(time).await });
}

/// Waits until some more calls are answered.
pub fn goes_on(stage: &Stage, scene: &Scene<'_>) -> anyhow::Result<()> {
    let (begun, before) = (Instant::now(), scene.callers.answered());
    while scene.callers.answered() < before + SOME {
        if begun.elapsed() > GOES_ON {
            bail!("nobody is answered for {} s", GOES_ON.as_secs());
        }
        wait(stage, LOOK);
    }
    Ok(())
}
