//! Boxes, cells, pills and signs.

use std::fmt::Write;

use super::super::icons::{SHIELD, icon};
use super::super::layout::Rect;
use super::super::overlay::{Live, Overlay};
use super::super::picture::{Cell, Node};
use crate::wire::State;

/// Left of a cell's words: its sign.
const SIGN: i32 = 38;
/// Right of a cell's words.
const REST: i32 = 14;
/// A sign's square.
const SQUARE: i32 = 16;

/// Text for XML.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            // XML 1.0 § 2.2 has no other control characters.
            control if control.is_control() => out.push(' '),
            other => out.push(other),
        }
    }
    out
}

/// An upper estimate of the width of `text` in pixels at a font size of `size`: the advances, in hundredths of the
/// size, of the wide among the common fonts without serifs.
pub(in super::super) fn width(text: &str, size: i32) -> i32 {
    let hundredths = |char: char| match char {
        'i' | 'j' | 'l' | '.' | ',' | ':' | ';' | '\'' | '!' | '|' | ' ' | 'I' => 34,
        'f' | 't' | 'r' | '-' | '(' | ')' | '/' | '·' => 43,
        'm' | 'w' | 'M' | 'W' | '@' | '%' | '…' | '—' => 98,
        'A'..='Z' => 72,
        _ => 63,
    };
    text.chars().map(hundredths).sum::<i32>() * size / 100 + 1
}

/// The same in bold.
fn width_bold(text: &str, size: i32) -> i32 {
    width(text, size) * 11 / 10
}

/// Even, so that halves are whole.
fn even(width: i32) -> i32 {
    width + width % 2
}

pub(super) fn cell_width(cell: &Cell) -> i32 {
    even(SIGN + width_bold(&cell.title, 13).max(width(&cell.detail, 11)) + REST)
}

pub(super) fn head_width(node: &Node<'_>) -> i32 {
    let shield = if node.shield { SQUARE + 6 } else { 0 };
    even(shield + width_bold(&node.name(), 14) + 14 + width(&node.address(), 11))
}

pub(super) fn pill_width(title: &str, detail: &str) -> i32 {
    even(width_bold(title, 13).max(width(detail, 11)) + 44)
}

pub(super) fn server(out: &mut String, rect: Rect, node: &Node<'_>) {
    let Rect { x, y, w, h } = rect;
    let spof = if node.spof() { " spof" } else { "" };
    let _ = writeln!(
        out,
        "<g class=\"server{spof}\"><rect class=\"box\" x=\"{x}\" y=\"{y}\" width=\"{w}\" height=\"{h}\" rx=\"12\"/>"
    );
    let mut left = x + 12;
    if node.shield {
        let _ = writeln!(out, "<path class=\"icon\" transform=\"translate({left} {})\" d=\"{SHIELD}\"/>", y + 10);
        left += SQUARE + 6;
    }
    let _ = writeln!(
        out,
        "<text class=\"name\" x=\"{left}\" y=\"{}\">{}</text><text class=\"address\" x=\"{}\" y=\"{}\">{}</text></g>",
        y + 23,
        escape(&node.name()),
        x + w - 12,
        y + 22,
        escape(&node.address())
    );
}

pub(super) fn pill(out: &mut String, class: &str, rect: Rect, title: &str, detail: &str) {
    let Rect { x, y, w, h } = rect;
    let (middle, radius) = (rect.center(), h / 2);
    let _ = writeln!(
        out,
        "<g class=\"{class}\"><rect class=\"pill\" x=\"{x}\" y=\"{y}\" width=\"{w}\" height=\"{h}\" rx=\"{radius}\"/>\
         <text class=\"title middle\" x=\"{middle}\" y=\"{}\">{}</text>\
         <text class=\"detail middle\" x=\"{middle}\" y=\"{}\">{}</text></g>",
        y + 19,
        escape(title),
        y + 34,
        escape(detail)
    );
}

