//! Scenarios of the floating address: visitors call while something happens to the balancer that has it.

mod keepalived;
mod mended;
mod moments;
mod play;
mod row;
mod tricks;

use std::fmt;
use std::time::Duration;

use mainstay_lab::scenario::{Callers, Toll};

pub use self::play::holders;
use self::row::Row;
use super::patience::wait;
use super::scenario::Asked;
use super::stage::Stage;
use super::table::{Played, repeat, table};
use crate::cli::up::say;

/// A scenario.
pub struct Scenario {
    name: &'static str,
    about: &'static str,
    /// What is declared of the cluster besides its address.
    declares: &'static str,
    /// The longest time for which nobody may be answered.
    gap_max: Duration,
    /// Whether the gap is over within a second: then it is held against the longest gap of the second before, since two busy
    /// cores may be away for longer than is promised without anything having happened.
    short: bool,
    /// Whose request may fail.
    may_fail: MayFail,
    /// Whether all addresses are of IPv6.
    six: bool,
    /// What happens; gives what is wrong besides.
    act: Act,
    /// Played by keepalived too, for comparison.
    beside: Option<Act>,
}

/// Whose request may fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum MayFail {
    /// Whatever was under way, and what was sent to who is gone.
    Anybodys,
    /// What was under way; whoever comes finds somebody who listens.
    UnderWay,
    /// Nobody's.
    Nobodys,
}

type Act = fn(&mut Stage, &play::Scene<'_>) -> anyhow::Result<Vec<String>>;

/// What a run showed.
#[derive(Debug)]
pub struct Outcome {
    /// When it happened, as a part of the time between two adverts.
    moment: f64,
    toll: Toll,
    /// The longest time between two answers in the second before anything happened: what the machine adds by itself.
    calm: Duration,
    beside: Option<Toll>,
    wrong: Vec<String>,
}

impl Played for Outcome {
    fn complaints(&self) -> impl Iterator<Item = &String> {
        self.wrong.iter()
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Toll { asked, failed, gap, gap_kept, .. } = &self.toll;
        write!(
            f,
            "moment {:.3}: gap {} ms (calm {}), {} ms on the kept connection, {asked} requests, {failed} failed",
            self.moment,
            gap.as_millis(),
            self.calm.as_millis(),
            gap_kept.as_millis()
        )?;
        let beside = self.beside.as_ref().map(|it| (it.gap.as_millis(), it.failed));
        beside.map_or(Ok(()), |(gap, failed)| write!(f, "; keepalived: gap {gap} ms, {failed} failed"))
    }
}

/// What callers ask for comes from the web server: an application of Python, on two cores that do other things too, would be what they
/// measure.
const DECLARATION: &str = r#"
format = 1
[site]
domain = "DOMAIN"
[app]
path = "code"
kind = "http"
command = "exec python3 -m http.server --bind $HOST $PORT"
route = "/app/"
[web]
static = { "/" = "page" }
[balancer]
cluster = { address = "10.80.0.100" CLUSTER }
[servers.lb1]
address = "10.80.0.11"
roles = ["balancer"]
[servers.lb2]
address = "10.80.0.12"
roles = ["balancer"]
[servers.web1]
address = "10.80.0.21"
roles = ["web", "app"]
"#;

/// The priorities of the second balancer, and of keepalived where it stands behind ours.
const SECOND: u64 = 204;
const STRANGER: u64 = 100;

/// Three intervals and the skew of who takes over (RFC 9568 § 6.1), with what two busy cores and the callers' own clocks add.
const fn after(interval_ms: u64, priority: u64) -> Duration {
    Duration::from_millis(interval_ms * 3 + interval_ms * (256 - priority) / 256 + 150)
}

const PLAIN: Scenario = Scenario {
    name: "",
    about: "",
    declares: "",
    gap_max: after(250, SECOND),
    short: false,
    may_fail: MayFail::Anybodys,
    six: false,
    act: play::power_off,
    beside: None,
};

/// Callers call so long before anything is counted.
const FIRST: Duration = Duration::from_secs(3);

/// Every scenario.
const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "vip-power-off",
        about: "the balancer that has the address is powered off (adverts each 0.25 s, as is usual); keepalived beside it",
        beside: Some(keepalived::power_off),
        ..PLAIN
    },
    Scenario {
        name: "vip-power-off-1s",
        about: "the same with adverts each second",
        declares: ", interval = \"1s\"",
        gap_max: after(1_000, SECOND),
        beside: Some(keepalived::power_off),
        ..PLAIN
    },
    Scenario {
        name: "vip-power-off-300ms",
        about: "the same with adverts each 0.3 s",
        declares: ", interval = \"300ms\"",
        gap_max: after(300, SECOND),
        beside: Some(keepalived::power_off),
        ..PLAIN
    },
    Scenario {
        name: "vip-power-off-100ms",
        about: "the same with adverts each 0.1 s",
        declares: ", interval = \"100ms\"",
        gap_max: after(100, SECOND),
        beside: Some(keepalived::power_off),
        ..PLAIN
    },
    Scenario {
        name: "vip-kill-proxy",
        about: "kill -9 of the proxy behind the address; nobody is refused",
        gap_max: Duration::from_millis(300),
        may_fail: MayFail::UnderWay,
        act: play::kill_proxy,
        ..PLAIN
    },
    Scenario {
        name: "vip-kill-vip",
        about: "kill -9 of the service that speaks for the address",
        gap_max: Duration::from_millis(100),
        may_fail: MayFail::Nobodys,
        act: play::kill_vip,
        ..PLAIN
    },
    Scenario {
        name: "vip-kill-supervisor",
        about: "kill -9 of the supervisor that holds the address; its successor goes on, and a hand-over breaks nothing",
        gap_max: Duration::from_millis(100),
        may_fail: MayFail::Nobodys,
        act: play::kill_supervisor,
        ..PLAIN
    },
    Scenario {
        name: "vip-hand-over",
        about: "an operator has the address handed over; connections are answered to their end",
        gap_max: Duration::from_millis(20),
        short: true,
        may_fail: MayFail::Nobodys,
        act: mended::hand_over,
        ..PLAIN
    },
    Scenario {
        name: "vip-there-and-back",
        about: "the address is handed over and back within a second, with connections from before",
        gap_max: Duration::from_millis(20),
        short: true,
        may_fail: MayFail::Nobodys,
        act: mended::there_and_back,
        ..PLAIN
    },
    Scenario {
        name: "vip-strays",
        about: "a connection to a balancer that was powered off is reset by its heir, and does not hang",
        act: mended::strays,
        ..PLAIN
    },
    Scenario {
        name: "vip-pull-cable",
        about: "the cable of the balancer that has the address is pulled, and put back",
        act: play::pull_cable,
        ..PLAIN
    },
    Scenario {
        name: "vip-freeze",
        about: "the service that speaks for the address is stopped for two seconds, then goes on",
        act: play::freeze,
        ..PLAIN
    },
    Scenario {
        name: "vip-split",
        about: "the balancers are cut off from each other for three seconds, then healed: one has the address, and it is found",
        act: play::split,
        ..PLAIN
    },
    Scenario {
        name: "vip-forged",
        about: "somebody says with the highest priority that he has the address; nobody believes it",
        gap_max: Duration::from_millis(100),
        may_fail: MayFail::Nobodys,
        act: tricks::forged,
        ..PLAIN
    },
    Scenario {
        name: "vip-storm",
        about: "adverts that nobody signed, as many as a core sends, for two seconds; the address stays and is answered at",
        gap_max: Duration::from_millis(250),
        may_fail: MayFail::Nobodys,
        act: tricks::storm,
        ..PLAIN
    },
    Scenario {
        name: "vip-replayed",
        about: "what the balancer said is said again after it was powered off; the other one takes over all the same",
        act: tricks::replayed,
        ..PLAIN
    },
    Scenario {
        name: "vip-multicast",
        about: "power cut, with adverts to the standard's group",
        declares: ", multicast = true",
        ..PLAIN
    },
    Scenario { name: "vip-six", about: "power cut, all over IPv6", six: true, ..PLAIN },
    Scenario {
        name: "vip-six-hand-over",
        about: "hand-over, all over IPv6",
        gap_max: Duration::from_millis(20),
        short: true,
        may_fail: MayFail::Nobodys,
        six: true,
        act: mended::hand_over,
        ..PLAIN
    },
    Scenario {
        name: "vip-six-multicast",
        about: "power cut over IPv6, with adverts to the standard's group",
        declares: ", multicast = true",
        six: true,
        ..PLAIN
    },
    Scenario {
        name: "vip-keepalived-backup",
        about: "keepalived stands behind us, and takes over when we are powered off",
        declares: ", signed = false",
        gap_max: after(250, STRANGER),
        act: keepalived::as_backup,
        ..PLAIN
    },
    Scenario {
        name: "vip-keepalived-master",
        about: "we stand behind keepalived, and take over when it is killed",
        declares: ", signed = false",
        act: keepalived::as_master,
        ..PLAIN
    },
];

