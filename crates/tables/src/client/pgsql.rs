//! `pgsql:` tables (pgsql_table(5)).

mod tls;
mod uri;

use super::attributes::{Attributes, Read};
use super::exchange::Exchange;
use super::pool::{Connection, Failure, Ranked};
use super::query::{self, Query};
use super::sql::{self, Host, Rows, Session, Sql};
use crate::open::{OpenFailure, OpenOptions, Opened, io_text};
use crate::spec::TableSpec;
use crate::watch::WatchedFile;
use config::{Diagnostic, table_attributes};
use futures_util::StreamExt;
use std::error::Error as _;
use std::pin::pin;
use std::sync::Arc;
use std::time::Instant;
use tls::Tls;
use tokio_postgres::config::SslMode;
use tokio_postgres::{Client, Config, SimpleQueryMessage};

/// Where to connect to, and how.
pub(super) struct Server {
    /// For errors: never with a password.
    name: String,
    config: Config,
    tls: Tls,
}

/// A connection to PostgreSQL.
pub(super) struct Postgres {
    exchange: Exchange,
    client: Client,
    name: String,
    /// `standard_conforming_strings`: a backslash is an ordinary character.
    standard_strings: bool,
}

impl Connection for Postgres {
    type Server = Server;

    fn connect(server: &Server, deadline: Instant) -> Result<Self, String> {
        let failed = |text: String| format!("connect to pgsql server {}: {text}", server.name);
        let exchange = Exchange::new().map_err(failed)?;
        let connected = exchange.until(deadline, async {
            let (client, connection) = server.config.connect(server.tls.clone()).await?;
            let standard_strings = connection.parameter("standard_conforming_strings") == Some("on");
            tokio::spawn(connection);
            Ok((client, standard_strings))
        });
        match connected {
            Some(Ok((client, standard_strings))) => {
                Ok(Self { exchange, client, name: server.name.clone(), standard_strings })
            }
            Some(Err(error)) => Err(failed(text_of(&error))),
            None => Err(failed("no answer in time".to_owned())),
        }
    }
}

impl Session for Postgres {
    fn quote(&self, text: &str) -> String {
        quote(text, self.standard_strings)
    }

    fn rows(&mut self, query: &str, deadline: Instant) -> Result<Rows, Failure> {
        let answer = self.exchange.until(deadline, rows(&self.client, query));
        match answer {
            Some(Ok(rows)) => Ok(rows),
            Some(Err(Trouble::Rows(failure))) => Err(failure),
            Some(Err(Trouble::Postgres(error))) => Err(self.failure(&error)),
            None => Err(Failure::Broken(format!("pgsql query failed: no answer in time from host {}", self.name))),
        }
    }
}

impl Postgres {
    fn failure(&self, error: &tokio_postgres::Error) -> Failure {
        let text = format!("pgsql query failed: fatal error from host {}: {}", self.name, text_of(error));
        match error.as_db_error() {
            // FATAL and PANIC end the connection.
            Some(told) if told.severity() == "ERROR" => Failure::Refused(text),
            _ => Failure::Broken(text),
        }
    }
}

/// What may go wrong with a query.
enum Trouble {
    Postgres(tokio_postgres::Error),
    Rows(Failure),
}

/// The rows of the last statement.
async fn rows(client: &Client, query: &str) -> Result<Rows, Trouble> {
    let mut messages = pin!(client.simple_query_raw(query).await.map_err(Trouble::Postgres)?);
    let mut rows = Rows::default();
    while let Some(message) = messages.next().await {
        match message.map_err(Trouble::Postgres)? {
            SimpleQueryMessage::RowDescription(_) => rows.clear(),
            SimpleQueryMessage::Row(row) => {
                for column in 0..row.len() {
                    let value = row.try_get(column).map_err(Trouble::Postgres)?;
                    // libpq shows NULL as an empty text.
                    rows.add(Some(value.unwrap_or_default().to_owned())).map_err(Trouble::Rows)?;
                }
            }
            _ => {}
        }
    }
    Ok(rows)
}

/// As PQescapeStringConn() does.
fn quote(text: &str, standard_strings: bool) -> String {
    let quoted = text.replace('\'', "''");
    if standard_strings { quoted } else { quoted.replace('\\', "\\\\") }
}

