//! A grid of characters on which lines join where they meet.

use super::super::layout::{Point, Rect};

/// How a line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Line {
    Plain,
    Dashed,
}

/// A cell's line: bits for the directions in which it leaves.
const UP: u8 = 1;
const DOWN: u8 = 2;
const LEFT: u8 = 4;
const RIGHT: u8 = 8;

/// The characters by their directions.
const JOINTS: [char; 16] = [' ', '╵', '╷', '│', '╴', '┘', '┐', '┤', '╶', '└', '┌', '├', '─', '┴', '┬', '┼'];

#[derive(Clone, Copy, Default)]
struct Spot {
    bits: u8,
    /// Whether some line through it is not dashed.
    plain: bool,
    /// Written over any line.
    written: Option<char>,
}

/// The grid.
pub(super) struct Canvas {
    width: usize,
    spots: Vec<Spot>,
}

impl Canvas {
    pub fn new(width: i32, height: i32) -> Self {
        let (width, height) = (usize::try_from(width).unwrap_or(0) + 1, usize::try_from(height).unwrap_or(0) + 1);
        Canvas { width, spots: vec![Spot::default(); width * height] }
    }

    fn spot(&mut self, x: i32, y: i32) -> Option<&mut Spot> {
        let (x, y) = (usize::try_from(x).ok()?, usize::try_from(y).ok()?);
        if x >= self.width { None } else { self.spots.get_mut(y * self.width + x) }
    }

    fn join(&mut self, x: i32, y: i32, bits: u8, line: Line) {
        if let Some(spot) = self.spot(x, y) {
            spot.bits |= bits;
            spot.plain |= line == Line::Plain;
        }
    }

    /// A straight line with both ends.
    pub fn line(&mut self, from: Point, to: Point, line: Line) {
        for y in from.y.min(to.y)..from.y.max(to.y) {
            self.join(from.x, y, DOWN, line);
            self.join(from.x, y + 1, UP, line);
        }
        for x in from.x.min(to.x)..from.x.max(to.x) {
            self.join(x, from.y, RIGHT, line);
            self.join(x + 1, from.y, LEFT, line);
        }
    }

    /// Joins a line's upper end to the frame right above it, if there is one.
    pub fn attach(&mut self, end: Point) {
        let above = self.spot(end.x, end.y - 1).is_some_and(|spot| spot.bits & LEFT != 0 && spot.written.is_none());
        if above {
            self.line(Point { y: end.y - 1, ..end }, end, Line::Plain);
        }
    }

    /// A rectangle; its lines join those that cross it.
    pub fn frame(&mut self, rect: Rect, line: Line) {
        let (right, bottom) = (rect.right() - 1, rect.bottom() - 1);
        let corners =
            [(rect.x, rect.y), (right, rect.y), (right, bottom), (rect.x, bottom)].map(|(x, y)| Point { x, y });
        for (from, to) in corners.iter().zip(corners.iter().cycle().skip(1)) {
            self.line(*from, *to, line);
        }
    }

    /// A rectangle with round corners.
    pub fn round(&mut self, rect: Rect) {
        self.frame(rect, Line::Plain);
        let (right, bottom) = (rect.right() - 1, rect.bottom() - 1);
        for (x, y, corner) in [(rect.x, rect.y, '╭'), (right, rect.y, '╮'), (rect.x, bottom, '╰'), (right, bottom, '╯')]
        {
            self.put(x, y, corner);
        }
    }

    pub fn put(&mut self, x: i32, y: i32, char: char) {
        if let Some(spot) = self.spot(x, y) {
            spot.written = Some(char);
        }
    }

    pub fn write(&mut self, x: i32, y: i32, text: &str) {
        for (char, x) in text.chars().zip(x..) {
            self.put(x, y, char);
        }
    }

    /// The lines of text, none ending in a space, no empty ones at the end.
    pub fn finish(&self) -> String {
        let lines = self.spots.chunks(self.width).map(|row| row.iter().map(Spot::show).collect::<String>());
        let text = lines.map(|line| format!("{}\n", line.trim_end())).collect::<String>();
        format!("{}\n", text.trim_end())
    }
}

impl Spot {
    fn show(&self) -> char {
        match (self.written, self.plain, JOINTS[usize::from(self.bits)]) {
            (Some(char), ..) => char,
            (None, false, '─') => '╌',
            (None, false, '│') => '╎',
            (None, _, joint) => joint,
        }
    }
}