/// Names and what they are.
pub fn names() -> impl Iterator<Item = (&'static str, &'static str)> {
    SCENARIOS.iter().map(|scenario| (scenario.name, scenario.about))
}

/// Runs those that are named, a line each; whether what is promised was kept in all.
pub fn run(wanted: &[String], asked: Asked) -> anyhow::Result<bool> {
    let mut raised: Option<((&str, bool), Stage)> = None;
    let wanted = wanted.iter().filter_map(|name| SCENARIOS.iter().find(|scenario| scenario.name == *name));
    let wanted: Vec<&Scenario> = wanted.collect();
    say(&format!("moments of power cuts are drawn with --seed {}", asked.seed));
    if wanted.iter().any(|scenario| scenario.beside.is_some()) && !keepalived::is_there() {
        say("there is no keepalived to compare with: `bin/keepalived` unpacks Debian's, and says how to name it");
    }
    table(&row::head(), wanted.into_iter(), asked.json, |scenario| {
        // One after the other: they would have the same name.
        let wanted = (scenario.declares, scenario.six);
        if raised.as_ref().is_some_and(|(is, _)| *is != wanted) {
            drop(raised.take());
        }
        let (_, stage) = match &mut raised {
            Some(raised) => raised,
            none => none.insert((wanted, raise(wanted)?)),
        };
        let moments = moments::drawn(asked.seed, asked.runs);
        // Whoever is compared has the first turn in every other run.
        let play =
            |stage: &mut Stage, number| play::play(stage, scenario, moments[number as usize - 1], number % 2 == 0);
        Ok(Row::new(scenario.name, asked.seed, &repeat(stage, scenario.name, asked.runs, play)?))
    })
}

fn raise((declares, six): (&str, bool)) -> anyhow::Result<Stage> {
    let lay = |code: &std::path::Path| {
        std::fs::create_dir_all(code.join("page"))?;
        std::fs::write(code.join("page/index.html"), "somebody is here\n")
    };
    let declared = DECLARATION.replace("CLUSTER", declares);
    let declared = if six { declared.replace("10.80.0.", "fd00:80::") } else { declared };
    let stage = Stage::of("vip", &declared, lay)?;
    // The first requests of a site's life wait for what is read from the disk.
    let callers = Callers::start(play::door(&stage)?);
    wait(FIRST);
    callers.end()?;
    Ok(stage)
}
