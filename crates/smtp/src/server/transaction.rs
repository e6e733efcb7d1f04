//! One mail transaction: sender, recipients, and what their commands asked for (RFC 5321, 1870, 3461, 4954, 6531).

use super::config::{Authorised, EhloKeywords, SessionConfig};
use super::line::{Word, unitext, xtext};
use crate::Body;

/// RET= of MAIL FROM (RFC 3461).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ret {
    /// FULL
    Full,
    /// HDRS
    Headers,
}

/// NOTIFY= of RCPT TO (RFC 3461); the empty set when nothing was said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Notify(u8);

impl Notify {
    /// NEVER, which stands alone.
    pub const NEVER: Self = Self(1);
    /// SUCCESS
    pub const SUCCESS: Self = Self(2);
    /// FAILURE
    pub const FAILURE: Self = Self(4);
    /// DELAY
    pub const DELAY: Self = Self(8);

    /// The value of the parameter: NEVER, or words separated by commas.
    pub fn parse(text: &str) -> Option<Self> {
        let mut set = 0;
        for word in text.split(',').filter(|w| !w.is_empty()) {
            set |= match word.to_ascii_uppercase().as_str() {
                "NEVER" => 1,
                "SUCCESS" => 2,
                "FAILURE" => 4,
                "DELAY" => 8,
                _ => return None,
            };
        }
        (set == 1 || (set != 0 && set & 1 == 0)).then_some(Self(set))
    }

    /// From the bits that a queue file keeps; unknown bits are dropped.
    pub const fn from_bits(bits: u8) -> Self {
        Self(bits & 15)
    }

    /// NEVER 1, SUCCESS 2, FAILURE 4, DELAY 8.
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// Is all of `other` in the set?
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Was nothing said?
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

/// An accepted recipient.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recipient {
    /// Internal form.
    pub address: String,
    /// NOTIFY=
    pub notify: Notify,
    /// ORCPT=, decoded: `type;address`.
    pub orcpt: Option<String>,
    /// The RCPT command as received (only with `smtpd_proxy_filter`).
    pub command: String,
    /// VRFY's own SMTPUTF8.
    pub smtputf8: bool,
}

/// What MAIL FROM asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MailOptions {
    /// SIZE=, 0 when not given.
    pub size: u64,
    /// BODY=
    pub body: Body,
    /// SMTPUTF8
    pub smtputf8: bool,
    /// AUTH= as it was written, xtext and all; `<>` counts as not given.
    pub auth: Option<String>,
    /// RET=
    pub ret: Option<Ret>,
    /// ENVID=, decoded.
    pub envid: Option<String>,
    /// REQUIRETLS: never in the clear on its way.
    pub requiretls: bool,
    /// The delimiters of XVERP.
    pub verp: Option<String>,
}

/// A refused option: the reply.
pub(super) type Refusal = OptionError;

/// What is wrong with an option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OptionError {
    /// A fixed reply.
    Reply(&'static str),
    /// `555 5.5.4 Unsupported option: …`
    Unsupported,
}

use OptionError::{Reply, Unsupported};

const DSN_DISABLED: OptionError = Reply("501 5.7.1 DSN support is disabled");

/// `text` after `keyword`, without case.
fn value<'a>(text: &'a str, keyword: &str) -> Option<&'a str> {
    let (head, rest) = text.split_at_checked(keyword.len())?;
    head.eq_ignore_ascii_case(keyword).then_some(rest)
}

impl MailOptions {
    /// Start over for a new MAIL command. SIZE and AUTH stay: Postfix keeps them from a refused MAIL until the next
    /// reset.
    pub(super) fn renew(&mut self) {
        *self = Self { size: self.size, auth: self.auth.take(), ..Self::default() };
    }

    /// Enter one option.
    pub(super) fn option(
        &mut self,
        word: Word<'_>,
        config: &SessionConfig,
        authorised: &Authorised,
        encrypted: bool,
    ) -> Result<(), Refusal> {
        let text = word.text;
        let discarded = authorised.discard_ehlo_keywords;
        if let Some(size) = value(text, "SIZE=") {
            self.size = parse_size(size)?;
        } else if text.eq_ignore_ascii_case("BODY=8BITMIME") {
            self.body = Body::EightBitMime;
        } else if text.eq_ignore_ascii_case("BODY=7BIT") {
            self.body = Body::SevenBit;
        } else if text.eq_ignore_ascii_case("SMTPUTF8")
            && config.smtputf8_enable
            && !discarded.contains(EhloKeywords::SMTPUTF8)
        {
            self.smtputf8 = true;
        } else if text.eq_ignore_ascii_case("REQUIRETLS")
            && encrypted
            && config.requiretls_enable
            && !discarded.contains(EhloKeywords::REQUIRETLS)
        {
            self.requiretls = true;
        } else if let Some(login) = value(text, "AUTH=") {
            self.auth(login)?;
        } else if let Some(ret) = value(text, "RET=") {
            self.ret(ret, discarded)?;
        } else if let Some(envid) = value(text, "ENVID=") {
            self.envid(envid, discarded)?;
        } else if authorised.verp && text.eq_ignore_ascii_case("XVERP") {
            self.verp = Some(config.default_verp_delimiters.clone());
        } else if let Some(delimiters) = value(text, "XVERP=").filter(|_| authorised.verp) {
            let good = |c: char| config.verp_delimiter_filter.contains(c);
            if delimiters.len() != 2 || !delimiters.chars().all(good) {
                return Err(Reply("501 5.5.4 Error: XVERP needs two characters from -=+"));
            }
            self.verp = Some(delimiters.to_owned());
        } else {
            return Err(Unsupported);
        }
        Ok(())
    }

