//! What is asked of the server before anything runs, in a constant number of round trips.

use super::bound::{Activity, activity_sql};
use super::check::{TableCheck, check_columns, check_condition, check_key};
use super::condition::Condition;
use super::position::{Bound, Identity, Watermark};
use super::read::{WindowQuery, rows_sql};
use super::relation::{Relation, SnapshotNumbers, describe_sql, read as read_relations};
use super::shape::Shape;
use super::window::WindowPlan;
use crate::connect::{PgStore, TextRow};
use crate::error;
use crate::sql::quote_literal;
use std::sync::Arc;
use syncset_connector::{ConnectorError, ErrorClass, Filter, ReadPlan, Result, TableRead};

/// Answers of [`activity_sql`].
const ACTIVITY_SETS: usize = 4;

/// A read whose names and settings hold together.
pub(crate) struct Candidate<'a> {
    /// Its place among all reads.
    index: usize,
    /// The read.
    pub(crate) read: &'a TableRead,
    /// The read, rendered.
    pub(crate) shape: Shape,
    /// Its condition, if that is in the server's own dialect.
    pub(crate) condition: Option<Condition>,
}

/// Checks reads: two round trips, a third only to find out which condition is wrong.
pub(crate) async fn prepare(store: &PgStore, reads: &[Arc<TableRead>]) -> Result<Vec<ReadPlan>> {
    let mut plans: Vec<ReadPlan> = reads.iter().map(|_| ReadPlan::default()).collect();
    if let Some(first) = plans.first_mut() {
        first.notes.extend(server_notes(store));
    }
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
        let Some(relation) = facts.relations.get(place) else {
            continue;
        };
        let (hides_rows, has_index) = facts.tables.get(place).copied().unwrap_or_default();
        TableCheck {
            store,
            candidate,
            relation,
            answers: &facts,
            hides_rows,
            has_index,
        }
        .run(plan);
        check_condition(candidate, &facts, plan);
        if plan.problems.is_empty() {
            plan.statements = statements(candidate);
            // A database of another encoding may lack a character of the condition.
            let may_lack = !store.facts().is_utf8()
                && plan
                    .statements
                    .iter()
                    .any(|statement| !statement.is_ascii());
            if candidate.condition.is_some() || may_lack {
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

/// What holds for all tables alike; said once.
fn server_notes(store: &PgStore) -> Vec<String> {
    let mut notes = Vec::new();
    if store.facts().is_standby {
        notes.push("the source is a standby: it shows what it has replayed so far".to_owned());
    }
    if store.likely_pooler() {
        notes.push("a connection pooler stands before the source".to_owned());
    }
    notes
}

/// What one look at the server says about all candidates.
pub(crate) struct Answers {
    /// The clock and the sessions.
    pub(crate) activity: Activity,
    relations: Vec<Relation>,
    /// Per candidate: does row security apply, is there an index on the cursor.
    tables: Vec<(bool, bool)>,
    /// The functions that the conditions may call.
    pub(crate) functions: Vec<Function>,
}

/// All functions of one name in one schema.
pub(crate) struct Function {
    /// The schema.
    pub(crate) schema: String,
    /// The name.
    pub(crate) name: String,
    /// True if the name alone finds one of them.
    pub(crate) visible: bool,
    /// True if one of them is volatile.
    pub(crate) volatile: bool,
    /// True if it is not one of the server's own.
    pub(crate) foreign: bool,
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
        Ok(Function {
            schema: row.required(0)?.to_owned(),
            name: row.required(1)?.to_owned(),
            visible: row.is_true(2),
            volatile: row.is_true(3),
            foreign: row.is_true(4),
        })
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

/// The statements that `plan` shows.
fn statements(candidate: &Candidate<'_>) -> Vec<String> {
    let (read, shape) = (candidate.read, &candidate.shape);
    let mut shown = vec![rows_sql(&read.read_columns(), shape, &[])];
    let condition = match (&shape.cursor, shape.by_xmin) {
        (Some(cursor), _) if cursor.is_disjoint() => format!(
            "{0} >= $watermark AND {0} < $next_watermark",
            cursor.column.sql
        ),
        (Some(cursor), _) => format!("{} >= $watermark", cursor.column.sql),
        (None, true) => format!("age({}.xmin) <= age($watermark)", shape.table),
        (None, false) => return shown,
    };
    let mark = Watermark::new(
        Identity {
            system: None,
            timeline: None,
            database: 0,
            database_name: None,
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
    let numbers = SnapshotNumbers {
        xmin: 0,
        xmax: 0,
        recovered: 0,
    };
    shown.push(WindowQuery::of(read, shape, &plan, numbers).sql);
    shown
}

/// Lets the server check the conditions that we cannot be sure of.
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
            let hint = cause.hint.clone().or_else(|| {
                Some("mend the condition: it is passed on as SQL of this server".to_owned())
            });
            let mut problem = ConnectorError::new(class, message).caused_by(cause);
            problem.hint = hint;
            problems.push((candidate.index, problem));
        }
    }
    Ok(problems)
}
