//! Where the recipients of a message go, and the deliveries that come of it.

use super::{Event, Runner};
use crate::deliver::agent::Request;
use crate::deliver::config::Transport;
use crate::deliver::outcome::Outcome;
use crate::deliver::{Route, Temporary};
use queue::{Message, QueueId, Recipient, RecipientState};
use std::sync::Arc;
use tokio::task::spawn_local;

impl Runner {
    /// Finds out where the recipients go that still have to be delivered.
    pub(super) fn route(&self, message: Message, is_probe: bool) {
        let (events, router) = (self.events.clone(), self.surroundings.router.clone());
        spawn_local(async move {
            let envelope = &message.envelope;
            let mut routes = Vec::new();
            let pending = |r: &Recipient| r.state == RecipientState::Pending;
            for (index, recipient) in envelope.recipients.iter().enumerate().filter(|(_, r)| pending(r)) {
                let route = match envelope.content_filter.as_deref() {
                    Some(filter) => Ok(filter_route(filter, &recipient.address)),
                    None if is_probe => router.route_probe(&envelope.sender, &recipient.address).await,
                    None => router.route(&envelope.sender, &recipient.address).await,
                };
                routes.push((index, route));
            }
            // The loop is only gone with the thread.
            let _ = events.send(Event::Routed(envelope.queue_id, routes));
        });
    }

    pub(super) fn routed(&mut self, id: QueueId, routes: Vec<(usize, Result<Route, Temporary>)>) {
        let Some(active) = self.active.get_mut(&id) else { return };
        take_over(&mut active.message, &routes);
        let (message, since, is_probe) = (active.message.clone(), active.since, active.probe.is_some());
        let mut requests: Vec<Request> = Vec::new();
        let (mut failed, mut discarded) = (Vec::new(), Vec::new());
        for (index, route) in routes {
            let route = match route {
                Ok(route) => route,
                Err(Temporary(reason)) => {
                    self.log(&self.config.qmgr_tag, format!("warning: {id}: {reason}"));
                    failed.push((index, "address resolver failure".to_owned()));
                    continue;
                }
            };
            if route.is_local && self.config.report.is_double_bounce_sender(&route.recipient) {
                discarded.push(index);
                continue;
            }
            let Some(transport) = self.config.transports.get(&route.transport) else {
                let text = format!("warning: {id}: transport {} is not in master.cf", route.transport);
                self.log(&self.config.qmgr_tag, text);
                failed.push((index, "mail transport unavailable".to_owned()));
                continue;
            };
            let limit = if transport.recipient_limit == 0 { usize::MAX } else { transport.recipient_limit };
            let destination = destination(&route, transport);
            let same = |r: &&mut Request| r.destination == destination && r.recipients.len() < limit;
            match requests.iter_mut().find(same) {
                Some(request) => request.recipients.push((index, route.recipient)),
                None => requests.push(Request {
                    id,
                    message: message.clone(),
                    transport: transport.clone(),
                    nexthop: route.nexthop,
                    destination,
                    recipients: vec![(index, route.recipient)],
                    active: since,
                    is_probe,
                }),
            }
        }
        for (index, reason) in failed {
            self.unreachable(&message, index, since, &Outcome::deferred("4.3.0", reason, "none"));
        }
        for index in discarded {
            let outcome = Outcome::delivered("undeliverable postmaster notification discarded", "none");
            self.unreachable(&message, index, since, &outcome);
        }
        if self.draining.is_some() || self.is_stopped(id) {
            requests.clear();
        }
        if let Some(active) = self.active.get_mut(&id) {
            active.outstanding += requests.len();
        }
        for request in requests {
            let destination = request.destination.clone();
            self.requests.entry(destination.clone()).or_default().push_back(request);
            self.pump(&destination);
        }
        self.one_less(id);
    }
}

/// Where the resolver has found another address behind one, that is the recipient from now on.
fn take_over(message: &mut Message, routes: &[(usize, Result<Route, Temporary>)]) {
    for (index, route) in routes {
        let Ok(route) = route else { continue };
        let is_other = |r: &Recipient| !r.address.eq_ignore_ascii_case(&route.recipient);
        if !message.envelope.recipients.get(*index).is_some_and(is_other) {
            continue;
        }
        let recipient = &mut Arc::make_mut(&mut message.envelope).recipients[*index];
        let given = std::mem::replace(&mut recipient.address, route.recipient.clone());
        recipient.orig_to.get_or_insert(given);
    }
}

/// Transport and next hop. A transport that takes one recipient at a time, as local(8), counts by recipient.
fn destination(route: &Route, transport: &Transport) -> Arc<str> {
    let place = if transport.recipient_limit == 1 { &route.recipient } else { &route.nexthop };
    format!("{}:{}", route.transport, place.to_ascii_lowercase()).into()
}

/// `transport:nexthop`; without a next hop it is the recipient's domain.
fn filter_route(filter: &str, recipient: &str) -> Route {
    let (transport, nexthop) = filter.split_once(':').unwrap_or((filter, ""));
    let domain = recipient.rsplit_once('@').map_or("", |(_, domain)| domain);
    Route {
        transport: transport.to_owned(),
        nexthop: if nexthop.is_empty() { domain } else { nexthop }.to_owned(),
        recipient: recipient.to_owned(),
        is_local: false,
    }
}
