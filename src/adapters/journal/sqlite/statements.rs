//! Multi-row statements of a few fixed sizes, so that each is prepared once.

use std::fmt::Write as _;

/// Rows that one statement takes; a batch is cut into as few as possible.
const SIZES: [usize; 4] = [256, 32, 4, 1];

/// A statement over `VALUES` with a given number of columns, in every size.
#[derive(Debug)]
pub(super) struct Multi {
    texts: [String; SIZES.len()],
}

impl Multi {
    /// `template` holds `{values}` where `(?, ?, …), (…)` goes.
    pub(super) fn new(template: &str, columns: usize) -> Self {
        let row = format!("({})", vec!["?"; columns].join(","));
        let texts = SIZES.map(|size| {
            let mut values = String::with_capacity(size * (row.len() + 1));
            for n in 0..size {
                let _ = write!(values, "{}{row}", if n == 0 { "" } else { "," });
            }
            template.replace("{values}", &values)
        });
        Self { texts }
    }

    /// Cuts `rows` into chunks with the statement for each.
    pub(super) fn chunks<'a, T>(&'a self, mut rows: &'a [T]) -> impl Iterator<Item = (&'a str, &'a [T])> {
        std::iter::from_fn(move || {
            let (text, size) = self.texts.iter().zip(SIZES).find(|(_, size)| *size <= rows.len())?;
            let (chunk, rest) = rows.split_at(size);
            rows = rest;
            Some((text.as_str(), chunk))
        })
    }
}

/// Runs a multi-row statement: `$bind` adds one row's values to the query.
macro_rules! execute_multi {
    ($conn:expr, $statement:expr, $rows:expr, |$query:ident, $row:ident| $bind:expr) => {
        for (text, chunk) in $statement.chunks($rows) {
            let mut $query = sqlx::query(sqlx::AssertSqlSafe(text));
            for $row in chunk {
                $query = $bind;
            }
            $query.execute(&mut *$conn).await?;
        }
    };
}
pub(super) use execute_multi;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_into_few_statements() {
        let statement = Multi::new("INSERT INTO t VALUES {values}", 2);
        let rows: Vec<usize> = (0..297).collect();
        let chunks: Vec<_> = statement.chunks(&rows).collect();
        assert_eq!(chunks.iter().map(|(_, c)| c.len()).collect::<Vec<_>>(), [256, 32, 4, 4, 1]);
        assert_eq!(chunks.iter().flat_map(|(_, c)| c.iter().copied()).collect::<Vec<_>>(), rows);
        assert_eq!(chunks[4].0, "INSERT INTO t VALUES (?,?)");
    }
}
