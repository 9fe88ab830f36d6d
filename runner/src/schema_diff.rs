//! What following the source's schema would make of the target tables: the changes, their
//! statements, and what the tables on both sides are at that moment.

use crate::decision::{Action, Decision, decide};
use crate::exit_code;
use crate::failure::{Failure, Failures};
use crate::open::Ends;
use crate::planned::{Planned, PlannedTable};
use crate::rules::{Fate, Rules, not_agreed};
use serde::{Deserialize, Serialize};
use syncset_connector::{Blocker, PipelineState, PlannedStatement, TableFacts};
use syncset_pipeline::{SelectionChange, SourceChange};

/// What a run would do about the schema of a pipeline's target tables. Printed as JSON it is the
/// plan file.
#[derive(Debug, Serialize)]
pub(crate) struct SchemaDiff {
    pub(crate) exit_code: i32,
    pub(crate) project: String,
    pub(crate) pipeline: String,
    /// Our version.
    pub(crate) syncset: &'static str,
    /// The tables that change, and no others.
    pub(crate) tables: Vec<TableDiff>,
}

/// One table that changes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct TableDiff {
    pub(crate) table: String,
    pub(crate) target: String,
    /// 4: a run follows the changes; 5: they wait for a person; or why the table stops else.
    pub(crate) exit_code: i32,
    /// What became of the source's table since it was loaded.
    pub(crate) changes: Vec<ChangeEntry>,
    /// What was edited of its selection.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) edited: Vec<EditEntry>,
    pub(crate) statements: Vec<PlannedStatement>,
    pub(crate) rows: RowsEntry,
    /// False if one of the statements takes something away for good.
    pub(crate) reversible: bool,
    /// What stops the table.
    #[serde(skip_deserializing)]
    pub(crate) failures: Vec<Failure>,
    /// What was looked at when the plan was made.
    pub(crate) world: World,
}

/// One change of the source's table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ChangeEntry {
    pub(crate) kind: String,
    pub(crate) column: String,
    #[serde(rename = "type")]
    pub(crate) native: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) type_before: Option<String>,
    /// What the file says about such changes: `new_column: add`.
    pub(crate) policy: String,
    /// What becomes of it.
    pub(crate) fate: Fate,
    #[serde(skip)]
    pub(crate) sentence: String,
}

/// One edit of the selection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct EditEntry {
    pub(crate) part: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) before: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) after: Option<String>,
    #[serde(skip)]
    pub(crate) sentence: String,
}

impl EditEntry {
    pub(crate) fn of(change: SelectionChange) -> Self {
        Self {
            sentence: change.to_string(),
            part: change.what,
            before: change.before,
            after: change.after,
        }
    }
}

/// What the change has to do with rows.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct RowsEntry {
    /// Rows at the source, if it has an estimate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) source: Option<u64>,
    /// Rows at the target, if it has an estimate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) target: Option<u64>,
    /// Whether they are read again, and written where they differ.
    pub(crate) loaded_again: bool,
    /// Columns of the target that are made anew: readers see NULL there until their rows are
    /// written.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) null_until_loaded: Vec<String>,
}

/// What a plan is made of.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct World {
    /// Fingerprint of what the file selects.
    pub(crate) selection: String,
    /// The source's table.
    pub(crate) source: TableFacts,
    /// The target table; nothing if it is gone.
    pub(crate) target: Option<TableFacts>,
}

impl SchemaDiff {
    /// Compares all tables of a plan. Reads catalogues; changes nothing.
    pub(crate) async fn of(
        ends: &Ends,
        planned: &Planned,
        rules: Rules<'_>,
    ) -> Result<Self, Failures> {
        let mut tables = Vec::new();
        for table in &planned.tables {
            tables.extend(TableDiff::of(ends, table, &planned.state, rules).await?);
        }
        let mut diff = Self {
            exit_code: exit_code::DONE,
            project: ends.key.project.clone(),
            pipeline: ends.key.pipeline.clone(),
            syncset: env!("CARGO_PKG_VERSION"),
            tables,
        };
        diff.settle_exit_code();
        Ok(diff)
    }

    /// The exit code of its tables.
    pub(crate) fn settle_exit_code(&mut self) {
        let codes = self.tables.iter().map(|table| table.exit_code);
        let stopped: Vec<i32> = codes.filter(|code| *code != exit_code::DIFFERENT).collect();
        self.exit_code = match (stopped.as_slice(), self.tables.as_slice()) {
            ([], []) => exit_code::DONE,
            ([], _) => exit_code::DIFFERENT,
            (codes, _) => exit_code::of_tables(codes),
        };
    }
}

