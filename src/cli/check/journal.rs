//! The journal: is it there, is its schema this program's, can it commit durably?

use std::path::Path;

use sqlx::migrate::Migrator;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Connection};

use crate::adapters::journal::postgres::Found;
use crate::app;
use crate::cli::journal::path;
use crate::config::{DatabaseKind, Settings};

/// The schema that this program has.
static MIGRATIONS: Migrator = sqlx::migrate!("migrations/sqlite");

pub(super) async fn look(settings: &Settings) -> Result<String, String> {
    match settings.database.kind() {
        DatabaseKind::Sqlite => look_at_file(settings).await,
        DatabaseKind::Postgres => look_at_server(settings).await,
    }
}

async fn look_at_server(settings: &Settings) -> Result<String, String> {
    let found = app::inspect(settings).await.map_err(|error| error.to_string())?;
    let Found { address, server, synchronous_commit, version, known, .. } = &found;
    let tls = if found.tls { "TLS" } else { "not encrypted" };
    let about = format!("{address}: PostgreSQL {server}, {tls}, synchronous_commit {synchronous_commit}");
    if *version == 0 {
        return Ok(format!("{about}; no schema yet: `migrate` or the first worker makes it"));
    }
    if version < known {
        return Ok(format!(
            "{about}; schema version {version}, this program has {known}: `migrate` or the next worker brings it up to date"
        ));
    }
    if version > known {
        return Err(format!("{about}; schema version {version} is of a newer program, this one has {known}"));
    }
    app::probe_journal(settings).await.map_err(|error| error.to_string())?;
    Ok(format!("{about}; schema version {version}; a commit went through"))
}

async fn look_at_file(settings: &Settings) -> Result<String, String> {
    let path = path(settings).map_err(|error| error.to_string())?;
    let shown = path.display();
    if !tokio::fs::try_exists(&path).await.unwrap_or(false) {
        return absent(&path);
    }
    let known = MIGRATIONS.iter().map(|migration| migration.version).max().unwrap_or(0);
    let version = schema_version(&path).await.map_err(|error| format!("{shown}: {error}"))?;
    if version < known {
        let sentence = format!(
            "{shown}: schema version {version}, this program has {known}: `migrate` or the next worker brings it up to date"
        );
        return Ok(sentence);
    }
    if version > known {
        return Err(format!("{shown}: schema version {version} is of a newer program, this one has {known}"));
    }
    // Opening it for writing reads back the settings that durability rests on.
    app::probe_journal(settings).await.map_err(|error| error.to_string())?;
    Ok(format!("{shown}: schema version {version}; write-ahead log, synchronous FULL; a commit went through"))
}

/// 0 where there is no schema yet.
async fn schema_version(path: &Path) -> Result<i64, sqlx::Error> {
    let mut connection: SqliteConnection =
        SqliteConnectOptions::new().filename(path).read_only(true).connect().await?;
    let tables = "SELECT count(*) FROM sqlite_master WHERE name = '_sqlx_migrations'";
    let migrated: i64 = sqlx::query_scalar(tables).fetch_one(&mut connection).await?;
    let version = if migrated == 0 {
        0
    } else {
        let newest = "SELECT coalesce(max(version), 0) FROM _sqlx_migrations WHERE success";
        sqlx::query_scalar(newest).fetch_one(&mut connection).await?
    };
    connection.close().await?;
    Ok(version)
}

/// Not there yet: whether it can be made is what counts.
fn absent(path: &Path) -> Result<String, String> {
    let mut folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    while let (false, Some(above)) = (folder.exists(), folder.parent()) {
        folder = if above.as_os_str().is_empty() { Path::new(".") } else { above };
    }
    match tempfile::tempfile_in(folder) {
        Ok(_) => Ok(format!("{}: not there yet; `migrate` or the first worker makes it", path.display())),
        Err(error) => {
            Err(format!("{}: not there, and {} cannot be written: {error}", path.display(), folder.display()))
        }
    }
}
