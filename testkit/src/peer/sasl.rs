//! Dovecot's authentication server, as an SMTP server sees it (auth-client protocol).

use std::collections::HashMap;
use std::io::{self, BufRead, Write};

use md5::{Digest, Md5};

use super::{Address, Reader, Server, Writer, serve};

const CHALLENGE: &str = "<1.2@mail.example.com>";

/// Body: `user password` lines; the password `!temp` means a temporary failure.
#[derive(Debug)]
pub struct Sasl {
    _server: Server,
}

impl Sasl {
    /// Starts one that offers `mechanisms`.
    pub fn start(address: &Address, mechanisms: &[&str], text: &str) -> io::Result<Self> {
        let mechanisms: Vec<String> = mechanisms.iter().map(|m| m.to_string()).collect();
        let users = text.lines().filter_map(|l| l.trim().split_once(char::is_whitespace));
        let users: HashMap<String, String> = users.map(|(u, p)| (u.to_owned(), p.trim().to_owned())).collect();
        let _server = serve(address, move |reader, writer| converse(reader, writer, &mechanisms, &users))?;
        Ok(Self { _server })
    }
}

fn prompts(mechanism: &str) -> Option<&'static [&'static str]> {
    Some(match mechanism {
        "PLAIN" | "ANONYMOUS" => &[""],
        "LOGIN" => &["Username:", "Password:"],
        "CRAM-MD5" => &[CHALLENGE],
        _ => return None,
    })
}

fn flags(mechanism: &str) -> &'static str {
    match mechanism {
        "CRAM-MD5" => "dictionary\tactive",
        "ANONYMOUS" => "anonymous",
        _ => "plaintext",
    }
}

fn converse(
    mut reader: Reader,
    mut writer: Writer,
    mechanisms: &[String],
    users: &HashMap<String, String>,
) -> io::Result<()> {
    let mut say = |words: &[&str]| writer.write_all((words.join("\t") + "\n").as_bytes());
    say(&["VERSION", "1", "2"])?;
    for mechanism in mechanisms {
        say(&["MECH", mechanism, flags(mechanism)])?;
    }
    for words in [&["SPID", "1"][..], &["CUID", "1"], &["COOKIE", &"00".repeat(16)], &["DONE"]] {
        say(words)?;
    }
    let mut pending: HashMap<String, (String, Vec<String>)> = HashMap::new();
    let mut line = String::new();
    while reader.read_line(&mut line)? > 0 {
        let words: Vec<String> = line.trim_end_matches('\n').split('\t').map(str::to_owned).collect();
        line.clear();
        let id = words.get(1).cloned().unwrap_or_default();
        match (words[0].as_str(), words.get(2)) {
            ("AUTH", Some(mechanism)) => {
                let first = words.iter().find_map(|w| w.strip_prefix("resp=")).map(decode);
                pending.insert(id.clone(), (mechanism.to_uppercase(), first.into_iter().collect()));
            }
            ("CONT", answer) => {
                let Some((_, answers)) = pending.get_mut(&id) else {
                    continue;
                };
                answers.push(decode(answer.map_or("", String::as_str)));
            }
            _ => continue,
        }
        let Some((mechanism, answers)) = pending.get(&id).cloned() else {
            continue;
        };
        let Some(asked) = prompts(&mechanism) else {
            say(&["FAIL", &id])?;
            continue;
        };
        if let Some(prompt) = asked.get(answers.len()) {
            say(&["CONT", &id, &encode(prompt.as_bytes())])?;
            continue;
        }
        pending.remove(&id);
        let (user, verdict) = check(users, &mechanism, &answers);
        let user = format!("user={user}");
        match verdict {
            Verdict::Yes => say(&["OK", &id, &user])?,
            Verdict::No => say(&["FAIL", &id, &user])?,
            Verdict::Later => say(&["FAIL", &id, &user, "temp"])?,
        }
    }
    Ok(())
}

#[derive(Debug, PartialEq)]
enum Verdict {
    Yes,
    No,
    Later,
}

