//! The command line: one verb a file, each with `Args` and `run`.

mod apply;
mod check;
mod db;
mod declaration;
mod down;
mod draw;
mod exit;
mod explain;
mod help;
mod history;
mod host_pids;
mod init;
mod lab;
mod log_line;
mod logs;
mod maintain;
mod plan;
mod purge;
mod restart;
mod rollback;
mod running;
mod schema;
mod serve;
mod service;
mod site_folder;
mod status;
mod up;
mod upgrade;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The whole web infrastructure of one site, from one file.
#[derive(Parser)]
#[command(name = "mainstay", version, arg_required_else_help = true, max_term_width = 100)]
#[command(after_long_help = help::MAINSTAY)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    Up(up::Args),
    Down(down::Args),
    Apply(apply::Args),
    Rollback(rollback::Args),
    History(history::Args),
    Maintain(maintain::Args),
    Restart(restart::Args),
    Upgrade(upgrade::Args),
    Status(status::Args),
    Logs(logs::Args),
    Purge(purge::Args),
    Lab(lab::Args),
    Db(db::Args),
    Check(check::Args),
    Draw(draw::Args),
    Explain(explain::Args),
    Plan(plan::Args),
    Schema(schema::Args),
    Serve(serve::Args),
    #[command(hide = true)]
    Init(init::Args),
    #[command(hide = true)]
    Service(service::Args),
}

/// Runs the verb and says on standard error what went wrong.
pub fn run() -> ExitCode {
    exit::code(match Cli::parse().verb {
        Verb::Up(args) => up::run(args),
        Verb::Down(args) => down::run(args),
        Verb::Apply(args) => apply::run(args),
        Verb::Rollback(args) => rollback::run(args),
        Verb::History(args) => history::run(args),
        Verb::Maintain(args) => maintain::run(args),
        Verb::Restart(args) => restart::run(args),
        Verb::Upgrade(args) => upgrade::run(args),
        Verb::Status(args) => status::run(args),
        Verb::Logs(args) => logs::run(args),
        Verb::Purge(args) => purge::run(args),
        Verb::Db(args) => db::run(args),
        Verb::Lab(args) => lab::run(args),
        Verb::Check(args) => check::run(args),
        Verb::Draw(args) => draw::run(args),
        Verb::Explain(args) => explain::run(args),
        Verb::Plan(args) => plan::run(args),
        Verb::Schema(args) => schema::run(args),
        Verb::Serve(args) => return serve::run(args),
        Verb::Init(args) => return init::run(args),
        Verb::Service(args) => return service::run(args),
    })
}
