//! The writing side: target tables, and the start of units.

use crate::alter;
use crate::connect::{Database, Session, Writing, arguments};
use crate::decode::{DecodedColumn, Decoder};
use crate::describe;
use crate::digest::{ALGORITHM, KeySum, count};
use crate::encode::plain;
use crate::facts::facts_in;
use crate::images;
use crate::indexes;
use crate::marks::is_there;
use crate::scan::Scan;
use crate::sql;
use crate::state::{check_fence, fenced, made, rows};
use crate::types;
use crate::write::SqliteUnit;
use arrow_schema::{Field, Schema};
use async_trait::async_trait;
use futures::TryStreamExt;
use std::sync::Arc;
use syncset_connector::{
    AlterationPlan, ConnectorError, Difference, Digest, Domain, ErrorClass, Holds, KeyDigest,
    Lease, MadeTable, Result, ShownWrite, TableAlteration, TableDescription, TableFacts, TableKind,
    TableName, Target, TargetColumn, TargetIndex, TargetStatus, TargetTable, TypeMapping,
    UnitStart, UnitStep, UnitWriter,
};

/// Bytes of one batch of keys.
const KEY_BATCH_BYTES: usize = 1 << 20;

/// Rows of an index that its statistics are made from.
const ANALYSIS_ROWS: u32 = 1_000;

/// A file as a target.
pub(crate) struct SqliteTarget {
    database: Arc<Database>,
}

impl SqliteTarget {
    /// The writing side of an opened file.
    pub(crate) fn new(database: Arc<Database>) -> Self {
        Self { database }
    }
}

#[async_trait]
impl Target for SqliteTarget {
    fn map_type(&self, column: &TargetColumn) -> TypeMapping {
        types::map(column).0
    }

    async fn status(&self, tables: &[TargetTable]) -> Result<Vec<TargetStatus>> {
        let mut session = self.database.session().await?;
        let names: Vec<_> = tables.iter().map(|table| table.name.clone()).collect();
        let described = describe::describe(&mut session, &names).await?;
        let mut statuses = Vec::with_capacity(tables.len());
        for (table, found) in tables.iter().zip(described) {
            statuses.push(match found {
                Some(found) => existing(&mut session, table, &found).await?,
                None => TargetStatus {
                    exists: false,
                    empty: true,
                    columns: Vec::new(),
                    holds: holds(table, None),
                    differences: schema_problem(table).into_iter().collect(),
                    create: vec![create_table(table)],
                    notes: Vec::new(),
                    parents: Vec::new(),
                    cascades: Vec::new(),
                },
            });
        }
        session.release();
        Ok(statuses)
    }

    async fn create(&self, lease: &Lease, tables: &[(&TargetTable, MadeTable)]) -> Result<()> {
        let mut writing = Writing::begin(&self.database, "creating tables").await?;
        check_fence(&mut writing.session, lease).await?;
        for (table, made) in tables {
            if exists(&mut writing.session, &table.name.name).await? {
                continue;
            }
            let place = format!("creating `{}`", table.name);
            writing.session.run(&create_table(table), &place).await?;
            made::store(&mut writing.session, &lease.key, made).await?;
        }
        writing.commit("creating tables").await
    }

    async fn plan_alteration(&self, alteration: &TableAlteration) -> Result<AlterationPlan> {
        let mut session = self.database.session().await?;
        let plan = alter::plan(&mut session, alteration).await?;
        session.release();
        Ok(plan)
    }

    async fn table_facts(&self, table: &TableName) -> Result<Option<TableFacts>> {
        let mut session = self.database.session().await?;
        let facts = facts_in(&mut session, table).await?;
        session.release();
        Ok(facts)
    }

    async fn alter(&self, lease: &Lease, alteration: &TableAlteration) -> Result<()> {
        alter::alter(&self.database, lease, alteration).await
    }

    fn spell_index(&self, table: &TableName, index: &TargetIndex) -> Vec<String> {
        let name = index.names.first().map_or("", String::as_str);
        vec![indexes::statement(table, index, name)]
    }

    async fn build_index(
        &self,
        lease: &Lease,
        table: &TableName,
        index: &TargetIndex,
        made: &MadeTable,
    ) -> Result<MadeTable> {
        indexes::build(&self.database, lease, (table, index), made).await
    }

    fn spell(&self, table: &TableName, write: &ShownWrite) -> String {
        images::spell(table, write)
    }