    fn auth(&mut self, login: &str) -> Result<(), Refusal> {
        if login == "<>" {
            return Ok(());
        }
        if self.auth.is_some() {
            return Err(Reply("503 5.5.4 Error: multiple AUTH= options"));
        }
        self.auth = Some(printable(login.to_owned()));
        Ok(())
    }

    fn ret(&mut self, ret: &str, discarded: EhloKeywords) -> Result<(), Refusal> {
        if discarded.contains(EhloKeywords::DSN) {
            return Err(DSN_DISABLED);
        }
        let kind = match ret {
            _ if ret.eq_ignore_ascii_case("FULL") => Ret::Full,
            _ if ret.eq_ignore_ascii_case("HDRS") => Ret::Headers,
            _ => return Err(Reply("501 5.5.4 Bad RET parameter syntax")),
        };
        match self.ret.replace(kind) {
            None => Ok(()),
            Some(_) => Err(Reply("501 5.5.4 Bad RET parameter syntax")),
        }
    }

    fn envid(&mut self, envid: &str, discarded: EhloKeywords) -> Result<(), Refusal> {
        if discarded.contains(EhloKeywords::DSN) {
            return Err(DSN_DISABLED);
        }
        match xtext(envid) {
            Some(plain) if !plain.is_empty() && self.envid.is_none() => self.envid = Some(printable(plain)),
            _ => return Err(Reply("501 5.5.4 Bad ENVID parameter syntax")),
        }
        Ok(())
    }
}

fn parse_size(text: &str) -> Result<u64, Refusal> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(Reply("501 5.5.4 Bad message size syntax"));
    }
    let too_big = Reply("552 5.3.4 Message size exceeds file system imposed limit");
    text.parse::<u64>().ok().filter(|size| i64::try_from(*size).is_ok()).ok_or(too_big)
}

impl Recipient {
    /// Enter one option.
    pub(super) fn option(&mut self, word: Word<'_>, discarded: EhloKeywords) -> Result<(), Refusal> {
        if let Some(notify) = value(word.text, "NOTIFY=") {
            if discarded.contains(EhloKeywords::DSN) {
                return Err(DSN_DISABLED);
            }
            let parsed = Notify::parse(notify).filter(|_| self.notify.is_empty());
            self.notify = parsed.ok_or(Reply("501 5.5.4 Error: Bad NOTIFY parameter syntax"))?;
        } else if let Some(orcpt) = value(word.text, "ORCPT=") {
            if discarded.contains(EhloKeywords::DSN) {
                return Err(DSN_DISABLED);
            }
            let parsed = parse_orcpt(orcpt).filter(|_| self.orcpt.is_none());
            self.orcpt = Some(parsed.ok_or(Reply("501 5.5.4 Error: Bad ORCPT parameter syntax"))?);
        } else {
            return Err(Unsupported);
        }
        Ok(())
    }
}

/// The value of ORCPT=, decoded: `type;xtext`, or `utf-8;unitext`.
pub fn parse_orcpt(text: &str) -> Option<String> {
    let (kind, address) = text.split_once(';')?;
    if kind.is_empty() {
        return None;
    }
    let plain = if kind.eq_ignore_ascii_case("utf-8") { unitext(address) } else { xtext(address) };
    plain.map(|plain| printable(format!("{kind};{plain}")))
}

/// Decoded values go into logs and queue files: no control characters.
pub(super) fn printable(text: String) -> String {
    if text.contains(|c: char| c.is_ascii_control()) { text.replace(|c: char| c.is_ascii_control(), "?") } else { text }
}

/// Where a BDAT sequence stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Bdat {
    /// None began.
    #[default]
    No,
    /// A chunk was taken, or is about to be.
    Yes,
    /// A chunk was refused; the others are skipped until LAST or RSET.
    Failed,
}

