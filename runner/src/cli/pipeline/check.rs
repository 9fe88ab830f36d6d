//! `pipeline check`: prints what differs between source and target.

use crate::check::{
    self, CheckReport, CheckSettings, CheckedTable, How, Kind, Mode, Sample, Verdict,
};
use crate::cli::args::{CheckArgs, Output};
use crate::cli::quantity::{count, counted, duration, rows};
use crate::cli::{Context, render};
use crate::failure::Failures;
use std::time::{Duration, Instant};

/// Compares and prints; changes nothing.
pub(crate) async fn check(context: &Context, args: &CheckArgs) -> Result<i32, Failures> {
    let spec = context.files.pipeline(&args.name)?;
    let settings = CheckSettings {
        project: &context.files.project.name,
        tables: &args.tables,
        samples: args.samples,
        how: How {
            mode: args.mode,
            sample: args.sample,
            until: args.max_seconds.and_then(in_seconds),
        },
    };
    let report = check::check(&spec, &settings).await?;
    if context.output == Output::Text {
        print(&report);
    } else {
        render::json(&report);
    }
    Ok(report.exit_code)
}

/// The moment in so many seconds; `None`: it never comes.
fn in_seconds(seconds: u64) -> Option<Instant> {
    Instant::now().checked_add(Duration::from_secs(seconds))
}

/// Prints a check for people.
pub(super) fn print(report: &CheckReport) {
    for table in &report.tables {
        render::text_out(&table_text(table));
        if let Some(failure) = &table.failure {
            render::failure(failure);
        }
    }
    let codes = |verdict: Verdict| {
        let tables = report.tables.iter();
        tables.filter(|table| table.verdict == verdict).count() as u64
    };
    let mut parts = vec![format!("{} equal", count(codes(Verdict::Equal)))];
    for (verdict, word) in [
        (Verdict::Different, "different"),
        (Verdict::Undecided, "undecided"),
        (Verdict::Failed, "failed"),
        (Verdict::Skipped, "skipped"),
        (Verdict::Unfinished, "unfinished"),
    ] {
        match codes(verdict) {
            0 => {}
            tables => parts.push(format!("{} {word}", count(tables))),
        }
    }
    render::text_out(&format!(
        "{}: {}: {} in {}\n",
        report.pipeline,
        counted(report.tables.len() as u64, "table", "tables"),
        parts.join(", "),
        duration(Duration::from_millis(report.duration_ms)),
    ));
    let left = report.tables.iter();
    let left = left.filter(|table| table.verdict == Verdict::Unfinished);
    let left: Vec<_> = left.map(|table| table.table.as_str()).collect();
    if !left.is_empty() {
        render::text_out(&format!(
            "hint: the rest: syncset pipeline check {} --tables {}\n",
            report.pipeline,
            left.join(",")
        ));
    }
}

fn table_text(table: &CheckedTable) -> String {
    let what = match table.verdict {
        Verdict::Equal => format!("equal, {}", rows(table.rows_source)),
        Verdict::Different | Verdict::Undecided if table.failure.is_none() => found(table),
        Verdict::Different => "different".to_owned(),
        Verdict::Undecided | Verdict::Failed => "not compared".to_owned(),
        Verdict::Skipped => "skipped".to_owned(),
        Verdict::Unfinished => "unfinished, its time was up".to_owned(),
    };
    let time = duration(Duration::from_millis(table.duration_ms));
    let mode = match table.mode {
        None => "",
        Some(Mode::Hash) => " by hash",
        Some(Mode::Stream) => " by stream",
    };
    let mut text = format!(
        "table {} -> {}: {what}, {time}{mode}\n",
        table.table, table.target
    );
    for sample in &table.samples {
        text.push_str(&sample_text(sample));
    }
    if table.rejected > 0 {
        let wait = counted(table.rejected, "rejected row waits", "rejected rows wait");
        text.push_str(&format!("  note: {wait} and is left out\n"));
    }
    for note in &table.notes {
        text.push_str(&format!("  note: {note}\n"));
    }
    text
}

fn found(table: &CheckedTable) -> String {
    let mut parts = Vec::new();
    for (number, what) in [
        (table.different, "different"),
        (table.missing, "missing at the target"),
        (table.extra, "only at the target"),
        (table.undecided, "undecided"),
    ] {
        if number > 0 {
            parts.push(format!("{} {what}", count(number)));
        }
    }
    let least = match table.complete {
        true => "",
        false => "at least ",
    };
    format!(
        "{least}{} ({} at the source, {} at the target)",
        parts.join(", "),
        rows(table.rows_source),
        count(table.rows_target)
    )
}

fn sample_text(sample: &Sample) -> String {
    let part = |part: &Option<String>| match part {
        Some(text) => format!("{text:?}"),
        None => "null".to_owned(),
    };
    let key: Vec<_> = sample.key.iter().map(part).collect();
    let kind = match sample.kind {
        Kind::Different => "different",
        Kind::Missing => "missing",
        Kind::Extra => "extra",
    };
    let columns = match sample.columns.as_slice() {
        [] => String::new(),
        columns => format!(": {}", columns.join(", ")),
    };
    let undecided = match sample.undecided {
        true => " (undecided)",
        false => "",
    };
    format!("  {kind} [{}]{columns}{undecided}\n", key.join(", "))
}
