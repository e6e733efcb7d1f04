//! Signs that somebody else sends with a login: mail from many client networks within a short time, a sudden volume,
//! many refused recipients. One sign is enough to hold what the login sends, for a while.
//!
//! One table for all event loops; only logins that send are in it, and only where a sign is asked for. Time is an
//! argument.

use crate::anvil::Network;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// So many logins are watched; those that sent nothing for longest make room.
const LIMIT: usize = 20_000;
/// So many networks are told apart for a login.
const NETWORKS: usize = 100;
/// A volume is sudden when it is so many times the usual one.
const SUDDEN: u32 = 5;

/// What is a sign; 0 is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TakeoverLimits {
    /// `postern_sasl_takeover_time_unit`, milliseconds.
    pub unit: u64,
    /// `postern_sasl_takeover_networks`.
    pub networks: u32,
    /// `postern_sasl_takeover_recipients`.
    pub recipients: u32,
    /// `postern_sasl_takeover_refused_recipients`.
    pub refused: u32,
    /// `postern_sasl_takeover_hold_time`, milliseconds.
    pub hold: u64,
}

impl TakeoverLimits {
    /// Is anything a sign?
    pub const fn any(&self) -> bool {
        self.networks > 0 || self.recipients > 0 || self.refused > 0
    }
}

/// What a login does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// A recipient was accepted, from a client there.
    Recipient(Option<Network>),
    /// A recipient was refused.
    Refused,
}

#[derive(Debug, Default)]
struct Login {
    /// When the time began that is counted in.
    begin: u64,
    networks: Vec<Network>,
    recipients: u32,
    refused: u32,
    /// Recipients in such a time, of late.
    usual: u32,
    /// Until when its mail is held, and why.
    held: Option<(u64, String)>,
}

impl Login {
    /// A new time, when the last one is over.
    fn turn(&mut self, now: u64, unit: u64) {
        if now.saturating_sub(self.begin) <= unit {
            return;
        }
        // A fifth of it is new; times without mail don't count.
        self.usual = self.usual / 5 * 4 + self.usual % 5 + self.recipients / 5;
        (self.begin, self.recipients, self.refused) = (now, 0, 0);
        self.networks.clear();
    }

    fn count(&mut self, deed: Deed) {
        match deed {
            Deed::Recipient(network) => {
                self.recipients = self.recipients.saturating_add(1);
                if let Some(network) = network.filter(|network| !self.networks.contains(network))
                    && self.networks.len() < NETWORKS
                {
                    self.networks.push(network);
                }
            }
            Deed::Refused => self.refused = self.refused.saturating_add(1),
        }
    }

    fn sign(&self, limits: TakeoverLimits) -> Option<String> {
        let minutes = limits.unit.div_ceil(60_000);
        let over = |count: u32, limit: u32| limit > 0 && count > limit;
        let networks = u32::try_from(self.networks.len()).unwrap_or(u32::MAX);
        if over(networks, limits.networks) {
            Some(format!("mail from {networks} client networks within {minutes} minutes"))
        } else if over(self.recipients, limits.recipients) && self.recipients / SUDDEN >= self.usual {
            let usual = self.usual;
            Some(format!("{} recipients within {minutes} minutes, usually {usual}", self.recipients))
        } else if over(self.refused, limits.refused) {
            Some(format!("{} refused recipients within {minutes} minutes", self.refused))
        } else {
            None
        }
    }
}

/// A login whose mail is held.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldLogin {
    /// Its name, in lower case.
    pub login: String,
    /// For so many seconds more.
    pub seconds: u64,
    /// The sign.
    pub sign: String,
}

/// All logins that send.
#[derive(Debug, Default)]
pub struct Takeover {
    logins: Mutex<HashMap<Box<str>, Login>>,
}

impl Takeover {
    fn logins(&self) -> MutexGuard<'_, HashMap<Box<str>, Login>> {
        self.logins.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A login (in lower case) does something, `now` (milliseconds): a sign that was not there before, if there is one.
    pub fn note(&self, name: &str, deed: Deed, limits: TakeoverLimits, now: u64) -> Option<String> {
        let mut logins = self.logins();
        if !logins.contains_key(name) {
            make_room(&mut logins, now);
            logins.insert(name.into(), Login { begin: now, ..Login::default() });
        }
        let login = logins.get_mut(name)?;
        login.turn(now, limits.unit);
        login.count(deed);
        if login.held.as_ref().is_some_and(|(until, _)| now < *until) {
            return None;
        }
        login.held = None;
        login.sign(limits)
    }

    /// From now on mail of this login is held. False if it is already: another session was faster.
    pub fn hold(&self, name: &str, why: &str, limits: TakeoverLimits, now: u64) -> bool {
        let mut logins = self.logins();
        let Some(login) = logins.get_mut(name) else { return false };
        if login.held.as_ref().is_some_and(|(until, _)| now < *until) {
            return false;
        }
        login.held = Some((now.saturating_add(limits.hold), why.to_owned()));
        true
    }

    /// Why its mail is held, if it is.
    pub fn held(&self, name: &str, now: u64) -> Option<String> {
        let logins = self.logins();
        let (until, why) = logins.get(name)?.held.as_ref()?;
        (now < *until).then(|| why.clone())
    }
}

impl Takeover {
    /// All whose mail is held, by name.
    pub fn all_held(&self, now: u64) -> Vec<HeldLogin> {
        let logins = self.logins();
        let held = logins.iter().filter_map(|(name, login)| {
            let (until, why) = login.held.as_ref().filter(|(until, _)| now < *until)?;
            Some(HeldLogin { login: name.to_string(), seconds: (until - now).div_ceil(1000), sign: why.clone() })
        });
        let mut held: Vec<HeldLogin> = held.collect();
        held.sort_by(|a, b| a.login.cmp(&b.login));
        held
    }

