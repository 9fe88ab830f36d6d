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
    let text = pipeline.to_string();
    let told = |failures| of_command_line(failures, &text);
    let spec = context.files.pipeline_of_text(NAME, &text).map_err(told)?;
    let project = &context.files.project.name;
    let settings = (args.samples, args.max_load);
    let report = check::check_tables(&spec, project, settings).await;
    let report = report.map_err(told)?;
    show(context.output, &report, args.html.as_deref())?;
    Ok(report.exit_code)
}

/// What is wrong with the command line, which nobody wrote into a file. `text`: what was made of it.
fn of_command_line(Failures(failures): Failures, text: &str) -> Failures {
    let told = |mut failure: Failure| {
        let Some((message, argument)) = placed(&failure.message, text) else {
            return failure;
        };
        let message = message.replacen("`where` ", "`--where` ", 1);
        let message = message.replacen("connection `source`", "the URL", 1);
        let message = message.replacen("connection `target`", "the URL", 1);
        failure.message = format!("{message} ({argument})");
        failure.hint = failure.hint.map(|hint| match argument {
            "`--where`" if hint.contains("source_sql") => {
                "use =, <>, <, <=, >, >=, IN, IS NULL, AND, OR and NOT over plain columns, or \
                 compare views that select the rows"
                    .to_owned()
            }
            "LEFT" | "RIGHT" if hint.starts_with("values come from this file") => {
                "write it into the URL, or name a connection of syncset.yaml".to_owned()
            }
            _ => hint,
        });
        failure
    };
    Failures(failures.into_iter().map(told).collect())
}

/// A message without the place at its end, and the argument that stands at this place of `text`.
fn placed<'a>(message: &'a str, text: &str) -> Option<(&'a str, &'static str)> {
    const ARGUMENTS: [(&str, &str); 7] = [
        ("\"source\":", "LEFT"),
        ("\"tables\":", "LEFT"),
        ("\"target\":", "RIGHT"),
        ("\"to\":", "RIGHT"),
        ("\"key\":", "`--key`"),
        ("\"columns\":", "`--columns`"),
        ("\"where\":", "`--where`"),
    ];
    let (message, place) = message.strip_suffix(')')?.rsplit_once(" (")?;
    let (_, column) = place.split_once(&format!("{NAME}.yaml:1:"))?;
    let column: usize = column.parse().ok()?;
    let before: String = text.chars().take(column).collect();
    // In a value the quotes are written with a backslash.
    let begun = ARGUMENTS
        .iter()
        .filter_map(|(begin, argument)| Some((before.rfind(begin)?, *argument)));
    Some((message, begun.max()?.1))
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
    fn mistakes_are_those_of_the_command_line() {
        let text = r#"{"source":"a","tables":{"t":{"capture":"full","key":["idd"],"to":"r","where":"w >> 1"}},"target":"b","version":1}"#;
        let at = |what: &str, message: &str| {
            let column = text.find(what).expect("it is there") + 1;
            let message = format!("{message} (pipelines/check.yaml:1:{column})");
            let mut failure = Failure::new(exit_code::CONFIG, message);
            failure.hint = Some("write `where: { source_sql: .. }`".to_owned());
            let told = of_command_line(Failures(vec![failure]), text).0.remove(0);
            (told.message, told.hint.unwrap_or_default())
        };

        for (what, message) in [
            ("\"a\"", "LEFT"),
            ("\"t\"", "LEFT"),
            ("[\"idd", "`--key`"),
            ("\"idd", "`--key`"),
            ("\"r\"", "RIGHT"),
            ("\"b\"", "RIGHT"),
        ] {
            assert_eq!(at(what, "no").0, format!("no ({message})"));
        }
        let (message, hint) = at("\"w >> 1", "`where` of `t` is wrong");
        assert_eq!(message, "`--where` of `t` is wrong (`--where`)");
        assert!(!hint.contains("source_sql"), "{hint}");
        let other = Failure::new(exit_code::CONFIG, "RIGHT: `b` has no table `r`");
        let told = of_command_line(Failures(vec![other]), text).0.remove(0);
        assert_eq!(told.message, "RIGHT: `b` has no table `r`");
    }

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
