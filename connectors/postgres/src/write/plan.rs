//! How the batches of one table are written: the stages and the statements.

use super::catalog::{ActualColumn, Shape, target_name};
use super::form::{Form, form_of};
use super::marks::MarkSql;
use crate::encode::{EncodedColumn, RowEncoder};
use crate::sql::quote_ident;
use syncset_connector::{ConnectorError, ErrorClass, Result, TargetColumn, TargetTable};

/// A column that is written.
#[derive(Debug, Clone)]
pub(super) struct Written {
    pub(super) name: String,
    pub(super) form: Form,
    /// False for key columns that are `GENERATED ALWAYS AS IDENTITY`, which no UPDATE may name.
    updatable: bool,
    /// False for types that have a text form only.
    pub(super) has_binary_form: bool,
}

/// A column of the key with the operator by which its index compares it.
#[derive(Debug, Clone)]
pub(super) struct KeyPart {
    pub(super) name: String,
    pub(super) operator: String,
    pub(super) form: Form,
    /// The column's type without length or precision.
    pub(super) bare: String,
}

impl KeyPart {
    /// What follows the column's name in a stage, to compare it.
    pub(super) fn cast(&self, staged: Staged) -> &str {
        match (&self.form, staged) {
            (Form::Cast(cast), Staged::AsSent) => cast,
            _ => "",
        }
    }
}

/// What the columns of a staged row are.
#[derive(Debug, Clone, Copy)]
pub(super) enum Staged {
    /// Text where the column has to be cast.
    AsSent,
    /// All of the table's own types.
    Typed,
}

/// Rows on their way into a stage, or straight into the table.
#[derive(Debug, Clone)]
pub(crate) struct Path {
    /// What the bytes are made with.
    pub(crate) encoder: RowEncoder,
    /// The stage; `None`: straight into the table.
    pub(crate) stage: Option<Stage>,
    /// The COPY.
    pub(crate) copy: String,
    /// True if each row carries the time of the unit behind its columns.
    pub(crate) is_timed: bool,
}

/// A temporary table that rows or keys are collected in before they are applied.
#[derive(Debug, Clone)]
pub(crate) struct Stage {
    /// Its name, quoted.
    pub(crate) name: String,
    /// Creates it.
    pub(crate) create: String,
    /// Applies what it holds to the table, in one statement.
    pub(crate) apply: String,
}

/// How one table is written in one unit.
#[derive(Debug, Clone)]
pub(crate) struct WritePlan {
    pub(super) target: String,
    pub(super) written: Vec<Written>,
    pub(super) key: Vec<KeyPart>,
    pub(super) marks: MarkSql,
    row_encoder: RowEncoder,
    key_encoder: RowEncoder,
    /// Makes the names of stages differ between the tables of a unit.
    number: usize,
}

impl WritePlan {
    /// Decides how the columns of `table` reach the table that has this shape.
    ///
    /// # Errors
    /// `TargetDiffers` if a column or the key's index is missing, `Unsupported` for a column
    /// whose values cannot be carried.
    pub(crate) fn new(table: &TargetTable, shape: &Shape, number: usize) -> Result<Self> {
        let mut written = Vec::new();
        let mut encoded = Vec::new();
        for (index, column) in table.columns.iter().enumerate() {
            let actual = shape
                .column(&column.name)
                .ok_or_else(|| missing(table, column))?;
            if actual.generated {
                continue;
            }
            let form = form_of(&column.data_type, actual)
                .ok_or_else(|| not_carried(table, column, actual))?;
            encoded.push(EncodedColumn {
                index,
                name: column.name.clone(),
                wire: form.wire(),
            });
            written.push(Written {
                name: column.name.clone(),
                form,
                updatable: !actual.identity_always,
                has_binary_form: actual.has_binary_form,
            });
        }
        let marks = MarkSql::new(table, shape)?;
        let key = key_parts(table, shape)?;
        let key_encoded = key.iter().enumerate().map(|(index, part)| EncodedColumn {
            index,
            name: part.name.clone(),
            wire: part.form.wire(),
        });
        Ok(Self {
            target: target_name(&table.name),
            written,
            key_encoder: RowEncoder::new(key_encoded.collect()),
            key,
            marks,
            row_encoder: RowEncoder::new(encoded),
            number,
        })
    }

    fn needs_casts(&self) -> bool {
        self.written
            .iter()
            .any(|column| matches!(column.form, Form::Cast(_)))
    }

    pub(super) fn column_list(&self) -> String {
        join(&self.written, ", ", |column| quote_ident(&column.name))
    }

