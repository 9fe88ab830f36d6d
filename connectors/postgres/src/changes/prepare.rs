//! What is checked before anything runs, and the watermarks below a first load.

use super::bound::{Activity, activity_sql};
use super::condition::Condition;
use super::cursor::{CursorKind, INTEGER_OVERLAP};
use super::position::{Bound, Watermark};
use super::read::{WindowQuery, rows_sql};
use super::relation::{Relation, SnapshotNumbers, describe_sql, read as read_relations};
use super::shape::Shape;
use super::snapshot::open_verified;
use super::window::{Evidence, WindowPlan};
use crate::connect::{PgStore, TextRow};
use crate::error;
use crate::sql::{qualified, quote_ident, quote_literal};
use std::sync::Arc;
use syncset_connector::{
    Capture, ConnectorError, ErrorClass, Filter, NullCursor, Overlap, Position, ReadPlan, Result,
    TableKind, TableRead,
};

/// Answers of [`activity_sql`].
const ACTIVITY_SETS: usize = 6;

/// A read whose names and settings hold together.
struct Candidate<'a> {
    index: usize,
    read: &'a TableRead,
    shape: Shape,
    condition: Option<Condition>,
}

/// Checks reads: two round trips, a third only to find out which condition is wrong.
pub(crate) async fn prepare(store: &PgStore, reads: &[Arc<TableRead>]) -> Result<Vec<ReadPlan>> {
    let mut plans: Vec<ReadPlan> = reads.iter().map(|_| ReadPlan::default()).collect();
    let mut candidates = Vec::new();
    for (index, (read, plan)) in reads.iter().zip(&mut plans).enumerate() {
        check_columns(store, read, plan);
        check_key(read, plan);
        match Shape::of(read) {
            Ok(shape) => candidates.push(Candidate {
                index,
                read,
                shape,
                condition: match &read.filter {
                    Filter::SourceSql(sql) => Some(Condition::of(sql)),
                    _ => None,
                },
            }),
            Err(problem) => plan.problems.push(problem),
        }
    }
    candidates.retain(|candidate| {
        plans
            .get(candidate.index)
            .is_some_and(|plan| plan.problems.is_empty())
    });
    if candidates.is_empty() {
        return Ok(plans);
    }
    let facts = ask(store, &candidates).await?;
    let mut to_explain = Vec::new();
    for (place, candidate) in candidates.iter().enumerate() {
        let Some(plan) = plans.get_mut(candidate.index) else {
            continue;
        };
        check_table(store, candidate, place, &facts, plan);
        check_condition(candidate, &facts, plan);
        if plan.problems.is_empty() {
            plan.statements = statements(candidate);
            if candidate.condition.is_some() {
                to_explain.push(candidate);
            }
        }
    }
    for (index, problem) in explain(store, &to_explain).await? {
        if let Some(plan) = plans.get_mut(index) {
            plan.problems.push(problem);
        }
    }
    Ok(plans)
}

fn config(message: String) -> ConnectorError {
    ConnectorError::new(ErrorClass::Config, message)
}

/// Rights: every column that a statement names.
fn check_columns(store: &PgStore, read: &TableRead, plan: &mut ReadPlan) {
    let hidden: Vec<_> = super::relation::columns_named(read)
        .into_iter()
        .filter(|name| {
            read.description
                .column(name)
                .is_some_and(|column| !column.readable)
        })
        .collect();
    if hidden.is_empty() {
        return;
    }
    let user = &store.facts().user;
    let names: Vec<_> = hidden.iter().map(|name| format!("`{name}`")).collect();
    plan.problems.push(
        ConnectorError::new(
            ErrorClass::Privilege,
            format!(
                "user `{user}` may not read {} of `{}`",
                names.join(", "),
                read.description.name
            ),
        )
        .with_hint(grant(read, hidden.into_iter(), user)),
    );
}

fn grant<'a>(read: &TableRead, columns: impl Iterator<Item = &'a str>, user: &str) -> String {
    let columns: Vec<_> = columns.map(quote_ident).collect();
    format!(
        "GRANT SELECT ({}) ON {} TO {}",
        columns.join(", "),
        qualified(&read.description.name),
        quote_ident(user)
    )
}

