//! The picture as a Mermaid flowchart, for Markdown that draws it (GitHub's, GitLab's).
//!
//! Where several cells talk to several, the lines meet in a node that carries the protocol: the chart's renderer would
//! otherwise draw and label every pair.

use std::fmt::Write;

use super::layout::www;
use super::picture::{Cell, Node, Picture, Stage, picture};
use crate::model::Site;
use crate::names::Role;

/// Draws the site.
pub fn mermaid(site: &Site) -> String {
    let picture = picture(site);
    let mut chart = Chart { picture: &picture, out: String::new() };
    chart.draw();
    chart.out
}

/// Colours that are legible on light and dark pages; the outline's dashes say the same.
const CLASSES: &str = "  classDef spof stroke:#d1242f,stroke-width:3px,stroke-dasharray:6 4
  classDef wire fill:none,stroke:none
  classDef notes fill:none,stroke:none,text-align:left
";

/// Lines of notes break at this many pixels; the default of 200 makes a tower of them.
const WRAPPING: u32 = 600;

struct Chart<'p> {
    picture: &'p Picture<'p>,
    out: String,
}

impl<'p> Chart<'p> {
    fn draw(&mut self) {
        let title = quoted(&format!("{}: {}", self.picture.site.domain, self.picture.headline()));
        let _ = write!(
            self.out,
            "---\ntitle: \"{title}\"\nconfig:\n  flowchart:\n    wrappingWidth: {WRAPPING}\n---\nflowchart TB\n"
        );
        let _ = writeln!(self.out, "  internet([\"internet<br/>{}\"])", quoted(&www(self.picture)));
        if let Some(floating) = &self.picture.floating {
            let (title, detail) = (quoted(&floating.title), quoted(&floating.detail));
            let _ = writeln!(self.out, "  floating([\"{title}<br/>{detail}\"])");
        }
        self.servers();
        for stage in Stage::ALL {
            self.arrows(stage);
        }
        self.replication();
        self.notes();
        self.out.push_str(CLASSES);
        self.classes();
    }

    /// Boxes of the tiers; then those of the monitors, together.
    fn servers(&mut self) {
        let tiers: usize = self.picture.blocks.iter().map(|block| block.nodes.len()).sum();
        for (place, node) in self.nodes().into_iter().enumerate() {
            if place == tiers {
                self.out.push_str("  subgraph monitors[\"watching every server\"]\n");
            }
            self.server(place, node);
        }
        if !self.picture.monitors.is_empty() {
            self.out.push_str("  end\n");
        }
    }

    fn nodes(&self) -> Vec<&'p Node<'p>> {
        self.picture.blocks.iter().flat_map(|block| &block.nodes).chain(&self.picture.monitors).collect()
    }

    fn server(&mut self, place: usize, node: &Node<'_>) {
        let _ = writeln!(self.out, "  subgraph s{place}[\"{} {}\"]", quoted(&node.name()), quoted(&node.address()));
        for cell in &node.cells {
            let spof = if cell.spof { "<br/><b>SPOF</b>" } else { "" };
            let (open, close) = if cell.role == Role::Database { ("[(", ")]") } else { ("[", "]") };
            let words = format!("{}<br/>{}{spof}", quoted(&cell.title), quoted(&cell.detail));
            let _ = writeln!(self.out, "    {}{open}\"{words}\"{close}", id(place, cell));
        }
        self.out.push_str("  end\n");
    }

    /// The ids of the cells that `wanted` takes.
    fn ids(&self, wanted: impl Fn(&Cell) -> bool) -> Vec<String> {
        let nodes = self.nodes().into_iter().enumerate();
        let cells = nodes.flat_map(|(place, node)| node.cells.iter().map(move |cell| (place, cell)));
        cells.filter(|(_, cell)| wanted(cell)).map(|(place, cell)| id(place, cell)).collect()
    }

    fn role(&self, role: Role) -> Vec<String> {
        self.ids(|cell| cell.role == role)
    }

