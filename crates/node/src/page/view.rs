//! The page as HTML. `maud` escapes every text that is put in; only the drawing, which `site::draw` made, is taken as it
//! is.

use mainstay_site::findings::{Finding, Group};
use mainstay_site::plan::Notice;
use mainstay_site::wire::{Part, ServiceStatus, State};
use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::{Overview, Page, Sight, ago, bytes, drawing, rate};

/// The whole page.
pub fn document(page: &Page) -> Markup {
    let site = &page.site.domain;
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (site) " · Mainstay" }
                link rel="stylesheet" href="/drawing.css";
                link rel="stylesheet" href="/page.css";
                link rel="icon" href="data:,";
                script src="/page.js" defer {}
                noscript { meta http-equiv="refresh" content="5"; }
            }
            body {
                header {
                    div {
                        h1 { (site) }
                        p.stale role="status" hidden { "Mainstay does not answer; this is the last that was seen." }
                    }
                    nav aria-label="Addresses" { @for (what, address) in page.links.iter() { (link(what, address)) } }
                }
                main {
                    div #live { (live(page)) }
                    (findings(&page.findings))
                }
                footer {
                    "Mainstay " (env!("CARGO_PKG_VERSION")) " · " a href="/status.json" { "status.json" }
                    " · on a terminal: " code { "mainstay status " (site) }
                }
            }
        }
    }
}

/// The part that changes.
pub fn live(page: &Page) -> Markup {
    let seen = page.latest.load();
    html! {
        (summary(page, &seen))
        (figure(page, &seen))
        section.servers aria-label="Servers" { @for sight in &seen.servers { (server(sight, seen.at_ms)) } }
        (notices(&seen))
    }
}

fn link(what: &str, address: &str) -> Markup {
    html! {
        @if address.starts_with("http") { a.address href=(address) { b { (what) } span { (address) } } }
        @else { span.address { b { (what) } code { (address) } } }
    }
}

fn summary(page: &Page, seen: &Overview) -> Markup {
    let generation = seen.servers.iter().filter_map(|sight| Some(sight.status.as_ref()?.generation)).max();
    let on = seen.servers.iter().filter(|sight| sight.status.is_some()).count();
    html! {
        section class={ "summary " (seen.state.as_str()) } {
            p.state { (badge(seen.state)) span.because { (seen.because) } }
            dl {
                div { dt { "requests/s" } dd { (rate(seen.requests_per_second(&page.site))) } }
                div { dt { "servers" } dd { (on) "/" (seen.servers.len()) } }
                @if let Some(generation) = generation { div { dt { "generation" } dd { (generation) } } }
            }
        }
    }
}

fn badge(state: State) -> Markup {
    html! { span class={ "badge " (state.as_str()) } { (mark(state)) " " (state.as_str()) } }
}

/// A sign for each state that needs no colour to be told from the others.
fn mark(state: State) -> Markup {
    let sign = match state {
        State::Serving => "●",
        State::Degraded => "▲",
        State::Starting => "○",
        State::Stopping => "◌",
        State::Stopped => "■",
        State::Failed => "✖",
    };
    html! { i aria-hidden="true" { (sign) } }
}

fn figure(page: &Page, seen: &Overview) -> Markup {
    html! { figure.drawing { (PreEscaped(drawing::picture(&page.site, seen))) } }
}

fn server(sight: &Sight, now_ms: u64) -> Markup {
    html! {
        article class=(sight.state.as_str()) {
            h2 {
                span.name { (sight.server) }
                code { (sight.address) }
                @if let Some(busiest) = sight.busiest() { span.rate { (rate(busiest)) " req/s" } }
                (badge(sight.state))
            }
            @match &sight.status {
                None => p.because { (sight.because) },
                Some(status) => table {
                    thead {
                        tr { th { "service" } th { "state" } th.number { "since" } th.number { "memory" } th { "why" } }
                    }
                    @for one in &status.services { (service(one, now_ms)) }
                },
            }
        }
    }
}

fn service(one: &ServiceStatus, now_ms: u64) -> Markup {
    let parts = one.report.iter().flat_map(|report| &report.parts);
    html! {
        tbody {
            tr class=(one.state.as_str()) {
                th scope="row" { (one.name) @if one.restarts > 0 { small title="started again" { " ↻" (one.restarts) } } }
                td.state { (mark(one.state)) " " (one.state.as_str()) }
                td.number { (ago(one.since_ms, now_ms)) }
                td.number { (bytes(one.rss_bytes)) }
                td.why { (one.because) }
            }
            (facts(one))
            @for part in parts { (row(part, now_ms)) }
        }
    }
}

fn facts(one: &ServiceStatus) -> Markup {
    let facts: Vec<_> = one.report.iter().flat_map(|report| &report.facts).collect();
    html! {
       @if !facts.is_empty() {
           tr.facts { td colspan="5" { div { @for (what, is) in facts { span { (what) " " b { (is) } } } } } }
       }
    }
}

fn row(part: &Part, now_ms: u64) -> Markup {
    html! {
        tr class={ "part " (part.state.as_str()) } {
            th scope="row" { (part.name) }
            td.state { (mark(part.state)) " " (part.state.as_str()) }
            td.number { (ago(part.since_ms, now_ms)) }
            td.number {}
            td.why { (part.because) }
        }
    }
}

fn notices(seen: &Overview) -> Markup {
    let mut all: Vec<&Notice> =
        seen.servers.iter().filter_map(|sight| sight.status.as_ref()).flat_map(|status| &status.notices).collect();
    all.sort();
    all.dedup();
    html! {
        @if !all.is_empty() {
            section.notices {
                h2 { "Declared, not enforced" }
                ul { @for notice in all { li { code { (notice.declared) } " — " (notice.instead) } } }
            }
        }
    }
}

fn findings(all: &[Finding]) -> Markup {
    html! {
        section.findings {
            h2 { "The design" }
            @if all.is_empty() { p { "Nothing is wrong with it that " code { "mainstay check" } " knows of." } }
            @for group in Group::ALL {
                @let found: Vec<&Finding> = all.iter().filter(|finding| finding.group == group).collect();
                @if !found.is_empty() {
                    details {
                        summary { (group.title()) span.count { (found.len()) } }
                        dl { @for finding in found {
                            dt { (finding.what) }
                            dd { (finding.consequence) br; b { "Remedy: " } (finding.remedy) }
                        } }
                    }
                }
            }
        }
    }
}