fn check(users: &HashMap<String, String>, mechanism: &str, answers: &[String]) -> (String, Verdict) {
    let yes = |ok: bool| if ok { Verdict::Yes } else { Verdict::No };
    let answer = |i: usize| answers.get(i).map_or("", String::as_str);
    match mechanism {
        "ANONYMOUS" => return ("anonymous".to_owned(), Verdict::Yes),
        "CRAM-MD5" => {
            let (user, digest) = answer(0).split_once(' ').unwrap_or((answer(0), ""));
            let known = users.get(user).map(|p| hmac_md5(p.as_bytes(), CHALLENGE.as_bytes()));
            return (user.to_owned(), yes(known.is_some_and(|want| want == digest)));
        }
        _ => {}
    }
    let (user, password) = match mechanism {
        "PLAIN" => {
            let mut parts = answer(0).split('\0').skip(1);
            (parts.next().unwrap_or(""), parts.next().unwrap_or(""))
        }
        _ => (answer(0), answer(1)),
    };
    let verdict = match users.get(user).map(String::as_str) {
        Some("!temp") => Verdict::Later,
        known => yes(known == Some(password)),
    };
    (user.to_owned(), verdict)
}

fn hmac_md5(key: &[u8], text: &[u8]) -> String {
    let mut block = [0; 64];
    block[..key.len()].copy_from_slice(key);
    let inner = Md5::new().chain_update(block.map(|b| b ^ 0x36)).chain_update(text).finalize();
    let outer = Md5::new().chain_update(block.map(|b| b ^ 0x5c)).chain_update(inner).finalize();
    outer.iter().map(|b| format!("{b:02x}")).collect()
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

fn encode(bytes: &[u8]) -> String {
    let mut out = String::new();
    for chunk in bytes.chunks(3) {
        let word = chunk.iter().fold(0u32, |w, &b| w << 8 | u32::from(b)) << (8 * (3 - chunk.len()));
        for i in 0..4 {
            let digit = ALPHABET[(word >> (18 - 6 * i)) as usize & 63];
            out.push(if i <= chunk.len() { char::from(digit) } else { '=' });
        }
    }
    out
}

/// What does not decode counts as empty.
fn decode(text: &str) -> String {
    let (mut out, mut word, mut bits) = (Vec::new(), 0u32, 0);
    for byte in text.trim_end_matches('=').bytes() {
        let Some(digit) = ALPHABET.iter().position(|&a| a == byte) else {
            return String::new();
        };
        word = word << 6 | digit as u32;
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            out.push((word >> bits) as u8);
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64() {
        for (plain, coded) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("Username:", "VXNlcm5hbWU6")]
        {
            assert_eq!(encode(plain.as_bytes()), coded);
            assert_eq!(decode(coded), plain);
        }
        assert_eq!(decode("!!"), "");
    }

    #[test]
    fn passwords() {
        let users: HashMap<_, _> = [("user", "secret"), ("slow", "!temp")].map(|(u, p)| (u.into(), p.into())).into();
        let check = |mechanism: &str, answers: &[&str]| {
            check(&users, mechanism, &answers.iter().map(|a| a.to_string()).collect::<Vec<_>>())
        };
        assert_eq!(check("PLAIN", &["\0user\0secret"]), ("user".into(), Verdict::Yes));
        assert_eq!(check("PLAIN", &["\0user\0wrong"]), ("user".into(), Verdict::No));
        assert_eq!(check("PLAIN", &["\0slow\0x"]), ("slow".into(), Verdict::Later));
        assert_eq!(check("LOGIN", &["nobody", "secret"]), ("nobody".into(), Verdict::No));
        assert_eq!(check("ANONYMOUS", &["x"]), ("anonymous".into(), Verdict::Yes));
        // RFC 2202, test case 2
        assert_eq!(hmac_md5(b"Jefe", b"what do ya want for nothing?"), "750c783e6ab0b503eaa86e310a5db738");
        let digest = hmac_md5(b"secret", CHALLENGE.as_bytes());
        assert_eq!(check("CRAM-MD5", &[&format!("user {digest}")]).1, Verdict::Yes);
        assert_eq!(check("CRAM-MD5", &["user 00"]).1, Verdict::No);
    }
}
