//! `mainstay upgrade`: another program in the place of the one that runs a site, without a pause.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use mainstay_node::control::Client;
use mainstay_site::wire::ServerStatus;

use super::running::{Running, Which};
use super::up::{runtime, say};

/// How long one server may take: each of its services has half a minute to serve again.
const SERVER_WITHIN: Duration = Duration::from_secs(180);

/// Between two looks at one.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Have a site that is up run the program that its file holds now
#[derive(clap::Args, Debug)]
#[command(after_help = super::help::UPGRADE)]
pub struct Args {
    #[command(flatten)]
    which: Which,
}

/// One server after the other.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let running = args.which.running()?;
    runtime()?.block_on(upgrade(&running))?;
    Ok(ExitCode::SUCCESS)
}

async fn upgrade(running: &Running) -> anyhow::Result<()> {
    for server in &running.site.servers {
        let (client, begun) = (Client::new(running.folder.server(&server.name)), Instant::now());
        let before = client.status().await.with_context(|| format!("{} cannot be upgraded", server.name))?;
        client.upgrade().await.with_context(|| format!("{} cannot be upgraded", server.name))?;
        let after = moved(&client, &before).await.with_context(|| format!("{} was asked to upgrade", server.name))?;
        let took = begun.elapsed().as_secs_f64();
        say(&format!("{} runs {} ({took:.1} s)", server.name, after.version));
    }
    Ok(())
}

/// Waits until another supervisor answers and its services have followed.
async fn moved(client: &Client, before: &ServerStatus) -> anyhow::Result<ServerStatus> {
    let begun = Instant::now();
    loop {
        // Nobody answers while one has gone and the next is not there.
        if let Ok(status) = client.status().await
            && (status.pid, status.since_ms) != (before.pid, before.since_ms)
            && !status.upgrading
        {
            return Ok(status);
        }
        if begun.elapsed() > SERVER_WITHIN {
            bail!("its services have not followed within {} s; `mainstay status` says why", SERVER_WITHIN.as_secs());
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
