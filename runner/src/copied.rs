//! What the source's further keys and indexes become at a target table that we create. Pure.
//!
//! A key stays unique only where the target can be made to hold it at every commit: its rows may
//! swap values, and rows that are gone must go. Everywhere else it becomes an index that refuses
//! nothing, so that no row of the source is ever refused for its sake.

use crate::planned::PlannedTable;
use serde::Serialize;
use sha2::{Digest, Sha256};
use syncset_connector::{
    Capture, IndexForm, IndexKind, MadeTable, OnDelete, OnLossy, Target, TargetIndex, WriteMode,
};
use syncset_pipeline::OutputValue;

/// Longest name that is taken over from the source or made, in bytes: every store takes it.
const NAME_BYTES_MAX: usize = 60;

/// Longest part of a name that says what it is about; a hash follows.
const TOLD_BYTES_MAX: usize = 47;

/// A further key of the source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct CopiedIndex {
    /// What it is at the source.
    pub(crate) kind: Kind,
    /// What it is called at the source; nothing for a primary key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<String>,
    /// Its columns at the source, in order.
    pub(crate) columns: Vec<String>,
    /// What a foreign key points to at the source: `public.customers (id)`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) references: Option<String>,
    /// What it is at the target.
    pub(crate) becomes: Becomes,
    /// Why it is that.
    pub(crate) why: String,
    /// What is made; nothing where it is left out.
    #[serde(skip)]
    pub(crate) index: Option<TargetIndex>,
}

/// What a key is at the source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    /// The primary key, where rows are found by another one.
    PrimaryKey,
    /// A unique key or index.
    UniqueKey,
    /// An index that is not unique, which `copy: { indexes: true }` asks for.
    Index,
    /// A foreign key, which `copy: { foreign_keys: true }` asks for.
    ForeignKey,
}

/// What a key is at the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Becomes {
    /// A unique key that is checked when a transaction ends.
    DeferredKey,
    /// An index that refuses no row.
    Index,
    /// A foreign key.
    ForeignKey,
    /// Nothing.
    Nothing,
}

impl CopiedIndex {
    /// For people: `unique key \`email_key\` (email)`.
    pub(crate) fn title(&self) -> String {
        let columns = self.columns.join(", ");
        let kind = match self.kind {
            Kind::PrimaryKey => "primary key",
            Kind::UniqueKey => "unique key",
            Kind::Index => "index",
            Kind::ForeignKey => "foreign key",
        };
        let title = match &self.name {
            Some(name) => format!("{kind} `{name}` ({columns})"),
            None => format!("{kind} ({columns})"),
        };
        match &self.references {
            Some(parent) => format!("{title} to {parent}"),
            None => title,
        }
    }

    /// What it becomes, in a line.
    pub(crate) fn sentence(&self) -> String {
        let becomes = match self.becomes {
            Becomes::DeferredKey => "a unique key that is checked at the end of a transaction",
            Becomes::Index => "an index that is not unique",
            Becomes::ForeignKey => "a foreign key",
            Becomes::Nothing => "left out",
        };
        format!("{}: {becomes}: {}", self.title(), self.why)
    }
}

/// A key of the source as it is described.
struct Described<'a> {
    kind: Kind,
    name: Option<&'a str>,
    columns: &'a [String],
    partial: bool,
    nulls_distinct: bool,
    form: &'a IndexForm,
}