impl TableDiff {
    /// What a run under these rules would change of one table; `None` if nothing, or if the table
    /// was never loaded.
    pub(crate) async fn of(
        ends: &Ends,
        table: &PlannedTable,
        state: &PipelineState,
        rules: Rules<'_>,
    ) -> Result<Option<Self>, Failures> {
        let stream = table.stream();
        if !state.streams.iter().any(|stored| stored.stream == stream) {
            return Ok(None);
        }
        let mut diff = Self::unchanged(ends, table).await?;
        match decide(table, state, &ends.key, rules) {
            Ok(decision) if !concerns_schema(&decision) => return Ok(None),
            Ok(decision) => diff.take(ends, table, decision, rules).await?,
            Err(Failures(failures)) => {
                let changes = table.plan.source_changes.iter();
                let entries = changes.map(|change| entry(table, change, Fate::Refused));
                diff.changes = entries.collect();
                diff.failures.extend(failures);
            }
        }
        let approved = [stream.to_owned()];
        let agreed = Rules {
            approved: &approved,
            ..rules
        };
        let agreed = decide(table, state, &ends.key, agreed);
        diff.rows.loaded_again =
            agreed.is_ok_and(|it| matches!(it.action, Action::Reload(_) | Action::Load));
        diff.reversible = diff.statements.iter().all(|it| it.reversible);
        let codes: Vec<i32> = diff.failures.iter().map(|it| it.exit_code).collect();
        diff.exit_code = match codes.as_slice() {
            [] => exit_code::DIFFERENT,
            codes => exit_code::of_tables(codes),
        };
        Ok(Some(diff))
    }

    async fn unchanged(ends: &Ends, table: &PlannedTable) -> Result<Self, Failures> {
        let source = table.plan.read.description.name.clone();
        let (described, target) = tokio::join!(
            ends.source_store().describe(std::slice::from_ref(&source)),
            ends.target().table_facts(&table.target.name)
        );
        let (described, target) = (described?.into_iter().next().flatten(), target?);
        let described = described.ok_or_else(|| {
            let message = format!("table `{source}` is gone from the source");
            Failure::new(exit_code::RETRY, message).with_hint("run again")
        })?;
        Ok(Self {
            table: table.stream().to_owned(),
            target: table.target.name.to_string(),
            exit_code: exit_code::DIFFERENT,
            changes: Vec::new(),
            edited: Vec::new(),
            statements: Vec::new(),
            rows: RowsEntry {
                source: described.row_estimate,
                target: target.as_ref().and_then(|facts| facts.rows),
                loaded_again: false,
                null_until_loaded: Vec::new(),
            },
            reversible: true,
            failures: table.failures.clone(),
            world: World {
                selection: table.plan.read.selection.clone(),
                source: TableFacts::of(&described, Vec::new()),
                target,
            },
        })
    }

    async fn take(
        &mut self,
        ends: &Ends,
        table: &PlannedTable,
        decision: Decision,
        rules: Rules<'_>,
    ) -> Result<(), Failures> {
        if decision.action == Action::Approve {
            let failure = not_agreed(table, &ends.key.pipeline, &decision, rules);
            self.failures.push(failure);
        }
        let changes = decision.source.iter().map(|change| {
            let fate = match decision.refused.contains(change) {
                true => rules.fate(table, change),
                false => Fate::Follows,
            };
            entry(table, change, fate)
        });
        self.changes = changes.collect();
        if let Some(alteration) = &decision.alteration {
            let anew = alteration.columns_made_anew().into_iter();
            self.rows.null_until_loaded = anew.map(str::to_owned).collect();
            let plan = ends.target().plan_alteration(alteration).await?;
            self.statements = plan.statements;
            let in_the_way = plan.blockers.into_iter().chain(plan.asks);
            let failures = in_the_way.map(|blocker| blocked(table, blocker));
            self.failures.extend(failures);
        }
        self.edited = decision.changes.into_iter().map(EditEntry::of).collect();
        Ok(())
    }
}

/// What stands in the way of a table's alteration.
pub(crate) fn blocked(table: &PlannedTable, blocker: Blocker) -> Failure {
    let message = format!("table `{}`: {}", table.stream(), blocker.sentence);
    Failure::new(exit_code::APPROVAL, message).with_hint(blocker.hint)
}

/// Whether the source's schema changed, or something else changes the target's.
fn concerns_schema(decision: &Decision) -> bool {
    let alters = decision
        .alteration
        .as_ref()
        .is_some_and(|it| !it.changes.is_empty() || !it.must_be_empty.is_empty());
    alters || !decision.source.is_empty()
}

fn entry(table: &PlannedTable, change: &SourceChange, fate: Fate) -> ChangeEntry {
    let kind = serde_json::to_value(change.kind).unwrap_or_default();
    ChangeEntry {
        kind: kind.as_str().unwrap_or_default().to_owned(),
        column: change.column.clone(),
        native: change.native.clone(),
        type_before: change.before.clone(),
        policy: table.plan.schema.policy_of(change.kind),
        fate,
        sentence: change.to_string(),
    }
}
