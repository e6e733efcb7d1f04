//! Delivery as part of the server: routes from the policy crate, DNS from our client, mail from the spool.

use super::server::resolver;
use super::site::Site;
use crate::answer::Answerer;
use crate::clock;
use crate::deliver::{self, DeliverHandle, Expanded, Found, LogLine, Pending, Route, Router, Surroundings, Temporary};
use crate::dns::{self, Learnt, Resolver};
use crate::internal_mail::{self, Cleaned, Inspector, MailClass, OwnMail};
use crate::lookup;
use crate::maillog::Log;
use crate::verify::Verifier;
use anyhow::{Context, Result};
use arc_swap::ArcSwap;
use message::recipients::InRecipient;
use policy::address::{AddressClass, Routing};
use policy::{Ask, DnsAnswer, DnsRecord, DnsStatus, Ledger, RecordType, Suspend, TableId};
use queue::{QueueId, QueueIdSource, Recovery, Spool};
use smtp::server::Notify;
use std::net::IpAddr;
use std::sync::Arc;

/// Start the delivery thread and hand it what the spool still holds.
pub fn start(
    site: &Arc<ArcSwap<Site>>,
    learnt: &Arc<Learnt>,
    spool: &Spool,
    recovery: Recovery,
    ids: &Arc<QueueIdSource>,
    log: &Log,
    verifier: &Arc<Verifier>,
) -> Result<DeliverHandle> {
    let dns = resolver(&site.load(), learnt);
    let lines: LogLine = {
        let log = log.clone();
        Arc::new(move |tag: &str, text: String| log.line(tag, &text))
    };
    let surroundings = Surroundings {
        spool: spool.clone(),
        ids: Arc::clone(ids),
        router: Arc::new(SiteRouter {
            site: Arc::clone(site),
            resolver: Arc::clone(&dns),
            inspector: Inspector { log: log.clone(), spool: spool.clone(), resolver: Arc::clone(&dns) },
        }),
        resolver: Arc::new(Lookups { resolver: dns, site: Arc::clone(site) }),
        log: lines,
        probed: {
            let verifier = Arc::clone(verifier);
            Arc::new(move |address: &str, found| verifier.probed(address, &found))
        },
    };
    let handle = deliver::start(config(site), surroundings).context("starting delivery")?;
    verifier.connect({
        let handle = handle.clone();
        Box::new(move |address| handle.probe(address))
    });
    for warning in &recovery.problems {
        log.warning("postfix/qmgr", warning);
    }
    for message in recovery.messages {
        handle.enqueue(message);
    }
    Ok(handle)
}

/// From now on, the site's new configuration.
pub fn reload(handle: &DeliverHandle, site: &Arc<ArcSwap<Site>>) {
    handle.reload(config(site));
}

fn config(site: &Arc<ArcSwap<Site>>) -> deliver::DeliverConfig {
    site.load().deliver.clone().with_dates(|unix| clock::mail_date(u64::try_from(unix).unwrap_or(0)))
}

/// Address resolution with the configuration of the moment.
struct SiteRouter {
    site: Arc<ArcSwap<Site>>,
    resolver: Arc<Resolver>,
    inspector: Inspector,
}

impl Router for SiteRouter {
    fn rewrite(&self, address: &str) -> String {
        self.site.load().routing.rewrite(address)
    }

    fn expand<'a>(&'a self, id: QueueId, recipient: &'a str) -> Pending<'a, Result<Expanded, Temporary>> {
        Box::pin(async move {
            let site = self.site.load_full();
            let given = InRecipient { address: recipient.to_owned(), notify: Notify::default(), orcpt: String::new() };
            let ended = || Temporary("look-up ended early".to_owned());
            let (expansion, _) = internal_mail::expand((&site, id), "", given).await.ok_or_else(ended)?;
            if let Some(refusal) = expansion.refusal {
                return Err(Temporary(refusal));
            }
            let recipients = internal_mail::queued(&expansion);
            let log = expansion.log.into_iter().map(|line| line.text.to_string());
            Ok(Expanded { recipients, log: log.collect() })
        })
    }

    fn inspect(&self, class: MailClass, mail: OwnMail) -> Option<Pending<'_, Result<Cleaned, Temporary>>> {
        let site = self.site.load_full();
        site.internal_mail.inspects(class).then(|| -> Pending<'_, _> {
            Box::pin(async move { self.inspector.inspect(&site, mail).await.map_err(Temporary) })
        })
    }

    fn route<'a>(&'a self, sender: &'a str, recipient: &'a str) -> Pending<'a, Result<Route, Temporary>> {
        Box::pin(async move {
            let site = self.site.load_full();
            self.resolve(&site.routing, &site, sender, recipient).await
        })
    }

    fn route_probe<'a>(&'a self, sender: &'a str, recipient: &'a str) -> Pending<'a, Result<Route, Temporary>> {
        Box::pin(async move {
            let site = self.site.load_full();
            self.resolve(&site.probe_routing, &site, sender, recipient).await
        })
    }

    fn lookup<'a>(&'a self, table: TableId, key: &'a str) -> Pending<'a, Result<Option<String>, Temporary>> {
        Box::pin(async move {
            let site = self.site.load_full();
            let found = lookup::find(&site.tables, table.0, key).await.map_err(|error| Temporary(error.to_string()))?;
            Ok(found.map(|value| value.to_string()))
        })
    }
}

