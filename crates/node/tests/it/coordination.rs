//! What every store must do, asked of the embedded one and of a real etcd; then what only several members can suffer.

use std::sync::Arc;
use std::time::{Duration, Instant};

use mainstay_node::clock::boot_time;
use mainstay_node::store::{Compare, Embedded, Error, Event, Revision, Store, Swap, Watch, Write};
use mainstay_site::secrets::StoreAccess;
use rustix::process::Signal;
use tokio::time::timeout;

use crate::etcd::Cluster;
use crate::support::DEADLINE;

fn put(key: &str, value: &str) -> Write {
    Write::Put { key: key.into(), value: value.into(), lease: None }
}

fn absent(key: &str) -> Compare {
    Compare::Absent(key.into())
}

async fn done(store: &Store, compares: &[Compare], writes: &[Write]) -> Revision {
    match store.transact(compares, writes).await.unwrap() {
        Swap::Done(revision) => revision,
        Swap::Conflict => panic!("a conflict: {compares:?}"),
    }
}

async fn conflicts(store: &Store, compares: &[Compare], writes: &[Write]) {
    let before = store.list("").await.unwrap().0;
    assert_eq!(store.transact(compares, writes).await.unwrap(), Swap::Conflict, "{compares:?}");
    assert_eq!(store.list("").await.unwrap().0, before, "{compares:?}");
}

async fn next(watch: &mut Watch) -> Event {
    timeout(DEADLINE, watch.next()).await.expect("nothing is told")
}

/// The next event, in short: `a=1`, `-a`; what is said of the connection is passed over.
async fn told(watch: &mut Watch) -> String {
    loop {
        match next(watch).await {
            Event::Put { key, entry } => return format!("{key}={}", String::from_utf8_lossy(&entry.value)),
            Event::Delete { key, .. } => return format!("-{key}"),
            Event::Relisted { entries, .. } => {
                let keys: Vec<String> = entries.into_iter().map(|(key, _)| key).collect();
                return format!("all: {}", keys.join(" "));
            }
            Event::Lost { .. } | Event::Resumed => {}
        }
    }
}

/// Every check, on one store: each uses keys of its own.
async fn conforms(store: &Store) {
    compares(store).await;
    transactions(store).await;
    watches(store).await;
    leases(store).await;
    leased_keys_end(store).await;
    counters(store).await;
}

async fn compares(store: &Store) {
    let first = done(store, &[absent("c/a")], &[put("c/a", "1")]).await;
    let entry = store.get("c/a").await.unwrap().unwrap();
    assert_eq!((entry.value.as_slice(), entry.created, entry.changed, entry.lease), (&b"1"[..], first, first, None));
    conflicts(store, &[absent("c/a")], &[put("c/a", "2")]).await;
    let second = done(store, &[Compare::Changed("c/a".into(), first)], &[put("c/a", "2")]).await;
    assert!(second > first);
    conflicts(store, &[Compare::Changed("c/a".into(), first)], &[put("c/a", "3")]).await;
    // The epoch stays while the key does.
    let third = done(store, &[Compare::Created("c/a".into(), first)], &[put("c/a", "3")]).await;
    done(store, &[], &[Write::Delete("c/a".into())]).await;
    assert_eq!(store.get("c/a").await.unwrap(), None);
    conflicts(store, &[Compare::Created("c/a".into(), first)], &[put("c/b", "")]).await;
    conflicts(store, &[Compare::Changed("c/a".into(), third)], &[put("c/b", "")]).await;
    let anew = done(store, &[absent("c/a")], &[put("c/a", "4")]).await;
    assert_eq!(store.get("c/a").await.unwrap().unwrap().created, anew);
    conflicts(store, &[Compare::Created("c/a".into(), first)], &[put("c/a", "5")]).await;
}

