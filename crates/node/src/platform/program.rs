//! Foreign programs: where they are looked for.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Where Debian puts servers and programs, and where a build by hand does; the `PATH` of whatever is started from there.
pub const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The absolute path of the program that is called `name`; `None` if there is none that can be executed.
pub fn find(name: &str) -> Option<PathBuf> {
    find_in(PATH, name)
}

fn find_in(path: &str, name: &str) -> Option<PathBuf> {
    let executable =
        |file: &PathBuf| file.metadata().is_ok_and(|it| it.is_file() && it.permissions().mode() & 0o111 != 0);
    path.split(':').map(|folder| Path::new(folder).join(name)).find(executable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_can_be_executed() {
        assert_eq!(find_in("/nonexistent:/bin", "sh"), Some("/bin/sh".into()));
        assert_eq!(find_in("/etc", "passwd"), None, "it cannot be executed");
        assert_eq!(find("no-such-program"), None);
    }
}
