//! The statements that write rows.

use crate::marks::{Now, is_there};
use crate::sql::{identifier, identifiers, placeholders, table as table_name};
use crate::target::keyless;
use arrow_schema::DataType;
use syncset_connector::{Result, TargetColumn, TargetTable};

/// Values bound by one statement. Beyond some hundreds more ones hardly help.
const VALUES_PER_STATEMENT: usize = 1000;

/// Rows of one statement at most.
const ROWS_PER_STATEMENT: usize = 100;

/// Rows of so many columns that are bound at once.
pub(crate) fn rows_per_statement(column_count: usize) -> usize {
    (VALUES_PER_STATEMENT / column_count.max(1)).clamp(1, ROWS_PER_STATEMENT)
}

/// What a statement does with the rows bound to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// Insert or update what differs.
    Upsert,
    /// The same, into a table that was empty: no look-up first.
    Fill,
    /// Insert; with a key, unless it is there already.
    Append,
    /// Delete by key, or mark as gone.
    Delete,
}

/// A statement for any number of rows of one table.
pub(crate) struct Statement {
    /// The table, for messages.
    pub(crate) table: String,
    /// The columns of each row.
    pub(crate) columns: Vec<TargetColumn>,
    /// What it does, for messages.
    pub(crate) place: String,
    before_rows: String,
    after_rows: String,
}

impl Statement {
    /// A statement on one table.
    pub(crate) fn new(table: &TargetTable, action: Action, now: &Now) -> Result<Self> {
        let name = table_name(&table.name);
        let (columns, place, before_rows, after_rows) = match action {
            Action::Delete => {
                if table.key.is_empty() {
                    return Err(keyless(table));
                }
                let keys = format!("({}) IN (VALUES ", identifiers(&table.key));
                let before = now.take_away(table, &keys);
                (key_columns(table), "deleting from", before, ")".to_owned())
            }
            Action::Fill => {
                let (before, after) = insert(table, &on_conflict(table, now), now);
                (table.columns.clone(), "writing", before, after)
            }
            Action::Append => {
                let conflict = if table.key.is_empty() {
                    String::new()
                } else {
                    format!(" ON CONFLICT ({}) DO NOTHING", identifiers(&table.key))
                };
                let (before, after) = insert(table, &conflict, now);
                (table.columns.clone(), "appending to", before, after)
            }
            Action::Upsert if table.key.is_empty() => return Self::new(table, Action::Fill, now),
            Action::Upsert => {
                let names = identifiers(table.columns.iter().map(|column| &column.name));
                let values: Vec<String> = (1..=table.columns.len())
                    .map(|index| format!("s.column{index}"))
                    .collect();
                let before = format!(
                    "INSERT INTO {name} ({names}{}) SELECT {}{} FROM (VALUES ",
                    Now::columns(&table.marks),
                    values.join(", "),
                    now.values(&table.marks)
                );
                let after = format!(
                    ") AS s WHERE NOT EXISTS (SELECT 1 FROM {name} AS t WHERE {}){}",
                    same_image(table, |index| format!("s.column{}", index + 1)),
                    on_conflict(table, now)
                );
                (table.columns.clone(), "writing", before, after)
            }
        };
        Ok(Self {
            place: format!("{place} `{}`", table.name),
            table: table.name.name.clone(),
            columns,
            before_rows,
            after_rows,
        })
    }

    /// Rows that are bound at once.
    pub(crate) fn rows_per_statement(&self) -> usize {
        rows_per_statement(self.columns.len())
    }

    /// The statement for this many rows.
    pub(crate) fn sql(&self, row_count: usize) -> String {
        let rows = placeholders(row_count, self.columns.len());
        format!("{}{rows}{}", self.before_rows, self.after_rows)
    }
}

/// What comes before and after rows that are inserted whatever is there.
fn insert(table: &TargetTable, conflict: &str, now: &Now) -> (String, String) {
    let (name, marks) = (table_name(&table.name), &table.marks);
    let names = identifiers(table.columns.iter().map(|column| &column.name));
    if marks.synced_at.is_none() {
        let before = format!("INSERT INTO {name} ({names}) VALUES ");
        return (before, conflict.to_owned());
    }
    let before = format!(
        "INSERT INTO {name} ({names}{}) SELECT *{} FROM (VALUES ",
        Now::columns(marks),
        now.values(marks)
    );
    // Without a condition SQLite would take ON for that of a join.
    (before, format!(") WHERE true{conflict}"))
}

/// Columns of the key, in key order.
pub(crate) fn key_columns(table: &TargetTable) -> Vec<TargetColumn> {
    let find = |name: &String| table.columns.iter().find(|column| column.name == *name);
    table.key.iter().filter_map(find).cloned().collect()
}

/// True for the stored row `t` that has the key and the image of the given row `s` and is not marked
/// as gone.
///
/// `given`: what the value of a column is called in `s`.
pub(crate) fn same_image(table: &TargetTable, given: impl Fn(usize) -> String) -> String {
    let key = table
        .columns
        .iter()
        .enumerate()
        .filter(|(_, column)| table.key.contains(&column.name));
    let mut conditions: Vec<String> = key
        .map(|(index, column)| format!("t.{} = {}", identifier(&column.name), given(index)))
        .collect();
    for (index, column) in table.columns.iter().enumerate() {
        // A key of integers that is equal is the same.
        if table.key.contains(&column.name) && column.data_type == DataType::Int64 {
            continue;
        }
        let (name, value) = (identifier(&column.name), given(index));
        conditions.push(format!(
            "typeof(t.{name}) = typeof({value}) AND t.{name} COLLATE BINARY IS {value}"
        ));
    }
    if table.marks.deleted_at.is_some() {
        conditions.push(is_there(&table.marks, "t"));
    }
    all_of(&conditions)
}

/// Conditions of one group of [`all_of`].
const GROUP_CONDITIONS: usize = 50;

/// All of the conditions, in groups: SQLite refuses expressions that are nested more than a
/// thousand deep, and a chain of AND is one level for each condition.
fn all_of(conditions: &[String]) -> String {
    let groups = conditions.chunks(GROUP_CONDITIONS);
    let groups: Vec<_> = groups
        .map(|group| format!("({})", group.join(" AND ")))
        .collect();
    groups.join(" AND ")
}

pub(crate) fn on_conflict(table: &TargetTable, now: &Now) -> String {
    if table.key.is_empty() {
        return String::new();
    }
    // Equal keys may have two images only where numbers have: 1 and 1.0.
    let written = table.columns.iter().filter(|column| {
        !table.key.contains(&column.name)
            || matches!(
                column.data_type,
                DataType::Float64 | DataType::Decimal128(..)
            )
    });
    let sets: Vec<String> = written
        .map(|column| identifier(&column.name))
        .map(|name| format!("{name} = excluded.{name}"))
        .chain(now.assignments(&table.marks))
        .collect();
    let key = identifiers(&table.key);
    if sets.is_empty() {
        format!(" ON CONFLICT ({key}) DO NOTHING")
    } else {
        format!(" ON CONFLICT ({key}) DO UPDATE SET {}", sets.join(", "))
    }
}
