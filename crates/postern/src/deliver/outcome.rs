//! What became of a recipient, and the log line that says so.

use queue::{DeliveryStatus, Envelope, QueueId, Recipient};
use smtp::address::quote_local;
use smtp::client::Failure;
use std::fmt::Write;

/// How a delivery ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    Sent,
    Deferred,
    Bounced,
    /// Bounced, were it not for `soft_bounce`: tried again.
    SoftBounced,
}

/// What became of one recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Outcome {
    pub status: Status,
    pub dsn: String,
    pub reason: String,
    /// `name[address]:port`, `local`, `none`.
    pub relay: String,
    /// Host name of the relay, for reports.
    pub remote_mta: Option<String>,
    /// The server's reply, for reports.
    pub reply: Option<String>,
    /// Action field of a success report; empty if the next hop sees to that.
    pub action: &'static str,
}

impl Outcome {
    fn new(status: Status, dsn: &str, reason: impl Into<String>, relay: &str) -> Self {
        Outcome {
            status,
            dsn: dsn.to_owned(),
            reason: reason.into(),
            relay: relay.to_owned(),
            remote_mta: None,
            reply: None,
            action: "",
        }
    }

    /// Delivered here.
    pub fn delivered(reason: impl Into<String>, relay: &str) -> Self {
        Outcome { action: "delivered", ..Self::new(Status::Sent, "2.0.0", reason, relay) }
    }

    pub fn deferred(dsn: &str, reason: impl Into<String>, relay: &str) -> Self {
        Self::new(Status::Deferred, dsn, reason, relay)
    }

    pub fn bounced(dsn: &str, reason: impl Into<String>, relay: &str) -> Self {
        Self::new(Status::Bounced, dsn, reason, relay)
    }

    /// From what an SMTP session says.
    pub fn failed(failure: &Failure, relay: &str, remote_mta: Option<&str>) -> Self {
        let status = if failure.permanent { Status::Bounced } else { Status::Deferred };
        Outcome {
            remote_mta: remote_mta.filter(|_| failure.reply.is_some()).map(str::to_owned),
            reply: failure.reply.clone(),
            ..Self::new(status, &failure.dsn, failure.reason.clone(), relay)
        }
    }

    /// With `soft_bounce`, what would bounce is tried again.
    pub fn softened(mut self, soft_bounce: bool) -> Self {
        if soft_bounce && self.status == Status::Bounced {
            self.status = Status::SoftBounced;
        }
        self
    }

    /// For the spool, and for reports.
    pub fn delivery_status(&self) -> DeliveryStatus {
        let (action, reason) = match self.status {
            Status::Sent => (self.action, format!("delivery via {}: {}", self.relay, self.reason)),
            Status::Deferred | Status::Bounced | Status::SoftBounced => ("failed", self.reason.clone()),
        };
        DeliveryStatus {
            dsn: self.dsn.clone(),
            reason,
            remote_mta: self.remote_mta.clone(),
            reply: self.reply.clone(),
            action: action.to_owned(),
        }
    }

    /// The word for it in log lines.
    pub fn word(&self) -> &'static str {
        match self.status {
            Status::Sent => "sent",
            Status::Deferred => "deferred",
            Status::Bounced => "bounced",
            Status::SoftBounced => "SOFTBOUNCE",
        }
    }

    /// `to=<R>, orig_to=<O>, relay=H[A]:P, conn_use=N, delay=D, delays=a/b/c/d, dsn=X.Y.Z, status=S (TEXT)`, with the
    /// queue id before it, and this word for the status.
    pub fn log_line(&self, status: &str, id: QueueId, recipient: &Recipient, times: &Times) -> String {
        let mut line = String::with_capacity(160 + self.reason.len());
        let _ = write!(line, "{id}: to=<{}>", quote_local(&recipient.address));
        if let Some(orig_to) = recipient.orig_to.as_deref().filter(|o| !o.eq_ignore_ascii_case(&recipient.address)) {
            let _ = write!(line, ", orig_to=<{}>", quote_local(orig_to));
        }
        let _ = write!(line, ", relay={}", self.relay);
        if times.uses > 1 {
            let _ = write!(line, ", conn_use={}", times.uses);
        }
        let [a, b, c, d] = times.parts();
        let _ = write!(
            line,
            ", delay={}, delays={}/{}/{}/{}, dsn={}, status={status} ({})",
            seconds(times.done - times.arrival),
            seconds(a),
            seconds(b),
            seconds(c),
            seconds(d),
            self.dsn,
            self.reason,
        );
        line
    }
}

