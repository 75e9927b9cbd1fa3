//! An application's release and the one that is to take its place.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use mainstay_site::model::{AppKind, Speaks};
use mainstay_site::names::{AppName, ReleaseId, Role, ServiceName};
use mainstay_site::plan::{self, Config, Listen, Plan, Service, Transport};
use mainstay_site::secrets::Secrets;
use mainstay_site::wire::State;

use crate::scene::{DEADLINE, Scene, free, lives, plan, signal, until};

const APP: &str = "app-site";

/// A migration that does not end while a test looks.
const LONG: &str = "exec sleep 600";

/// A server with an application whose releases say their names.
struct Site {
    scene: Scene,
    address: SocketAddr,
}

impl Site {
    fn up() -> Site {
        let mut site = Site { scene: Scene::new(), address: free() };
        fs::create_dir_all(site.scene.state()).unwrap();
        let secrets = Secrets::complete(None, [&AppName::from("site")], |bytes| bytes.fill(7));
        fs::write(site.scene.state().join("secrets.json"), serde_json::to_vec(&secrets).unwrap()).unwrap();
        let first = site.plan(1, "aaaaaaaaaaaa", None);
        site.scene.up(&first);
        site.scene.pid(APP);
        site
    }

    fn plan(&self, generation: u64, release: &str, migrate: Option<&str>) -> Plan {
        let code = format!("releases/site-{release}/code");
        let folder = self.scene.state().join(&code);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("index.html"), release).unwrap();
        let command = "exec /usr/bin/python3 -m http.server $PORT".to_owned();
        let config = plan::App {
            app: AppName::from("site"),
            kind: AppKind::Http { command, speaks: Speaks::Http1 },
            prefix: "/".into(),
            release: ReleaseId::from(release),
            code,
            venv: None,
            workers: 1,
            shared: Vec::new(),
            settings: Default::default(),
            migrate: migrate.map(str::to_owned),
            health: "/".into(),
            database: None,
            cache: None,
        };
        let listen = Listen {
            name: "http".into(),
            transport: Transport::Tcp,
            address: self.address,
            per_core: true,
            floating: false,
        };
        let service = Service {
            name: ServiceName::from(APP),
            role: Role::App,
            user: Role::App.user(),
            listens: vec![listen],
            writes: vec![format!("data/{APP}")],
            talks: Vec::new(),
            config: Config::App(config),
        };
        plan(generation, vec![service])
    }

    fn follow(&self, plan: &Plan) {
        self.scene.ask(async |client| client.put_plan(plan).await).unwrap();
    }

    fn migrates(&self) {
        self.scene.status("the successor migrates", |status| {
            let app = &status.services[0];
            app.state == State::Serving && app.because.ends_with(&format!("its successor: migrating: `{LONG}`"))
        });
    }

    /// Which release answers.
    fn answers(&self) -> String {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.write_all(b"GET / HTTP/1.0\r\nHost: foobar.com\r\n\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text.rsplit_once("\r\n\r\n").unwrap_or_default().1.to_owned()
    }

    fn until_answers(&self, release: &str) {
        until(&format!("{release} answers"), || (self.answers() == release).then_some(()));
    }
}

#[test]
fn the_release_before_serves_while_its_successor_migrates_and_another_wish_ends_that() {
    let site = Site::up();
    let before = site.scene.pid(APP);
    site.follow(&site.plan(2, "bbbbbbbbbbbb", Some(LONG)));
    site.migrates();
    assert_eq!(site.answers(), "aaaaaaaaaaaa");
    // The one before again: it need not even be replaced.
    site.follow(&site.plan(3, "aaaaaaaaaaaa", None));
    site.scene.status("nobody migrates", |status| !status.services[0].because.contains("successor"));
    assert_eq!(site.scene.pid(APP), before);
    site.follow(&site.plan(4, "bbbbbbbbbbbb", Some(LONG)));
    site.migrates();
    site.follow(&site.plan(5, "cccccccccccc", None));
    site.until_answers("cccccccccccc");
    until("the one before has ended", || (!lives(before)).then_some(()));
}

#[test]
fn a_successor_goes_on_alone_where_the_one_before_dies() {
    let site = Site::up();
    let before = site.scene.pid(APP);
    site.follow(&site.plan(2, "bbbbbbbbbbbb", Some(LONG)));
    site.migrates();
    signal(before, "KILL");
    let alone = site.scene.service(APP, State::Starting);
    assert!(alone.because.contains(LONG) && alone.pid != Some(before), "{alone:?}");
    site.follow(&site.plan(3, "aaaaaaaaaaaa", None));
    site.until_answers("aaaaaaaaaaaa");
}

#[test]
fn a_successor_that_cannot_migrate_leaves_the_one_before() {
    let site = Site::up();
    let before = site.scene.pid(APP);
    site.follow(&site.plan(2, "bbbbbbbbbbbb", Some("echo 'no such column' >&2; exit 1")));
    let declined = site.scene.service(APP, State::Degraded);
    assert!(
        declined.because.contains("cannot be changed") && declined.because.contains("no such column"),
        "{declined:?}"
    );
    assert_eq!((site.answers().as_str(), declined.pid), ("aaaaaaaaaaaa", Some(before)));
}
