//! How the batches of one table are written: the stages and the statements.
//!
//! A stage is a temporary table whose columns are those of the target, with their character sets
//! and collations, all of which may be NULL. It is named once in any statement, which is all that
//! MySQL allows.

use super::catalog::Shape;
use super::column::{
    Written, encoded_column, key_columns, missing, names, not_selected, prefixed, same,
};
use super::marks::MarkSql;
use crate::encode::RowEncoder;
use crate::sql::{identifier, table as table_name};
use syncset_connector::{ConnectorError, ErrorClass, Result, TargetTable};

/// Number of a staged row: some servers want every table to have a key.
pub(super) const ROW_NUMBER: &str = "_syncset_row";

/// Rows on their way into a stage, or straight into the table.
#[derive(Debug, Clone)]
pub(crate) struct Path {
    /// What the literals are made with.
    pub(crate) encoder: RowEncoder,
    /// The table that the rows go into first, quoted.
    pub(crate) into: String,
    /// The columns that are written.
    pub(super) columns: Vec<Written>,
    /// The stage; `None`: straight into the table.
    pub(crate) stage: Option<Stage>,
}

/// A temporary table that rows or keys are collected in before they are applied.
#[derive(Debug, Clone)]
pub(crate) struct Stage {
    /// Its name, quoted.
    pub(crate) name: String,
    /// Creates it anew.
    pub(crate) create: String,
    /// Applies what it holds to the table.
    pub(crate) apply: Vec<Step>,
}

/// One statement of several that apply a stage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) sql: String,
    pub(crate) counts: Counts,
}

/// What an answer to a [`Step`] says of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Counts {
    /// The rows it changed.
    Changed,
    /// The rows it was given, each of which it inserted or changed.
    Given,
    /// None that are of the table.
    Nothing,
    /// It must return no row: those it returns are keys that the table takes for one.
    MustBeNone,
}

/// How one table is written in one unit.
#[derive(Debug, Clone)]
pub(crate) struct WritePlan {
    pub(super) target: String,
    pub(super) written: Vec<Written>,
    pub(super) key: Vec<Written>,
    pub(super) marks: MarkSql,
    row_encoder: RowEncoder,
    key_encoder: RowEncoder,
    /// Another unique index than the key's may refuse rows, or find others than were named.
    has_further_unique_index: bool,
    /// Makes the names of stages differ between the tables of a unit.
    number: usize,
}

impl WritePlan {
    /// Decides how the columns of `table` reach the table that has this shape. `number`: its place
    /// among the tables of the unit; `now`: when the unit began, in UTC.
    ///
    /// # Errors
    /// `TargetDiffers` if a column or the key's index is missing, `Unsupported` for a column
    /// whose values cannot be carried.
    pub(crate) fn new(
        table: &TargetTable,
        shape: &Shape,
        number: usize,
        now: &str,
    ) -> Result<Self> {
        let mut written = Vec::new();
        let mut encoded = Vec::new();
        for (index, column) in table.columns.iter().enumerate() {
            let actual = shape
                .column(&column.name)
                .ok_or_else(|| missing(table, column))?;
            if actual.generated {
                continue;
            }
            encoded.push(encoded_column(table, column, actual, index)?);
            written.push(Written {
                name: column.name.clone(),
                actual: actual.clone(),
            });
        }
        let key = key_columns(table, shape)?;
        let key_encoded = table.key.iter().zip(&key).enumerate();
        let key_encoded = key_encoded.map(|(index, (name, part))| {
            let column = table.columns.iter().find(|column| column.name == *name);
            let column = column.ok_or_else(|| not_selected(table, name))?;
            encoded_column(table, column, &part.actual, index)
        });
        let name = table.name.to_string();
        Ok(Self {
            target: table_name(&table.name),
            key_encoder: RowEncoder::new(name.clone(), key_encoded.collect::<Result<_>>()?),
            row_encoder: RowEncoder::new(name, encoded),
            has_further_unique_index: shape.has_further_unique_index(&table.key),
            marks: MarkSql::new(table, shape, now)?,
            written,
            key,
            number,
        })
    }

    pub(super) fn column_list(&self) -> String {
        names(&self.written)
    }

    pub(super) fn key_list(&self) -> String {
        names(&self.key)
    }

