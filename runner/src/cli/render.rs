//! How failures and results are printed: results to stdout, talk to stderr.

use crate::cli::args::Output;
use crate::exit_code;
use crate::failure::{Failure, Failures};
use crate::logging;
use crate::progress::undisturbed;
use serde::Serialize;
use std::io::{ErrorKind, Write};
use std::sync::atomic::{AtomicBool, Ordering};

/// True once a result could not be written.
static RESULT_LOST: AtomicBool = AtomicBool::new(false);

/// Prints failures: `error:`, `cause:` and `hint:` lines, or one JSON document on stdout.
pub(crate) fn failures(failures: &Failures, output: Output) {
    match output {
        // A report that nothing was compared for has no case to hold them.
        Output::Text | Output::Junit => failures.0.iter().for_each(failure),
        Output::Json | Output::Ndjson => json(&serde_json::json!({
            "exit_code": failures.exit_code(),
            "failures": failures.0,
        })),
    }
}

/// Prints one failure: for people, or as an event of the log.
pub(crate) fn failure(failure: &Failure) {
    if logging::is_json() {
        return event("ERROR", &serde_json::json!(failure));
    }
    let mut text = format!("error: {}\n", failure.message);
    for cause in &failure.causes {
        text.push_str(&format!("cause: {cause}\n"));
    }
    if let Some(hint) = &failure.hint {
        text.push_str(&format!("hint: {hint}\n"));
    }
    talk(&text);
}

/// Prints what a person should know, perhaps about one table.
pub(crate) fn warning(message: &str, table: Option<&str>) {
    match table {
        _ if logging::is_json() => {
            let mut fields = serde_json::json!({ "message": message });
            if let Some(table) = table {
                fields["table"] = table.into();
            }
            event("WARN", &fields);
        }
        Some(table) => talk(&format!("warning: table `{table}`: {message}\n")),
        None => talk(&format!("warning: {message}\n")),
    }
}

/// Prints one line of a JSON log, in the form of those that `tracing` writes. What a user can act
/// on is printed whatever the level of the log is.
pub(crate) fn event(level: &str, fields: &serde_json::Value) {
    let now = chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Micros, true);
    let mut line = serde_json::json!({ "timestamp": now, "level": level });
    for (name, value) in fields.as_object().into_iter().flatten() {
        line[name] = value.clone();
    }
    if let Some(span) = logging::span() {
        line["trace_id"] = span.trace_id.into();
        line["span_id"] = span.span_id.into();
    }
    put(&format!("{line}\n"));
}

/// Prints one JSON document.
pub(crate) fn json(value: &impl Serialize) {
    let text = serde_json::to_string_pretty(value).expect("results have string keys only");
    text_out(&format!("{text}\n"));
}

/// Rows as aligned columns with two spaces between, one row a line.
pub(crate) fn grid<const N: usize>(rows: &[[String; N]]) -> String {
    let mut text = String::new();
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: [usize; N] = std::array::from_fn(width);
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(widths) {
            line.push_str(&format!("{cell:width$}  "));
        }
        text.push_str(&format!("{}\n", line.trim_end()));
    }
    text
}

/// Prints a result. A reader that went away must not stop us, and neither must a full disk; but
/// that is said, and the exit code tells it.
pub(crate) fn text_out(text: &str) {
    let mut stdout = std::io::stdout().lock();
    let written = stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush());
    let Err(error) = written else { return };
    let is_first = !RESULT_LOST.load(Ordering::Relaxed);
    if error.kind() != ErrorKind::BrokenPipe && is_first {
        RESULT_LOST.store(true, Ordering::Relaxed);
        let message = "the result could not be written to stdout";
        let hint = "what was done is done; `syncset pipeline status` shows it";
        let mut lost = Failure::new(exit_code::FAILED, message).with_hint(hint);
        lost.causes.push(error.to_string());
        failure(&lost);
    }
}

/// True if a result could not be written, for another reason than that nobody reads.
pub(crate) fn result_is_lost() -> bool {
    RESULT_LOST.load(Ordering::Relaxed)
}

/// Prints what is no result: for people, or as an event of the log.
pub(crate) fn talk(text: &str) {
    match logging::is_json() {
        true => event("INFO", &serde_json::json!({ "message": text.trim() })),
        false => put(text),
    }
}

fn put(text: &str) {
    // Nobody reads, or no space is left: nothing to do about it.
    let _ = undisturbed(|| std::io::stderr().lock().write_all(text.as_bytes()));
}
