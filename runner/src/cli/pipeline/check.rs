//! `pipeline check`: prints what differs between source and target.

use crate::check::{self, CheckReport, CheckSettings, CheckedTable, How, Mode, Verdict};
use crate::cli::args::{CheckArgs, Output};
use crate::cli::quantity::{count, counted, duration, rows};
use crate::cli::{Context, render};
use crate::exit_code;
use crate::failure::{Failure, Failures};
use crate::shell;
use std::io::ErrorKind;
use std::path::Path;
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
            condition: args.condition.clone(),
            min_age: args.min_age,
            load: args.max_load,
            until: args.max_seconds.and_then(in_seconds),
        },
    };
    let report = check::check(&spec, &settings).await?;
    show(context.output, &report, args.html.as_deref())?;
    Ok(report.exit_code)
}

/// The moment in so many seconds; `None`: it never comes.
fn in_seconds(seconds: u64) -> Option<Instant> {
    Instant::now().checked_add(Duration::from_secs(seconds))
}

/// Prints a check for people. `say`: where to.
pub(in crate::cli) fn print(report: &CheckReport, say: fn(&str)) {
    for table in &report.tables {
        say(&table_text(table));
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
    say(&format!(
        "{}: {}: {} in {}\n",
        report.pipeline,
        counted(report.tables.len() as u64, "table", "tables"),
        parts.join(", "),
        duration(Duration::from_millis(report.duration_ms)),
    ));
    for line in rest(report) {
        say(&format!("hint: the rest: {line}\n"));
    }
}

/// The commands that compare what there was no time for.
fn rest(report: &CheckReport) -> Vec<String> {
    let check = format!("syncset pipeline check {}", report.pipeline);
    let begun = report.tables.iter().filter_map(|table| {
        let (name, rest) = (shell::word(&table.table), shell::word(table.rest.as_ref()?));
        Some(format!("{check} --tables {name} --where {rest}"))
    });
    let is_left =
        |table: &&CheckedTable| table.verdict == Verdict::Unfinished && table.rest.is_none();
    let left: Vec<_> = report.tables.iter().filter(is_left).collect();
    let left = left.iter().map(|table| table.table.as_str());
    let left = left.collect::<Vec<_>>().join(",");
    let whole = (!left.is_empty()).then(|| format!("{check} --tables {}", shell::word(&left)));
    begun.chain(whole).collect()
}

fn table_text(table: &CheckedTable) -> String {
    let what = match table.verdict {
        Verdict::Equal => format!("equal, {}", rows(table.rows_source)),
        Verdict::Different | Verdict::Undecided if table.failure.is_none() => found(table),
        Verdict::Different => "different".to_owned(),
        Verdict::Undecided | Verdict::Failed => "not compared".to_owned(),
        Verdict::Skipped => "skipped".to_owned(),
        Verdict::Unfinished if table.rest.is_some() && table.undecided == 0 => format!(
            "unfinished, its time was up after {}, which are equal",
            rows(table.rows_source)
        ),
        Verdict::Unfinished if table.rest.is_some() => {
            format!("unfinished, its time was up: {}", found(table))
        }
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
        text.push_str(&format!("  {}\n", sample.line()));
    }
    if table.rejected > 0 {
        let wait = counted(
            table.rejected,
            "rejected row waits and is left out",
            "rejected rows wait and are left out",
        );
        text.push_str(&format!("  note: {wait}\n"));
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

/// Prints a check as it is asked for, and writes its page.
pub(in crate::cli) fn show(
    output: Output,
    report: &CheckReport,
    page: Option<&Path>,
) -> Result<(), Failure> {
    match output {
        Output::Text => print(report, render::text_out),
        Output::Junit => render::text_out(&check::junit(report)),
        Output::Json | Output::Ndjson => render::json(report),
    }
    page.map_or(Ok(()), |file| write_page(file, report))
}

/// Replaces the page of the checks before this one, and nothing else.
fn write_page(file: &Path, report: &CheckReport) -> Result<(), Failure> {
    let shown = file.display();
    let failed = |error: std::io::Error| {
        let message = format!("cannot write the page `{shown}`: {error}");
        Failure::new(exit_code::FAILED, message).with_hint("check the folder and its rights")
    };
    let old = match std::fs::read_to_string(file) {
        Ok(old) => old,
        Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
        Err(error) => return Err(failed(error)),
    };
    if !old.trim().is_empty() && !check::is_page(&old) {
        let message = format!("`{shown}` is no page of a check, so it is not replaced");
        return Err(
            Failure::new(exit_code::FAILED, message).with_hint("name another file with `--html`")
        );
    }
    let at = chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
    let html = check::page(report, &at, check::past_of(&old, &report.pipeline));
    // Whoever reads it meanwhile sees the old page or the new one.
    let mut beside = file.as_os_str().to_owned();
    beside.push(format!(".{}.tmp", std::process::id()));
    std::fs::write(&beside, html)
        .and_then(|()| std::fs::rename(&beside, file))
        .map_err(|error| {
            let _ = std::fs::remove_file(&beside);
            failed(error)
        })
}
