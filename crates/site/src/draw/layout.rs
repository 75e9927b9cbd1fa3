//! Where everything goes: one computation for pixels and for characters, which differ in their [`Metrics`] only.
//!
//! A wire leaves its sources downwards, runs along a rail in the gap between two rows, and falls on its targets:
//!
//! ```text
//!     source    source
//!        └───┬────┘      ← out: from the sources to the rail
//!       ┌────┴────┐      ← fall: from the rail to the targets; labels stand here, right of the line
//!     target    target
//! ```

use super::picture::{Block, Cell, Node, Picture, Stage};
use crate::names::Role;

/// Sizes and distances, in the renderer's unit.
pub(super) struct Metrics {
    /// Height of a cell.
    pub cell: i32,
    /// Between two cells of a row.
    pub cell_gap: i32,
    /// From a box's side to its cells.
    pub pad: i32,
    /// From a box's top to its cells: room for the server's name.
    pub head: i32,
    /// From the cells to the box's bottom.
    pub foot: i32,
    /// Between two boxes.
    pub gutter: i32,
    /// From the sources of a wire to its rail.
    pub out: i32,
    /// From the rail to targets without a label.
    pub fall: i32,
    /// Height of a line of a label.
    pub line: i32,
    /// Height of a pill.
    pub pill: i32,
    /// Around everything.
    pub margin: i32,
    /// Whether monitors stand at the side; else below.
    pub aside: bool,
    /// How wide a cell wants to be.
    pub cell_width: fn(&Cell) -> i32,
    /// How wide a box's first line wants to be, without the box's sides.
    pub head_width: fn(&Node<'_>) -> i32,
    /// How wide a pill of these two lines is.
    pub pill_width: fn(&str, &str) -> i32,
}

/// A point; y grows downwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Point {
    pub x: i32,
    pub y: i32,
}

/// A rectangle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rect {
    pub x: i32,
    pub y: i32,
    pub w: i32,
    pub h: i32,
}

impl Rect {
    pub const fn center(&self) -> i32 {
        self.x + self.w / 2
    }
    pub const fn bottom(&self) -> i32 {
        self.y + self.h
    }
    pub const fn right(&self) -> i32 {
        self.x + self.w
    }
    /// Whether they share an inner point.
    #[cfg(test)]
    pub const fn overlaps(&self, other: &Rect) -> bool {
        self.x < other.right() && other.x < self.right() && self.y < other.bottom() && other.y < self.bottom()
    }
}

/// A box in its place, with its cells.
pub(super) struct Placed<'p> {
    pub node: &'p Node<'p>,
    pub rect: Rect,
    pub cells: Vec<(Rect, &'p Cell)>,
}

/// What a wire carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Http,
    Dns,
    Sql,
    Replication,
    /// Monitors look.
    Watch,
}

impl Kind {
    const fn of(role: Role) -> Kind {
        match role {
            Role::Dns => Kind::Dns,
            Role::Database | Role::Cache => Kind::Sql,
            _ => Kind::Http,
        }
    }
}

/// Down from the first point, along the rail, to the last, where the arrow's head is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wire {
    pub kind: Kind,
    pub points: [Point; 4],
    pub standby: bool,
}

/// Text at the right of a falling wire; `at` is on the rail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Label {
    pub kind: Kind,
    pub at: Point,
    pub lines: Vec<String>,
}

/// Everything in its place.
pub(super) struct Layout<'p> {
    pub width: i32,
    pub height: i32,
    pub internet: Rect,
    pub floating: Option<Rect>,
    pub boxes: Vec<Placed<'p>>,
    pub monitors: Vec<Placed<'p>>,
    /// The middle of each tier's row.
    pub rows: Vec<(Stage, i32)>,
    pub wires: Vec<Wire>,
    pub labels: Vec<Label>,
    /// Where what the replicas do is said: the middle of the rail below them.
    pub replication: Option<Point>,
    /// Where that the monitors watch is said.
    pub watch: Option<Point>,
}

