//! `pipeline validate`: reads the files, touches no store.

use crate::cli::args::{Choice, Output};
use crate::cli::choice::{Unnamed, choose};
use crate::cli::{Context, render};
use crate::exit_code;
use crate::failure::Failures;

/// Checks files only.
pub(crate) fn validate(context: &Context, choice: &Choice) -> Result<i32, Failures> {
    let chosen = choose(&context.files, choice, Unnamed::All)?;
    let names: Vec<&str> = chosen.specs.iter().map(|spec| spec.name.as_str()).collect();
    match context.output {
        Output::Text => {
            names
                .iter()
                .for_each(|name| render::text_out(&format!("{name}: ok\n")));
        }
        _ => render::json(&serde_json::json!({ "exit_code": 0, "pipelines": names })),
    }
    Ok(exit_code::DONE)
}