/// What becomes of all further keys of a table. `alike`: both stores are of one kind, so that names
/// of the source suit the target.
pub(crate) fn of(table: &PlannedTable, target: &dyn Target, alike: bool) -> Vec<CopiedIndex> {
    let description = &table.plan.read.description;
    let unique = description.unique_keys.iter().map(|key| Described {
        kind: Kind::UniqueKey,
        name: Some(&key.name),
        columns: &key.columns,
        partial: key.partial,
        nulls_distinct: key.nulls_distinct,
        form: &IndexForm::Columns,
    });
    let is_appended = table.write() == WriteMode::Append;
    let primary = (!description.primary_key.is_empty() && !is_appended).then_some(Described {
        kind: Kind::PrimaryKey,
        name: None,
        columns: &description.primary_key,
        partial: false,
        nulls_distinct: true,
        form: &IndexForm::Columns,
    });
    let plain = description.indexes.iter();
    let plain = plain.filter(|_| table.plan.copy.indexes);
    let plain = plain.map(|index| Described {
        kind: Kind::Index,
        name: Some(&index.name),
        columns: &index.columns,
        partial: false,
        nulls_distinct: true,
        form: &index.form,
    });
    let mut keys: Vec<CopiedIndex> = Vec::new();
    for described in primary.into_iter().chain(unique).chain(plain) {
        let columns = at_target(table, &described, alike);
        let is_list = *described.form == IndexForm::Columns;
        if is_list && columns.as_ref().is_ok_and(|columns| is_key(table, columns)) {
            continue;
        }
        let key = decided(table, target, &described, columns, alike);
        let is_same = |other: &CopiedIndex| {
            let columns = |key: &CopiedIndex| key.index.as_ref().map(|it| it.columns.clone());
            let spelled = |key: &CopiedIndex| match key.index.as_ref().map(|it| &it.kind) {
                Some(IndexKind::Spelled { sql }) => Some(sql.clone()),
                _ => None,
            };
            key.index.is_some()
                && columns(other) == columns(&key)
                && spelled(other) == spelled(&key)
        };
        if !keys.iter().any(is_same) {
            keys.push(key);
        }
    }
    keys
}

/// Whether rows are found by these very columns at the target.
fn is_key(table: &PlannedTable, columns: &[String]) -> bool {
    let key = &table.target.key;
    columns.len() == key.len() && columns.iter().all(|name| key.contains(name))
}

/// The names that a key's columns have at the target, or why they are not all there.
fn at_target(
    table: &PlannedTable,
    key: &Described<'_>,
    alike: bool,
) -> Result<Vec<String>, String> {
    if key.partial {
        return Err("it holds for some of the source's rows only".to_owned());
    }
    let is_list = *key.form == IndexForm::Columns;
    if *key.form == IndexForm::Bound {
        return Err("it names more than columns of its table".to_owned());
    }
    if !is_list && !alike {
        return Err("only a store of the source's kind could have it".to_owned());
    }
    let columns = key.columns.iter();
    let columns: Vec<String> = columns
        .map(|column| name_at_target(table, column))
        .collect::<Result<_, _>>()?;
    let mut pairs = key.columns.iter().zip(&columns);
    let renamed = pairs.find(|(column, name)| column != name);
    match renamed.filter(|_| !is_list) {
        Some((column, _)) => Err(format!("`{column}` has another name at the target")),
        None => Ok(columns),
    }
}

/// The name that a column of the source has at the target, or why it is not there as it is.
pub(crate) fn name_at_target(table: &PlannedTable, column: &str) -> Result<String, String> {
    let mut outputs = table.plan.outputs.iter();
    let plain =
        outputs.find(|output| matches!(&output.value, OutputValue::Column(name) if name == column));
    if let Some(output) = plain {
        return Ok(output.name.clone());
    }
    let is_masked = |value: &OutputValue| matches!(value, OutputValue::Masked(value, _) if value.source_name() == column);
    let is_masked = table.plan.outputs.iter().any(|it| is_masked(&it.value));
    Err(match is_masked {
        true => format!("`{column}` is masked"),
        false => format!("`{column}` is not copied"),
    })
}

fn decided(
    table: &PlannedTable,
    target: &dyn Target,
    key: &Described<'_>,
    columns: Result<Vec<String>, String>,
    alike: bool,
) -> CopiedIndex {
    let refused = |columns: Vec<String>| match target.refuses_index(&table.target, &columns) {
        Some(reason) => Err(reason),
        None => Ok(columns),
    };
    let (becomes, why, index) = match columns.and_then(refused) {
        Err(reason) => (Becomes::Nothing, reason, None),
        Ok(columns) => {
            let plain = match key.kind {
                Kind::Index | Kind::ForeignKey => Some("as at the source".to_owned()),
                Kind::PrimaryKey | Kind::UniqueKey => why_plain(table, target, &columns),
            };
            let (kind, why) = match (plain, key.form) {
                (Some(why), IndexForm::Spelled(sql)) => {
                    let sql = sql.clone();
                    (IndexKind::Spelled { sql }, why)
                }
                (Some(why), _) => (IndexKind::Plain, why),
                (None, _) => {
                    let nulls_distinct = key.nulls_distinct;
                    let why =
                        "every run sees which rows are gone, so the source's rows always pass";
                    (IndexKind::Deferred { nulls_distinct }, why.to_owned())
                }
            };
            let becomes = match &kind {
                IndexKind::Plain | IndexKind::Spelled { .. } => Becomes::Index,
                IndexKind::Deferred { .. } => Becomes::DeferredKey,
                IndexKind::ForeignKey { .. } => Becomes::ForeignKey,
            };
            let index = TargetIndex {
                names: names(table, key.name.filter(|_| alike), &columns, "key"),
                columns,
                kind,
            };
            (becomes, why, Some(index))
        }
    };
    CopiedIndex {
        kind: key.kind,
        name: key.name.map(str::to_owned),
        columns: key.columns.to_vec(),
        references: None,
        becomes,
        why,
        index,
    }
}

