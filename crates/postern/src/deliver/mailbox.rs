//! local(8) and virtual(8): mail into Maildirs and mailbox files.
//!
//! No name in an address leads out of the configured directories. Files are written and synced on a thread of the
//! blocking pool.

use super::agent::{Attempt, Request, now};
use super::config::{LocalSettings, VirtualSettings};
use super::outcome::Outcome;
use super::smtp_agent::error_text;
use super::{Surroundings, Temporary};
use queue::{Content, ContentSource, Recipient};
use smtp::address::quote_local;
use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A place for mail.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Mailbox {
    Maildir(PathBuf),
    File(PathBuf),
}

impl Mailbox {
    fn new(path: PathBuf, maildir: bool) -> Self {
        if maildir { Mailbox::Maildir(path) } else { Mailbox::File(path) }
    }

    /// What delivery would come to.
    fn promise(&self) -> &'static str {
        match self {
            Mailbox::Maildir(_) => "delivers to maildir",
            Mailbox::File(_) => "delivers to mailbox",
        }
    }
}

/// Delivers to users of this machine.
pub(super) async fn local(
    settings: &LocalSettings,
    surroundings: &Surroundings,
    tag: &str,
    request: &Request,
) -> Attempt {
    let mut attempt = Attempt::new(request);
    for (at, (index, address)) in request.recipients.iter().enumerate() {
        let user = address.rsplit_once('@').map_or(address.as_str(), |(user, _)| user);
        let outcome = match local_mailbox(settings, user) {
            Some(mailbox) => {
                let delivery = Delivery::new(request, *index, "local", &settings.myhostname, settings.size_limit);
                deliver(delivery, mailbox, surroundings, tag).await
            }
            None => Outcome::bounced("5.1.1", format!("unknown user: \"{}\"", user.to_ascii_lowercase()), "local"),
        };
        attempt.set(at, outcome);
    }
    attempt
}

/// Where the mail of a user goes, with and without an address extension.
fn local_mailbox(settings: &LocalSettings, user: &str) -> Option<Mailbox> {
    let user = user.to_ascii_lowercase();
    let bare = without_extension(&user, &settings.recipient_delimiter);
    // The Maildirs below one directory are ours: whoever local_recipient_maps lets in gets one.
    if settings.spool_is_maildir && settings.home_mailbox.is_empty() {
        return Some(Mailbox::Maildir(settings.mail_spool_directory.join(safe_name(bare)?)));
    }
    let known = |name: &str| safe_name(name).and_then(|name| nix::unistd::User::from_name(name).ok().flatten());
    let account = known(&user).or_else(|| known(bare))?;
    if settings.home_mailbox.is_empty() {
        let path = settings.mail_spool_directory.join(safe_name(&account.name)?);
        return Some(Mailbox::new(path, settings.spool_is_maildir));
    }
    let path = below(&account.dir, &settings.home_mailbox)?;
    Some(Mailbox::new(path, settings.home_mailbox.ends_with('/')))
}

/// A user name that is a file name and nothing else.
fn safe_name(name: &str) -> Option<&str> {
    let ok = !name.is_empty()
        && name.len() <= 200
        && !name.starts_with('.')
        && !name.contains('/')
        && !name.contains(char::is_control);
    ok.then_some(name)
}

/// A path below a directory; `None` if it would lead elsewhere.
fn below(base: &Path, path: &str) -> Option<PathBuf> {
    let path = Path::new(path.trim_start_matches('/'));
    let ok = path.components().all(|c| matches!(c, Component::Normal(_) | Component::CurDir))
        && path.components().next().is_some()
        && !path.to_string_lossy().contains(char::is_control);
    ok.then(|| base.join(path))
}

fn without_extension<'a>(user: &'a str, delimiters: &str) -> &'a str {
    // A delimiter in front is part of the name; so are those of names that mail systems need.
    if delimiters.is_empty() || matches!(user, "mailer-daemon" | "double-bounce") || user.starts_with("owner-") {
        return user;
    }
    match user.char_indices().skip(1).find(|(_, c)| delimiters.contains(*c)) {
        Some((at, _)) => &user[..at],
        None => user,
    }
}

