//! The ledger's file: a record a line, only appended to, on disk before anybody is told.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, BufRead, BufReader, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use super::book::{Book, BookError};
use super::transaction::Record;

#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    #[error("the ledger {} cannot be {what}: {source}", path.display())]
    Io { path: PathBuf, what: &'static str, source: io::Error },
    #[error("the ledger {} belongs to another exchange that runs", .0.display())]
    Taken(PathBuf),
    #[error("the ledger {}, line {line}, is not a record: {why}", path.display())]
    Unreadable { path: PathBuf, line: usize, why: String },
    #[error("the ledger {}, line {line}: {source}", path.display())]
    Contradiction { path: PathBuf, line: usize, source: BookError },
    #[error("the book contradicts itself: {0}")]
    Book(#[from] BookError),
    #[error("a record cannot be written as JSON: {0}")]
    Json(#[from] serde_json::Error),
}

/// How every line begins.
const BEGINNING: &[u8] = b"{\"time_us\":";

/// How long a ledger is waited for that another process has, and how long between two looks.
const LOCK_WITHIN: Duration = Duration::from_millis(500);
const LOCK_AGAIN: Duration = Duration::from_millis(20);

#[derive(Debug)]
pub(super) struct Ledger {
    path: PathBuf,
    file: File,
    lines: Vec<u8>,
}

impl Ledger {
    /// Opens or begins the ledger and tells the book all that is in it.
    pub(super) fn open(path: &Path, book: &mut Book) -> Result<Self, LedgerError> {
        let failed = |what: &'static str| {
            let path = path.to_owned();
            move |source| LedgerError::Io { path, what, source }
        };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(failed("opened"))?;
        lock(&file).map_err(|error| match error {
            TryLockError::WouldBlock => LedgerError::Taken(path.to_owned()),
            TryLockError::Error(error) => failed("locked")(error),
        })?;
        let end = read(path, &file, book)?;
        // What a kill left of a line was told to nobody.
        let length = file.metadata().map_err(failed("read"))?.len();
        if end < length {
            tracing::warn!(bytes = length - end, "the ledger's torn last line was cut off");
            file.set_len(end).map_err(failed("cut"))?;
        }
        file.seek(SeekFrom::Start(end)).map_err(failed("read"))?;
        file.sync_all().map_err(failed("synced"))?;
        // A new file's name must be on disk, too.
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.unwrap_or(Path::new("."));
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed("synced"))?;
        Ok(Self { path: path.to_owned(), file, lines: Vec::new() })
    }

    /// Takes a record for the next [`Ledger::sync`].
    pub(super) fn append(&mut self, record: &Record) -> Result<(), LedgerError> {
        serde_json::to_writer(&mut self.lines, record)?;
        self.lines.push(b'\n');
        Ok(())
    }

    /// On return everything that was appended is on disk. After an error nothing more may be appended:
    /// part of a line may have been written.
    pub(super) fn sync(&mut self) -> Result<(), LedgerError> {
        if self.lines.is_empty() {
            return Ok(());
        }
        let failed = |source| LedgerError::Io { path: self.path.clone(), what: "written", source };
        self.file.write_all(&self.lines).and_then(|()| self.file.sync_data()).map_err(failed)?;
        self.lines.clear();
        Ok(())
    }
}

/// A process that was killed, or one that is being started by whoever had the ledger open, holds the lock a moment longer.
fn lock(file: &File) -> Result<(), TryLockError> {
    let patient_until = Instant::now() + LOCK_WITHIN;
    loop {
        match file.try_lock() {
            Err(TryLockError::WouldBlock) if Instant::now() < patient_until => thread::sleep(LOCK_AGAIN),
            other => return other,
        }
    }
}

/// Tells the book every whole line; returns where they end.
fn read(path: &Path, file: &File, book: &mut Book) -> Result<u64, LedgerError> {
    let mut reader = BufReader::new(file);
    let (mut end, mut line, mut bytes) = (0, 0, Vec::new());
    loop {
        bytes.clear();
        let length = reader.read_until(b'\n', &mut bytes).map_err(|source| LedgerError::Io {
            path: path.to_owned(),
            what: "read",
            source,
        })?;
        line += 1;
        if bytes.last() != Some(&b'\n') {
            // What is cut off must be the beginning of a record, lest somebody's other file is shortened.
            let begun = bytes.len().min(BEGINNING.len());
            if bytes[..begun] != BEGINNING[..begun] {
                let why = "it does not begin like one".to_owned();
                return Err(LedgerError::Unreadable { path: path.to_owned(), line, why });
            }
            return Ok(end);
        }
        let record: Record = serde_json::from_slice(&bytes).map_err(|error| LedgerError::Unreadable {
            path: path.to_owned(),
            line,
            why: error.to_string(),
        })?;
        book.replay(&record).map_err(|source| LedgerError::Contradiction {
            path: path.to_owned(),
            line,
            source,
        })?;
        end += length as u64;
    }
}
