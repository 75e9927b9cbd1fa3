//! The picture as SVG: stands alone in a wiki or a README, or inline in the status page; light and dark by itself.
//!
//! No fonts, scripts or variables are used, so that every renderer shows the same. Widths of text are estimated from
//! above, since the reader's font is not known.

mod parts;
mod style;

use std::fmt::Write;

use super::layout::{Kind, Label, Layout, Metrics, Placed, Rect, Wire, layout};
use super::overlay::Overlay;
use super::picture::{Picture, Stage, picture};
use crate::model::Site;
use parts::escape;
pub(super) use parts::width;
use style::STYLE;

/// Room for the tiers' names at the left.
const MARGIN_LEFT: i32 = 104;
/// Room for the site's name at the top.
const HEADING: i32 = 72;
/// Around everything.
const EDGE: i32 = 28;
/// Between two lines of small text.
const LINE: i32 = 19;
/// The turns of wires.
const RADIUS: i32 = 9;

pub(super) const METRICS: Metrics = Metrics {
    cell: 48,
    cell_gap: 12,
    pad: 12,
    head: 38,
    foot: 12,
    gutter: 44,
    out: 18,
    fall: 26,
    line: 14,
    pill: 44,
    margin: 4,
    aside: true,
    cell_width: parts::cell_width,
    head_width: parts::head_width,
    pill_width: parts::pill_width,
};

/// A line more in every cell: how it is right now.
pub(super) const METRICS_LIVE: Metrics = Metrics { cell: 66, ..METRICS };

/// Draws the site. With an `overlay`, every role also says how it is right now; its group carries the state as a class
/// and server and role as `data-server` and `data-role`.
pub fn svg(site: &Site, overlay: Option<&Overlay>) -> String {
    let picture = picture(site);
    let metrics = if overlay.is_some() { &METRICS_LIVE } else { &METRICS };
    let layout = layout(&picture, metrics);
    let mut drawing = Drawing { picture: &picture, layout: &layout, overlay, out: String::new() };
    drawing.draw();
    drawing.out
}

struct Drawing<'p> {
    picture: &'p Picture<'p>,
    layout: &'p Layout<'p>,
    overlay: Option<&'p Overlay>,
    out: String,
}

