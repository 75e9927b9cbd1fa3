//! Scenarios of the floating address: visitors call while something happens to the balancer that has it.

mod keepalived;
mod play;
mod row;
mod tricks;

use std::time::Duration;

use anyhow::Context;
use mainstay_lab::scenario::Toll;

use self::row::Row;
use super::stage::Stage;
use crate::cli::up::say;
use crate::render;

/// A scenario.
pub struct Scenario {
    name: &'static str,
    about: &'static str,
    /// What is declared of the cluster besides its address.
    declares: &'static str,
    /// The longest time for which nobody may be answered.
    gap_max: Duration,
    /// Whether nobody at all may fail.
    none_fails: bool,
    /// What happens; gives what is wrong besides.
    act: Act,
    /// Played by keepalived too, for comparison.
    beside: Option<Act>,
}

type Act = fn(&mut Stage, &play::Scene<'_>) -> anyhow::Result<Vec<String>>;

/// What a run showed.
#[derive(Debug)]
pub struct Outcome {
    toll: Toll,
    beside: Option<Toll>,
    wrong: Vec<String>,
}

const DECLARATION: &str = r#"
format = 1
[site]
domain = "DOMAIN"
[app]
path = "code"
kind = "http"
command = "exec python3 -m http.server --bind $HOST $PORT"
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

/// Three intervals and a skew, with what two busy cores and the callers' own clocks add.
const fn after(interval_ms: u64) -> Duration {
    Duration::from_millis(interval_ms * 4 + 150)
}

const PLAIN: Scenario = Scenario {
    name: "",
    about: "",
    declares: "",
    gap_max: after(250),
    none_fails: false,
    act: play::power_off,
    beside: None,
};

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
        gap_max: after(1_000),
        beside: Some(keepalived::power_off),
        ..PLAIN
    },
    Scenario {
        name: "vip-power-off-300ms",
        about: "the same with adverts each 0.3 s",
        declares: ", interval = \"300ms\"",
        gap_max: after(300),
        beside: Some(keepalived::power_off),
        ..PLAIN
    },
    Scenario {
        name: "vip-power-off-100ms",
        about: "the same with adverts each 0.1 s",
        declares: ", interval = \"100ms\"",
        gap_max: after(100),
        beside: Some(keepalived::power_off),
        ..PLAIN
    },
    Scenario {
        name: "vip-kill-proxy",
        about: "kill -9 of the proxy behind the address",
        gap_max: Duration::from_millis(300),
        act: play::kill_proxy,
        ..PLAIN
    },
    Scenario {
        name: "vip-kill-vip",
        about: "kill -9 of the service that speaks for the address",
        gap_max: Duration::from_millis(100),
        none_fails: true,
        act: play::kill_vip,
        ..PLAIN
    },
    Scenario {
        name: "vip-hand-over",
        about: "an operator has the address handed over",
        gap_max: Duration::from_millis(100),
        act: play::hand_over,
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
        none_fails: true,
        act: tricks::forged,
        ..PLAIN
    },
    Scenario {
        name: "vip-replayed",
        about: "what the balancer said is said again after it was powered off; the other one takes over all the same",
        act: tricks::replayed,
        ..PLAIN
    },
    Scenario {
        name: "vip-keepalived-backup",
        about: "keepalived stands behind us, and takes over when we are powered off",
        declares: ", signed = false",
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

/// Whether it is one of these.
pub fn is_one(name: &str) -> bool {
    SCENARIOS.iter().any(|scenario| scenario.name == name)
}

/// Runs those that are named, a line each; whether what is promised was kept in all.
pub fn run(wanted: &[String], runs: u32, json: bool) -> anyhow::Result<bool> {
    if !json {
        render::print(&row::head());
    }
    let mut well = true;
    let mut raised: Option<(&str, Stage)> = None;
    for scenario in wanted.iter().filter_map(|name| SCENARIOS.iter().find(|scenario| scenario.name == *name)) {
        // One after the other: they would have the same name.
        if raised.as_ref().is_some_and(|(declares, _)| *declares != scenario.declares) {
            drop(raised.take());
        }
        let (_, stage) = match &mut raised {
            Some(raised) => raised,
            none => none.insert((scenario.declares, raise(scenario.declares)?)),
        };
        let outcomes = repeat(stage, scenario, runs)?;
        let row = Row::new(scenario.name, &outcomes);
        well &= row.is_well();
        if json { render::print_json(&row)? } else { render::print(&row::line(&row)) }
    }
    Ok(well)
}

fn raise(declares: &str) -> anyhow::Result<Stage> {
    let lay = |code: &std::path::Path| {
        std::fs::create_dir_all(code)?;
        std::fs::write(code.join("index.html"), "somebody is here\n")
    };
    Stage::of("c-vip", &DECLARATION.replace("CLUSTER", declares), lay)
}

fn repeat(stage: &mut Stage, scenario: &Scenario, runs: u32) -> anyhow::Result<Vec<Outcome>> {
    (1..=runs)
        .map(|number| {
            let run = play::play(stage, scenario).with_context(|| format!("{}, run {number}", scenario.name))?;
            let Toll { asked, failed, gap, gap_kept } = run.toll;
            let beside =
                run.beside.map(|it| format!("; keepalived: gap {} ms, {} failed", it.gap.as_millis(), it.failed));
            say(&format!(
                "{} {number}/{runs}: gap {} ms, {} ms on the kept connection, {asked} requests, {failed} failed{}",
                scenario.name,
                gap.as_millis(),
                gap_kept.as_millis(),
                beside.unwrap_or_default()
            ));
            run.wrong.iter().take(8).for_each(|wrong| say(&format!("  {wrong}")));
            Ok(run)
        })
        .collect()
}
