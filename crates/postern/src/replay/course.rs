//! How far a session of the past has come under the other policy: what earlier decisions have left behind, and the moments
//! that nobody recorded because nothing was decided there then.

use super::Verdict;
use crate::record::{Bound, Record};
use policy::{Facts, PolicyState};
use smtp::server::Moment;
use std::net::IpAddr;

/// The course of one session.
#[derive(Default)]
pub struct Course {
    /// What evaluations hand on.
    pub state: PolicyState,
    client: Option<Option<IpAddr>>,
    helo: Option<String>,
    transaction: Option<u32>,
    /// A refusal at a moment that wasn't recorded: what came after it would not have come to pass.
    refused: Option<(Moment, Verdict)>,
}

impl Course {
    /// Moments before this decision that have to be made up for, with what was known then.
    pub fn missing(
        &mut self,
        record: &Record<Bound>,
        moment: Moment,
        facts: &Facts,
    ) -> Vec<(Moment, &'static str, Facts)> {
        let mut missing = Vec::new();
        let begun = |facts: &Facts| Facts {
            helo: None,
            sender: None,
            recipient: None,
            recipient_count: 0,
            etrn_domain: None,
            ..facts.clone()
        };
        if moment == Moment::Connect || self.client != Some(record.address) {
            // Another client: also by XCLIENT.
            *self = Self { client: Some(record.address), ..Self::default() };
            if moment != Moment::Connect {
                missing.push((Moment::Connect, "CONNECT", begun(facts)));
            }
        }
        if moment == Moment::Connect {
            // XCLIENT can hand a name over that nobody has said to us.
            self.helo.clone_from(&record.helo);
            return missing;
        }
        // A refused greeting leaves the earlier one in force.
        let stays = moment == Moment::Helo && record.reply.is_some();
        if self.helo != record.helo && !stays {
            self.helo.clone_from(&record.helo);
            self.refused.take_if(|(moment, _)| matches!(moment, Moment::Helo | Moment::Mail));
            if moment != Moment::Helo && record.helo.is_some() {
                let stage = if record.esmtp { "EHLO" } else { "HELO" };
                missing.push((Moment::Helo, stage, Facts { helo: facts.helo.clone(), ..begun(facts) }));
            }
        }
        let in_transaction = matches!(moment, Moment::Mail | Moment::Rcpt | Moment::Data | Moment::EndOfData);
        if in_transaction && self.transaction != Some(record.transaction) {
            self.transaction = Some(record.transaction);
            self.refused.take_if(|(moment, _)| *moment == Moment::Mail);
            self.state.reset_transaction();
            if moment != Moment::Mail {
                let known = Facts { recipient: None, recipient_count: 0, ..facts.clone() };
                missing.push((Moment::Mail, "MAIL", known));
            }
        }
        missing
    }

    /// One of the missing moments was refused.
    pub fn refuse(&mut self, moment: Moment, verdict: Verdict) {
        self.refused.get_or_insert((moment, verdict));
    }

    /// The refusal that came before, if there is one.
    pub fn refusal(&self) -> Option<&Verdict> {
        self.refused.as_ref().map(|(_, verdict)| verdict)
    }
}