impl Drawing<'_> {
    fn draw(&mut self) {
        let legend = self.legend();
        let notes = self.notes();
        let tiers = MARGIN_LEFT + self.layout.width;
        let open = &self.picture.open;
        let small =
            notes.iter().chain(open).chain(legend.iter().map(|(_, text)| text)).map(|text| width(text, 11) + 52);
        let heading = width(self.picture.site.domain.as_str(), 24).max(width(&self.picture.headline(), 13));
        let inner = small.chain([tiers, heading]).max().unwrap_or(0);
        let lines = i32::try_from(legend.len() + self.picture.open.len() + notes.len()).unwrap_or(i32::MAX / LINE);
        let below = HEADING + self.layout.height + 14;
        let height = below + lines * LINE + if lines > 0 { 10 } else { 0 };
        self.open(inner + 2 * EDGE, height + 2 * EDGE);
        let left = MARGIN_LEFT + (inner - tiers) / 2;
        self.heading();
        self.tier_names();
        let _ = writeln!(self.out, "<g transform=\"translate({} {})\">", EDGE + left, EDGE + HEADING);
        self.tiers();
        self.out.push_str("</g>\n");
        self.foot(&legend, &notes, EDGE + below);
        self.out.push_str("</svg>\n");
    }

    fn open(&mut self, w: i32, h: i32) {
        let title = escape(&format!("{}: {}", self.picture.site.domain, self.picture.headline()));
        let description = escape(&self.picture.description());
        let _ = write!(
            self.out,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"mainstay\" role=\"img\" \
             aria-labelledby=\"mainstay-title mainstay-desc\" width=\"{w}\" height=\"{h}\" viewBox=\"0 0 {w} {h}\">\n\
             <title id=\"mainstay-title\">{title}</title>\n<desc id=\"mainstay-desc\">{description}</desc>\n\
             <style>{STYLE}</style>\n<rect class=\"page\" width=\"{w}\" height=\"{h}\" rx=\"14\"/>\n"
        );
    }

    fn heading(&mut self) {
        let domain = escape(self.picture.site.domain.as_str());
        let headline = escape(&self.picture.headline());
        let _ = write!(
            self.out,
            "<text class=\"domain\" x=\"{EDGE}\" y=\"{}\">{domain}</text>\n\
             <text class=\"headline\" x=\"{EDGE}\" y=\"{}\">{headline}</text>\n",
            EDGE + 20,
            EDGE + 42
        );
    }

    fn tier_names(&mut self) {
        for (stage, middle) in &self.layout.rows {
            let y = EDGE + HEADING + middle + 4;
            let _ = writeln!(self.out, "<text class=\"tier\" x=\"{EDGE}\" y=\"{y}\">{}</text>", tier_name(*stage));
        }
    }

    fn tiers(&mut self) {
        for placed in self.layout.boxes.iter().chain(&self.layout.monitors) {
            self.server(placed);
        }
        self.wires();
        self.pill("internet", self.layout.internet, "internet", &super::layout::www(self.picture));
        if let (Some(rect), Some(floating)) = (self.layout.floating, &self.picture.floating) {
            self.pill("floating", rect, &floating.title, &floating.detail);
        }
        for placed in self.layout.boxes.iter().chain(&self.layout.monitors) {
            for (rect, cell) in &placed.cells {
                parts::cell(&mut self.out, *rect, placed.node, cell, self.overlay);
            }
        }
        self.labels();
    }

    fn server(&mut self, placed: &Placed<'_>) {
        parts::server(&mut self.out, placed.rect, placed.node);
    }

    fn pill(&mut self, class: &str, rect: Rect, title: &str, detail: &str) {
        parts::pill(&mut self.out, class, rect, title, detail);
    }

    fn wires(&mut self) {
        let mut heads = Vec::new();
        // What stands by lies below what serves, where they run together.
        let mut wires: Vec<&Wire> = self.layout.wires.iter().filter(|wire| self.nearest(wire)).collect();
        wires.sort_by_key(|wire| !wire.standby);
        for wire in wires {
            let class = class(wire.kind);
            let standby = if wire.standby { " standby" } else { "" };
            let path = path(wire);
            let double = if wire.kind == Kind::Replication { " double" } else { "" };
            let _ = writeln!(self.out, "<path class=\"wire {class}{standby}{double}\" d=\"{path}\"/>");
            if wire.kind == Kind::Replication {
                let _ = writeln!(self.out, "<path class=\"wire within\" d=\"{path}\"/>");
            }
            let end = wire.points[3];
            if wire.kind != Kind::Watch && !heads.contains(&end) {
                heads.push(end);
                let back = if wire.points[2].y < end.y { -8 } else { 8 };
                let _ = writeln!(self.out, "<path class=\"head {class}\" d=\"M{} {}l5 {back}h-10z\"/>", end.x, end.y);
            }
        }
    }

    /// Dashes from several sources to one end would fill each other's gaps: one of them is enough.
    fn nearest(&self, wire: &Wire) -> bool {
        let reach = |wire: &Wire| ((wire.points[0].x - wire.points[3].x).abs(), wire.points[0].x);
        let same = |other: &&Wire| other.points[3] == wire.points[3] && other.kind == wire.kind;
        !wire.standby || self.layout.wires.iter().filter(same).all(|other| reach(wire) <= reach(other))
    }

    fn labels(&mut self) {
        for Label { kind, at, lines } in &self.layout.labels {
            for (line, y) in lines.iter().zip((at.y + 19..).step_by(14)) {
                let class = class(*kind);
                let _ = writeln!(
                    self.out,
                    "<text class=\"label {class}\" x=\"{}\" y=\"{y}\">{}</text>",
                    at.x + 9,
                    escape(line)
                );
            }
        }
        if let (Some(at), Some(text)) = (self.layout.replication, &self.picture.replication) {
            let (x, y, text) = (at.x, at.y + 16, escape(text));
            let _ = writeln!(self.out, "<text class=\"label replication middle\" x=\"{x}\" y=\"{y}\">{text}</text>");
        }
        if let Some(at) = self.layout.watch {
            let _ = writeln!(
                self.out,
                "<text class=\"label watch\" x=\"{}\" y=\"{}\">watching every server</text>",
                at.x, at.y
            );
        }
    }

    /// The signs that this picture uses, and what they mean.
    fn legend(&self) -> Vec<(&'static str, String)> {
        let mut legend = Vec::new();
        if self.picture.spofs > 0 {
            legend.push(("spof", "SPOF, single point of failure: nothing takes over its work by itself".to_owned()));
        }
        if self.layout.wires.iter().any(|wire| wire.standby) {
            legend.push(("standby", "stand-by: used only when the others cannot serve".to_owned()));
        }
        if self.picture.site.firewall.is_some() {
            legend.push((
                "shield",
                format!("the server's own firewall{}, which lets in only:", self.picture.shield_mark()),
            ));
        }
        legend
    }

    fn notes(&self) -> Vec<String> {
        let notes = &self.picture.notes;
        let line = |notice: &crate::plan::Notice| format!("{}: {}", notice.declared, notice.instead);
        let lead = (!notes.is_empty()).then(|| "† declared, not enforced by this version of Mainstay:".to_owned());
        lead.into_iter().chain(notes.iter().map(line)).collect()
    }

    fn foot(&mut self, legend: &[(&str, String)], notes: &[String], mut y: i32) {
        for (sign, text) in legend {
            y += LINE;
            parts::sign(&mut self.out, sign, EDGE, y);
            let _ = writeln!(self.out, "<text class=\"note\" x=\"{}\" y=\"{y}\">{}</text>", EDGE + 34, escape(text));
        }
        for text in &self.picture.open {
            y += LINE;
            let _ = writeln!(self.out, "<text class=\"note\" x=\"{}\" y=\"{y}\">{}</text>", EDGE + 46, escape(text));
        }
        for (place, text) in notes.iter().enumerate() {
            y += LINE;
            let x = if place == 0 { EDGE } else { EDGE + 12 };
            let _ = writeln!(self.out, "<text class=\"note\" x=\"{x}\" y=\"{y}\">{}</text>", escape(text));
        }
    }
}