async fn transactions(store: &Store) {
    let at = done(store, &[absent("t/a"), absent("t/b")], &[put("t/a", "1"), put("t/b", "2")]).await;
    let (entries, as_of) = store.list("t/").await.unwrap();
    let keys: Vec<&str> = entries.iter().map(|(key, _)| key.as_str()).collect();
    assert_eq!(keys, ["t/a", "t/b"]);
    assert!(entries.iter().all(|(_, entry)| entry.changed == at) && as_of >= at);
    // One of two is not enough.
    conflicts(store, &[Compare::Changed("t/a".into(), at), absent("t/b")], &[put("t/a", "3")]).await;
    // What changes nothing is no change.
    assert_eq!(done(store, &[], &[Write::Delete("t/none".into())]).await, at);
    let twice = store.transact(&[], &[put("t/a", "4"), Write::Delete("t/a".into())]).await;
    assert!(matches!(twice, Err(Error::Refused(_))), "{twice:?}");
    assert_eq!(store.get("t/a").await.unwrap().unwrap().value, b"1");
}

async fn watches(store: &Store) {
    let (_, start) = store.list("w/").await.unwrap();
    done(store, &[], &[put("w/a", "1")]).await;
    let mut early = store.watch("w/", start);
    assert_eq!(told(&mut early).await, "w/a=1");
    done(store, &[], &[put("w/a", "2"), put("w/b", "3"), put("elsewhere", "4")]).await;
    done(store, &[], &[Write::Delete("w/a".into())]).await;
    let mut late = store.watch("w/", start);
    assert_eq!(told(&mut late).await, "w/a=1");
    for watch in [&mut early, &mut late] {
        let mut both = [told(watch).await, told(watch).await];
        both.sort();
        assert_eq!(both, ["w/a=2", "w/b=3"]);
        assert_eq!(told(watch).await, "-w/a");
    }
}

async fn leases(store: &Store) {
    let asked = boot_time();
    let mut lease = store.grant(Duration::from_secs(60)).await.unwrap();
    assert!(lease.deadline() >= asked + Duration::from_secs(60) && lease.deadline() <= boot_time() + lease.ttl());
    let before = lease.deadline();
    let put = Write::Put { key: "l/a".into(), value: b"1".to_vec(), lease: Some(lease.id()) };
    done(store, &[], &[put]).await;
    assert_eq!(store.get("l/a").await.unwrap().unwrap().lease, Some(lease.id()));
    assert!(lease.keep_alive().await.unwrap() > before);
    let (_, now) = store.list("l/").await.unwrap();
    let mut watch = store.watch("l/", now);
    lease.revoke().await.unwrap();
    assert_eq!(told(&mut watch).await, "-l/a");
    assert_eq!(store.get("l/a").await.unwrap(), None);
}

/// Nobody sees the key go before the deadline of whoever held it.
async fn leased_keys_end(store: &Store) {
    let mut lease = store.grant(Duration::from_secs(1)).await.unwrap();
    let leased = Write::Put { key: "e/a".into(), value: b"1".to_vec(), lease: Some(lease.id()) };
    let at = done(store, &[absent("e/a")], std::slice::from_ref(&leased)).await;
    let mut watch = store.watch("e/", at);
    lease.keep_alive().await.unwrap();
    assert_eq!(told(&mut watch).await, "-e/a");
    assert!(boot_time() > lease.deadline(), "it ended before the holder's deadline");
    assert!(matches!(lease.keep_alive().await, Err(Error::LeaseEnded)));
    let late = store.transact(&[], &[leased]).await;
    assert!(matches!(late, Err(Error::LeaseEnded)), "{late:?}");
    // Whoever ends what has ended is content.
    lease.revoke().await.unwrap();
}

/// Several who count at once lose nothing.
async fn counters(store: &Store) {
    const EACH: u32 = 10;
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let store = store.clone();
        tasks.spawn(async move {
            for _ in 0..EACH {
                while !count_on(&store).await {}
            }
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap();
    }
    assert_eq!(store.get("n").await.unwrap().unwrap().value, (4 * EACH).to_string().into_bytes());
}

async fn count_on(store: &Store) -> bool {
    let (compare, number) = match store.get("n").await.unwrap() {
        None => (absent("n"), 0),
        Some(entry) => {
            let number: u32 = String::from_utf8(entry.value).unwrap().parse().unwrap();
            (Compare::Changed("n".into(), entry.changed), number)
        }
    };
    let next = put("n", &(number + 1).to_string());
    matches!(store.transact(&[compare], &[next]).await.unwrap(), Swap::Done(_))
}

#[tokio::test]
async fn the_embedded_store_conforms() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.redb");
    let store = Store::new(Arc::new(Embedded::open(&path).unwrap()));
    conforms(&store).await;
    // After a start nobody remembers what happened: the state is told as a whole.
    drop(store);
    let store = Store::new(Arc::new(Embedded::open(&path).unwrap()));
    assert_eq!(told(&mut store.watch("t/", Revision(1))).await, "all: t/a t/b");
}

