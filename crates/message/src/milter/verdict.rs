//! What filters decide, and what counts when one fails.

use crate::log::printable;

/// What a filter wants done with a command or a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Put the message on hold, for this reason (may be empty); the next filter is asked all the same.
    Hold(String),
    /// Accept the message and drop it.
    Discard,
    /// End the session.
    Shutdown,
    /// Refuse with this reply; several lines are separated by line ends.
    Refuse(String),
}

impl Verdict {
    /// The reply of a filter that just says no.
    pub const REJECT: &'static str = "550 5.7.1 Command rejected";
    /// The reply of a filter that says not now.
    pub const TEMPFAIL: &'static str = "451 4.7.1 Service unavailable - try again later";
    /// The reply when a filter wants the session to end.
    pub const SHUTDOWN: &'static str = "421 4.7.0 Server closing connection";

    /// The word for the log.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Hold(_) => "milter-hold",
            Self::Discard => "milter-discard",
            Self::Shutdown | Self::Refuse(_) => "milter-reject",
        }
    }

    /// What the log says after the client.
    pub fn text(&self) -> String {
        let text = match self {
            Self::Hold(reason) if reason.is_empty() => "milter triggers HOLD action",
            Self::Hold(reason) => reason,
            Self::Discard => "milter triggers DISCARD action",
            Self::Shutdown => Self::SHUTDOWN,
            Self::Refuse(reply) => reply,
        };
        printable(text.as_bytes())
    }

    /// The reply, if it is one.
    pub fn reply(&self) -> Option<&str> {
        match self {
            Self::Shutdown => Some(Self::SHUTDOWN),
            Self::Refuse(reply) => Some(reply),
            _ => None,
        }
    }
}

/// `milter_default_action`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum DefaultAction {
    /// As if the filter were not there.
    Accept,
    /// Refuse for good.
    Reject,
    /// Refuse for now.
    Tempfail,
    /// Take the message, on hold.
    Quarantine,
    /// Refuse for now, and end the session.
    #[default]
    Shutdown,
}

impl DefaultAction {
    /// By its name.
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "accept" => Self::Accept,
            "reject" => Self::Reject,
            "tempfail" => Self::Tempfail,
            "quarantine" => Self::Quarantine,
            "shutdown" => Self::Shutdown,
            _ => return None,
        })
    }

    /// What counts when the filter can't be reached, is silent, or talks nonsense.
    pub fn failed(self) -> Option<Verdict> {
        let refuse = |reply: &str| Some(Verdict::Refuse(reply.to_owned()));
        match self {
            Self::Accept => None,
            Self::Reject => refuse("550 5.5.0 Service unavailable"),
            Self::Tempfail => refuse(Verdict::TEMPFAIL),
            Self::Quarantine => Some(Verdict::Hold("default_action".to_owned())),
            Self::Shutdown => refuse("421 4.7.1 Service unavailable - try again later"),
        }
    }

    /// What counts when its own settings or replies make no sense.
    pub fn misconfigured(self) -> Option<Verdict> {
        let text = "4.3.5 Server configuration problem - try again later";
        match self {
            Self::Reject | Self::Tempfail => Some(Verdict::Refuse(format!("451 {text}"))),
            Self::Shutdown => Some(Verdict::Refuse(format!("421 {text}"))),
            Self::Accept | Self::Quarantine => self.failed(),
        }
    }
}

/// A reply that a filter wrote itself: `%%` stands for `%`. `None` if it is no reply of class 4 or 5, or its lines
/// don't belong together.
pub(super) fn reply(text: &str) -> Option<String> {
    let mut lines =
        text.trim_end_matches(['\r', '\n']).split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line)).peekable();
    let code = lines.peek()?.get(..3)?.to_owned();
    let class = code.chars().next().filter(|class| matches!(class, '4' | '5'))?;
    if !code.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let mut out = String::with_capacity(text.len());
    while let Some(line) = lines.next() {
        let rest = line.strip_prefix(code.as_str())?;
        let is_last = lines.peek().is_none();
        let text = match rest.chars().next() {
            Some(' ' | '-') => &rest[1..],
            _ => return None,
        };
        if status_class(text).is_some_and(|of_status| of_status != class) {
            return None;
        }
        out.push_str(&code);
        out.push(if is_last { ' ' } else { '-' });
        out.push_str(&text.replace("%%", "%"));
        if !is_last {
            out.push_str("\r\n");
        }
    }
    Some(out)
}

/// The class of an enhanced status code at the start of a text.
fn status_class(text: &str) -> Option<char> {
    let status = text.split([' ', '\t']).next()?;
    let mut parts = status.split('.');
    let class = parts.next().filter(|part| part.len() == 1)?.chars().next().filter(char::is_ascii_digit)?;
    let mut number =
        || parts.next().is_some_and(|p| (1..=3).contains(&p.len()) && p.bytes().all(|b| b.is_ascii_digit()));
    (number() && number() && parts.next().is_none()).then_some(class)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_of_filters() {
        for (text, want) in [
            ("550 5.7.1 go %% away", Some("550 5.7.1 go % away")),
            ("550 no status", Some("550 no status")),
            ("451", None),
            ("451 ", Some("451 ")),
            ("451 4.7.1 x\r\n", Some("451 4.7.1 x")),
            ("554-5.7.1 a\r\n554 5.7.1 b", Some("554-5.7.1 a\r\n554 5.7.1 b")),
            ("554-5.7.1 a\n554 5.7.1 b", Some("554-5.7.1 a\r\n554 5.7.1 b")),
            ("554 5.7.1 a\r\n554-5.7.1 b", Some("554-5.7.1 a\r\n554 5.7.1 b")),
            ("554-a\r\n550 b", None),
            ("554-a", Some("554 a")),
            ("550 4.7.1 x", None),
            ("451 5.7.1 x", None),
            ("250 2.0.0 ok", None),
            ("55", None),
            ("5x0 x", None),
            ("550x", None),
            ("", None),
        ] {
            assert_eq!(reply(text).as_deref(), want, "{text:?}");
        }
    }

    #[test]
    fn default_actions() {
        for (name, failed, misconfigured) in [
            ("accept", None, None),
            (
                "reject",
                Some("550 5.5.0 Service unavailable"),
                Some("451 4.3.5 Server configuration problem - try again later"),
            ),
            (
                "tempfail",
                Some("451 4.7.1 Service unavailable - try again later"),
                Some("451 4.3.5 Server configuration problem - try again later"),
            ),
            ("quarantine", Some("default_action"), Some("default_action")),
            (
                "shutdown",
                Some("421 4.7.1 Service unavailable - try again later"),
                Some("421 4.3.5 Server configuration problem - try again later"),
            ),
        ] {
            let action = DefaultAction::parse(name).unwrap();
            assert_eq!(action.failed().as_ref().map(Verdict::text).as_deref(), failed);
            assert_eq!(action.misconfigured().as_ref().map(Verdict::text).as_deref(), misconfigured);
        }
        assert_eq!(DefaultAction::parse("Accept"), None);
    }
}
