//! Reads what a pipeline says about one table, defaults included.

use crate::capture_plan;
use crate::capture_setting;
use crate::fields::{Fields, choice, count, text, text_list, text_map, wrong_type};
use crate::guards;
use crate::lossy_setting;
use crate::mask_setting;
use crate::plugin_setting::{self, PluginContext};
use crate::problem::{Place, Problems};
use crate::schema::Section;
use crate::schema_setting;
use crate::spec::{
    ColumnChoice, Condition, CopySetting, MAX_REWRITE_ROWS_DEFAULT, Name, TableSettings,
    WherePushdown, WriteSetting,
};
use crate::template::Template;
use crate::write_plan;
use crate::yaml::{Entry, Node, Value};
use syncset_connector::{OnDelete, WriteMode, WrittenBy};

const EXAMPLE: &str = "public.customers: { columns: [id, name] }";
const COLUMNS_EXAMPLE: &str = "columns: [id, name] or columns: { exclude: [ssn, \"tmp_*\"] }";
const WHERE_EXAMPLE: &str = "where: \"country in ('DE', 'FR')\"";

/// One mapping over another: keys merge, everything else replaces.
pub(crate) fn merge(base: &Node, over: &Node) -> Node {
    let (Value::Map(base_entries), Value::Map(over_entries)) = (&base.value, &over.value) else {
        // `customers:` with nothing behind it takes the defaults.
        let kept = if over.is_nothing() { base } else { over };
        return Node {
            place: over.place,
            value: kept.value.clone(),
        };
    };
    let mut entries = base_entries.clone();
    for entry in over_entries {
        match entries.iter_mut().find(|known| known.key == entry.key) {
            Some(known) => {
                known.key_place = entry.key_place;
                known.node = match entry.key.as_str() {
                    "capture" => merge_capture(&known.node, &entry.node),
                    "mask" => mask_setting::merged(&known.node, &entry.node),
                    "on_lossy" => lossy_setting::merged(&known.node, &entry.node),
                    "schema" => schema_setting::merged(&known.node, &entry.node),
                    "dropped_column" => merge(&known.node, &entry.node.spelled()),
                    _ => merge(&known.node, &entry.node),
                };
            }
            None => entries.push(entry.clone()),
        }
    }
    Node {
        place: over.place,
        value: Value::Map(entries),
    }
}

/// Another mode starts afresh, and so does another column: what is known of one cursor (who
/// stamps it, its overlap) says nothing about `full` or about another cursor.
fn merge_capture(base: &Node, over: &Node) -> Node {
    let (base, over) = (
        capture_setting::in_full(base),
        capture_setting::in_full(over),
    );
    let differs = |key| match (base.child(key), over.child(key)) {
        (Some(left), Some(right)) => left.value != right.value,
        _ => false,
    };
    if differs("mode") {
        over
    } else if differs("column") {
        merge(&only(&base, &["mode"]), &over)
    } else {
        merge(&base, &over)
    }
}

/// A mapping that holds these keys of another, for settings that pipelines and tables share.
pub(crate) fn only(node: &Node, keys: &[&str]) -> Node {
    let entries: Vec<Entry> = match &node.value {
        Value::Map(entries) => entries
            .iter()
            .filter(|entry| keys.contains(&entry.key.as_str()))
            .cloned()
            .collect(),
        _ => Vec::new(),
    };
    Node {
        place: node.place,
        value: Value::Map(entries),
    }
}

/// Reads the settings of a table. `place` is that of its entry.
pub(crate) fn read(
    node: &Node,
    place: Place,
    context: &PluginContext,
    problems: &mut Problems,
) -> Option<TableSettings> {
    let what = ("a table's entry", EXAMPLE);
    let fields = Fields::of(node, Section::Table, what, problems)?;
    let (write, on_delete) = write(&fields, place, problems);
    let (max_rejects, rejects_exit) = rejects(&fields, problems);
    Some(TableSettings {
        columns: columns(&fields, problems),
        condition: condition(&fields, problems),
        pushdown: pushdown(&fields, problems),
        derive: pairs(
            &fields,
            "derive",
            "derive: { initials: \"left(name, 1)\" }",
            problems,
        ),
        mask: fields
            .value("mask")
            .map(|node| mask_setting::read(node, problems))
            .unwrap_or_default(),
        transform: fields
            .value("transform")
            .map(|node| plugin_setting::transform(node, context, problems))
            .unwrap_or_default(),
        rename: pairs(&fields, "rename", "rename: { name: full_name }", problems),
        to: to(&fields, problems),
        key: key(&fields, problems),
        capture: fields
            .value("capture")
            .and_then(|node| capture_setting::read(node, problems))
            .unwrap_or_else(|| capture_setting::by_default(place)),
        write,
        on_delete,
        max_rewrite_rows: max_rewrite_rows(&fields, problems),
        max_rejects,
        rejects_exit,
        on_lossy: fields
            .word("on_lossy")
            .map(|node| lossy_setting::read(&node, problems))
            .unwrap_or_default(),
        guards: fields
            .value("guards")
            .map(|node| guards::read(node, problems))
            .unwrap_or_default(),
        schema: schema_setting::read(&fields, problems),
        copy: copied(&fields, problems),
    })
}

