//! The page at `/`: one file without anything from elsewhere, which fetches what it shows.

use axum::http::{HeaderValue, header};
use axum::response::{Html, IntoResponse, Response};
use sha2::{Digest, Sha256};

const SOURCE: &str = include_str!("page.html");
/// Where the example command goes. The only thing that is put into the page here.
const EXAMPLE: &str = "{{example}}";

pub(super) struct Page {
    html: String,
    /// The same without anything that is known of this installation.
    bare: String,
    policy: HeaderValue,
}

impl Page {
    pub(super) fn new(example: &str) -> Self {
        Self {
            html: SOURCE.replace(EXAMPLE, &escape(example)),
            bare: SOURCE.replace(EXAMPLE, ""),
            policy: policy(),
        }
    }

    pub(super) fn show(&self) -> Response {
        self.respond(self.html.clone())
    }

    /// For who has not shown the token yet: the page finds that out and asks for it.
    pub(super) fn ask_for_token(&self) -> Response {
        self.respond(self.bare.clone())
    }

    fn respond(&self, html: String) -> Response {
        ([(header::CONTENT_SECURITY_POLICY, self.policy.clone())], Html(html)).into_response()
    }
}

/// Only the page's own style and script run, known by their hashes; it speaks to its own server only.
fn policy() -> HeaderValue {
    let text = format!(
        "default-src 'none'; style-src 'sha256-{}'; script-src 'sha256-{}'; connect-src 'self'; \
         img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        hash_of("style"),
        hash_of("script"),
    );
    HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("default-src 'none'"))
}

fn hash_of(element: &str) -> String {
    let (open, close) = (format!("<{element}>"), format!("</{element}>"));
    let text =
        SOURCE.split_once(&open).and_then(|(_, rest)| rest.split_once(&close)).map_or("", |(text, _)| text);
    base64(&Sha256::digest(text))
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let bits = chunk.iter().fold(0_usize, |bits, byte| bits << 8 | usize::from(*byte))
            << (8 * (3 - chunk.len()));
        for n in 0..4 {
            let digit = char::from(DIGITS[bits >> (18 - 6 * n) & 63]);
            out.push(if n <= chunk.len() { digit } else { '=' });
        }
    }
    out
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            _ => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_as_in_the_rfc() {
        for (plain, encoded) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64(plain.as_bytes()), encoded);
        }
        assert_eq!(base64(&[0xff, 0xfe, 0xfd]), "//79");
    }

    #[test]
    fn the_page_is_whole_and_needs_nothing_from_elsewhere() {
        for once in ["<style>", "</style>", "<script>", "</script>", EXAMPLE] {
            assert_eq!(SOURCE.matches(once).count(), 1, "{once}");
        }
        for never in ["http://", "https://", "innerHTML", "style=", "onclick"] {
            assert!(!SOURCE.contains(never), "{never}");
        }
    }

    #[test]
    fn the_example_is_escaped() {
        let page = Page::new("redis-cli '<script>\"&");
        assert!(page.html.contains("redis-cli &#39;&lt;script&gt;&quot;&amp;"));
        assert!(!page.bare.contains("redis-cli"));
    }
}