/// The transaction as far as it got.
#[derive(Debug, Default)]
pub(super) struct Transaction {
    pub(super) sender: Option<String>,
    pub(super) options: MailOptions,
    pub(super) mail_command: String,
    pub(super) recipients: Vec<Recipient>,
    pub(super) overshoot: u32,
    pub(super) bdat: Bdat,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mail(options: &[&str]) -> Result<MailOptions, Refusal> {
        let authorised = Authorised { verp: true, ..Authorised::default() };
        let mut parsed = MailOptions::default();
        for text in options {
            parsed.option(Word { text, unclosed: false }, &SessionConfig::default(), &authorised, false)?;
        }
        Ok(parsed)
    }

    #[test]
    fn mail_options() {
        let good =
            mail(&["size=10", "body=7bit", "ret=full", "envid=x+2By", "smtputf8", "AUTH=a+20b", "XVERP"]).unwrap();
        assert_eq!(good.size, 10);
        assert_eq!(good.body, Body::SevenBit);
        assert_eq!(good.ret, Some(Ret::Full));
        assert_eq!(good.envid.as_deref(), Some("x+y"));
        assert_eq!(good.auth.as_deref(), Some("a+20b"));
        assert_eq!(good.verp.as_deref(), Some("+="));
        assert!(good.smtputf8);
        for (options, error) in [
            (&["SIZE=x"] as &[&str], Reply("501 5.5.4 Bad message size syntax")),
            (&["SIZE="], Reply("501 5.5.4 Bad message size syntax")),
            (&["SIZE=-1"], Reply("501 5.5.4 Bad message size syntax")),
            (&["SIZE=99999999999999999999"], Reply("552 5.3.4 Message size exceeds file system imposed limit")),
            (&["BODY=FOO"], Unsupported),
            (&["AUTH"], Unsupported),
            (&["AUTH=a", "AUTH=b"], Reply("503 5.5.4 Error: multiple AUTH= options")),
            (&["RET=FOO"], Reply("501 5.5.4 Bad RET parameter syntax")),
            (&["RET=FULL", "RET=FULL"], Reply("501 5.5.4 Bad RET parameter syntax")),
            (&["ENVID="], Reply("501 5.5.4 Bad ENVID parameter syntax")),
            (&["ENVID=a+4"], Reply("501 5.5.4 Bad ENVID parameter syntax")),
            (&["ENVID=a", "ENVID=b"], Reply("501 5.5.4 Bad ENVID parameter syntax")),
            (&["XVERP=ab"], Reply("501 5.5.4 Error: XVERP needs two characters from -=+")),
            (&["REQUIRETLS"], Unsupported),
        ] {
            assert_eq!(mail(options), Err(error), "{options:?}");
        }
        assert_eq!(mail(&["AUTH=<>", "AUTH=<>"]).unwrap().auth, None);
    }

    #[test]
    fn recipient_options() {
        let check = |options: &[&str]| {
            let mut recipient = Recipient::default();
            options
                .iter()
                .try_for_each(|text| recipient.option(Word { text, unclosed: false }, EhloKeywords::default()))?;
            Ok::<_, Refusal>((recipient.notify.bits(), recipient.orcpt.unwrap_or_default()))
        };
        for (options, notify, orcpt) in [
            (&["notify=never", "orcpt=rfc822;a+40b"] as &[&str], 1, "rfc822;a@b"),
            (&["NOTIFY=SUCCESS,,FAILURE"], 6, ""),
            (&["NOTIFY=SUCCESS,SUCCESS"], 2, ""),
            (&["ORCPT=rfc822;"], 0, "rfc822;"),
            (&["ORCPT=rfc822;a+0Ab"], 0, "rfc822;a?b"),
            (&["ORCPT=utf-8;a\\x{e9}"], 0, "utf-8;aé"),
        ] {
            assert_eq!(check(options), Ok((notify, orcpt.to_owned())), "{options:?}");
        }
        let notify = Reply("501 5.5.4 Error: Bad NOTIFY parameter syntax");
        let orcpt = Reply("501 5.5.4 Error: Bad ORCPT parameter syntax");
        for (options, error) in [
            (&["NOTIFY=NEVER", "NOTIFY=NEVER"] as &[&str], notify),
            (&["NOTIFY="], notify),
            (&["NOTIFY=NEVER,FAILURE"], notify),
            (&["NOTIFY"], Unsupported),
            (&["ORCPT=foo"], orcpt),
            (&["ORCPT=;foo"], orcpt),
            (&["ORCPT=rfc822;a+4"], orcpt),
            (&["ORCPT=rfc822;a", "ORCPT=rfc822;a"], orcpt),
        ] {
            assert_eq!(check(options), Err(error), "{options:?}");
        }
    }
}