    async fn begin(&self, start: UnitStart) -> Result<Box<dyn UnitWriter>> {
        let mut writing = Writing::begin(&self.database, "beginning a unit").await?;
        let key = &start.lease.key;
        check_fence(&mut writing.session, &start.lease).await?;
        let ours = match &start.step {
            UnitStep::Chunk {
                stream,
                index,
                version,
            } => {
                let done = rows::chunk_done(&mut writing.session, key, stream, (*index, *version));
                done.await? == Some(false)
            }
            UnitStep::Watermark { stream, version } => {
                rows::watermark_version(&mut writing.session, key, stream).await? == Some(*version)
            }
            UnitStep::Watermarks(streams) => {
                let mut ours = true;
                for (stream, version) in streams {
                    let stored = rows::watermark_version(&mut writing.session, key, stream);
                    ours &= stored.await? == Some(*version);
                }
                ours
            }
        };
        if !ours {
            writing.rollback().await;
            return Err(fenced(key));
        }
        if !start.careful {
            // Rows of one unit may refer to each other in any order.
            writing
                .session
                .run("PRAGMA defer_foreign_keys = 1", "beginning a unit")
                .await?;
        }
        Ok(Box::new(SqliteUnit::new(writing, start)))
    }

    async fn was_committed(&self, start: &UnitStart) -> Result<bool> {
        // Behind the write lock: no commit of ours can be on its way any more.
        let mut writing = Writing::begin(&self.database, "deciding a commit").await?;
        let key = &start.lease.key;
        check_fence(&mut writing.session, &start.lease).await?;
        let committed = match &start.step {
            UnitStep::Chunk {
                stream,
                index,
                version,
            } => {
                let done = rows::chunk_done(&mut writing.session, key, stream, (*index, *version));
                done.await?.ok_or_else(|| fenced(key))?
            }
            UnitStep::Watermark { stream, version } => {
                let stored = rows::watermark_version(&mut writing.session, key, stream).await?;
                stored.is_some_and(|stored| stored > *version)
            }
            UnitStep::Watermarks(streams) => {
                // They move together, so the first one tells.
                let (stream, version) = streams.first().ok_or_else(|| fenced(key))?;
                let stored = rows::watermark_version(&mut writing.session, key, stream).await?;
                stored.is_some_and(|stored| stored > *version)
            }
        };
        writing.rollback().await;
        Ok(committed)
    }

    async fn key_digest(&self, table: &TargetTable, digest: Digest) -> Result<KeyDigest> {
        let mut session = self.database.session().await?;
        let digest = key_digest(&mut session, table, digest).await?;
        session.release();
        Ok(digest)
    }

    fn key_hash(&self) -> Option<&'static str> {
        Some(ALGORITHM)
    }

    async fn analyze(&self, tables: &[&TableName]) -> Result<()> {
        let mut writing = Writing::begin(&self.database, "renewing statistics").await?;
        // So many rows of each index tell enough; a whole index could take minutes.
        let limit = format!("PRAGMA analysis_limit = {ANALYSIS_ROWS}");
        writing.session.run(&limit, "renewing statistics").await?;
        for table in tables {
            let place = format!("renewing the statistics of `{table}`");
            let analyze = format!("ANALYZE {}", sql::table(table));
            writing.session.run(&analyze, &place).await?;
        }
        writing.commit("renewing statistics").await
    }
}

/// Count and hash of the keys of all rows that the session sees and that are not marked as gone.
pub(crate) async fn key_digest(
    session: &mut Session,
    table: &TargetTable,
    digest: Digest,
) -> Result<KeyDigest> {
    let mut sum = KeySum::default();
    let scan = scan_keys(table)?;
    if digest == Digest::Count {
        let place = format!("counting `{}`", table.name);
        return count(session, &scan.statement, &place).await;
    }
    let mut keys = scan.stream(session);
    while let Some(batch) = keys.try_next().await? {
        sum.add(&batch)?;
    }
    Ok(sum.digest())
}

/// A scan of the keys of all rows of a target table that are not marked as gone.
pub(crate) fn scan_keys(table: &TargetTable) -> Result<Scan> {
    let columns: Vec<&TargetColumn> = table
        .key
        .iter()
        .filter_map(|name| table.columns.iter().find(|column| column.name == *name))
        .collect();
    let decoded = columns.iter().map(|column| DecodedColumn {
        name: column.name.clone(),
        declared: types::map(column).0.native,
        data_type: plain(&column.data_type),
        numbers: true,
    });
    let fields: Vec<Field> = columns
        .iter()
        .map(|column| Field::new(&column.name, plain(&column.data_type), true))
        .collect();
    let decoder = Decoder::new(
        &table.name.name,
        decoded.collect(),
        Arc::new(Schema::new(fields)),
    )?;
    let key = sql::identifiers(&table.key);
    Ok(Scan {
        statement: format!(
            "SELECT {key} FROM {} AS t WHERE {}",
            sql::table(&table.name),
            is_there(&table.marks, "t")
        ),
        arguments: arguments![],
        decoder,
        key: (0..table.key.len()).collect(),
        batch_bytes: KEY_BATCH_BYTES,
        place: format!("reading keys of `{}`", table.name),
        only: None,
    })
}