impl TableSettings {
    /// Notes settings that do not go together, whatever the table is. `tables`: its entry.
    pub(crate) fn check(&self, tables: &str, problems: &mut Problems) {
        let (write, capture) = (&self.write, &self.capture);
        // What nobody chose may still become another one.
        if let Some(mode) = write.mode.filter(|_| !capture.by_default) {
            write_plan::check_mode(tables, (mode, write.place), capture.mode, problems);
        }
        let is_late = matches!(capture.written_by, Some((WrittenBy::Application, _)));
        if let Some(cursor) = capture.column.as_ref()
            && is_late
            && capture.overlap.is_none()
        {
            capture_plan::needs_overlap(cursor, problems);
        }
    }
}

/// What comes along with a table that is created.
fn copied(fields: &Fields, problems: &mut Problems) -> CopySetting {
    const EXAMPLE: &str = "copy: { indexes: true }";
    let fields = fields
        .value("copy")
        .and_then(|node| Fields::of(node, Section::Copy, ("`copy`", EXAMPLE), problems));
    let mut is_set = |key: &str| {
        let node = fields.as_ref().and_then(|fields| fields.value(key));
        let (what, example) = (format!("`{key}`"), format!("copy: {{ {key}: true }}"));
        let set = node.and_then(|node| flag(node, &what, &example, problems));
        set.unwrap_or_default()
    };
    CopySetting {
        indexes: is_set("indexes"),
        foreign_keys: is_set("foreign_keys"),
        comments: is_set("comments"),
    }
}

fn flag(node: &Node, what: &str, example: &str, problems: &mut Problems) -> Option<bool> {
    let word = text(node, what, example, problems)?;
    match word.text.as_str() {
        "true" => Some(true),
        "false" => Some(false),
        other => {
            let message = format!("{what} is `true` or `false`, not `{other}`");
            problems.hinted(node.place, message, format!("for example `{example}`"));
            None
        }
    }
}

fn columns(fields: &Fields, problems: &mut Problems) -> ColumnChoice {
    let Some(node) = fields.value("columns") else {
        return ColumnChoice::All;
    };
    let chosen = match &node.value {
        Value::List(items) if items.is_empty() => {
            problems.hinted(
                node.place,
                "`columns` is empty",
                "leave it out to select all columns",
            );
            None
        }
        Value::List(_) => {
            text_list(node, "`columns`", COLUMNS_EXAMPLE, problems).map(ColumnChoice::Only)
        }
        Value::Map(_) => {
            let what = ("`columns`", COLUMNS_EXAMPLE);
            Fields::of(node, Section::Columns, what, problems)
                .and_then(|fields| fields.value("exclude"))
                .and_then(|list| text_list(list, "`exclude`", COLUMNS_EXAMPLE, problems))
                .map(ColumnChoice::Except)
        }
        _ => {
            let expected = "a list, or a mapping with `exclude`";
            wrong_type(node, "`columns`", expected, COLUMNS_EXAMPLE, problems);
            None
        }
    };
    chosen.unwrap_or(ColumnChoice::All)
}

fn condition(fields: &Fields, problems: &mut Problems) -> Option<Condition> {
    let node = fields.value("where")?;
    if !matches!(node.value, Value::Map(_)) {
        return text(node, "`where`", WHERE_EXAMPLE, problems).map(Condition::Sql);
    }
    let example = "where: { source_sql: \"country = 'DE'\" }";
    let fields = Fields::of(node, Section::Where, ("`where`", example), problems)?;
    match fields.value("source_sql") {
        Some(node) => text(node, "`source_sql`", example, problems).map(Condition::SourceSql),
        None => {
            problems.hinted(
                node.place,
                "`where` says nothing",
                format!("for example `{WHERE_EXAMPLE}` or `{example}`"),
            );
            None
        }
    }
}

fn pushdown(fields: &Fields, problems: &mut Problems) -> WherePushdown {
    const OPTIONS: [(&str, WherePushdown); 2] = [
        ("exact", WherePushdown::Exact),
        ("best_effort", WherePushdown::BestEffort),
    ];
    fields
        .value("where_pushdown")
        .and_then(|node| choice(node, Section::Table, "where_pushdown", &OPTIONS, problems))
        .unwrap_or_default()
}

