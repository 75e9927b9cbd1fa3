//! keepalived in our place, or beside us: the Debian package of that name, whose daemon nobody starts but we.

use std::net::IpAddr;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use mainstay_lab::scenario::processes;
use mainstay_lab::within;
use mainstay_site::names::ServerName;
use mainstay_site::wire::vip::Wish;
use rustix::process::Signal;

use super::super::patience::{until, wait};
use super::super::stage::Stage;
use super::play::{self, Scene, goes_on};
use super::{SECOND, STRANGER};

/// Names the program where it is not in its usual place.
const VARIABLE: &str = "MAINSTAY_KEEPALIVED";
const PLACES: [&str; 2] = ["/usr/sbin/keepalived", "/sbin/keepalived"];
/// Until it has the address.
const TAKES: Duration = Duration::from_secs(15);

fn program() -> Option<PathBuf> {
    let named = std::env::var_os(VARIABLE).map(PathBuf::from);
    named.into_iter().chain(PLACES.map(PathBuf::from)).find(|path| path.is_file())
}

/// Whether there is one to compare with.
pub fn is_there() -> bool {
    program().is_some()
}

/// Both servers run it instead of ours, and the one that has the address is powered off.
pub fn power_off(stage: &mut Stage, scene: &Scene<'_>) -> anyhow::Result<Vec<String>> {
    // Who keeps out does not come back by himself; the other one gives it to nobody, for as long as it takes.
    play::wish(stage, &scene.other, Wish::Yield)?;
    play::wish(stage, &scene.master, Wish::Yield)?;
    // An address that is taken away from it makes it step down.
    until(TAKES, || Ok(play::holders(stage)?.pop().map(|server| format!("{server} keeps the address"))))?;
    start(stage, &scene.master, &scene.other, 254)?;
    until_held_by(stage, &scene.master)?;
    start(stage, &scene.other, &scene.master, SECOND)?;
    goes_on(scene)?;
    wait(Duration::from_secs(1));
    // What came before was the change from us to it.
    scene.counted_from.set(scene.callers.now());
    wait(Duration::from_millis(500));
    play::cut(stage, scene)?;
    end(stage, &scene.master, Signal::KILL)?;
    goes_on(scene)?;
    wait(Duration::from_secs(1));
    let wrong = play::moved(stage, scene);
    // What comes now is the change from it to us.
    scene.counted_to.set(Some(scene.callers.now()));
    end(stage, &scene.other, Signal::TERM)?;
    play::wish(stage, &scene.other, Wish::Return)?;
    stage.lab()?.power_on_again(&scene.master)?;
    Ok(wrong)
}

/// It takes over from us.
pub fn as_backup(stage: &mut Stage, scene: &Scene<'_>) -> anyhow::Result<Vec<String>> {
    play::wish(stage, &scene.other, Wish::Yield)?;
    start(stage, &scene.other, &scene.master, STRANGER)?;
    wait(Duration::from_secs(2));
    let mut wrong = play::stayed(stage, scene);
    stage.lab()?.black_out(&scene.master)?;
    goes_on(scene)?;
    wait(Duration::from_secs(2));
    wrong.extend(play::moved(stage, scene));
    // And back: it says farewell, and we hear it.
    stage.lab()?.power_on_again(&scene.master)?;
    wait(Duration::from_secs(4));
    wrong.extend(play::moved(stage, scene));
    end(stage, &scene.other, Signal::TERM)?;
    goes_on(scene)?;
    until_held_by(stage, &scene.master)?;
    play::wish(stage, &scene.other, Wish::Return)?;
    Ok(wrong)
}