    /// Rows straight into a table that holds none; `None` if a column has to be cast first.
    pub(crate) fn direct(&self) -> Option<Path> {
        let time = self.marks.sent();
        if self.needs_casts() || self.marks.has_time() && time.is_none() {
            return None;
        }
        Some(Path {
            is_timed: time.is_some(),
            encoder: self.row_encoder.and(time),
            stage: None,
            copy: format!(
                "COPY {} ({}{}) FROM STDIN (FORMAT binary)",
                self.target,
                self.column_list(),
                self.marks.columns()
            ),
        })
    }

    /// Rows into a stage, then inserted or, where their image differs, updated.
    pub(crate) fn upsert(&self) -> Path {
        self.rows_into("rows", |stage| self.upsert_sql(stage))
    }

    /// Rows into a stage, which is then applied.
    pub(super) fn rows_into(&self, purpose: &str, apply: impl Fn(&str) -> String) -> Path {
        let name = self.stage_name(purpose);
        let typed = join(&self.written, ", ", |column| {
            stage_column(&column.name, &column.form)
        });
        let stage = Stage {
            create: self.create_stage(&name, &typed),
            apply: apply(&name),
            name,
        };
        staged(self.row_encoder.clone(), stage)
    }

    pub(super) fn upsert_sql(&self, stage: &str) -> String {
        let columns = self.column_list();
        let image = |alias: &str| {
            let parts = join(&self.written, ", ", |column| {
                format!("{alias}.{}", quote_ident(&column.name))
            });
            format!("ROW({parts})::record")
        };
        let updated = self.written.iter().filter(|column| column.updatable);
        let updated =
            updated.map(|column| format!("{0} = excluded.{0}", quote_ident(&column.name)));
        let set: Vec<_> = updated.chain(self.marks.assignments()).collect();
        let is_there = self.marks.is_there();
        let action = if set.is_empty() {
            "DO NOTHING".to_owned()
        } else {
            format!(
                "DO UPDATE SET {} WHERE {} OPERATOR(pg_catalog.*<>) {} OR NOT ({is_there})",
                set.join(", "),
                image("t"),
                image("excluded")
            )
        };
        let key = join(&self.key, ", ", |part| quote_ident(&part.name));
        // Rows that are there already are kept out before ON CONFLICT sees them: it would lock
        // each of them, which costs WAL, and fire triggers. CASE keeps the images of rows with
        // different keys from being compared, which may be megabytes each.
        format!(
            "INSERT INTO {target} AS t ({columns}{marks}) OVERRIDING SYSTEM VALUE \
             SELECT {columns}{times} FROM {rows} AS s WHERE NOT EXISTS (SELECT FROM {target} AS t \
             WHERE {matches} AND CASE WHEN {matches} THEN {old} OPERATOR(pg_catalog.*=) {new} END \
             AND {is_there}) ORDER BY {key} ON CONFLICT ({key}) {action}",
            target = self.target,
            marks = self.marks.columns(),
            times = self.marks.values(),
            rows = self.typed_rows(stage),
            matches = self.key_matches(Staged::Typed),
            old = image("t"),
            new = image("s"),
        )
    }

    /// Keys into a stage, then their rows are deleted, or marked as gone.
    pub(crate) fn delete(&self) -> Path {
        self.by_keys("deletes", |stage| {
            let matches = self.key_matches(Staged::AsSent);
            let stage = format!("{stage} AS s");
            self.marks.take_away(&self.target, &stage, &matches)
        })
    }

    /// The same, but rows that this very transaction has written stay: they came later.
    pub(crate) fn delete_older(&self) -> Path {
        let mut path = self.delete();
        if let Some(stage) = &mut path.stage {
            stage
                .apply
                .push_str(" AND t.xmin <> (txid_current() & 4294967295)::text::xid");
        }
        path
    }

    /// Keys into a stage, then every row whose key is not among them is deleted, or marked as gone.
    pub(crate) fn prune(&self) -> Path {
        self.by_keys("keys", |stage| self.take_away_absent(stage))
    }

    /// Takes every row away whose key a stage does not hold.
    pub(super) fn take_away_absent(&self, stage: &str) -> String {
        let matches = self.key_matches(Staged::AsSent);
        let absent = format!("NOT EXISTS (SELECT FROM {stage} AS s WHERE {matches})");
        self.marks.take_away(&self.target, "", &absent)
    }

    pub(super) fn by_keys(&self, purpose: &str, apply: impl Fn(&str) -> String) -> Path {
        let name = self.stage_name(purpose);
        let columns = join(&self.key, ", ", |part| stage_column(&part.name, &part.form));
        let stage = Stage {
            create: self.create_stage(&name, &columns),
            apply: apply(&name),
            name,
        };
        staged(self.key_encoder.clone(), stage)
    }

