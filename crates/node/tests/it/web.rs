//! The web server before the application service.

use std::fs;

use mainstay_node::web;
use mainstay_site::model::Algorithm;
use mainstay_site::names::{AppName, Role, ServerName};
use mainstay_site::plan::{Backend, Config, Door, Health, NEVER_SENT, Pool, Route, Static, Web};
use mainstay_site::wire::State;

use crate::php::Php;
use crate::support::{self, Running, output};

fn plan(php: &Php) -> Web {
    let shared = Static {
        prefix: "/uploads/".into(),
        folder: "shared/site/uploads".into(),
        before: None,
        fall_through: true,
        never: NEVER_SENT.map(String::from).to_vec(),
        fallback: None,
        cache_control: None,
    };
    let backend = Backend { name: ServerName::from("server2"), address: php.address, weight: 1, spare: false };
    let health = Health { path: "/.mainstay/health".into(), interval_ms: 100, timeout_ms: 1000, rise: 1, fall: 1 };
    let pool = Pool {
        name: "app-site".into(),
        algorithm: Algorithm::RoundRobin,
        backends: vec![backend],
        health,
        sticky: None,
        hedge_ms: None,
    };
    let route = Route { app: AppName::from("site"), host: None, prefix: "/".into(), statics: vec![shared], pool };
    Web { front: true, routes: vec![route], door: Door::default(), cache: None }
}

#[test]
fn a_shared_folder_that_is_missing_is_named_and_asked_of_the_application_until_it_appears() {
    let php = Php::start(1, |app| app.shared = vec![("uploads".into(), "shared/site/uploads".into())]);
    let uploads = php.state().join("releases/site-0123456789ab/code/uploads");
    fs::create_dir(&uploads).unwrap();
    for (name, text) in [("photo.txt", "on the application's server"), ("shell.php", "<?php echo 'run';")] {
        fs::write(uploads.join(name), text).unwrap();
    }
    fs::write(uploads.join("dump.sql"), "secret").unwrap();

    let state = crate::app::state();
    let plan = plan(&php);
    let launch = support::launch("web", Role::Web, Config::Web(plan.clone()), state.path());
    let (sockets, port) = support::sockets("http");
    let web = Running::start(launch, sockets, move |context| web::run(context, &plan).unwrap());
    let ask = |path: &str| output("curl", &["-s", &format!("http://127.0.0.1:{port}/uploads/{path}")]);

    web.until("it is degraded and says why", |report| {
        report.state == State::Degraded && report.because.contains("shared/site/uploads cannot be opened")
    });
    assert_eq!(ask("photo.txt"), "on the application's server");
    assert!(!ask("shell.php").contains("run"), "what visitors upload is not run");
    assert!(!ask("dump.sql").contains("secret"));

    fs::create_dir_all(state.path().join("shared/site/uploads")).unwrap();
    fs::write(state.path().join("shared/site/uploads/photo.txt"), "here").unwrap();
    web.until("it is well", |report| report.state == State::Serving);
    assert_eq!(ask("photo.txt"), "here");
}