    /// Rows straight into a table that holds none.
    pub(crate) fn direct(&self) -> Path {
        let (mut encoder, mut columns) = (self.row_encoder.clone(), self.written.clone());
        if let Some((column, time)) = self.marks.sent() {
            encoder = encoder.with_time(time);
            columns.push(column);
        }
        Path {
            encoder,
            into: self.target.clone(),
            columns,
            stage: None,
        }
    }

    /// Rows into a stage, then inserted or, where their image differs, updated.
    pub(crate) fn upsert(&self) -> Path {
        self.rows_into("rows", |stage| self.upsert_steps(stage))
    }

    /// Rows into a stage, which is then applied.
    pub(super) fn rows_into(&self, purpose: &str, apply: impl Fn(&str) -> Vec<Step>) -> Path {
        let name = self.stage_name(purpose);
        let create = self.create_stage(&name, &self.written, "");
        Path {
            encoder: self.row_encoder.clone(),
            into: name.clone(),
            columns: self.written.clone(),
            stage: Some(Stage {
                create,
                apply: apply(&name),
                name,
            }),
        }
    }

    /// Inserts staged rows that the table lacks, and updates those whose image differs.
    ///
    /// With the key's index alone that is one statement, whose guard keeps rows that are there
    /// already out before anything is locked or logged. ON DUPLICATE KEY UPDATE would rewrite
    /// another row where a further unique index has the new values: there it is an UPDATE by key,
    /// then an INSERT that such an index may refuse.
    pub(super) fn upsert_steps(&self, stage: &str) -> Vec<Step> {
        let mut steps = self.key_checks(stage);
        let set: Vec<_> = self
            .others()
            .map(|column| identifier(&column.name))
            .collect();
        if set.is_empty() && !self.marks.bring_back() {
            steps.push(self.insert_missing(stage));
            return steps;
        }
        let (same, matches) = (self.same_image(), self.key_matches());
        let (target, columns) = (&self.target, self.column_list());
        let staged = prefixed("s", &self.written);
        let set = |alias: &str| {
            let set = set.iter().map(|it| format!("{alias}.{it} = s.{it}"));
            let set: Vec<_> = set.chain(self.marks.assignments(alias)).collect();
            set.join(", ")
        };
        if self.has_further_unique_index {
            steps.push(Step {
                sql: format!(
                    "UPDATE {stage} AS s STRAIGHT_JOIN {target} AS t ON {matches} SET {} \
                     WHERE NOT ({same})",
                    set("t")
                ),
                counts: Counts::Changed,
            });
            steps.push(self.insert_missing(stage));
            return steps;
        }
        steps.push(Step {
            sql: format!(
                "INSERT INTO {target} ({columns}{marks}) SELECT {staged}{times} \
                 FROM {stage} AS s WHERE NOT EXISTS \
                 (SELECT 1 FROM {target} AS t WHERE {matches} AND {same}) \
                 ON DUPLICATE KEY UPDATE {}",
                set(target),
                marks = self.marks.columns(),
                times = self.marks.values(),
            ),
            counts: Counts::Given,
        });
        steps
    }

    /// Inserts staged rows whose key the table lacks.
    pub(super) fn insert_missing(&self, stage: &str) -> Step {
        Step {
            sql: format!(
                "INSERT INTO {target} ({}{marks}) SELECT {}{times} FROM {stage} AS s \
                 WHERE NOT EXISTS (SELECT 1 FROM {target} AS t WHERE {})",
                self.column_list(),
                prefixed("s", &self.written),
                self.key_matches(),
                target = self.target,
                marks = self.marks.columns(),
                times = self.marks.values(),
            ),
            counts: Counts::Changed,
        }
    }

    /// Two keys of the source that a collation of the target takes for one must not overwrite each
    /// other: neither two of one unit, nor one of it and one that is there.
    fn key_checks(&self, stage: &str) -> Vec<Step> {
        let blurred: Vec<&Written> = self
            .key
            .iter()
            .filter(|part| !part.actual.tells_bytes_apart())
            .collect();
        if blurred.is_empty() {
            return Vec::new();
        }
        let differ: Vec<_> = blurred
            .iter()
            .map(|part| {
                let name = identifier(&part.name);
                format!("NOT CAST(t.{name} AS BINARY) <=> CAST(s.{name} AS BINARY)")
            })
            .collect();
        [
            format!(
                "SELECT 1 FROM {stage} AS s GROUP BY {} HAVING COUNT(*) > 1 LIMIT 1",
                prefixed("s", &self.key)
            ),
            format!(
                "SELECT 1 FROM {stage} AS s STRAIGHT_JOIN {} AS t ON {} WHERE {} LIMIT 1",
                self.target,
                self.key_matches(),
                differ.join(" OR ")
            ),
        ]
        .map(|sql| Step {
            sql,
            counts: Counts::MustBeNone,
        })
        .into()
    }

