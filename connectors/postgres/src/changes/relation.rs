//! The tables of a snapshot as the catalogues show them: locks, leaves, column numbers.
//!
//! A table that is rewritten or truncated after a snapshot was taken reads as empty, without an
//! error. So every table is locked against that, and then its files in the snapshot must be the
//! files it has now.

use super::position::{ColumnNumber, Identity, Leaf};
use crate::connect::{ServerFacts, TextRow};
use crate::error;
use crate::sql::{qualified, quote_literal};
use syncset_connector::{
    Capture, Column, ConnectorError, ErrorClass, Filter, Predicate, Result, TableKind, TableRead,
};

/// Between the columns of one table, and between the parts of one column: no name that a person
/// gives holds them.
const COLUMN_END: char = '\u{1e}';
const PART_END: char = '\u{1f}';

/// One table of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Relation {
    /// Which table it is.
    pub(crate) identity: Identity,
    /// Where its rows lie, sorted; for a view, the tables it reads.
    pub(crate) leaves: Vec<Leaf>,
    /// The columns that the read names.
    pub(crate) columns: Vec<ColumnNumber>,
    /// True if every leaf keeps row versions and this user may read `xmin`.
    pub(crate) has_xmin: bool,
    /// True if every leaf keeps row versions, whoever may read them.
    pub(crate) keeps_versions: bool,
    /// True if this user may read `tableoid`.
    pub(crate) has_tableoid: bool,
}

/// A snapshot's own numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SnapshotNumbers {
    /// Every transaction below is over: 64 bits.
    pub(crate) xmin: u64,
    /// The first transaction that had not begun: 64 bits.
    pub(crate) xmax: u64,
    /// When the server lost its statistics, as it does whenever it recovers from a crash:
    /// microseconds since 1970. Numbers that were given out shortly before a crash may be given
    /// out again after it.
    pub(crate) recovered: i64,
}

/// How the tables of a snapshot are locked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LockForm {
    /// LOCK TABLE before the snapshot is taken; needs SELECT on the whole table.
    Lock,
    /// By reading no row of it; a right on any column is enough.
    Touch,
}

/// Takes ACCESS SHARE on every table with its leaves.
///
/// LOCK TABLE takes no snapshot, so it may come first; the touching statements do.
pub(crate) fn lock_sql(reads: &[&TableRead], form: LockForm) -> String {
    let lockable = |read: &TableRead| {
        form == LockForm::Lock
            && matches!(
                read.description.kind,
                TableKind::Table | TableKind::Partitioned
            )
    };
    let names: Vec<_> = reads
        .iter()
        .filter(|read| lockable(read))
        .map(|read| qualified(&read.description.name))
        .collect();
    let mut sql = String::new();
    if !names.is_empty() {
        sql.push_str(&format!(
            "LOCK TABLE {} IN ACCESS SHARE MODE;\n",
            names.join(", ")
        ));
    }
    for read in reads.iter().filter(|read| !lockable(read)) {
        sql.push_str(&format!(
            "SELECT FROM {} LIMIT 0;\n",
            qualified(&read.description.name)
        ));
    }
    sql
}