/// Gives everything its place.
pub(super) fn layout<'p>(picture: &'p Picture<'p>, metrics: &'p Metrics) -> Layout<'p> {
    let mut draft = Draft::new(picture, metrics);
    for block in &picture.blocks {
        draft.block(block);
    }
    draft.replicate();
    draft.watch();
    draft.out.height = draft.y + metrics.margin;
    draft.out
}

/// The layout while it grows downwards.
struct Draft<'p> {
    picture: &'p Picture<'p>,
    metrics: &'p Metrics,
    /// Every cell is as wide as the widest, so that rows of equally many boxes stand exactly below each other.
    cell: i32,
    /// Of the tiers, without margins.
    width: i32,
    /// The bottom of what has been placed.
    y: i32,
    /// Whether the floating address stands above the row at hand: never between the rows of one box.
    pill: bool,
    out: Layout<'p>,
}

impl<'p> Draft<'p> {
    fn new(picture: &'p Picture<'p>, metrics: &'p Metrics) -> Self {
        let nodes = || picture.blocks.iter().flat_map(|block| &block.nodes).chain(&picture.monitors);
        let by_cell = nodes().flat_map(|node| &node.cells).map(metrics.cell_width).max().unwrap_or(0);
        // A box with one cell must have room for the name, too.
        let by_head = nodes().map(|node| (metrics.head_width)(node)).max().unwrap_or(0);
        let cell = by_cell.max(by_head);
        let pill = |title: &str, detail: &str| (metrics.pill_width)(title, detail);
        let internet = pill("internet", &www(picture));
        let floating = picture.floating.as_ref().map_or(0, |it| pill(&it.title, &it.detail));
        let widths = picture.blocks.iter().map(|block| block_width(block, cell, metrics));
        let width = widths.chain([internet, floating]).max().unwrap_or(0);
        let rect = Rect { x: metrics.margin + (width - internet) / 2, y: metrics.margin, w: internet, h: metrics.pill };
        let out = Layout {
            width: width + 2 * metrics.margin,
            height: 0,
            internet: rect,
            floating: None,
            boxes: Vec::new(),
            monitors: Vec::new(),
            rows: Vec::new(),
            wires: Vec::new(),
            labels: Vec::new(),
            replication: None,
            watch: None,
        };
        Draft { picture, metrics, cell, width, y: rect.bottom(), pill: false, out }
    }

    fn block(&mut self, block: &'p Block<'p>) {
        let metrics = self.metrics;
        let base = self.out.boxes.len();
        self.place_columns(block);
        for (index, stage) in block.stages.iter().enumerate() {
            let begins = block.nodes.iter().any(|node| node.stage_first() == Some(*stage));
            let ends = index > 0 && block.nodes.iter().any(|node| node.stage_last() == Some(block.stages[index - 1]));
            let rail = self.y + metrics.out + if ends { metrics.foot } else { 0 };
            let top = self.gap(block, *stage, rail);
            let row = top + if begins { metrics.head } else { 0 };
            self.place_row(base, block, *stage, row);
            self.connect(*stage, rail);
            self.y = row + metrics.cell;
        }
        self.y += metrics.foot;
    }

    /// The height of the gap above a row, in which the floating address stands where it belongs: gives the row's top.
    fn gap(&mut self, block: &Block<'_>, stage: Stage, rail: i32) -> i32 {
        let metrics = self.metrics;
        let arrivals = block.nodes.iter().flat_map(|node| node.cells_at(stage)).map(|cell| cell.label().len());
        let fall = self.fall(arrivals.max().unwrap_or(0));
        self.pill = block.stages.first() == Some(&stage) && block.stages.contains(&Stage::Front);
        let Some(floating) = self.picture.floating.as_ref().filter(|_| self.pill) else {
            return rail + fall;
        };
        let width = (metrics.pill_width)(&floating.title, &floating.detail);
        let y = rail + self.fall(floating.arrival.len());
        self.out.floating = Some(Rect { x: 0, y, w: width, h: metrics.pill });
        y + metrics.pill + metrics.out + fall
    }