fn pairs(fields: &Fields, key: &str, example: &str, problems: &mut Problems) -> Vec<(Name, Name)> {
    fields
        .value(key)
        .map(|node| text_map(node, &format!("`{key}`"), example, problems))
        .unwrap_or_default()
}

fn to(fields: &Fields, problems: &mut Problems) -> Option<Template> {
    let node = fields.value("to")?;
    let name = text(node, "`to`", "to: \"crm.{table}\"", problems)?;
    match Template::parse(&name.text) {
        Ok(template) => Some(template),
        Err((message, Some(hint))) => {
            problems.hinted(name.place, message, hint);
            None
        }
        Err((message, None)) => {
            problems.hinted(name.place, message, "for example `to: \"crm.{table}\"`");
            None
        }
    }
}

fn key(fields: &Fields, problems: &mut Problems) -> Option<(Vec<Name>, Place)> {
    let node = fields.value("key")?;
    let names = text_list(node, "`key`", "key: [id]", problems)?;
    if names.is_empty() {
        problems.hinted(
            node.place,
            "`key` is empty",
            "leave it out to use the primary key",
        );
        return None;
    }
    for (index, name) in names.iter().enumerate() {
        if names
            .iter()
            .take(index)
            .any(|other| other.text == name.text)
        {
            problems.add(name.place, format!("`key` names `{}` twice", name.text));
        }
    }
    Some((names, node.place))
}

fn write(fields: &Fields, place: Place, problems: &mut Problems) -> (WriteSetting, OnDelete) {
    const EXAMPLE: &str = "write: { mode: upsert, on_delete: keep }";
    const ON_DELETE: [(&str, OnDelete); 3] = [
        ("hard", OnDelete::Hard),
        ("soft", OnDelete::Soft),
        ("keep", OnDelete::Keep),
    ];
    const MODES: [(&str, WriteMode); 3] = [
        ("upsert", WriteMode::Upsert),
        ("replace", WriteMode::Replace),
        ("append", WriteMode::Append),
    ];
    let mut write = WriteSetting {
        mode: None,
        place,
        on_delete_place: place,
        synced_at: None,
    };
    let fields = fields
        .value("write")
        .and_then(|node| Fields::of(node, Section::Write, ("`write`", EXAMPLE), problems));
    let Some(fields) = fields else {
        return (write, OnDelete::default());
    };
    if let Some(node) = fields.value("mode") {
        write.place = node.place;
        write.mode = choice(node, Section::Write, "mode", &MODES, problems);
    }
    let on_delete = fields.value("on_delete").and_then(|node| {
        write.on_delete_place = node.place;
        choice(node, Section::Write, "on_delete", &ON_DELETE, problems)
    });
    write.synced_at = fields.value("synced_at").and_then(|node| {
        let example = "write: { synced_at: _synced_at }";
        text(node, "`synced_at`", example, problems)
    });
    (write, on_delete.unwrap_or_default())
}

fn max_rewrite_rows(fields: &Fields, problems: &mut Problems) -> u64 {
    fields
        .value("max_rewrite_rows")
        .and_then(|node| {
            let what = "`max_rewrite_rows`";
            count(node, what, "max_rewrite_rows: 5000000", problems)
        })
        .unwrap_or(MAX_REWRITE_ROWS_DEFAULT)
}

/// How many rows may be rejected, and the exit code of a table that has some.
fn rejects(fields: &Fields, problems: &mut Problems) -> (u64, u8) {
    const EXAMPLE: &str = "rejects: { max_rows: 100 }";
    let what = ("`rejects`", EXAMPLE);
    let fields = fields
        .value("rejects")
        .and_then(|node| Fields::of(node, Section::Rejects, what, problems));
    let Some(fields) = fields else {
        // The first bad row fails its table unless somebody decided otherwise.
        return (0, 0);
    };
    let max_rows = fields
        .value("max_rows")
        .and_then(|node| count(node, "`max_rows`", EXAMPLE, problems));
    let exit = fields.value("exit").and_then(|node| {
        let example = "rejects: { max_rows: 100, exit: 3 }";
        let code = count(node, "`exit`", example, problems)?;
        if !matches!(code, 0 | 3) {
            let message = format!("`exit` is 0 or 3, not {code}");
            problems.hinted(node.place, message, format!("for example `{example}`"));
        }
        u8::try_from(code).ok()
    });
    (max_rows.unwrap_or(0), exit.unwrap_or(0))
}
