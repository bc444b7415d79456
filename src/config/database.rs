//! `[database]`

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

use super::reader::Reader;
use super::scalar::{milliseconds, whole};

#[derive(Debug, Clone)]
pub struct DatabaseSettings {
    /// `sqlite://` and a file, or `postgres://` and a database; secret, since it may hold a password.
    pub url: SecretString,
    /// Connections that read, beside the journal's one writer.
    pub pool_size: u32,
    /// PostgreSQL: how long one statement, and making a connection, may take.
    pub timeout: Duration,
}

/// Which database a journal is kept in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DatabaseKind {
    Sqlite,
    Postgres,
}

impl DatabaseSettings {
    pub(super) fn read(section: &mut Reader<'_>) -> Self {
        Self {
            url: section
                .secret("url", "url_file", check_url)
                .unwrap_or_else(|| "sqlite://./data/dev.db".into()),
            pool_size: section.read("pool_size", whole(1..=256_u32)).unwrap_or(4),
            timeout: section
                .read("timeout_ms", milliseconds(100..=600_000))
                .unwrap_or(Duration::from_millis(5_000)),
        }
    }

    #[must_use]
    pub fn kind(&self) -> DatabaseKind {
        if self.url.expose_secret().starts_with("postgres") {
            DatabaseKind::Postgres
        } else {
            DatabaseKind::Sqlite
        }
    }
}

fn check_url(url: &str) -> Result<(), String> {
    let (scheme, rest) = url.split_once("://").unwrap_or_default();
    match scheme {
        "sqlite" if rest.contains(":memory:") || rest.contains("mode=memory") => {
            Err("must be a file: a journal in memory is lost with its process".to_owned())
        }
        "sqlite" if !rest.is_empty() && !rest.starts_with('?') => Ok(()),
        "postgres" | "postgresql" => check_postgres(rest),
        _ => Err("must be sqlite://<file>, such as sqlite://./data/dev.db, or postgres://user:password@host:port/database"
            .to_owned()),
    }
}

/// What may stand after the question mark: what the driver knows. Of anything else it logs name and value, and the
/// value may be a password.
const KNOWN: [&str; 19] = [
    "sslmode",
    "ssl-mode",
    "sslrootcert",
    "ssl-root-cert",
    "ssl-ca",
    "sslcert",
    "ssl-cert",
    "sslkey",
    "ssl-key",
    "statement-cache-capacity",
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "application_name",
    "options",
    "",
];

/// Coarse: the driver parses it in full. A database that is not named would be one of the user's name.
fn check_postgres(rest: &str) -> Result<(), String> {
    let (address, more) = rest.split_once('?').unwrap_or((rest, ""));
    let names = more.split('&').map(|pair| pair.split('=').next().unwrap_or_default());
    let is_known = |name: &str| KNOWN.contains(&name) || name.starts_with("options[");
    if let Some(unknown) = names.into_iter().find(|name| !is_known(name)) {
        let name: String =
            unknown.chars().filter(|c| c.is_ascii_alphanumeric() || "_-".contains(*c)).take(40).collect();
        return Err(format!(
            "has a setting {name:?} that is not known; there are sslmode, sslrootcert, sslcert, sslkey, host, \
                            application_name, options"
        ));
    }
    let (authority, database) = address.split_once('/').unwrap_or((address, ""));
    let host = authority.rsplit('@').next().unwrap_or_default();
    let is_clean = !rest.contains(|c: char| c.is_whitespace() || c.is_control());
    let has_host = !host.is_empty() || rest.contains("host=");
    if !is_clean || !has_host || host.starts_with(':') || database.is_empty() || database.contains('/') {
        return Err(
            "must be postgres://user:password@host:port/database, further settings after a question mark, \
                    such as ?sslmode=verify-full&sslrootcert=/etc/ssl/ca.pem"
                .to_owned(),
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::check_url;

    #[test]
    fn a_journal_is_a_file_or_a_database() {
        for url in [
            "sqlite://./data/dev.db",
            "sqlite:///var/lib/orders.db",
            "sqlite://orders.db?busy_timeout=1",
            "postgres://u:p@h:5432/db",
            "postgresql://h/db?sslmode=verify-full",
            "postgresql://h/db?sslmode=verify-full&sslrootcert=/etc/ca.pem&application_name=x",
            "postgres:///db?host=/run/postgresql",
        ] {
            assert!(check_url(url).is_ok(), "{url}");
        }
        for (url, expected) in [
            ("", "must be sqlite://<file>"),
            ("orders.db", "must be sqlite://<file>"),
            ("sqlite://", "must be sqlite://<file>"),
            ("sqlite::memory:", "must be sqlite://<file>"),
            ("sqlite://:memory:", "must be a file"),
            ("sqlite://x?mode=memory", "must be a file"),
            ("postgres://u:hunter2@h", "must be postgres://user"),
            ("postgres://u:hunter2@/db", "must be postgres://user"),
            ("postgres://u:hunter2@h/", "must be postgres://user"),
            ("postgres://u:hunter2@h/a b", "must be postgres://user"),
            ("postgres://u:p@h/db?sslpassword=hunter2", "sslpassword"),
            ("postgres://u:p@h/db?sslmode=require&passwd=hunter2", "passwd"),
            ("mysql://u:hunter2@h/db", "must be sqlite://<file>"),
        ] {
            let problem = check_url(url).unwrap_err();
            assert!(problem.contains(expected) && !problem.contains("hunter2"), "{url}: {problem}");
        }
    }
}
