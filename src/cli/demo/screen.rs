//! What the demonstration looks like: a table that updates in place on a terminal, else lines.

use crate::cli::canvas::{self, Canvas, Colour, Line, fitting};
use crate::cli::print;

use super::board::{Row, Verdict};

/// Columns of the table: what it shows, what is ordered.
const SHOWS: usize = 40;
const WANTS: usize = 20;
/// A table in place needs so much; less, and lines are better.
const NARROWEST: usize = 72;
/// Below this the path needs the room of what is ordered.
const WIDE: usize = 120;

pub(super) struct Screen {
    /// Lines below are redrawn in place.
    in_place: bool,
    json: bool,
    canvas: Canvas,
}

impl Screen {
    pub(super) fn new(json: bool, rows: usize) -> Self {
        let (width, height) = canvas::size();
        let fits = width >= NARROWEST && height > rows + 3;
        Self { in_place: canvas::is_terminal() && fits && !json, json, canvas: Canvas::new() }
    }

    /// Text for people, above what is redrawn. Nothing in JSON.
    pub(super) fn say(&mut self, text: &str) {
        if !self.json {
            self.canvas.erase();
            print::line(text);
        }
    }

    /// What must not be overlooked.
    pub(super) fn headline(&mut self, text: &str) {
        let line = self.canvas.render(&vec![(Colour::Bold, text.to_owned())], usize::MAX);
        self.say(&line);
    }

    /// The whole table, in place.
    pub(super) fn table(&mut self, rows: &[Row], prices: &str) {
        if self.in_place {
            let mut lines: Vec<Line> = rows.iter().map(|row| self.line(row)).collect();
            lines.push(vec![(Colour::Dim, format!("  {prices}"))]);
            self.canvas.draw(&lines);
        }
    }

    /// One row in full, where there is no table in place.
    pub(super) fn row(&mut self, row: &Row) {
        if !self.in_place && !self.json {
            let line = self.line(row);
            print::line(&self.canvas.render(&line, usize::MAX));
        }
    }

    /// The table stays as it is; what follows goes below.
    pub(super) fn keep(&mut self) {
        self.canvas.keep();
    }

    /// The last line, in place.
    pub(super) fn prices(&mut self, prices: &str) {
        if self.in_place {
            self.canvas.draw(&[vec![(Colour::Dim, format!("  {prices}"))]]);
        }
    }

    fn line(&self, row: &Row) -> Line {
        let (mark, colour) = match row.verdict() {
            Verdict::Waiting => (" ", Colour::Dim),
            Verdict::Alive => ("~", Colour::Yellow),
            Verdict::AsExpected => ("+", Colour::Green),
            Verdict::Wrong(_) => ("!", Colour::Red),
        };
        let remark = match row.verdict() {
            Verdict::Wrong(why) => format!("{why}; {}", row.remark()),
            Verdict::Waiting | Verdict::Alive | Verdict::AsExpected => row.remark(),
        };
        let shows = if matches!(row.verdict(), Verdict::Waiting) { Colour::Dim } else { Colour::Plain };
        let head = format!(" {mark} ");
        let mut names = format!("{:<SHOWS$} ", row.sample.shows);
        if !self.in_place || canvas::size().0 >= WIDE {
            names.push_str(&format!("{:<WANTS$} ", row.sample.wants()));
        }
        let path = if self.in_place {
            beside(&row.shown_path(), &remark, names.chars().count() + 3)
        } else {
            row.shown_path()
        };
        vec![(colour, head), (shows, names), (colour, path), (Colour::Dim, format!("  {remark}"))]
    }
}

/// The path in the room that is left of what stands before it (`taken`) and the remark behind it.
fn beside(path: &str, remark: &str, taken: usize) -> String {
    let room = canvas::size().0.saturating_sub(taken);
    fitting(path, room.saturating_sub((remark.chars().count() + 2).min(room / 3)))
}
