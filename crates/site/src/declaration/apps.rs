//! `[app]` and `[apps.NAME]`.

use std::collections::BTreeMap;

use super::Disk;
use super::diagnostic::Errors;
use super::folders::{self, Whose, join};
use super::reader::{At, Section, Span};
use super::syntax::{below_fault, domain_fault, is_python_entry, label_fault, prefix_fault};
use crate::model::{App, AppKind};
use crate::names::AppName;

/// Two, so that one worker can restart while the other serves.
const WORKERS: u16 = 2;

/// Databases that every MariaDB has; an application's database has the application's name.
const SCHEMAS: [&str; 3] = ["mysql", "sys", "test"];

/// The applications with the place of their names, most specific route first.
pub(super) fn read(file: &Section<'_>, disk: &dyn Disk, errors: &mut Errors) -> Vec<At<App>> {
    let mut apps = Vec::new();
    let single = file.section("app", "[app]", errors);
    if let (Some((_, span)), Some(several)) = (&single, file.value("apps")) {
        errors
            .add(span, "both [app] and [apps] are there")
            .label("the short form, for one application")
            .also(&several.span(), "the long form, for several")
            .hint("move [app] to [apps.site]");
    }
    if let Some((section, span)) = single {
        apps.extend(app("site", &section, &span, disk, errors).map(|value| At { value, span }));
    }
    for (name, section) in file.named("apps", errors) {
        if let Some(fault) = label_fault(&name.value) {
            errors.add(&name.span, format!("`{}` is no name for an application", name.value)).label(fault);
        } else if SCHEMAS.contains(&name.value.as_str()) || name.value.starts_with("mainstay") {
            errors
                .add(&name.span, format!("an application cannot be called `{}`", name.value))
                .label("its database would clash with MariaDB's or Mainstay's own");
        }
        let read = app(&name.value, &section, &name.span, disk, errors);
        apps.extend(read.map(|value| At { value, span: name.span }));
    }
    folders::web_statics(file, &mut apps, disk, errors);
    clashes(&apps, errors);
    // A host beats any host, a longer prefix a shorter; the sort is stable, so equals keep the file's order.
    apps.sort_by_key(|app| (app.value.host.is_none(), std::cmp::Reverse(app.value.prefix.len())));
    apps
}

fn app(name: &str, section: &Section<'_>, span: &Span, disk: &dyn Disk, errors: &mut Errors) -> Option<App> {
    let path = section.text("path", errors);
    if let Some(path) = path.as_ref().filter(|path| !disk.is_folder(&path.value)) {
        errors
            .add(&path.span, format!("there is no folder `{}`", path.value))
            .label("no such folder")
            .hint("the path is relative to the folder of the declaration");
    }
    let kind = kind(section, span, errors);
    if let (Some(path), Some(kind)) = (&path, &kind) {
        entry_exists(section, &path.value, kind, disk, errors);
    }
    let host = section.text("host", errors);
    if let Some((host, fault)) = host.as_ref().and_then(|host| Some((host, domain_fault(&host.value)?))) {
        errors.add(&host.span, format!("`{}` is no host name", host.value)).label(fault);
    }
    let shared = folders::shared(section, errors);
    let prefix = prefix(section, "route", errors).unwrap_or_else(|| "/".into());
    let whose = Whose { path: path.as_ref(), route: &prefix, php: matches!(kind, Some(AppKind::Php { .. })) };
    let statics = folders::statics(section, &whose, disk, errors);
    let workers = section.count("workers", errors).and_then(|at| at.value.try_into().ok()).unwrap_or(WORKERS);
    let settings = settings(section, errors);
    let migrate = section.text("migrate", errors).map(|at| at.value);
    let health = health(section, errors);
    // Only now that everything was read: what is missing must not hide what is wrong.
    let (name, path, kind, host) = (AppName::from(name), path?.value, kind?, host.map(|at| at.value));
    Some(App { name, path, kind, workers, shared, settings, migrate, host, prefix, statics, health })
}

