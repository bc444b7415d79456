//! `schema`

use std::path::{Path, PathBuf};

use clap::builder::PossibleValuesParser;
use serde_json::Value;

use crate::app::AppError;
use crate::wire::schema;

use super::{Ending, print};

pub(super) const EXAMPLES: &str = "Examples:
  order-execution schema
  order-execution schema new_order
  order-execution schema --dir schemas
  order-execution schema status_message --dir .

JSON Schema, draft 2020-12. Needs no configuration.";

#[derive(Debug, clap::Args)]
pub(super) struct SchemaArguments {
    /// Which message [default: all of them]
    #[arg(value_parser = PossibleValuesParser::new(schema::NAMES))]
    name: Option<String>,
    /// Write <DIR>/<NAME>.json, for each without a name, instead of printing
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

pub(super) fn run(arguments: &SchemaArguments, json: bool) -> Result<Ending, AppError> {
    let name = arguments.name.as_deref();
    let Some(dir) = &arguments.dir else {
        let text = document(name.unwrap_or(schema::ALL))?;
        print::raw(&if json { compact(&text)? } else { text });
        return Ok(Ending::Done);
    };
    std::fs::create_dir_all(dir)
        .map_err(|error| AppError::Failed(format!("the folder {} cannot be made: {error}", dir.display())))?;
    for each in schema::NAMES.iter().filter(|each| name.is_none_or(|name| name == **each)) {
        write(&dir.join(format!("{each}.json")), &document(each)?, json)?;
    }
    Ok(Ending::Done)
}

fn write(path: &Path, text: &str, json: bool) -> Result<(), AppError> {
    std::fs::write(path, text)
        .map_err(|error| AppError::Failed(format!("{} cannot be written: {error}", path.display())))?;
    if json {
        print::json(&serde_json::json!({ "written": path.display().to_string() }))
    } else {
        print::line(&format!("wrote {}", path.display()));
        Ok(())
    }
}

fn document(name: &str) -> Result<String, AppError> {
    schema::text(name).ok_or_else(|| AppError::Usage(format!("there is no schema called {name}")))
}

fn compact(text: &str) -> Result<String, AppError> {
    let failed = |error| AppError::Failed(format!("the schema cannot be written as one line: {error}"));
    let value: Value = serde_json::from_str(text).map_err(failed)?;
    Ok(format!("{value}\n"))
}
