//! What stands between a pipeline and its store, and what mends it.

use crate::{ErrorClass, TableName, TableRead, TargetTable};
use serde::Serialize;
use std::sync::Arc;

/// What a store is examined for. One side is empty: a store is opened as a source or as a target.
#[derive(Debug, Clone, Default)]
pub struct Examination {
    /// Tables that would be read.
    pub reads: Vec<Arc<TableRead>>,
    /// Tables that would be written.
    pub writes: Vec<TargetTable>,
    /// Those of `writes` that are only appended to.
    pub appends: Vec<TableName>,
}

/// How one check went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum CheckStatus {
    /// As it should be.
    Ok,
    /// A run works, but something is worth a thought.
    Warning,
    /// A run would fail.
    Problem,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What was looked at: a word or two with a dot, the same in every release.
    pub id: String,
    /// How it went.
    pub status: CheckStatus,
    /// What was found.
    pub message: String,
    /// What a person can do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Statements that mend it, as they can be run by an administrator of the store.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sql: Vec<String>,
    /// What kind of failure a run would report.
    #[serde(skip)]
    pub class: ErrorClass,
}

impl Check {
    /// A check that found everything as it should be.
    pub fn ok(id: &str, message: impl Into<String>) -> Self {
        Self::of(id, CheckStatus::Ok, ErrorClass::Store, message.into())
    }

    /// A check that found something worth a thought.
    pub fn warning(id: &str, message: impl Into<String>) -> Self {
        Self::of(id, CheckStatus::Warning, ErrorClass::Store, message.into())
    }

    /// A check that found what would stop a run.
    pub fn problem(id: &str, class: ErrorClass, message: impl Into<String>) -> Self {
        Self::of(id, CheckStatus::Problem, class, message.into())
    }

    /// Adds what a person can do.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds a statement that mends it.
    #[must_use]
    pub fn with_sql(mut self, sql: impl Into<String>) -> Self {
        self.sql.push(sql.into());
        self
    }

    fn of(id: &str, status: CheckStatus, class: ErrorClass, message: String) -> Self {
        Self {
            id: id.to_owned(),
            status,
            message,
            hint: None,
            sql: Vec::new(),
            class,
        }
    }
}

/// What an examination found.
#[derive(Debug, Clone, Default)]
pub struct Diagnosis {
    /// Everything that was looked at.
    pub checks: Vec<Check>,
    /// How far the store's clock is ahead of ours, in milliseconds; `None` without a clock of its
    /// own.
    pub clock_ahead_ms: Option<i64>,
}