/// The key must be unique and without NULLs.
fn check_key(read: &TableRead, plan: &mut ReadPlan) {
    let description = &read.description;
    if read.key.is_empty() {
        return;
    }
    let covers = |columns: &[String]| {
        !columns.is_empty() && columns.iter().all(|column| read.key.contains(column))
    };
    let unique = covers(&description.primary_key)
        || description
            .unique_keys
            .iter()
            .any(|key| key.total && covers(&key.columns));
    let is_table = matches!(description.kind, TableKind::Table | TableKind::Partitioned);
    if is_table {
        for column in read
            .key_columns()
            .into_iter()
            .filter(|column| column.nullable)
        {
            plan.problems.push(
                config(format!(
                    "key column `{}` of `{}` may be NULL",
                    column.name, description.name
                ))
                .with_hint("name NOT NULL columns in `key:`, or make the column NOT NULL"),
            );
        }
    }
    if !unique {
        plan.notes.push(format!(
            "no unique index of `{}` proves that its key is unique; two rows with one key are \
             refused by the target's key",
            description.name
        ));
    }
}

/// What one look at the server says about all candidates.
struct Answers {
    activity: Activity,
    relations: Vec<Relation>,
    /// Per candidate: does row security apply, is there an index on the cursor.
    tables: Vec<(bool, bool)>,
    /// Schema, name, is visible without its schema, is volatile, is the user's own.
    functions: Vec<(String, String, bool, bool, bool)>,
}