    /// The arrows that end in the tier.
    fn arrows(&mut self, stage: Stage) {
        let mut sources = stage.source().map(|role| self.role(role)).unwrap_or_default();
        if sources.is_empty() && stage <= Stage::Front {
            sources = vec!["internet".into()];
        }
        let cells: Vec<&Cell> = self.nodes().into_iter().flat_map(|node| node.cells_at(stage)).collect();
        if let Some(floating) = self.picture.floating.as_ref().filter(|_| stage == Stage::Front) {
            self.wire("address", &sources, &floating.arrival, &[("-->", "", vec!["floating".into()])]);
        }
        for role in Role::ALL.into_iter().filter(|role| *role != Role::Monitor) {
            let Some(first) = cells.iter().find(|cell| cell.role == role) else { continue };
            let floating = self.picture.floating.is_some() && role == Role::Balancer;
            let from = if floating { vec!["floating".to_owned()] } else { sources.clone() };
            self.wire(role.as_str(), &from, &first.arrival, &self.ends(&cells, role));
        }
    }

    /// What the arrows into a role's cells have of their own: the line, what is asked, and the cells.
    fn ends(&self, cells: &[&Cell], role: Role) -> Vec<(&'static str, &'p str, Vec<String>)> {
        let mut kinds: Vec<(bool, &str)> = Vec::new();
        for cell in cells.iter().filter(|cell| cell.role == role) {
            if !kinds.contains(&(cell.standby, cell.asked)) {
                kinds.push((cell.standby, cell.asked));
            }
        }
        let end = |(standby, asked)| {
            let same = |cell: &Cell| (cell.role, cell.standby, cell.asked) == (role, standby, asked);
            (if standby { "-.->" } else { "-->" }, asked, self.ids(same))
        };
        kinds.into_iter().map(end).collect()
    }

    /// From all `sources` to all targets; through a node that carries the label where there are several of both.
    fn wire(&mut self, name: &str, sources: &[String], label: &[String], ends: &[(&str, &str, Vec<String>)]) {
        let many = sources.len() > 1 || ends.len() > 1 || ends.iter().any(|(_, _, targets)| targets.len() > 1);
        let from = sources.join(" & ");
        if !many || label.is_empty() {
            for (line, asked, targets) in ends {
                let words: Vec<&str> =
                    label.iter().map(String::as_str).chain([*asked]).filter(|it| !it.is_empty()).collect();
                let _ = writeln!(self.out, "  {from} {line}{} {}", bar(&words), targets.join(" & "));
            }
            return;
        }
        let _ = writeln!(self.out, "  to_{name}[\"{}\"]:::wire", quoted(&label.join("<br/>")));
        let _ = writeln!(self.out, "  {from} --- to_{name}");
        for (line, asked, targets) in ends {
            let words: &[&str] = if asked.is_empty() { &[] } else { &[asked] };
            let _ = writeln!(self.out, "  to_{name} {line}{} {}", bar(words), targets.join(" & "));
        }
    }

    fn replication(&mut self) {
        let databases = self.role(Role::Database);
        if let (Some(text), Some((primary, replicas))) = (&self.picture.replication, databases.split_first())
            && !replicas.is_empty()
        {
            let _ =
                writeln!(self.out, "  {primary} =={} {}", bar(&[text]).replacen('|', ">|", 1), replicas.join(" & "));
        }
    }

    /// What is open, and what the dagger means, to be read on the page, below everything.
    fn notes(&mut self) {
        let mut lines = Vec::new();
        if !self.picture.open.is_empty() {
            lines.push(format!("every server's firewall{} lets in only:", self.picture.shield_mark()));
            lines.extend(self.picture.open.iter().map(|arrow| quoted(arrow)));
        }
        if !self.picture.notes.is_empty() {
            lines.push("† declared, not enforced by this version of Mainstay:".to_owned());
        }
        if lines.is_empty() {
            return;
        }
        lines.extend(self.picture.notes.iter().map(|it| quoted(&format!("{}: {}", it.declared, it.instead))));
        let _ = writeln!(self.out, "  notes[\"{}\"]:::notes", lines.join("<br/>"));
        if let Some(last) = self.role(Role::Database).last().or(self.role(Role::App).last()) {
            let _ = writeln!(self.out, "  {last} ~~~ notes");
        }
    }

    fn classes(&mut self) {
        let spofs = self.ids(|cell| cell.spof);
        if !spofs.is_empty() {
            let _ = writeln!(self.out, "  class {} spof", spofs.join(","));
        }
    }
}

/// A label on an arrow.
fn bar(words: &[&str]) -> String {
    if words.is_empty() { String::new() } else { format!("|\"{}\"|", quoted(&words.join("<br/>"))) }
}

fn id(place: usize, cell: &Cell) -> String {
    format!("s{place}_{}", cell.role)
}

/// Text inside a quoted label; Mermaid has entities instead of escapes.
fn quoted(text: &str) -> String {
    text.replace('"', "#quot;")
}
