//! `types FROM TO`, and the page of the documentation that is made from the same rows.

use crate::cli::args::Output;
use crate::cli::render;
use crate::exit_code;
use crate::failure::{Failure, Failures};
use crate::fit::effect;
use crate::registry;
use serde::Serialize;
use std::collections::BTreeMap;
use syncset_connector::{Connector, OnLossy, TargetColumn, TypeMapping};

/// What one type becomes.
#[derive(Serialize)]
struct Row {
    from: String,
    to: TypeMapping,
    /// What each policy does with values that do not fit; absent where all do.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    on_lossy: BTreeMap<&'static str, String>,
}

impl Row {
    /// Its fidelity, with the note.
    fn fidelity(&self) -> String {
        let name = self.to.exactness.name();
        match &self.to.note {
            Some(note) => format!("{name}: {note}"),
            None => name.to_owned(),
        }
    }
}

/// What each type of one store becomes in another.
fn rows(source: &dyn Connector, target: &dyn Connector) -> Vec<Row> {
    let map = |column: &TargetColumn| target.map_type(column);
    let row = |column: TargetColumn| {
        let to = map(&column);
        let effects = OnLossy::ALL
            .iter()
            .filter_map(|(name, policy)| Some((*name, effect(*policy, &column, &to, map)?)));
        let on_lossy = effects.collect();
        let from = column.native.map(|native| native.name).unwrap_or_default();
        Row { from, to, on_lossy }
    };
    source.type_samples().into_iter().map(row).collect()
}

/// Prints what each type of one store becomes in another.
pub(crate) fn print(from: &str, to: &str, output: Output) -> Result<i32, Failures> {
    let connector = |kind: &str| {
        registry::connector(kind).ok_or_else(|| {
            let kinds: Vec<_> = registry::catalog().iter().map(|info| info.kind).collect();
            Failure::new(exit_code::CONFIG, format!("unknown kind of store `{kind}`"))
                .with_hint(format!("kinds: {}", kinds.join(", ")))
        })
    };
    let rows = rows(connector(from)?, connector(to)?);
    match output {
        Output::Text => render::text_out(&text(from, to, &rows)),
        _ => render::json(
            &serde_json::json!({ "exit_code": 0, "from": from, "to": to, "types": rows }),
        ),
    }
    Ok(exit_code::DONE)
}

fn text(from: &str, to: &str, rows: &[Row]) -> String {
    let width = |texts: &mut dyn Iterator<Item = usize>| texts.max().unwrap_or(0);
    let left = width(&mut rows.iter().map(|row| row.from.len())).max(from.len());
    let middle = width(&mut rows.iter().map(|row| row.to.native.len())).max(to.len());
    let mut text = format!("{from:left$}  {to:middle$}  fidelity\n");
    for row in rows {
        text.push_str(&format!(
            "{:left$}  {:middle$}  {}\n",
            row.from,
            row.to.native,
            row.fidelity()
        ));
        for (name, _) in OnLossy::ALL {
            if let Some(effect) = row.on_lossy.get(name) {
                text.push_str(&format!("{:left$}  on_lossy: {name} -> {effect}\n", ""));
            }
        }
    }
    text
}

#[cfg(test)]
pub(crate) use page::page;

/// The page of the documentation.
#[cfg(test)]
mod page {
    use super::{Row, rows};
    use crate::registry;
    use std::fmt::Write;
    use syncset_connector::{Connector, Exactness, OnLossy};

    const HEAD: &str = "\
# Types

What each type becomes between every two kinds of stores. `syncset types FROM TO` prints one of \
these tables, `syncset pipeline plan` what the columns of a pipeline become.

<!-- Made from the connectors: change `types.rs`, `ddl.rs` or `type_mapping.rs`, and `samples.rs` there. -->

- `exact`: every value comes back as it was, and the target knows what it is.
- `widened`: every value is kept, in a wider or plainer type.
- `lossy`: some values cannot be kept; the note says which. `on_lossy` decides about them.
- `refused`: the target has no type for the column. It stops the plan unless `on_lossy` says how to \
carry it. Only computed columns can be of such types.

This is about values that the type of the column allows. What a source holds against its own type \
is decided when it is read: a number or text in a date column of [SQLite](sqlite.md), and zero dates \
or a `tinyint(1)` beyond 0 and 1 of [MySQL and MariaDB](mysql.md). An ENUM that MySQL has filled with \
its error value, an empty text, is refused by an ENUM column and kept by a text column.

A target table that exists may have other types than these, as long as they take the values: what a \
single value needs beyond that, its length, range or characters, is checked when it is written.

## Values that do not fit

[`on_lossy`](config.md#values-that-do-not-fit) says what becomes of them, for a whole table or a \
column:

| policy | a value that does not fit |
|---|---|
| `error` | is refused with its row: it stops the table, or waits among the [rejected rows](config.md) |
| `warn` | becomes the nearest value that fits, or NULL where there is none; the run warns and counts |
| `text` | fits: the column becomes a text column with the text form of every value |
| `null` | becomes NULL; the run warns and counts |
";

    pub(crate) fn page() -> String {
        let mut page = HEAD.to_owned();
        for source in registry::CONNECTORS {
            for target in registry::CONNECTORS {
                page += &section(*source, *target);
            }
        }
        page
    }

    fn section(source: &dyn Connector, target: &dyn Connector) -> String {
        let (from, to) = (source.info().kind, target.info().kind);
        let rows = rows(source, target);
        let mut text = format!("\n## {from} to {to}\n\n");
        let is_same = |row: &Row| {
            row.to.exactness == Exactness::Exact
                && row.to.note.is_none()
                && row.to.native == row.from
        };
        let (same, told): (Vec<&Row>, Vec<&Row>) = rows.iter().partition(|row| is_same(row));
        if !same.is_empty() {
            let names: Vec<_> = same.iter().map(|row| code(&row.from)).collect();
            let rest = if told.is_empty() { "" } else { "\n" };
            put(
                &mut text,
                format_args!("Exact, and of the same type: {}.\n{rest}", names.join(", ")),
            );
        }
        if told.is_empty() {
            return text;
        }
        put(
            &mut text,
            format_args!("| {from} | {to} | fidelity |\n|---|---|---|\n"),
        );
        for row in told {
            let fidelity = row.fidelity().replace('|', "\\|");
            put(
                &mut text,
                format_args!(
                    "| {} | {} | {fidelity}{} |\n",
                    code(&row.from),
                    code(&row.to.native),
                    policies(row)
                ),
            );
        }
        text
    }

    /// What the policies do that change a value.
    fn policies(row: &Row) -> String {
        let told = [OnLossy::Warn, OnLossy::Text].iter().filter_map(|policy| {
            let effect = row.on_lossy.get(policy.name())?;
            Some(format!(" `{}`: {effect}.", policy.name()))
        });
        let told: String = told.collect();
        if told.is_empty() {
            told
        } else {
            format!(".{told}")
        }
    }

    fn code(text: &str) -> String {
        format!("`{}`", text.replace('|', "\\|"))
    }

    fn put(text: &mut String, line: std::fmt::Arguments<'_>) {
        text.write_fmt(line)
            .expect("writing into memory cannot fail");
    }
}
