//! Whom a client says it is, before anybody has looked whether that is true.

use crate::base64;

/// Names may have so many bytes.
const NAME_LIMIT: usize = 255;

/// A login under way, as far as the name goes.
#[derive(Debug, Default)]
pub struct Claim {
    mechanism: String,
    /// The name, in lower case, once it was said.
    pub name: Option<String>,
}

impl Claim {
    /// A login by this mechanism begins.
    pub fn new(mechanism: &str) -> Self {
        Self { mechanism: mechanism.to_ascii_uppercase(), name: None }
    }

    /// The client's next message, in base64: the first one that has a name counts.
    pub fn hear(&mut self, message: &str) {
        if self.name.is_some() {
            return;
        }
        let Some(message) = base64::decode(message.as_bytes()) else { return };
        let message = String::from_utf8_lossy(&message);
        let name = match self.mechanism.as_str() {
            "PLAIN" => message.split('\0').nth(1),
            "LOGIN" => Some(&*message),
            "CRAM-MD5" => message.rsplit_once(' ').map(|(name, _)| name),
            "OAUTHBEARER" | "XOAUTH2" => {
                let mut parts = message.split(['\u{1}', ',']);
                parts.find_map(|part| part.strip_prefix("a=").or_else(|| part.strip_prefix("user=")))
            }
            scram if scram.starts_with("SCRAM-") => message.split(',').find_map(|part| part.strip_prefix("n=")),
            _ => None,
        };
        // What can't be a name needs no counter.
        let is_name = |name: &&str| !name.is_empty() && name.len() <= NAME_LIMIT && !name.contains(char::is_control);
        self.name = name.filter(is_name).map(|name| name.to_lowercase());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_heard() {
        for (mechanism, messages, name) in [
            ("PLAIN", &["\0Jo\0secret"][..], Some("jo")),
            ("plain", &["", "a\0jo\0secret"], Some("jo")),
            ("PLAIN", &["secret"], None),
            ("LOGIN", &["jo", "secret"], Some("jo")),
            ("CRAM-MD5", &["jo smith 0123456789abcdef"], Some("jo smith")),
            ("SCRAM-SHA-256", &["n,,n=jo,r=abc"], Some("jo")),
            ("SCRAM-SHA-1", &["y,a=x,n=jo,r=abc"], Some("jo")),
            ("OAUTHBEARER", &["n,a=jo@example.com,\u{1}auth=Bearer x\u{1}\u{1}"], Some("jo@example.com")),
            ("OAUTHBEARER", &["n,,\u{1}auth=Bearer x\u{1}\u{1}"], None),
            ("XOAUTH2", &["user=jo\u{1}auth=Bearer x\u{1}\u{1}"], Some("jo")),
            ("GSSAPI", &["jo"], None),
            ("LOGIN", &["j\u{1}o"], None),
            ("LOGIN", &[&"j".repeat(256)], None),
        ] {
            let mut claim = Claim::new(mechanism);
            for message in messages {
                claim.hear(&String::from_utf8(base64::encode(message.as_bytes())).unwrap());
            }
            assert_eq!(claim.name.as_deref(), name, "{mechanism} {messages:?}");
        }
        let mut claim = Claim::new("PLAIN");
        claim.hear("no base64");
        claim.hear("=");
        assert_eq!(claim.name, None);
    }
}
