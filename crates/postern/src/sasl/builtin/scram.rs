//! SCRAM-SHA-256, the server's side, without channel binding (RFC 5802, RFC 7677).

use super::is_same;
use super::stored::ScramKeys;
use crate::base64;
use aws_lc_rs::{digest, hmac};

/// A client's nonce may be so long.
const NONCE_LIMIT: usize = 512;

/// The client's first message.
#[derive(Debug, PartialEq, Eq)]
pub struct First {
    /// Who it is.
    pub username: String,
    /// As whom it wants to act; empty: as itself.
    pub authzid: String,
    gs2_header: String,
    bare: String,
    nonce: String,
}

/// Why a first message is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// It makes no sense.
    Malformed,
    /// It binds to a channel (`p=`): for that there is SCRAM-SHA-256-PLUS, which isn't offered.
    Binding,
}

impl First {
    /// Takes it apart.
    ///
    /// # Errors
    /// It is malformed, or asks for what is not offered.
    pub fn parse(message: &[u8]) -> Result<Self, Refused> {
        if message.starts_with(b"p=") {
            return Err(Refused::Binding);
        }
        Self::unbound(message).ok_or(Refused::Malformed)
    }

    fn unbound(message: &[u8]) -> Option<Self> {
        let message = std::str::from_utf8(message).ok()?;
        let mut parts = message.splitn(3, ',');
        let (binding, authzid, bare) = (parts.next()?, parts.next()?, parts.next()?);
        // `y`: the client could bind and thinks that we can't, which is true.
        if !matches!(binding, "n" | "y") {
            return None;
        }
        let authzid_name = match authzid.strip_prefix("a=") {
            Some(name) => saslname(name)?,
            None if authzid.is_empty() => String::new(),
            None => return None,
        };
        // A first attribute `m=` would be an extension that must be understood.
        let mut attributes = bare.split(',');
        let username = saslname(attributes.next()?.strip_prefix("n=")?)?;
        let nonce = attributes.next()?.strip_prefix("r=")?;
        let is_nonce = !nonce.is_empty() && nonce.len() <= NONCE_LIMIT && nonce.bytes().all(|b| b.is_ascii_graphic());
        is_nonce.then(|| Self {
            username,
            authzid: authzid_name,
            gs2_header: format!("{binding},{authzid},"),
            bare: bare.to_owned(),
            nonce: nonce.to_owned(),
        })
    }
}

/// `=2C` is a comma, `=3D` an equals sign.
fn saslname(text: &str) -> Option<String> {
    let mut name = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('=') {
        name.push_str(before);
        name.push(match after.get(..2)? {
            "2C" => ',',
            "3D" => '=',
            _ => return None,
        });
        rest = &after[2..];
    }
    name.push_str(rest);
    Some(name)
}

/// What the server has asked, until the client proves that it knows the password.
pub struct Challenge {
    keys: ScramKeys,
    nonce: String,
    channel_binding: String,
    /// The messages so far, each with a comma.
    said: String,
}

impl Challenge {
    /// The server's first message, and what is to be remembered of it. `nonce` is ours, printable, without commas.
    pub fn new(first: &First, keys: ScramKeys, nonce: &str) -> (String, Self) {
        let nonce = format!("{}{nonce}", first.nonce);
        let message = format!("r={nonce},s={},i={}", text(&keys.salt), keys.iterations);
        let said = format!("{},{message},", first.bare);
        let channel_binding = text(first.gs2_header.as_bytes());
        (message, Self { keys, nonce, channel_binding, said })
    }

    /// The client's last message: ours if it knows the password.
    pub fn answer(self, message: &[u8]) -> Option<String> {
        let message = std::str::from_utf8(message).ok()?;
        let (without_proof, proof) = message.rsplit_once(",p=")?;
        let mut attributes = without_proof.split(',');
        let binding = attributes.next()?.strip_prefix("c=")?;
        let nonce = attributes.next()?.strip_prefix("r=")?;
        let proof: [u8; 32] = base64::decode(proof.as_bytes())?.try_into().ok()?;
        let all = format!("{}{without_proof}", self.said);
        let signature = sign(&self.keys.stored_key, &all);
        let mut client_key = proof;
        client_key.iter_mut().zip(signature.as_ref()).for_each(|(byte, mask)| *byte ^= mask);
        let key = digest::digest(&digest::SHA256, &client_key);
        let is_right = is_same(key.as_ref(), &self.keys.stored_key);
        (is_right && binding == self.channel_binding && nonce == self.nonce)
            .then(|| format!("v={}", text(sign(&self.keys.server_key, &all).as_ref())))
    }
}

