//! `mainstay maintain`: a server is taken out of service without a visitor noticing, and brought back.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use mainstay_site::model::Site;
use mainstay_site::names::{Role, ServerName};
use mainstay_site::wire::vip;

use super::apply::enact::{Change, How, enact};
use super::apply::fleet::Fleet;
use super::db::ask::{Databases, agreed, primary};
use super::db::order;
use super::running::Which;
use super::up::{runtime, say};

/// Between two looks.
const LOOK: Duration = Duration::from_millis(50);

/// Take a server out of service, or bring it back
#[derive(clap::Args, Debug)]
#[command(after_help = super::help::MAINTAIN)]
pub struct Args {
    /// Which server
    #[arg(value_name = "SERVER")]
    server: String,
    /// The maintenance is over: it is asked again
    #[arg(long)]
    done: bool,
    /// The site's domain; may be left out when only one is up
    #[arg(long, value_name = "SITE")]
    site: Option<String>,
}

/// Hands over what the server has, then has nobody ask it any more.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let server = ServerName(args.server);
    let running = Which::named(args.site).running()?;
    let (site, domain) = (running.site.clone(), running.site.domain.clone());
    let fleet = Fleet::of(running, &site);
    runtime()?.block_on(async {
        let now = fleet.now().await?;
        let mut site = now.site.clone();
        let names: Vec<&str> = now.site.servers.iter().map(|server| server.name.as_str()).collect();
        let known = site.servers.iter_mut().find(|known| known.name == server);
        let known =
            known.with_context(|| format!("there is no server `{server}`; the site has {}", names.join(", ")))?;
        known.maintained = !args.done;
        if !args.done {
            alone(&now.site, &server)?;
            hand_over_primary(domain.as_str(), &now.site, &server).await?;
        }
        let what = if args.done { format!("{server} is back") } else { format!("maintain {server}") };
        let change = Change { site, codebases: now.codebases.clone(), what, retreats: false, source: None };
        let how = How { yes: true, wait: true, dry_run: false, timeout: 120 };
        let code = enact(&fleet, &now, change, &how).await?;
        if code == ExitCode::SUCCESS && !args.done {
            addresses_left(&fleet, &now.site, &server).await?;
        }
        if code == ExitCode::SUCCESS && !args.done {
            say(&format!("{server} is asked no more; when it is back: mainstay maintain {server} --done"));
        }
        Ok(code)
    })
}

/// What nobody else would do meanwhile.
fn alone(site: &Site, server: &ServerName) -> anyhow::Result<()> {
    let roles = [Role::Balancer, Role::Web, Role::App, Role::Database];
    let only = roles.into_iter().find(|role| {
        let mut others = site.with_role(*role).filter(|other| other.name != *server && !other.maintained);
        site.server(server).is_some_and(|it| it.has(*role)) && others.next().is_none()
    });
    match only {
        Some(role) => bail!("{server} is the only {role} server in service: without it visitors would be refused"),
        None => Ok(()),
    }
}

/// Waits until the server has handed over its floating addresses, as its plan has it now.
async fn addresses_left(fleet: &Fleet, site: &Site, server: &ServerName) -> anyhow::Result<()> {
    /// Another balancer takes an address within an interval, which is ten seconds at most.
    const WITHIN: Duration = Duration::from_secs(30);
    if site.cluster().is_none() || !site.server(server).is_some_and(|it| it.has(Role::Balancer)) {
        return Ok(());
    }
    let begun = Instant::now();
    loop {
        let view = fleet.client(server)?.wish_of_vip(vip::Wish::Look).await;
        let held = view.map(|view| view.routers.into_iter().find(|router| router.state == vip::State::Master));
        match held {
            Ok(None) => return Ok(()),
            Ok(Some(router)) if begun.elapsed() > WITHIN => bail!(
                "{} is still on {server}: no other balancer is fit to take it; `mainstay status` says why",
                router.address
            ),
            Err(error) if begun.elapsed() > WITHIN => return Err(error.into()),
            _ => tokio::time::sleep(LOOK).await,
        }
    }
}

/// The primary's place goes to another database server.
async fn hand_over_primary(domain: &str, site: &Site, server: &ServerName) -> anyhow::Result<()> {
    if !site.server(server).is_some_and(|it| it.has(Role::Database)) {
        return Ok(());
    }
    let databases = Databases::named(domain)?;
    let seen = databases.look().await;
    if primary(&seen).as_ref() != Some(server) {
        return Ok(());
    }
    ensure!(
        agreed(&seen).is_some(),
        "{server} is the primary database, and there is no store by which another could take over"
    );
    order::switch_over(&databases, None).await?;
    let leader = order::led(&databases, None).await?.primary;
    ensure!(leader != server.0, "{server} is still the primary database; `mainstay db status` says why");
    say(&format!("  {leader} is the primary database now"));
    Ok(())
}