async fn exists(session: &mut Session, name: &str) -> Result<bool> {
    let sql = "SELECT 1 FROM sqlite_schema WHERE type IN ('table', 'view') \
               AND name = ? COLLATE NOCASE";
    let found = session.rows(sql, arguments![name], "looking for a table");
    Ok(!found.await?.is_empty())
}

/// The statement that creates a target table.
pub(crate) fn create_table(table: &TargetTable) -> String {
    let mut parts: Vec<String> = table
        .all_columns()
        .iter()
        .map(|column| {
            let required = !column.nullable || table.key.contains(&column.name);
            let not_null = if required { " NOT NULL" } else { "" };
            let native = types::map(column).0.native;
            format!("{} {native}{not_null}", sql::identifier(&column.name))
        })
        .collect();
    if !table.key.is_empty() {
        parts.push(format!("PRIMARY KEY ({})", sql::identifiers(&table.key)));
    }
    format!(
        "CREATE TABLE {} ({})",
        sql::table(&table.name),
        parts.join(", ")
    )
}

fn schema_problem(table: &TargetTable) -> Option<Difference> {
    let schema = table
        .name
        .schema
        .as_deref()
        .filter(|schema| *schema != "main")?;
    Some(Difference::of_table(format!(
        "SQLite has no schemas, so `{}` cannot be in `{schema}`; write `to: \"{{table}}\"`",
        table.name
    )))
}

/// What its columns take. SQLite keeps whatever can be sent, to the microsecond.
fn holds(table: &TargetTable, found: Option<&TableDescription>) -> Vec<Holds> {
    let holds = |column: &TargetColumn| Holds {
        nullable: match found.and_then(|found| found.column(&column.name)) {
            Some(there) => there.nullable,
            None => column.nullable && !table.key.contains(&column.name),
        },
        domain: Domain::Any,
        is_other: false,
    };
    table.columns.iter().map(holds).collect()
}

/// What stops us from writing a table that exists, and what a user should know of it.
async fn existing(
    session: &mut Session,
    table: &TargetTable,
    found: &TableDescription,
) -> Result<TargetStatus> {
    let name = sql::table(&table.name);
    let place = format!("looking at `{}`", table.name);
    let rows = session
        .rows(
            format!("SELECT 1 FROM {name} LIMIT 1"),
            arguments![],
            &place,
        )
        .await?;
    let mut differences: Vec<Difference> = schema_problem(table).into_iter().collect();
    if found.kind != TableKind::Table {
        let sentence = format!("`{}` is a view; write to a table", table.name);
        differences.push(Difference::of_table(sentence));
    }
    differences.extend(column_differences(table, found));
    if table.key.is_empty() && is_without_rowid(session, table).await? {
        differences.push(Difference::of_table(format!(
            "`{}` is WITHOUT ROWID, so rows that are equal cannot be told apart; name its key with `key:`",
            table.name
        )));
    }
    if !table.key.is_empty() && found.kind == TableKind::Table {
        let sentence = key_difference(session, table).await?;
        differences.extend(sentence.map(Difference::of_key));
    }
    let mut notes = Vec::new();
    let sql = "SELECT count(*) FROM sqlite_schema WHERE type = 'trigger' AND tbl_name = ?";
    let triggers = session
        .rows(sql, arguments![table.name.name.as_str()], &place)
        .await?;
    let trigger_count = triggers
        .first()
        .map_or(0, |row| crate::cell::integer(row, 0));
    if trigger_count > 0 {
        notes.push(format!(
            "{trigger_count} triggers of `{}` fire for every row that is written",
            table.name
        ));
    }
    for key in &found.foreign_keys {
        notes.push(format!(
            "{} of `{}` refuses rows whose parent in `{}` is missing",
            key.name, table.name, key.parent
        ));
    }
    for key in found
        .unique_keys
        .iter()
        .filter(|key| key.columns != table.key)
    {
        notes.push(format!(
            "unique key `{}` of `{}` may refuse rows",
            key.name, table.name
        ));
    }
    let parents = found.foreign_keys.iter();
    let parents = parents.map(|key| key.parent.clone()).collect();
    Ok(TargetStatus {
        exists: true,
        empty: rows.is_empty(),
        columns: found
            .columns
            .iter()
            .map(|column| column.name.clone())
            .collect(),
        holds: holds(table, Some(found)),
        differences,
        create: Vec::new(),
        notes,
        parents,
        cascades: cascades(session, table).await?,
    })
}