impl SiteRouter {
    async fn resolve(&self, routing: &Routing, site: &Site, sender: &str, recipient: &str) -> Result<Route, Temporary> {
        let answerer = Answerer {
            tables: Arc::clone(&site.tables),
            resolver: Arc::clone(&self.resolver),
            peername_lookup: false,
            log: None,
            verifier: None,
            gateways: None,
        };
        let mut ledger = Ledger::default();
        loop {
            let mut world = answerer.clone();
            let mut ask = Ask { ledger: &mut ledger, world: &mut world };
            match routing.resolve(sender, recipient, &mut ask) {
                Ok(resolved) if resolved.flags.failed => {
                    let reason = resolved.warnings.join("; ");
                    return Err(Temporary(if reason.is_empty() { "address resolver failure".into() } else { reason }));
                }
                Ok(resolved) if resolved.flags.error => {
                    return Ok(Route {
                        transport: "error".to_owned(),
                        nexthop: "5.1.3 bad address syntax".to_owned(),
                        recipient: resolved.recipient,
                        is_local: false,
                    });
                }
                Ok(resolved) => {
                    return Ok(Route {
                        transport: resolved.transport,
                        nexthop: resolved.nexthop,
                        recipient: resolved.recipient,
                        is_local: resolved.class == AddressClass::Local,
                    });
                }
                Err(Suspend) => {
                    let pending = ledger.take_pending();
                    for (question, answer) in answerer.fetch_all(pending).await {
                        ledger.put(question, answer);
                    }
                }
            }
        }
    }
}

/// The DNS, and /etc/hosts where the configuration has `native`.
struct Lookups {
    resolver: Arc<Resolver>,
    site: Arc<ArcSwap<Site>>,
}

fn found<T>(answer: &DnsAnswer, records: Vec<T>) -> Found<T> {
    match answer.status {
        DnsStatus::Ok if !records.is_empty() => Found::Records(records),
        DnsStatus::Retry | DnsStatus::Policy => Found::Temporary(answer.reason.clone()),
        _ => Found::None(answer.reason.clone()),
    }
}

impl deliver::Resolver for Lookups {
    fn mx<'a>(&'a self, domain: &'a str) -> Pending<'a, Found<(u16, String)>> {
        Box::pin(async move {
            let answer = self.resolver.query(&domain.to_ascii_lowercase().into(), RecordType::Mx).await;
            if answer.status == DnsStatus::NullMx {
                return Found::Records(vec![(0, String::new())]);
            }
            let records = answer.records.iter().filter_map(|record| match record {
                DnsRecord::Mx(preference, host) => Some((*preference, host.to_string())),
                _ => None,
            });
            found(&answer, records.collect())
        })
    }

    fn addresses<'a>(&'a self, host: &'a str) -> Pending<'a, Found<IpAddr>> {
        Box::pin(async move {
            let host = host.to_ascii_lowercase();
            let site = self.site.load_full();
            let lookup = site.parameters.get("smtp_host_lookup");
            let known: Vec<IpAddr> = self.resolver.hosts().addresses_of(&host).collect();
            if lookup.contains("native") && !known.is_empty() {
                return Found::Records(known);
            }
            let name: Arc<str> = host.into();
            let (v4, v6) =
                tokio::join!(self.resolver.query(&name, RecordType::A), self.resolver.query(&name, RecordType::Aaaa));
            let addresses: Vec<IpAddr> = v4
                .records
                .iter()
                .chain(&v6.records)
                .filter_map(|record| if let DnsRecord::Address(address) = record { Some(*address) } else { None })
                .collect();
            if !addresses.is_empty() {
                return Found::Records(addresses);
            }
            // One family that can't be told now may still have an address.
            if v4.status == DnsStatus::Retry { found(&v4, Vec::new()) } else { found(&v6, Vec::new()).or(&v4) }
        })
    }
}

impl<T> Found<T> {
    /// A temporary failure as it is; else what the A query said, which is what Postfix logs.
    fn or(self, first: &DnsAnswer) -> Self {
        match self {
            Self::None(_) => Self::None(if first.reason.is_empty() {
                dns::failure_text("", RecordType::A, "Host not found")
            } else {
                first.reason.clone()
            }),
            other => other,
        }
    }
}