    pub(super) fn stage_name(&self, purpose: &str) -> String {
        format!("pg_temp.\"syncset_{}_{purpose}\"", self.number)
    }

    fn create_stage(&self, stage: &str, columns: &str) -> String {
        format!(
            "CREATE TEMP TABLE {stage} ON COMMIT DROP AS SELECT {columns} FROM {} AS t WITH NO DATA",
            self.target
        )
    }

    /// The stage, or its rows with their text columns cast once.
    pub(super) fn typed_rows(&self, stage: &str) -> String {
        if !self.needs_casts() {
            return stage.to_owned();
        }
        let columns = join(&self.written, ", ", |column| {
            let name = quote_ident(&column.name);
            match &column.form {
                Form::Direct(_) => format!("s.{name}"),
                Form::Cast(cast) => format!("s.{name}{cast} AS {name}"),
            }
        });
        // Without the barrier each cast would be repeated wherever the column is named.
        format!("(SELECT {columns} FROM {stage} AS s OFFSET 0)")
    }

    pub(super) fn key_matches(&self, staged: Staged) -> String {
        join(&self.key, " AND ", |part| {
            let (name, cast) = (quote_ident(&part.name), part.cast(staged));
            format!("t.{name} {} s.{name}{cast}", part.operator)
        })
    }
}

fn staged(encoder: RowEncoder, stage: Stage) -> Path {
    Path {
        encoder,
        copy: format!("COPY {} FROM STDIN (FORMAT binary)", stage.name),
        stage: Some(stage),
        is_timed: false,
    }
}

fn key_parts(table: &TargetTable, shape: &Shape) -> Result<Vec<KeyPart>> {
    if table.key.is_empty() {
        return Ok(Vec::new());
    }
    let index = shape.unique_index(&table.key).ok_or_else(|| {
        ConnectorError::new(
            ErrorClass::TargetDiffers,
            format!(
                "`{}` has no unique index on ({})",
                table.name,
                table.key.join(", ")
            ),
        )
        .with_hint(create_index(table))
    })?;
    table
        .key
        .iter()
        .map(|name| key_part(table, shape, name, &index.columns))
        .collect()
}

fn key_part(
    table: &TargetTable,
    shape: &Shape,
    name: &str,
    operators: &[(String, String)],
) -> Result<KeyPart> {
    let column = table
        .columns
        .iter()
        .find(|column| column.name == name)
        .ok_or_else(|| {
            ConnectorError::new(
                ErrorClass::Config,
                format!("key column `{name}` of `{}` is not selected", table.name),
            )
        })?;
    let actual = shape.column(name).ok_or_else(|| missing(table, column))?;
    let form =
        form_of(&column.data_type, actual).ok_or_else(|| not_carried(table, column, actual))?;
    let operator = operators
        .iter()
        .find(|(column, _)| column == name)
        .map(|(_, operator)| operator.clone())
        .expect("the index has exactly the key's columns");
    Ok(KeyPart {
        name: name.to_owned(),
        operator,
        form,
        bare: actual.bare.clone(),
    })
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
        "CREATE UNIQUE INDEX ON {} ({})",
        target_name(&table.name),
        join(&table.key, ", ", |name| quote_ident(name))
    )
}

pub(super) fn missing(table: &TargetTable, column: &TargetColumn) -> ConnectorError {
    ConnectorError::new(
        ErrorClass::TargetDiffers,
        format!("`{}` has no column `{}`", table.name, column.name),
    )
    .with_hint("add the column at the target, or leave it out of `columns:`")
}

fn not_carried(
    table: &TargetTable,
    column: &TargetColumn,
    actual: &ActualColumn,
) -> ConnectorError {
    ConnectorError::new(
        ErrorClass::Unsupported,
        format!(
            "column `{}` of `{}` is {} at the target, which cannot take {}",
            column.name, table.name, actual.declared, column.data_type
        ),
    )
    .with_hint("change the column's type at the target, or leave it out of `columns:`")
}

/// A column of a stage: of the table's own type, or text.
fn stage_column(name: &str, form: &Form) -> String {
    let name = quote_ident(name);
    match form {
        Form::Direct(_) => format!("t.{name}"),
        Form::Cast(_) => format!("NULL::text AS {name}"),
    }
}

pub(super) fn join<'a, T: 'a>(
    parts: impl IntoIterator<Item = &'a T>,
    separator: &str,
    render: impl Fn(&T) -> String,
) -> String {
    let rendered: Vec<_> = parts.into_iter().map(render).collect();
    rendered.join(separator)
}
