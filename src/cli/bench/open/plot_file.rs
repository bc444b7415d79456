//! The file of the picture: found to be writable before anything is measured.

use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};

use crate::app::AppError;

/// A file that can be written. It is taken away again if it was made for this and nothing came.
pub(super) struct PlotFile {
    path: PathBuf,
    is_empty: bool,
}

impl PlotFile {
    pub(super) fn claim(path: &Path) -> Result<Self, AppError> {
        let wrong = |why: String| AppError::Usage(format!("--plot {}: {why}", path.display()));
        if path.extension().is_none_or(|extension| extension != "svg") {
            return Err(wrong("the picture is an SVG: name a file that ends in .svg".to_owned()));
        }
        let existed = path.exists();
        let opened = OpenOptions::new().append(true).create(true).open(path);
        opened.map_err(|error| {
            wrong(format!("cannot be written ({error}): name a file in a folder that exists and is yours"))
        })?;
        Ok(Self { path: path.to_owned(), is_empty: !existed })
    }

    pub(super) fn write(mut self, picture: &str) -> Result<(), AppError> {
        fs::write(&self.path, picture)
            .map_err(|error| AppError::Io("the picture cannot be written", error))?;
        self.is_empty = false;
        Ok(())
    }
}

impl Drop for PlotFile {
    fn drop(&mut self) {
        if self.is_empty {
            drop(fs::remove_file(&self.path));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_cannot_be_written_is_told_and_nothing_is_left_of_a_run_that_failed() {
        let folder = tempfile::tempdir().unwrap();
        for (name, why) in [("nowhere/a.svg", "cannot be written"), ("a.png", ".svg")] {
            let error = PlotFile::claim(&folder.path().join(name)).err().unwrap();
            assert_eq!(error.exit_code(), 2);
            assert!(error.to_string().contains(why) && error.to_string().contains(name), "{error}");
        }
        let path = folder.path().join("a.svg");
        drop(PlotFile::claim(&path).unwrap());
        assert!(!path.exists());
        PlotFile::claim(&path).unwrap().write("<svg/>").unwrap();
        // The next run that fails leaves what the last one drew.
        drop(PlotFile::claim(&path).unwrap());
        assert_eq!(fs::read_to_string(&path).unwrap(), "<svg/>");
    }
}