#[tokio::test]
async fn etcd_conforms() {
    let cluster = Cluster::start(1).await;
    conforms(&cluster.store()).await;
    assert!(cluster.etcdctl(&["get", "/foobar.com/t/a"]).contains("/foobar.com/t/a"));
}

#[tokio::test]
async fn what_is_forgotten_is_told_as_a_whole() {
    let cluster = Cluster::start(1).await;
    let store = cluster.store();
    let first = done(&store, &[], &[put("a/1", "1")]).await;
    done(&store, &[], &[put("a/2", "1")]).await;
    let last = done(&store, &[], &[Write::Delete("a/1".into()), put("a/3", "1")]).await;
    cluster.etcdctl(&["compact", &last.to_string()]);
    let mut watch = store.watch("a/", first);
    assert_eq!(told(&mut watch).await, "all: a/2 a/3");
    done(&store, &[], &[put("a/4", "1")]).await;
    assert_eq!(told(&mut watch).await, "a/4=1");
}

#[tokio::test]
async fn an_etcd_made_anew_is_told_as_a_whole() {
    let mut cluster = Cluster::start(1).await;
    let store = cluster.store();
    let mut last = Revision(0);
    for _ in 0..5 {
        last = done(&store, &[], &[put("old", "1")]).await;
    }
    let mut watch = store.watch("", last);
    cluster.kill(0);
    std::fs::remove_dir_all(cluster.folder.path().join("s1.etcd")).unwrap();
    cluster.restart(0);
    cluster.ready().await;
    assert_eq!(told(&mut watch).await, "all: ");
    done(&store, &[], &[put("new", "1")]).await;
    assert_eq!(told(&mut watch).await, "new=1");
}

/// One member after the other is frozen, which answers nothing and refuses nothing, and another is killed.
#[tokio::test]
async fn a_member_that_is_gone_costs_little() {
    let mut cluster = Cluster::start(3).await;
    let store = cluster.store();
    let (_, start) = store.list("").await.unwrap();
    let mut watch = store.watch("f/", start);
    let mut longest = Duration::ZERO;
    for member in 0..3 {
        cluster.signal(member, Signal::STOP);
        for number in 0..3 {
            longest = longest.max(write_through(&store, &format!("f/{member}{number}")).await);
        }
        cluster.signal(member, Signal::CONT);
    }
    for member in 0..3 {
        cluster.kill(member);
        longest = longest.max(write_through(&store, &format!("f/k{member}")).await);
        cluster.restart(member);
        cluster.ready().await;
    }
    println!("the longest write took {longest:?}");
    for expected in ["f/00", "f/01", "f/02", "f/10", "f/11", "f/12", "f/20", "f/21", "f/22", "f/k0", "f/k1", "f/k2"] {
        assert_eq!(told(&mut watch).await, format!("{expected}=1"));
    }
}

/// Writes a key that is not there, as often as it takes; how long that is.
async fn write_through(store: &Store, key: &str) -> Duration {
    let begun = Instant::now();
    loop {
        assert!(begun.elapsed() < DEADLINE, "{key} cannot be written");
        match store.transact(&[absent(key)], &[put(key, "1")]).await {
            Ok(Swap::Done(_)) => return begun.elapsed(),
            // One whose answer was missing did it.
            Ok(Swap::Conflict) => return begun.elapsed(),
            Err(Error::Unreachable(_) | Error::Unknown(_)) => {}
            Err(other) => panic!("{other}"),
        }
    }
}

