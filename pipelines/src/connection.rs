//! Connections: in `syncset.yaml`, and inline as the `source` or `target` of a pipeline.

use crate::fields::{Fields, text, wrong_type};
use crate::interpolate::interpolate;
use crate::nearest::{listed, nearest};
use crate::problem::{Lookup, Place, Problems};
use crate::read_replica::{READ_REPLICA, replica_of};
use crate::spec::ConnectionSpec;
use crate::unsupported;
use crate::yaml::{Entry, Node, Value};
use std::collections::BTreeMap;
use std::path::Path;
use syncset_connector::{ConnectorInfo, Secret, Settings};

/// What a connection is read with.
pub(crate) struct Context<'a> {
    /// The file, as printed.
    pub(crate) path: &'a str,
    /// The project folder.
    pub(crate) base: &'a Path,
    /// The connectors there are.
    pub(crate) catalog: &'a [&'static ConnectorInfo],
    /// Values of `${...}`.
    pub(crate) lookup: &'a Lookup<'a>,
}

/// Types that later versions will have.
const LATER_KINDS: [&str; 1] = ["google_sheets"];

/// What to write instead of the form that shells have.
const VARIABLE_FORM: &str = "a variable is written `${NAME}`, with braces";

/// What is wrong with a URL whose password ends before its end.
const BARE_SIGN: &str = "the URL holds a sign that ends its user and password too early";

/// What to do about it.
const ENCODED_SIGNS: &str = "in a user or a password write `#` as `%23`, `/` as `%2F`, `?` as `%3F`, \
     `@` as `%40` and `%` as `%25`; or give `host`, `user` and `password` as keys of their own";

/// An example that fits every wrong connection.
const EXAMPLE: &str = "crm: { type: postgres, url: \"${CRM_URL}\" }";

