//! The guestbook of the examples, as it was when this program was built: scenarios need no repository beside them.

use std::fs;
use std::path::Path;

macro_rules! files {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("../../../../../../examples/guestbook-flask/", $name)))),*]
    };
}

const FILES: &[(&str, &str)] = files![
    "guestbook.py",
    "migrate.py",
    "requirements.txt",
    "sessions.py",
    "storage.py",
    "static/style.css",
    "templates/away.html",
    "templates/base.html",
    "templates/index.html",
];

/// Puts it into a folder.
pub fn lay(code: &Path) -> std::io::Result<()> {
    for (name, text) in FILES {
        let path = code.join(name);
        path.parent().map_or(Ok(()), fs::create_dir_all)?;
        fs::write(path, text)?;
    }
    Ok(())
}

/// The distributed design with a primary that is replaced by itself: the third vote is the balancer's.
pub const DECLARATION: &str = r#"
format = 1
[site]
domain = "DOMAIN"
[app]
path = "code"
kind = "wsgi"
entry = "guestbook:app"
health = "/health"
migrate = "python migrate.py"
[web]
static = { "/static/" = "static" }
[balancer]
algorithm = "round-robin"
[database]
failover = "automatic"
durability = "semi-sync"
[servers.lb1]
address = "10.80.0.10"
roles = ["dns", "balancer"]
[servers.server1]
address = "10.80.0.11"
roles = ["web", "app", "database"]
[servers.server2]
address = "10.80.0.12"
roles = ["web", "app", "database"]
"#;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// What the example has, without what Python leaves behind.
    fn files(folder: &Path, below: &str, found: &mut BTreeSet<String>) {
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let name = format!("{below}{}", entry.file_name().to_string_lossy());
            match entry.path().is_dir() {
                true if name == "__pycache__" => {}
                true => files(&entry.path(), &format!("{name}/"), found),
                false => drop(found.insert(name)),
            }
        }
    }

    #[test]
    fn the_guestbook_is_whole() {
        let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/guestbook-flask");
        let mut there = BTreeSet::new();
        files(&example, "", &mut there);
        assert_eq!(FILES.iter().map(|(name, _)| (*name).to_owned()).collect::<BTreeSet<_>>(), there);
    }
}
