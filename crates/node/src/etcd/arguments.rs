//! etcd's arguments. The first is the data directory, by which the next role finds the process.

use mainstay_site::plan::Member;

use super::places::Places;
use crate::store::etcd::Listed;

/// Between two signs of life of the leader, and until the others elect another one. With a fifth of both, an etcd on two busy
/// cores changed its leader without need.
const HEARTBEAT_MS: u32 = 100;
const ELECTION_MS: u32 = 1000;
/// Bytes of data before etcd refuses writes. What is kept is kilobytes; this is room for the history of an hour.
const QUOTA_BYTES: u64 = 256 << 20;
/// How much history watches may be behind: who was away longer is told the state as a whole.
const HISTORY: &str = "1h";
/// Entries between two snapshots: etcd keeps that many in memory, a hundred thousand if nobody says less.
const SNAPSHOT: u32 = 10_000;
/// The shortest time between a client's signs of life that is no flood (`store::etcd::PING`).
const PING_MIN: &str = "500ms";

/// How a member comes to be one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// It has its data.
    Return,
    /// With all others of the plan, as a new store.
    Found,
    /// Into a store that others keep.
    Join(Vec<Listed>),
}

/// The arguments that stay the same however it came to be a member; if others run, etcd must be restarted.
pub fn lasting(places: &Places) -> Vec<String> {
    let path = |path: &std::path::Path| path.display().to_string();
    let pairs = [
        ("data-dir", path(&places.data)),
        ("name", places.server.to_string()),
        ("listen-client-urls", url(places.own.client)),
        ("advertise-client-urls", url(places.own.client)),
        ("listen-peer-urls", url(places.own.peer)),
        ("initial-advertise-peer-urls", url(places.own.peer)),
        ("heartbeat-interval", HEARTBEAT_MS.to_string()),
        ("election-timeout", ELECTION_MS.to_string()),
        ("quota-backend-bytes", QUOTA_BYTES.to_string()),
        ("auto-compaction-mode", "periodic".into()),
        ("auto-compaction-retention", HISTORY.into()),
        ("snapshot-count", SNAPSHOT.to_string()),
        ("grpc-keepalive-min-time", PING_MIN.into()),
        ("cert-file", path(&places.certificate)),
        ("key-file", path(&places.key)),
        ("trusted-ca-file", path(&places.authority)),
        ("peer-cert-file", path(&places.certificate)),
        ("peer-key-file", path(&places.key)),
        ("peer-trusted-ca-file", path(&places.authority)),
        ("logger", "zap".into()),
        ("log-outputs", "stderr".into()),
        ("log-level", "warn".into()),
    ];
    let flags = ["--client-cert-auth", "--peer-client-cert-auth", "--pre-vote"];
    let pairs = pairs.into_iter().map(|(option, value)| format!("--{option}={value}"));
    pairs.chain(flags.map(String::from)).collect()
}

/// The arguments of this start alone.
pub fn entering(places: &Places, members: &[Member], entry: &Entry) -> Vec<String> {
    let planned = |member: &Member| format!("{}={}", member.server, url(member.peer));
    let (state, cluster): (&str, Vec<String>) = match entry {
        Entry::Found => ("new", members.iter().map(planned).collect()),
        // With data, etcd goes by what it knows; it only wants its own name among these.
        Entry::Return => ("existing", members.iter().map(planned).collect()),
        Entry::Join(listed) => ("existing", listed.iter().flat_map(|one| known(places, members, one)).collect()),
    };
    vec![
        format!("--initial-cluster={}", cluster.join(",")),
        format!("--initial-cluster-state={state}"),
        format!("--initial-cluster-token={}", places.site),
    ]
}

/// A member as the others know it; one that never started has no name yet, but an address that the plan knows.
fn known(places: &Places, members: &[Member], listed: &Listed) -> Vec<String> {
    let planned = members.iter().find(|member| listed.peers.contains(&url(member.peer)));
    let name = match planned {
        Some(member) => member.server.as_str(),
        None if listed.peers.contains(&url(places.own.peer)) => places.server.as_str(),
        None => listed.name.as_str(),
    };
    listed.peers.iter().map(|peer| format!("{name}={peer}")).collect()
}

/// Whether a process with these arguments is the one that `lasting` would start.
pub fn is_same(running: &[String], lasting: &[String]) -> bool {
    let entering = |argument: &&String| argument.starts_with("--initial-cluster");
    running.iter().skip(1).filter(|it| !entering(it)).eq(lasting)
}

/// Where peers and clients reach an address: always by TLS.
pub fn url(address: std::net::SocketAddr) -> String {
    format!("https://{address}")
}