/// Why a key cannot stay unique at the target; `None` if it can.
fn why_plain(table: &PlannedTable, target: &dyn Target, columns: &[String]) -> Option<String> {
    if !target.defers_keys() {
        return Some(
            "the target checks unique keys row by row, so that rows could not swap values"
                .to_owned(),
        );
    }
    if table.write() == WriteMode::Append {
        return Some("several versions of a row are added".to_owned());
    }
    if let Some(why) = keeps_values(&table.plan.read.capture) {
        return Some(format!(
            "{why}, so that a row that is gone could keep a value that another one has got"
        ));
    }
    if table.plan.on_delete != OnDelete::Hard {
        return Some("rows that are gone stay, with values that others may have got".to_owned());
    }
    let changed = columns.iter().find(|it| may_change(table, target, it))?;
    Some(format!(
        "values of `{changed}` are changed to fit (`on_lossy`), and may then be equal"
    ))
}

/// Whether values of a column of the target may be others than at the source.
pub(crate) fn may_change(table: &PlannedTable, target: &dyn Target, name: &str) -> bool {
    let place = table.target.columns.iter().position(|it| it.name == name);
    place.is_some_and(|place| {
        let mapping = target.map_type(&table.target.columns[place]);
        match table.policies[place] {
            OnLossy::Error => false,
            OnLossy::Text => true,
            OnLossy::Warn | OnLossy::Null => mapping.exactness.loses(),
        }
    })
}

/// Why rows that are gone may be at the target when others are committed; `None` if they cannot.
fn keeps_values(capture: &Capture) -> Option<&'static str> {
    match capture {
        Capture::Full => None,
        Capture::Hash => Some("this capture deletes rows behind all others"),
        _ => Some("this capture does not see deletes"),
    }
}

/// Names to try: the source's, where it suits, then one that is made of the table and what it is
/// about.
pub(crate) fn names(
    table: &PlannedTable,
    of_source: Option<&str>,
    about: &[String],
    suffix: &str,
) -> Vec<String> {
    let suits = |name: &&str| {
        name.len() <= NAME_BYTES_MAX
            && !name.to_ascii_lowercase().starts_with("sqlite_")
            && !name.eq_ignore_ascii_case("primary")
    };
    let of_source = of_source.filter(suits).map(str::to_owned);
    let target = &table.target.name.name;
    let mut told = format!("{target}_{}", about.join("_"));
    let end = told.floor_char_boundary(TOLD_BYTES_MAX);
    told.truncate(end);
    let digest = Sha256::digest(format!("{target}\0{}", about.join("\0")));
    let hash: String = digest
        .iter()
        .take(4)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let made = format!("{told}_{hash}_{suffix}");
    of_source.into_iter().chain([made]).collect()
}

/// The indexes that the target table is to have and has not, as far as `made` says; none of a table
/// that we did not create.
pub(crate) fn missing<'a>(
    table: &'a PlannedTable,
    made: Option<&'a MadeTable>,
) -> impl Iterator<Item = (&'a CopiedIndex, &'a TargetIndex)> {
    let ours = made.and_then(|made| made.indexes.as_deref());
    let wanted = table.indexes.iter();
    let wanted = wanted.filter_map(|key| Some((key, key.index.as_ref()?)));
    wanted.filter(move |(_, index)| {
        ours.is_some_and(|ours| !ours.iter().any(|it| it.built && it.is_for(index)))
    })
}