impl Context<'_> {
    /// Reads a connection: a URL, or a mapping with `type` or `url`.
    pub(crate) fn connection(
        &self,
        name: &str,
        node: &Node,
        problems: &mut Problems,
    ) -> Option<ConnectionSpec> {
        match &node.value {
            Value::Scalar { text, .. } => {
                let url = self.fill(text, node.place, problems)?;
                self.url_connection(name, url, node.place, problems)
            }
            Value::Map(entries) => self.map_connection(name, node.place, entries, problems),
            _ => {
                let what = format!("the connection `{name}`");
                wrong_type(node, &what, "a mapping or a URL", EXAMPLE, problems);
                None
            }
        }
    }

    /// A connection that is nothing but a URL with its values filled in.
    pub(crate) fn url_connection(
        &self,
        name: &str,
        url: String,
        place: Place,
        problems: &mut Problems,
    ) -> Option<ConnectionSpec> {
        let info = self.kind_of_url(&url, place, problems)?;
        if has_bare_sign(&url) {
            problems.hinted(place, BARE_SIGN, ENCODED_SIGNS);
            return None;
        }
        Some(self.spec(
            name,
            info,
            place,
            BTreeMap::from([("url".to_owned(), (url, place))]),
        ))
    }

    /// Replaces the `${...}` of a value.
    pub(crate) fn fill(&self, text: &str, place: Place, problems: &mut Problems) -> Option<String> {
        interpolate(text, place, self.base, self.lookup, problems)
    }

    fn map_connection(
        &self,
        name: &str,
        place: Place,
        entries: &[Entry],
        problems: &mut Problems,
    ) -> Option<ConnectionSpec> {
        let before = problems.count();
        let mut values = BTreeMap::new();
        let is_value = |entry: &&Entry| entry.key != "type" && entry.key != READ_REPLICA;
        for entry in entries.iter().filter(is_value) {
            let what = format!("`{}`", entry.key);
            let example = format!("{}: \"...\"", entry.key);
            if let Some(raw) = text(&entry.node, &what, &example, problems)
                && let Some(value) = self.fill(&raw.text, raw.place, problems)
            {
                values.insert(entry.key.clone(), (value, raw.place));
            }
        }
        let info = match entries.iter().find(|entry| entry.key == "type") {
            Some(entry) => self.kind_of_name(&entry.node, problems)?,
            None => match values.get("url") {
                Some((url, url_place)) => self.kind_of_url(url, *url_place, problems)?,
                None if entries.iter().any(|entry| entry.key == "url") => return None,
                None => {
                    problems.hinted(
                        place,
                        format!("the connection `{name}` has no `type`"),
                        format!("for example `{EXAMPLE}`"),
                    );
                    return None;
                }
            },
        };
        self.check_keys(info, entries, problems);
        if let Some((url, url_place)) = values.get("url")
            && has_bare_sign(url)
        {
            problems.hinted(*url_place, BARE_SIGN, ENCODED_SIGNS);
        }
        if let Some((url, url_place)) = values.get("url")
            && let Some(scheme) = scheme(url)
            && let Some(other) = self.by_scheme(scheme)
            && other.kind != info.kind
        {
            problems.hinted(
                *url_place,
                format!(
                    "the URL is one of `{}`, the type is `{}`",
                    other.kind, info.kind
                ),
                format!("write `type: {}`, or leave `type` out", other.kind),
            );
        }
        (problems.count() == before).then(|| self.spec(name, info, place, values))
    }

    fn check_keys(&self, info: &ConnectorInfo, entries: &[Entry], problems: &mut Problems) {
        let is_server = info.capabilities.shows_writers;
        let known: Vec<_> = ["type", "url"]
            .into_iter()
            .chain(is_server.then_some(READ_REPLICA))
            .chain(info.settings.iter().map(|setting| setting.name))
            .collect();
        for entry in entries {
            if known.contains(&entry.key.as_str()) {
                continue;
            }
            let hint = match nearest(&entry.key, known.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => {
                    let names = listed(&entry.key, known.iter().copied());
                    format!("the keys of `type: {}` are {names}", info.kind)
                }
            };
            problems.hinted(
                entry.key_place,
                format!("unknown key `{}`", entry.key),
                hint,
            );
        }
    }

    fn spec(
        &self,
        name: &str,
        info: &'static ConnectorInfo,
        place: Place,
        values: BTreeMap<String, (String, Place)>,
    ) -> ConnectionSpec {
        let places = values
            .iter()
            .map(|(key, (_, place))| (key.clone(), *place))
            .collect();
        ConnectionSpec {
            name: name.to_owned(),
            kind: info.kind.to_owned(),
            info,
            settings: Settings {
                name: name.to_owned(),
                values: values
                    .into_iter()
                    .map(|(key, (value, _))| (key, Secret::new(value)))
                    .collect(),
                base: self.base.to_owned(),
            },
            path: self.path.to_owned(),
            place,
            places,
            read_replica: None,
        }
    }

    fn kind_of_name(&self, node: &Node, problems: &mut Problems) -> Option<&'static ConnectorInfo> {
        let name = text(node, "`type`", "type: postgres", problems)?;
        let kinds: Vec<_> = self.catalog.iter().map(|info| info.kind).collect();
        if let Some(info) = self.catalog.iter().find(|info| info.kind == name.text) {
            return Some(info);
        }
        if LATER_KINDS.contains(&name.text.as_str()) {
            let hint = format!("the types are {}", listed(&name.text, kinds));
            let what = format!("type: {}", name.text);
            problems.hinted(name.place, unsupported::sentence(&what), hint);
            return None;
        }
        let hint = match nearest(&name.text, kinds.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("the types are {}", listed(&name.text, kinds)),
        };
        problems.hinted(name.place, format!("unknown type `{}`", name.text), hint);
        None
    }

    fn kind_of_url(
        &self,
        url: &str,
        place: Place,
        problems: &mut Problems,
    ) -> Option<&'static ConnectorInfo> {
        // Only the scheme is ever printed: the rest may hold a password.
        let Some(scheme) = scheme(url) else {
            let example = "for example `postgres://user@host/database` or `sqlite:shop.db`";
            let (message, hint) = match url {
                "" => ("the URL is empty", "is its variable set to nothing?"),
                _ if url.trim() != url => ("the URL has blanks around it", "take them out"),
                _ if url.starts_with('$') => ("a URL must start with its scheme", VARIABLE_FORM),
                _ => ("a URL must start with its scheme", example),
            };
            problems.hinted(place, message, hint);
            return None;
        };
        let found = self.by_scheme(scheme);
        if found.is_none() {
            let known: Vec<_> = self
                .catalog
                .iter()
                .flat_map(|info| info.schemes.iter().copied())
                .collect();
            let hint = match nearest(scheme, known.iter().copied()) {
                Some(near) => format!("did you mean `{near}:`?"),
                None => format!("the schemes are {}", listed(scheme, known)),
            };
            problems.hinted(place, format!("unknown URL scheme `{scheme}:`"), hint);
        }
        found
    }

    fn by_scheme(&self, scheme: &str) -> Option<&'static ConnectorInfo> {
        self.catalog
            .iter()
            .find(|info| {
                info.schemes
                    .iter()
                    .any(|known| known.eq_ignore_ascii_case(scheme))
            })
            .copied()
    }
}