const fn tier_name(stage: Stage) -> &'static str {
    stage.title()
}

const fn class(kind: Kind) -> &'static str {
    match kind {
        Kind::Http => "http",
        Kind::Dns => "dns",
        Kind::Sql => "sql",
        Kind::Replication => "replication",
        Kind::Watch => "watch",
    }
}

/// The wire with round turns.
fn path(wire: &Wire) -> String {
    let [start, turn, fall, end] = wire.points;
    let short = |distance: i32| RADIUS.min(distance.abs());
    if wire.kind == Kind::Watch {
        let r = short(end.x - turn.x).min(short(turn.y - start.y)) * (turn.y - start.y).signum();
        // A bracket around the tiers, open towards them.
        return format!(
            "M{} {}q{RADIUS} 0 {RADIUS} {r}V{}q0 {r} {} {r}H{}",
            start.x - RADIUS,
            start.y,
            turn.y - r,
            r.abs(),
            end.x
        );
    }
    let mut path = format!("M{} {}", start.x, start.y);
    if turn.x != fall.x {
        let r = short((fall.x - turn.x) / 2);
        let (side, down, on) =
            (r * (fall.x - turn.x).signum(), r * (turn.y - start.y).signum(), r * (end.y - fall.y).signum());
        let _ = write!(path, "V{}q0 {down} {side} {down}H{}q{side} 0 {side} {on}", turn.y - down, fall.x - side);
    }
    // The head covers the end: a line would blunt its tip.
    let _ = write!(path, "V{}", end.y - 4 * (end.y - fall.y).signum());
    path
}
