//! What the demonstration looks like: a table that updates in place on a terminal, else lines.

use std::io::{self, IsTerminal};

use terminal_size::{Height, Width, terminal_size};

use crate::cli::print;

use super::board::{Row, Verdict};

/// Columns of the table: what it shows, what is ordered.
const SHOWS: usize = 40;
const WANTS: usize = 20;
/// A table in place needs so much; less, and lines are better.
const NARROWEST: usize = 72;
/// Below this the path needs the room of what is ordered.
const WIDE: usize = 120;

#[derive(Debug, Clone, Copy)]
enum Colour {
    Plain,
    Dim,
    Green,
    Red,
    Yellow,
    Bold,
}

impl Colour {
    const fn code(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Dim => "\x1b[2m",
            Self::Green => "\x1b[32m",
            Self::Red => "\x1b[31m",
            Self::Yellow => "\x1b[33m",
            Self::Bold => "\x1b[1m",
        }
    }
}

type Line = Vec<(Colour, String)>;

pub(super) struct Screen {
    /// Lines below are redrawn in place.
    in_place: bool,
    colours: bool,
    json: bool,
    /// Lines drawn that the next drawing replaces.
    drawn: usize,
}

impl Screen {
    pub(super) fn new(json: bool, rows: usize) -> Self {
        let is_terminal =
            io::stdout().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb");
        let fits = size().is_some_and(|(width, height)| width >= NARROWEST && height > rows + 3);
        Self {
            in_place: is_terminal && fits && !json,
            colours: is_terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
            json,
            drawn: 0,
        }
    }

    /// Text for people, above what is redrawn. Nothing in JSON.
    pub(super) fn say(&mut self, text: &str) {
        if !self.json {
            self.erase();
            print::line(text);
        }
    }

    /// What must not be overlooked.
    pub(super) fn headline(&mut self, text: &str) {
        let line = self.render(&vec![(Colour::Bold, text.to_owned())], usize::MAX);
        self.say(&line);
    }

    /// The whole table, in place.
    pub(super) fn table(&mut self, rows: &[Row], prices: &str) {
        if self.in_place {
            let mut lines: Vec<Line> = rows.iter().map(|row| self.line(row)).collect();
            lines.push(vec![(Colour::Dim, format!("  {prices}"))]);
            self.draw(&lines);
        }
    }

    /// One row in full, where there is no table in place.
    pub(super) fn row(&mut self, row: &Row) {
        if !self.in_place && !self.json {
            let line = self.line(row);
            print::line(&self.render(&line, usize::MAX));
        }
    }

    /// The table stays as it is; what follows goes below.
    pub(super) fn keep(&mut self) {
        self.drawn = 0;
    }

    /// The last line, in place.
    pub(super) fn prices(&mut self, prices: &str) {
        if self.in_place {
            self.draw(&[vec![(Colour::Dim, format!("  {prices}"))]]);
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
        if !self.in_place || width() >= WIDE {
            names.push_str(&format!("{:<WANTS$} ", row.sample.wants()));
        }
        let path = if self.in_place {
            fitting(&row.shown_path(), &remark, names.chars().count() + 3)
        } else {
            row.shown_path()
        };
        vec![(colour, head), (shows, names), (colour, path), (Colour::Dim, format!("  {remark}"))]
    }

    fn erase(&mut self) {
        if self.drawn > 0 {
            print::raw(&format!("\x1b[{}A\r\x1b[J", self.drawn));
            self.drawn = 0;
        }
    }

    fn draw(&mut self, lines: &[Line]) {
        let mut text = String::new();
        if self.drawn > 0 {
            text.push_str(&format!("\x1b[{}A\r", self.drawn));
        }
        let width = width();
        for line in lines {
            text.push_str(&self.render(line, width));
            text.push_str("\x1b[K\n");
        }
        text.push_str("\x1b[J");
        self.drawn = lines.len();
        print::raw(&text);
    }

    /// At most so many characters of it, coloured if that is wanted.
    fn render(&self, line: &Line, width: usize) -> String {
        let mut out = String::new();
        let mut room = width;
        for (colour, text) in line {
            let part: String = text.chars().take(room).collect();
            room -= part.chars().count();
            match (self.colours, colour.code()) {
                (true, code) if !code.is_empty() && !part.trim().is_empty() => {
                    out.push_str(&format!("{code}{part}\x1b[0m"));
                }
                _ => out.push_str(&part),
            }
        }
        out.trim_end().to_owned()
    }
}

/// The end of the path says most: its beginning goes first where there is little room. `taken`: what stands
/// before it.
fn fitting(path: &str, remark: &str, taken: usize) -> String {
    const GONE: &str = ".. > ";
    let room = width().saturating_sub(taken);
    let room = room.saturating_sub((remark.chars().count() + 2).min(room / 3));
    let (mut rest, mut cut) = (path, "");
    while cut.len() + rest.chars().count() > room {
        let Some((_, shorter)) = rest.split_once(" > ") else { break };
        (rest, cut) = (shorter, GONE);
    }
    format!("{cut}{rest}")
}

fn size() -> Option<(usize, usize)> {
    terminal_size().map(|(Width(width), Height(height))| (usize::from(width), usize::from(height)))
}

fn width() -> usize {
    size().map_or(NARROWEST, |(width, _)| width)
}
