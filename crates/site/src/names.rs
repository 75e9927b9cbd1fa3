//! Newtypes for everything that has a name or a number, so that none is taken for another.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub String);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                $name(text.to_owned())
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
    };
}

name! {
    /// The domain of a site, lower case, without the final dot: `foobar.com`. It is also the site's name on a machine.
    Domain
}
name! {
    /// A server's name in the declaration: `web1`. A DNS label (RFC 1123 § 2.1), since the zone lists it.
    ServerName
}
name! {
    /// An application's name in the declaration: `site` for the short form `[app]`. A DNS label.
    AppName
}
name! {
    /// A service on a server: `dns`, `balancer`, `web`, `app-site`, `sql`, `database`. Unique on its server; names its
    /// process, its log stream and its folder below the state directory.
    ServiceName
}
name! {
    /// A release of a codebase: the first 12 hexadecimal digits of the SHA-256 of its contents.
    ReleaseId
}

/// The number of a plan. A server refuses a plan whose generation is below the one it has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Generation(pub u64);

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a server is for. A server has any set of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Answers for the site's zone (UDP and TCP 53).
    Dns,
    /// Spreads requests over the web servers; the front door of a site that has one.
    Balancer,
    /// Serves static content and forwards the rest to the application tier; the front door of a site without balancer.
    Web,
    /// Runs the codebases.
    App,
    /// Runs MariaDB.
    Database,
    /// Watches the others.
    Monitor,
    /// Redis/Valkey for the applications.
    Cache,
    /// A network firewall in front of the site.
    Firewall,
    /// Has a vote in the store by which the servers agree. Nobody declares it: it follows from where the databases are.
    Store,
}

impl Role {
    /// Every role that can be declared, top of the drawing to bottom.
    pub const ALL: [Role; 8] =
        [Role::Dns, Role::Firewall, Role::Balancer, Role::Web, Role::App, Role::Cache, Role::Database, Role::Monitor];

    /// The word in the declaration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Role::Dns => "dns",
            Role::Firewall => "firewall",
            Role::Store => "store",
            Role::Balancer => "balancer",
            Role::Web => "web",
            Role::App => "app",
            Role::Cache => "cache",
            Role::Database => "database",
            Role::Monitor => "monitor",
        }
    }

    /// The numeric user that the role's processes run as when Mainstay runs as root.
    ///
    /// 59,800 and up: below Debian's reserved range (60000–64999, Debian Policy § 9.2.2) and systemd's dynamic users
    /// (61184–65519), at the far end of the range that `adduser` fills from 1000, and inside the 65,536 ids of a
    /// container. The numbers are part of the on-disk format: files carry them.
    pub const fn user(self) -> u32 {
        match self {
            Role::Dns => 59_801,
            Role::Balancer => 59_802,
            Role::Web => 59_803,
            Role::App => 59_804,
            Role::Database => 59_806,
            Role::Monitor => 59_807,
            Role::Cache => 59_808,
            Role::Firewall => 59_809,
            Role::Store => 59_810,
        }
    }
}

/// The numeric user of the SQL endpoints, which stand beside every application server but share nothing with it.
pub const SQL_USER: u32 = 59_805;

/// The numeric user of who speaks for a floating address, which stands beside a balancer: it reads what anybody on the wire
/// sends, and shares nothing with the proxy.
pub const VIP_USER: u32 = 59_811;

/// The numeric user of who tells a cloud where a floating address has gone: it runs a program of the owner's, which shares nothing
/// with anybody.
pub const HOOK_USER: u32 = 59_812;

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