#[tokio::test]
async fn without_a_majority_it_says_so_and_comes_back() {
    let mut cluster = Cluster::start(3).await;
    let store = cluster.store();
    let at = done(&store, &[], &[put("a", "1")]).await;
    let mut watch = store.watch("", at);
    cluster.kill(1);
    cluster.kill(2);
    let begun = Instant::now();
    let refused = store.get("a").await;
    assert!(matches!(refused, Err(Error::Unreachable(_))), "{refused:?}");
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    while !matches!(next(&mut watch).await, Event::Lost { .. }) {}
    cluster.restart(1);
    cluster.restart(2);
    cluster.ready().await;
    while !matches!(next(&mut watch).await, Event::Resumed) {}
    done(&store, &[], &[put("a", "2")]).await;
    assert_eq!(told(&mut watch).await, "a=2");
}

/// What makes the store safe to listen on: whoever is not of the site learns nothing.
#[tokio::test]
async fn strangers_are_refused() {
    let cluster = Cluster::start(1).await;
    let mut stranger = crate::support::secrets();
    let other = Cluster::start(1).await;
    (stranger.authority, stranger.identities) = (cluster.secrets.authority.clone(), other.secrets.identities.clone());
    let store = cluster.open(&cluster.endpoints(), &stranger).unwrap();
    assert!(matches!(store.get("a").await, Err(Error::Unreachable(_))));
    // And we tell nothing to an etcd that is not ours.
    let store = cluster.store_at(&other.endpoints());
    let refused = store.transact(&[], &[put("a", "1")]).await;
    assert!(matches!(refused, Err(Error::Certificates(_))), "{refused:?}");
    assert_eq!(other.store().list("").await.unwrap().0, []);
}

/// An etcd that is there already: by the certificate that its owner gave us, and beside what else it keeps.
#[tokio::test]
async fn another_etcd_is_used_as_it_is() {
    let cluster = Cluster::start(1).await;
    cluster.etcdctl(&["put", "/somebody", "else"]);
    let mut secrets = crate::support::secrets();
    let identity = cluster.secrets.identities[&"s1".into()].clone();
    let authority = cluster.secrets.authority.as_ref().unwrap().certificate.clone();
    secrets.store = Some(StoreAccess { authority, identity });
    let store = cluster.open(&cluster.endpoints(), &secrets).unwrap();
    done(&store, &[], &[put("a", "1")]).await;
    assert_eq!(store.list("").await.unwrap().0.len(), 1);
}

/// A figure, not a bound: `cargo nextest run … --no-capture`.
#[tokio::test]
async fn how_long_a_write_takes() {
    let cluster = Cluster::start(3).await;
    let store = cluster.store();
    let mut times = Vec::new();
    for _ in 0..200 {
        let begun = Instant::now();
        done(&store, &[], &[put("a", "1")]).await;
        times.push(begun.elapsed());
    }
    times.sort();
    println!("a write takes {:?} (median), {:?} (99 %)", times[100], times[197]);
}

/// A lease of three seconds must outlive the loss of whoever leads the etcd, or every such loss would close the database. The
/// store must not end it; how much is left for its holder at the worst moment is a figure, not a bound.
#[tokio::test]
async fn a_lease_outlives_the_leader_of_the_store() {
    let mut cluster = Cluster::start(3).await;
    let store = cluster.store();
    let mut lease = store.grant(Duration::from_secs(3)).await.unwrap();
    let leader = cluster.leader();
    let begun = Instant::now();
    let mut least = lease.ttl();
    let mut killed = false;
    while begun.elapsed() < Duration::from_secs(5) {
        if !killed && begun.elapsed() > Duration::from_secs(1) {
            cluster.kill(leader);
            killed = true;
        }
        let kept = lease.keep_alive().await;
        assert!(!matches!(kept, Err(Error::LeaseEnded)));
        let left = lease.deadline().since(boot_time());
        if kept.is_ok() {
            tokio::time::sleep(lease.beat()).await;
        }
        least = least.min(lease.deadline().since(boot_time())).min(left);
    }
    println!("at the worst moment {least:?} of the lease were left");
}
