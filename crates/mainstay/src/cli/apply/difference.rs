//! What a change is, server by server, for a person to agree to.

use std::collections::BTreeMap;
use std::fmt::Write;

use mainstay_site::names::ServerName;
use mainstay_site::plan::{Plan, Service};
use serde_json::Value;

use crate::render::Paint;

/// Lines of what is different in one service; more are counted.
const LINES_MAX: usize = 8;
/// Longer values are cut.
const VALUE_MAX: usize = 60;

/// What becomes of each server.
pub fn told(before: &[Plan], after: &[Plan], paint: &Paint) -> String {
    let mut out = String::new();
    let find = |plans: &'_ [Plan], server: &ServerName| plans.iter().find(|plan| plan.server == *server).cloned();
    for plan in after {
        match find(before, &plan.server) {
            None => {
                let names: Vec<&str> = plan.services.iter().map(|service| service.name.as_str()).collect();
                let _ = writeln!(
                    out,
                    "{} {}  is new: {}",
                    paint.green("+"),
                    paint.bold(plan.server.as_str()),
                    names.join(", ")
                );
            }
            Some(known) => out.push_str(&server(&known, plan, paint)),
        }
    }
    for gone in before.iter().filter(|plan| find(after, &plan.server).is_none()) {
        let _ =
            writeln!(out, "{} {}  leaves the site and is stopped", paint.red("-"), paint.bold(gone.server.as_str()));
    }
    out
}

fn server(before: &Plan, after: &Plan, paint: &Paint) -> String {
    let mut out = String::new();
    for service in &after.services {
        match before.service(&service.name) {
            None => {
                let _ = writeln!(out, "    {} {}", paint.green("+"), service.name);
            }
            Some(known) if known != service => out.push_str(&changed(known, service, paint)),
            Some(_) => {}
        }
    }
    for gone in before.services.iter().filter(|service| after.service(&service.name).is_none()) {
        let _ = writeln!(out, "    {} {}", paint.red("-"), gone.name);
    }
    let name = paint.bold(after.server.as_str());
    if out.is_empty() { format!("  {name}  stays as it is\n") } else { format!("{} {name}\n{out}", paint.yellow("~")) }
}

fn changed(before: &Service, after: &Service, paint: &Paint) -> String {
    let (was, is) = (flat(before), flat(after));
    let mut lines = Vec::new();
    for (path, value) in &is {
        match was.get(path) {
            None => lines.push(format!("{} {path} = {value}", paint.green("+"))),
            Some(known) if known != value => lines.push(format!("{} {path}: {known} → {value}", paint.yellow("~"))),
            Some(_) => {}
        }
    }
    let gone = was.iter().filter(|(path, _)| !is.contains_key(*path));
    lines.extend(gone.map(|(path, value)| format!("{} {path} = {value}", paint.red("-"))));
    let mut out = format!("    {} {}\n", paint.yellow("~"), after.name);
    lines.iter().take(LINES_MAX).for_each(|line| out += &format!("        {line}\n"));
    if lines.len() > LINES_MAX {
        let _ = writeln!(out, "        and {} more", lines.len() - LINES_MAX);
    }
    out
}

/// What it does, as paths and values. Whom it talks to and listens to follows from that.
fn flat(service: &Service) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    walk(&mut all, String::new(), &serde_json::to_value(&service.config).unwrap_or_default());
    for listen in &service.listens {
        all.insert(
            format!("listens.{}.{:?}", listen.name, listen.transport).to_lowercase(),
            listen.address.to_string(),
        );
    }
    all
}

fn walk(all: &mut BTreeMap<String, String>, path: String, value: &Value) {
    let below = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    match value {
        Value::Object(fields) => fields.iter().for_each(|(name, value)| walk(all, below(name), value)),
        Value::Array(items) => {
            for (place, item) in items.iter().enumerate() {
                walk(all, below(&called(item).unwrap_or_else(|| place.to_string())), item);
            }
        }
        scalar => {
            let text = scalar.as_str().map_or_else(|| scalar.to_string(), str::to_owned);
            let cut: String = text.chars().take(VALUE_MAX).collect();
            all.insert(path, cut);
        }
    }
}

/// By what one of several is known wherever it stands.
fn called(item: &Value) -> Option<String> {
    let named = ["name", "server", "prefix"].into_iter().find_map(|key| item.get(key)?.as_str());
    let first = || item.as_array()?.first()?.as_str();
    named.or_else(first).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use mainstay_site::declaration::{Anywhere, parse};
    use mainstay_site::model::Codebase;
    use mainstay_site::names::Generation;
    use mainstay_site::plan::derive;

    use super::*;

    const BASE: &str = "format = 1\n[site]\ndomain = \"a.com\"\n[app]\npath = \"x\"\nkind = \"http\"\ncommand = \"x\"\n\
        [servers.lb1]\naddress = \"10.0.0.1\"\nroles = [\"balancer\"]\n\
        [servers.s1]\naddress = \"10.0.0.2\"\nroles = [\"web\", \"app\"]\n";

    fn plans(text: &str, release: &str) -> Vec<Plan> {
        let site = parse(text, &Anywhere).unwrap();
        derive(&site, &[Codebase::new(&"site".into(), &release.into())], Generation(1))
    }

    #[test]
    fn a_new_server_shows_at_whom_it_is_asked_by() {
        let more = format!("{BASE}[servers.s2]\naddress = \"10.0.0.3\"\nroles = [\"web\"]\n");
        let told = told(&plans(BASE, "a"), &plans(&more, "a"), &Paint(false));
        assert!(told.contains("+ s2  is new: web\n"), "{told}");
        assert!(told.contains("~ lb1\n    ~ balancer\n"), "{told}");
        assert!(told.contains("+ pool.backends.s2.address = 10.0.0.3:8080\n"), "{told}");
    }

    #[test]
    fn a_release_is_one_line_of_the_application_and_nothing_for_the_balancer() {
        let told = told(&plans(BASE, "aaa"), &plans(BASE, "bbb"), &Paint(false));
        assert!(told.contains("  lb1  stays as it is\n"), "{told}");
        assert!(told.contains("~ release: aaa → bbb\n"), "{told}");
    }
}
