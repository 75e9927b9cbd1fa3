//! Python environments: one per set of requirements and interpreter, shared by the releases that have the same.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use mainstay_site::names::ReleaseId;
use rustix::fs::{FlockOperation, flock};
use sha2::{Digest, Sha256};

use super::command::{self, Ended};
use super::error::{At, Error};
use super::tree::{remove, settle, world_folder};

/// The server that runs WSGI and ASGI workers. Pinned, since `app/worker.py` is written against its insides.
pub const GRANIAN: &str = "granian==2.8.7";

/// What a codebase says it needs, as pip reads it.
const REQUIREMENTS: &str = "requirements.txt";
/// Written last: an environment without it was interrupted and is made anew.
const COMPLETE: &str = ".complete";
/// A large scientific stack over a slow line; beyond that something hangs.
const PIP_LIMIT: Duration = Duration::from_secs(900);
/// Making an empty environment, asking an interpreter for its version, compiling.
const PYTHON_LIMIT: Duration = Duration::from_secs(180);
/// `-r` inside `-r` inside …: deeper than this is a circle.
const INCLUDES_MAX: usize = 32;

/// The environment for the codebase at `code`, made below `venvs` unless it is there.
pub(super) fn environment(
    app: &str,
    code: &Path,
    release: &ReleaseId,
    venvs: &Path,
    progress: &mut dyn FnMut(&str),
) -> Result<PathBuf, Error> {
    let python = interpreter()?;
    let name = environment_name(&python, code, release)?;
    let venv = venvs.join(&name);
    world_folder(venvs)?;
    let _alone = lock(&venvs.join(format!("{name}.lock")))?;
    if !venv.join(COMPLETE).exists() {
        remove(&venv)?;
        let pip = make(&python, &venv, progress)?;
        install(app, code, &venv, pip.as_deref(), progress)?;
        compile(&venv.join("bin/python"), &venv.join("lib"), progress)?;
        settle(&venv)?;
        fs::write(venv.join(COMPLETE), GRANIAN).at("write", &venv)?;
    }
    Ok(venv)
}

/// Compiles every module below `folder`, so that workers start quickly though they may not write there. Hash-based
/// without checks (PEP 552): a release never changes, and copies need not keep times. A file that does not compile is
/// only reported: it may be a template or meant for another Python.
pub(super) fn compile(python: &Path, folder: &Path, progress: &mut dyn FnMut(&str)) -> Result<(), Error> {
    let mut command = clean(python);
    command.args(["-m", "compileall", "-q", "-j", "0", "--invalidation-mode", "unchecked-hash"]).arg(folder);
    if !command::run(command, PYTHON_LIMIT, &mut |_| {})?.success {
        progress("some Python files do not compile; those that import them will fail");
    }
    Ok(())
}

/// The interpreter of a venv, or the first of this machine that every user may execute.
fn interpreter() -> Result<PathBuf, Error> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let known = ["/usr/bin/python3", "/usr/local/bin/python3"].map(PathBuf::from);
    let searched = std::env::split_paths(&path).map(|folder| folder.join("python3"));
    let mut looked = Vec::new();
    for candidate in known.into_iter().chain(searched) {
        match candidate.canonicalize() {
            Ok(real) if open_to_everyone(&real) => return Ok(candidate),
            Ok(real) => looked.push(format!("{}: its real place {} is private", candidate.display(), real.display())),
            Err(_) => {}
        }
    }
    Err(Error::NoPython { looked: if looked.is_empty() { "PATH".into() } else { looked.join(", ") } })
}

/// Whether every user may enter all folders down to `path` and execute it. A pyenv below /root passes for root and
/// fails for the user that the workers run as.
fn open_to_everyone(path: &Path) -> bool {
    path.is_file()
        && path.ancestors().all(|part| part.metadata().is_ok_and(|found| found.permissions().mode() & 0o001 != 0))
}

