//! Foreign keys of target tables that we created.
//!
//! A key is added without a look at the rows, in a transaction that keeps nobody from reading; then
//! the rows are checked in another one that keeps nobody from writing either. Both store what they
//! did, so a run that was killed between them is finished by the next one.

use super::{LOCK_TIMEOUT, WRITE_LOCK_TIMEOUT, free_name, names_taken, with};
use crate::connect::Session;
use crate::ddl;
use crate::sql::{quote_ident, quote_idents, quote_literal};
use crate::state;
use crate::write::catalog::target_name;
use syncset_connector::{
    ConnectorError, ErrorClass, Lease, MadeTable, Result, TableName, TargetIndex, TargetTable,
};

/// Why a key between these columns cannot be had: PostgreSQL compares only types that have an equality
/// of their own.
pub(crate) fn refusal(
    (child, columns): (&TargetTable, &[String]),
    (parent, parent_columns): (&TargetTable, &[String]),
) -> Option<String> {
    let native = |table: &TargetTable, name: &String| {
        let column = table.columns.iter().find(|it| it.name == *name);
        column.map(|column| ddl::map_type(column).native)
    };
    let mut pairs = columns.iter().zip(parent_columns);
    pairs.find_map(|(column, parent_column)| {
        let own = native(child, column)?;
        let of_parent = native(parent, parent_column)?;
        let family = |native: &str| match native.split('(').next().unwrap_or_default().trim() {
            "smallint" | "integer" | "bigint" => "integer".to_owned(),
            "character varying" => "text".to_owned(),
            other => other.to_owned(),
        };
        (family(&own) != family(&of_parent)).then(|| {
            format!("`{column}` is {own} at the target, and what it points to is {of_parent}")
        })
    })
}

/// The statements that make a foreign key of this name; `columns` are quoted.
pub(super) fn statements(
    (table, columns): (&TableName, &str),
    (parent, parent_columns): (&TableName, &[String]),
    name: &str,
) -> Vec<String> {
    let (target, quoted) = (target_name(table), quote_ident(name));
    let parent_columns = quote_idents(parent_columns.iter().map(String::as_str));
    vec![
        format!(
            "ALTER TABLE {target} ADD CONSTRAINT {quoted} FOREIGN KEY ({columns}) \
             REFERENCES {} ({parent_columns}) DEFERRABLE INITIALLY DEFERRED NOT VALID",
            target_name(parent)
        ),
        format!("ALTER TABLE {target} VALIDATE CONSTRAINT {quoted}"),
    ]
}

/// What is done next about a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// It is added.
    Add,
    /// The rows are checked.
    Check,
}

/// Takes the next step: adds the key, or checks the rows and calls it built.
pub(super) async fn step(
    session: &mut Session,
    lease: &Lease,
    (table, index, parent): (&TableName, &TargetIndex, &TableName),
    made: &MadeTable,
) -> Result<MadeTable> {
    let mut begun = made.indexes.iter().flatten();
    let begun = begun.find(|it| it.is_for(index)).map(|it| it.name.clone());
    let sets = session
        .result_sets(&format!(
            "BEGIN ISOLATION LEVEL READ COMMITTED;\nSET LOCAL search_path = pg_catalog;\n\
             SET LOCAL lock_timeout = '{WRITE_LOCK_TIMEOUT}';\n{};\n\
             SELECT EXISTS (SELECT FROM pg_constraint WHERE contype = 'f' AND conname = {} \
             AND conrelid = to_regclass({}));\n{}",
            state::lock_fence(lease),
            quote_literal(begun.as_deref().unwrap_or_default())?,
            quote_literal(&target_name(table))?,
            names_taken(table, index)?
        ))
        .await?;
    if sets.get(3).is_none_or(Vec::is_empty) {
        return Err(state::fenced(lease));
    }
    let is_there = sets.get(4).and_then(|rows| rows.first());
    let is_there = is_there.is_some_and(|row| row.is_true(0));
    let names = sets.get(5).into_iter().flatten();
    let taken: Vec<&str> = names.filter_map(|row| row.text(0)).collect();
    let (name, step) = match begun.filter(|_| is_there) {
        Some(name) => (name, Step::Check),
        None => (free_name(table, index, &taken)?.clone(), Step::Add),
    };
    let statements = super::statements(table, index, &name, 0);
    let checks = step == Step::Check;
    let made = with(made, index, &name, checks);
    let run = async {
        let mut statements = statements.iter();
        match step {
            Step::Add => lock(session, table, parent).await?,
            Step::Check => drop(statements.next()),
        }
        let statement = statements.next().map_or("", String::as_str);
        session.execute(statement).await
    };
    match run.await {
        Ok(_) => {}
        Err(error) if checks && error.class == ErrorClass::RowParked => {
            return Err(give_up(session, lease, (table, index, &name), made, error).await);
        }
        Err(error) => return Err(error),
    }
    let stored = state::made_statement(&lease.key, &made);
    session.execute(&format!("{stored};\nCOMMIT")).await?;
    Ok(made)
}

/// Both tables at once: who writes to them waits, who reads goes on.
async fn lock(session: &mut Session, table: &TableName, parent: &TableName) -> Result<()> {
    let (table, parent) = (target_name(table), target_name(parent));
    let sql = format!("LOCK TABLE {parent}, {table} IN SHARE ROW EXCLUSIVE MODE");
    session.execute(&sql).await.map(drop)
}

/// Takes a key away that rows do not keep to: it would refuse the next rows all the same. What is
/// returned says why.
async fn give_up(
    session: &mut Session,
    lease: &Lease,
    (table, index, name): (&TableName, &TargetIndex, &str),
    mut made: MadeTable,
    error: ConnectorError,
) -> ConnectorError {
    let mut indexes = made.indexes.take().unwrap_or_default();
    indexes.retain(|it| !it.is_for(index));
    made.indexes = Some(indexes);
    let begin = format!(
        "ROLLBACK;\nBEGIN ISOLATION LEVEL READ COMMITTED;\n\
         SET LOCAL lock_timeout = '{LOCK_TIMEOUT}';\n{}",
        state::lock_fence(lease)
    );
    let end = format!(
        "{};\n{};\nCOMMIT",
        super::drop_statement(table, name, true),
        state::made_statement(&lease.key, &made)
    );
    let dropped = async {
        let sets = session.result_sets(&begin).await?;
        if sets.last().is_none_or(Vec::is_empty) {
            return Err(state::fenced(lease));
        }
        session.execute(&end).await
    };
    dropped.await.err().unwrap_or(error)
}
