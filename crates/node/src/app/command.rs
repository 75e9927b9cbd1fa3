//! How a worker is started and where it will listen, by kind.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use mainstay_site::model::AppKind;

/// Threads of a WSGI worker. They pay while one waits for the database, since Python runs one at a time; and 2 workers
/// on 4 servers stay with 64 below half of MariaDB's 151 connections.
const WSGI_THREADS: u16 = 8;

/// The starter of Python workers, written to the service's folder.
pub(super) const PYTHON_STARTER: &str = include_str!("worker.py");

/// The folders and files that a command line names.
pub(super) struct Places<'a> {
    /// The Python environment, if the kind has one.
    pub venv: Option<&'a Path>,
    /// The service's own folder.
    pub run: &'a Path,
    /// The worker's socket.
    pub socket: &'a Path,
}

/// A command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Start {
    /// What to execute: absolute, or found by `PATH` of the worker.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<OsString>,
    /// Environment variables that only this kind needs.
    pub variables: Vec<(&'static str, &'static str)>,
}

/// The command that starts one worker.
pub(super) fn start(kind: &AppKind, places: &Places<'_>) -> Start {
    match kind {
        AppKind::Wsgi { entry } => python("wsgi", entry, places),
        AppKind::Asgi { entry } => python("asgi", entry, places),
        AppKind::Php { .. } => php(places),
        AppKind::Http { command, .. } => shell(command),
    }
}

/// A command as a shell reads it: the workers of `http`, and every migration.
pub(super) fn shell(command: &str) -> Start {
    Start { program: "/bin/sh".into(), arguments: vec!["-c".into(), command.into()], variables: Vec::new() }
}

fn python(interface: &str, entry: &str, places: &Places<'_>) -> Start {
    let python = places.venv.map_or_else(|| PathBuf::from("python3"), |venv| venv.join("bin/python"));
    let arguments = vec![
        starter(places.run).into(),
        interface.into(),
        entry.into(),
        places.socket.into(),
        WSGI_THREADS.to_string().into(),
    ];
    Start { program: python, arguments, variables: Vec::new() }
}

/// Where the starter of Python workers lies.
pub(super) fn starter(run: &Path) -> PathBuf {
    run.join("worker.py")
}

/// Where PHP's settings lie.
pub(super) fn php_settings(run: &Path) -> PathBuf {
    run.join("php.ini")
}

/// One process per worker: without children of its own it serves one request at a time, and is watched, restarted and
/// counted like every other worker. It never ends by itself to be made anew (`MAX_REQUESTS` 0): that would look like a
/// crash and cost the request that had just been given to it.
fn php(places: &Places<'_>) -> Start {
    let arguments = vec!["-c".into(), php_settings(places.run).into(), "-b".into(), places.socket.into()];
    let variables = vec![("PHP_FCGI_CHILDREN", "0"), ("PHP_FCGI_MAX_REQUESTS", "0")];
    Start { program: "/usr/bin/php-cgi".into(), arguments, variables }
}

/// The Debian package that brings `program`, for the error when it is missing.
pub(super) fn package_of(program: &Path) -> Option<&'static str> {
    match program.file_name()?.to_str()? {
        "php-cgi" => Some("php-cgi"),
        "sh" => Some("dash"),
        _ => None,
    }
}