/// Statements: relations, columns, snapshot. Three result sets.
pub(crate) fn describe_sql(reads: &[&TableRead]) -> Result<String> {
    let mut asked = Vec::with_capacity(reads.len());
    for (index, read) in reads.iter().enumerate() {
        let name = quote_literal(&qualified(&read.description.name))?;
        asked.push(format!(
            "({index}, pg_catalog.to_regclass({name})::pg_catalog.oid)"
        ));
    }
    let asked = asked.join(", ");
    let part_end = format!("pg_catalog.chr({})", u32::from(PART_END));
    let column_end = format!("pg_catalog.chr({})", u32::from(COLUMN_END));
    Ok(format!(
        "WITH RECURSIVE asked(i, root) AS (VALUES {asked}),
         tree(i, root, leaf) AS (
           SELECT i, root, root FROM asked WHERE root IS NOT NULL
           UNION
           SELECT t.i, t.root, below.oid FROM tree t CROSS JOIN LATERAL (
             SELECT h.inhrelid FROM pg_catalog.pg_inherits h WHERE h.inhparent = t.leaf
             UNION ALL
             SELECT d.refobjid FROM pg_catalog.pg_rewrite r JOIN pg_catalog.pg_depend d
               ON d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass AND d.objid = r.oid
               AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
               AND d.refobjid <> r.ev_class
               JOIN pg_catalog.pg_class v ON v.oid = r.ev_class AND v.relkind = 'v'
               WHERE r.ev_class = t.leaf AND r.rulename = '_RETURN') below(oid))
         SELECT t.i, t.root, c.oid, c.relkind, c.relfilenode,
           coalesce(pg_catalog.pg_relation_filenode(c.oid), 0),
           CASE WHEN r.relkind IN ('r', 'p')
             THEN pg_catalog.has_column_privilege(t.root, 'xmin', 'SELECT') END,
           CASE WHEN r.relkind IN ('r', 'p')
             THEN pg_catalog.has_column_privilege(t.root, 'tableoid', 'SELECT') END
           FROM tree t JOIN pg_catalog.pg_class c ON c.oid = t.leaf
             JOIN pg_catalog.pg_class r ON r.oid = t.root
           ORDER BY t.i, c.oid;
         WITH asked(i, root) AS (VALUES {asked})
         SELECT i, pg_catalog.string_agg(a.attnum || {part_end} || a.atttypid || {part_end}
             || CASE WHEN t.typnamespace = 'pg_catalog'::pg_catalog.regnamespace
               THEN pg_catalog.format_type(a.atttypid, a.atttypmod) ELSE '' END || {part_end}
             || a.attname, {column_end} ORDER BY a.attnum)
           FROM asked JOIN pg_catalog.pg_attribute a ON a.attrelid = root
             JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
           WHERE a.attnum > 0 AND NOT a.attisdropped GROUP BY i;
         SELECT pg_catalog.txid_current_snapshot(), coalesce((extract(epoch
             FROM pg_catalog.pg_stat_get_bgwriter_stat_reset_time()) * 1000000)::pg_catalog.int8, 0);\n"
    ))
}

/// Reads the answers to [`describe_sql`] and checks that every table is the one that was
/// described, with the files it has now.
///
/// # Errors
/// `SourceChanged`.
pub(crate) fn read(
    reads: &[&TableRead],
    facts: &ServerFacts,
    sets: &[Vec<TextRow>],
) -> Result<(Vec<Relation>, SnapshotNumbers)> {
    let [relations, columns, snapshot] = sets else {
        return Err(error::unexpected(
            "the server left out an answer about its tables",
        ));
    };
    let snapshot = snapshot
        .first()
        .ok_or_else(|| error::unexpected("the server did not describe its snapshot"))?;
    let (xmin, xmax) = snapshot_numbers(snapshot.required(0)?)?;
    let numbers = SnapshotNumbers {
        xmin,
        xmax,
        recovered: snapshot.parse(1)?,
    };
    let mut found: Vec<Option<Relation>> = vec![None; reads.len()];
    for row in relations {
        let index: usize = row.parse(0)?;
        let (Some(slot), Some(read)) = (found.get_mut(index), reads.get(index)) else {
            return Err(error::unexpected(
                "the server described a table nobody asked for",
            ));
        };
        let relation = slot.get_or_insert_with(|| Relation {
            identity: Identity {
                system: facts.system_identifier.clone(),
                timeline: facts.timeline.clone(),
                database: facts.database_oid,
                database_name: Some(facts.database.clone()),
                table: 0,
            },
            leaves: Vec::new(),
            columns: Vec::new(),
            has_xmin: false,
            keeps_versions: true,
            has_tableoid: false,
        });
        relation.identity.table = row.parse(1)?;
        add_leaf(relation, row, read)?;
    }
    for row in columns {
        let index: usize = row.parse(0)?;
        if let (Some(Some(relation)), Some(read)) = (found.get_mut(index), reads.get(index)) {
            relation.columns = named_columns(read, row.required(1)?)?;
        }
    }
    let relations: Result<Vec<_>> = found
        .into_iter()
        .zip(reads)
        .map(|(relation, read)| relation.ok_or_else(|| changed(read, "does not exist any more")))
        .collect();
    Ok((relations?, numbers))
}