    /// Mail of this login is not held any more, and its doings count from here on. Was it held?
    pub fn release(&self, name: &str, now: u64) -> bool {
        let mut logins = self.logins();
        let Some(login) = logins.get_mut(name) else { return false };
        let was_held = login.held.take().is_some_and(|(until, _)| now < until);
        // What it did until now is known to have been right.
        (login.begin, login.recipients, login.refused) = (now, 0, 0);
        login.networks.clear();
        was_held
    }
}

/// One goes if there are too many: of some, one that isn't held, and hasn't begun anew for longest.
fn make_room(logins: &mut HashMap<Box<str>, Login>, now: u64) {
    if logins.len() < LIMIT {
        return;
    }
    let is_held = |login: &Login| login.held.as_ref().is_some_and(|(until, _)| now < *until);
    let oldest = logins.iter().take(64).min_by_key(|(_, login)| (is_held(login), login.begin));
    if let Some(name) = oldest.map(|(name, _)| name.clone()) {
        logins.remove(&name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::anvil::Prefixes;

    const LIMITS: TakeoverLimits =
        TakeoverLimits { unit: 60_000, networks: 2, recipients: 10, refused: 3, hold: 600_000 };

    fn from(last: u8) -> Deed {
        Deed::Recipient(Some(Prefixes { ipv4: 32, ipv6: 64 }.network([192, 0, 2, last].into())))
    }

    #[test]
    fn each_sign() {
        let takeover = Takeover::default();
        let note = |name: &str, deed: Deed| takeover.note(name, deed, LIMITS, 5);
        for (deed, sign) in [
            (from(1), None),
            (from(2), None),
            (from(1), None),
            (from(3), Some("mail from 3 client networks within 1 minutes")),
        ] {
            assert_eq!(note("jo", deed).as_deref(), sign);
        }
        let refused: Vec<_> = (0..4).map(|_| note("al", Deed::Refused)).collect();
        assert_eq!(refused, [None, None, None, Some("4 refused recipients within 1 minutes".to_owned())]);
        let many: Vec<_> = (0..11).filter_map(|_| note("bo", from(1))).collect();
        assert_eq!(many, ["11 recipients within 1 minutes, usually 0"]);
    }

    #[test]
    fn what_is_usual_is_no_sign() {
        let takeover = Takeover::default();
        let limits = TakeoverLimits { recipients: 100, ..LIMITS };
        let send = |hour: u64, count: usize| {
            (0..count).filter_map(|_| takeover.note("jo", from(1), limits, hour * 60_001)).count()
        };
        for hour in 0..40 {
            assert_eq!(send(hour, 50), 0);
        }
        // five times as much as usual is a sign, four times isn't
        assert_eq!(send(40, 190), 0);
        let usual = takeover.logins()["jo"].usual;
        assert!((30..=50).contains(&usual), "{usual}");
        assert_eq!(send(42, 400).min(1), 1);
    }

    #[test]
    fn mail_is_held_for_a_while() {
        let takeover = Takeover::default();
        assert!(!takeover.hold("jo", "why", LIMITS, 0));
        takeover.note("jo", from(1), LIMITS, 0);
        assert_eq!(takeover.held("jo", 0), None);
        assert!(takeover.hold("jo", "why", LIMITS, 0) && !takeover.hold("jo", "why", LIMITS, 0));
        assert_eq!(takeover.held("jo", 599_999).as_deref(), Some("why"));
        assert_eq!((0..9).find_map(|_| takeover.note("jo", Deed::Refused, LIMITS, 599_999)), None);
        assert_eq!((takeover.held("jo", 600_000), takeover.held("al", 0)), (None, None));
        assert!(takeover.note("jo", Deed::Refused, LIMITS, 600_000).is_some());
    }

    #[test]
    fn what_is_released_begins_anew() {
        let takeover = Takeover::default();
        for name in ["jo", "al", "bo"] {
            (0..4).for_each(|_| drop(takeover.note(name, Deed::Refused, LIMITS, 0)));
        }
        assert!(takeover.hold("jo", "4 refused", LIMITS, 500) && takeover.hold("al", "many", LIMITS, 0));
        let held = |login: &str, seconds, sign: &str| HeldLogin { login: login.into(), seconds, sign: sign.into() };
        assert_eq!(takeover.all_held(1000), [held("al", 599, "many"), held("jo", 600, "4 refused")]);
        assert!(takeover.release("jo", 1000) && !takeover.release("jo", 1000));
        assert!(!takeover.release("bo", 1000) && !takeover.release("nobody", 1000));
        assert_eq!(takeover.all_held(1000), [held("al", 599, "many")]);
        assert_eq!(takeover.all_held(600_000), []);
        // it takes as much as at first until there is another sign
        let refused: Vec<_> = (0..4).map(|_| takeover.note("jo", Deed::Refused, LIMITS, 1000).is_some()).collect();
        assert_eq!(refused, [false, false, false, true]);
    }

    #[test]
    fn nothing_grows_for_ever() {
        let takeover = Takeover::default();
        takeover.note("held", from(1), LIMITS, 0);
        takeover.hold("held", "why", LIMITS, 0);
        for number in 0..LIMIT + 500 {
            takeover.note(&format!("jo{number}"), from(1), LIMITS, 1);
        }
        assert_eq!(takeover.logins().len(), LIMIT);
        assert!(takeover.held("held", 1).is_some());
        for last in 0..=255 {
            takeover.note("jo", from(last), TakeoverLimits { networks: 0, ..LIMITS }, 1);
        }
        assert_eq!(takeover.logins()["jo"].networks.len(), NETWORKS);
    }
}