/// When a delivery passed its stations; Unix microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Times {
    pub arrival: i64,
    /// The queue manager took it up.
    pub active: i64,
    /// The agent got it.
    pub agent: i64,
    /// The connection was ready; 0 if there was none.
    pub connected: i64,
    pub done: i64,
    /// How often the connection was used.
    pub uses: u32,
}

impl Times {
    fn parts(&self) -> [i64; 4] {
        let connected = if self.connected == 0 { self.done } else { self.connected };
        // Without a connection, all of the agent's time went into getting one, or into delivering here.
        [self.active - self.arrival, self.agent - self.active, connected - self.agent, self.done - connected]
    }
}

/// A time with two significant digits and no more than two decimals, as `delay_logging_resolution_limit` has it.
pub(super) fn seconds(micros: i64) -> String {
    let micros = micros.max(0);
    let hundredths = (micros + 5_000) / 10_000;
    let tenths = (micros + 50_000) / 100_000;
    if tenths >= 100 {
        return ((micros + 500_000) / 1_000_000).to_string();
    }
    let (whole, fraction, digits) = if hundredths >= 100 { (tenths / 10, tenths % 10, 1) } else { (0, hundredths, 2) };
    if fraction == 0 {
        return whole.to_string();
    }
    let text = format!("{whole}.{fraction:0digits$}");
    text.trim_end_matches('0').to_owned()
}

/// `QID: from=<S>, size=N, nrcpt=N (queue active)`.
pub(super) fn active_line(envelope: &Envelope) -> String {
    format!(
        "{}: from=<{}>, size={}, nrcpt={} (queue active)",
        envelope.queue_id,
        quote_local(&envelope.sender),
        envelope.size,
        envelope.recipients.len()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_are_rounded_as_postfix_rounds_them() {
        for (micros, want) in [
            (0, "0"),
            (4_999, "0"),
            (5_000, "0.01"),
            (28_000, "0.03"),
            (100_000, "0.1"),
            (120_000, "0.12"),
            (994_999, "0.99"),
            (999_000, "1"),
            (1_190_000, "1.2"),
            (2_000_000, "2"),
            (9_940_000, "9.9"),
            (9_960_000, "10"),
            (12_345_678, "12"),
            (86_400_400_000, "86400"),
            (-5, "0"),
        ] {
            assert_eq!(seconds(micros), want, "{micros}");
        }
    }

    #[test]
    fn log_lines_have_postfix_form() {
        let id: QueueId = "8323399E0DF".parse().unwrap();
        let mut recipient = Recipient::new("a b@bad.example");
        recipient.orig_to = Some("alias@bad.example".into());
        let outcome = Outcome {
            reply: Some("250 ok".into()),
            ..Outcome::new(Status::Sent, "2.0.0", "250 2.0.0 Ok: queued as ABCDEF", "127.0.0.1[127.0.0.1]:2526")
        };
        let times = Times { arrival: 0, active: 10_000, agent: 20_000, connected: 20_500, done: 40_000, uses: 2 };
        assert_eq!(
            outcome.log_line(outcome.word(), id, &recipient, &times),
            "8323399E0DF: to=<\"a b\"@bad.example>, orig_to=<alias@bad.example>, relay=127.0.0.1[127.0.0.1]:2526, \
             conn_use=2, delay=0.04, delays=0.01/0.01/0/0.02, dsn=2.0.0, status=sent (250 2.0.0 Ok: queued as ABCDEF)"
        );
        let outcome = Outcome::bounced("5.1.1", "unknown user: \"nosuch\"", "local");
        recipient.orig_to = Some("A B@bad.example".into());
        assert_eq!(
            outcome.log_line(outcome.word(), id, &recipient, &Times { done: 1_000_000, ..Times::default() }),
            "8323399E0DF: to=<\"a b\"@bad.example>, relay=local, delay=1, delays=0/0/1/0, dsn=5.1.1, \
             status=bounced (unknown user: \"nosuch\")"
        );
        assert_eq!(outcome.clone().softened(false), outcome);
        assert_eq!(
            outcome.softened(true).log_line(
                "SOFTBOUNCE",
                id,
                &recipient,
                &Times { done: 1_000_000, ..Times::default() }
            ),
            "8323399E0DF: to=<\"a b\"@bad.example>, relay=local, delay=1, delays=0/0/1/0, dsn=5.1.1, \
             status=SOFTBOUNCE (unknown user: \"nosuch\")"
        );
    }
}