fn environment_name(python: &Path, code: &Path, release: &ReleaseId) -> Result<String, Error> {
    let mut command = clean(python);
    command.args(["-c", "import ensurepip, platform, sys, venv; print(sys.version, platform.machine())"]);
    let version = command::run(command, PYTHON_LIMIT, &mut |_| {})?;
    if !version.success {
        return Err(Error::NoVenvModule(python.to_owned()));
    }
    let mut hash = Sha256::new();
    hash.update(format!("{GRANIAN}\n{}\n{}\n", python.display(), version.tail));
    let mut seen = BTreeSet::new();
    if add_requirements(&mut hash, &code.join(REQUIREMENTS), &mut seen)? {
        hash.update(release.as_str());
    }
    let digits: String = hash.finalize().iter().take(6).map(|byte| format!("{byte:02x}")).collect();
    Ok(digits)
}

/// Adds a requirements file and those it includes; `true` if one of them installs a folder of the codebase itself, so
/// that the environment belongs to this very release.
fn add_requirements(hash: &mut Sha256, file: &Path, seen: &mut BTreeSet<PathBuf>) -> Result<bool, Error> {
    if !file.is_file() || seen.len() >= INCLUDES_MAX || !seen.insert(file.to_owned()) {
        return Ok(false);
    }
    let text = fs::read_to_string(file).at("read", file)?;
    hash.update(&text);
    let mut local = false;
    for line in text.lines().map(str::trim) {
        local |= ["-e", "--editable", ".", "/", "file:"].iter().any(|start| line.starts_with(start));
        if let (Some(included), Some(folder)) = (included(line), file.parent()) {
            local |= add_requirements(hash, &folder.join(included), seen)?;
        }
    }
    Ok(local)
}

/// The file that a line of a requirements file includes (pip's "Requirements File Format").
fn included(line: &str) -> Option<&str> {
    let rest = ["--requirement", "--constraint", "-r", "-c"].iter().find_map(|option| line.strip_prefix(option))?;
    Some(rest.trim_start_matches(['=', ' ', '\t'])).filter(|file| !file.is_empty())
}

/// Makes an empty environment; what pip is to be run with in it, if that is not in it itself.
///
/// Half of the time of `python3 -m venv` goes into installing pip and setuptools, which no site runs: pip runs out of the
/// wheel that they would come from. No public interface of `ensurepip` names it, so where it is not found they are installed.
fn make(python: &Path, venv: &Path, progress: &mut dyn FnMut(&str)) -> Result<Option<PathBuf>, Error> {
    progress("making a Python environment");
    let pip = pip_wheel(python)?;
    let mut command = clean(python);
    command.args(["-m", "venv"]).args(pip.is_some().then_some("--without-pip")).arg(venv);
    let ended = command::run(command, PYTHON_LIMIT, &mut |_| {})?;
    if ended.success { Ok(pip) } else { Err(failed("python3 -m venv", ended)) }
}

/// Prints where pip's wheel is, nothing if it is in neither of the places where Debian and Python's makers put it.
const FIND_PIP: &str = "import ensurepip, pathlib
places = [getattr(ensurepip, '_WHEEL_PKG_DIR', None), pathlib.Path(ensurepip.__file__).parent / '_bundled']
wheels = [wheel for place in places if place for wheel in sorted(pathlib.Path(place).glob('pip-*.whl'))]
print(wheels[-1] if wheels else '')";

fn pip_wheel(python: &Path) -> Result<Option<PathBuf>, Error> {
    let mut command = clean(python);
    command.args(["-c", FIND_PIP]);
    let found = command::run(command, PYTHON_LIMIT, &mut |_| {})?;
    let path = PathBuf::from(found.tail.trim());
    Ok((found.success && path.is_file()).then_some(path))
}

fn failed(command: &str, ended: Ended) -> Error {
    Error::Command { command: command.to_owned(), tail: ended.tail }
}

