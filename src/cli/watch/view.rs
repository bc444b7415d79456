//! How the watch looks: a table in place on a terminal, else a line a message.

use crate::app::AppError;
use crate::cli::canvas::{self, Canvas, Colour, Line, Quiet, fitting};
use crate::cli::fields::Fields;
use crate::cli::print;
use crate::cli::status_message::StatusMessage;

use super::board::Board;
use super::row::{Row, State, clock};

/// Below this there is only room for what matters most.
const WIDE: usize = 110;
const LONGEST_NAME: usize = 24;
/// Fewer rows than that are no table.
const LOWEST: usize = 5;

pub(super) enum View {
    Table { canvas: Canvas, _quiet: Quiet },
    Lines(Canvas),
    Json,
}

/// What is wrong with hearing, as the last line of a table tells it.
pub(super) enum Link<'a> {
    Up(&'a str),
    Down(&'a str),
}

impl View {
    pub(super) fn new(json: bool) -> Self {
        if json {
            Self::Json
        } else if canvas::is_terminal() && canvas::size().1 > LOWEST {
            Self::Table { canvas: Canvas::new(), _quiet: Quiet::new() }
        } else {
            Self::Lines(Canvas::new())
        }
    }

    /// It must not be drawn over.
    pub(super) fn note(&mut self, text: &str) {
        if let Self::Table { canvas, .. } = self {
            canvas.erase();
        }
        print::note(text);
    }

    pub(super) fn draw(&mut self, board: &Board, link: &Link<'_>, passes: impl Fn(&Row) -> bool) {
        let Self::Table { canvas, .. } = self else { return };
        let (width, height) = canvas::size();
        // The header, the last line, and the line on which the cursor stands.
        let shown = board.shown(height.saturating_sub(3), passes);
        let mut lines = table(&shown, width);
        lines.push(status_line(board, link));
        canvas.draw(&lines);
    }

    /// What stands now stays on the terminal.
    pub(super) fn keep(&mut self) {
        if let Self::Table { canvas, .. } = self {
            canvas.keep();
        }
    }

    /// A message on a line of its own; says whether anybody still reads. `raw`: as it was received.
    pub(super) fn message(&self, message: &StatusMessage, raw: &str) -> bool {
        match self {
            Self::Table { .. } => true,
            Self::Lines(canvas) => print::is_read(&canvas.render(&of_message(message), usize::MAX)),
            Self::Json => print::is_read(&raw.replace(['\n', '\r'], " ")),
        }
    }

    /// An order as its state says it stands: after messages were missed, and at the start.
    pub(super) fn state(&self, state: &State, raw: &str, why: &Why) -> Result<bool, AppError> {
        Ok(match self {
            Self::Table { .. } => true,
            Self::Lines(canvas) => {
                let row = Row::of_state(state);
                let remark = match why {
                    Why::Gap(first, last) => {
                        format!("(versions {first} to {last} were missed; so says its state)")
                    }
                    Why::Away => "(not heard of meanwhile; so says its state)".to_owned(),
                    Why::Open => "(open at the start)".to_owned(),
                };
                print::is_read(&canvas.render(&of_row(&row, &remark), usize::MAX))
            }
            Self::Json => {
                let Some(why) = why.json() else { return Ok(true) };
                let mut document = Fields::default();
                document.put("missed", &why);
                document.put("client_order_id", Row::of_state(state).client_order_id.as_str());
                document.put_json("state", raw);
                print::is_read(&document.to_string())
            }
        })
    }
}

/// Why a state is told.
#[derive(Debug, Clone, Copy)]
pub(super) enum Why {
    /// These versions were not heard of.
    Gap(u64, u64),
    /// Nothing was heard for a while.
    Away,
    /// The watch begins.
    Open,
}

impl Why {
    fn json(self) -> Option<Fields> {
        let mut versions = Fields::default();
        match self {
            Self::Gap(first, last) => {
                versions.put("first_version", &first);
                versions.put("version", &last);
            }
            Self::Away => {}
            // One line a message: `orders --open --json` tells this better.
            Self::Open => return None,
        }
        Some(versions)
    }
}

fn colour(status: &str) -> Colour {
    match status {
        "Filled" => Colour::Green,
        "Rejected" => Colour::Red,
        "Cancelled" | "Expired" => Colour::Dim,
        "PartiallyFilled" => Colour::Yellow,
        _ => Colour::Plain,
    }
}

/// The steps before the last are history.
fn coloured(path: &str, status: &str) -> Line {
    let (before, last) = match path.rfind(" > ") {
        Some(at) => path.split_at(at + 3),
        None => ("", path),
    };
    vec![(Colour::Dim, before.to_owned()), (colour(status), last.to_owned())]
}

fn of_message(message: &StatusMessage) -> Line {
    let StatusMessage { client_order_id, side, symbol, timestamp, status, .. } = message;
    let passed = message.steps().collect::<Vec<_>>().join(" > ");
    let path = if passed.is_empty() { status.as_str() } else { &passed };
    let mut line = vec![
        (Colour::Dim, format!("{}  ", clock(timestamp))),
        (Colour::Plain, format!("{client_order_id}  {side} {symbol}  ")),
    ];
    line.extend(coloured(path, status));
    line.push((Colour::Dim, format!("  {}", message.happened())));
    line
}

fn of_row(row: &Row, remark: &str) -> Line {
    let mut line = vec![
        (Colour::Dim, format!("{}  ", row.time())),
        (Colour::Plain, format!("{}  {} {}  ", row.client_order_id, row.side, row.symbol)),
    ];
    line.extend(coloured(&row.path.text(), &row.status));
    line.push((Colour::Dim, format!("  {}", happened(row))));
    line.push((Colour::Yellow, format!("  {remark}")));
    line
}

fn happened(row: &Row) -> String {
    let filled = row.average.as_ref().map(|price| format!("{} at {price}", row.filled));
    let parts = [filled, row.reason.clone()];
    parts.into_iter().flatten().collect::<Vec<_>>().join("; ")
}

const HEADER: [&str; 6] = ["TIME", "CLIENT ORDER ID", "SIDE", "SYMBOL", "FILLED", "AVERAGE"];
/// Those that stand right; those that a narrow terminal does without.
const RIGHT: [bool; 6] = [false, false, false, false, true, true];
const WIDE_ONLY: [bool; 6] = [true, false, false, false, false, true];

fn table(rows: &[&Row], width: usize) -> Vec<Line> {
    let wide = width >= WIDE;
    let cells = |row: &&Row| {
        [
            row.time().to_owned(),
            if wide { row.client_order_id.clone() } else { shortened(&row.client_order_id) },
            row.side.clone(),
            row.symbol.clone(),
            format!("{}/{}", row.filled, row.quantity),
            row.average.clone().unwrap_or_else(|| "-".to_owned()),
        ]
    };
    let header = HEADER.map(str::to_owned);
    let body: Vec<[String; 6]> = rows.iter().map(cells).collect();
    let all = || std::iter::once(&header).chain(&body);
    let widths: [usize; 6] =
        std::array::from_fn(|n| all().map(|row| row[n].chars().count()).max().unwrap_or_default());
    let text = |row: &[String; 6]| -> String {
        let shown = (0..6).filter(|n| wide || !WIDE_ONLY[*n]);
        let cell = |n: usize| {
            let (cell, width) = (&row[n], widths[n]);
            if RIGHT[n] { format!("{cell:>width$}  ") } else { format!("{cell:<width$}  ") }
        };
        shown.map(cell).collect()
    };
    let mut lines = vec![vec![(Colour::Bold, format!("{}STATUS", text(&header)))]];
    for (row, cells) in rows.iter().zip(&body) {
        let head = text(cells);
        let mut remark = row.reason.clone().unwrap_or_default();
        if row.parked {
            remark = "parked: see `order-execution resolve --help`".to_owned();
        }
        let room = width.saturating_sub(head.chars().count());
        let for_remark = if remark.is_empty() { 0 } else { (remark.chars().count() + 2).min(room / 3) };
        let mut line = vec![(Colour::Plain, head)];
        line.extend(coloured(&fitting(&row.path.text(), room - for_remark), &row.status));
        line.push((if row.parked { Colour::Red } else { Colour::Dim }, format!("  {remark}")));
        lines.push(line);
    }
    lines
}

/// Names differ at their ends.
fn shortened(name: &str) -> String {
    let excess = name.chars().count().saturating_sub(LONGEST_NAME);
    if excess == 0 {
        return name.to_owned();
    }
    let end: String = name.chars().skip(excess + 2).collect();
    format!("..{end}")
}

fn status_line(board: &Board, link: &Link<'_>) -> Line {
    let (open, ended) = (board.open(), board.rows().count() - board.open());
    let mut text = format!("{open} open, {ended} ended, {} messages", board.messages);
    if board.dropped > 0 {
        text.push_str(&format!(", {} open ones not kept", board.dropped));
    }
    match link {
        Link::Up(address) => vec![(Colour::Dim, format!("{text}; {address}; Ctrl-C ends"))],
        Link::Down(why) => {
            vec![(Colour::Red, format!("not up to date: {why}")), (Colour::Dim, format!("; {text}"))]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_names_keep_their_ends() {
        assert_eq!(shortened("signal-42"), "signal-42");
        let long = "cli-0123456789abcdef0123456789abcdef";
        assert_eq!(shortened(long), "..abcdef0123456789abcdef");
        assert_eq!(shortened(long).chars().count(), LONGEST_NAME);
    }
}
