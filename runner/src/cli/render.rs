//! How failures and results are printed: results to stdout, talk to stderr.

use crate::cli::args::Output;
use crate::failure::{Failure, Failures};
use serde::Serialize;
use std::io::{ErrorKind, Write};
use std::sync::atomic::{AtomicBool, Ordering};

/// True once a result could not be written.
static RESULT_LOST: AtomicBool = AtomicBool::new(false);

/// Prints failures: `error:`, `cause:` and `hint:` lines, or one JSON document on stdout.
pub(crate) fn failures(failures: &Failures, output: Output) {
    match output {
        Output::Text => failures.0.iter().for_each(failure),
        Output::Json | Output::Ndjson => json(&serde_json::json!({
            "exit_code": failures.exit_code(),
            "failures": failures.0,
        })),
    }
}

/// Prints one failure for people.
pub(crate) fn failure(failure: &Failure) {
    let mut text = format!("error: {}\n", failure.message);
    for cause in &failure.causes {
        text.push_str(&format!("cause: {cause}\n"));
    }
    if let Some(hint) = &failure.hint {
        text.push_str(&format!("hint: {hint}\n"));
    }
    talk(&text);
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
        talk(&format!(
            "error: the result could not be written to stdout\ncause: {error}\n\
             hint: what was done is done; `syncset pipeline status` shows it\n"
        ));
    }
}

/// True if a result could not be written, for another reason than that nobody reads.
pub(crate) fn result_is_lost() -> bool {
    RESULT_LOST.load(Ordering::Relaxed)
}

/// Prints what is no result.
pub(crate) fn talk(text: &str) {
    // Nobody reads, or no space is left: nothing to do about it.
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}
