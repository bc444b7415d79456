//! `[database]`

use secrecy::SecretString;

use super::reader::Reader;
use super::scalar::whole;

#[derive(Debug, Clone)]
pub struct DatabaseSettings {
    /// `sqlite://` and a file; secret, since other databases' addresses hold a password.
    pub url: SecretString,
    /// Connections that read, beside the journal's one writer.
    pub pool_size: u32,
}

impl DatabaseSettings {
    pub(super) fn read(section: &mut Reader<'_>) -> Self {
        Self {
            url: section
                .secret("url", "url_file", check_url)
                .unwrap_or_else(|| "sqlite://./data/dev.db".into()),
            pool_size: section.read("pool_size", whole(1..=256_u32)).unwrap_or(4),
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
        "postgres" | "postgresql" => {
            Err("PostgreSQL comes with a later version; give sqlite://<file>".to_owned())
        }
        _ => Err("must be sqlite://<file>, such as sqlite://./data/dev.db".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::check_url;

    #[test]
    fn a_journal_is_a_file() {
        for url in
            ["sqlite://./data/dev.db", "sqlite:///var/lib/orders.db", "sqlite://orders.db?busy_timeout=1"]
        {
            assert!(check_url(url).is_ok(), "{url}");
        }
        for (url, expected) in [
            ("", "must be sqlite://<file>"),
            ("orders.db", "must be sqlite://<file>"),
            ("sqlite://", "must be sqlite://<file>"),
            ("sqlite::memory:", "must be sqlite://<file>"),
            ("sqlite://:memory:", "must be a file"),
            ("sqlite://x?mode=memory", "must be a file"),
            ("postgres://u:hunter2@h/db", "comes with a later version"),
        ] {
            let problem = check_url(url).unwrap_err();
            assert!(problem.contains(expected) && !problem.contains("hunter2"), "{url}: {problem}");
        }
    }
}
