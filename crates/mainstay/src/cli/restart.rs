//! `mainstay restart`: new processes, one after the other, and nobody notices.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use mainstay_site::names::{Role, ServerName, ServiceName};
use mainstay_site::wire::{ServiceStatus, State};

use super::apply::fleet::Fleet;
use super::running::Which;
use super::up::{runtime, say};

/// How long one service may take to serve again.
const SERVES_WITHIN: Duration = Duration::from_secs(90);
const LOOK: Duration = Duration::from_millis(50);

/// The tiers whose processes can be exchanged while they serve, from the visitor inwards.
const TIERS: [Role; 4] = [Role::Dns, Role::Balancer, Role::Web, Role::App];

/// Restart the services of a tier, or of the whole site, one after the other
#[derive(clap::Args, Debug)]
#[command(after_help = super::help::RESTART)]
pub struct Args {
    /// One after the other, each once the one before serves
    #[arg(long, required = true)]
    rolling: bool,
    /// Only of this tier
    #[arg(long, value_name = "ROLE")]
    tier: Option<String>,
    #[command(flatten)]
    which: Which,
}

/// Restarts and waits, service by service.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let tiers = match &args.tier {
        None => TIERS.to_vec(),
        Some(word) => vec![
            TIERS
                .into_iter()
                .find(|role| role.as_str() == word)
                .with_context(|| format!("`{word}` is no tier that can be restarted so: dns, balancer, web or app"))?,
        ],
    };
    let running = args.which.running()?;
    let site = running.site.clone();
    let fleet = Fleet::of(running, &site);
    runtime()?.block_on(async {
        let mut restarted = 0;
        for role in tiers {
            for server in site.with_role(role) {
                let status =
                    fleet.client(&server.name)?.status().await.with_context(|| format!("{} is away", server.name))?;
                for service in status.services.iter().filter(|it| it.role == role && it.name.as_str() != "sql") {
                    restart(&fleet, &server.name, service).await?;
                    restarted += 1;
                }
            }
        }
        ensure!(restarted > 0, "no server has a service of that tier");
        Ok(ExitCode::SUCCESS)
    })
}

async fn restart(fleet: &Fleet, server: &ServerName, before: &ServiceStatus) -> anyhow::Result<()> {
    let (client, name, begun) = (fleet.client(server)?, &before.name, Instant::now());
    client.restart(name).await.with_context(|| format!("{server} {name} cannot be restarted"))?;
    loop {
        let now = client.status().await.ok().and_then(|it| find(it.services, name));
        if let Some(now) = &now
            && now.pid != before.pid
            && matches!(now.state, State::Serving | State::Degraded)
        {
            say(&format!("{server} {name} restarted ({:.1} s)", begun.elapsed().as_secs_f64()));
            return Ok(());
        }
        if let Some(now) = now.filter(|it| it.because.contains("cannot be changed")) {
            bail!("{server} {name} goes on as it was: {}", now.because);
        }
        ensure!(begun.elapsed() < SERVES_WITHIN, "{server} {name} does not serve again; the rest was not restarted");
        tokio::time::sleep(LOOK).await;
    }
}

fn find(services: Vec<ServiceStatus>, name: &ServiceName) -> Option<ServiceStatus> {
    services.into_iter().find(|service| service.name == *name)
}