fn add_leaf(relation: &mut Relation, row: &TextRow, read: &TableRead) -> Result<()> {
    let kind = row.required(3)?;
    let in_snapshot: u32 = row.parse(4)?;
    let filenode: u32 = row.parse(5)?;
    let stored = matches!(kind, "r" | "m");
    // Nothing above the catalogues has these numbers, and nothing rewrites it under a lock.
    if stored && in_snapshot != filenode && in_snapshot != 0 {
        return Err(changed(
            read,
            "was rewritten or truncated while it was opened",
        ));
    }
    match kind {
        "p" => {}
        "v" | "m" => relation.keeps_versions = false,
        _ => {
            relation.keeps_versions &= stored;
            relation.leaves.push(Leaf {
                oid: row.parse(2)?,
                filenode: if stored { filenode } else { 0 },
            });
        }
    }
    relation.has_xmin = relation.keeps_versions && row.is_true(6);
    relation.has_tableoid = row.is_true(7);
    Ok(())
}

/// Numbers of the columns that the read names, checked against the description.
fn named_columns(read: &TableRead, packed: &str) -> Result<Vec<ColumnNumber>> {
    let mut numbers = Vec::new();
    for name in columns_named(read) {
        let mut found = None;
        for column in packed.split(COLUMN_END) {
            let mut parts = column.splitn(4, PART_END);
            let (Some(number), Some(type_oid), Some(type_name), Some(column)) =
                (parts.next(), parts.next(), parts.next(), parts.next())
            else {
                return Err(error::unexpected(
                    "the server described a column in a strange form",
                ));
            };
            if column == name {
                let strange = |_| error::unexpected("a column's number has a strange form");
                let number = ColumnNumber {
                    name: name.to_owned(),
                    number: number.parse().map_err(strange)?,
                    type_oid: type_oid.parse().map_err(strange)?,
                };
                found = Some((number, type_name));
            }
        }
        let described = read.description.column(name);
        match (found, described) {
            (Some((column, type_name)), Some(described))
                if described
                    .stable_id
                    .is_none_or(|id| id == i64::from(column.number)) =>
            {
                if !is_of_type(described, type_name) {
                    return Err(changed(
                        read,
                        &format!("has another type in column `{name}`"),
                    ));
                }
                numbers.push(column);
            }
            _ => return Err(changed(read, &format!("has another column `{name}`"))),
        }
    }
    Ok(numbers)
}

/// Whether a column still has the type it was described with: its bytes are decoded by that one.
/// `found` is empty for types that are not the server's own; those travel as text.
fn is_of_type(described: &Column, found: &str) -> bool {
    if found.is_empty() {
        described.native.definition.is_some()
    } else {
        described.native.name == found.trim_start_matches("pg_catalog.")
    }
}

/// Every column that the statements of a read name, once each.
pub(crate) fn columns_named(read: &TableRead) -> Vec<&str> {
    let mut names: Vec<&str> = read.columns.iter().map(String::as_str).collect();
    if let Capture::Cursor(spec) = &read.capture {
        names.push(&spec.column);
    }
    if let Filter::Predicate(predicate) = &read.filter {
        names.extend(Predicate::columns(predicate));
    }
    let mut once = Vec::with_capacity(names.len());
    for name in names {
        if !once.contains(&name) {
            once.push(name);
        }
    }
    once
}

/// A table that is not the one the plan was made for.
pub(crate) fn changed(read: &TableRead, what: &str) -> ConnectorError {
    ConnectorError::new(
        ErrorClass::SourceChanged,
        format!("`{}` {what}", read.description.name),
    )
    .with_hint("run again when the table's owner is done with it")
}

/// Both numbers of a snapshot's text form, `xmin:xmax:...`.
fn snapshot_numbers(text: &str) -> Result<(u64, u64)> {
    let mut parts = text.split(':').map(str::parse);
    match (parts.next(), parts.next()) {
        (Some(Ok(xmin)), Some(Ok(xmax))) => Ok((xmin, xmax)),
        _ => Err(error::unexpected(
            "the server's snapshot has a strange form",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn snapshot_text_gives_both_numbers() {
        let numbers = snapshot_numbers("4294967396:4294967400:4294967397").expect("well-formed");

        assert_eq!(numbers, (4_294_967_396, 4_294_967_400));
        assert!(snapshot_numbers("12").is_err());
    }
}
