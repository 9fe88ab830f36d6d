//! What spans say: OpenTelemetry's own names where it has one, else those of the report after
//! `syncset.`.

use crate::exit_code;
use crate::failure::Failure;
use crate::observer::{RowCounts, UnitKind};
use crate::planned::PlannedTable;
use crate::report::{HookReport, Outcome, RunReport, TableReport};
use opentelemetry::KeyValue;
use syncset_connector::ErrorClass;

/// A count as an attribute.
pub(super) fn count(name: &'static str, value: u64) -> KeyValue {
    KeyValue::new(name, i64::try_from(value).unwrap_or(i64::MAX))
}

/// What OpenTelemetry calls a kind of store.
pub(super) fn system(kind: &str) -> String {
    match kind {
        "postgres" => "postgresql",
        other => other,
    }
    .to_owned()
}

/// Whose run it is, known when it begins.
pub(super) fn of_run_begun(project: &str, report: &RunReport) -> Vec<KeyValue> {
    let mut all = vec![
        KeyValue::new("syncset.project", project.to_owned()),
        KeyValue::new("syncset.pipeline", report.pipeline.clone()),
        KeyValue::new("syncset.dry_run", report.dry_run),
        KeyValue::new("syncset.slice", report.slice),
    ];
    if !report.run_id.is_empty() {
        all.push(KeyValue::new("syncset.run_id", report.run_id.clone()));
    }
    all
}

/// How a run ended.
pub(super) fn of_run(report: &RunReport, is_good: bool) -> Vec<KeyValue> {
    let outcome = match is_good {
        false => "failed",
        true if report.skipped => "skipped",
        true => "done",
    };
    let sum = |number: fn(&TableReport) -> u64| report.tables.iter().map(number).sum();
    let mut all = vec![
        KeyValue::new("syncset.outcome", outcome),
        KeyValue::new("syncset.exit_code", i64::from(report.exit_code)),
        count("syncset.tables", report.tables.len() as u64),
        count("syncset.bytes_read", sum(|table| table.bytes_read)),
    ];
    all.extend(of_rows(RowCounts {
        read: sum(|table| table.rows_read),
        written: sum(|table| table.rows_written),
        deleted: sum(|table| table.rows_deleted),
        rejected: sum(|table| table.rows_rejected),
    }));
    all
}

/// What a table is, known before its turn.
pub(super) fn of_planned(table: &PlannedTable, target_system: &str) -> Vec<KeyValue> {
    // As the files name it.
    let capture = serde_json::to_value(table.plan.read.capture.mode()).unwrap_or_default();
    let capture = capture.as_str().unwrap_or_default().to_owned();
    vec![
        KeyValue::new("syncset.table", table.stream().to_owned()),
        KeyValue::new("syncset.capture", capture),
        KeyValue::new("syncset.write_mode", table.write().name()),
        KeyValue::new("db.system.name", target_system.to_owned()),
        KeyValue::new("db.collection.name", table.target.name.to_string()),
    ]
}

/// What became of a table.
pub(super) fn of_table(report: &TableReport) -> Vec<KeyValue> {
    let mut all = vec![
        KeyValue::new("syncset.outcome", outcome(report.outcome)),
        KeyValue::new("syncset.exit_code", i64::from(report.exit_code)),
        count("syncset.bytes_read", report.bytes_read),
        count("syncset.deletes_pending", report.deletes_pending),
    ];
    all.extend(of_rows(RowCounts::of(report)));
    all
}

fn outcome(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Loaded => "loaded",
        Outcome::Followed => "followed",
        Outcome::Unchanged => "unchanged",
        Outcome::Sliced => "sliced",
        Outcome::Failed => "failed",
        Outcome::Unfinished => "unfinished",
    }
}

/// What happened to rows.
pub(super) fn of_rows(counts: RowCounts) -> [KeyValue; 4] {
    [
        count("syncset.rows_read", counts.read),
        count("syncset.rows_written", counts.written),
        count("syncset.rows_deleted", counts.deleted),
        count("syncset.rows_rejected", counts.rejected),
    ]
}

/// What a unit is called.
pub(super) fn unit_name(kind: UnitKind) -> &'static str {
    match kind {
        UnitKind::Chunk(_) => "chunk",
        UnitKind::Window => "window",
        UnitKind::Differences => "differences",
        UnitKind::Settle => "settle",
        UnitKind::RejectedRows => "rejected rows",
        UnitKind::PendingDeletes => "pending deletes",
        UnitKind::RowsOnly => "rows",
        UnitKind::Together => "tables together",
    }
}

/// What a hook is. What it runs is the user's own and may hold anything, so it is left out.
pub(super) fn of_hook(hook: &HookReport) -> Vec<KeyValue> {
    vec![
        KeyValue::new("syncset.hook", hook.hook),
        KeyValue::new("syncset.hook_kind", hook.kind),
        KeyValue::new("syncset.place", hook.place.clone()),
    ]
}

/// What kind of failure it was, in a word of a short list.
pub(super) fn error_type(failure: &Failure) -> &'static str {
    match failure.class {
        Some(class) => of_class(class),
        // A row that is refused for good has no class, so that nothing tries it again; the code is
        // the store's.
        None if failure.exit_code == exit_code::FAILED && failure.code.is_some() => "row_refused",
        None => of_exit_code(failure.exit_code),
    }
}

fn of_class(class: ErrorClass) -> &'static str {
    match class {
        ErrorClass::Config => "config",
        ErrorClass::Connection => "connection",
        ErrorClass::Authentication => "authentication",
        ErrorClass::Privilege => "privilege",
        ErrorClass::Transient => "transient",
        ErrorClass::NotYet => "not_yet",
        ErrorClass::RowRefused => "row_refused",
        ErrorClass::RowParked => "row_parked",
        ErrorClass::TargetDiffers => "target_differs",
        ErrorClass::SourceChanged => "source_changed",
        ErrorClass::SnapshotLost => "snapshot_lost",
        ErrorClass::Fenced => "fenced",
        ErrorClass::Locked => "locked",
        ErrorClass::CommitUnknown => "commit_unknown",
        ErrorClass::SourceReplaced => "source_replaced",
        ErrorClass::DiskFull => "disk_full",
        ErrorClass::StateTooNew => "state_too_new",
        ErrorClass::Unsupported => "unsupported",
        _ => "store",
    }
}

/// The same for a failure, or a whole run, that is no store's.
pub(super) fn of_exit_code(code: i32) -> &'static str {
    match code {
        exit_code::CONFIG => "config",
        exit_code::SOME_FAILED => "some_failed",
        exit_code::APPROVAL => "approval",
        exit_code::CONFLICTS => "conflicts",
        exit_code::LOCKED => "locked",
        exit_code::GUARD => "guard",
        exit_code::RETRY => "retry",
        exit_code::INTERRUPTED => "interrupted",
        exit_code::TERMINATED => "terminated",
        _ => "failed",
    }
}