async fn is_without_rowid(session: &mut Session, table: &TargetTable) -> Result<bool> {
    let sql = "SELECT wr FROM pragma_table_list WHERE schema = 'main' AND name = ? COLLATE NOCASE";
    let place = format!("looking at `{}`", table.name);
    let rows = session
        .rows(sql, arguments![table.name.name.as_str()], &place)
        .await?;
    Ok(rows
        .first()
        .is_some_and(|row| crate::cell::integer(row, 0) == 1))
}

/// Foreign keys of other tables that a deleted row of this one would touch.
async fn cascades(session: &mut Session, table: &TargetTable) -> Result<Vec<String>> {
    let sql = "SELECT DISTINCT m.name, f.id FROM main.sqlite_schema m \
               JOIN pragma_foreign_key_list(m.name, 'main') f \
               WHERE m.type = 'table' AND f.\"table\" = ? COLLATE NOCASE \
               AND f.on_delete IN ('CASCADE', 'SET NULL', 'SET DEFAULT') ORDER BY 1, 2";
    let place = format!("looking at `{}`", table.name);
    let rows = session
        .rows(sql, arguments![table.name.name.as_str()], &place)
        .await?;
    let described = rows.iter().map(|row| {
        let child = crate::cell::text(row, 0).unwrap_or_default();
        format!("foreign key {} of `{child}`", crate::cell::integer(row, 1))
    });
    Ok(described.collect())
}

fn column_differences(table: &TargetTable, found: &TableDescription) -> Vec<Difference> {
    let mut differences = Vec::new();
    let wanted = table.all_columns();
    for column in &wanted {
        let (mapping, storage) = types::map(column);
        let (name, native) = (&column.name, &mapping.native);
        let sentence = match found.column(name) {
            None => format!(
                "column `{name}` is missing in `{0}`; run `ALTER TABLE {1} ADD COLUMN {2} {native}`, or exclude it",
                table.name,
                sql::identifier(&table.name.name),
                sql::identifier(name),
            ),
            Some(there) if there.generated.is_some() => format!(
                "column `{name}` of `{}` is generated and cannot be written; exclude or rename it",
                table.name
            ),
            Some(there) if !storage.kept_by(&there.native.name, native) => format!(
                "column `{name}` of `{}` is declared `{}`, which would change the values or not read them; it must be `{native}`",
                table.name, there.native.name
            ),
            Some(there)
                if table.marks.deleted_at.as_ref() == Some(name)
                    && (!there.nullable || there.default.is_some()) =>
            {
                format!(
                    "column `{name}` of `{}` refuses NULL or has a default, and syncset fills it; drop the column, or write to another table with `to:`",
                    table.name
                )
            }
            Some(_) => continue,
        };
        differences.push(Difference::of_column(name, sentence));
    }
    for column in &found.columns {
        let written = wanted.iter().any(|known| known.name == column.name);
        let fills_itself =
            column.nullable || column.default.is_some() || column.generated.is_some();
        if !written && !fills_itself {
            differences.push(Difference::of_column(
                &column.name,
                format!(
                    "column `{}` of `{}` must not be NULL and the pipeline does not write it; give it a default",
                    column.name, table.name
                ),
            ));
        }
    }
    differences
}

/// A unique index over exactly the key, comparing bytes: under another collation two keys of the
/// source would overwrite each other.
async fn key_difference(session: &mut Session, table: &TargetTable) -> Result<Option<String>> {
    let mut wanted = table.key.clone();
    wanted.sort();
    let indexes = describe::unique_indexes(session, &table.name).await?;
    let matching = indexes.into_iter().find(|index| {
        let mut names: Vec<&String> = index.iter().map(|(name, _)| name).collect();
        names.sort();
        names.iter().copied().eq(wanted.iter())
    });
    Ok(match matching {
        None => Some(format!(
            "`{}` has no primary or unique key over ({}); add one, or name its key with `key:`",
            table.name,
            table.key.join(", ")
        )),
        Some(index) => index
            .into_iter()
            .find(|(_, collation)| !collation.eq_ignore_ascii_case("BINARY"))
            .map(|(column, collation)| {
                format!(
                    "the key column `{column}` of `{}` compares by {collation}, so different keys of the \
                     source could overwrite each other; create the table with COLLATE BINARY",
                    table.name
                )
            }),
    })
}

/// The error of a delete from a table without a key.
pub(crate) fn keyless(table: &TargetTable) -> ConnectorError {
    ConnectorError::new(
        ErrorClass::Config,
        format!("table `{}` has no key, which deletes need", table.name),
    )
    .with_hint("name one with `key:`")
}