async fn ask(store: &PgStore, candidates: &[Candidate<'_>]) -> Result<Answers> {
    let reads: Vec<&TableRead> = candidates.iter().map(|candidate| candidate.read).collect();
    let mut asked = Vec::new();
    for (place, candidate) in candidates.iter().enumerate() {
        let name = quote_literal(&candidate.shape.from)?;
        let cursor = match &candidate.shape.cursor {
            Some(cursor) => quote_literal(&cursor.spec.column)?,
            None => "NULL".to_owned(),
        };
        asked.push(format!(
            "({place}, pg_catalog.to_regclass({name})::pg_catalog.oid, {cursor})"
        ));
    }
    let sql = format!(
        "{};\n{}SELECT pg_catalog.row_security_active(t.root),
           EXISTS (SELECT FROM pg_catalog.pg_index x JOIN pg_catalog.pg_attribute a
             ON a.attrelid = x.indrelid AND a.attnum = x.indkey[0]
             WHERE x.indrelid = t.root AND x.indisvalid AND x.indpred IS NULL
               AND a.attname = t.cursor)
           FROM (VALUES {}) t(i, root, cursor) ORDER BY t.i;
         {}",
        activity_sql(),
        describe_sql(&reads)?,
        asked.join(", "),
        functions_sql(candidates)?,
    );
    let sets = store.control().await?.result_sets(&sql).await?;
    let (activity, rest) = sets
        .split_at_checked(ACTIVITY_SETS)
        .ok_or_else(|| error::unexpected("the server left out an answer about its sessions"))?;
    let (relations, rest) = rest
        .split_at_checked(3)
        .ok_or_else(|| error::unexpected("the server left out an answer about its tables"))?;
    let (relations, _) = read_relations(&reads, store.facts(), relations)?;
    let rows = |place: usize| rest.get(place).map(Vec::as_slice).unwrap_or_default();
    let function = |row: &TextRow| -> Result<_> {
        Ok((
            row.required(0)?.to_owned(),
            row.required(1)?.to_owned(),
            row.is_true(2),
            row.is_true(3),
            row.is_true(4),
        ))
    };
    Ok(Answers {
        activity: Activity::read(activity)?,
        relations,
        tables: rows(0)
            .iter()
            .map(|row| (row.is_true(0), row.is_true(1)))
            .collect(),
        functions: rows(1).iter().map(function).collect::<Result<_>>()?,
    })
}

fn functions_sql(candidates: &[Candidate<'_>]) -> Result<String> {
    let mut names = Vec::new();
    for condition in candidates
        .iter()
        .filter_map(|candidate| candidate.condition.as_ref())
    {
        for (_, name) in &condition.functions {
            let name = quote_literal(name)?;
            if !names.contains(&name) {
                names.push(name);
            }
        }
    }
    if names.is_empty() {
        return Ok(String::new());
    }
    Ok(format!(
        "SELECT n.nspname, p.proname, pg_catalog.bool_or(pg_catalog.pg_function_is_visible(p.oid)),
           pg_catalog.bool_or(p.provolatile = 'v'), n.nspname <> 'pg_catalog'
           FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
           WHERE p.proname = ANY (ARRAY[{}]) GROUP BY n.nspname, p.proname",
        names.join(", ")
    ))
}

fn check_table(
    store: &PgStore,
    candidate: &Candidate<'_>,
    place: usize,
    answers: &Answers,
    plan: &mut ReadPlan,
) {
    let read = candidate.read;
    let name = &read.description.name;
    let (hides_rows, has_index) = answers.tables.get(place).copied().unwrap_or_default();
    if hides_rows && store.config.row_security {
        plan.notes.push(format!(
            "rows that the policies of `{name}` hide are not read"
        ));
    } else if hides_rows {
        plan.problems.push(
            ConnectorError::new(
                ErrorClass::Privilege,
                format!("the policies of `{name}` would hide rows from this user"),
            )
            .with_hint(
                "use a user with BYPASSRLS, or set `row_security: on` for the connection to read \
                 only the rows it may see",
            ),
        );
    }
    let Some(relation) = answers.relations.get(place) else {
        return;
    };
    match &read.capture {
        Capture::Full => {}
        Capture::Xmin => check_xmin(store, read, relation, plan),
        Capture::Cursor(_) => check_cursor(store, candidate, relation, answers, has_index, plan),
        _ => plan.problems.push(config(format!(
            "`{name}` has a capture mode that is not known"
        ))),
    }
}

fn check_xmin(store: &PgStore, read: &TableRead, relation: &Relation, plan: &mut ReadPlan) {
    let name = &read.description.name;
    if !relation.keeps_versions {
        plan.problems.push(
            config(format!(
                "`{name}` is no plain or partitioned table, so it has no `xmin`"
            ))
            .with_hint("use `capture: { mode: full }`, or a cursor column"),
        );
    } else if !relation.has_xmin || !relation.has_tableoid {
        let user = &store.facts().user;
        plan.problems.push(
            ConnectorError::new(
                ErrorClass::Privilege,
                format!("user `{user}` may not read `xmin` and `tableoid` of `{name}`"),
            )
            .with_hint(format!(
                "GRANT SELECT (xmin, tableoid) ON {} TO {}",
                qualified(name),
                quote_ident(user)
            )),
        );
    }
}

fn check_cursor(
    store: &PgStore,
    candidate: &Candidate<'_>,
    relation: &Relation,
    answers: &Answers,
    has_index: bool,
    plan: &mut ReadPlan,
) {
    let Some(cursor) = &candidate.shape.cursor else {
        return;
    };
    let name = &candidate.read.description.name;
    let column = &cursor.spec.column;
    if cursor.nullable && cursor.spec.null_cursor == NullCursor::Error {
        plan.problems.push(
            config(format!("cursor column `{column}` of `{name}` may be NULL")).with_hint(
                "make it NOT NULL, or say what happens to such rows: `null_cursor: read` reads \
                 them in each run, `null_cursor: ignore` never",
            ),
        );
    }
    if cursor.kind.is_time()
        && let Err(problem) =
            answers
                .activity
                .check(&name.to_string(), &cursor.spec, &store.facts().user)
    {
        plan.problems.push(problem);
    }
    match candidate.read.description.kind {
        TableKind::MaterializedView => plan.problems.push(
            config(format!(
                "`{name}` is a materialised view: its rows appear with stamps of the past"
            ))
            .with_hint("use `capture: { mode: full }`"),
        ),
        TableKind::Foreign if cursor.spec.overlap.is_none() => plan.problems.push(
            config(format!(
                "`{name}` is a foreign table: the transactions that write it cannot be seen"
            ))
            .with_hint("set `overlap:` to more than the longest transaction of its server"),
        ),
        TableKind::View => plan.notes.push(format!(
            "`{name}` is a view: a row that enters it without a new `{column}` is not found"
        )),
        _ => {}
    }
    if !has_index && relation.keeps_versions {
        plan.notes.push(format!(
            "no index of `{name}` begins with `{column}`: each run scans the table"
        ));
    }
    if relation.keeps_versions && !relation.has_xmin {
        let user = &store.facts().user;
        plan.notes.push(format!(
            "rows of the last run's end are read twice, because user `{user}` may not read \
             `xmin`: GRANT SELECT (xmin, tableoid) ON {} TO {}",
            qualified(name),
            quote_ident(user)
        ));
    }
    if cursor.kind == CursorKind::Integer && cursor.spec.overlap.is_none() {
        plan.notes.push(format!(
            "`{column}` is a number: a row of `{name}` that is committed after {INTEGER_OVERLAP} \
             greater numbers is not found; `overlap:` sets another limit"
        ));
    }
    if let Some(Overlap::Time(overlap)) = cursor.spec.overlap {
        plan.notes.push(format!(
            "a row of `{name}` whose `{column}` is older than {} s when it is committed is not \
             found",
            overlap.as_secs()
        ));
    }
}

/// Membership that changes without a change of the row is not seen by windows.
fn check_condition(candidate: &Candidate<'_>, answers: &Answers, plan: &mut ReadPlan) {
    let Some(condition) = &candidate.condition else {
        return;
    };
    let place = format!("`where` of `{}`", candidate.read.description.name);
    if let Some(why) = condition.malformed {
        plan.problems
            .push(config(format!("{place} {why}")).with_hint("write one condition of SQL"));
        return;
    }
    let called = |schema: &str, name: &str, visible: bool| {
        condition.functions.iter().any(|(wanted_schema, wanted)| {
            wanted == name
                && wanted_schema
                    .as_ref()
                    .map_or(visible, |wanted| wanted == schema)
        })
    };
    let clock = condition.clock.as_deref();
    for (schema, name, visible, is_volatile, own) in &answers.functions {
        if !called(schema, name, *visible) {
            continue;
        }
        if *is_volatile && clock.is_none_or(|clock| clock != format!("{name}()")) {
            plan.problems.push(
                config(format!(
                    "{place} calls `{name}`, whose answer is never the same twice"
                ))
                .with_hint("use columns and functions that are STABLE or IMMUTABLE"),
            );
        } else if *own && candidate.read.capture.has_windows() {
            plan.notes.push(format!(
                "{place} calls `{schema}.{name}`: if its answer changes without a change of the \
                 row, only a reload finds out"
            ));
        }
    }
    if !candidate.read.capture.has_windows() {
        return;
    }
    if let Some(clock) = clock {
        plan.problems.push(
            config(format!(
                "{place} reads the clock (`{clock}`): rows would leave the selection without a \
                 change that could be seen"
            ))
            .with_hint("use a constant, or `capture: { mode: full }` for this table"),
        );
    }
    if condition.has_subquery {
        plan.notes.push(format!(
            "{place} reads other tables: a row that enters or leaves the selection without being \
             changed itself is found only by a reload"
        ));
    }
}

/// The statements that `plan` shows.
fn statements(candidate: &Candidate<'_>) -> Vec<String> {
    let (read, shape) = (candidate.read, &candidate.shape);
    let mut shown = vec![rows_sql(&read.read_columns(), shape, &[])];
    let condition = match (&shape.cursor, shape.by_xmin) {
        (Some(cursor), _) => format!("{} >= $watermark", cursor.column.sql),
        (None, true) => format!("age({}.xmin) <= age($watermark)", shape.table),
        (None, false) => return shown,
    };
    let mark = Watermark::new(
        super::position::Identity {
            system: None,
            timeline: None,
            database: 0,
            table: 0,
        },
        Vec::new(),
        read.selection.clone(),
        Bound::default(),
    );
    let plan = WindowPlan {
        condition,
        base: mark.clone(),
        next: mark,
        collects_xmins: false,
        whole: Vec::new(),
    };
    shown.push(WindowQuery::of(read, shape, &plan, SnapshotNumbers { xmin: 0, xmax: 0 }).sql);
    shown
}

/// Lets the server check the conditions that are written in its own dialect.
async fn explain(
    store: &PgStore,
    candidates: &[&Candidate<'_>],
) -> Result<Vec<(usize, ConnectorError)>> {
    if candidates.is_empty() {
        return Ok(Vec::new());
    }
    let explained = |candidate: &Candidate<'_>| {
        format!(
            "EXPLAIN (COSTS OFF) {};\n",
            rows_sql(&candidate.read.read_columns(), &candidate.shape, &[])
        )
    };
    let all: String = candidates
        .iter()
        .map(|candidate| explained(candidate))
        .collect();
    let mut session = store.control().await?;
    match session.execute(&all).await {
        Ok(_) => return Ok(Vec::new()),
        Err(error) if error.class == ErrorClass::Connection => return Err(error),
        Err(_) => {}
    }
    let mut problems = Vec::new();
    for candidate in candidates {
        if let Err(cause) = session.execute(&explained(candidate)).await {
            if cause.class == ErrorClass::Connection {
                return Err(cause);
            }
            let class = match cause.class {
                ErrorClass::Privilege => ErrorClass::Privilege,
                _ => ErrorClass::Config,
            };
            let message = format!(
                "the server refuses the `where` of `{}`",
                candidate.read.description.name
            );
            let hint = cause.hint.clone();
            let mut problem = ConnectorError::new(class, message).caused_by(cause);
            problem.hint = hint;
            problems.push((candidate.index, problem));
        }
    }
    Ok(problems)
}

/// Positions below every change that could still appear.
pub(crate) async fn low_positions(
    store: &PgStore,
    reads: &[Arc<TableRead>],
) -> Result<Vec<Position>> {
    let windowed: Vec<&TableRead> = reads
        .iter()
        .map(|read| &**read)
        .filter(|read| read.capture.has_windows())
        .collect();
    let nothing = || Position(serde_json::Value::Null);
    if windowed.is_empty() {
        return Ok(reads.iter().map(|_| nothing()).collect());
    }
    let mut opened = open_verified(store, &windowed, true, None).await?;
    let mut shapes = Vec::with_capacity(windowed.len());
    let mut sql = String::new();
    for read in &windowed {
        let shape = Shape::of(read)?;
        if let Some(cursor) = &shape.cursor {
            let name = read.description.name.to_string();
            opened.activity.check_first_load(&name)?;
            if cursor.kind.is_time() {
                opened
                    .activity
                    .check(&name, &cursor.spec, &store.facts().user)?;
            } else {
                sql.push_str(&format!(
                    "SELECT pg_catalog.max({}) FROM {};\n",
                    cursor.column.sql, shape.from
                ));
            }
        }
        shapes.push(shape);
    }
    let mut largest = if sql.is_empty() {
        Vec::new()
    } else {
        opened.session.result_sets(&sql).await?
    }
    .into_iter();
    let mut positions = Vec::with_capacity(reads.len());
    let mut tables = windowed.iter().zip(&shapes).zip(&opened.relations);
    for read in reads {
        if !read.capture.has_windows() {
            positions.push(nothing());
            continue;
        }
        let Some(((read, shape), relation)) = tables.next() else {
            break;
        };
        let is_integer = shape
            .cursor
            .as_ref()
            .is_some_and(|cursor| !cursor.kind.is_time());
        let value = match largest
            .by_ref()
            .take(usize::from(is_integer))
            .flatten()
            .next()
        {
            Some(row) if row.text(0).is_some() => Some(row.parse(0)?),
            _ => None,
        };
        let evidence = Evidence {
            read,
            shape,
            relation,
            numbers: opened.numbers,
            activity: &opened.activity,
        };
        positions.push(evidence.low(value).position());
    }
    opened.session.close().await;
    Ok(positions)
}
