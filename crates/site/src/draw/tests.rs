//! Pictures that must hold for any site: nothing lies on anything else.

use super::layout::{Label, Layout, Rect};
use super::overlay::{Live, Overlay};
use super::{mermaid, svg, text};
use crate::declaration::{Anywhere, parse};
use crate::model::Site;
use crate::names::{Role, ServerName};
use crate::wire::State;

/// A site of `servers` (name and roles), with `sections` in front.
pub(crate) fn site(sections: &str, servers: &[(&str, &str)]) -> Site {
    let mut file = format!(
        "format = 1\n[site]\ndomain = \"foobar.com\"\n[app]\npath = \"code\"\nkind = \"wsgi\"\nentry = \"a:b\"\n{sections}"
    );
    for (place, (name, roles)) in servers.iter().enumerate() {
        let roles: Vec<String> = roles.split(' ').map(|role| format!("\"{role}\"")).collect();
        let (high, low) = (place / 250, place % 250 + 1);
        let roles = roles.join(", ");
        file.push_str(&format!("[servers.{name}]\naddress = \"10.80.{high}.{low}\"\nroles = [{roles}]\n"));
    }
    parse(&file, &Anywhere).unwrap_or_else(|mistakes| panic!("{mistakes:?}\n{file}"))
}

/// `count` servers called NAME1, NAME2, ….
pub(crate) fn tier(sections: &str, tiers: &[(&str, usize, &str)]) -> Site {
    let names: Vec<(String, &str)> = tiers
        .iter()
        .flat_map(|(name, count, roles)| (1..=*count).map(move |number| (format!("{name}{number}"), *roles)))
        .collect();
    let servers: Vec<(&str, &str)> = names.iter().map(|(name, roles)| (name.as_str(), *roles)).collect();
    site(sections, &servers)
}

/// Sites of many shapes: few and many servers, mixed and separate tiers, with and without a floating address.
fn shapes() -> Vec<Site> {
    let floating = "[balancer]\ncluster = { address = \"10.99.0.1\" }\n";
    let both = "[balancer]\ncluster = { addresses = [\"10.99.0.1\", \"10.99.0.2\", \"10.99.0.3\"], mode = \"active-active\" }\n";
    let mutual = "[tls]\ncertificate = \"acme\"\ninside = \"mutual\"\n[firewall]\nssh-from = []\n";
    vec![
        tier("", &[("all", 1, "dns web app database")]),
        tier("", &[("lb", 1, "dns balancer"), ("s", 2, "web app database")]),
        tier(mutual, &[("lb", 1, "dns balancer monitor"), ("s", 4, "web app database"), ("mon", 2, "monitor")]),
        tier(floating, &[("lb", 3, "dns balancer"), ("s", 3, "web app"), ("db", 3, "database")]),
        tier(both, &[("lb", 3, "dns balancer"), ("web", 40, "web"), ("app", 400, "app"), ("db", 7, "database")]),
        tier(
            floating,
            &[("name", 2, "dns"), ("lb", 2, "balancer firewall"), ("x", 2, "web database"), ("y", 2, "app cache")],
        ),
        tier(floating, &[("lb", 2, "balancer"), ("x", 2, "web database dns"), ("y", 3, "app"), ("mon", 9, "monitor")]),
        tier("", &[("fw", 2, "firewall"), ("name", 2, "dns"), ("web", 2, "web"), ("app", 1, "app")]),
    ]
}

#[test]
fn nothing_overlaps() {
    for site in shapes() {
        for live in [false, true] {
            let name = site.servers[0].name.as_str();
            let picture = super::picture::picture(&site);
            let metrics = if live { &svg::METRICS_LIVE } else { &svg::METRICS };
            check(name, &super::layout::layout(&picture, metrics));
        }
    }
}

