//! One run: callers call, something happens, all is mended.

use std::cell::Cell;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, ensure};
use mainstay_lab::Cable;
use mainstay_lab::scenario::{Callers, Door, Toll, listener, processes, toll};
use mainstay_site::names::{Role, ServerName};
use mainstay_site::wire::vip::{Fitness, State, View, Wish};
use rustix::process::Signal;

use super::super::patience::{until, wait};
use super::super::stage::Stage;
use super::{Act, MayFail, Outcome, Scenario, mended, moments};

/// Callers call for so long before anything happens, and after all goes on.
const WARM: Duration = Duration::from_millis(1_000);
/// Longer than the address may be away.
pub const LASTS: Duration = Duration::from_secs(3);
/// Until calls are answered again after a fault.
const GOES_ON: Duration = Duration::from_secs(15);
/// Until every balancer is well and one of them has the address.
const SETTLES: Duration = Duration::from_secs(40);
/// Until a master is heard: three intervals of the slowest cluster that is played, a second each.
const ADVERTISES: Duration = Duration::from_secs(3);
/// Calls that go on are so many.
const SOME: u64 = 40;

/// What a scenario plays with.
pub struct Scene<'s> {
    /// The one that has the address, and the other one.
    pub master: ServerName,
    pub other: ServerName,
    pub callers: &'s Callers,
    /// What was before is not counted.
    pub counted_from: Cell<Duration>,
    /// Nor what comes after.
    pub counted_to: Cell<Option<Duration>>,
    /// A power cut comes so much of an interval after an advert.
    pub moment: f64,
}

/// Plays a scenario once, and the same by keepalived if that is wanted and there is one: before us or after.
pub fn play(stage: &mut Stage, scenario: &Scenario, moment: f64, before: bool) -> anyhow::Result<Outcome> {
    let beside = scenario.beside.filter(|_| super::keepalived::is_there());
    let by_keepalived = |stage: &mut Stage, turn: bool| match beside.filter(|_| turn) {
        Some(act) => compared(stage, act, moment).map(Some),
        None => Ok(None),
    };
    let earlier = by_keepalived(stage, before)?;
    let ours =
        if beside.is_some() { compared(stage, scenario.act, moment) } else { once(stage, scenario.act, moment) }?;
    let later = by_keepalived(stage, !before)?;
    let Run { mut toll, soon, calm, warm, mut wrong, failed } = ours;
    let most = if scenario.short { scenario.gap_max.max(calm) } else { scenario.gap_max };
    if scenario.short {
        (toll.gap, toll.gap_from, toll.gap_kept) = (soon.gap, soon.gap_from, soon.gap_kept);
    }
    if toll.gap > most {
        let (gap, most) = (toll.gap.as_millis(), most.as_millis());
        let after = toll.gap_from.saturating_sub(warm).as_millis();
        wrong.push(format!("nobody was answered for {gap} ms, {after} ms after it began, and it may be {most}"));
    }
    let failed = failed.map(|because| format!(", the first: {because}")).unwrap_or_default();
    if scenario.may_fail == MayFail::Nobodys && toll.failed > 0 {
        wrong.push(format!("{} requests failed{failed}", toll.failed));
    }
    if scenario.may_fail == MayFail::UnderWay && toll.refused > 0 {
        wrong.push(format!("{} connections were refused", toll.refused));
    }
    let beside = earlier.or(later).map(|beside| {
        wrong.extend(beside.wrong.into_iter().map(|wrong| format!("keepalived: {wrong}")));
        beside.toll
    });
    Ok(Outcome { moment, toll, calm, beside, wrong })
}

/// What one run showed.
struct Run {
    toll: Toll,
    /// The same of what was asked in the second in which it happened.
    soon: Toll,
    /// The longest gap before anything happened.
    calm: Duration,
    /// When it happened, on the callers' clock.
    warm: Duration,
    wrong: Vec<String>,
    /// Why the first request failed that did.
    failed: Option<String>,
}

/// With the address where it is first in every run: the one that takes it over has the same priority then.
fn compared(stage: &mut Stage, act: Act, moment: f64) -> anyhow::Result<Run> {
    let (holder, first) = (settle(stage, SETTLES)?, balancers(stage).swap_remove(0));
    if holder != first {
        wish(stage, &holder, Wish::Yield)?;
        until(SETTLES, || Ok(is_at(stage, &first).pop()))?;
        wish(stage, &holder, Wish::Return)?;
    }
    once(stage, act, moment)
}

fn once(stage: &mut Stage, act: Act, moment: f64) -> anyhow::Result<Run> {
    let master = settle(stage, SETTLES)?;
    let other = balancers(stage).into_iter().find(|it| *it != master).context("there is no other balancer")?;
    let callers = Callers::start(door(stage)?);
    wait(WARM);
    let warm = callers.now();
    let (counted_from, counted_to) = (Cell::default(), Cell::default());
    let scene = Scene { master, other, callers: &callers, counted_from, counted_to, moment };
    let acted = act(stage, &scene);
    let (from, to) = (scene.counted_from.get(), scene.counted_to.get());
    wait(WARM);
    let calls = callers.end()?;
    let mut wrong = acted?;
    wrong.extend(settle(stage, SETTLES).err().map(|error| format!("{error:#}")));
    let counted = from..to.unwrap_or(Duration::MAX);
    let first = calls.iter().filter(|call| counted.contains(&call.sent)).find_map(|call| call.failed.as_ref());
    let failed = first.map(|failed| failed.because.clone());
    let soon = toll(&calls, warm..warm + WARM);
    Ok(Run { toll: toll(&calls, counted), soon, calm: toll(&calls, ..warm).gap, warm, wrong, failed })
}

