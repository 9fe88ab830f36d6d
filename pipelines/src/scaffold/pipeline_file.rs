//! `pipelines/NAME.yaml`.

use super::ScaffoldTable;
use super::choose::{Choice, Chosen, LeftOut, choose};
use super::text::{comment, display_size, key, line_comment, list, names, scalar};
use syncset_connector::CaptureMode;

/// What a pipeline file is written from.
#[derive(Debug, Clone)]
pub struct PipelineScaffold {
    /// Its name.
    pub name: String,
    /// Name of the connection that is read.
    pub source: String,
    /// Name of the connection that is written.
    pub target: String,
    /// Where rows go, if not to tables of the same name, and why.
    pub to: Option<(String, String)>,
    /// The tables and views, in order.
    pub tables: Vec<ScaffoldTable>,
}

/// The text of the file, and what was decided about each table, in the order of the file.
pub fn pipeline_file(scaffold: &PipelineScaffold) -> (String, Vec<Choice>) {
    let mut text = head(scaffold);
    let (mut small, mut large, mut left_out) = (Vec::new(), Vec::new(), Vec::new());
    for table in &scaffold.tables {
        match choose(table) {
            Choice::Selected(chosen) if table.is_large() => large.push((table, chosen)),
            Choice::Selected(chosen) => small.push((table, chosen)),
            Choice::LeftOut(one) => left_out.push(one),
        }
    }
    let nothing_selected = small.is_empty() && large.is_empty();
    text.push_str(match nothing_selected {
        true => "tables: {}\n",
        false => "tables:\n",
    });
    for (table, chosen) in &small {
        text.push_str(&entry(table, chosen));
    }
    if !large.is_empty() {
        large.sort_by_key(|(_, chosen)| chosen.bytes);
        text.push('\n');
        text.push_str(&comment(
            2,
            "Large tables, the largest last. All their rows are looked at in each run; the lines \
             below them say how to read less.",
        ));
    }
    for (table, chosen) in &large {
        text.push_str(&entry(table, chosen));
    }
    if !left_out.is_empty() {
        text.push('\n');
        text.push_str(&comment(
            2,
            "Not copied. Delete the `# ` before an entry to have it.",
        ));
    }
    for one in &left_out {
        text.push_str(&left_out_entry(one));
    }
    let selected = small.into_iter().chain(large).map(|(_, chosen)| chosen);
    let choices = selected.map(Choice::Selected);
    (
        text,
        choices
            .chain(left_out.into_iter().map(Choice::LeftOut))
            .collect(),
    )
}

fn head(scaffold: &PipelineScaffold) -> String {
    let PipelineScaffold {
        name,
        source,
        target,
        to,
        tables,
    } = scaffold;
    let mut text = comment(
        0,
        &format!(
            "What is copied, and how. Written by `syncset init`; yours to edit. `syncset pipeline validate {name}` checks it, `syncset pipeline plan {name}` \
             shows what a run would do."
        ),
    );
    text.push_str("version: 1\n\n");
    text.push_str(&comment(
        0,
        "Connections of syncset.yaml. The source is only read.",
    ));
    text.push_str(&format!(
        "source: {}\ntarget: {}\n\n",
        scalar(source),
        scalar(target)
    ));
    text.push_str(&comment(0, &capture_comment(tables)));
    text.push('\n');
    if let Some((to, why)) = to {
        text.push_str(&comment(0, why));
        text.push_str(&format!("defaults:\n  to: \"{to}\"\n\n"));
    }
    text.push_str(&comment(
        0,
        "One entry per table; tables that are not named are not copied. An entry without anything \
         copies every column and row; `where: \"country in ('DE', 'FR')\"` takes only some rows. \
         Where a line below is a proposal, delete the `# ` before it to accept it. A table that is \
         missing at the target is created.",
    ));
    text
}

fn capture_comment(tables: &[ScaffoldTable]) -> String {
    let mut text = "How changes are found. Nothing is set, so each run brings the rows that differ, \
         deleted ones too, and needs no column, no trigger and no more rights than to read: between \
         two PostgreSQL databases both servers hash the rows of a table with a key and only what \
         differs is read (`hash`), otherwise the whole table is (`full`). To read less of a large \
         table, set `capture` there: `cursor`, with a column that grows with every change"
        .to_owned();
    let has_xmin = tables
        .iter()
        .any(|table| table.survey.modes.contains(&CaptureMode::Xmin));
    if has_xmin {
        text.push_str(
            "; `xmin`, which needs no column: PostgreSQL looks at each row and sends only those \
             that were changed",
        );
    }
    text.push_str(
        ". Neither sees deletes: rows deleted at the source stay at the target until a run with \
         `--full-refresh`.",
    );
    text
}