/// Delivers to virtual mailboxes.
pub(super) async fn virtual_mailbox(
    settings: &VirtualSettings,
    surroundings: &Surroundings,
    tag: &str,
    request: &Request,
) -> Attempt {
    let mut attempt = Attempt::new(request);
    for (at, (index, address)) in request.recipients.iter().enumerate() {
        let outcome = match find_virtual(settings, surroundings, address).await {
            Ok(Some(value)) => match below(&settings.base, &value) {
                Some(path) if settings.base.is_absolute() && settings.base != Path::new("/") => {
                    let delivery = Delivery::new(request, *index, "virtual", &settings.myhostname, settings.size_limit);
                    deliver(delivery, Mailbox::new(path, value.ends_with('/')), surroundings, tag).await
                }
                _ => {
                    let text = format!("warning: recipient {address}: bad mailbox path {value}");
                    (surroundings.log)(tag, text);
                    Outcome::deferred("4.3.5", "mail system configuration error", "virtual")
                }
            },
            Ok(None) => Outcome::bounced("5.1.1", format!("unknown user: \"{address}\""), "virtual"),
            Err(Temporary(reason)) => {
                (surroundings.log)(tag, format!("warning: virtual_mailbox_maps: {reason}"));
                Outcome::deferred("4.3.5", "mail system configuration error", "virtual")
            }
        };
        attempt.set(at, outcome);
    }
    attempt
}

/// The mailbox of an address: with extension, without, or that of its domain.
async fn find_virtual(
    settings: &VirtualSettings,
    surroundings: &Surroundings,
    address: &str,
) -> Result<Option<String>, Temporary> {
    let address = address.to_ascii_lowercase();
    let (user, domain) = address.rsplit_once('@').unwrap_or((&address, ""));
    let bare = format!("{}@{domain}", without_extension(user, &settings.recipient_delimiter));
    let mut keys = vec![address.clone()];
    if bare != address {
        keys.push(bare);
    }
    keys.push(format!("@{domain}"));
    for key in keys {
        for table in &settings.maps {
            if let Some(value) = surroundings.router.lookup(*table, &key).await? {
                return Ok(Some(value));
            }
        }
    }
    Ok(None)
}

/// A message for one mailbox.
struct Delivery {
    request: Request,
    recipient: Recipient,
    relay: &'static str,
    myhostname: String,
    size_limit: u64,
}

impl Delivery {
    fn new(request: &Request, index: usize, relay: &'static str, myhostname: &str, size_limit: u64) -> Self {
        let recipient = request.message.envelope.recipients[index].clone();
        Delivery { request: request.clone(), recipient, relay, myhostname: myhostname.to_owned(), size_limit }
    }

    /// What delivery puts before the message.
    fn headers(&self) -> String {
        let mut out = String::new();
        let original = self.recipient.orig_to.as_deref().unwrap_or(&self.recipient.address);
        let _ = write!(
            out,
            "Return-Path: <{}>\nX-Original-To: {}\nDelivered-To: {}\n",
            quote_local(&self.request.message.envelope.sender),
            quote_local(original),
            quote_local(&self.recipient.address),
        );
        out
    }
}

async fn deliver(delivery: Delivery, mailbox: Mailbox, surroundings: &Surroundings, tag: &str) -> Outcome {
    let relay = delivery.relay;
    if delivery.request.is_probe {
        return Outcome::delivered(mailbox.promise(), relay);
    }
    let content = match &delivery.request.message.content {
        Content::Memory(bytes) => Ok(ContentSource::Memory(bytes.clone())),
        _ => surroundings.spool.content(delivery.request.id),
    };
    let content = match content {
        Ok(content) => content,
        Err(error) => {
            (surroundings.log)(tag, format!("warning: {}: {error}", delivery.request.id));
            return Outcome::deferred("4.3.0", "mail system error", relay);
        }
    };
    let written = tokio::task::spawn_blocking(move || write(&delivery, &mailbox, content)).await;
    let (outcome, warning) = written.unwrap_or_else(|_| (Outcome::deferred("4.3.0", "mail system error", relay), None));
    if let Some(warning) = warning {
        (surroundings.log)(tag, format!("warning: {warning}"));
    }
    outcome
}

