//! `[http]`

use std::net::{Ipv4Addr, SocketAddr};

use secrecy::SecretString;

use super::reader::Reader;
use super::scalar::text;

#[derive(Debug, Clone)]
pub struct HttpSettings {
    /// Where health, metrics and the page are served; port 0: any free one.
    pub listen: SocketAddr,
    /// The bearer token; without one, HTTP only reads.
    pub token: Option<SecretString>,
}

impl HttpSettings {
    pub(super) fn read(section: &mut Reader<'_>) -> Self {
        let address = text("an IP address and a port, such as \"127.0.0.1:9091\"", |text| text.parse().ok());
        Self {
            listen: section
                .read("listen", address)
                .unwrap_or_else(|| SocketAddr::from((Ipv4Addr::LOCALHOST, 9091))),
            token: section.secret("token", "token_file", check_token),
        }
    }
}

fn check_token(token: &str) -> Result<(), String> {
    let fits_a_header = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
    if fits_a_header { Ok(()) } else { Err("must be visible ASCII characters, at least one".to_owned()) }
}
