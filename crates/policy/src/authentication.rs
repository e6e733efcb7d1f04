//! What is known of a message besides its envelope, once it is whole: who its authors are, and whose signatures are true.

use crate::context::Context;
use crate::dmarc::{self, DmarcVerdict};
use crate::facts::Facts;
use crate::ledger::{Ask, Suspend};
use crate::plan::Plan;
use crate::restriction::spf_verdict;
use crate::spf::SpfVerdict;
use crate::subject::Subject;
use smtp::server::Moment;

/// What a DKIM signature comes to (RFC 8601, section 2.7.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum DkimResult {
    /// It is true.
    Pass,
    /// It isn't.
    Fail,
    /// It may be true, and isn't believed.
    Policy,
    /// Nothing can be said.
    #[default]
    Neutral,
    /// The DNS doesn't have the key now.
    TempError,
    /// It makes no sense, or there is no such key.
    PermError,
}

impl DkimResult {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Pass, Self::Fail, Self::Policy, Self::Neutral, Self::TempError, Self::PermError];

    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::Policy => "policy",
            Self::Neutral => "neutral",
            Self::TempError => "temperror",
            Self::PermError => "permerror",
        }
    }
}

/// A signature that was looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DkimVerdict {
    /// In a word.
    pub result: DkimResult,
    /// Who signs (`d=`), in lower case; empty when that can't be read.
    pub domain: String,
    /// Which key (`s=`).
    pub selector: String,
    /// How (`a=`).
    pub algorithm: String,
    /// The first characters of the signature (`b=`), which tell it from others.
    pub signature: String,
    /// Why not; empty for a pass.
    pub reason: String,
}

/// What is known of a message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MessageFacts {
    /// The domains of its authors (From), as written, in lower case.
    pub authors: Vec<String>,
    /// Why nobody can say who the author is.
    pub author_problem: Option<String>,
    /// Its signatures, from the top.
    pub dkim: Vec<DkimVerdict>,
}

/// Everything that can be said of who has sent a message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Authentication {
    /// SPF, and whether it is the HELO name's.
    pub spf: Option<(SpfVerdict, bool)>,
    /// Each signature.
    pub dkim: Vec<DkimVerdict>,
    /// DMARC.
    pub dmarc: Option<DmarcVerdict>,
}

/// Say it. Log lines that restrictions would write are left out.
///
/// # Errors
/// When an answer is missing.
pub fn authenticate(plan: &Plan, facts: &Facts, ask: &mut Ask<'_>) -> Result<Authentication, Suspend> {
    let (mut log, mut effects, resolved) = (Vec::new(), Vec::new(), Default::default());
    let mut context = Context {
        plan,
        facts,
        ask,
        moment: Moment::EndOfData,
        stage: "END-OF-MESSAGE",
        subject: Subject::EndOfData,
        warn: false,
        eager: false,
        deferred: false,
        log: &mut log,
        effects: &mut effects,
        held: false,
        sleeps: 0,
        policy_requests: 0,
        in_default_action: false,
        resolved: &resolved,
    };
    let spf = spf_verdict(&mut context)?;
    let Some(message) = &facts.message else { return Ok(Authentication::default()) };
    let dns = &mut |rtype, name: &str| context.dns_of_name(rtype, name);
    let dmarc = dmarc::check(message, spf.as_ref().map(|(verdict, _)| verdict), sample(facts), dns)?;
    let spf = spf.map(|(verdict, subject)| (verdict, subject == Subject::Helo));
    Ok(Authentication { spf, dkim: message.dkim.clone(), dmarc: Some(dmarc) })
}

/// A number from 0 to 99 that is the message's own, for policies that are for a part of the mail only.
pub(crate) fn sample(facts: &Facts) -> u8 {
    let name = facts.queue_id.as_deref().unwrap_or_default();
    let mixed = name
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    ((mixed >> 32) % 100) as u8
}
