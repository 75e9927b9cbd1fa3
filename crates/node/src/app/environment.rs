//! What a worker process finds in its environment. Nothing else is passed on.
//!
//! | variable | what |
//! |---|---|
//! | `DATABASE_URL` | `mysql://user:password@host:port/schema` of the writer |
//! | `DATABASE_READ_URL` | the same of the reader, which may be a moment behind |
//! | `DATABASE_FRESH_URL` | the same of the reader whose connections see everything that was written before they were made |
//! | `DB_HOST`, `DB_PORT` | the writer |
//! | `DB_READ_HOST`, `DB_READ_PORT` | the reader |
//! | `DB_FRESH_HOST`, `DB_FRESH_PORT` | the reader that has seen what was written before |
//! | `DB_NAME`, `DB_USER`, `DB_PASSWORD` | schema and account, the same for both |
//! | `REDIS_URL` | `redis://:password@host:port/number` of the cache, where a server has that role; it may be gone at any time |
//! | `SECRET_KEY` | for signing sessions; the same on every server and across restarts and releases |
//! | `SOCKET` | a Unix socket on which an `http` worker may listen |
//! | `HOST`, `PORT` | an address on the loopback on which it may listen instead |
//! | `MAINSTAY_SITE`, `MAINSTAY_SERVER`, `MAINSTAY_RELEASE` | where it runs, and which release it is |
//! | `MAINSTAY_WORKER` | the worker's own folder-like name, by which leftovers are recognised |
//! | `PATH` | the release's Python environment, then the system's folders |
//! | `VIRTUAL_ENV` | the release's Python environment |
//! | `HOME`, `TMPDIR` | folders that it may write, below the server's state directory |
//! | `LANG` | `C.UTF-8` |
//! | `PYTHONUNBUFFERED` | `1`, so that what is printed reaches the log at once |
//! | the declared `settings` | win over everything above but the `MAINSTAY_` names |

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;

use mainstay_site::plan;

use crate::service::Launch;

/// Where every Debian keeps its commands.
const SYSTEM_PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// Environment variables, sorted.
pub(super) type Environment = BTreeMap<String, String>;

/// What all workers and the migration have in common. `home` is the service's own folder for data.
pub(super) fn common(launch: &Launch, config: &plan::App, home: &Path, temporary: &Path) -> Environment {
    let mut known = Environment::new();
    let mut set = |name: &str, value: String| known.insert(name.to_owned(), value);
    set("HOME", home.display().to_string());
    set("TMPDIR", temporary.display().to_string());
    set("LANG", "C.UTF-8".into());
    set("PYTHONUNBUFFERED", "1".into());
    set("PATH", SYSTEM_PATH.into());
    if let Some(venv) = &config.venv {
        let venv = launch.state.join(venv);
        set("PATH", format!("{}:{SYSTEM_PATH}", venv.join("bin").display()));
        set("VIRTUAL_ENV", venv.display().to_string());
    }
    if let Some(key) = launch.secrets.app_keys.get(&config.app) {
        set("SECRET_KEY", key.clone());
    }
    if let Some(database) = &config.database {
        let password = launch.secrets.database.get(&config.app).cloned().unwrap_or_default();
        known.extend(database_variables(database, &password));
    }
    if let Some(cache) = &config.cache {
        let plan::AppCache { address, database } = cache;
        known.insert("REDIS_URL".into(), format!("redis://:{}@{address}/{database}", launch.secrets.cache));
    }
    known.extend(config.settings.clone());
    known.extend(identity(launch, config));
    known
}

