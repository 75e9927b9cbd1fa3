//! Who plays scenarios, and who is in charge.
//!
//! Scenarios are played by a process of their own. Whatever it is at (a wait, a power cut, a site that comes up), it can be killed at
//! any moment, and what it brought up is known: every site is on record before it is made, and stands in a folder with the player's
//! number in its name. Whoever is in charge takes that down, as he does when the player dies by itself.

use std::os::unix::process::ExitStatusExt;
use std::process::{ExitCode, ExitStatus};
use std::time::{Duration, Instant};

use anyhow::Context;
use tokio::process::{Child, Command};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::timeout;

use super::left::Left;
use crate::cli::exit::FAILED;
use crate::cli::up::{runtime, say};

/// The option by which the one in charge tells the player to play.
pub const PLAYS: &str = "--plays";
/// For ten servers, whose power is cut, and a folder of some hundred megabytes: seconds on a busy machine. Processes that hang in a
/// slow disk are waited for by [`mainstay_lab::sweep()`] for five.
const TAKEN_DOWN_WITHIN: Duration = Duration::from_secs(20);

/// Has a player play what the command line says, and clears up behind it if it is interrupted.
pub fn run() -> anyhow::Result<ExitCode> {
    runtime()?.block_on(async {
        let mut told = Told::new().context("signals cannot be caught")?;
        let mut player = Command::new("/proc/self/exe")
            .args(std::env::args_os().skip(1))
            .arg(PLAYS)
            // A Ctrl-C on the terminal is for us alone.
            .process_group(0)
            .spawn()
            .context("the scenarios' player cannot be started")?;
        let number = player.id().context("the scenarios' player ended at once")?;
        tokio::select! {
            ended = player.wait() => after(ended?, number).await,
            by = told.next() => interrupted(by, &mut player, number, &mut told).await,
        }
    })
}

/// It took down what it brought up, unless somebody killed it.
async fn after(ended: ExitStatus, number: u32) -> anyhow::Result<ExitCode> {
    if let Some(code) = ended.code() {
        return Ok(u8::try_from(code).map_or(ExitCode::from(FAILED), ExitCode::from));
    }
    say(&format!("the scenarios' player was killed ({ended}); taking down what it brought up"));
    finish(tokio::task::spawn_blocking(move || Left::by(number).take_down(deadline())).await?);
    Ok(by_signal(ended.signal().unwrap_or_default()))
}

async fn interrupted(by: SignalKind, player: &mut Child, number: u32, told: &mut Told) -> anyhow::Result<ExitCode> {
    let code = by_signal(by.as_raw_value());
    say("interrupted: taking down what was brought up; once more ends at once");
    let begun = Instant::now();
    player.start_kill()?;
    // What a killed process has open in a slow disk may hold it up.
    if timeout(TAKEN_DOWN_WITHIN, player.wait()).await.is_err() {
        say(&format!("process {number} does not end although it was killed"));
    }
    let work = tokio::task::spawn_blocking(move || Left::by(number).take_down(deadline()));
    tokio::select! {
        left = work => {
            if finish(left?) {
                say(&format!("everything is down ({:.1} s)", begun.elapsed().as_secs_f64()));
            }
        }
        _ = told.next() => {
            say("ended at once");
            finish(Left::by(number));
            // Its thread may be in the middle of something; nobody waits for it.
            std::process::exit(128 + by.as_raw_value());
        }
    }
    Ok(code)
}

fn deadline() -> Instant {
    Instant::now() + TAKEN_DOWN_WITHIN
}

/// Says what is left and how to remove it; whether it is nothing.
fn finish(left: Left) -> bool {
    left.ways_out().iter().for_each(|line| say(line));
    left.is_nothing()
}

/// As shells have it for who ended by a signal.
fn by_signal(number: i32) -> ExitCode {
    u8::try_from(128 + number).map_or(ExitCode::from(FAILED), ExitCode::from)
}

/// Signals that ask to end.
struct Told {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Told {
    fn new() -> std::io::Result<Told> {
        Ok(Told {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) -> SignalKind {
        tokio::select! {
            _ = self.interrupt.recv() => SignalKind::interrupt(),
            _ = self.terminate.recv() => SignalKind::terminate(),
            _ = self.hangup.recv() => SignalKind::hangup(),
        }
    }
}