fn install(
    app: &str,
    code: &Path,
    venv: &Path,
    pip: Option<&Path>,
    progress: &mut dyn FnMut(&str),
) -> Result<(), Error> {
    let requirements = code.join(REQUIREMENTS);
    let mut command = clean(&venv.join("bin/python"));
    if let Some(pip) = pip {
        command.env("PYTHONPATH", pip);
    }
    command.args(["-m", "pip", "install", "--no-input", "--disable-pip-version-check", "--no-compile"]);
    command.args(["--progress-bar", "off", "--retries", "2", "--timeout", "15", GRANIAN]).current_dir(code);
    if requirements.is_file() {
        command.arg("-r").arg(&requirements);
    }
    let ended = command::run(command, PIP_LIMIT, &mut |line| {
        if ["Collecting", "Downloading", "Building", "Installing", "Successfully"].iter().any(|w| line.starts_with(w)) {
            progress(line);
        }
    })?;
    match ended.success {
        true => Ok(()),
        false if unreachable(&ended.tail) => Err(Error::NoNetwork { app: app.to_owned(), tail: ended.tail }),
        false => Err(Error::Pip { requirements, tail: ended.tail }),
    }
}

/// Whether pip's last words speak of the network and not of a package.
fn unreachable(tail: &str) -> bool {
    const SIGNS: [&str; 6] = [
        "Failed to establish a new connection",
        "Temporary failure in name resolution",
        "Name or service not known",
        "ConnectTimeoutError",
        "Network is unreachable",
        "ProxyError",
    ];
    SIGNS.iter().any(|sign| tail.contains(sign))
}

/// A Python that sees nothing of the caller's own virtual environment or module path.
fn clean(python: &Path) -> Command {
    let mut command = Command::new(python);
    for variable in ["PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "__PYVENV_LAUNCHER__"] {
        command.env_remove(variable);
    }
    command
}

/// Held until it is dropped, so that two builds at once do not write one environment.
fn lock(path: &Path) -> Result<File, Error> {
    let file = File::create(path).at("create", path)?;
    flock(&file, FlockOperation::LockExclusive).at("lock", path)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(files: &[(&str, &str)], release: &str) -> String {
        let code = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(code.path().join(name), text).unwrap();
        }
        environment_name(&interpreter().unwrap(), code.path(), &ReleaseId::from(release)).unwrap()
    }

    #[test]
    fn releases_with_the_same_requirements_share_an_environment() {
        let flask = named(&[("requirements.txt", "Flask==3.1\n")], "one");
        assert_eq!(named(&[("requirements.txt", "Flask==3.1\n"), ("app.py", "x")], "two"), flask);
        assert_ne!(named(&[("requirements.txt", "Flask==3.0\n")], "one"), flask);
        assert_ne!(named(&[], "one"), flask);
    }

    #[test]
    fn included_files_count_and_circles_end() {
        let one = named(&[("requirements.txt", "-r base.txt"), ("base.txt", "Flask\n-r requirements.txt")], "one");
        let two = named(&[("requirements.txt", "-r base.txt"), ("base.txt", "Django\n-r requirements.txt")], "one");
        assert_ne!(one, two);
    }

    #[test]
    fn an_environment_that_holds_the_codebase_itself_is_not_shared() {
        let files = [("requirements.txt", "Flask\n-e .\n")];
        assert_ne!(named(&files, "one"), named(&files, "two"));
    }

    #[test]
    fn a_private_interpreter_is_not_taken() {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700)).unwrap();
        let python = folder.path().join("python3");
        fs::write(&python, "#!/bin/sh\n").unwrap();
        fs::set_permissions(&python, fs::Permissions::from_mode(0o755)).unwrap();
        assert!(!open_to_everyone(&python), "its folder lets nobody else in");
        assert!(open_to_everyone(&interpreter().unwrap().canonicalize().unwrap()));
    }

    #[test]
    fn a_dead_network_is_told_from_a_wrong_requirement() {
        assert!(unreachable(
            "WARNING: Retrying … NewConnectionError: Failed to establish a new connection: [Errno 101]"
        ));
        assert!(!unreachable("ERROR: No matching distribution found for Flask==99"));
    }
}
