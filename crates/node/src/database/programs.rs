//! MariaDB's programs.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::Error;

/// Where Debian puts servers and programs, and where a build by hand does.
pub const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The absolute path of a program.
///
/// # Errors
/// It is not installed; the error names the package.
pub fn find(program: &'static str) -> Result<PathBuf, Error> {
    find_in(PATH, program).ok_or(Error::Missing { program })
}

fn find_in(path: &str, program: &str) -> Option<PathBuf> {
    let executable =
        |file: &PathBuf| file.metadata().is_ok_and(|it| it.is_file() && it.permissions().mode() & 0o111 != 0);
    path.split(':').map(|folder| Path::new(folder).join(program)).find(executable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_program_names_its_package() {
        assert_eq!(find_in("/nonexistent:/bin", "sh"), Some("/bin/sh".into()));
        let error = find("no-such-program").unwrap_err().to_string();
        assert!(error.contains("no-such-program") && error.contains("mariadb-server-core"), "{error}");
    }
}
