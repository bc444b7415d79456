//! `[app]`

use super::reader::Reader;
use super::scalar::{one_of, text};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppSettings {
    /// The name given by `--env` or `APP_ENV`.
    pub environment: String,
    /// A level, or a list of `target=level` as `RUST_LOG` has it.
    pub log_level: String,
    pub log_format: LogFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For people.
    Pretty,
}

impl AppSettings {
    pub(super) fn read(section: &mut Reader<'_>, environment: &str) -> Self {
        // A file may say for which environment it is meant; it cannot choose another.
        let stated = section.read("environment", text("a string", |text| Some(text.to_owned())));
        if stated.is_some_and(|stated| stated != environment) {
            section.refuse(
                "environment",
                format!(
                    "is chosen by --env or APP_ENV, which say {environment:?}; remove it or make it that"
                ),
            );
        }
        let level = "a level (off, error, warn, info, debug, trace) or a list such as \"info,redis=warn\"";
        Self {
            environment: environment.to_owned(),
            log_level: section
                .read("log_level", text(level, |text| is_log_filter(text).then(|| text.to_owned())))
                .unwrap_or_else(|| "info".to_owned()),
            log_format: section
                .read("log_format", one_of(&[("json", LogFormat::Json), ("pretty", LogFormat::Pretty)]))
                .unwrap_or(LogFormat::Json),
        }
    }
}

fn is_log_filter(text: &str) -> bool {
    let is_level = |level: &str| ["off", "error", "warn", "info", "debug", "trace"].contains(&level);
    let is_target = |target: &str| {
        !target.is_empty()
            && target.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_:-".contains(&byte))
    };
    text.split(',').all(|directive| match directive.split_once('=') {
        Some((target, level)) => is_target(target) && is_level(level),
        None => is_level(directive),
    })
}