fn sign(key: &[u8], message: &str) -> hmac::Tag {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), message.as_bytes())
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(base64::encode(bytes)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::stored::Stored;
    use super::*;

    /// The exchange in RFC 7677 section 3: user `user`, password `pencil`.
    const FIRST: &str = "n,,n=user,r=rOprNGfwEbeRWgbNEkqO";
    const SERVER_NONCE: &str = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
    const SERVER_FIRST: &str = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
    const FINAL: &str = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                         p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
    const SERVER_FINAL: &str = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";

    /// Keys for `pencil` with the salt of the RFC.
    const KEYS: &str = "{SCRAM-SHA-256}4096,W22ZaJ0SNY7soEsUEjb6gQ==,WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=,\
                        wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=";

    fn keys() -> ScramKeys {
        match Stored::parse(KEYS) {
            Ok(Stored::Scram(keys)) => keys,
            _ => panic!("not the keys"),
        }
    }

    fn answered(first: &str, last: &str) -> Option<String> {
        let first = First::parse(first.as_bytes()).unwrap();
        Challenge::new(&first, keys(), SERVER_NONCE).1.answer(last.as_bytes())
    }

    #[test]
    fn the_exchange_of_the_rfc() {
        let first = First::parse(FIRST.as_bytes()).unwrap();
        assert_eq!((first.username.as_str(), first.authzid.as_str()), ("user", ""));
        let (message, challenge) = Challenge::new(&first, keys(), SERVER_NONCE);
        assert_eq!(message, SERVER_FIRST);
        assert_eq!(challenge.answer(FINAL.as_bytes()).as_deref(), Some(SERVER_FINAL));
        assert!(Stored::Scram(keys()).is(b"pencil") && !Stored::Scram(keys()).is(b"pen"));
    }

    #[test]
    fn anything_else_is_no_proof() {
        assert!(answered(FIRST, FINAL).is_some());
        for last in [
            FINAL.replace("dHzb", "dHzc"),
            FINAL.replace("c=biws", "c=eSws"),
            FINAL.replace("k0,", "k1,"),
            FINAL.replace(",p=", ",x=y,p="),
            FINAL.replace("p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=", "p="),
            "c=biws".to_owned(),
            String::new(),
        ] {
            assert_eq!(answered(FIRST, &last), None, "{last}");
        }
        // the proof is for one way of binding only
        assert_eq!(answered(&FIRST.replace("n,,", "y,,"), FINAL), None);
        assert_eq!(answered(&FIRST.replace("n=user", "n=eve"), FINAL), None);
    }

    #[test]
    fn first_messages() {
        let parsed = |text: &str| First::parse(text.as_bytes()).ok().map(|first| (first.username, first.authzid));
        for (text, want) in [
            ("n,,n=u,r=a", Some(("u", ""))),
            ("y,,n=u,r=a", Some(("u", ""))),
            ("n,a=b=2Cc,n=u=3D=2C,r=a,x=y", Some(("u=,", "b,c"))),
            ("p=tls-unique,,n=u,r=a", None),
            ("n,,m=x,n=u,r=a", None),
            ("n,,n=u=2,r=a", None),
            ("n,,n=u=é,r=a", None),
            ("n,,n=u=41,r=a", None),
            ("n,,n=u,r=", None),
            ("n,b,n=u,r=a", None),
            ("n,,n=u", None),
            ("", None),
        ] {
            let want = want.map(|(name, other)| (name.to_owned(), other.to_owned()));
            assert_eq!(parsed(text), want, "{text}");
        }
        assert_eq!(First::parse(b"n,,n=\xff,r=a"), Err(Refused::Malformed));
        assert_eq!(First::parse(b"p=tls-exporter,,n=u,r=a"), Err(Refused::Binding));
    }
}
