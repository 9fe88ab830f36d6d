//! What is asked of the server before anything runs, in a constant number of round trips.

use super::bound::Activity;
use super::check::{TableCheck, check_columns, check_condition, check_key};
use super::condition::Condition;
use super::position::{Bound, Identity, Watermark};
use super::read::{WindowQuery, rows_sql};
use super::shape::Shape;
use super::transactions::Patience;
use super::window::WindowPlan;
use crate::connect::MysqlStore;
use crate::sql::text;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use syncset_connector::{ConnectorError, ErrorClass, Filter, ReadPlan, Result, TableRead};

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

/// What one look at the server says about all candidates.
pub(crate) struct Answers {
    /// The clock, the statements and the transactions.
    pub(crate) activity: Activity,
    /// Engines of tables.
    pub(crate) engines: HashMap<String, String>,
    /// Tables and columns that an index begins with.
    pub(crate) indexed: HashSet<(String, String)>,
    /// Tables and columns that a foreign key may change: the name of the key.
    pub(crate) cascades: HashMap<(String, String), String>,
}

/// Checks reads. A few round trips, however many reads there are; more only to find out which
/// condition is wrong.
pub(crate) async fn prepare(store: &MysqlStore, reads: &[Arc<TableRead>]) -> Result<Vec<ReadPlan>> {
    let mut plans: Vec<ReadPlan> = reads.iter().map(|_| ReadPlan::default()).collect();
    let mut candidates = Vec::new();
    for (index, (read, plan)) in reads.iter().zip(&mut plans).enumerate() {
        check_columns(store, read, plan);
        check_key(read, plan);
        match Shape::of(read, store.config.rules) {
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
    let answers = ask(store, &candidates).await?;
    let mut to_explain = Vec::new();
    for candidate in &candidates {
        let Some(plan) = plans.get_mut(candidate.index) else {
            continue;
        };
        TableCheck {
            store,
            candidate,
            answers: &answers,
        }
        .run(plan);
        check_condition(candidate, plan);
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

async fn ask(store: &MysqlStore, candidates: &[Candidate<'_>]) -> Result<Answers> {
    let names: Vec<_> = candidates
        .iter()
        .map(|candidate| text(&candidate.read.description.name.name))
        .collect();
    let names = names.join(", ");
    let needs_bound = candidates
        .iter()
        .any(|candidate| candidate.read.capture.has_windows());
    let activity = match needs_bound {
        true => Activity::observe(store, Patience::Once).await?,
        false => Activity::default(),
    };
    let sql = format!(
        "SELECT t.TABLE_NAME, t.ENGINE FROM information_schema.TABLES t
           WHERE t.TABLE_SCHEMA = DATABASE() AND t.TABLE_NAME IN ({names});
         SELECT s.TABLE_NAME, s.COLUMN_NAME FROM information_schema.STATISTICS s
           WHERE s.TABLE_SCHEMA = DATABASE() AND s.TABLE_NAME IN ({names})
             AND s.SEQ_IN_INDEX = 1 AND s.SUB_PART IS NULL AND s.COLUMN_NAME IS NOT NULL;
         SELECT k.TABLE_NAME, k.COLUMN_NAME, k.CONSTRAINT_NAME
           FROM information_schema.KEY_COLUMN_USAGE k
           JOIN information_schema.REFERENTIAL_CONSTRAINTS r
             ON r.CONSTRAINT_SCHEMA = k.CONSTRAINT_SCHEMA AND r.TABLE_NAME = k.TABLE_NAME
             AND r.CONSTRAINT_NAME = k.CONSTRAINT_NAME
           WHERE k.TABLE_SCHEMA = DATABASE() AND k.TABLE_NAME IN ({names})
             AND r.CONSTRAINT_SCHEMA = DATABASE()
             AND (r.UPDATE_RULE IN ('CASCADE', 'SET NULL') OR r.DELETE_RULE = 'SET NULL')"
    );
    let sets = store.control().await?.result_sets(&sql).await?;
    let rows = |place: usize| sets.get(place).map(Vec::as_slice).unwrap_or_default();
    let mut answers = Answers {
        activity,
        engines: HashMap::new(),
        indexed: HashSet::new(),
        cascades: HashMap::new(),
    };
    for row in rows(0) {
        if let Some(engine) = row.text(1) {
            answers
                .engines
                .insert(row.required(0)?.to_owned(), engine.to_owned());
        }
    }
    for row in rows(1) {
        let column = (row.required(0)?.to_owned(), row.required(1)?.to_owned());
        answers.indexed.insert(column);
    }
    for row in rows(2) {
        let column = (row.required(0)?.to_owned(), row.required(1)?.to_owned());
        answers.cascades.insert(column, row.required(2)?.to_owned());
    }
    Ok(answers)
}

/// The statements that `plan` shows.
fn statements(candidate: &Candidate<'_>) -> Vec<String> {
    let (read, shape) = (candidate.read, &candidate.shape);
    let mut shown = vec![rows_sql(&read.read_columns(), shape, &[])];
    let Some(cursor) = &shape.cursor else {
        return shown;
    };
    let name = &cursor.column.sql;
    let condition = if cursor.is_disjoint() {
        format!("{name} >= $watermark AND {name} < $next_watermark")
    } else {
        format!("{name} >= $watermark")
    };
    let mark = Watermark::new(
        Identity::default(),
        Vec::new(),
        (read.selection.clone(), cursor.spec.clone()),
        Bound::default(),
    );
    let plan = WindowPlan {
        condition,
        overlap: None,
        base: mark.clone(),
        next: mark,
    };
    shown.push(WindowQuery::of(read, shape, &plan).sql);
    shown
}

/// Lets the server check the conditions that we cannot be sure of.
async fn explain(
    store: &MysqlStore,
    candidates: &[&Candidate<'_>],
) -> Result<Vec<(usize, ConnectorError)>> {
    if candidates.is_empty() {
        return Ok(Vec::new());
    }
    let explained = |candidate: &Candidate<'_>| {
        format!(
            "EXPLAIN {}",
            rows_sql(&candidate.read.read_columns(), &candidate.shape, &[])
        )
    };
    let all: Vec<_> = candidates
        .iter()
        .map(|candidate| explained(candidate))
        .collect();
    let mut session = store.control().await?;
    match session.result_sets(&all.join("; ")).await {
        Ok(_) => return Ok(Vec::new()),
        Err(error) if error.class == ErrorClass::Connection => return Err(error),
        Err(_) => {}
    }
    let mut problems = Vec::new();
    for candidate in candidates {
        if let Err(cause) = session.result_sets(&explained(candidate)).await {
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
