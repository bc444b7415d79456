//! Tables for people: columns as wide as their widest cell.

use super::print;

pub(super) enum Align {
    Left,
    Right,
}

pub(super) struct Table {
    columns: Vec<(&'static str, Align)>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(super) fn new(columns: Vec<(&'static str, Align)>) -> Self {
        Self { columns, rows: Vec::new() }
    }

    pub(super) fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    pub(super) fn print(&self) {
        self.lines().iter().for_each(|line| print::line(line));
    }

    fn lines(&self) -> Vec<String> {
        let header: Vec<String> = self.columns.iter().map(|(name, _)| name.to_uppercase()).collect();
        let all = || std::iter::once(&header).chain(&self.rows);
        let width =
            |n: usize| all().filter_map(|row| row.get(n)).map(|c| c.chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..self.columns.len()).map(width).collect();
        let line = |row: &Vec<String>| {
            let cells =
                row.iter().zip(&self.columns).zip(&widths).map(|((cell, (_, align)), width)| match align {
                    Align::Left => format!("{cell:<width$}"),
                    Align::Right => format!("{cell:>width$}"),
                });
            cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
        };
        all().map(line).collect()
    }
}

/// An amount, or nothing, as a cell.
pub(super) fn cell<T: ToString>(value: Option<&T>) -> String {
    value.map_or_else(|| "-".to_owned(), ToString::to_string)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_align() {
        let mut table = Table::new(vec![("name", Align::Left), ("amount", Align::Right), ("", Align::Left)]);
        table.row(vec!["é".to_owned(), "1".to_owned(), String::new()]);
        table.row(vec!["longer".to_owned(), "1000000".to_owned(), "x".to_owned()]);
        assert_eq!(table.lines(), ["NAME     AMOUNT", "é             1", "longer  1000000  x"]);
    }
}
