//! What the tests of this module share: a launch with a state directory.

use std::path::Path;

use mainstay_site::model::AppKind;
use mainstay_site::names::{AppName, Domain, Generation, ReleaseId, Role, ServerName, ServiceName};
use mainstay_site::plan::{self, AppDatabase, Config, Service};
use mainstay_site::secrets::Secrets;

use crate::service::Launch;

/// A WSGI application.
pub(super) fn wsgi(entry: &str) -> AppKind {
    AppKind::Wsgi { entry: entry.into() }
}

/// The service `app-site` of `server1` with a database, one worker and one setting.
pub(super) fn launch(state: &Path, kind: AppKind) -> Launch {
    let app = AppName::from("site");
    let python = matches!(kind, AppKind::Wsgi { .. } | AppKind::Asgi { .. });
    let config = plan::App {
        app: app.clone(),
        kind,
        release: ReleaseId::from("0123456789ab"),
        code: "releases/site-0123456789ab/code".into(),
        prefix: "/".into(),
        venv: python.then(|| "releases/site-0123456789ab/venv".into()),
        workers: 1,
        shared: Vec::new(),
        settings: [("GREETING".to_owned(), "hello".to_owned())].into(),
        migrate: None,
        health: "/".into(),
        database: Some(AppDatabase {
            writer: ([127, 0, 0, 1], 6446).into(),
            reader: ([127, 0, 0, 1], 6447).into(),
            fresh: Some(([127, 0, 0, 1], 6448).into()),
            schema: "site".into(),
        }),
        cache: Some(plan::AppCache { address: ([10, 80, 0, 41], 6379).into(), database: 3 }),
    };
    let mut secrets = Secrets::complete(None, [&app], |bytes| bytes.fill(7));
    secrets.cache = "cachepassword".into();
    secrets.database.insert(app, "databasepassword".into());
    Launch {
        site: Domain::from("foobar.com"),
        server: ServerName::from("server1"),
        generation: Generation(1),
        service: Service {
            name: ServiceName::from("app-site"),
            role: Role::App,
            user: Role::App.user(),
            listens: Vec::new(),
            writes: Vec::new(),
            talks: Vec::new(),
            config: Config::App(config),
        },
        state: state.to_owned(),
        secrets,
        beside: false,
    }
}