    /// From a rail to targets with labels of so many lines.
    fn fall(&self, lines: usize) -> i32 {
        self.metrics.fall + self.metrics.line * i32::try_from(lines).unwrap_or(0)
    }

    /// The boxes of a block side by side, without their heights yet.
    fn place_columns(&mut self, block: &'p Block<'p>) {
        let metrics = self.metrics;
        let width = block_width(block, self.cell, metrics);
        let mut x = metrics.margin + (self.width - width) / 2;
        for node in &block.nodes {
            let w = node_width(node, self.cell, metrics);
            self.out.boxes.push(Placed { node, rect: Rect { x, y: 0, w, h: 0 }, cells: Vec::new() });
            x += w + metrics.gutter;
        }
    }

    fn place_row(&mut self, base: usize, block: &Block<'_>, stage: Stage, row: i32) {
        let metrics = self.metrics;
        let count = block.nodes.len();
        for (place, placed) in self.out.boxes[base..].iter_mut().enumerate() {
            if placed.node.stage_first() == Some(stage) {
                placed.rect.y = row - metrics.head;
            }
            let mut cells: Vec<&Cell> = placed.node.cells_at(stage).collect();
            // The wires of the floating address stay between those of the name servers.
            if self.picture.floating.is_some() && stage == Stage::Front && 2 * place >= count && count > 1 {
                cells.reverse();
            }
            let many = i32::try_from(cells.len()).unwrap_or(1).max(1);
            let w = (placed.rect.w - 2 * metrics.pad - (many - 1) * metrics.cell_gap) / many;
            let mut x = placed.rect.x + metrics.pad;
            for cell in cells {
                placed.cells.push((Rect { x, y: row, w, h: metrics.cell }, cell));
                x += w + metrics.cell_gap;
            }
            if placed.node.stage_last() == Some(stage) {
                placed.rect.h = row + metrics.cell + metrics.foot - placed.rect.y;
            }
        }
        self.out.rows.push((stage, row + metrics.cell / 2));
    }

    /// The wires that end in the row of `stage`.
    fn connect(&mut self, stage: Stage, rail: i32) {
        let sources = self.sources(stage);
        let mut targets = self.targets(stage);
        if let Some(pill) = self.out.floating.filter(|_| self.pill) {
            let (direct, behind) = targets.into_iter().partition(|target: &Target| target.role == Role::Dns);
            targets = direct;
            let pill = self.center_pill(pill, &targets);
            let below = pill.bottom() + self.metrics.out;
            let label = self.picture.floating.as_ref().map(|it| it.arrival.clone()).unwrap_or_default();
            let top = Point { x: pill.center(), y: pill.y };
            targets.push(Target { at: top, inner: pill, role: Role::Balancer, standby: false, label });
            self.wire(&[Point { x: pill.center(), y: pill.bottom() }], behind, below);
        }
        self.wire(&sources, targets, rail);
    }

    /// Puts the floating address as near to the middle as the wires that pass it allow.
    fn center_pill(&mut self, mut pill: Rect, passing: &[Target]) -> Rect {
        let middle = self.metrics.margin + self.width / 2;
        let mut walls: Vec<i32> = passing.iter().map(|target| target.at.x).collect();
        walls.push(i32::MIN / 4);
        walls.push(i32::MAX / 4);
        walls.sort_unstable();
        let room = pill.w / 2 + self.metrics.cell_gap;
        let fitting = walls.windows(2).filter(|gap| gap[1] - gap[0] > 2 * room);
        let centers = fitting.map(|gap| middle.clamp(gap[0] + room, gap[1] - room));
        let center = centers.min_by_key(|center| (center - middle).abs()).unwrap_or(middle);
        pill.x = center - pill.w / 2;
        self.out.floating = Some(pill);
        pill
    }

