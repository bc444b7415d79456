//! Orders as a spreadsheet writes them: a header with the names of fields in the flat form, then an order a line.

use csv::{ReaderBuilder, StringRecord, Trim};

use crate::cli::fields::{self, Fields};

use super::file::Read1;

/// How a cell of a column becomes JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A string of what stands there: amounts pass digit by digit.
    Text,
    /// `true` or `false`, in any case.
    Flag,
    /// JSON.
    Json,
    /// JSON if it is an object, else a string.
    Either,
}

/// Every field that a producer may give. Contract, section 2, and the flat form.
const COLUMNS: [(&str, Kind); 31] = [
    ("client_order_id", Kind::Text),
    ("symbol", Kind::Text),
    ("side", Kind::Text),
    ("quantity", Kind::Text),
    ("order_type", Kind::Either),
    ("time_in_force", Kind::Either),
    ("expire_time", Kind::Text),
    ("price", Kind::Text),
    ("stop_price", Kind::Text),
    ("limit_price", Kind::Text),
    ("trigger_price", Kind::Text),
    ("distance", Kind::Text),
    ("distance_type", Kind::Text),
    ("broker", Kind::Text),
    ("post_only", Kind::Flag),
    ("reduce_only", Kind::Flag),
    ("display_size", Kind::Text),
    ("allow_partial_fills", Kind::Flag),
    ("urgency", Kind::Either),
    ("would_price_improve", Kind::Flag),
    ("conditions", Kind::Json),
    ("parent_order_id", Kind::Text),
    ("linked_orders", Kind::Json),
    ("execution_instructions", Kind::Json),
    ("max_slippage", Kind::Text),
    ("position_size_check", Kind::Flag),
    ("strategy_id", Kind::Text),
    ("signal_id", Kind::Text),
    ("component_name", Kind::Text),
    ("metadata", Kind::Json),
    ("id", Kind::Text),
];
const REQUIRED: [&str; 4] = ["symbol", "side", "quantity", "order_type"];

type Column = (&'static str, Kind);

pub(super) fn read(text: &str) -> Result<Vec<Read1>, String> {
    let mut reader = ReaderBuilder::new().flexible(true).trim(Trim::All).from_reader(text.as_bytes());
    let columns = header(reader.headers().map_err(|error| format!("not CSV: {error}"))?)?;
    let (mut rows, mut lines) = (Vec::new(), Lines { text: text.as_bytes(), counted: 0, line: 1 });
    for record in reader.records() {
        let record = record.map_err(|error| format!("not CSV: {error}"))?;
        // What a spreadsheet writes below the last row.
        if record.iter().all(str::is_empty) {
            continue;
        }
        let line = lines.at(record.position().map_or(0, csv::Position::byte));
        rows.push((line, order(&columns, &record)));
    }
    Ok(rows)
}

/// Counts lines, from place to place. The reader's own count is off by the ends of lines that stand before a record.
struct Lines<'a> {
    text: &'a [u8],
    counted: usize,
    line: u64,
}

impl Lines<'_> {
    /// The line of the record that is read from `byte` on.
    fn at(&mut self, byte: u64) -> u64 {
        let byte = usize::try_from(byte).unwrap_or(usize::MAX).clamp(self.counted, self.text.len());
        let ends = self.text[byte..].iter().take_while(|b| matches!(b, b'\r' | b'\n')).count();
        let passed = &self.text[self.counted..byte + ends];
        self.line += passed.iter().filter(|b| **b == b'\n').count() as u64;
        self.counted = byte + ends;
        self.line
    }
}

fn header(names: &StringRecord) -> Result<Vec<Column>, String> {
    let mut columns: Vec<Column> = Vec::with_capacity(names.len());
    for name in names {
        let spelt = if fields::is_same("type", name) { "order_type" } else { name };
        let known = COLUMNS.into_iter().find(|(known, _)| fields::is_same(known, spelt));
        let Some(column) = known else {
            let all = COLUMNS.map(|(known, _)| known).join(", ");
            return Err(format!("line 1: {name:?} is no field of an order; there are {all}, and type"));
        };
        if columns.contains(&column) {
            return Err(format!("line 1: there are two columns for {}", column.0));
        }
        columns.push(column);
    }
    match REQUIRED.into_iter().find(|name| !columns.iter().any(|(column, _)| column == name)) {
        Some(missing) => {
            Err(format!("line 1: there is no column for {missing}; the header names the fields"))
        }
        None => Ok(columns),
    }
}

