//! Temporary tables that rows or keys are collected in before they are applied.
//!
//! They are made from the target table, so that their columns convert values as the table's do.

use crate::cell::bind;
use crate::connect::{Session, arguments};
use crate::encode::Encoded;
use crate::marks::Now;
use crate::sql::{identifier, identifiers, placeholders, table as table_name};
use crate::statement::{key_columns, rows_per_statement};
use crate::target::keyless;
use arrow_array::RecordBatch;
use syncset_connector::{Result, TargetColumn, TargetTable};

/// A temporary table with some columns of a target table.
#[derive(Debug, Clone)]
pub(crate) struct Stage {
    /// The target table.
    pub(crate) table: TargetTable,
    /// Its name, quoted.
    pub(crate) name: String,
    /// What is done with it, for messages.
    pub(crate) place: String,
    index: String,
    columns: Vec<TargetColumn>,
}

impl Stage {
    /// A stage of whole rows. `number` tells the stages of one unit apart.
    pub(crate) fn of_rows(table: &TargetTable, number: usize) -> Self {
        Self::new(
            table,
            format!("_syncset_rows_{number}"),
            table.columns.clone(),
        )
    }

    /// A stage of keys.
    ///
    /// # Errors
    /// `Config` for a table without a key.
    pub(crate) fn of_keys(table: &TargetTable, number: usize) -> Result<Self> {
        if table.key.is_empty() {
            return Err(keyless(table));
        }
        let columns = key_columns(table);
        Ok(Self::new(table, format!("_syncset_keys_{number}"), columns))
    }

    fn new(table: &TargetTable, name: String, columns: Vec<TargetColumn>) -> Self {
        Self {
            place: format!("comparing `{}` with its source", table.name),
            table: table.clone(),
            index: format!("temp.{}", identifier(&format!("{name}_key"))),
            name: format!("temp.{}", identifier(&name)),
            columns,
        }
    }

    /// Creates it, with an index on the key.
    pub(crate) async fn create(&self, session: &mut Session) -> Result<()> {
        self.drop(session).await?;
        let names = identifiers(self.columns.iter().map(|column| &column.name));
        let create = format!(
            "CREATE TEMP TABLE {} AS SELECT {names} FROM {} WHERE 0",
            self.bare(),
            table_name(&self.table.name)
        );
        session.run(&create, &self.place).await?;
        if self.table.key.is_empty() {
            return Ok(());
        }
        let index = format!(
            "CREATE INDEX {} ON {} ({})",
            self.index,
            self.bare(),
            identifiers(&self.table.key)
        );
        session.run(&index, &self.place).await
    }

    /// Its name without `temp`, as DDL wants it.
    fn bare(&self) -> &str {
        self.name.trim_start_matches("temp.")
    }

    /// Adds a batch of its columns.
    pub(crate) async fn fill(&self, session: &mut Session, batch: &RecordBatch) -> Result<()> {
        let encoded = Encoded::new(&self.table.name.name, &self.columns, batch)?;
        let step = rows_per_statement(self.columns.len());
        let mut row = 0;
        while row < encoded.row_count() {
            let end = (row + step).min(encoded.row_count());
            let mut arguments = arguments![];
            for index in row..end {
                for value in encoded.row(index) {
                    bind(&mut arguments, value)?;
                }
            }
            let rows = placeholders(end - row, self.columns.len());
            let sql = format!("INSERT INTO {} VALUES {rows}", self.name);
            session.execute(sql, arguments, &self.place).await?;
            row = end;
        }
        Ok(())
    }

    /// Takes the rows of the table away whose key it does not hold.
    pub(crate) fn take_away_absent(&self, now: &Now) -> String {
        let same: Vec<String> = self
            .table
            .key
            .iter()
            .map(|column| identifier(column))
            .map(|column| format!("k.{column} = t.{column}"))
            .collect();
        let absent = format!(
            "NOT EXISTS (SELECT 1 FROM {} k WHERE {})",
            self.name,
            same.join(" AND ")
        );
        now.take_away(&self.table, &absent)
    }

    /// Drops it, if it is there.
    pub(crate) async fn drop(&self, session: &mut Session) -> Result<()> {
        let sql = format!("DROP TABLE IF EXISTS {}", self.name);
        session.run(&sql, &self.place).await
    }
}
