//! Our own authentication server: `smtpd_sasl_type = postern`. Accounts are in `postern_sasl_password_maps`, tokens in
//! `postern_sasl_oauth_maps`.
//!
//! An account that doesn't exist costs as much time as a wrong password, and is answered alike. Nobody is refused for
//! a table that can't be asked, or an entry that makes no sense: that is a temporary failure and a warning in the log.

mod bearer;
mod hashing;
mod scram;
mod stored;
#[cfg(test)]
mod tests;

pub use stored::Stored;

use super::dovecot::{Mechanism, Properties};
use super::secret;
use crate::answer::Answerer;
use crate::{base64, lookup};
use bearer::Bearer;
use scram::{Challenge, First, Refused};
use smtp::server::AuthAnswer;
use std::sync::{Arc, Mutex, PoisonError};
use stored::ScramKeys;
use subtle::ConstantTimeEq;

/// All mechanisms that there are.
pub const MECHANISMS: [&str; 4] = ["PLAIN", "LOGIN", "SCRAM-SHA-256", "OAUTHBEARER"];

/// Names and passwords may have so many bytes.
const NAME_LIMIT: usize = 255;
const PASSWORD_LIMIT: usize = 1024;

/// For the reply. fail2ban's filters know that nobody is to blame for this one.
const TROUBLE: &str = "Connection lost to authentication server";

/// Equal, in a time that doesn't tell where they differ.
fn is_same(one: &[u8], other: &[u8]) -> bool {
    one.ct_eq(other).into()
}

/// One table.
#[derive(Clone, Debug)]
pub struct Map {
    /// Its number.
    pub table: u32,
    /// As written.
    pub name: Arc<str>,
}

/// Who may log in, and how.
pub struct Accounts {
    /// `postern_sasl_password_maps`.
    pub passwords: Vec<Map>,
    /// `postern_sasl_oauth_maps`.
    pub tokens: Vec<Map>,
    /// `smtpd_sasl_local_domain`: the domain of names without one.
    pub local_domain: String,
    /// `postern_sasl_mechanisms`.
    pub mechanisms: Vec<Mechanism>,
    /// `postern_sasl_scram_iterations`: what accounts that don't exist have.
    pub scram_iterations: u32,
    /// The kind of hash that was seen last.
    decoy: Mutex<Stored>,
}

/// Nobody can tell now; the log says why.
struct Trouble;

impl Accounts {
    /// From the configuration. `mechanisms` are names from [`MECHANISMS`].
    pub fn new(passwords: Vec<Map>, tokens: Vec<Map>, mechanisms: &[&str]) -> Self {
        let mechanism = |name: &&str| {
            let properties = if *name == "SCRAM-SHA-256" { "mutual-auth" } else { "plaintext" };
            Mechanism { name: (*name).to_owned(), properties: Properties::of_words([properties]) }
        };
        Self {
            passwords,
            tokens,
            local_domain: String::new(),
            mechanisms: mechanisms.iter().map(mechanism).collect(),
            scram_iterations: 4096,
            decoy: Mutex::new(Stored::decoy()),
        }
    }

    /// The name that an account is known by: prepared (SASLprep, RFC 4013), in lower case, with a domain if names have one. `None`: no name. Brackets
    /// could make a log line look like one about another client, which fail2ban would believe.
    pub fn name(&self, given: &str) -> Option<String> {
        let is_odd = |c: char| c.is_control() || matches!(c, '[' | ']');
        let prepared = Some(given).filter(|given| given.len() <= NAME_LIMIT);
        let prepared = prepared.and_then(|given| stringprep::saslprep(given).ok())?;
        let is_name = !prepared.is_empty() && prepared.len() <= NAME_LIMIT && !prepared.contains(is_odd);
        let mut name = prepared.to_lowercase();
        if !name.contains('@') && !self.local_domain.is_empty() {
            name = format!("{name}@{}", self.local_domain);
        }
        is_name.then_some(name)
    }

