//! Following a job to its end.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::bail;
use mainstay_site::model::FORMAT;
use mainstay_site::names::ServerName;
use mainstay_site::wire::upkeep::{Ask, Job, Outcome, Told};
use serde::Serialize;

use super::ask::Databases;
use crate::render;

/// Between two looks at a job, which takes seconds to hours.
const LOOK: Duration = Duration::from_millis(300);
/// For how long nobody may say how far it is: a supervisor is replaced, a machine is busy. The job goes on meanwhile.
const SILENT: Duration = Duration::from_secs(60);

#[derive(Serialize)]
struct Report<'a> {
    format: u32,
    server: &'a ServerName,
    job: &'a str,
    told: BTreeMap<&'a str, &'a str>,
}

/// Begins a job on a server, shows what it is at, and prints what came of it.
pub async fn follow(databases: &Databases, server: &ServerName, begin: &Ask, json: bool) -> anyhow::Result<ExitCode> {
    let mut job = taken(databases.ask(server, begin).await?)?;
    let (mut shown, mut heard) = (String::new(), Instant::now());
    while job.outcome.is_none() {
        if job.now != shown {
            shown.clone_from(&job.now);
            writeln!(io::stderr(), "{server}: {shown}")?;
        }
        tokio::time::sleep(LOOK).await;
        match databases.ask(server, &Ask::Job).await {
            Ok(told) => (job, heard) = (taken(told)?, Instant::now()),
            Err(_) if heard.elapsed() < SILENT => {}
            Err(error) => return Err(error.context("whether the job goes on is not known; its server's log will say")),
        }
    }
    match job.outcome {
        Some(Outcome::Done(told)) if json => {
            let told = told.iter().map(|(what, text)| (what.as_str(), text.as_str())).collect();
            render::print_json(&Report { format: FORMAT, server, job: &job.what, told })?;
        }
        Some(Outcome::Done(told)) => {
            render::print(&told.iter().map(|(what, text)| format!("{what}: {text}\n")).collect::<String>());
        }
        Some(Outcome::Failed(why)) => bail!("{server}: {why}"),
        None => {}
    }
    Ok(ExitCode::SUCCESS)
}

fn taken(told: Told) -> anyhow::Result<Job> {
    match told {
        Told::Job { job: Some(job) } => Ok(job),
        _ => bail!("the database service was restarted and the job with it ended; begin it again"),
    }
}