fn kind(section: &Section<'_>, span: &Span, errors: &mut Errors) -> Option<AppKind> {
    let kind = section.word("kind", errors)?;
    let entry = section.text("entry", errors);
    let command = section.text("command", errors);
    let useless = if kind.value == "http" { ("entry", &entry) } else { ("command", &command) };
    if let (name, Some(at)) = useless {
        errors
            .add(&at.span, format!("`{name}` does not go with kind = \"{}\"", kind.value))
            .label("has no meaning here")
            .also(&kind.span, "because of this");
    }
    let missing = |errors: &mut Errors, key: &str, example: &str| {
        errors
            .add(span, format!("an application of kind \"{}\" needs `{key}`", kind.value))
            .label(format!("`{key}` is missing"))
            .hint(format!("for example {key} = \"{example}\""));
    };
    match kind.value {
        "php" => {
            let entry = entry.unwrap_or(At { value: "index.php".into(), span: kind.span.clone() });
            if let Some(fault) = below_fault(&entry.value) {
                errors.add(&entry.span, format!("the front controller `{}` {fault}", entry.value)).label("this path");
            }
            Some(AppKind::Php { entry: entry.value })
        }
        "http" => {
            let Some(command) = command else {
                missing(errors, "command", "node server.js");
                return None;
            };
            Some(AppKind::Http { command: command.value })
        }
        python => {
            let Some(entry) = entry else {
                missing(errors, "entry", "main:app");
                return None;
            };
            if !is_python_entry(&entry.value) {
                errors
                    .add(&entry.span, format!("`{}` is no entry of a Python application", entry.value))
                    .label("not module:callable")
                    .hint("for `app = Flask(…)` in main.py write entry = \"main:app\"");
            }
            let entry = entry.value;
            Some(if python == "wsgi" { AppKind::Wsgi { entry } } else { AppKind::Asgi { entry } })
        }
    }
}

/// The file that the entry names is there.
fn entry_exists(section: &Section<'_>, path: &str, kind: &AppKind, disk: &dyn Disk, errors: &mut Errors) {
    let files = match kind {
        AppKind::Wsgi { entry } | AppKind::Asgi { entry } => {
            let module = entry.split(':').next().unwrap_or_default().replace('.', "/");
            vec![format!("{module}.py"), format!("{module}/__init__.py")]
        }
        AppKind::Php { entry } => vec![entry.clone()],
        AppKind::Http { .. } => return,
    };
    let at = section.value("entry").or_else(|| section.value("kind"));
    if let Some(at) = at.filter(|_| disk.is_folder(path) && !files.iter().any(|file| disk.is_file(&join(path, file)))) {
        errors
            .add(&at.span(), format!("the codebase has no `{}`", files[0]))
            .label("names a file that is not there")
            .hint(format!("looked in `{path}`"));
    }
}

fn prefix(section: &Section<'_>, key: &str, errors: &mut Errors) -> Option<String> {
    let at = section.text(key, errors)?;
    if let Some(fault) = prefix_fault(&at.value) {
        errors
            .add(&at.span, format!("`{}` is no path prefix", at.value))
            .label(fault)
            .hint(format!("for example {key} = \"/{}/\"", at.value.trim_matches('/')));
    }
    Some(at.value)
}

fn health(section: &Section<'_>, errors: &mut Errors) -> String {
    let Some(at) = section.text("health", errors) else { return "/".into() };
    if !at.value.starts_with('/') || at.value.bytes().any(|byte| byte <= b' ' || byte >= 0x7f) {
        errors.add(&at.span, format!("`{}` is no path to ask for", at.value)).label("starts with / and is plain ASCII");
    }
    at.value
}

fn settings(section: &Section<'_>, errors: &mut Errors) -> BTreeMap<String, String> {
    let mut settings = BTreeMap::new();
    for (name, value) in section.text_map("settings", errors) {
        let first = |c: char| c.is_ascii_alphabetic() || c == '_';
        if !name.value.starts_with(first) || !name.value.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
            errors
                .add(&name.span, format!("`{}` is no name for an environment variable", name.value))
                .label("only A–Z, a–z, 0–9 and _, not a digit first");
        }
        if value.value.contains('\0') {
            errors.add(&value.span, format!("the setting `{}` holds a NUL", name.value)).label("cut it out");
        }
        settings.insert(name.value, value.value);
    }
    settings
}

/// No two applications want the same requests.
fn clashes(apps: &[At<App>], errors: &mut Errors) {
    let mut seen: BTreeMap<(Option<&str>, &str), &Span> = BTreeMap::new();
    for app in apps {
        let route = (app.value.host.as_deref(), app.value.prefix.as_str());
        if let Some(first) = seen.get(&route) {
            errors
                .add(&app.span, format!("[apps.{}] has the same route as another application", app.value.name))
                .label("never gets a request")
                .also(first, "this one takes them")
                .hint("give one of them a `host` or a `route`");
        } else {
            seen.insert(route, &app.span);
        }
    }
    for app in apps {
        let beside = app.value.statics.keys().filter(|prefix| !prefix.starts_with(&app.value.prefix));
        for prefix in beside {
            if let Some(first) = seen.insert((app.value.host.as_deref(), prefix), &app.span) {
                errors
                    .add(&app.span, format!("`{prefix}` in the `static` of [apps.{}] is taken", app.value.name))
                    .label("its folder and something else want the same requests")
                    .also(first, "the route or a folder of this one")
                    .hint("give one of them another prefix");
            }
        }
    }
}
