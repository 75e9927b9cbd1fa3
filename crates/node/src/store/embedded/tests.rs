use mainstay_site::names::Generation;
use mainstay_site::plan::Plan;

use super::*;

fn plan(generation: u64) -> Plan {
    Plan {
        format: FORMAT,
        generation: Generation(generation),
        site: "foobar.com".into(),
        server: "server1".into(),
        address: [127, 0, 0, 1].into(),
        store: Vec::new(),
        firewall: None,
        services: Vec::new(),
        notices: Vec::new(),
    }
}

fn scratch() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.redb");
    (folder, path)
}

#[test]
fn a_plan_never_goes_back() {
    let (_folder, path) = scratch();
    let store = Embedded::open(&path).unwrap();
    assert_eq!(store.put_plan(&plan(2)).unwrap(), PlanSwap::Done);
    assert_eq!(store.put_plan(&plan(2)).unwrap(), PlanSwap::Done);
    assert_eq!(store.put_plan(&plan(1)).unwrap(), PlanSwap::Stale(Generation(2)));
    let other = Plan { server: "server2".into(), ..plan(2) };
    assert_eq!(store.put_plan(&other).unwrap(), PlanSwap::Stale(Generation(2)));
    assert_eq!(store.put_plan(&plan(3)).unwrap(), PlanSwap::Done);
    assert_eq!(store.plan().unwrap().unwrap().generation, Generation(3));
}

#[test]
fn a_newer_format_is_refused() {
    let (_folder, path) = scratch();
    let store = Embedded::open(&path).unwrap();
    let write = store.database.begin_write().unwrap();
    write.open_table(META).unwrap().insert(FORMAT_KEY, u64::from(FORMAT) + 1).unwrap();
    write.commit().unwrap();
    drop(store);
    let refusal = Embedded::open(&path).err().unwrap().to_string();
    assert!(refusal.contains("run the newer mainstay"), "{refusal}");
}

#[test]
fn only_one_has_it_open() {
    let (_folder, path) = scratch();
    let _store = Embedded::open(&path).unwrap();
    assert!(matches!(Embedded::open(&path), Err(Error::Open { .. })));
}

#[test]
fn what_was_written_before_there_were_leases_is_still_there() {
    let (_folder, path) = scratch();
    let database = Database::create(&path).unwrap();
    let write = database.begin_write().unwrap();
    write.open_table(KEYS).unwrap().insert("plan", (7, b"{}".as_slice())).unwrap();
    write.open_table(META).unwrap().insert(REVISION_KEY, 7).unwrap();
    write.commit().unwrap();
    drop(database);
    for _ in 0..2 {
        let store = Embedded::open(&path).unwrap();
        let (entries, revision) = store.list("").unwrap();
        assert_eq!(revision, Revision(7));
        let entry = Entry { value: b"{}".to_vec(), created: Revision(7), changed: Revision(7), lease: None };
        assert_eq!(entries, [("plan".to_owned(), entry)]);
    }
}

#[tokio::test]
async fn keys_survive_a_start_and_leases_begin_anew() {
    let (_folder, path) = scratch();
    let store = Arc::new(Embedded::open(&path).unwrap());
    let (lease, _) = store.grant(Duration::from_secs(60)).await.unwrap();
    let put = |key: &str, lease| Write::Put { key: key.into(), value: b"1".to_vec(), lease };
    store.transact(&[], &[put("leased", Some(lease)), put("kept", None)]).await.unwrap();
    drop(store);
    let store = Arc::new(Embedded::open(&path).unwrap());
    assert_eq!(store.get("leased").await.unwrap().unwrap().lease, Some(lease));
    store.keep_alive(lease).await.unwrap();
    store.revoke(lease).await.unwrap();
    let keys: Vec<String> = store.list("").await.unwrap().0.into_iter().map(|(key, _)| key).collect();
    assert_eq!(keys, ["kept"]);
    assert!(matches!(store.keep_alive(lease).await, Err(crate::store::Error::LeaseEnded)));
}
