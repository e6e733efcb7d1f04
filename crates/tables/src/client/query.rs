//! What all tables that run a query share: `query`, `domain`, `result_format` and `expansion_limit`.

use super::attributes::Attributes;
use super::domains::Domains;
use super::expansion::{Template, Values};
use crate::fold::fold_if;
use crate::open::OpenOptions;
use crate::spec::TableSpec;
use crate::watch::WatchedFile;
use crate::{Log, LookupError};
use config::Diagnostic;
use std::sync::Arc;

/// Longer results are refused.
const RESULT_LIMIT: usize = 1 << 20;

/// A query with what becomes of its results.
pub(super) struct Query {
    query: Template,
    result_format: Template,
    /// Only keys in these are asked.
    domains: Domains,
    expansion_limit: usize,
    fold: bool,
    /// As in `dict_mysql_lookup`, before the texts of errors.
    kind: Box<str>,
    name: Box<str>,
    spec: Box<str>,
    log: Option<Log>,
}

impl Query {
    /// With the query text taken from `query`, the attributes of this table.
    pub(super) fn read(
        spec: &TableSpec<'_>,
        options: &OpenOptions,
        attributes: &Attributes,
        query: &str,
        warnings: &mut Vec<Diagnostic>,
    ) -> Result<Self, Diagnostic> {
        // The name of old, in ldap tables.
        let old_name = || (spec.kind == "ldap").then(|| attributes.get("result_filter")).flatten();
        let result_format = attributes.get("result_format").or_else(old_name).unwrap_or_else(|| "%s".to_owned());
        Ok(Self {
            query: template(attributes, query)?,
            result_format: template(attributes, &result_format)?,
            domains: Domains::read(attributes, options, warnings)?,
            expansion_limit: attributes.number("expansion_limit", 0)?,
            fold: options.fold,
            kind: spec.kind.into(),
            name: spec.name.into(),
            spec: spec.spec.into(),
            log: options.log.clone(),
        })
    }

    /// The query for a key, its parts quoted; `None`: nothing is asked and nothing found.
    pub(super) fn text(&self, key: &str, quote: impl Fn(&str) -> String) -> Result<Option<String>, LookupError> {
        self.expand(&self.query, key, quote)
    }

    /// The same with another template.
    pub(super) fn expand(
        &self,
        template: &Template,
        key: &str,
        quote: impl Fn(&str) -> String,
    ) -> Result<Option<String>, LookupError> {
        let key = fold_if(self.fold, key);
        let values = Values::of(&key);
        if !self.domains.have(values.domain_of_user())? {
            return Ok(None);
        }
        Ok(template.expand(&values, &values, quote).filter(|query| !query.contains('\0')))
    }

    /// Files besides that of its attributes whose change means that the table is opened again.
    pub(super) fn files(&self) -> &[WatchedFile] {
        self.domains.files()
    }

    /// Does it depend on the key?
    pub(super) fn is_dynamic(&self) -> bool {
        self.query.is_dynamic()
    }

    /// The query for a harmless key, to see whether it can be understood.
    pub(super) fn text_for_any_key(&self) -> String {
        let values = Values::of("x@x.x.x.x.x.x.x.x.x");
        self.query.expand(&values, &values, str::to_owned).unwrap_or_default()
    }

    /// Something for the log.
    pub(super) fn note(&self, text: &str) {
        if let Some(log) = &self.log {
            log(text);
        }
    }

    /// A result under construction for a key.
    pub(super) fn results<'q>(&'q self, key: &'q str) -> Results<'q> {
        Results { query: self, key: fold_if(self.fold, key), text: String::new(), count: 0 }
    }

    /// A failure, told as Postfix does.
    pub(super) fn failure(&self, text: impl std::fmt::Display) -> LookupError {
        LookupError::new(format!("dict_{}_lookup: {}: {text}", self.kind, self.name))
    }
}

/// Values found so far, joined by commas.
pub(super) struct Results<'q> {
    query: &'q Query,
    key: std::borrow::Cow<'q, str>,
    text: String,
    count: usize,
}

impl Results<'_> {
    /// Another value.
    pub(super) fn add(&mut self, value: &str) -> Result<(), LookupError> {
        let Query { spec, log, .. } = self.query;
        if value.is_empty() {
            if let Some(log) = log {
                log(&format!("table \"{spec}\": empty lookup result for: \"{}\" -- ignored", self.key));
            }
            return Ok(());
        }
        let Some(text) = self.query.result_format.expand(&Values::of(value), &Values::of(&self.key), str::to_owned)
        else {
            return Ok(());
        };
        self.count += 1;
        if self.query.expansion_limit > 0 && self.count > self.query.expansion_limit {
            return Err(self.query.failure(format_args!("Expansion limit exceeded for key '{}'", self.key)));
        }
        if !self.text.is_empty() {
            self.text.push(',');
        }
        self.text.push_str(&text);
        if self.text.len() > RESULT_LIMIT {
            return Err(self.query.failure(format_args!("result is too large for key '{}'", self.key)));
        }
        Ok(())
    }

    /// What was found.
    pub(super) fn finish(self) -> Option<Arc<str>> {
        (!self.text.is_empty()).then(|| self.text.into())
    }
}

/// A template in an attribute.
pub(super) fn template(attributes: &Attributes, text: &str) -> Result<Template, Diagnostic> {
    Template::parse(text).map_err(|()| {
        let help = "write %s, %u, %d, %1 to %9 or their capitals after %, or %% for a percent sign";
        attributes.error(format!("Invalid query template: {text}"), help)
    })
}

/// The query of the days before `query`: `table`, `select_field`, `where_field`, `additional_conditions`.
pub(super) fn sql(attributes: &Attributes) -> Result<String, Diagnostic> {
    if let Some(query) = attributes.text("query") {
        return Ok(query);
    }
    let help = "set query to an SQL statement with '%s' for the key";
    let get = |name: &'static str| attributes.text(name).ok_or_else(|| attributes.missing(name, help));
    let (table, field, key) = (get("table")?, get("select_field")?, get("where_field")?);
    let more = attributes.get("additional_conditions").unwrap_or_default();
    Ok(format!("SELECT {field} FROM {table} WHERE {key}='%s' {more}"))
}