/// We take over from it.
pub fn as_master(stage: &mut Stage, scene: &Scene<'_>) -> anyhow::Result<Vec<String>> {
    play::wish(stage, &scene.other, Wish::Yield)?;
    play::wish(stage, &scene.master, Wish::Yield)?;
    start(stage, &scene.other, &scene.master, 200)?;
    until_held_by(stage, &scene.other)?;
    play::wish(stage, &scene.master, Wish::Return)?;
    wait(Duration::from_secs(2));
    let mut wrong = play::moved(stage, scene);
    // What it leaves behind when it is killed is its address: nobody would find ours. So its server loses its network too.
    end(stage, &scene.other, Signal::KILL)?;
    stage.lab()?.black_out(&scene.other)?;
    goes_on(scene)?;
    wait(Duration::from_secs(1));
    wrong.extend(play::stayed(stage, scene));
    remove(stage, &scene.other)?;
    stage.lab()?.power_on_again(&scene.other)?;
    Ok(wrong)
}

fn start(stage: &Stage, server: &ServerName, peer: &ServerName, priority: u64) -> anyhow::Result<()> {
    let program = program().context("there is no keepalived: install the Debian package (its daemon need not run)")?;
    let own = |name: &ServerName| stage.site.server(name).map(|server| server.address).context("no such server");
    let floating = play::address(stage)?;
    let interval = stage.site.cluster().context("the site has no cluster")?.interval.as_secs_f64();
    let number = match floating {
        IpAddr::V4(address) => address.octets()[3],
        IpAddr::V6(address) => address.octets()[15],
    };
    let folder = folder(stage, server);
    std::fs::create_dir_all(&folder)?;
    let configuration = format!(
        "global_defs {{\n vrrp_version 3\n router_id {server}\n}}\nvrrp_instance site {{\n state BACKUP\n nopreempt\n \
         interface eth0\n virtual_router_id {number}\n priority {priority}\n advert_int {interval}\n \
         unicast_src_ip {}\n unicast_peer {{\n {}\n }}\n virtual_ipaddress {{\n {floating}/32 dev eth0\n }}\n}}\n",
        own(server)?,
        own(peer)?
    );
    let file = folder.join("keepalived.conf");
    std::fs::write(&file, configuration)?;
    let log = std::fs::File::create(folder.join("log"))?;
    within(&stage.namespace(server)?, || {
        let mut command = Command::new(program);
        command.args(["--vrrp", "--dont-fork", "--log-console", "--log-detail", "--use-file"]).arg(&file);
        command.arg("--pid").arg(folder.join("pid")).arg("--vrrp_pid").arg(folder.join("vrrp.pid"));
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn().map(drop)
    })?
    .context("keepalived cannot be started")
}

/// Its files, which go with the stage.
fn folder(stage: &Stage, server: &ServerName) -> PathBuf {
    stage.root.join(format!("keepalived-{server}"))
}

/// Its processes of a server, all of them, and waits until they have ended.
fn end(stage: &Stage, server: &ServerName, signal: Signal) -> anyhow::Result<()> {
    let namespace = stage.namespace(server)?;
    let found = processes(&namespace, &["keepalived"]);
    found.iter().for_each(|process| process.signal(signal));
    let deadline = Instant::now() + TAKES;
    for process in found {
        if !process.ended_by(deadline) {
            bail!("keepalived on {server} does not end");
        }
    }
    let _ = std::fs::remove_dir_all(folder(stage, server));
    if signal == Signal::KILL { remove(stage, server) } else { Ok(()) }
}

/// What it leaves behind.
fn remove(stage: &Stage, server: &ServerName) -> anyhow::Result<()> {
    let (namespace, address) = (stage.namespace(server)?, play::address(stage)?.to_string());
    // It may be gone already.
    Command::new("ip")
        .args(["-n", &namespace, "addr", "del", &format!("{address}/32"), "dev", "eth0"])
        .stderr(Stdio::null())
        .status()?;
    Ok(())
}

fn until_held_by(stage: &Stage, server: &ServerName) -> anyhow::Result<()> {
    until(TAKES, || {
        let has_it = play::holders(stage)? == [server.clone()];
        Ok((!has_it).then(|| format!("the address does not come to {server}")))
    })
}
