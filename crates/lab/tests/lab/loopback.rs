use std::fs;
use std::time::Duration;

use mainstay_lab::{Mode, ProcessId};

use crate::bench::{boot, eventually, site, start};

#[test]
fn without_namespaces_orphans_are_found_by_their_mark() {
    let mut bench = start(site("loopback", &["10.80.0.11"]).on_loopback(), Mode::Loopback);
    assert!(bench.lab.power_cut(&"web1".into()).unwrap_err().to_string().contains("namespaces"));
    let first = bench.lab.record().servers[0].process.unwrap();
    first.signal(rustix::process::Signal::KILL);
    eventually("it is off", || !bench.lab.is_on(&"web1".into()));
    let pidfile = bench.folder.path().join("daemon");
    let script = format!("setsid sleep 1000 & echo $! > {0}.new; mv {0}.new {0}; exec sleep 1000", pidfile.display());
    bench.lab.power_on(&"web1".into(), boot(&script, bench.folder.path(), "web1")).unwrap();
    eventually("its daemon runs", || pidfile.exists());
    let daemon = fs::read_to_string(&pidfile).unwrap().trim().parse().unwrap();
    let daemon = ProcessId::of(daemon).unwrap();
    bench.lab.stop(Duration::from_secs(5)).unwrap();
    assert!(!daemon.alive());
}