/// Where visitors come.
pub fn door(stage: &Stage) -> anyhow::Result<Door> {
    Ok(Door {
        namespace: stage.internet()?,
        address: SocketAddr::new(address(stage)?, stage.site.ports.http),
        host: stage.site.domain.to_string(),
    })
}

/// Takes the master's power at the moment that was drawn.
pub fn cut(stage: &mut Stage, scene: &Scene<'_>) -> anyhow::Result<()> {
    let master = stage.site.server(&scene.master).context("the site has no such server")?.address;
    let interval = stage.site.cluster().context("the site has no cluster")?.interval;
    let namespace = stage.namespace(&scene.other)?;
    let advert = listener::next_advert(&namespace, master, ADVERTISES)?;
    wait(moments::of(interval, scene.moment).saturating_sub(advert.elapsed()));
    stage.lab()?.black_out(&scene.master)
}

pub fn power_off(stage: &mut Stage, scene: &Scene<'_>) -> anyhow::Result<Vec<String>> {
    cut(stage, scene)?;
    goes_on(scene)?;
    wait(LASTS);
    stage.lab()?.power_on_again(&scene.master)?;
    Ok(moved(stage, scene))
}

pub fn kill_proxy(stage: &mut Stage, scene: &Scene<'_>) -> anyhow::Result<Vec<String>> {
    /// Somebody who dies again within seconds is given a pause ([`mainstay_machines::backoff`]); each run is about the first time.
    const WELL_AFTER: Duration = Duration::from_millis(5_200);
    wait(WELL_AFTER);
    stage.signal(&scene.master, &["service", "balancer"], Signal::KILL)?;
    goes_on(scene)?;
    Ok(stayed(stage, scene))
}

pub fn kill_vip(stage: &mut Stage, scene: &Scene<'_>) -> anyhow::Result<Vec<String>> {
    stage.signal(&scene.master, &["service", "vip"], Signal::KILL)?;
    goes_on(scene)?;
    wait(LASTS);
    Ok(stayed(stage, scene))
}

pub fn kill_supervisor(stage: &mut Stage, scene: &Scene<'_>) -> anyhow::Result<Vec<String>> {
    let namespace = stage.namespace(&scene.master)?;
    // Process 1 was started with the supervisor's command line behind its own.
    let first = processes(&namespace, &["init", "--mount-proc"]);
    let found = processes(&namespace, &["serve", "--server"]).into_iter().filter(|found| !first.contains(found));
    let found: Vec<_> = found.collect();
    ensure!(found.len() == 1, "{} has {} supervisors", scene.master, found.len());
    found.iter().for_each(|process| process.signal(Signal::KILL));
    goes_on(scene)?;
    wait(LASTS);
    let mut wrong = stayed(stage, scene);
    // Whatever its predecessor had prepared, the successor can do too.
    wrong.extend(mended::hand_over(stage, scene)?);
    Ok(wrong)
}

pub fn pull_cable(stage: &mut Stage, scene: &Scene<'_>) -> anyhow::Result<Vec<String>> {
    stage.wires()?.cable(&scene.master, Cable::Pulled)?;
    goes_on(scene)?;
    wait(LASTS);
    stage.wires()?.cable(&scene.master, Cable::Plugged)?;
    wait(WARM);
    Ok(moved(stage, scene))
}

pub fn freeze(stage: &mut Stage, scene: &Scene<'_>) -> anyhow::Result<Vec<String>> {
    stage.signal(&scene.master, &["service", "vip"], Signal::STOP)?;
    wait(Duration::from_secs(2));
    // While it stands still it could not give anything up by itself.
    let mut wrong = moved(stage, scene);
    stage.signal(&scene.master, &["service", "vip"], Signal::CONT)?;
    goes_on(scene)?;
    wait(WARM);
    wrong.extend(moved(stage, scene));
    Ok(wrong)
}

pub fn split(stage: &mut Stage, scene: &Scene<'_>) -> anyhow::Result<Vec<String>> {
    stage.wires()?.part(std::slice::from_ref(&scene.master), std::slice::from_ref(&scene.other))?;
    wait(LASTS);
    let both = holders(stage)?;
    stage.wires()?.heal()?;
    goes_on(scene)?;
    wait(WARM);
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
    let amiss = || unsettled(stage).or_else(|| one_has_it(stage).err().map(|error| format!("{error:#}")));
    until(patience, || Ok(amiss()))?;
    one_has_it(stage)
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

/// Waits until some more calls are answered.
pub fn goes_on(scene: &Scene<'_>) -> anyhow::Result<()> {
    let before = scene.callers.answered();
    until(GOES_ON, || Ok((scene.callers.answered() < before + SOME).then(|| "nobody is answered".into())))
}