pub(super) fn cell(out: &mut String, rect: Rect, node: &Node<'_>, cell: &Cell, overlay: Option<&Overlay>) {
    let Rect { x, y, w, h } = rect;
    let live = overlay.map(|overlay| overlay.of(node, cell));
    let spof = if cell.spof { " spof" } else { "" };
    let state =
        live.as_ref().and_then(Option::as_ref).map_or(String::new(), |live| format!(" {}", live.state.as_str()));
    let _ = writeln!(
        out,
        "<g class=\"role{spof}{state}\" data-server=\"{}\" data-role=\"{}\">\
         <rect class=\"cell\" x=\"{x}\" y=\"{y}\" width=\"{w}\" height=\"{h}\" rx=\"8\"/>",
        escape(&node.name()),
        cell.role
    );
    let _ = writeln!(
        out,
        "<path class=\"icon\" transform=\"translate({} {})\" d=\"{}\"/>\
         <text class=\"title\" x=\"{left}\" y=\"{}\">{}</text><text class=\"detail\" x=\"{left}\" y=\"{}\">{}</text>",
        x + 12,
        y + 16,
        icon(cell.role),
        y + 21,
        escape(&cell.title),
        y + 37,
        escape(&cell.detail),
        left = x + SIGN
    );
    if let Some(live) = live {
        how(out, x, y, live.as_ref());
    }
    if cell.spof {
        tag(out, rect.right() - 46, y - 8);
    }
    out.push_str("</g>\n");
}

/// `SPOF` in white on red.
fn tag(out: &mut String, x: i32, y: i32) {
    let _ = write!(
        out,
        "<rect class=\"tag\" x=\"{x}\" y=\"{y}\" width=\"38\" height=\"16\" rx=\"4\"/>\
         <text class=\"tagged\" x=\"{}\" y=\"{}\">SPOF</text>",
        x + 19,
        y + 11
    );
}

/// The third line of a cell: a shape, a word, a rate.
fn how(out: &mut String, x: i32, y: i32, live: Option<&Live>) {
    let (shape, words, why) = match live {
        None => (shape(State::Stopped), "runs nothing".to_owned(), String::new()),
        Some(live) => {
            let rate = live.per_second.map(|rate| format!(" · {} /s", rounded(rate))).unwrap_or_default();
            (shape(live.state), format!("{}{rate}", live.state.as_str()), live.because.clone())
        }
    };
    let _ = write!(
        out,
        "<path class=\"state\" transform=\"translate({} {})\" d=\"{shape}\"/>\
         <text class=\"how\" x=\"{}\" y=\"{}\">{}</text><title>{}</title>",
        x + 15,
        y + 45,
        x + SIGN,
        y + 54,
        escape(&words),
        escape(&why)
    );
}

/// A shape for each state, so that colour is not the only sign.
const fn shape(state: State) -> &'static str {
    match state {
        State::Serving => "M5 1.5a3.5 3.5 0 1 0 0 7a3.5 3.5 0 0 0 0-7z",
        State::Degraded => "M5 1.5l4 7h-8z",
        State::Starting => "M5 1.8a3.2 3.2 0 1 0 0 6.4a3.2 3.2 0 0 0 0-6.4z",
        State::Stopping => "M5 1.5a3.5 3.5 0 1 0 0 7",
        State::Stopped => "M1.5 5h7",
        State::Failed => "M1.5 1.5l7 7M8.5 1.5l-7 7",
    }
}

/// Two digits are enough to see what goes on.
fn rounded(rate: f64) -> String {
    if (0.05..9.95).contains(&rate) { format!("{rate:.1}") } else { format!("{rate:.0}") }
}

/// A sign of the legend.
pub(super) fn sign(out: &mut String, sign: &str, x: i32, y: i32) {
    let _ = match sign {
        "spof" => writeln!(
            out,
            "<g class=\"spof\"><rect class=\"cell\" x=\"{x}\" y=\"{}\" width=\"24\" height=\"13\" rx=\"4\"/></g>",
            y - 11
        ),
        "shield" => {
            writeln!(out, "<path class=\"icon\" transform=\"translate({} {})\" d=\"{SHIELD}\"/>", x + 4, y - 12)
        }
        _ => writeln!(out, "<path class=\"wire http standby\" d=\"M{x} {}h24\"/>", y - 4),
    };
}