/// What a write came to, and a warning for the log.
fn write(delivery: &Delivery, mailbox: &Mailbox, mut content: ContentSource) -> (Outcome, Option<String>) {
    let relay = delivery.relay;
    match is_loop(delivery, &mut content) {
        Ok(true) => {
            let text = format!("mail forwarding loop for {}", delivery.recipient.address);
            return (Outcome::bounced("5.4.6", text, relay), None);
        }
        Ok(false) => {}
        Err(error) => return (Outcome::deferred("4.3.0", format!("read message: {error}"), relay), None),
    }
    match mailbox {
        Mailbox::Maildir(path) => match into_maildir(delivery, path, &mut content) {
            Ok(()) => (Outcome::delivered("delivered to maildir", relay), None),
            Err((what, error)) => {
                let text = format!("{what}: {}", error_text(&error));
                let outcome = Outcome::deferred(disk_status(&error), format!("maildir delivery failed: {text}"), relay);
                (outcome, Some(format!("maildir access problem: {text}")))
            }
        },
        Mailbox::File(path) => match into_file(delivery, path, &mut content) {
            Ok(()) => (Outcome::delivered("delivered to mailbox", relay), None),
            Err((what, error)) if error.kind() == io::ErrorKind::FileTooLarge => {
                let text = format!("cannot update mailbox {}: {what}: File too large", path.display());
                (Outcome::bounced("5.2.2", text, relay), None)
            }
            Err((what, error)) => {
                let text = format!("delivery failed to mailbox {}: {what}: {}", path.display(), error_text(&error));
                (Outcome::deferred(disk_status(&error), text, relay), None)
            }
        },
    }
}

fn disk_status(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull => "4.3.0",
        io::ErrorKind::QuotaExceeded => "4.2.2",
        _ => "4.2.0",
    }
}

/// Was the message delivered to this recipient before? Its headers tell.
fn is_loop(delivery: &Delivery, content: &mut ContentSource) -> io::Result<bool> {
    let wanted = quote_local(&delivery.recipient.address).into_owned();
    let found = |line: &[u8]| {
        let (name, value) = line.split_at_checked("Delivered-To:".len()).unwrap_or_default();
        name.eq_ignore_ascii_case(b"Delivered-To:") && value.trim_ascii().eq_ignore_ascii_case(wanted.as_bytes())
    };
    match content {
        ContentSource::Memory(bytes) => Ok(queue::bounce::headers(bytes).split(|b| *b == b'\n').any(found)),
        ContentSource::File(file, _) => {
            let mut looped = false;
            for line in BufReader::new(&*file).take(1 << 20).split(b'\n') {
                let line = line?;
                if line.is_empty() {
                    break;
                }
                looped |= found(&line);
            }
            file.rewind()?;
            Ok(looped)
        }
    }
}

type Failed = (String, io::Error);

fn failed<'a>(what: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> Failed + 'a {
    move |error| (format!("{what} {}", path.display()), error)
}

/// tmp, sync, rename to new (maildir(5)).
fn into_maildir(delivery: &Delivery, maildir: &Path, content: &mut ContentSource) -> Result<(), Failed> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let micros = now();
    let name = format!(
        "{}.M{}P{}Q{}.{}",
        micros / 1_000_000,
        micros % 1_000_000,
        std::process::id(),
        COUNT.fetch_add(1, Ordering::Relaxed),
        delivery.myhostname.replace(['/', ':'], "_"),
    );
    let (tmp, new) = (maildir.join("tmp").join(&name), maildir.join("new").join(&name));
    let create = || OpenOptions::new().write(true).create_new(true).mode(0o600).open(&tmp);
    let file = match create() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            for sub in ["tmp", "new", "cur"] {
                let dir = maildir.join(sub);
                let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&dir);
                made.map_err(failed("create maildir", &dir))?;
            }
            create()
        }
        result => result,
    };
    let file = file.map_err(failed("create maildir file", &tmp))?;
    let stored = write_all(&file, delivery.headers().as_bytes(), content)
        .and_then(|()| file.sync_all())
        .map_err(failed("write maildir file", &tmp))
        .and_then(|()| fs::rename(&tmp, &new).map_err(failed("rename maildir file", &tmp)));
    if stored.is_err() {
        // What is left in tmp is nobody's mail; readers clean up after 36 hours.
        let _ = fs::remove_file(&tmp);
        return stored;
    }
    let dir = maildir.join("new");
    File::open(&dir).and_then(|d| d.sync_all()).map_err(failed("sync maildir", &dir))
}

