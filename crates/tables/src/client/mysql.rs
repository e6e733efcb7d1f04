//! `mysql:` tables (mysql_table(5)), for MySQL and MariaDB.

use super::attributes::{Attributes, Read};
use super::exchange::Exchange;
use super::pool::{Connection, Failure, Ranked};
use super::query::{self, Query};
use super::sql::{self, Host, Rows, Session, Sql};
use super::tls::Files;
use crate::open::{OpenFailure, OpenOptions, Opened, io_text};
use crate::spec::TableSpec;
use config::{Diagnostic, table_attributes};
use mysql_async::prelude::Queryable;
use mysql_async::{ClientIdentity, Conn, Error, IoError, Opts, OptsBuilder, SslOpts, Value};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

/// Where servers put their socket: Debian, others.
const SOCKETS: [&str; 3] = ["/run/mysqld/mysqld.sock", "/var/lib/mysql/mysql.sock", "/tmp/mysql.sock"];

/// In these, the second byte of a character may be a backslash, so that escaped text in another encoding might not be
/// what it seems.
const UNSAFE_CHARSETS: [&str; 5] = ["big5", "cp932", "gb18030", "gbk", "sjis"];

/// The escapes of `quote` must mean what they say, whatever the server's settings are.
const BACKSLASHES_ESCAPE: &str = "SET SESSION sql_mode = REPLACE(@@SESSION.sql_mode, 'NO_BACKSLASH_ESCAPES', '')";

/// Packets of the server may not be larger, in bytes.
const PACKET_LIMIT: usize = 4 << 20;

/// Where to connect to, and how.
pub(super) struct Server {
    /// For errors.
    name: String,
    opts: Opts,
    require_result_set: bool,
}

/// A connection to MySQL.
pub(super) struct Mysql {
    exchange: Exchange,
    /// `None` only while it is dropped.
    conn: Option<Conn>,
    name: String,
    require_result_set: bool,
}

impl Connection for Mysql {
    type Server = Server;

    fn connect(server: &Server, deadline: Instant) -> Result<Self, String> {
        let failed = |text: String| format!("connect to mysql server {}: {text}", server.name);
        let exchange = Exchange::new().map_err(failed)?;
        match exchange.until(deadline, Conn::new(server.opts.clone())) {
            Some(Ok(conn)) => Ok(Self {
                exchange,
                conn: Some(conn),
                name: server.name.clone(),
                require_result_set: server.require_result_set,
            }),
            Some(Err(error)) => Err(failed(text_of(&error))),
            None => Err(failed("no answer in time".to_owned())),
        }
    }
}

impl Session for Mysql {
    fn quote(&self, text: &str) -> String {
        quote(text)
    }

    fn rows(&mut self, query: &str, deadline: Instant) -> Result<Rows, Failure> {
        let Self { exchange, conn: Some(conn), name, require_result_set } = self else {
            return Err(Failure::Broken("mysql query failed: connection is closed".to_owned()));
        };
        match exchange.until(deadline, rows(conn, query, *require_result_set)) {
            Some(answer) => answer,
            None => Err(Failure::Broken(format!("mysql query failed: no answer in time from host {name}"))),
        }
    }
}

impl Drop for Mysql {
    /// A server counts and logs clients that leave without a word.
    fn drop(&mut self) {
        if let Some(conn) = self.conn.take() {
            self.exchange.without_waiting(conn.disconnect());
        }
    }
}

/// The rows of the query's one result set.
async fn rows(conn: &mut Conn, query: &str, require_result_set: bool) -> Result<Rows, Failure> {
    let mut result = conn.query_iter(query).await.map_err(|error| failure(&error))?;
    let mut rows = Rows::default();
    let found = !result.columns_ref().is_empty();
    while let Some(row) = result.next().await.map_err(|error| failure(&error))? {
        for value in row.unwrap() {
            rows.add(text(value))?;
        }
    }
    // A procedure's own status comes after its rows, as a set without columns.
    while !result.is_empty() {
        if !result.columns_ref().is_empty() {
            let text = "mysql query failed: multiple result sets returning data are not supported";
            return Err(Failure::Refused(text.to_owned()));
        }
        result.next().await.map_err(|error| failure(&error))?;
    }
    if !found && require_result_set {
        let text = "mysql query failed: query returned no result set (require_result_set = yes)";
        return Err(Failure::Refused(text.to_owned()));
    }
    Ok(rows)
}

fn text(value: Value) -> Option<String> {
    match value {
        Value::NULL => None,
        Value::Bytes(bytes) => Some(String::from_utf8_lossy(&bytes).into_owned()),
        // Not sent in answer to queries as text.
        other => Some(other.as_sql(true)),
    }
}

/// As mysql_real_escape_string() does, with backslashes.
fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '\0' => quoted.push_str("\\0"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\u{1a}' => quoted.push_str("\\Z"),
            '\\' | '\'' | '"' => quoted.extend(['\\', letter]),
            letter => quoted.push(letter),
        }
    }
    quoted
}