    /// Keys into a stage, then their rows are deleted, or marked as gone.
    pub(crate) fn delete(&self) -> Path {
        self.by_keys("deletes", |stage| {
            let matches = self.key_matches();
            vec![self.marks.take_away_staged(&self.target, stage, &matches)]
        })
    }

    /// Keys into a stage, then every row whose key is not among them is deleted, or marked as gone.
    pub(crate) fn prune(&self) -> Path {
        self.by_keys("keys", |stage| vec![self.take_away_absent(stage)])
    }

    /// Takes every row away whose key a stage does not hold.
    pub(super) fn take_away_absent(&self, stage: &str) -> Step {
        let matches = self.key_matches();
        let absent = format!("NOT EXISTS (SELECT 1 FROM {stage} AS s WHERE {matches})");
        self.marks.take_away_where(&self.target, &absent)
    }

    pub(super) fn by_keys(&self, purpose: &str, apply: impl Fn(&str) -> Vec<Step>) -> Path {
        let name = self.stage_name(purpose);
        let index = format!(", KEY ({})", self.key_list());
        Path {
            encoder: self.key_encoder.clone(),
            into: name.clone(),
            columns: self.key.clone(),
            stage: Some(Stage {
                create: self.create_stage(&name, &self.key, &index),
                apply: apply(&name),
                name,
            }),
        }
    }

    pub(super) fn stage_name(&self, purpose: &str) -> String {
        format!("`_syncset_{}_{purpose}`", self.number)
    }

    /// A stage is made anew: the session's last unit may have left one of this name. The outer join
    /// makes every column one that may be NULL.
    fn create_stage(&self, stage: &str, columns: &[Written], index: &str) -> String {
        format!(
            "DROP TEMPORARY TABLE IF EXISTS {stage};\n\
             CREATE TEMPORARY TABLE {stage} ({ROW_NUMBER} bigint unsigned NOT NULL \
             AUTO_INCREMENT PRIMARY KEY{index}) ENGINE=InnoDB AS SELECT {} FROM (SELECT 1 AS one) \
             AS o LEFT JOIN {} AS t ON FALSE WHERE FALSE",
            prefixed("t", columns),
            self.target
        )
    }

    /// A stage with the index of its key: what collects rows to compare a table with.
    pub(super) fn with_key_index(&self, mut path: Path) -> Path {
        if let Some(stage) = &mut path.stage
            && !self.key.is_empty()
        {
            let index = format!(", KEY ({})", self.key_list());
            stage.create = self.create_stage(&stage.name, &self.written, &index);
        }
        path
    }

    pub(super) fn key_matches(&self) -> String {
        let parts: Vec<_> = self
            .key
            .iter()
            .map(|part| {
                let name = identifier(&part.name);
                format!("t.{name} = s.{name}")
            })
            .collect();
        parts.join(" AND ")
    }

    /// Written columns that are no part of the key.
    fn others(&self) -> impl Iterator<Item = &Written> {
        let is_key = |name: &str| self.key.iter().any(|part| part.name == name);
        self.written
            .iter()
            .filter(move |column| !is_key(&column.name))
    }

    /// Whether the rows `t` and `s`, which have one key, need no writing.
    fn same_image(&self) -> String {
        let parts = self.others().map(same);
        let parts: Vec<_> = parts.chain(self.marks.is_there()).collect();
        parts.join(" AND ")
    }
}

/// What is found by key needs one.
///
/// # Errors
/// `Unsupported` for a table without a key.
pub(super) fn check_key(table: &TargetTable) -> Result<()> {
    if table.key.is_empty() {
        return Err(ConnectorError::new(
            ErrorClass::Unsupported,
            format!("`{}` has no key, so its rows cannot be updated", table.name),
        )
        .with_hint("name the columns that identify a row with `key:`"));
    }
    Ok(())
}

/// The statement that makes a table's key unique.
pub(crate) fn create_index(table: &TargetTable) -> String {
    format!(
        "ALTER TABLE {} ADD UNIQUE KEY ({})",
        table_name(&table.name),
        crate::sql::identifiers(&table.key)
    )
}
