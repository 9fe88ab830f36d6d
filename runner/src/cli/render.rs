//! How failures and results are printed: results to stdout, talk to stderr.

use crate::cli::args::Output;
use crate::failure::{Failure, Failures};
use serde::Serialize;
use std::io::Write;

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
    // Nobody reads: nothing to do about it.
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}

/// Prints one JSON document.
pub(crate) fn json(value: &impl Serialize) {
    let text = serde_json::to_string_pretty(value).expect("results have string keys only");
    text_out(&format!("{text}\n"));
}

/// Prints a result. A reader that went away must not stop us.
pub(crate) fn text_out(text: &str) {
    let _ = std::io::stdout().lock().write_all(text.as_bytes());
}