fn failure(error: &Error) -> Failure {
    let text = format!("mysql query failed: {}", text_of(error));
    match error {
        // "Server shutdown in progress", "Connection was killed".
        Error::Server(told) if !matches!(told.code, 1053 | 1927 | 1077..=1080) => Failure::Refused(text),
        _ => Failure::Broken(text),
    }
}

/// An error's text in the manner of mysql_error(), which knows no passwords.
fn text_of(error: &Error) -> String {
    match error {
        Error::Server(told) => told.message.replace('\n', " "),
        Error::Io(IoError::Io(io)) => io_text(io),
        Error::Io(IoError::Tls(tls)) => tls.to_string(),
        Error::Driver(driver) => driver.to_string(),
        Error::Other(_) | Error::Url(_) => "the server's answer was not understood".to_owned(),
    }
}

/// Open a table from its file of attributes, or from `NAME_hosts` and so on in main.cf.
pub(super) fn open(spec: &TableSpec<'_>, options: &OpenOptions) -> Result<Opened, OpenFailure> {
    let Read { attributes, mut files, mut warnings } = Attributes::read(spec, options)?;
    warnings.extend(attributes.unknown(table_attributes("mysql")));
    let tls = tls_files(&attributes, options);
    files.extend(tls.watched());
    match build(spec, options, &attributes, &tls, &mut warnings) {
        Ok(table) => {
            files.extend_from_slice(table.query.files());
            Ok(Opened { table: Arc::new(table), warnings, files })
        }
        Err(diagnostic) => Err(OpenFailure { diagnostics: vec![diagnostic], files }),
    }
}

fn build(
    spec: &TableSpec<'_>,
    options: &OpenOptions,
    attributes: &Attributes,
    tls: &Files,
    warnings: &mut Vec<Diagnostic>,
) -> Result<Sql<Mysql>, Diagnostic> {
    refuse_option_files(attributes)?;
    let help = "set dbname to the name of the database";
    let dbname = attributes.text("dbname").ok_or_else(|| attributes.missing("dbname", help))?;
    let charset = charset(attributes)?;
    let query = Query::read(spec, options, attributes, &query::sql(attributes)?, warnings)?;
    let require_result_set = attributes.switch("require_result_set", true)?;
    let secured = secured(attributes, tls)?;
    let servers = sql::hosts(attributes)?.into_iter().map(|host| {
        let (name, rank, opts) = place(host, attributes)?;
        let opts = opts
            .db_name(Some(dbname.as_str()))
            .user(attributes.text("user").or_else(own_name))
            .pass(attributes.text("password"))
            .init(vec![BACKSLASHES_ESCAPE.to_owned(), format!("SET NAMES {charset}")])
            .ssl_opts(secured.clone())
            .stmt_cache_size(0)
            .prefer_socket(false)
            // What is set need not be asked of the server.
            .max_allowed_packet(Some(PACKET_LIMIT))
            .wait_timeout(Some(28800));
        Ok(Ranked { rank, server: Server { name, opts: opts.into(), require_result_set } })
    });
    let servers = servers.collect::<Result<_, Diagnostic>>()?;
    Ok(Sql { query, pool: sql::pool(attributes, servers)? })
}

/// A member of `hosts`: its name, its rank (sockets first), and how to get there.
fn place(host: Host, attributes: &Attributes) -> Result<(String, usize, OptsBuilder), Diagnostic> {
    let opts = OptsBuilder::default();
    Ok(match host {
        Host::Unix(path) => (path.clone(), 0, opts.socket(Some(path))),
        // As MySQL's own library does.
        Host::Inet(name, _) if name.eq_ignore_ascii_case("localhost") => {
            let socket = SOCKETS.iter().find(|path| Path::new(path).exists()).unwrap_or(&SOCKETS[0]);
            (name, 0, opts.socket(Some(*socket)))
        }
        Host::Inet(name, port) => {
            let shown = port.map_or(name.clone(), |port| format!("{name}:{port}"));
            (shown, 1, opts.ip_or_hostname(name).tcp_port(port.unwrap_or(3306)))
        }
        Host::Uri(_) => {
            let help = "write unix:/path, host, host:port or inet:host:port";
            return Err(attributes.error("bad server in hosts: postgresql:// is for pgsql tables", help));
        }
    })
}

/// Who we are, for servers that know it from the socket.
fn own_name() -> Option<String> {
    nix::unistd::User::from_uid(nix::unistd::geteuid()).ok().flatten().map(|user| user.name)
}

fn refuse_option_files(attributes: &Attributes) -> Result<(), Diagnostic> {
    let help = "write user, password, tls_* and the like into this file, and drop the line: MySQL's option files are \
                not read";
    if let Some(file) = attributes.text("option_file") {
        return Err(attributes.error(format!("unsupported: option_file = {file}"), help));
    }
    match attributes.text("option_group") {
        Some(group) if group != "client" => Err(attributes.error(format!("unsupported: option_group = {group}"), help)),
        _ => Ok(()),
    }
}

