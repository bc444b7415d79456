//! The one place that writes results: to stdout, where a closed pipe is the end and no fault.

use std::io::{self, Write};

use serde::Serialize;

use crate::app::AppError;

/// One line of a result.
pub(super) fn line(text: &str) {
    raw(&format!("{text}\n"));
}

/// One JSON document, on one line.
pub(super) fn json<T: Serialize + ?Sized>(document: &T) -> Result<(), AppError> {
    let text = serde_json::to_string(document)
        .map_err(|error| AppError::Failed(format!("the result cannot be written as JSON: {error}")))?;
    line(&text);
    Ok(())
}

/// Text as it is, with whatever moves the cursor in it.
pub(super) fn raw(text: &str) {
    let mut out = io::stdout().lock();
    // Whoever reads has gone (`| head`): what is left to say is for nobody.
    drop(out.write_all(text.as_bytes()).and_then(|()| out.flush()));
}

/// One line of a result that has no end of its own: says whether anybody still reads.
pub(super) fn is_read(text: &str) -> bool {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}").and_then(|()| out.flush()).is_ok()
}

/// Something beside the result, for whoever sits at the terminal.
pub(super) fn note(text: &str) {
    // As above; a closed stderr is no reason to fail either.
    drop(writeln!(io::stderr().lock(), "order-execution: {text}"));
}