    /// What the password tables have of an account.
    async fn stored(&self, world: &Answerer, account: &str) -> Result<Option<Stored>, Trouble> {
        let Some((value, map)) = find(world, &self.passwords, account, account).await? else { return Ok(None) };
        match Stored::parse(&value) {
            Ok(stored) => {
                self.decoy.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&stored);
                Ok(Some(stored))
            }
            Err(problem) => {
                warn(world, &format!("{}: entry of {account}: {problem}", map.name));
                Err(Trouble)
            }
        }
    }

    /// Is that the password of an account? It takes the same time without an account.
    async fn knows(&self, world: &Answerer, account: Option<&str>, password: Vec<u8>) -> Result<bool, Trouble> {
        let found = match account {
            Some(account) => self.stored(world, account).await?,
            None => None,
        };
        let is_there = found.is_some();
        let stored = found.unwrap_or_else(|| self.decoy.lock().unwrap_or_else(PoisonError::into_inner).clone());
        match hashing::run(move || is_either(&stored, &password)).await {
            Ok(is_right) => Ok(is_right && is_there),
            Err(hashing::Busy) => {
                warn(world, "SASL: too many logins at once: no time to look at a password");
                Err(Trouble)
            }
        }
    }

    async fn password_answer(&self, world: &Answerer, given: &str, password: Vec<u8>, acts: bool) -> AuthAnswer {
        if password.is_empty() || password.len() > PASSWORD_LIMIT || password.contains(&0) {
            return refused(self.name(given));
        }
        let account = self.name(given);
        match self.knows(world, account.as_deref(), password).await {
            Ok(is_right) => match account {
                Some(username) if is_right && acts => AuthAnswer::Success { username },
                account => refused(account),
            },
            Err(Trouble) => unavailable(),
        }
    }

    /// Keys for SCRAM: those of the account, or made up for it.
    async fn scram_keys(&self, world: &Answerer, account: &str) -> Result<ScramKeys, Trouble> {
        // Always made up, so that nobody can tell by the time it takes.
        let made_up = ScramKeys {
            iterations: self.scram_iterations,
            salt: secret::derive("salt", account)[..16].to_vec(),
            stored_key: secret::derive("stored key", account),
            server_key: secret::derive("server key", account),
        };
        match self.stored(world, account).await? {
            Some(Stored::Scram(keys)) => return Ok(keys),
            Some(_) => log(world, &format!("SASL: {account} has a password hash, but no keys for SCRAM-SHA-256")),
            None => {}
        }
        Ok(made_up)
    }

    /// Whose token is it?
    async fn bearer_answer(&self, world: &Answerer, bearer: &Bearer) -> Result<String, AuthAnswer> {
        // The key is a secret: no log may have it.
        let found = find(world, &self.tokens, &bearer.token, "a token").await.map_err(|Trouble| unavailable())?;
        let wanted = self.name(&bearer.authzid);
        let Some((value, _)) = found else { return Err(refused(wanted)) };
        let mut owners = value.split([',', ' ', '\t']).filter_map(|name| self.name(name));
        let owner = match &wanted {
            Some(wanted) => owners.find(|owner| owner == wanted),
            None if bearer.authzid.is_empty() => owners.next(),
            None => None,
        };
        owner.ok_or_else(|| refused(wanted))
    }
}

/// Is it this password, as it was typed or as SASLprep (RFC 4013) has it? Hashes were made of one or the other.
fn is_either(stored: &Stored, password: &[u8]) -> bool {
    let prepared = std::str::from_utf8(password).ok().and_then(|text| stringprep::saslprep(text).ok());
    let other = prepared.filter(|prepared| prepared.as_bytes() != password && !prepared.is_empty());
    stored.is(password) || other.is_some_and(|prepared| stored.is(prepared.as_bytes()))
}

/// The value of a key in the first table that has it.
async fn find<'m>(
    world: &Answerer,
    maps: &'m [Map],
    key: &str,
    shown: &str,
) -> Result<Option<(Arc<str>, &'m Map)>, Trouble> {
    for map in maps {
        match lookup::find(&world.tables, map.table, key).await {
            Ok(Some(value)) => return Ok(Some((value, map))),
            Ok(None) => {}
            Err(_) => {
                warn(world, &format!("{} lookup error for {shown:?}", map.name));
                return Err(Trouble);
            }
        }
    }
    Ok(None)
}

fn log(world: &Answerer, text: &str) {
    if let Some((log, tag)) = &world.log {
        log.line(tag, text);
    }
}

fn warn(world: &Answerer, text: &str) {
    log(world, &format!("warning: {text}"));
}

fn refused(username: Option<String>) -> AuthAnswer {
    AuthAnswer::Failure { username, reason: String::new() }
}

fn unavailable() -> AuthAnswer {
    AuthAnswer::Unavailable { reason: TROUBLE.to_owned() }
}

fn challenge(text: &str) -> AuthAnswer {
    AuthAnswer::Challenge(String::from_utf8(base64::encode(text.as_bytes())).unwrap_or_default())
}

/// A login under way: what it waits for.
pub enum Login {
    /// PLAIN's one message.
    Plain,
    /// LOGIN's name.
    Name,
    /// LOGIN's password.
    Password(String),
    /// SCRAM's first message.
    ScramFirst,
    /// SCRAM's last message.
    ScramFinal(String, Box<Challenge>),
    /// The client's word that it knows us, too.
    ScramEnd(String),
    /// OAUTHBEARER's one message.
    Bearer,
    /// The client's word that it has understood.
    BearerEnd(Option<String>),
}