fn identity(launch: &Launch, config: &plan::App) -> Environment {
    [
        ("MAINSTAY_SITE", launch.site.as_str()),
        ("MAINSTAY_SERVER", launch.server.as_str()),
        ("MAINSTAY_RELEASE", config.release.as_str()),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into()
}

fn database_variables(database: &plan::AppDatabase, password: &str) -> Environment {
    let url = |at: SocketAddr| format!("mysql://{}:{password}@{at}/{}", database.schema, database.schema);
    let fresh = database.fresh.unwrap_or(database.writer);
    [
        ("DATABASE_URL", url(database.writer)),
        ("DATABASE_READ_URL", url(database.reader)),
        ("DATABASE_FRESH_URL", url(fresh)),
        ("DB_HOST", database.writer.ip().to_string()),
        ("DB_PORT", database.writer.port().to_string()),
        ("DB_READ_HOST", database.reader.ip().to_string()),
        ("DB_READ_PORT", database.reader.port().to_string()),
        ("DB_FRESH_HOST", fresh.ip().to_string()),
        ("DB_FRESH_PORT", fresh.port().to_string()),
        ("DB_NAME", database.schema.clone()),
        ("DB_USER", database.schema.clone()),
        ("DB_PASSWORD", password.to_owned()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

/// What one worker has on top: where it may listen and who it is. A declared setting does not win here: the worker
/// would listen where nobody asks.
pub(super) fn worker(common: &Environment, socket: &Path, tcp: Option<SocketAddr>, name: &Path) -> Environment {
    let mut all = common.clone();
    all.insert("SOCKET".into(), socket.display().to_string());
    all.insert("MAINSTAY_WORKER".into(), name.display().to_string());
    if let Some(address) = tcp {
        all.insert("HOST".into(), address.ip().to_string());
        all.insert("PORT".into(), address.port().to_string());
    }
    all
}

#[cfg(test)]
mod tests {
    use super::super::scene;
    use super::*;

    #[test]
    fn everything_that_is_promised_is_there_and_nothing_else() {
        let launch = scene::launch(Path::new("/state"), scene::wsgi("guestbook:app"));
        let plan::Config::App(config) = &launch.service.config else { panic!() };
        let common = common(&launch, config, Path::new("/state/data/app-site"), Path::new("/state/run/app-site/tmp"));
        let all = worker(&common, Path::new("/s"), Some(([127, 0, 0, 1], 4000).into()), Path::new("/state/run/w"));
        let names: Vec<&str> = all.keys().map(String::as_str).collect();
        assert_eq!(
            names,
            [
                "DATABASE_FRESH_URL",
                "DATABASE_READ_URL",
                "DATABASE_URL",
                "DB_FRESH_HOST",
                "DB_FRESH_PORT",
                "DB_HOST",
                "DB_NAME",
                "DB_PASSWORD",
                "DB_PORT",
                "DB_READ_HOST",
                "DB_READ_PORT",
                "DB_USER",
                "GREETING",
                "HOME",
                "HOST",
                "LANG",
                "MAINSTAY_RELEASE",
                "MAINSTAY_SERVER",
                "MAINSTAY_SITE",
                "MAINSTAY_WORKER",
                "PATH",
                "PORT",
                "PYTHONUNBUFFERED",
                "REDIS_URL",
                "SECRET_KEY",
                "SOCKET",
                "TMPDIR",
                "VIRTUAL_ENV",
            ]
        );
        assert_eq!(all["DATABASE_URL"], "mysql://site:databasepassword@127.0.0.1:6446/site");
        assert_eq!(all["DATABASE_READ_URL"], "mysql://site:databasepassword@127.0.0.1:6447/site");
        assert_eq!(all["REDIS_URL"], "redis://:cachepassword@10.80.0.41:6379/3");
        assert_eq!(all["PATH"], format!("/state/releases/site-0123456789ab/venv/bin:{SYSTEM_PATH}"));
        assert_eq!(all["MAINSTAY_SERVER"], "server1");
    }

    #[test]
    fn a_setting_wins_over_defaults_but_cannot_pass_for_another_server() {
        let mut launch = scene::launch(Path::new("/state"), scene::wsgi("guestbook:app"));
        let plan::Config::App(config) = &mut launch.service.config else { panic!() };
        config.settings.insert("LANG".into(), "de_DE.UTF-8".into());
        config.settings.insert("MAINSTAY_SERVER".into(), "elsewhere".into());
        let config = config.clone();
        let all = common(&launch, &config, Path::new("/h"), Path::new("/t"));
        assert_eq!((all["LANG"].as_str(), all["MAINSTAY_SERVER"].as_str()), ("de_DE.UTF-8", "server1"));
    }
}
