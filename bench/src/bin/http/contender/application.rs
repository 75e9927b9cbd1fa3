//! A page that an application makes: a thousand bytes, without a framework or a database.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;
use mainstay_bench::arena::{fetched, peer, word};

use crate::cases::{Case, Language};

/// As many as a declaration has by default.
const WORKERS: usize = 2;

/// Where an application listens that nobody but us has started.
pub fn socket(folder: &Path) -> PathBuf {
    folder.join("application.sock")
}

/// Writes it to `code`; what a declaration says of it.
pub fn declared(language: Language, case: &Case, code: &Path) -> Result<&'static str> {
    write(language, case, code)?;
    Ok(match language {
        Language::Php => "kind = \"php\"\nentry = \"index.php\"\n",
        Language::Python => "kind = \"wsgi\"\nentry = \"page:app\"\n",
    })
}

/// Writes it to `folder`; the command that runs it there without Mainstay.
pub fn by_hand(language: Language, case: &Case, folder: &Path) -> Result<Vec<String>> {
    let code = folder.join("code");
    write(language, case, &code)?;
    match language {
        Language::Php => php_fpm(folder),
        Language::Python => gunicorn(folder, &code),
    }
}

/// Where pip finds what ours installs: the arena has no network.
pub fn wheels() -> Result<[String; 2]> {
    Ok(["PIP_NO_INDEX=1".into(), format!("PIP_FIND_LINKS={}", word(&fetched("wheels")?))])
}

fn write(language: Language, case: &Case, code: &Path) -> Result<()> {
    fs::create_dir_all(code)?;
    let bytes = case.body;
    match language {
        Language::Php => fs::write(
            code.join("index.php"),
            format!("<?php\nheader('Content-Length: {bytes}');\necho str_repeat('x', {bytes});\n"),
        )?,
        Language::Python => fs::write(
            code.join("page.py"),
            format!(
                "def app(environ, start_response):\n    \
                 start_response('200 OK', [('Content-Type', 'text/html'), ('Content-Length', '{bytes}')])\n    \
                 return [b'x' * {bytes}]\n"
            ),
        )?,
    }
    Ok(())
}

/// With the modules and settings that ours has.
fn php_fpm(folder: &Path) -> Result<Vec<String>> {
    let config = folder.join("php-fpm.conf");
    let text = format!(
        "[global]\nerror_log = {0}/php-fpm.log\ndaemonize = no\n[www]\nuser = www-data\ngroup = www-data\n\
         listen = {1}\nlisten.mode = 0666\npm = static\npm.max_children = {WORKERS}\n",
        word(folder),
        word(&socket(folder))
    );
    fs::write(&config, text)?;
    fs::write(folder.join("php.ini"), "opcache.enable = 1\nopcache.memory_consumption = 64\n")?;
    let modules = "PHP_INI_SCAN_DIR=/etc/php/8.2/cgi/conf.d".into();
    let program = word(&peer("sbin/php-fpm8.2")?);
    Ok(["env".into(), modules, program, "-c".into(), word(folder), "-F".into(), "-y".into(), word(&config)].into())
}

/// As its documentation deploys it: behind nginx, one more process than twice the cores.
fn gunicorn(folder: &Path, code: &Path) -> Result<Vec<String>> {
    let libraries = format!("PYTHONPATH={}", word(&peer("lib/python3/dist-packages")?));
    let bind = format!("unix:{}", word(&socket(folder)));
    let words =
        ["/usr/bin/python3", "-m", "gunicorn", "--workers", "3", "--bind", &bind, "--chdir", &word(code), "page:app"];
    Ok(["env".into(), libraries].into_iter().chain(words.map(String::from)).collect())
}
