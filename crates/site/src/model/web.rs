//! The web tier, what it keeps, and what a front door lets in.

use std::ops::RangeInclusive;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Algorithm;

/// The web tier.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Web {
    /// How requests are spread over the application servers.
    pub algorithm: Algorithm,
    /// Whether a visitor stays with an application server.
    #[serde(default)]
    pub sticky: bool,
    /// How requests are logged.
    #[serde(default)]
    pub log: LogFormat,
    /// What the applications answer is kept by each web server, as far as they allow it (RFC 9111).
    pub cache: Option<Cache>,
    /// Milliseconds after which a silent application server's request is asked of another too; `None`: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hedge_ms: Option<u32>,
}

impl Default for Web {
    /// Caches: nothing is kept that the application does not allow.
    fn default() -> Self {
        Web {
            algorithm: Algorithm::default(),
            sticky: false,
            log: LogFormat::default(),
            cache: Some(Cache::default()),
            hedge_ms: None,
        }
    }
}

/// A cache of answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cache {
    /// Bytes on each server.
    pub memory_bytes: u64,
}

impl Default for Cache {
    /// 64 MiB: the pages, pictures and scripts that most visitors of a site ask for, and little beside its applications.
    fn default() -> Self {
        Cache { memory_bytes: 64 * 1024 * 1024 }
    }
}

/// How requests are logged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogFormat {
    /// A JSON object a line, with all that is known. The default.
    #[default]
    Json,
    /// nginx's `combined`, for programs that read access logs.
    Combined,
}

/// How much of the site one visitor may take. The front door holds to it: several servers to the rates together, to the
/// connections each on its own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Connections of one address (of IPv6: of one network of 64 bits), this machine's own included; as the engine has it if
    /// `None`.
    pub address_connections_max: Option<u32>,
    /// How often may be asked; no bound if there is none, since many visitors may share an address.
    pub rates: Vec<Rate>,
}

/// How often may be asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rate {
    /// Who is counted as one.
    pub per: Per,
    /// Only requests for this host; any if `None`.
    pub host: Option<String>,
    /// Only paths below this prefix.
    pub prefix: String,
    /// Requests in `seconds`, in the long run.
    pub requests: u32,
    /// See `requests`.
    pub seconds: u32,
    /// Requests that may come at once after a pause.
    pub burst: u32,
    /// Who goes on although he is refused is not let in at all for a while; `None`: he may go on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ban: Option<Ban>,
}

/// When somebody is not let in at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ban {
    /// Refusals within [`Ban::WITHIN`] that are too many.
    pub refusals: u32,
    /// For how long.
    pub lasts: Duration,
}

impl Ban {
    /// Refusals are counted over a minute: who comes back to a page that does not open gives up sooner.
    pub const WITHIN: Duration = Duration::from_secs(60);

    /// Unless declared: a page of thirty pictures that is opened three times in vain is no attack yet.
    pub const REFUSALS: u32 = 100;

    /// What can be declared. Addresses pass to others: tomorrow's visitor is somebody else.
    pub const LASTS: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(24 * 3600);
}

/// Who is counted as one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Per {
    /// Each address.
    Address,
    /// Each value of a header; without it the address.
    Key {
        /// Its name, lower case.
        header: String,
    },
    /// All together.
    Route,
}
