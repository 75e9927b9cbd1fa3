//! The shipped binary with a default declaration.

use std::fs;
use std::path::Path;

use anyhow::Result;
use mainstay_bench::arena::{mainstay as binary, word};

use super::{application, backends, certificate};
use crate::cases::{Case, From, Language};

/// One supervisor and the service that is measured, or for a page that is made all services of its site.
pub fn command(case: &Case, address: &str, folder: &Path) -> Result<Vec<String>> {
    let code = folder.join("code");
    fs::create_dir_all(code.join("static"))?;
    fs::write(code.join("static/file.bin"), vec![b'x'; case.body])?;
    let front = |roles: &str| format!("[servers.front]\naddress = \"{address}\"\nroles = [{roles}]\n");
    let servers = |roles: &str| {
        backends(case, |number, address| format!("[servers.web{number}]\naddress = \"{address}\"\nroles = [{roles}]\n"))
    };
    let kind = match case.from {
        From::Application(language) => application::declared(language, case, &folder.join("code"))?,
        _ => "kind = \"http\"\ncommand = \"true\"\nhealth = \"/health\"\n",
    };
    let mut text = format!("format = 1\n[site]\ndomain = \"foobar.com\"\n[app]\npath = \"code\"\n{kind}");
    if case.wire.is_encrypted() {
        certificate(folder)?;
        text += "[tls]\ncertificate = { certificate = \"cert.pem\", key = \"key.pem\" }\n";
    }
    if case.wire.is_idle() {
        // All clients have one address.
        text += "[limits]\nconnections-per-address = 20000\n";
    }
    text += &match case.from {
        From::Backends => front("\"balancer\"") + &servers("\"web\", \"app\""),
        From::Application(_) => front("\"web\", \"app\""),
        From::Cache => front("\"web\"") + &servers("\"app\""),
        From::Files => {
            "[web]\nstatic = { \"/static/\" = \"static\" }\n".to_owned() + &front("\"web\"") + &servers("\"app\"")
        }
    };
    let declaration = folder.join("site.toml");
    fs::write(&declaration, text)?;
    // Another server of the site would have made them.
    let secrets = "{\"format\":1,\"app_keys\":{},\"database\":{},\"database_admin\":\"\",\"replication\":\"\"}";
    fs::create_dir(folder.join("state"))?;
    fs::write(folder.join("state/secrets.json"), secrets)?;
    let environment = match case.from {
        From::Application(Language::Python) => application::wheels()?.into(),
        _ => Vec::new(),
    };
    let words = [word(&binary()?), "serve".into(), "--server".into(), "front".into()];
    let state = ["--state".into(), word(&folder.join("state")), "--declaration".into(), word(&declaration)];
    Ok(["env".into()].into_iter().chain(environment).chain(words).chain(state).collect())
}
