//! Lines that are drawn in place on a terminal: what the demonstration and the watch have in common.

use std::io::{self, IsTerminal};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use terminal_size::{Height, Width, terminal_size};

use super::print;

/// Where the terminal does not tell its size.
const ASSUMED: (usize, usize) = (72, 24);
const HIDE_CURSOR: &str = "\x1b[?25l";
const SHOW_CURSOR: &str = "\x1b[?25h";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Colour {
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

pub(super) type Line = Vec<(Colour, String)>;

pub(super) struct Canvas {
    colours: bool,
    /// Lines drawn that the next drawing replaces.
    drawn: usize,
    /// How large the terminal was then.
    drawn_at: Option<(usize, usize)>,
}

/// While it lives the cursor is hidden, so that it does not dance over what is drawn, and keys that are pressed are
/// not shown: a line break of theirs would move everything.
pub(super) struct Quiet {
    /// How the terminal was before.
    before: Option<Termios>,
}

impl Quiet {
    pub(super) fn new() -> Self {
        print::raw(HIDE_CURSOR);
        let before = io::stdin().is_terminal().then(|| tcgetattr(io::stdin()).ok()).flatten();
        if let Some(before) = &before {
            let mut quiet = before.clone();
            // Ctrl-C stays what it is.
            quiet.local_modes.remove(LocalModes::ECHO);
            let _ = tcsetattr(io::stdin(), OptionalActions::Now, &quiet);
        }
        Self { before }
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            // Keys that were pressed meanwhile were for nobody.
            let _ = tcsetattr(io::stdin(), OptionalActions::Flush, before);
        }
        print::raw(SHOW_CURSOR);
    }
}

impl Canvas {
    /// Coloured on a terminal that can, unless `NO_COLOR` says otherwise.
    pub(super) fn new() -> Self {
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self { colours: is_terminal() && wanted, drawn: 0, drawn_at: None }
    }

    /// Makes room for text that stays, above what is drawn next.
    pub(super) fn erase(&mut self) {
        if self.drawn > 0 {
            print::raw(&format!("\x1b[{}A\r\x1b[J", self.drawn));
            self.drawn = 0;
        }
    }

    /// What is drawn stays; what follows goes below.
    pub(super) fn keep(&mut self) {
        self.drawn = 0;
    }

    /// Draws lines over those that were drawn before, each cut to the terminal's width.
    pub(super) fn draw(&mut self, lines: &[Line]) {
        let (width, height) = size();
        let mut text = String::new();
        // Where the size changed, nobody knows into how many rows the terminal has wrapped what was drawn.
        if self.drawn > 0 && self.drawn_at.is_some_and(|before| before != (width, height)) {
            text.push_str("\x1b[H\x1b[2J");
        } else if self.drawn > 0 {
            text.push_str(&format!("\x1b[{}A\r", self.drawn));
        }
        for line in lines {
            text.push_str(&self.render(line, width));
            text.push_str("\x1b[K\n");
        }
        text.push_str("\x1b[J");
        self.drawn = lines.len();
        self.drawn_at = Some((width, height));
        print::raw(&text);
    }

    /// At most so many characters of it, coloured if that is wanted. Nothing in it steers the terminal.
    pub(super) fn render(&self, line: &Line, width: usize) -> String {
        let mut out = String::new();
        let mut room = width;
        for (colour, text) in line {
            let part: String =
                text.chars().take(room).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
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

/// The end of a path says most: its beginning goes first where there is little room.
pub(super) fn fitting(path: &str, room: usize) -> String {
    const GONE: &str = ".. > ";
    let (mut rest, mut cut) = (path, "");
    while cut.len() + rest.chars().count() > room {
        let Some((_, shorter)) = rest.split_once(" > ") else { break };
        (rest, cut) = (shorter, GONE);
    }
    format!("{cut}{rest}")
}

/// Standard output is a terminal on which the cursor can be moved.
pub(super) fn is_terminal() -> bool {
    io::stdout().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// The terminal's columns and rows.
pub(super) fn size() -> (usize, usize) {
    let told =
        terminal_size().map(|(Width(width), Height(height))| (usize::from(width), usize::from(height)));
    // A terminal that nobody has told its size says 0.
    told.filter(|(width, height)| *width > 0 && *height > 0).unwrap_or(ASSUMED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_cut_to_the_width_and_cannot_steer_the_terminal() {
        let line = vec![(Colour::Green, "ab".to_owned()), (Colour::Plain, "c\x1b[2Jd".to_owned())];
        let canvas = |colours| Canvas { colours, drawn: 0, drawn_at: None };
        assert_eq!(canvas(false).render(&line, 5), "abc\u{fffd}[");
        assert_eq!(canvas(true).render(&line, 1), "\x1b[32ma\x1b[0m");
        assert_eq!(canvas(true).render(&line, 0), "");
    }

    #[test]
    fn a_path_loses_its_beginning_first() {
        assert_eq!(fitting("Created > Submitted > Filled", 99), "Created > Submitted > Filled");
        assert_eq!(fitting("Created > Submitted > Filled", 25), ".. > Submitted > Filled");
        assert_eq!(fitting("Created > Submitted > Filled", 3), ".. > Filled");
    }
}
