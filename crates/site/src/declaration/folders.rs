//! Folders of a codebase: those that the web tier serves, and those that the code writes to.

use std::collections::BTreeMap;

use super::Disk;
use super::diagnostic::Errors;
use super::reader::{At, Section, TextOr};
use super::syntax::{below_fault, cache_control_fault, file_fault, prefix_fault};
use crate::model::{App, AppKind, Folder};
use crate::plan::NEVER_SENT;

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

/// Whose static folders are read.
pub(super) struct Whose<'a> {
    /// The codebase.
    pub(super) path: Option<&'a At<String>>,
    /// The application's own route.
    pub(super) route: &'a str,
    /// Its scripts are no files.
    pub(super) php: bool,
}

/// The static folders of an application.
pub(super) fn statics(
    section: &Section<'_>,
    whose: &Whose<'_>,
    disk: &dyn Disk,
    errors: &mut Errors,
) -> BTreeMap<String, Folder> {
    let mut statics = BTreeMap::new();
    for (url, written) in section.text_or_section_map("static", errors) {
        static_prefix(&url, whose.route, errors);
        let (path, section) = match written {
            TextOr::Text(path) => (Some(path), None),
            TextOr::Section(section) => (section.text("folder", errors), Some(section)),
        };
        let whole = path.as_ref().and_then(|path| whole(path, whose, disk, errors));
        let fallback = section.and_then(|it| fallback(&it, whole.as_deref(), whose, disk, errors));
        let cache_control = section.and_then(|it| cache_control(&it, errors));
        if let Some(path) = path {
            let path = path.value.trim_end_matches('/').to_owned();
            statics.insert(url.value, Folder { path, fallback, cache_control });
        }
    }
    statics
}

/// Where the folder is on the disk, if it is there.
fn whole(folder: &At<String>, whose: &Whose<'_>, disk: &dyn Disk, errors: &mut Errors) -> Option<String> {
    if let Some(fault) = below_fault(&folder.value) {
        errors.add(&folder.span, format!("the static folder `{}` {fault}", folder.value)).label("this path");
        return None;
    }
    let path = whose.path.filter(|path| disk.is_folder(&path.value))?;
    let whole = join(&path.value, folder.value.trim_end_matches('/'));
    if !disk.is_folder(&whole) {
        errors.add(&folder.span, format!("there is no folder `{whole}`")).label("no such folder");
        return None;
    }
    Some(whole)
}

/// The file that answers for pages; `whole` is the folder on the disk.
fn fallback(
    section: &Section<'_>,
    whole: Option<&str>,
    whose: &Whose<'_>,
    disk: &dyn Disk,
    errors: &mut Errors,
) -> Option<String> {
    let at = section.text("fallback", errors)?;
    let script = |suffix: &&str| at.value.to_ascii_lowercase().ends_with(suffix);
    if let Some(fault) = file_fault(&at.value) {
        let hint = "a file of the folder, for example fallback = \"index.html\"";
        errors.add(&at.span, format!("the fallback `{}` {fault}", at.value)).label("this path").hint(hint);
    } else if whose.php && NEVER_SENT.iter().any(script) {
        errors
            .add(&at.span, format!("the fallback `{}` is never sent as a file", at.value))
            .label("visitors would see the code")
            .hint("without a fallback, leave the folder out: `entry` answers for what is no file");
    } else if let Some(whole) = whole.filter(|whole| !disk.is_file(&join(whole, &at.value))) {
        errors
            .add(&at.span, format!("there is no file `{}`", join(whole, &at.value)))
            .label("no such file")
            .hint("the path is relative to the static folder");
    }
    Some(at.value)
}

fn cache_control(section: &Section<'_>, errors: &mut Errors) -> Option<String> {
    let at = section.text("cache-control", errors)?;
    if let Some(fault) = cache_control_fault(&at.value) {
        errors
            .add(&at.span, format!("`{}` is no Cache-Control", at.value.escape_debug()))
            .label(fault)
            .hint("for example cache-control = \"public, max-age=3600\"");
    }
    Some(at.value)
}

/// A folder gets the requests below its prefix, and the application those that are left of its own.
fn static_prefix(url: &At<String>, route: &str, errors: &mut Errors) {
    let hint = format!("for example \"{route}static/\" = \"static\"");
    if let Some(fault) = prefix_fault(&url.value) {
        errors.add(&url.span, format!("`{}` is no path prefix", url.value)).label(fault).hint(hint);
    } else if url.value == route {
        errors
            .add(&url.span, "the folder takes every request of the application")
            .label("the application's own route")
            .hint(format!(
                "give the application a route of its own, such as route = \"{route}api/\"; the folder has the rest"
            ));
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
            let php = matches!(one.value.kind, AppKind::Php { .. });
            let more = statics(&web, &Whose { path: Some(&path), route: &one.value.prefix, php }, disk, errors);
            if let Some(url) = more.keys().find(|url| one.value.statics.contains_key(*url)) {
                errors
                    .add(&value.span(), format!("`{url}` is in the `static` of the application too"))
                    .label("the same prefix")
                    .hint("keep one of them");
            }
            one.value.statics.extend(more);
        }
        [] => {
            // What is missing is said elsewhere; what is wrong here is said all the same.
            statics(&web, &Whose { path: None, route: "", php: false }, disk, errors);
        }
        several => {
            errors
                .add(&value.span(), "`static` in [web] is only for a site of one application")
                .label(format!("which of {}?", several.len()))
                .hint(format!("write it as `static` in [apps.{}]", several[0].value.name));
        }
    }
}
