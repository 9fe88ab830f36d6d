//! Columns that the file names and that are gone from the source, or have another name there. Such a
//! table stops until the file says what to do instead; the other tables of the pipeline go on.

use crate::evolution::spelled;
use crate::plan::TablePlan;
use crate::planner::Planner;
use crate::problem::{Place, Problems};
use crate::renames::Renames;
use crate::spec::{ColumnChoice, Condition, TableSettings};
use crate::sql::resolve;
use crate::stored::Stored;
use arrow_schema::DataType;
use serde::Serialize;
use serde_json::Value;
use syncset_connector::{CaptureMode, Column, NativeType, OnDelete, TableDescription, WriteMode};

/// A column that is gone and that the file needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LostColumn {
    /// The column, as the source named it.
    pub column: String,
    /// What needs it.
    pub use_of: Use,
    /// The name that it has by now, if it only has another one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub now: Option<String>,
    /// Where the file names it, if it does: `pipelines/p.yaml:6:12`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
}

/// What a column is needed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Use {
    /// Rows are found by it.
    Key,
    /// Changes are found by it.
    Cursor,
    /// Rows are selected by it.
    Where,
    /// A column is computed from it.
    Derive,
    /// A plugin reads it.
    Transform,
    /// It is selected by its name.
    Columns,
    /// It is left out by its name.
    Exclude,
    /// It is left out by its name, and a new column of its type may be it.
    MaybeExclude,
    /// It has another name at the target.
    Rename,
    /// It says what happens to its values.
    OnLossy,
    /// It is masked by its name.
    Mask,
    /// Rows are found by the primary key, and there is none any more.
    PrimaryKey,
    /// Rows are found by the columns that the file names, and nothing makes them unique any more.
    UniqueKey,
    /// Rows are found by it, and it may hold NULL from some time on.
    NullableKey,
}

impl LostColumn {
    /// What happened, and what the file needs the column for.
    pub fn sentence(&self) -> String {
        let column = &self.column;
        let needs = match self.use_of {
            Use::Key => "the key needs it",
            Use::Cursor => "`capture` finds changes by it",
            Use::Where => "`where` names it",
            Use::Derive => "`derive` computes from it",
            Use::Transform => "a plugin of `transform` reads it",
            Use::Columns => "`columns` names it",
            Use::Exclude | Use::MaybeExclude => "`exclude` leaves it out",
            Use::Rename => "`rename` names it",
            Use::OnLossy => "`on_lossy` names it",
            Use::Mask => "`mask` hides it",
            Use::PrimaryKey => {
                return format!(
                    "the source has no primary key ({column}) any more, and rows are found by it"
                );
            }
            Use::UniqueKey => {
                return format!("nothing makes the key ({column}) unique at the source any more");
            }
            Use::NullableKey => {
                return format!("the key column `{column}` may hold NULL at the source by now");
            }
        };
        let place = self.place.as_deref();
        let place = place.map_or_else(String::new, |place| format!(" ({place})"));
        match (&self.now, self.use_of) {
            (Some(now), Use::MaybeExclude) => format!(
                "the source has no column `{column}` any more and a new one `{now}` of its type, which may be the same one, and {needs}{place}"
            ),
            (Some(now), _) => {
                format!("the source renamed column `{column}` to `{now}`, and {needs}{place}")
            }
            (None, _) => format!("the source dropped column `{column}`, and {needs}"),
        }
    }

    /// What a person can do.
    pub fn hint(&self) -> String {
        let column = &self.column;
        match (&self.now, self.use_of) {
            (Some(now), Use::Exclude) => format!(
                "write `{now}` in `exclude` too; or take `{column}` out of it, and the column is copied"
            ),
            (Some(now), Use::MaybeExclude) => {
                format!("if it is, write `{now}` in `exclude`; if not, take `{column}` out of it")
            }
            (Some(now), _) => format!("write `{now}` there"),
            (None, _) => self.hint_of_dropped().to_owned(),
        }
    }

    fn hint_of_dropped(&self) -> &'static str {
        match self.use_of {
            Use::Key => {
                "name columns that are unique and never NULL with `key: [..]`, or add the column \
                 again at the source"
            }
            Use::Cursor => {
                "name another cursor with `capture: { mode: cursor, column: .. }`, use \
                 `capture: full`, or add the column again at the source"
            }
            Use::Where => {
                "write a `where` over columns that are there, or add the column again at the source"
            }
            Use::Derive => {
                "compute the column from others or take it out of `derive`, or add the column \
                 again at the source"
            }
            Use::Transform => {
                "let the plugin read others or take it out of `transform`, or add the column \
                 again at the source"
            }
            Use::PrimaryKey => {
                "name columns that are unique and never NULL with `key: [..]`, or add the primary \
                 key again at the source"
            }
            Use::UniqueKey => {
                "add the unique constraint again at the source, or name other columns that are \
                 unique and never NULL with `key: [..]`"
            }
            Use::NullableKey => {
                "make it NOT NULL again at the source, or name other columns that are unique and \
                 never NULL with `key: [..]`"
            }
            Use::Columns
            | Use::Exclude
            | Use::MaybeExclude
            | Use::Rename
            | Use::OnLossy
            | Use::Mask => "take its name out of the file",
        }
    }
}

