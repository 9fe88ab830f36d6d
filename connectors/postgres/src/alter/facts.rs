//! What the catalog says about a table that is to be altered.

use super::statements::beside_the_table;
use crate::connect::{Session, TextRow};
use crate::ddl::{self, Need};
use crate::indexes;
use crate::sql::{quote_ident, quote_literal};
use crate::widen;
use crate::write::catalog::{self, Shape, target_name};
use crate::write::status;
use std::collections::BTreeMap;
use syncset_connector::{
    IndexKind, Marks, PlannedStatement, Result, TableAlteration, TableChange, TableName,
    TargetColumn, TargetTable, TypeDefinition, table_gone,
};

/// The answers, empty where nothing was asked.
#[derive(Debug, Default)]
pub(super) struct Facts {
    /// The owner, if this user has not its rights.
    pub(super) foreign_owner: Option<String>,
    /// Name and columns of the primary key.
    pub(super) primary_key: Option<(String, Vec<String>)>,
    /// What depends on columns that go or get another type, or on the key: column (`None`: the key)
    /// and description.
    pub(super) dependents: Vec<(Option<String>, String)>,
    /// Types that added columns need and that are missing.
    pub(super) missing: Vec<Need>,
    /// Columns that somebody else made and that hold values.
    pub(super) filled: Vec<String>,
    /// Types of columns that are made anew.
    pub(super) types: BTreeMap<String, String>,
    /// Columns that get another type, as they are called before.
    pub(super) retyped: Vec<String>,
    /// The table as it is, if columns of it are widened.
    shape: Option<Shape>,
    /// Its indexes and foreign keys, and whether each is a constraint or belongs to one.
    pub(super) indexes: BTreeMap<String, bool>,
    /// Foreign keys of other tables that point to it: table and name.
    pointing: Vec<(TableName, String)>,
}

impl Facts {
    /// Tables at the other ends of foreign keys that go: they are locked too.
    pub(super) fn ends(&self, alteration: &TableAlteration) -> Vec<String> {
        let own = alteration.changes.iter().filter_map(|change| match change {
            TableChange::DropIndex(index) if self.indexes.contains_key(&index.name) => {
                match &index.is {
                    IndexKind::ForeignKey { parent, .. } => Some(parent),
                    _ => None,
                }
            }
            _ => None,
        });
        let released = self.released(alteration).map(|(child, _)| child);
        let mut ends: Vec<_> = own.chain(released).map(target_name).collect();
        ends.sort();
        ends.dedup();
        ends.retain(|end| *end != target_name(&alteration.table.name));
        ends
    }

    /// Foreign keys of other tables that go first.
    pub(super) fn released<'a>(
        &'a self,
        alteration: &'a TableAlteration,
    ) -> impl Iterator<Item = &'a (TableName, String)> {
        let pointing = self.pointing.iter();
        pointing.filter(|(child, name)| alteration.drops_key(child, name))
    }

    /// The type that a column has to get, and whether that writes the table anew; `None` if its own,
    /// once it has all labels, will do.
    pub(super) fn wider_type(
        &self,
        alteration: &TableAlteration,
        column: &TargetColumn,
    ) -> Option<(String, bool)> {
        let before = alteration.name_before(&column.name);
        let actual = self.shape.as_ref()?.column(before)?;
        let mut actual = actual.clone();
        actual.labels.extend(labels_of(column).iter().cloned());
        status::column_difference(&alteration.table, column, &actual)?;
        let native = ddl::map_type(column).native;
        let rewrites = !widen::is_stored_alike(&actual.declared, &native);
        Some((native, rewrites))
    }

    /// Statements that give enumerations the labels that they lack. What else the type is used for
    /// does not suffer.
    pub(super) fn new_labels(&self, alteration: &TableAlteration) -> Vec<PlannedStatement> {
        let mut statements = Vec::new();
        for change in &alteration.changes {
            let TableChange::Widen(column, _) = change else {
                continue;
            };
            let shape = self.shape.as_ref();
            let before = alteration.name_before(&column.name);
            let actual = shape.and_then(|shape| shape.column(before));
            let Some(actual) = actual.filter(|actual| actual.is_enum) else {
                continue;
            };
            let mut before: Option<&String> = None;
            for label in labels_of(column) {
                if !actual.labels.contains(label)
                    && let Ok(literal) = quote_literal(label)
                {
                    let place = before.and_then(|before| quote_literal(before).ok());
                    let place = place.map_or(String::new(), |it| format!(" AFTER {it}"));
                    let sql = format!(
                        "ALTER TYPE {} ADD VALUE IF NOT EXISTS {literal}{place}",
                        actual.bare
                    );
                    statements.push(PlannedStatement {
                        // No label can be dropped again.
                        reversible: false,
                        ..beside_the_table(sql)
                    });
                }
                before = Some(label);
            }
        }
        statements
    }
}