fn charset(attributes: &Attributes) -> Result<String, Diagnostic> {
    let charset = attributes.text("charset").unwrap_or_else(|| "utf8mb4".to_owned()).to_ascii_lowercase();
    let is_name = charset.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_');
    if is_name && !UNSAFE_CHARSETS.contains(&charset.as_str()) {
        return Ok(charset);
    }
    let help = "drop this line: keys are UTF-8, and the server converts from and to its own character sets";
    Err(attributes.error(format!("unsupported charset: {charset}"), help))
}

fn tls_files(attributes: &Attributes, options: &OpenOptions) -> Files {
    let path = |name: &str| attributes.text(name).map(|path| options.path(&path));
    Files {
        ca_file: path("tls_CAfile"),
        ca_directory: path("tls_CApath"),
        certificate: path("tls_cert_file"),
        key: path("tls_key_file"),
    }
}

/// TLS, when anything of it is set.
fn secured(attributes: &Attributes, files: &Files) -> Result<Option<SslOpts>, Diagnostic> {
    if let Some(ciphers) = attributes.text("tls_ciphers") {
        let help = "drop this line: connections have TLS 1.2 or 1.3 with the ciphers of rustls, all of them strong";
        return Err(attributes.error(format!("unsupported: tls_ciphers = {ciphers}"), help));
    }
    let verify = attributes.switch("tls_verify_cert", false)?;
    let Files { ca_file, ca_directory, certificate, key } = files;
    if !verify && [ca_file, ca_directory, certificate, key].iter().all(|file| file.is_none()) {
        return Ok(None);
    }
    let mut opts = SslOpts::default();
    // Whether they can be read is found out here, not at the first look-up.
    let check = if verify { super::tls::Check::IssuerAndName } else { super::tls::Check::Nothing };
    files.config(check, attributes)?;
    if verify {
        let authorities = files.authorities().map_err(|text| attributes.error(text, "correct tls_CAfile"))?;
        let authorities = authorities.into_iter().map(|der| der.to_vec().into()).collect();
        opts = opts.with_root_certs(authorities).with_disable_built_in_roots(true);
    } else {
        opts = opts.with_danger_accept_invalid_certs(true);
    }
    let identity = certificate.as_ref().map(|certificate| {
        let key = key.as_ref().unwrap_or(certificate);
        ClientIdentity::new(certificate.clone().into(), key.clone().into())
    });
    Ok(Some(opts.with_client_identity(identity)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::open;

    #[test]
    fn quotes() {
        for (text, quoted) in [
            ("a@b", "a@b"),
            ("o'k", "o\\'k"),
            ("\\' or 1=1 -- \"", "\\\\\\' or 1=1 -- \\\""),
            ("\u{bf}'", "\u{bf}\\'"),
            ("a\nb\r\u{1a}\0", "a\\nb\\r\\Z\\0"),
        ] {
            assert_eq!(quote(text), quoted);
        }
    }

    #[test]
    fn what_cannot_be_honoured_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        for (text, message) in [
            ("query=x", "bad string length 0 < 1: dbname ="),
            ("dbname=d", "bad string length 0 < 1: table ="),
            ("dbname=d\nquery=x\noption_file=/etc/my.cnf", "unsupported: option_file = /etc/my.cnf"),
            ("dbname=d\nquery=x\noption_group=postfix", "unsupported: option_group = postfix"),
            ("dbname=d\nquery=x\ncharset=GBK", "unsupported charset: gbk"),
            ("dbname=d\nquery=x\ncharset=utf8; drop table", "unsupported charset: utf8; drop table"),
            ("dbname=d\nquery=x\ntls_ciphers=ALL", "unsupported: tls_ciphers = ALL"),
            ("dbname=d\nquery=x\ntls_CAfile=/none\ntls_verify_cert=yes", "open /none: No such file or directory"),
            ("dbname=d\nquery=x\nhosts=postgresql://h/d", "bad server in hosts: postgresql:// is for pgsql tables"),
            ("dbname=d\nquery=x\nidle_interval=soon", "bad numerical configuration: idle_interval = soon"),
        ] {
            std::fs::write(dir.path().join("t.cf"), text).unwrap();
            let errors = open("mysql:./t.cf", &OpenOptions::new(dir.path())).err().expect("refused");
            assert_eq!(errors[0].message, format!("./t.cf: {message}"), "{text}");
            assert!(errors[0].help.is_some() && errors[0].span.is_some(), "{errors:?}");
        }
    }

    #[test]
    fn hosts_come_with_ranks() {
        let dir = tempfile::tempdir().unwrap();
        let mut options = OpenOptions::new(dir.path());
        options.parameter = Some(Arc::new(|name: &str| match name {
            "t_hosts" => Some("inet:db1, unix:/s localhost [::1]:3307".to_owned()),
            _ => None,
        }));
        let read = Attributes::read(&TableSpec::parse("mysql:t").unwrap(), &options).ok().unwrap();
        let places = sql::hosts(&read.attributes).unwrap().into_iter();
        let places: Vec<_> = places.map(|host| place(host, &read.attributes).unwrap()).collect();
        let places: Vec<_> = places.iter().map(|(name, rank, _)| (name.as_str(), *rank)).collect();
        assert_eq!(places, [("db1", 1), ("/s", 0), ("localhost", 0), ("::1:3307", 1)]);
    }
}
