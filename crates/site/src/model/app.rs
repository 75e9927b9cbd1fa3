//! Applications: codebases and how they are run.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::names::{AppName, ReleaseId};

/// The method by which gRPC servers say how they are (gRPC Health Checking Protocol): the path where nothing else is declared
/// for an application that speaks HTTP/2.
pub const GRPC_HEALTH: &str = "/grpc.health.v1.Health/Check";

/// One application: a codebase, how it is run, and which requests are its own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct App {
    /// `site` for the short form `[app]`.
    pub name: AppName,
    /// The codebase, as the file names it (relative to the file).
    pub path: String,
    /// How it is run.
    pub kind: AppKind,
    /// Worker processes on every application server.
    pub workers: u16,
    /// Paths below the codebase that the code writes to; kept across releases.
    pub shared: Vec<String>,
    /// Environment variables for the worker processes.
    pub settings: BTreeMap<String, String>,
    /// A shell command run once per release, before the release gets traffic.
    pub migrate: Option<String>,
    /// Only requests for this host; any host if `None`.
    pub host: Option<String>,
    /// Only requests below this path prefix, which starts with `/`.
    pub prefix: String,
    /// URL prefix → what the web tier serves there by itself. A prefix that is not below the application's own is a route of
    /// its own beside it.
    pub statics: BTreeMap<String, Folder>,
    /// The path that health checks ask for; [`GRPC_HEALTH`] is called, not fetched.
    pub health: String,
}

/// A folder of a codebase that the web tier serves by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Folder {
    /// Below the codebase.
    pub path: String,
    /// The file below it that answers for pages that are no files: of an application that routes in the browser.
    pub fallback: Option<String>,
    /// Cache-Control (RFC 9111 § 5.2.2) of all its files; by the files' names if `None`.
    pub cache_control: Option<String>,
}

/// How a codebase is run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum AppKind {
    /// Python, PEP 3333: `module:callable`.
    Wsgi {
        /// `module:callable`.
        entry: String,
    },
    /// Python, ASGI 3: `module:callable`.
    Asgi {
        /// `module:callable`.
        entry: String,
    },
    /// PHP by FastCGI: files that exist are run or served, everything else goes to the front controller.
    Php {
        /// The front controller below the codebase: `index.php`.
        entry: String,
    },
    /// Any program that speaks HTTP on `$SOCKET` (a Unix socket) or `$HOST:$PORT`.
    Http {
        /// The shell command that starts one worker.
        command: String,
        /// What it speaks.
        #[serde(default, skip_serializing_if = "Speaks::is_http1")]
        speaks: Speaks,
    },
}

/// Which HTTP a program speaks in clear.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Speaks {
    /// HTTP/1.1 (RFC 9112).
    #[default]
    Http1,
    /// HTTP/2 without being asked first (RFC 9113 § 3.3), as gRPC servers do.
    Http2,
}

impl Speaks {
    fn is_http1(&self) -> bool {
        *self == Speaks::Http1
    }
}

impl AppKind {
    /// The word in the declaration.
    pub const fn as_str(&self) -> &'static str {
        match self {
            AppKind::Wsgi { .. } => "wsgi",
            AppKind::Asgi { .. } => "asgi",
            AppKind::Php { .. } => "php",
            AppKind::Http { .. } => "http",
        }
    }

    /// What its workers speak, if that is HTTP.
    pub const fn speaks(&self) -> Speaks {
        match self {
            AppKind::Http { speaks, .. } => *speaks,
            AppKind::Wsgi { .. } | AppKind::Asgi { .. } | AppKind::Php { .. } => Speaks::Http1,
        }
    }
}

/// What must be known of a codebase on the disk; the caller looks, this crate does no I/O.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Codebase {
    /// Which application it belongs to.
    pub app: AppName,
    /// The release that its contents make.
    pub release: ReleaseId,
    /// The release before it, whose files visitors' pages still ask for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<ReleaseId>,
}

impl Codebase {
    /// A release without one before it.
    pub fn new(app: &AppName, release: &ReleaseId) -> Codebase {
        Codebase { app: app.clone(), release: release.clone(), before: None }
    }

    /// The same release after what `known` runs: that one's files stay, or if it is the same, those that stayed.
    pub fn after(mut self, known: &[Codebase]) -> Codebase {
        let known = known.iter().find(|known| known.app == self.app);
        self.before =
            known.and_then(|it| if it.release == self.release { it.before.clone() } else { Some(it.release.clone()) });
        self
    }
}