/// An error in libpq's manner, on one line.
fn text_of(error: &tokio_postgres::Error) -> String {
    if let Some(told) = error.as_db_error() {
        return format!("{}:  {}", told.severity(), told.message().replace('\n', " "));
    }
    match error.source() {
        Some(source) => match source.downcast_ref::<std::io::Error>() {
            Some(io) => io_text(io),
            None => source.to_string(),
        },
        None => error.to_string(),
    }
}

/// Open a table from its file of attributes, or from `NAME_hosts` and so on in main.cf.
pub(super) fn open(spec: &TableSpec<'_>, options: &OpenOptions) -> Result<Opened, OpenFailure> {
    let Read { attributes, mut files, mut warnings } = Attributes::read(spec, options)?;
    warnings.extend(attributes.unknown(table_attributes("pgsql")));
    match build(spec, options, &attributes, &mut warnings) {
        Ok((table, more)) => {
            files.extend(more);
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
    warnings: &mut Vec<Diagnostic>,
) -> Result<(Sql<Postgres>, Vec<WatchedFile>), Diagnostic> {
    let hosts = sql::hosts(attributes)?;
    if attributes.text("dbname").is_none() && !hosts.iter().all(|host| matches!(host, Host::Uri(_))) {
        return Err(attributes.missing("dbname", "set dbname to the name of the database"));
    }
    if let Some(encoding) = attributes.text("encoding")
        && !matches!(encoding.to_ascii_uppercase().as_str(), "UTF8" | "UTF-8" | "UNICODE" | "AUTO")
    {
        let help = "drop this line: keys are UTF-8, and the server converts from and to its own encoding";
        return Err(attributes.error(format!("unsupported encoding: {encoding}"), help));
    }
    let text = match (attributes.text("query"), attributes.text("select_function")) {
        (None, Some(function)) => format!("SELECT {function}('%s')"),
        _ => query::sql(attributes)?,
    };
    let query = Query::read(spec, options, attributes, &text, warnings)?;
    let (mut servers, mut files) = (Vec::new(), Vec::new());
    for host in &hosts {
        let (server, mut more) = server(host, attributes, options)?;
        files.append(&mut more);
        servers.push(Ranked { rank: usize::from(!matches!(host, Host::Unix(_))), server });
    }
    Ok((Sql { query, pool: sql::pool(attributes, servers)? }, files))
}

/// The server that a member of `hosts` names.
fn server(
    host: &Host,
    attributes: &Attributes,
    options: &OpenOptions,
) -> Result<(Server, Vec<WatchedFile>), Diagnostic> {
    let mut config = Config::new();
    let (name, tls, files) = match host {
        Host::Uri(text) => {
            let uri = uri::Uri::parse(text).map_err(|error| {
                let text = format!("bad server in hosts: {}: {error}", uri::without_password(text));
                attributes.error(text, "write postgresql://user@host:port/database?sslmode=verify-full")
            })?;
            let files = uri.files(options);
            config = uri.config;
            (uri.name, Tls::new(files.config(uri.check, attributes)?), files.watched().collect())
        }
        Host::Unix(path) => {
            config.host_path(path).port(5432).ssl_mode(SslMode::Disable);
            (
                path.clone(),
                Tls::new(super::tls::Files::default().config(super::tls::Check::Nothing, attributes)?),
                Vec::new(),
            )
        }
        Host::Inet(name, port) => {
            config.host(name).port(port.unwrap_or(5432)).ssl_mode(SslMode::Prefer);
            let shown = port.map_or(name.clone(), |port| format!("{name}:{port}"));
            (shown, Tls::new(super::tls::Files::default().config(super::tls::Check::Nothing, attributes)?), Vec::new())
        }
    };
    let set = |name: &str, missing: bool| attributes.text(name).filter(|_| missing);
    if let Some(user) = set("user", config.get_user().is_none()) {
        config.user(user);
    }
    if let Some(password) = set("password", config.get_password().is_none()) {
        config.password(password);
    }
    if let Some(dbname) = set("dbname", config.get_dbname().is_none()) {
        config.dbname(dbname);
    }
    Ok((Server { name, config, tls }, files))
}

#[cfg(test)]
#[path = "pgsql/tests.rs"]
mod tests;
