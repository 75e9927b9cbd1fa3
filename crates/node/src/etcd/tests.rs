use std::net::SocketAddr;
use std::path::PathBuf;

use mainstay_site::plan::{self, Member};
use mainstay_site::secrets::KeyPair;

use super::duties::Scene;
use super::places::Places;
use crate::store::Error;
use crate::store::etcd::Health;

fn config(names: &[&str], databases: &[&str]) -> plan::Store {
    let at = SocketAddr::from(([127, 0, 0, 1], 1));
    let member = |name: &&str| Member { server: (*name).into(), client: at, peer: at };
    plan::Store {
        members: names.iter().map(member).collect(),
        former: Vec::new(),
        databases: databases.iter().map(|name| (*name).into()).collect(),
        data: "data/store/etcd".into(),
    }
}

fn places(own: Member) -> Places {
    let none = KeyPair { certificate: String::new(), key: String::new(), names: Vec::new(), until: 0 };
    Places {
        site: "a.com".into(),
        server: own.server.clone(),
        own,
        data: PathBuf::new(),
        marker: PathBuf::new(),
        first: PathBuf::new(),
        certificate: PathBuf::new(),
        key: PathBuf::new(),
        authority: PathBuf::new(),
        identity: none.clone(),
        trusted: none,
    }
}

fn health(id: u64, leader: u64) -> Result<Health, Error> {
    Ok(Health { id, leader, size_bytes: 0, version: String::new(), errors: Vec::new() })
}

#[test]
fn the_lead_goes_to_a_server_without_a_database() {
    let config = config(&["db1", "db2", "lb1"], &["db1", "db2"]);
    let places = places(config.members[0].clone());
    let etcd = places.store(&[]);
    let chosen = |health: &[_]| {
        let now = crate::clock::boot_time();
        let scene = Scene { etcd: &etcd, config: &config, places: &places, health, now };
        scene.best_other().map(|(name, _)| name.to_string())
    };
    let gone = || Err(Error::Unreachable("gone".into()));
    let all = |db2, lb1| [("db1".into(), health(1, 1)), ("db2".into(), db2), ("lb1".into(), lb1)];
    assert_eq!(chosen(&all(health(2, 1), health(3, 1))).as_deref(), Some("lb1"));
    assert_eq!(chosen(&all(health(2, 1), gone())).as_deref(), Some("db2"));
    assert_eq!(chosen(&all(health(2, 1), health(3, 0))).as_deref(), Some("db2"), "it follows nobody");
    assert_eq!(chosen(&all(gone(), gone())), None);
}
