//! OAUTHBEARER (RFC 7628): the client shows a token, and a table knows whose it is.

/// What a client says.
#[derive(PartialEq, Eq)]
pub struct Bearer {
    /// As whom it wants to act; empty: whoever the token belongs to.
    pub authzid: String,
    /// The token.
    pub token: String,
}

/// What a client is told whose token is no good; it answers with something without meaning, and is refused.
pub const INVALID: &str = r#"{"status":"invalid_token"}"#;

impl Bearer {
    /// `n,a=NAME,` and attributes between bytes of 1; `None` if that is malformed.
    pub fn parse(message: &[u8]) -> Option<Self> {
        let message = std::str::from_utf8(message).ok()?;
        let mut parts = message.split('\u{1}');
        let mut header = parts.next()?.split(',');
        let (binding, authzid, end) = (header.next()?, header.next()?, header.next()?);
        if !matches!(binding, "n" | "y") || !end.is_empty() || header.next().is_some() {
            return None;
        }
        let authzid = if authzid.is_empty() { "" } else { authzid.strip_prefix("a=")? };
        let credentials = parts.find_map(|part| part.strip_prefix("auth="))?;
        let (scheme, token) = credentials.split_once(' ')?;
        let token = token.trim();
        let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte);
        let is_bearer = scheme.eq_ignore_ascii_case("bearer") && !token.is_empty() && token.bytes().all(is_token);
        let authzid = authzid.replace("=2C", ",").replace("=3D", "=");
        is_bearer.then(|| Self { authzid, token: token.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages() {
        let parsed = |text: &str| Bearer::parse(text.as_bytes()).map(|bearer| (bearer.authzid, bearer.token));
        for (text, want) in [
            (
                "n,a=user@example.com,\u{1}host=server.example.com\u{1}port=587\u{1}auth=Bearer vF9dft4qmTc2Nvb3RlckBhb==\u{1}\u{1}",
                Some(("user@example.com", "vF9dft4qmTc2Nvb3RlckBhb==")),
            ),
            ("n,,\u{1}auth=bearer a\u{1}\u{1}", Some(("", "a"))),
            ("n,a=x=2Cy,\u{1}auth=Bearer a\u{1}\u{1}", Some(("x,y", "a"))),
            ("n,,\u{1}auth=\u{1}\u{1}", None),
            ("n,,\u{1}auth=Basic a\u{1}\u{1}", None),
            ("n,,\u{1}auth=Bearer a b\u{1}\u{1}", None),
            ("p=x,,\u{1}auth=Bearer a\u{1}\u{1}", None),
            ("n,b,\u{1}auth=Bearer a\u{1}\u{1}", None),
            ("n,,x\u{1}auth=Bearer a\u{1}\u{1}", None),
            ("\u{1}", None),
            ("", None),
        ] {
            let want = want.map(|(name, token)| (name.to_owned(), token.to_owned()));
            assert!(parsed(text) == want, "{text}");
        }
    }
}