impl Login {
    /// It begins, perhaps with the client's first message in base64.
    pub async fn start(
        accounts: &Accounts,
        world: &Answerer,
        mechanism: &str,
        response: Option<&str>,
    ) -> (AuthAnswer, Option<Self>) {
        let (login, prompt) = match mechanism.to_ascii_uppercase().as_str() {
            "PLAIN" => (Self::Plain, ""),
            "LOGIN" => (Self::Name, "Username:"),
            "SCRAM-SHA-256" => (Self::ScramFirst, ""),
            "OAUTHBEARER" => (Self::Bearer, ""),
            _ => return (refused(None), None),
        };
        match response {
            None => (challenge(prompt), Some(login)),
            Some(response) => login.go_on(accounts, world, response).await,
        }
    }

    /// The client's next message, in base64.
    pub async fn go_on(self, accounts: &Accounts, world: &Answerer, response: &str) -> (AuthAnswer, Option<Self>) {
        // `=` is an initial response that is empty.
        let message = if response == "=" { Some(Vec::new()) } else { base64::decode(response.as_bytes()) };
        let Some(message) = message else { return (refused(None), None) };
        match self {
            Self::Plain => (plain(accounts, world, &message).await, None),
            Self::Name => match String::from_utf8(message) {
                Ok(name) if name.len() <= NAME_LIMIT => (challenge("Password:"), Some(Self::Password(name))),
                _ => (refused(None), None),
            },
            Self::Password(name) => (accounts.password_answer(world, &name, message, true).await, None),
            Self::ScramFirst => scram_first(accounts, world, &message).await,
            Self::ScramFinal(account, challenged) => match challenged.answer(&message) {
                Some(text) => (challenge(&text), Some(Self::ScramEnd(account))),
                None => (refused(Some(account)), None),
            },
            Self::ScramEnd(username) if message.is_empty() => (AuthAnswer::Success { username }, None),
            Self::ScramEnd(username) => (refused(Some(username)), None),
            Self::Bearer => bearer_step(accounts, world, &message).await,
            Self::BearerEnd(username) => (refused(username), None),
        }
    }
}

/// `[authzid] NUL authcid NUL password` (RFC 4616).
async fn plain(accounts: &Accounts, world: &Answerer, message: &[u8]) -> AuthAnswer {
    let mut parts = message.splitn(3, |&byte| byte == 0);
    let (Some(authzid), Some(name), Some(password)) = (parts.next(), parts.next(), parts.next()) else {
        return refused(None);
    };
    let (Ok(authzid), Ok(name)) = (std::str::from_utf8(authzid), std::str::from_utf8(name)) else {
        return refused(None);
    };
    // Nobody acts for somebody else.
    let acts = authzid.is_empty() || accounts.name(authzid) == accounts.name(name);
    accounts.password_answer(world, name, password.to_vec(), acts).await
}

async fn scram_first(accounts: &Accounts, world: &Answerer, message: &[u8]) -> (AuthAnswer, Option<Login>) {
    let first = match First::parse(message) {
        Ok(first) => first,
        Err(Refused::Malformed) => return (refused(None), None),
        Err(Refused::Binding) => {
            let reason = "Channel binding is not supported".to_owned();
            return (AuthAnswer::Failure { username: None, reason }, None);
        }
    };
    let Some(account) = accounts.name(&first.username) else { return (refused(None), None) };
    if !first.authzid.is_empty() && accounts.name(&first.authzid).as_ref() != Some(&account) {
        return (refused(Some(account)), None);
    }
    let mut bytes = [0; 18];
    if getrandom::fill(&mut bytes).is_err() {
        return (unavailable(), None);
    }
    let nonce = String::from_utf8(base64::encode(&bytes)).unwrap_or_default();
    match accounts.scram_keys(world, &account).await {
        Ok(keys) => {
            let (text, challenged) = Challenge::new(&first, keys, &nonce);
            (challenge(&text), Some(Login::ScramFinal(account, Box::new(challenged))))
        }
        Err(Trouble) => (unavailable(), None),
    }
}

async fn bearer_step(accounts: &Accounts, world: &Answerer, message: &[u8]) -> (AuthAnswer, Option<Login>) {
    let Some(bearer) = Bearer::parse(message) else { return (refused(None), None) };
    match accounts.bearer_answer(world, &bearer).await {
        Ok(username) => (AuthAnswer::Success { username }, None),
        Err(AuthAnswer::Failure { username, .. }) => (challenge(bearer::INVALID), Some(Login::BearerEnd(username))),
        Err(other) => (other, None),
    }
}
