//! `[redis]`

use secrecy::SecretString;

use super::reader::Reader;
use super::scalar::whole;

#[derive(Debug, Clone)]
pub struct RedisSettings {
    /// `redis://` or `rediss://`; secret, since it may hold a password.
    pub url: SecretString,
    /// Connections beside the reader's own.
    pub pool_size: usize,
}

impl RedisSettings {
    pub(super) fn read(section: &mut Reader<'_>) -> Self {
        Self {
            url: section
                .secret("url", "url_file", check_url)
                .unwrap_or_else(|| "redis://127.0.0.1:6379".into()),
            pool_size: section.read("pool_size", whole(1..=1024_u32)).unwrap_or(16) as usize,
        }
    }
}

/// Coarse: the client parses it in full. Here, what it cannot say well.
fn check_url(url: &str) -> Result<(), String> {
    let not_built = ["redis+sentinel", "rediss+sentinel", "redis-sentinel", "sentinel"];
    let (scheme, rest) = url.split_once("://").unwrap_or_default();
    if not_built.contains(&scheme) {
        return Err(format!(
            "{scheme}:// is not built yet in this version; give a redis:// or rediss:// address"
        ));
    }
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    let has_host = !host.is_empty() && !host.starts_with(':');
    let is_clean = !rest.contains(|c: char| c.is_whitespace() || c.is_control());
    if !["redis", "rediss"].contains(&scheme) || !has_host || !is_clean {
        return Err("must be redis://[user:password@]host:port[/db], or rediss:// with TLS".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::check_url;

    #[test]
    fn addresses_of_one_server_are_accepted_and_nothing_of_a_refused_one_is_repeated() {
        for url in [
            "redis://h",
            "redis://127.0.0.1:6379/2",
            "rediss://user:pa:ss@host:6380",
            "redis://:pw@h",
            "redis://[::1]:6379",
        ] {
            assert!(check_url(url).is_ok(), "{url}");
        }
        for url in [
            "",
            "redis://",
            "redis:///1",
            "hunter2",
            "http://hunter2@h",
            "redis://hunter2@",
            "redis://h hunter2",
            "redis+sentinel://hunter2@h",
        ] {
            let problem = check_url(url).unwrap_err();
            assert!(!problem.contains("hunter2"), "{problem}");
        }
    }
}