/// The labels that a column of this engine has at the source.
fn labels_of(column: &TargetColumn) -> &[String] {
    match ddl::own(column).and_then(|native| native.definition.as_ref()) {
        Some(TypeDefinition::Enum { labels }) => labels,
        _ => &[],
    }
}

/// Asks the catalog, in one message, and which of `unmade` hold values.
pub(super) async fn facts(
    session: &mut Session,
    alteration: &TableAlteration,
    unmade: &[String],
) -> Result<Facts> {
    let needs = added_needs(alteration)?;
    let widens = |change: &TableChange| matches!(change, TableChange::Widen(..));
    let shape = match alteration.changes.iter().any(widens) {
        true => catalog::shapes(session, &[&alteration.table.name])
            .await?
            .pop(),
        false => None,
    };
    let mut facts = Facts {
        shape: shape.flatten(),
        ..Facts::default()
    };
    let retyped = alteration.changes.iter().filter_map(|change| match change {
        TableChange::Widen(column, _) => {
            facts.wider_type(alteration, column)?;
            Some(alteration.name_before(&column.name).to_owned())
        }
        _ => None,
    });
    facts.retyped = retyped.collect();
    let sets = session
        .result_sets(&questions(alteration, &needs, &facts.retyped, unmade)?)
        .await?;
    let set = |index: usize| sets.get(index + 1).map_or(&[][..], Vec::as_slice);
    let table = set(0)
        .first()
        .ok_or_else(|| table_gone(&alteration.table))?;
    if !table.is_true(0) {
        facts.foreign_owner = Some(table.required(1)?.to_owned());
    }
    for row in set(1) {
        let column = row.required(1)?.to_owned();
        let key = facts.primary_key.get_or_insert_with(Default::default);
        row.required(0)?.clone_into(&mut key.0);
        key.1.push(column);
    }
    for row in set(2) {
        let column = row.text(0).map(str::to_owned);
        if let (Some(schema), Some(child), Some(key)) = (row.text(2), row.text(3), row.text(4))
            && alteration.drops_key(&TableName::in_schema(schema, child), key)
        {
            continue;
        }
        facts.dependents.push((column, row.required(1)?.to_owned()));
    }
    let answers = set(3).first();
    for (index, need) in needs.into_iter().enumerate() {
        if !answers.is_some_and(|row: &TextRow| row.is_true(index)) {
            facts.missing.push(need);
        }
    }
    for row in set(5) {
        let column = row.required(0)?.to_owned();
        facts.types.insert(column, row.required(1)?.to_owned());
    }
    for row in set(6) {
        let name = row.required(0)?.to_owned();
        facts.indexes.insert(name, row.is_true(1));
    }
    for row in set(7) {
        let child = TableName::in_schema(row.required(0)?, row.required(1)?);
        facts.pointing.push((child, row.required(2)?.to_owned()));
    }
    let answers = set(4).first();
    for (index, column) in unmade.iter().enumerate() {
        if answers.is_some_and(|row| row.is_true(index)) {
            facts.filled.push(column.clone());
        }
    }
    Ok(facts)
}

/// What the types of added columns need.
fn added_needs(alteration: &TableAlteration) -> Result<Vec<Need>> {
    let added = alteration.changes.iter().filter_map(|change| match change {
        TableChange::Add(column) => Some(column.clone()),
        _ => None,
    });
    let mut needs = ddl::needs(&TargetTable {
        name: alteration.table.name.clone(),
        columns: added.collect(),
        key: Vec::new(),
        marks: Marks::default(),
    })?;
    // The last one is the table itself.
    needs.pop();
    Ok(needs)
}

