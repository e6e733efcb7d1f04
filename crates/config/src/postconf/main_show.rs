//! `main.cf` parameters, as `postconf`, `-n`, `-d` and `-C` print them.

use std::collections::BTreeSet;

use super::{Output, View, fatal_expansion, fold, json_line};
use crate::registry;
use crate::usage::Class;

/// Prints what is asked for; the error is fatal.
pub(super) fn show(view: &View<'_>, output: &mut Output) -> Result<(), String> {
    if !view.options.names.is_empty() {
        for name in &view.options.names {
            // What somebody refers to but nobody defines isn't known.
            let undefined = is_user(view, name) && !view.parameters.is_set(name);
            if view.usage.class(name).is_none() || undefined || (view.options.defaults && is_user(view, name)) {
                output.warn(&format!("{name}: unknown parameter"));
            } else {
                show_one(view, name, output)?;
            }
        }
        return Ok(());
    }
    for name in all_names(view) {
        let class = view.usage.class(&name);
        let classes = view.options.classes;
        let wanted = match class {
            Some(Class::Builtin) => classes.builtin,
            Some(Class::Service) => classes.service,
            Some(Class::User) => classes.user,
            None => false,
        };
        if wanted {
            show_one(view, &name, output)?;
        }
    }
    Ok(())
}

fn is_user(view: &View<'_>, name: &str) -> bool {
    view.usage.class(name) == Some(Class::User)
}

fn all_names(view: &View<'_>) -> BTreeSet<String> {
    let mut names: BTreeSet<String> = view.parameters.settings().keys().map(|name| (*name).to_owned()).collect();
    if !view.options.explicit_only {
        names.extend(registry::all().iter().map(|parameter| parameter.name.to_owned()));
        names.extend(view.usage.service_names.keys().cloned());
    }
    names
}

fn show_one(view: &View<'_>, name: &str, output: &mut Output) -> Result<(), String> {
    let options = view.options;
    let set = view.parameters.is_set(name) && !registry::is_read_only(name);
    // A name that something refers to but that nothing sets has no value to show.
    if !set && (options.explicit_only || is_user(view, name)) {
        return Ok(());
    }
    let raw = view.parameters.raw(name);
    let literal = registry::find(name).is_some_and(|parameter| parameter.kind == registry::Kind::RawString);
    // what isn't shown needs no value
    let value = if options.expand && !literal && (options.json || !options.hide_values) {
        view.parameters.expand(&raw).map_err(|problem| fatal_expansion(&problem, output))?
    } else {
        raw
    };
    print(view, name, &value, output);
    Ok(())
}

/// Prints one name and value in the form that is asked for.
pub(super) fn print(view: &View<'_>, name: &str, value: &str, output: &mut Output) {
    let options = view.options;
    let out = &mut output.stdout;
    if options.json {
        out.push_str(&json_line(name, value));
    } else if options.hide_values {
        out.push_str(name);
        out.push('\n');
    } else if options.hide_names {
        fold::line("", value, options.fold, out);
    } else {
        fold::line("", &format!("{name} = {value}"), options.fold, out);
    }
}