fn check(site: &str, layout: &Layout<'_>) {
    let placed = || layout.boxes.iter().chain(&layout.monitors);
    let boxes: Vec<Rect> = placed().map(|it| it.rect).chain([layout.internet]).chain(layout.floating).collect();
    let cells: Vec<Rect> = placed().flat_map(|it| it.cells.iter().map(|(rect, _)| *rect)).collect();
    let labels: Vec<Rect> = layout.labels.iter().map(label).collect();
    let page = Rect { x: 0, y: 0, w: layout.width, h: layout.height };
    for group in [&boxes, &cells, &labels] {
        for (place, one) in group.iter().enumerate() {
            assert!(one.x >= 0 && one.right() <= page.w && one.bottom() <= page.h, "{site}: {one:?} leaves {page:?}");
            let other = group[place + 1..].iter().find(|other| one.overlaps(other));
            assert_eq!(other, None, "{site}: {one:?}");
        }
    }
    for label in &labels {
        let other = cells.iter().find(|cell| cell.overlaps(label));
        assert_eq!(other, None, "{site}: a label lies on a cell: {label:?}");
    }
    for wire in &layout.wires {
        let [start, turn, fall, end] = wire.points;
        for (from, to) in [(start, turn), (turn, fall), (fall, end)] {
            let line =
                Rect { x: from.x.min(to.x), y: from.y.min(to.y), w: (from.x - to.x).abs(), h: (from.y - to.y).abs() };
            let crossed = cells.iter().find(|cell| cell.overlaps(&line));
            assert_eq!(crossed, None, "{site}: {wire:?} crosses a cell");
        }
    }
}

/// What a label takes up.
fn label(label: &Label) -> Rect {
    let w = label.lines.iter().map(|line| svg::width(line, 11)).max().unwrap_or(0);
    let h = 14 * i32::try_from(label.lines.len()).unwrap();
    Rect { x: label.at.x + 9, y: label.at.y + 8, w, h }
}

#[test]
fn a_picture_is_the_same_each_time() {
    for site in shapes() {
        assert_eq!(svg(&site, None), svg(&site, None));
        assert_eq!(text(&site), text(&site));
        assert_eq!(mermaid(&site), mermaid(&site));
    }
}

#[test]
fn many_servers_fit_a_page() {
    let site = tier("", &[("lb", 1, "dns balancer"), ("web", 300, "web"), ("app", 690, "app"), ("db", 9, "database")]);
    let drawn = text(&site);
    assert!(drawn.contains("298 more") && drawn.contains("web3 … web300"), "{drawn}");
    let widest = drawn.lines().map(|line| line.chars().count()).max();
    assert!(widest < Some(120), "{widest:?} columns\n{drawn}");
}

#[test]
fn what_fails_is_marked_by_words() {
    let site = tier("", &[("lb", 1, "dns balancer"), ("s", 2, "web app database")]);
    let name = ServerName::from("s1");
    let mut overlay = Overlay::default();
    let live = |state, rate| Live { state, because: "3 of <3> workers".into(), per_second: rate };
    overlay.add(&name, Role::App, live(State::Serving, Some(3.25)));
    overlay.add(&name, Role::App, live(State::Failed, Some(1.0)));
    overlay.add_silent(&"s2".into(), State::Failed, "no answer on its control socket");
    let drawn = svg(&site, Some(&overlay));
    assert!(drawn.contains("class=\"role failed\" data-server=\"s1\" data-role=\"app\""));
    assert!(drawn.contains("failed · 4.2 /s"));
    assert!(drawn.contains("3 of &lt;3&gt; workers"));
    assert!(drawn.contains("no answer on its control socket"));
}

#[test]
fn the_drawing_is_well_formed() {
    for site in shapes() {
        let drawn = svg(&site, None);
        let open = drawn.matches("<g ").count();
        assert_eq!(open, drawn.matches("</g>").count());
        assert_eq!(drawn.matches("<text").count(), drawn.matches("</text>").count());
    }
}