fn questions(
    alteration: &TableAlteration,
    needs: &[Need],
    retyped: &[String],
    unmade: &[String],
) -> Result<String> {
    let name = target_name(&alteration.table.name);
    let relation = format!("to_regclass({})", quote_literal(&name)?);
    let mut dropped = Vec::new();
    let mut cleared = Vec::new();
    let mut key_changes = false;
    for change in &alteration.changes {
        match change {
            TableChange::Drop(column) => dropped.push(quote_literal(column)?),
            TableChange::Clear(column) => cleared.push(quote_literal(column)?),
            TableChange::Key(_) => key_changes = true,
            TableChange::DropIndex(_)
            | TableChange::Rename { .. }
            | TableChange::Relax(_)
            | TableChange::Widen(..)
            | TableChange::Add(_) => {}
        }
    }
    dropped.extend(cleared.iter().cloned());
    let (dropped, cleared) = (dropped.join(", "), cleared.join(", "));
    let retyped: Result<Vec<_>> = retyped.iter().map(|name| quote_literal(name)).collect();
    let retyped = retyped?.join(", ");
    let exist: Vec<_> = needs.iter().map(|need| need.exists.as_str()).collect();
    let filled: Vec<_> = unmade
        .iter()
        .map(|column| {
            let column = quote_ident(column);
            format!("EXISTS (SELECT FROM {name} AS t WHERE t.{column} IS NOT NULL)")
        })
        .collect();
    // A view depends on a column by its rule. Indexes and keys follow a column to another type.
    Ok(format!(
        "SET LOCAL search_path = pg_catalog;\n\
         SELECT pg_has_role(c.relowner, 'USAGE'), pg_get_userbyid(c.relowner) \
         FROM pg_class c WHERE c.oid = {relation};\n\
         SELECT k.conname, a.attname FROM pg_constraint k \
         CROSS JOIN LATERAL unnest(k.conkey) WITH ORDINALITY AS n (attnum, place) \
         JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = n.attnum \
         WHERE k.contype = 'p' AND k.conrelid = {relation} ORDER BY n.place;\n\
         SELECT DISTINCT a.attname::text, CASE WHEN d.classid = 'pg_rewrite'::regclass \
         THEN (SELECT pg_describe_object('pg_class'::regclass, r.ev_class, 0) FROM pg_rewrite r \
         WHERE r.oid = d.objid) ELSE pg_describe_object(d.classid, d.objid, d.objsubid) END, \
         n.nspname::text, c.relname::text, f.conname::text \
         FROM pg_depend d JOIN pg_attribute a ON a.attrelid = d.refobjid \
         AND a.attnum = d.refobjsubid \
         LEFT JOIN pg_constraint f ON d.classid = 'pg_constraint'::regclass AND f.oid = d.objid \
         AND f.contype = 'f' LEFT JOIN pg_class c ON c.oid = f.conrelid \
         LEFT JOIN pg_namespace n ON n.oid = c.relnamespace WHERE d.refclassid = 'pg_class'::regclass \
         AND d.refobjid = {relation} AND d.deptype = 'n' \
         AND (a.attname = ANY (ARRAY[{dropped}]::name[]) \
         OR a.attname = ANY (ARRAY[{retyped}]::name[]) AND d.classid IN \
         ('pg_rewrite'::regclass, 'pg_trigger'::regclass, 'pg_policy'::regclass)) \
         UNION SELECT NULL, pg_describe_object('pg_constraint'::regclass, f.oid, 0), \
         n.nspname::text, c.relname::text, f.conname::text \
         FROM pg_constraint f JOIN pg_constraint k ON k.conrelid = f.confrelid \
         AND k.contype = 'p' AND k.conindid = f.conindid JOIN pg_class c ON c.oid = f.conrelid \
         JOIN pg_namespace n ON n.oid = c.relnamespace WHERE {key_changes} AND f.contype = 'f' AND f.confrelid = {relation} ORDER BY 1, 2;\n\
         SELECT {};\nSELECT {};\n\
         SELECT a.attname, format_type(a.atttypid, a.atttypmod) FROM pg_attribute a \
         WHERE a.attrelid = {relation} AND a.attnum > 0 AND NOT a.attisdropped \
         AND a.attname = ANY (ARRAY[{cleared}]::name[]);\n{};\n{}",
        one_or_more(&exist),
        one_or_more(&filled),
        indexes::indexes_sql(&relation),
        indexes::pointing_sql(&relation)
    ))
}

/// A select list has something in it.
fn one_or_more(list: &[impl AsRef<str>]) -> String {
    if list.is_empty() {
        return "NULL".to_owned();
    }
    let parts: Vec<&str> = list.iter().map(AsRef::as_ref).collect();
    parts.join(", ")
}