    /// Where the wires into `stage` begin.
    fn sources(&self, stage: Stage) -> Vec<Point> {
        let from = stage.source();
        let bottoms: Vec<Point> = self.cells().filter(|(_, _, cell)| Some(cell.role) == from).map(bottom).collect();
        if bottoms.is_empty() && stage <= Stage::Front {
            let internet = self.out.internet;
            return vec![Point { x: internet.center(), y: internet.bottom() }];
        }
        bottoms
    }

    fn targets(&self, stage: Stage) -> Vec<Target> {
        let ends = |cell: &Cell| cell.stage == stage && cell.role != Role::Monitor;
        self.cells().filter(|(_, _, cell)| ends(cell)).map(Target::new).collect()
    }

    fn cells(&self) -> impl Iterator<Item = (&Placed<'p>, Rect, &'p Cell)> {
        self.out.boxes.iter().flat_map(|placed| placed.cells.iter().map(move |(rect, cell)| (placed, *rect, *cell)))
    }

    /// From every source to every target.
    fn wire(&mut self, sources: &[Point], targets: Vec<Target>, rail: i32) {
        let mut said: Vec<(Role, Vec<String>)> = Vec::new();
        for target in targets {
            let kind = Kind::of(target.role);
            let end = target.straight(sources);
            for source in sources {
                let turn = Point { x: source.x, y: rail };
                let points = [*source, turn, Point { x: end.x, y: rail }, end];
                self.out.wires.push(Wire { kind, points, standby: target.standby });
            }
            let label = (target.role, target.label);
            if !sources.is_empty() && !label.1.is_empty() && !said.contains(&label) {
                said.push(label.clone());
                self.out.labels.push(Label { kind, at: Point { x: end.x, y: rail }, lines: label.1 });
            }
        }
    }

    /// From the primary along a rail below the boxes to each replica.
    fn replicate(&mut self) {
        if self.picture.replication.is_none() {
            return;
        }
        let ends: Vec<Point> = self
            .cells()
            .filter(|(_, _, cell)| cell.role == Role::Database)
            .map(|(it, rect, cell)| bottom((it, rect, cell)))
            .collect();
        let Some((first, replicas)) = ends.split_first().filter(|(_, replicas)| !replicas.is_empty()) else {
            return;
        };
        let rail = self.y + self.metrics.out;
        for replica in replicas {
            let points = [*first, Point { x: first.x, y: rail }, Point { x: replica.x, y: rail }, *replica];
            self.out.wires.push(Wire { kind: Kind::Replication, points, standby: false });
        }
        let last = replicas[replicas.len() - 1];
        self.out.replication = Some(Point { x: (first.x + last.x) / 2, y: rail });
        self.y = rail + self.metrics.out;
    }

    /// The monitors, beside or below.
    fn watch(&mut self) {
        if self.picture.monitors.is_empty() {
            return;
        }
        if self.metrics.aside { self.watch_aside() } else { self.watch_below() }
    }

    fn monitor(&mut self, node: &'p Node<'p>, x: i32, y: i32) -> Rect {
        let metrics = self.metrics;
        let h = metrics.head + metrics.cell + metrics.foot;
        let rect = Rect { x, y, w: node_width(node, self.cell, metrics), h };
        let cell = Rect { x: x + metrics.pad, y: y + metrics.head, w: rect.w - 2 * metrics.pad, h: metrics.cell };
        let cells = node.cells.iter().map(|it| (cell, it)).collect();
        self.out.monitors.push(Placed { node, rect, cells });
        rect
    }

