//! Which PHP script answers a path. Files that exist are run or served; everything else goes to the front controller.

use std::path::{Component, Path, PathBuf};

use mainstay_http::fastcgi::{Script, Scripts, Target};
use mainstay_site::plan::NEVER_SENT;

/// The document root of an application.
#[derive(Clone, Debug)]
pub(super) struct Root {
    code: PathBuf,
    /// Where it lies among the site's addresses; ends with `/`.
    prefix: String,
    entry: String,
    shared: Vec<String>,
}

impl Root {
    /// `entry` is the front controller below `code`; nothing below `shared` is ever run, since visitors upload there.
    pub fn new(code: PathBuf, prefix: &str, entry: &str, shared: impl IntoIterator<Item = String>) -> Root {
        Root {
            code,
            prefix: prefix.to_owned(),
            entry: entry.trim_start_matches('/').to_owned(),
            shared: shared.into_iter().collect(),
        }
    }

    fn resolve(&self, path: &str) -> Target {
        let Some(path) = decode(path) else { return Target::Refused };
        let Some(relative) = path.strip_prefix(&self.prefix) else {
            // `/blog` without the slash, on which every relative address of a page depends.
            let bare = self.prefix.strip_suffix('/') == Some(path.as_str());
            return if bare { Target::Redirect(encode(&self.prefix)) } else { Target::Refused };
        };
        let relative = relative.trim_start_matches('/');
        if hidden(relative) {
            return Target::Refused;
        }
        if let Some((script, info)) = self.split_script(relative) {
            return if self.is_shared(script) { Target::Refused } else { self.script(script, info) };
        }
        if relative.is_empty() || relative.ends_with('/') {
            return self.folder(relative, &path);
        }
        let found = self.code.join(relative);
        match found.metadata() {
            Ok(folder) if folder.is_dir() => self.folder(relative, &path),
            // The web tier passes on what it never sends: it must not come out here.
            Ok(file) if file.is_file() && !is_never_sent(relative) => Target::File(found),
            _ => self.script(&self.entry, ""),
        }
    }

    /// `blog/index.php/2026/page` is the script `blog/index.php` with the rest as its argument.
    fn split_script<'a>(&self, relative: &'a str) -> Option<(&'a str, &'a str)> {
        let ends = relative.match_indices('/').map(|(at, _)| at).chain([relative.len()]);
        ends.map(|at| relative.split_at(at)).find(|(script, _)| is_php(script) && self.code.join(script).is_file())
    }

    fn folder(&self, relative: &str, path: &str) -> Target {
        let index = Path::new(relative).join("index.php");
        match index.to_str() {
            // Nothing needs to be looked for.
            Some(index) if index == self.entry && path.ends_with('/') => self.script(index, ""),
            Some(index) if self.code.join(index).is_file() && !self.is_shared(index) => {
                if path.ends_with('/') {
                    self.script(index, "")
                } else {
                    Target::Redirect(encode(path) + "/")
                }
            }
            _ => self.script(&self.entry, ""),
        }
    }

    fn script(&self, script: &str, info: &str) -> Target {
        Target::Script(Script {
            root: self.code.clone(),
            file: self.code.join(script),
            name: format!("{}{script}", self.prefix),
            info: info.to_owned(),
        })
    }

    fn is_shared(&self, relative: &str) -> bool {
        self.shared.iter().any(|shared| Path::new(relative).starts_with(shared))
    }
}

impl Scripts for Root {
    fn target(&self, path: &str) -> Target {
        self.resolve(path)
    }
}

fn is_never_sent(path: &str) -> bool {
    let path = path.to_ascii_lowercase();
    NEVER_SENT.iter().any(|suffix| path.ends_with(suffix))
}

fn is_php(path: &str) -> bool {
    let extension = Path::new(path).extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    ["php", "phtml", "phar"].iter().any(|php| extension.eq_ignore_ascii_case(php))
}

/// Whether a path leaves the root or names a hidden file (`.env`, `.git`); `/.well-known/` is for visitors (RFC 8615).
fn hidden(relative: &str) -> bool {
    Path::new(relative).components().any(|part| match part {
        Component::Normal(name) => name.to_str().is_none_or(|name| name.starts_with('.') && name != ".well-known"),
        // `.` at the start too: no browser sends it, and `./uploads` must not pass for another folder than `uploads`.
        _ => true,
    })
}

