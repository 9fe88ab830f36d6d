//! `pipeline validate`: reads the files, touches no store.

use crate::cli::args::Output;
use crate::cli::{Context, render};
use crate::exit_code;
use crate::failure::{Failure, Failures};

/// Checks files only.
pub(crate) fn validate(context: &Context, names: &[String]) -> Result<i32, Failures> {
    let names = if names.is_empty() {
        context.files.pipeline_names()
    } else {
        names.to_vec()
    };
    if names.is_empty() {
        let message = "there is no pipeline to validate";
        return Err(Failure::new(exit_code::CONFIG, message)
            .with_hint("write one into pipelines/NAME.yaml")
            .into());
    }
    let mut failures = Vec::new();
    for name in &names {
        if let Err(found) = context.files.pipeline(name) {
            failures.extend(found.0);
        }
    }
    if !failures.is_empty() {
        return Err(Failures(failures));
    }
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