    /// A column right of the tiers; a rail along all of them leads to each monitor.
    fn watch_aside(&mut self) {
        let metrics = self.metrics;
        let span = |placed: &Placed<'_>| (placed.rect.y, placed.rect.bottom());
        let (top, bottom) = self.out.boxes.iter().map(span).fold((i32::MAX, 0), |(a, b), (c, d)| (a.min(c), b.max(d)));
        let rail = metrics.margin + self.width + metrics.gutter;
        let x = rail + metrics.gutter;
        let each = metrics.head + metrics.cell + metrics.foot;
        let count = i32::try_from(self.picture.monitors.len()).unwrap_or(1);
        let all = count * each + (count - 1) * metrics.gutter;
        let mut y = top + ((bottom - top - all) / 2).max(0);
        self.out.watch = Some(Point { x, y: y - metrics.foot });
        for node in &self.picture.monitors {
            let rect = self.monitor(node, x, y);
            let middle = rect.y + rect.h / 2;
            for end in [top, bottom] {
                let turn = Point { x: rail, y: middle };
                let points = [Point { x: rail, y: end }, turn, turn, Point { x: rect.x, y: middle }];
                self.out.wires.push(Wire { kind: Kind::Watch, points, standby: false });
            }
            y += each + metrics.gutter;
            self.out.width = rect.right() + metrics.margin;
        }
        self.y = self.y.max(y - metrics.gutter);
    }

    fn watch_below(&mut self) {
        let metrics = self.metrics;
        self.y += metrics.out + 1;
        self.out.watch = Some(Point { x: metrics.margin, y: self.y });
        let widths = self.picture.monitors.iter().map(|node| node_width(node, self.cell, metrics) + metrics.gutter);
        let all = widths.sum::<i32>() - metrics.gutter;
        let mut x = metrics.margin + ((self.width - all) / 2).max(0);
        let y = self.y + 1;
        for node in &self.picture.monitors {
            let rect = self.monitor(node, x, y);
            x = rect.right() + metrics.gutter;
            self.y = rect.bottom();
        }
        self.out.width = self.out.width.max(x);
    }
}

/// Where a wire ends.
struct Target {
    at: Point,
    /// Within these sides the wire may end elsewhere.
    inner: Rect,
    role: Role,
    standby: bool,
    label: Vec<String>,
}

impl Target {
    /// The top of the cell, or of its box where the cell is in the box's first row.
    fn new((placed, rect, cell): (&Placed<'_>, Rect, &Cell)) -> Self {
        let first = placed.node.stage_first() == Some(cell.stage);
        let y = if first { placed.rect.y } else { rect.y };
        let at = Point { x: rect.center(), y };
        Target { at, inner: rect, role: cell.role, standby: cell.standby, label: cell.label() }
    }

    /// The end that needs no turn, where one source is right above.
    fn straight(&self, sources: &[Point]) -> Point {
        let margin = self.inner.w / 8;
        let above = |source: &&Point| (self.inner.x + margin..self.inner.right() - margin).contains(&source.x);
        let mut candidates = sources.iter().filter(above);
        match (candidates.next(), candidates.next()) {
            (Some(source), None) => Point { x: source.x, y: self.at.y },
            _ => self.at,
        }
    }
}

/// The bottom of the cell, or of its box where the cell is in the box's last row.
fn bottom((placed, rect, cell): (&Placed<'_>, Rect, &Cell)) -> Point {
    let last = placed.node.stage_last() == Some(cell.stage);
    Point { x: rect.center(), y: if last { placed.rect.bottom() } else { rect.bottom() } }
}

/// `www.foobar.com`
pub(super) fn www(picture: &Picture<'_>) -> String {
    format!("www.{}", picture.site.domain)
}

fn node_width(node: &Node<'_>, cell: i32, metrics: &Metrics) -> i32 {
    let at = |stage: &Stage| node.cells.iter().filter(|cell| cell.stage == *stage).count();
    let many = node.cells.iter().map(|cell| at(&cell.stage)).max().unwrap_or(1);
    let many = i32::try_from(many).unwrap_or(1);
    many * cell + (many - 1) * metrics.cell_gap + 2 * metrics.pad
}

fn block_width(block: &Block<'_>, cell: i32, metrics: &Metrics) -> i32 {
    let widths = block.nodes.iter().map(|node| node_width(node, cell, metrics) + metrics.gutter);
    widths.sum::<i32>() - metrics.gutter
}
