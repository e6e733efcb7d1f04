//! Milters: connections to filters, what they are told during a session, and what becomes of a message at its end.
//!
//! The protocol itself is in `message::milter`. Filters are asked one after the other; the first that decides ends the
//! event. Whoever keeps silent, talks nonsense or is gone has its `milter_default_action`, for the rest of the session;
//! the next session tries again.

mod content;
mod draft;
mod filtering;
mod link;
mod macro_facts;
mod settings;

pub use content::Changes;
pub use draft::{Draft, Unreadable};
pub use filtering::{Ended, Filtered, Filtering, Taken, Unfiltered, shown};
pub use link::{Listener, Values};
pub use macro_facts::{MacroFacts, Resolved};
pub use settings::{Milter, MilterSettings};

use crate::dns::Resolver;
use link::Link;
use message::milter::{Edit, Event, Request, Verdict};
use queue::SpoolError;
use std::sync::Arc;

/// The filters of one session.
pub struct Milters {
    settings: Arc<MilterSettings>,
    links: Vec<Link>,
    /// A filter has the message thrown away: the others needn't look at it.
    pub is_discarded: bool,
}

impl Milters {
    /// These filters, not connected yet.
    pub fn new(settings: &Arc<MilterSettings>, milters: &[Arc<Milter>]) -> Self {
        Self { settings: Arc::clone(settings), links: milters.iter().map(Link::new).collect(), is_discarded: false }
    }

    /// Nobody knows which filters these would be: a filter that has failed stands for them.
    pub fn broken(settings: &Arc<MilterSettings>) -> Self {
        Self { links: vec![Link::broken(&settings.unknown())], ..Self::new(settings, &[]) }
    }

    /// How they are talked to.
    pub fn settings(&self) -> &Arc<MilterSettings> {
        &self.settings
    }

    /// Connect to all of them, at the same time.
    pub async fn connect(&mut self, resolver: &Arc<Resolver>, listener: &mut Warnings) {
        let connecting = self.links.iter_mut().map(|link| async move {
            let mut warnings = Warnings::default();
            link.connect(resolver, &mut warnings).await;
            warnings
        });
        for warnings in futures_util::future::join_all(connecting).await {
            listener.0.extend(warnings.0);
        }
    }

    /// Tell all that want to know, until one decides.
    pub async fn event(
        &mut self,
        event: Event,
        values: &Values<'_>,
        fill: &(dyn Fn(&mut Request, u32) + Sync),
        listener: &mut Warnings,
    ) -> Option<Verdict> {
        let mut hold = None;
        let macros = &self.settings.macros;
        for link in &mut self.links {
            match link.event(event, macros, values, fill, listener).await {
                None => {}
                Some(Verdict::Hold(reason)) => hold = hold.or(Some(Verdict::Hold(reason))),
                decided => return decided,
            }
        }
        hold
    }

    /// Tell those that want to know of a recipient that was refused; what they say changes nothing.
    pub async fn rejected_recipient(
        &mut self,
        values: &Values<'_>,
        fill: &(dyn Fn(&mut Request, u32) + Sync),
        listener: &mut Warnings,
    ) {
        let macros = &self.settings.macros;
        for link in self.links.iter_mut().filter(|link| link.filter().wants_rejected_recipients()) {
            link.event(Event::Rcpt, macros, values, fill, listener).await;
        }
    }

    /// How many they are.
    pub fn len(&self) -> usize {
        self.links.len()
    }

    /// Tell one of them the whole message; what it wants changed is to be done before the next one is told.
    pub async fn message(
        &mut self,
        number: usize,
        values: &Values<'_>,
        draft: &Draft,
        changes: &mut Changes,
    ) -> Result<Option<Verdict>, SpoolError> {
        match self.links.get_mut(number) {
            Some(link) => content::tell(link, &self.settings.macros, values, draft, changes).await,
            None => Ok(None),
        }
    }

    /// Has one of them failed, or had enough of this session?
    pub fn has_failed(&self, number: usize) -> bool {
        self.links.get(number).is_some_and(|link| link.filter().is_over())
    }

    /// Does one of them write header values with the blank after the colon?
    pub fn has_leading_space(&self, number: usize) -> bool {
        self.links.get(number).is_some_and(|link| link.filter().has_leading_space())
    }

    /// Does anybody get one of these macros with this event?
    pub fn wants_macro(&self, event: Event, names: &[&str]) -> bool {
        let macros = &self.settings.macros;
        self.links.iter().any(|link| link.filter().macro_names(macros, event).iter().any(|n| names.contains(&&**n)))
    }

    /// The reply that one of them gave once for all.
    pub fn standing(&self) -> Option<&str> {
        self.links.iter().find_map(|link| link.filter().standing()?.reply())
    }

    /// The message is over.
    pub fn abort(&mut self) {
        self.is_discarded = false;
        self.links.iter_mut().for_each(Link::abort);
    }

    /// The message is over, and nothing is to be taken back: nobody else follows.
    pub fn close(&mut self) {
        for link in &mut self.links {
            link.finished();
            link.quit();
        }
    }

    /// The session is over.
    pub fn quit(&mut self) {
        self.links.iter_mut().for_each(Link::quit);
    }
}

/// Warnings on their way to the log; changes are not expected here.
#[derive(Default)]
pub struct Warnings(pub Vec<String>);

impl Listener for Warnings {
    fn warn(&mut self, text: String) {
        self.0.push(text);
    }

    fn edit(&mut self, _: Edit) -> Result<(), String> {
        Ok(())
    }
}