/// Percent-decoding (RFC 3986 § 2.1); `None` for what no file name may hold or what is no UTF-8.
fn decode(path: &str) -> Option<String> {
    let mut decoded = Vec::with_capacity(path.len());
    let mut bytes = path.bytes();
    while let Some(byte) = bytes.next() {
        decoded.push(if byte == b'%' { digit(bytes.next()?)? * 16 + digit(bytes.next()?)? } else { byte });
    }
    String::from_utf8(decoded).ok().filter(|text| !text.contains(['\0', '\\']))
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

fn encode(path: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~!$&'()*+,;=:@".contains(&byte);
    path.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// A WordPress in miniature.
    fn root() -> (tempfile::TempDir, Root) {
        root_below("/")
    }

    fn root_below(prefix: &str) -> (tempfile::TempDir, Root) {
        let folder = tempfile::tempdir().unwrap();
        let scripts = ["index.php", "wp-login.php", "wp-admin/index.php", "uploads/shell.php"];
        for file in scripts.into_iter().chain(["style.css", ".env", "wp-config.php.bak", "dump.SQL"]) {
            let path = folder.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        fs::write(folder.path().join("uploads/a b.jpg"), "").unwrap();
        fs::create_dir(folder.path().join("empty")).unwrap();
        let root = Root::new(folder.path().to_owned(), prefix, "index.php", ["uploads".to_owned()]);
        (folder, root)
    }

    #[test]
    fn an_application_below_a_prefix_is_found_there() {
        let (folder, root) = root_below("/blog/");
        for (path, file, name, info) in [
            ("/blog/", "index.php", "/blog/index.php", ""),
            ("/blog/wp-login.php", "wp-login.php", "/blog/wp-login.php", ""),
            ("/blog/wp-admin/index.php/x", "wp-admin/index.php", "/blog/wp-admin/index.php", "/x"),
            ("/blog/2026/title", "index.php", "/blog/index.php", ""),
        ] {
            let Target::Script(script) = root.resolve(path) else { panic!("{path} is a script") };
            let found = (script.file.as_path(), script.name.as_str(), script.info.as_str());
            assert_eq!(found, (folder.path().join(file).as_path(), name, info), "{path}");
        }
        assert!(matches!(root.resolve("/blog"), Target::Redirect(to) if to == "/blog/"));
        assert!(matches!(root.resolve("/blog/wp-admin"), Target::Redirect(to) if to == "/blog/wp-admin/"));
        assert!(matches!(root.resolve("/elsewhere"), Target::Refused));
    }

    /// `name + info` of a script, or the other outcomes in short.
    fn answer(path: &str) -> String {
        let (folder, root) = root();
        match root.resolve(path) {
            Target::Script(Script { root, file, name, info }) => {
                assert_eq!((root.as_path(), &file), (folder.path(), &folder.path().join(&name[1..])));
                format!("{name} + {info}")
            }
            Target::File(file) => format!("file {}", file.strip_prefix(folder.path()).unwrap().display()),
            Target::Redirect(to) => format!("to {to}"),
            Target::Refused => "refused".into(),
        }
    }

    #[test]
    fn scripts_files_folders_and_the_front_controller() {
        let table = [
            ("/", "/index.php + "),
            ("/wp-login.php", "/wp-login.php + "),
            ("/index.php/2026/hello", "/index.php + /2026/hello"),
            ("/wp-admin/", "/wp-admin/index.php + "),
            ("/wp-admin", "to /wp-admin/"),
            ("/2026/hello/", "/index.php + "),
            ("/no-such.php", "/index.php + "),
            ("/wp-config.php.bak", "/index.php + "),
            ("/dump.SQL", "/index.php + "),
            ("/empty/", "/index.php + "),
            ("/style.css", "file style.css"),
            ("/uploads/a%20b.jpg", "file uploads/a b.jpg"),
        ];
        for (path, expected) in table {
            assert_eq!(answer(path), expected, "{path}");
        }
    }

    #[test]
    fn uploads_are_never_run_and_nothing_outside_is_reached() {
        for path in [
            "/uploads/shell.php",
            "/uploads/shell.php/x",
            "/uploads/%73hell.php",
            "/./uploads/shell.php",
            "//uploads/shell.php",
            "/../secret.php",
            "/%2e%2e/secret",
            "/.env",
            "/.git/config",
            "/a%00.php",
            "/a\\b",
            "/%zz",
            "/%ff",
        ] {
            assert_eq!(answer(path), "refused", "{path}");
        }
        assert_eq!(answer("/uploads/"), "/index.php + ");
    }
}
