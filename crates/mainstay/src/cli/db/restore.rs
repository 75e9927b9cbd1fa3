//! `mainstay db restore`.

use std::process::ExitCode;

use anyhow::Context;
use mainstay_site::names::ServerName;
use mainstay_site::wire::upkeep::Ask;
use time::{Date, Month, PrimitiveDateTime, Time};

use super::Of;
use super::ask::{Databases, confirm};
use super::job;
use crate::cli::help;
use crate::cli::up::runtime;

/// Bring the applications' data back to what they were at a time
#[derive(clap::Args, Debug)]
#[command(after_help = help::DB_RESTORE)]
pub struct Args {
    #[command(flatten)]
    of: Of,
    /// UTC, as "2026-11-21 10:15:00": what was written in that second and later is left out
    #[arg(long, value_name = "TIME")]
    to: String,
    /// The folder of the backups on the server (default: that of `backup` in the declaration)
    #[arg(long, value_name = "FOLDER")]
    from: Option<String>,
    /// The server that has the backups (default: the last database server)
    #[arg(long, value_name = "SERVER")]
    server: Option<String>,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Has it done and waits.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let until_s = parse(&args.to).with_context(|| {
        format!("`{}` is no time: write it as \"2026-11-21 10:15:00\", which is meant in UTC", args.to)
    })?;
    let databases = Databases::of(args.of)?;
    let server = args.server.map(ServerName).or_else(|| databases.keeper().cloned()).context("there is no database")?;
    let domain = &databases.running.site.domain;
    let what = format!(
        "Everything that the applications of {domain} wrote at {} UTC and later is taken back. While their tables are written, \
         visitors see errors. The backups keep what is now: a restore to this moment undoes it.",
        args.to
    );
    confirm(&what, args.yes)?;
    let begin = Ask::Restore { until_s, from: args.from };
    runtime()?.block_on(job::follow(&databases, &server, &begin, args.json))
}

/// `2026-11-21 10:15:00`, also with a `T` between and a `Z` behind (RFC 3339 § 5.6, in UTC).
fn parse(text: &str) -> Option<u64> {
    let (date, time) = text.trim().trim_end_matches('Z').split_once([' ', 'T'])?;
    let number =
        |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse::<u16>().ok()).flatten();
    let [year, month, day] = three(date, '-')?.map(number);
    let [hour, minute, second] = three(time, ':')?.map(number);
    let small = |number: Option<u16>| number.and_then(|number| u8::try_from(number).ok());
    let month = Month::try_from(small(month)?).ok()?;
    let date = Date::from_calendar_date(i32::from(year?), month, small(day)?).ok()?;
    let time = Time::from_hms(small(hour)?, small(minute)?, small(second)?).ok()?;
    u64::try_from(PrimitiveDateTime::new(date, time).assume_utc().unix_timestamp()).ok()
}

fn three(text: &str, by: char) -> Option<[&str; 3]> {
    text.split(by).collect::<Vec<_>>().try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn times() {
        for text in ["2026-11-21 10:15:00", "2026-11-21T10:15:00Z", " 2026-11-21T10:15:00"] {
            assert_eq!(parse(text), Some(1_795_256_100), "{text}");
        }
        for wrong in [
            "",
            "10:15:00",
            "2026-11-21",
            "2026-13-21 10:15:00",
            "2026-11-21 10:15",
            "2026-11-31 10:15:00",
            "-1-1-1 0:0:0",
        ] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}
