//! The picture for a terminal, in box-drawing characters.

mod canvas;

use super::layout::{Layout, Metrics, Placed, Point, Rect, layout, www};
use super::picture::{Cell, Node, Picture, picture};
use crate::model::Site;
use canvas::{Canvas, Line};

const METRICS: Metrics = Metrics {
    cell: 2,
    cell_gap: 1,
    pad: 2,
    head: 1,
    foot: 1,
    gutter: 3,
    out: 1,
    fall: 1,
    line: 1,
    pill: 4,
    margin: 1,
    aside: false,
    cell_width,
    head_width,
    pill_width,
};

/// Draws the site.
pub fn text(site: &Site) -> String {
    let picture = picture(site);
    let layout = layout(&picture, &METRICS);
    let mut canvas = Canvas::new(layout.width, layout.height);
    wires(&mut canvas, &layout);
    pills(&mut canvas, &picture, &layout);
    boxes(&mut canvas, &layout);
    labels(&mut canvas, &picture, &layout);
    format!("{}: {}\n{}{}", picture.site.domain, picture.headline(), canvas.finish(), foot(&picture, &layout))
}

/// Odd, so that every box has a middle.
fn odd(width: usize) -> i32 {
    i32::try_from(width | 1).unwrap_or(i32::MAX)
}

fn count(text: &str) -> usize {
    text.chars().count()
}

fn cell_width(cell: &Cell) -> i32 {
    odd((count(&cell.title) + if cell.spof { SPOF.len() + 1 } else { 0 }).max(count(&cell.detail)))
}

fn head_width(node: &Node<'_>) -> i32 {
    odd(count(&node.name()) + count(&node.address()) + 4)
}

fn pill_width(title: &str, detail: &str) -> i32 {
    odd(count(title).max(count(detail)) + 4)
}

const SPOF: &str = "SPOF";

fn wires(canvas: &mut Canvas, layout: &Layout<'_>) {
    for wire in &layout.wires {
        let line = if wire.standby { Line::Dashed } else { Line::Plain };
        let [start, turn, fall, end] = wire.points;
        // The head stands just outside what it points at.
        let end = if fall.y < end.y { Point { y: end.y - 1, ..end } } else { end };
        for (from, to) in [(start, turn), (turn, fall), (fall, end)] {
            canvas.line(from, to, line);
        }
        canvas.put(end.x, end.y, if fall.y < end.y { '▼' } else { '▲' });
    }
}

fn boxes(canvas: &mut Canvas, layout: &Layout<'_>) {
    for placed in layout.boxes.iter().chain(&layout.monitors) {
        server(canvas, placed);
    }
    for wire in &layout.wires {
        canvas.attach(wire.points[0]);
    }
}

fn server(canvas: &mut Canvas, placed: &Placed<'_>) {
    let Rect { x, y, w, .. } = placed.rect;
    canvas.frame(placed.rect, if placed.node.spof() { Line::Dashed } else { Line::Plain });
    canvas.write(x + 2, y, &format!(" {} ", placed.node.name()));
    let address = format!(" {} ", placed.node.address());
    canvas.write(x + w - 2 - i32::try_from(count(&address)).unwrap_or(0), y, &address);
    for (rect, cell) in &placed.cells {
        canvas.write(rect.x, rect.y, &cell.title);
        canvas.write(rect.x, rect.y + 1, &cell.detail);
        if cell.spof {
            canvas.write(rect.right() - SPOF.len() as i32, rect.y, SPOF);
        }
    }
}

fn pills(canvas: &mut Canvas, picture: &Picture<'_>, layout: &Layout<'_>) {
    pill(canvas, layout.internet, "internet", &www(picture));
    if let (Some(rect), Some(floating)) = (layout.floating, &picture.floating) {
        pill(canvas, rect, &floating.title, &floating.detail);
    }
}

fn pill(canvas: &mut Canvas, rect: Rect, title: &str, detail: &str) {
    canvas.round(rect);
    for (text, y) in [(title, rect.y + 1), (detail, rect.y + 2)] {
        canvas.write(rect.center() - i32::try_from(count(text) / 2).unwrap_or(0), y, text);
    }
}

fn labels(canvas: &mut Canvas, picture: &Picture<'_>, layout: &Layout<'_>) {
    for label in &layout.labels {
        for (line, y) in label.lines.iter().zip(label.at.y + 1..) {
            canvas.write(label.at.x + 2, y, line);
        }
    }
    if let (Some(at), Some(text)) = (layout.replication, &picture.replication) {
        canvas.write(at.x - i32::try_from(count(text) / 2).unwrap_or(0), at.y + 1, text);
    }
    if let Some(at) = layout.watch {
        canvas.write(at.x, at.y, "watching every server:");
    }
}

/// What the signs mean.
fn foot(picture: &Picture<'_>, layout: &Layout<'_>) -> String {
    let mut out = String::new();
    if picture.spofs > 0 {
        out.push_str("SPOF, dashed box: single point of failure: nothing takes over its work by itself\n");
    }
    if layout.wires.iter().any(|wire| wire.standby) {
        out.push_str("stand-by: used only when the others cannot serve\n");
    }
    if picture.site.firewall.is_some() {
        out.push_str(&format!(
            "every server has a firewall of its own{}, which lets in only:\n",
            picture.shield_mark()
        ));
    }
    for arrow in &picture.open {
        out.push_str(&format!("  {arrow}\n"));
    }
    if !picture.notes.is_empty() {
        out.push_str("† declared, not enforced by this version of Mainstay:\n");
    }
    for notice in &picture.notes {
        out.push_str(&format!("  {}: {}\n", notice.declared, notice.instead));
    }
    if out.is_empty() { out } else { format!("\n{out}") }
}