impl Planner<'_> {
    /// The columns that are gone and needed, or that the file knows by another name, once for each
    /// use.
    pub(crate) fn lost(&self) -> Vec<LostColumn> {
        let Some(stored) = self.stored_names() else {
            return Vec::new();
        };
        let by_number = self.renames_by_number();
        let followed = self.renames(&stored).0;
        let then = stored.columns.keys().chain(stored.key.iter().flatten());
        let then = then.chain(stored.left_out.keys());
        let gone: Vec<&String> = then
            .filter(|name| self.table.column(name).is_none())
            .collect();
        let mut lost: Vec<LostColumn> = Vec::new();
        let mut need = |name: &str, use_of: Use, place: Option<Place>| {
            let now = by_number.to(name).map(str::to_owned);
            let entry = LostColumn {
                column: name.to_owned(),
                use_of,
                place: place.filter(|_| now.is_some()).map(|it| self.at(it)),
                now,
            };
            if gone.iter().any(|it| *it == name) && !lost.contains(&entry) {
                lost.push(entry);
            }
        };
        match &self.settings.key {
            Some((names, _)) => {
                let names = names.iter();
                names.for_each(|name| need(&name.text, Use::Key, Some(name.place)));
            }
            // The source's own key has followed its columns, or is another one.
            None if !self.table.primary_key.is_empty() => {}
            None => {
                let names = stored.key.iter().flatten();
                let names = names.filter(|name| followed.to(name).is_none());
                names.for_each(|name| need(name, Use::Key, None));
            }
        }
        if let Some(cursor) = &self.settings.capture.column {
            need(&cursor.text, Use::Cursor, Some(cursor.place));
        }
        let before = with_columns(self.table, &gone);
        let named = |text: &str| match resolve(text, &before) {
            Ok(resolved) => resolved.columns,
            Err(_) => Vec::new(),
        };
        if let Some(Condition::Sql(text)) = &self.settings.condition {
            let names = named(&text.text);
            let names = names.iter();
            names.for_each(|name| need(name, Use::Where, Some(text.place)));
        }
        for (_, sql) in &self.settings.derive {
            let names = named(&sql.text);
            let names = names.iter();
            names.for_each(|name| need(name, Use::Derive, Some(sql.place)));
        }
        // What later steps read may come from the steps before.
        if let Some(step) = self.settings.transform.first() {
            let reads = self.plugins.reads(&step.plugin, &step.config);
            let names = reads.ok().flatten().into_iter().flatten();
            let names = names.filter(|name| !self.computes(name));
            names.for_each(|name| need(&name, Use::Transform, Some(step.place)));
        }
        lost.extend(self.known_by_other_names(&stored, &by_number));
        if lost.is_empty() {
            lost.extend(self.key_lost(&stored));
        }
        lost
    }

    /// A key whose columns are all there, and that tells rows apart no more.
    fn key_lost(&self, stored: &Stored) -> Vec<LostColumn> {
        let lost = |column: String, use_of: Use| LostColumn {
            column,
            use_of,
            now: None,
            place: None,
        };
        let was_key = stored.key.as_ref().filter(|key| !key.is_empty());
        let is_gone = self.settings.key.is_none() && self.table.primary_key.is_empty();
        if let Some(key) = was_key.filter(|_| is_gone)
            && self.write_mode() == WriteMode::Upsert
        {
            return vec![lost(key.join(", "), Use::PrimaryKey)];
        }
        let (Some((names, _)), Some(named)) = (&self.settings.key, &stored.named_key) else {
            return Vec::new();
        };
        let key: Vec<_> = names.iter().map(|name| name.text.clone()).collect();
        // Whatever the file says for the first time is a mistake of the file.
        if key != *named || !self.has_constraints() {
            return Vec::new();
        }
        if !self.is_unique(&key) {
            return vec![lost(key.join(", "), Use::UniqueKey)];
        }
        let nullable = key.into_iter().filter(|name| self.may_be_null(name));
        nullable.map(|name| lost(name, Use::NullableKey)).collect()
    }

    /// Columns that the file names and could do without, but that only have another name.
    fn known_by_other_names(&self, stored: &Stored, renames: &Renames) -> Vec<LostColumn> {
        let mut known = Vec::new();
        let mut add = |name: &str, now: &str, use_of: Use, place: Place| {
            known.push(LostColumn {
                column: name.to_owned(),
                use_of,
                now: Some(now.to_owned()),
                place: Some(self.at(place)),
            });
        };
        let is_gone = |name: &str| self.table.column(name).is_none();
        let renamed = |name: &str| renames.to(name).filter(|_| is_gone(name));
        match &self.settings.columns {
            ColumnChoice::All => {}
            ColumnChoice::Only(entries) => {
                for entry in entries {
                    for name in stored.copied.iter().filter(|name| entry.means(name)) {
                        let now = renamed(name);
                        let now = now.filter(|now| entry.text == *name || !self.takes(now));
                        now.into_iter()
                            .for_each(|now| add(name, now, Use::Columns, entry.place));
                    }
                }
            }
            ColumnChoice::Except(entries) => {
                for entry in entries {
                    for (name, told) in stored.left_out.iter().filter(|it| entry.means(it.0)) {
                        if let Some(now) = renames.to(name)
                            && !self.asks_for(now)
                            && (self.takes(now) || entry.text == *name && is_gone(name))
                        {
                            add(name, now, Use::Exclude, entry.place);
                        } else if is_gone(name)
                            && entry.text == *name
                            && let Some(now) = self.maybe(stored, told)
                        {
                            add(name, &now, Use::MaybeExclude, entry.place);
                        }
                    }
                }
            }
        }
        for (from, _) in &self.settings.rename {
            let now = renamed(&from.text);
            now.into_iter()
                .for_each(|now| add(&from.text, now, Use::Rename, from.place));
        }
        // A guess is enough here: a column that only has another name must not pass as it is.
        let (maybe, _) = self.renames(stored);
        for rule in &self.settings.mask {
            let name = &rule.columns;
            let now = renamed(&name.text);
            let now = now.or_else(|| maybe.to(&name.text).filter(|_| is_gone(&name.text)));
            let now = now.filter(|now| !self.is_masked(now));
            now.into_iter()
                .for_each(|now| add(&name.text, now, Use::Mask, name.place));
        }
        for (name, _) in &self.settings.on_lossy.columns {
            let now = renamed(&name.text);
            now.into_iter()
                .for_each(|now| add(&name.text, now, Use::OnLossy, name.place));
        }
        known
    }

    /// A new column that would be copied and may be the one that was left out, in a store that does
    /// not number its columns.
    fn maybe(&self, stored: &Stored, told: &Value) -> Option<String> {
        if !told["number"].is_null() {
            return None;
        }
        let mut columns = self.table.columns.iter();
        let found = columns.find(|column| {
            told["type"].as_str() == Some(&spelled(&column.native))
                && self.takes(&column.name)
                && stored.lacked(&column.name)
        });
        found.map(|column| column.name.clone())
    }

    /// A place of the pipeline's file, for people.
    fn at(&self, place: Place) -> String {
        format!("{}:{}:{}", self.spec.path, place.line, place.column)
    }

    /// A plan of what is left of the table, so that every verb can show it. Nobody runs it.
    pub(crate) fn stopped(
        &self,
        lost: Vec<LostColumn>,
        problems: &mut Problems,
    ) -> Option<TablePlan> {
        let settings = self.settings_left();
        let left = Planner {
            settings: &settings,
            slice: None,
            ..*self
        };
        let plan = left.plan_whole(problems)?;
        Some(TablePlan {
            lost,
            source_changes: Vec::new(),
            notes: Vec::new(),
            ..plan
        })
    }

    fn settings_left(&self) -> TableSettings {
        let mut settings = self.settings.clone();
        settings.columns = ColumnChoice::All;
        settings.condition = None;
        settings.derive.clear();
        settings.mask.clear();
        settings.transform.clear();
        settings.rename.clear();
        settings.on_lossy.columns.clear();
        settings.key = None;
        settings.capture.mode = CaptureMode::Full;
        settings.capture.column = None;
        settings.capture.find_deletes = None;
        settings.write.mode = Some(WriteMode::Replace);
        settings.write.synced_at = None;
        settings.on_delete = OnDelete::Keep;
        settings.max_rejects = 0;
        settings
    }
}

/// The table as it was when it had these columns too. Their types are not asked for.
fn with_columns(table: &TableDescription, names: &[&String]) -> TableDescription {
    let mut before = table.clone();
    let columns = names.iter().map(|name| Column {
        name: (*name).clone(),
        data_type: DataType::Utf8,
        native: NativeType {
            engine: String::new(),
            name: String::new(),
            as_text: false,
            definition: None,
        },
        nullable: true,
        default: None,
        generated: None,
        stable_id: None,
        readable: true,
    });
    before.columns.extend(columns);
    before
}