/// The scheme of a URL, if the text starts with one.
pub(crate) fn scheme(text: &str) -> Option<&str> {
    let (scheme, _) = text.split_once(':')?;
    let valid = scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme
            .chars()
            .all(|other| other.is_ascii_alphanumeric() || matches!(other, '+' | '-' | '.'));
    valid.then_some(scheme)
}

/// True if the user or the password of a URL holds a sign that has a meaning of its own there, so
/// that the rest of it would be taken for a port, a database or a parameter, and be printed.
fn has_bare_sign(url: &str) -> bool {
    let Some((_, rest)) = url.split_once("://") else {
        return false;
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, rest) = rest.split_at(end);
    // A path of a file has none, and neither has a URL without a user.
    if !authority.contains(['@', ':']) {
        return false;
    }
    // Parameters after a path may hold an `@` of their own: `?user=sync@server`.
    let suspicious = match rest.split_once('?') {
        Some((path, _)) if path.starts_with('/') && !path.contains('@') => path,
        _ => rest,
    };
    suspicious.contains('@') || rest.contains('#')
}

/// The connection that a pipeline's `source` or `target` means, if it can be that.
pub(crate) fn endpoint(
    fields: &Fields,
    side: &str,
    known: &BTreeMap<String, ConnectionSpec>,
    context: &Context,
    problems: &mut Problems,
) -> Option<ConnectionSpec> {
    let Some(node) = fields.value(side) else {
        problems.hinted(
            fields.place,
            format!("`{side}` is missing"),
            format!("name a connection, as in `{side}: crm`, or write a URL"),
        );
        return None;
    };
    let connection = named_or_inline(node, side, known, context, problems)?;
    let able = match side {
        "source" => connection.info.capabilities.source,
        _ => connection.info.capabilities.target,
    };
    if !able {
        problems.hinted(
            node.place,
            format!("`{}` cannot be a {side}", connection.kind),
            "name a connection of another type",
        );
    }
    Some(connection)
}

/// One by name, a URL, or a mapping.
fn named_or_inline(
    node: &Node,
    side: &str,
    known: &BTreeMap<String, ConnectionSpec>,
    context: &Context,
    problems: &mut Problems,
) -> Option<ConnectionSpec> {
    let Value::Scalar { text: raw, .. } = &node.value else {
        if let Some(named) = replica_of(node) {
            problems.hinted(
                named.place,
                "`read_replica` belongs to a connection of `syncset.yaml`",
                format!("give the connection a name there, as in `{side}: crm`"),
            );
        }
        return context.connection(side, node, problems);
    };
    let filled = context.fill(raw, node.place, problems)?;
    if let Some(connection) = known.get(&filled) {
        return Some(connection.clone());
    }
    if scheme(&filled).is_some() {
        return context.url_connection(side, filled, node.place, problems);
    }
    // The text as written: what a variable holds may be a secret in the wrong place.
    let hint = if known.is_empty() {
        "`syncset.yaml` has no connections; add it there, or write a URL".to_owned()
    } else {
        let names = known.keys().map(String::as_str);
        match nearest(raw, names.clone()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("the connections are {}", listed(raw, names)),
        }
    };
    problems.hinted(node.place, format!("no connection `{raw}`"), hint);
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bare_signs_of_a_password_are_seen() {
        for url in [
            "postgres://sync:12#3@db/crm",
            "postgres://sync:12/3@db/crm",
            "postgres://sync:12?3@db/crm",
            "postgres://sync:12?a=3@db/crm",
            "postgres://sync:p@12/3@db/crm",
            "postgres://sync:p@db/crm#x",
            "mysql://sync:1/2@db/crm?ssl=on",
        ] {
            assert!(has_bare_sign(url), "{url}");
        }
        for url in [
            "postgres://sync:p%40ss%23@db:5432/crm?sslmode=require",
            "postgres://sync:p@ss@db/crm",
            "postgres://db/crm",
            "postgres://db:5432/crm?user=sync@server",
            "postgres://sync@%2Ftmp%2Fpg:5433/db",
            "postgres:///crm?host=/run/a@b",
            "sqlite:shop#1@2.db",
            "sqlite:///srv/shop@home.db",
        ] {
            assert!(!has_bare_sign(url), "{url}");
        }
    }
}
