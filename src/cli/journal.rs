//! The journal as commands read it: no worker, no Redis.

use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use secrecy::ExposeSecret;
use sqlx::sqlite::SqliteConnectOptions;

use crate::app::{self, AppError};
use crate::config::{DatabaseKind, Settings};
use crate::ports::journal::JournalReader;

/// Opens the journal for reading.
pub(super) async fn open(settings: &Settings) -> Result<Arc<dyn JournalReader>, AppError> {
    if settings.database.kind() == DatabaseKind::Postgres {
        return postgres(settings).await;
    }
    let path = path(settings)?;
    if !tokio::fs::try_exists(&path).await.unwrap_or(false) {
        return Err(AppError::Unreachable(format!(
            "there is no journal at {}: `order-execution migrate` or the first worker makes one, or say where it is: database.url or ORDER_EXECUTION__DATABASE__URL",
            path.display()
        )));
    }
    app::reader(settings).await
}

/// The same where there is one yet.
pub(super) async fn open_if_there(settings: &Settings) -> Result<Option<Arc<dyn JournalReader>>, AppError> {
    let is_there = match settings.database.kind() {
        DatabaseKind::Sqlite => tokio::fs::try_exists(path(settings)?).await.unwrap_or(false),
        DatabaseKind::Postgres => app::inspect(settings).await?.version > 0,
    };
    if is_there { open(settings).await.map(Some) } else { Ok(None) }
}

async fn postgres(settings: &Settings) -> Result<Arc<dyn JournalReader>, AppError> {
    let found = app::inspect(settings).await?;
    if found.version == 0 {
        return Err(AppError::Unreachable(format!(
            "there is no journal in {}: `order-execution migrate` or the first worker makes one, or say where it is: database.url or ORDER_EXECUTION__DATABASE__URL",
            found.address
        )));
    }
    app::reader(settings).await
}

/// Where the journal is, for people: without a password.
pub(super) async fn place(settings: &Settings) -> Result<String, AppError> {
    match settings.database.kind() {
        DatabaseKind::Sqlite => Ok(path(settings)?.display().to_string()),
        DatabaseKind::Postgres => Ok(app::inspect(settings).await?.address),
    }
}

/// The journal's file.
pub(super) fn path(settings: &Settings) -> Result<PathBuf, AppError> {
    let options = SqliteConnectOptions::from_str(settings.database.url.expose_secret())
        .map_err(|error| AppError::Usage(format!("database.url: {error}")))?;
    let path = options.get_filename();
    Ok(std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf()))
}
