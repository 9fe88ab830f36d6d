//! `syncset check LEFT RIGHT`: two tables that no pipeline connects.

use super::Context;
use super::args::CheckTablesArgs;
use super::pipeline::check::show;
use crate::check;
use crate::dotenv;
use crate::exit_code;
use crate::failure::{Failure, Failures};
use crate::files::ProjectFiles;
use crate::registry;
use serde_json::{Value, json};
use std::path::Path;

/// What the comparison is called in its report.
const NAME: &str = "check";

/// One table, as the command line names it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    /// A connection of the project, or a URL.
    connection: String,
    /// The table, with its schema if it has one.
    table: String,
}

/// Compares and prints; changes nothing.
pub(super) async fn check(context: &Context, args: &CheckTablesArgs) -> Result<i32, Failures> {
    let (left, right) = (Place::of(&args.left)?, Place::of(&args.right)?);
    let mut table = json!({ "to": right.table, "capture": "full", "key": args.key });
    if !args.columns.is_empty() {
        // The key is always compared.
        let missing = args.key.iter().filter(|name| !args.columns.contains(name));
        let columns: Vec<_> = missing.chain(&args.columns).collect();
        table["columns"] = json!(columns);
    }
    if let Some(condition) = &args.condition {
        table["where"] = Value::String(condition.clone());
    }
    let pipeline = json!({
        "version": 1,
        "source": left.connection,
        "target": right.connection,
        "tables": { (left.table.clone()): table },
    });
    // JSON is YAML, so that no name has to be quoted here.
    let spec = context
        .files
        .pipeline_of_text(NAME, &pipeline.to_string())?;
    let project = &context.files.project.name;
    let report = check::check_tables(&spec, project, (args.samples, args.max_load)).await?;
    show(context.output, &report, args.html.as_deref())?;
    Ok(report.exit_code)
}

/// The project that the connections belong to; an empty one where there is none.
pub(super) fn files(start: &Path, set: &[(String, String)]) -> Result<ProjectFiles, Failures> {
    if crate::files::is_in_project(start) {
        return ProjectFiles::open(start, set);
    }
    ProjectFiles::of_text(
        start,
        "version: 1\nconnections: {}\n",
        set,
        dotenv::read(start)?,
    )
}

impl Place {
    /// `connection.table`, `connection.schema.table`, `URL#table` or `URL#schema.table`.
    fn of(text: &str) -> Result<Self, Failure> {
        let parts = match text.rsplit_once('#') {
            Some(parts) if is_url(parts.0) => Some(parts),
            _ if is_url(text) => None,
            _ => text.split_once('.'),
        };
        match parts {
            Some((connection, table)) if !connection.is_empty() && !table.is_empty() => Ok(Self {
                connection: connection.to_owned(),
                table: table.to_owned(),
            }),
            _ => Err(Failure::new(
                exit_code::CONFIG,
                format!("`{}` names no table", without_password(text)),
            )
            .with_hint(
                "write `connection.table` or `connection.schema.table`, with a connection of \
                 syncset.yaml, or a URL with the table behind it: `sqlite:shop.db#orders`",
            )),
        }
    }
}

fn is_url(text: &str) -> bool {
    let kinds = registry::catalog();
    let scheme = text.split_once(':').map(|(scheme, _)| scheme);
    scheme.is_some_and(|scheme| kinds.iter().any(|kind| kind.schemes.contains(&scheme)))
}

/// A text of the command line that may be a URL, for messages.
fn without_password(text: &str) -> String {
    match (text.find("://"), text.rfind('@')) {
        (Some(begin), Some(end)) if begin < end => {
            format!("{}...{}", &text[..begin + 3], &text[end..])
        }
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_connections_or_urls_with_a_table() {
        let of = |text: &str| {
            let place = Place::of(text).expect("a place");
            (place.connection, place.table)
        };
        let pair = |connection: &str, table: &str| (connection.to_owned(), table.to_owned());

        assert_eq!(of("crm.orders"), pair("crm", "orders"));
        assert_eq!(of("crm.public.orders"), pair("crm", "public.orders"));
        assert_eq!(of("sqlite:a.b.db#orders"), pair("sqlite:a.b.db", "orders"));
        assert_eq!(
            of("postgres://u:p%23@h/d#s.t"),
            pair("postgres://u:p%23@h/d", "s.t")
        );
        for wrong in [
            "crm",
            "crm.",
            ".t",
            "sqlite:shop.db",
            "postgres://u:secret@h/d",
        ] {
            let failure = Place::of(wrong).expect_err(wrong);
            assert!(!failure.message.contains("secret"), "{}", failure.message);
        }
    }
}
