//! Folders of a codebase: those that the web tier serves, and those that the code writes to.

use std::collections::BTreeMap;

use super::Disk;
use super::diagnostic::Errors;
use super::reader::{At, Section};
use super::syntax::{below_fault, prefix_fault};
use crate::model::App;

pub(super) fn join(folder: &str, below: &str) -> String {
    format!("{}/{below}", folder.trim_end_matches('/'))
}

/// The shared paths. Each becomes a link, so none may lie within another.
pub(super) fn shared(section: &Section<'_>, errors: &mut Errors) -> Vec<String> {
    let mut all: Vec<At<String>> = Vec::new();
    for at in section.texts("shared", errors).map(|at| at.value).unwrap_or_default() {
        if let Some(fault) = below_fault(&at.value) {
            errors.add(&at.span, format!("the shared path `{}` {fault}", at.value)).label("this path");
            continue;
        }
        let at = At { value: at.value.trim_end_matches('/').to_owned(), ..at };
        let within = |inner: &str, outer: &str| inner == outer || inner.starts_with(&format!("{outer}/"));
        if let Some(other) = all.iter().find(|it| within(&it.value, &at.value) || within(&at.value, &it.value)) {
            errors
                .add(&at.span, format!("the shared paths `{}` and `{}` overlap", other.value, at.value))
                .label("one lies within the other")
                .also(&other.span, "the other one")
                .hint("keep the outer one");
        }
        all.push(at);
    }
    all.into_iter().map(|at| at.value).collect()
}

/// The static folders of the application at `route`.
pub(super) fn statics(
    section: &Section<'_>,
    path: Option<&At<String>>,
    route: &str,
    disk: &dyn Disk,
    errors: &mut Errors,
) -> BTreeMap<String, String> {
    let mut statics = BTreeMap::new();
    for (url, folder) in section.text_map("static", errors) {
        static_prefix(&url, route, errors);
        if let Some(fault) = below_fault(&folder.value) {
            errors.add(&folder.span, format!("the static folder `{}` {fault}", folder.value)).label("this path");
        } else if let Some(path) = path.filter(|path| disk.is_folder(&path.value)) {
            let whole = join(&path.value, &folder.value);
            if !disk.is_folder(&whole) {
                errors.add(&folder.span, format!("there is no folder `{whole}`")).label("no such folder");
            }
        }
        statics.insert(url.value, folder.value.trim_end_matches('/').to_owned());
    }
    statics
}

/// A folder gets the requests below its prefix, and the application those that are left.
fn static_prefix(url: &At<String>, route: &str, errors: &mut Errors) {
    let hint = format!("for example \"{route}static/\" = \"static\"");
    if let Some(fault) = prefix_fault(&url.value) {
        errors.add(&url.span, format!("`{}` is no path prefix", url.value)).label(fault).hint(hint);
    } else if url.value == route {
        errors
            .add(&url.span, "the folder takes every request of the application")
            .label("the application's own route")
            .hint(hint);
    } else if !url.value.starts_with(route) {
        errors
            .add(&url.span, format!("`{}` is not below the application's route `{route}`", url.value))
            .label("no request gets here")
            .hint(hint);
    }
}

/// `[web] static` belongs to the only application.
pub(super) fn web_statics(file: &Section<'_>, apps: &mut [At<App>], disk: &dyn Disk, errors: &mut Errors) {
    // Read without its own complaints: `[web]` itself is read with the tiers.
    let Some((web, _)) = file.section("web", "[web]", &mut Errors::default()) else { return };
    let Some(value) = web.value("static") else { return };
    match apps {
        [one] => {
            let path = At { value: one.value.path.clone(), span: one.span.clone() };
            let more = statics(&web, Some(&path), &one.value.prefix, disk, errors);
            if let Some(url) = more.keys().find(|url| one.value.statics.contains_key(*url)) {
                errors
                    .add(&value.span(), format!("`{url}` is in the `static` of the application too"))
                    .label("the same prefix")
                    .hint("keep one of them");
            }
            one.value.statics.extend(more);
        }
        [] => {
            statics(&web, None, "/", disk, errors);
        }
        several => {
            errors
                .add(&value.span(), "`static` in [web] is only for a site of one application")
                .label(format!("which of {}?", several.len()))
                .hint(format!("write it as `static` in [apps.{}]", several[0].value.name));
        }
    }
}