fn order(columns: &[Column], record: &StringRecord) -> Result<Fields, String> {
    if record.len() != columns.len() {
        return Err(format!("it has {} cells, the header has {}", record.len(), columns.len()));
    }
    let mut order = Fields::default();
    for ((name, kind), cell) in columns.iter().zip(record) {
        if cell.is_empty() {
            if REQUIRED.contains(name) {
                return Err(format!("{name} is empty"));
            }
            continue;
        }
        match kind {
            Kind::Text => order.put(name, cell),
            Kind::Flag => match cell.to_ascii_lowercase().as_str() {
                "true" => order.put(name, &true),
                "false" => order.put(name, &false),
                _ => return Err(format!("{name} must be true or false, this is {cell:?}")),
            },
            Kind::Json if !fields::is_json(cell) => return Err(format!("{name} is not JSON: {cell:?}")),
            Kind::Json => order.put_json(name, cell),
            Kind::Either if Fields::parse(cell).is_ok() => order.put_json(name, cell),
            Kind::Either => order.put(name, cell),
        }
    }
    Ok(order)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(text: &str) -> Vec<(u64, Result<String, String>)> {
        let told = |row: Result<Fields, String>| row.map(|fields| fields.to_string());
        read(text).unwrap().into_iter().map(|(line, row)| (line, told(row))).collect()
    }

    #[test]
    fn cells_pass_digit_by_digit_and_empty_ones_are_left_out() {
        let text = "symbol,Side,quantity,type,price,postOnly,metadata,time_in_force\r\n\
                    BTCUSDT,BUY, 0.1000000000000000000000000001 ,LIMIT,45000.10,TRUE,\"{\"\"n\"\":0.10}\",\r\n\
                    ,,,,,,,\r\n\n\
                    \"X,Y\",sell,1e-3,market,,,,IOC\n";
        assert_eq!(
            json(text),
            [
                (2, Ok(r#"{"symbol":"BTCUSDT","side":"BUY","quantity":"0.1000000000000000000000000001","order_type":"LIMIT","price":"45000.10","post_only":true,"metadata":{"n":0.10}}"#.to_owned())),
                (5, Ok(r#"{"symbol":"X,Y","side":"sell","quantity":"1e-3","order_type":"market","time_in_force":"IOC"}"#.to_owned())),
            ]
        );
        let typed = "symbol,side,quantity,order_type\nX,buy,1,\"{\"\"Iceberg\"\":{\"\"a\"\":1.0}}\"\n";
        assert!(json(typed)[0].1.as_ref().unwrap().ends_with(r#""order_type":{"Iceberg":{"a":1.0}}}"#));
    }

    #[test]
    fn what_is_wrong_is_told_of_its_line() {
        let rows = json(
            "symbol,side,quantity,type,post_only,metadata\nX,buy,1,market\nX,buy,1,market,yes,\nX,,1,market,,\nX,buy,1,market,,{oops\nX,buy,1,market,,\n",
        );
        for (nth, told) in
            ["it has 4 cells, the header has 6", "must be true or false", "side is empty", "is not JSON"]
                .iter()
                .enumerate()
        {
            assert!(rows[nth].1.as_ref().unwrap_err().contains(told), "{rows:?}");
        }
        assert_eq!(rows.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [2, 3, 4, 5, 6]);
        assert!(rows[4].1.is_ok());
        for (header, told) in [
            ("symbol,side,qty,type", "\"qty\" is no field"),
            ("symbol,side,type", "no column for quantity"),
            ("symbol,side,quantity,type,order_type", "two columns for order_type"),
            ("price", "no column for symbol"),
        ] {
            let error = read(&format!("{header}\nX,buy,1,market\n")).unwrap_err();
            assert!(error.contains(told) && error.contains("line 1"), "{error}");
        }
    }
}