fn entry(table: &ScaffoldTable, chosen: &Chosen) -> String {
    let mut text = format!("  {}:\n", key(&chosen.table));
    text.push_str(&comment(4, &facts(chosen)));
    if chosen.names_key {
        let columns = list(chosen.key.iter().map(String::as_str));
        text.push_str(&comment(
            4,
            "No primary key: this unique key without NULLs tells rows apart.",
        ));
        text.push_str(&format!("    key: [{columns}]\n"));
    }
    if chosen.key.is_empty() {
        text.push_str(&comment(
            4,
            "Rows without a key are known by their values alone, so each run compares both sides \
             whole. A primary key at the source is cheaper.",
        ));
    }
    text.push_str(&columns(chosen));
    if !chosen.generated.is_empty() {
        let generated = names(chosen.generated.iter().map(String::as_str));
        text.push_str(&comment(
            4,
            &format!("Computed by the source, copied as plain data: {generated}."),
        ));
    }
    if let Some(cursor) = &chosen.cursor {
        text.push_str(&comment(
            4,
            &format!(
                "`{}` looks like a cursor ({}). Whether every change moves it cannot be seen from \
                 outside. If it does:",
                cursor.column,
                cursor.evidence.join("; ")
            ),
        ));
        text.push_str(&line_comment(4, &format!("capture: {}", cursor.capture)));
    }
    if table.is_large() && !chosen.key.is_empty() && table.survey.modes.contains(&CaptureMode::Xmin)
    {
        let or = if chosen.cursor.is_some() { "Or" } else { "To" };
        text.push_str(&comment(
            4,
            &format!("{or} have only changed rows sent; deleted ones then stay at the target:"),
        ));
        text.push_str(&line_comment(4, "capture: xmin"));
    }
    text
}

/// `About 412 rows, 48 KiB. Key: invoice_id.`
fn facts(chosen: &Chosen) -> String {
    let rows = match chosen.row_estimate {
        Some(1) => "About 1 row".to_owned(),
        Some(rows) => format!("About {rows} rows"),
        None => "Rows not counted yet".to_owned(),
    };
    let size = chosen
        .bytes
        .map(|bytes| format!(", {}", display_size(bytes)));
    let key = match chosen.key.as_slice() {
        [] => "No key".to_owned(),
        key => format!("Key: {}", names(key.iter().map(String::as_str))),
    };
    format!("{rows}{}. {key}.", size.unwrap_or_default())
}

/// Which columns are left out, and which of the others should perhaps be.
fn columns(chosen: &Chosen) -> String {
    let mut text = String::new();
    for one in &chosen.excluded {
        text.push_str(&comment(
            4,
            &format!("Left out: `{}` {}.", one.column, one.reason),
        ));
    }
    let excluded = chosen.excluded.iter().map(|one| one.column.as_str());
    let may_go = || {
        let personal = chosen.personal.iter().map(String::as_str);
        personal.filter(|name| !chosen.key.iter().any(|key| key == name))
    };
    let personal = names(chosen.personal.iter().map(String::as_str));
    match (chosen.excluded.is_empty(), chosen.personal.is_empty()) {
        (true, true) => {}
        (true, false) => {
            text.push_str(&comment(4, &format!("Likely personal: {personal}.")));
            if may_go().next().is_some() {
                let list = list(may_go());
                text.push_str(&line_comment(
                    4,
                    &format!("columns: {{ exclude: [{list}] }}"),
                ));
            }
        }
        (false, is_plain) => {
            let excluded = list(excluded);
            text.push_str(&format!("    columns: {{ exclude: [{excluded}] }}\n"));
            if !is_plain {
                text.push_str(&comment(
                    4,
                    &format!("Likely personal, so perhaps to be added to that list: {personal}."),
                ));
            }
        }
    }
    text
}

fn left_out_entry(one: &LeftOut) -> String {
    let mut text = line_comment(2, &one.entry);
    text.push_str(&comment(4, &one.reason));
    text
}
