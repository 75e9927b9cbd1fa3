//! The keys of the database's cluster in the store, relative to the site, and their values.
//!
//! | key | value | lives |
//! |---|---|---|
//! | `database/leader` | [`Leader`] | by the leader's lease; the revision at which it was made is the epoch |
//! | `database/cluster` | [`Cluster`] | for ever; changed by the leader alone, who compares its revision and the epoch |
//! | `database/members/NAME` | [`Member`] | for ever; written by that member alone |
//! | `database/orders` | [`Order`] | until it is carried out or found impossible |
//!
//! Values are JSON objects with `format`, [`FORMAT`]. The types are those of the machine that decides over them.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

pub use mainstay_machines::election::{
    Cluster, Epoch, Leader, Member, Mode, Order, Receiving, Reign, Revision, Server, State, Wish,
};
pub use mainstay_machines::gtid::{Gtid, Position};

use crate::model::FORMAT;
use crate::names::ServerName;

/// Every key of the cluster begins with this.
pub const PREFIX: &str = "database/";
/// Who leads: [`Leader`].
pub const LEADER: &str = "database/leader";
/// What safety rests on: [`Cluster`].
pub const CLUSTER: &str = "database/cluster";
/// What an operator asked for: [`Order`].
pub const ORDERS: &str = "database/orders";
/// What members say of themselves, [`Member`], is below this.
pub const MEMBERS: &str = "database/members/";

/// Where `server` says how it is.
pub fn member_key(server: &Server) -> String {
    format!("{MEMBERS}{server}")
}

/// Who says how it is at `key`; `None` if it is another kind of key.
pub fn member_of(key: &str) -> Option<Server> {
    key.strip_prefix(MEMBERS).map(Server::from)
}

/// A value that this build cannot read.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// Written by a newer build.
    #[error("{key} in the store has the format {found}, this build reads {FORMAT}; upgrade this server")]
    Newer {
        /// Which.
        key: String,
        /// Its format.
        found: u32,
    },
    /// Not what it should be.
    #[error("{key} in the store cannot be read: {source}")]
    Malformed {
        /// Which.
        key: String,
        /// Where.
        source: serde_json::Error,
    },
}

#[derive(Serialize)]
struct Written<'a, T> {
    format: u32,
    #[serde(flatten)]
    value: &'a T,
}

#[derive(Deserialize)]
struct Format {
    format: u32,
}

/// The bytes of a value.
pub fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    // These types have neither maps with other keys than text nor writers that fail.
    serde_json::to_vec(&Written { format: FORMAT, value }).unwrap_or_default()
}

/// The value in `bytes`, which were found at `key`.
///
/// # Errors
/// [`Unreadable`].
pub fn decode<T: DeserializeOwned>(key: &str, bytes: &[u8]) -> Result<T, Unreadable> {
    let malformed = |source| Unreadable::Malformed { key: key.to_owned(), source };
    let Format { format } = serde_json::from_slice(bytes).map_err(malformed)?;
    if format > FORMAT {
        return Err(Unreadable::Newer { key: key.to_owned(), found: format });
    }
    serde_json::from_slice(bytes).map_err(malformed)
}

impl From<&ServerName> for Server {
    fn from(name: &ServerName) -> Self {
        Server(name.0.clone())
    }
}

impl From<&Server> for ServerName {
    fn from(server: &Server) -> Self {
        ServerName(server.0.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn goes_and_comes<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(value: &T, json: &str) {
        let bytes = encode(value);
        assert_eq!(String::from_utf8_lossy(&bytes), json);
        assert_eq!(decode::<T>("a key", &bytes).unwrap(), *value);
    }

    #[test]
    fn values_are_json_with_a_format() {
        goes_and_comes(
            &Leader { server: "db1".into(), address: "10.80.0.11:3306".parse().unwrap() },
            r#"{"format":1,"server":"db1","address":"10.80.0.11:3306"}"#,
        );
        let reign = Reign {
            epoch: Epoch(7),
            primary: "db1".into(),
            from_gtid: Position::parse("0-1-42").unwrap(),
            because: "the first start".into(),
            at_ms: 0,
        };
        let dated = Reign { at_ms: 1_795_256_100_000, ..reign.clone() };
        goes_and_comes(
            &Cluster {
                epoch: Epoch(7),
                primary: "db1".into(),
                designated: false,
                sync: ["db2".into()].into(),
                mode: Mode::Available,
                history: vec![reign],
            },
            r#"{"format":1,"epoch":7,"primary":"db1","sync":["db2"],"mode":"available","history":[{"epoch":7,"primary":"db1","from_gtid":"0-1-42","because":"the first start"}]}"#,
        );
        assert!(String::from_utf8(encode(&dated)).is_ok_and(|text| text.ends_with(r#","at_ms":1795256100000}"#)));
        goes_and_comes(
            &Member {
                epoch: Epoch(7),
                state: State::Replica,
                gtid_current: Position::parse("0-1-41").unwrap(),
                gtid_received: Position::parse("0-1-42").unwrap(),
                receiving: Receiving::Acknowledging,
                adrift: false,
                unfit: None,
                beat: 3,
                because: "follows db1".into(),
            },
            r#"{"format":1,"epoch":7,"state":"replica","gtid_current":"0-1-41","gtid_received":"0-1-42","receiving":"acknowledging","unfit":null,"beat":3,"because":"follows db1"}"#,
        );
        goes_and_comes(
            &Order { wish: Wish::Switchover { to: Some("db2".into()) }, asked_ms: 1 },
            r#"{"format":1,"order":"switchover","to":"db2","asked_ms":1}"#,
        );
    }

    #[test]
    fn what_a_newer_build_wrote_is_not_guessed_at() {
        let newer = decode::<Leader>(LEADER, br#"{"format":2,"leaders":[]}"#);
        assert!(matches!(newer, Err(Unreadable::Newer { found: 2, .. })));
        assert!(matches!(decode::<Leader>(LEADER, b"{}"), Err(Unreadable::Malformed { .. })));
    }

    #[test]
    fn a_members_key_names_it() {
        assert_eq!(member_of(&member_key(&"db2".into())), Some("db2".into()));
        assert_eq!(member_of(CLUSTER), None);
    }
}