fn write_all(mut file: &File, headers: &[u8], content: &mut ContentSource) -> io::Result<()> {
    match content {
        ContentSource::Memory(bytes) => {
            let whole = [headers, bytes].concat();
            file.write_all(&whole)
        }
        ContentSource::File(source, _) => {
            file.write_all(headers)?;
            io::copy(source, &mut file).map(|_| ())
        }
    }
}

/// Holds `MAILBOX.lock` while it lives.
struct DotLock(PathBuf);

impl DotLock {
    fn take(mailbox: &Path) -> Result<Self, Failed> {
        let mut path = mailbox.as_os_str().to_owned();
        path.push(".lock");
        let path = PathBuf::from(path);
        for _ in 0..10 {
            match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
                Ok(_) => return Ok(DotLock(path)),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    let age = fs::metadata(&path).and_then(|m| m.modified()).ok().and_then(|t| t.elapsed().ok());
                    if age.is_some_and(|age| age > Duration::from_secs(500)) {
                        // Its owner is gone (stale_lock_time); if another took it first, the next turn finds out.
                        let _ = fs::remove_file(&path);
                    } else {
                        std::thread::sleep(Duration::from_millis(500));
                    }
                }
                Err(error) => return Err(failed("unable to create lock file", &path)(error)),
            }
        }
        Err(failed("unable to create lock file", &path)(io::ErrorKind::AlreadyExists.into()))
    }
}

impl Drop for DotLock {
    fn drop(&mut self) {
        // Should it stay, it goes stale.
        let _ = fs::remove_file(&self.0);
    }
}

/// Appends to a mailbox file in mbox form, all or nothing.
fn into_file(delivery: &Delivery, path: &Path, content: &mut ContentSource) -> Result<(), Failed> {
    let _lock = DotLock::take(path)?;
    let mut open = OpenOptions::new();
    // Not through a link: whoever can put one there must not choose where mail goes.
    open.append(true).create(true).mode(0o600).custom_flags(nix::fcntl::OFlag::O_NOFOLLOW.bits());
    let file = open.open(path).map_err(failed("open", path))?;
    file.lock().map_err(failed("lock", path))?;
    let before = file.metadata().map_err(failed("stat", path))?.len();
    let size = delivery.request.message.envelope.size;
    if delivery.size_limit > 0 && before.saturating_add(size) > delivery.size_limit {
        return Err(("error writing message".into(), io::ErrorKind::FileTooLarge.into()));
    }
    let written = append(&file, delivery, content).and_then(|()| file.sync_all());
    written.map_err(|error| {
        // Half a message must not stay.
        let _ = file.set_len(before);
        failed("error writing message to", path)(error)
    })
}

fn append(file: &File, delivery: &Delivery, content: &mut ContentSource) -> io::Result<()> {
    let mut out = io::BufWriter::new(file);
    let sender = &delivery.request.message.envelope.sender;
    let sender = if sender.is_empty() { "MAILER-DAEMON" } else { sender };
    writeln!(out, "From {}  {}", quote_local(sender), ctime(now() / 1_000_000))?;
    out.write_all(delivery.headers().as_bytes())?;
    let mut last_newline = true;
    let mut line = |line: &[u8]| -> io::Result<()> {
        let unquoted = line.strip_prefix(b">").map_or(line, |_| line.trim_ascii_start());
        let stripped = unquoted.iter().position(|b| *b != b'>').map_or(&[][..], |at| &unquoted[at..]);
        if stripped.starts_with(b"From ") {
            out.write_all(b">")?;
        }
        last_newline = line.ends_with(b"\n");
        out.write_all(line)
    };
    match content {
        ContentSource::Memory(bytes) => bytes.split_inclusive(|b| *b == b'\n').try_for_each(&mut line)?,
        ContentSource::File(source, _) => {
            let mut reader = BufReader::new(&*source);
            let mut buffer = Vec::new();
            while reader.read_until(b'\n', &mut buffer)? > 0 {
                line(&buffer)?;
                buffer.clear();
            }
        }
    }
    if !last_newline {
        out.write_all(b"\n")?;
    }
    out.write_all(b"\n")?;
    out.flush()
}

/// As asctime(3) has it.
fn ctime(seconds: i64) -> String {
    let time = jiff::Timestamp::from_second(seconds).unwrap_or_default();
    time.to_zoned(jiff::tz::TimeZone::system()).strftime("%a %b %e %H:%M:%S %Y").to_string()
}

#[cfg(test)]
#[path = "mailbox_tests.rs"]
mod tests;
