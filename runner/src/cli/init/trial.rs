//! Plans what is to be written, so that the first `plan` of the user holds no surprise.

use super::ends::Ends;
use super::find::other_names;
use crate::decision::decide;
use crate::exit_code;
use crate::failure::{Failure, Failures};
use crate::open;
use crate::planned::{self, PlannedTable};
use crate::rules::Rules;
use std::collections::BTreeMap;
use syncset_connector::PipelineState;
use syncset_pipeline::scaffold::{Choice, PipelineScaffold, pipeline_file};
use syncset_pipeline::{OnSelectionChange, display_table};

/// A file that was tried out.
pub(super) struct Tried {
    /// Its text.
    pub(super) text: String,
    /// What it says about each table.
    pub(super) choices: Vec<Choice>,
    /// Where rows go if tables of the same name would not do, and why.
    pub(super) to: Option<(String, String)>,
    /// What a plan says against it, which no edit of the file mends.
    pub(super) warnings: Vec<String>,
}

/// What one plan said.
#[derive(Default)]
struct Verdict {
    /// Tables that the files cannot have as they are, with the reason.
    refused: BTreeMap<String, String>,
    /// True if a target table of that name is somebody else's.
    is_taken: bool,
    warnings: Vec<String>,
}

/// Most plans that are made: one to see what is wrong, one after each kind of amendment.
const PLANS_MAX: usize = 3;

/// Writes the text, plans it, and amends it until the plan has nothing against it that the text
/// could mend.
pub(super) async fn try_out(
    ends: &Ends,
    mut scaffold: PipelineScaffold,
) -> Result<Tried, Failures> {
    let mut plans = 0;
    loop {
        let (text, choices) = pipeline_file(&scaffold);
        if !choices
            .iter()
            .any(|choice| matches!(choice, Choice::Selected(_)))
        {
            return Err(nothing_selected(&choices).into());
        }
        let verdict = plan(ends, &scaffold.name, &text).await?;
        plans += 1;
        let amends = verdict.is_taken && scaffold.to.is_none() || !verdict.refused.is_empty();
        if !amends || plans == PLANS_MAX {
            return Ok(Tried {
                text,
                choices,
                to: scaffold.to,
                warnings: verdict.warnings,
            });
        }
        if verdict.is_taken && scaffold.to.is_none() {
            scaffold.to = Some(other_names(ends, &scaffold.tables));
        }
        for table in &mut scaffold.tables {
            if let Some(reason) = verdict.refused.get(&display_table(&table.description.name)) {
                table.refused = Some(reason.clone());
            }
        }
    }
}

fn nothing_selected(choices: &[Choice]) -> Failure {
    let reasons = choices.iter().filter_map(|choice| match choice {
        Choice::LeftOut(one) => Some(format!("{}: {}", one.table, one.reason)),
        Choice::Selected(_) => None,
    });
    let mut failure = Failure::new(
        exit_code::CONFIG,
        "none of the tables can be copied as it is; nothing was written",
    )
    .with_hint("mend one of them, or choose others with `--tables`");
    failure.causes = reasons.collect();
    failure
}

async fn plan(ends: &Ends, name: &str, text: &str) -> Result<Verdict, Failures> {
    let spec = ends.files.pipeline_of_text(name, text)?;
    let opened = open::Ends::open(&spec, &ends.files.project.name, 1).await?;
    let judged = match planned::plan(&opened, &spec, &[], None).await {
        // Something that concerns all tables: the doctor says more about it.
        Err(failures) => Verdict {
            warnings: failures.0.into_iter().map(sentence).collect(),
            ..Verdict::default()
        },
        Ok(planned) => {
            let mut verdict = Verdict::default();
            for table in &planned.tables {
                judge(table, &planned.state, &opened, &mut verdict);
            }
            verdict
        }
    };
    opened.close().await;
    Ok(judged)
}

fn judge(table: &PlannedTable, state: &PipelineState, ends: &open::Ends, verdict: &mut Verdict) {
    for failure in &table.failures {
        match failure.exit_code {
            exit_code::CONFIG => {
                let known = verdict.refused.entry(table.stream().to_owned());
                known.or_insert_with(|| failure.message.clone());
            }
            _ => verdict.warnings.push(sentence(failure.clone())),
        }
    }
    let rules = Rules {
        on_selection_change: OnSelectionChange::default(),
        full_refresh: false,
        approved: &[],
    };
    if let Err(Failures(failures)) = decide(table, state, &ends.key, rules) {
        for failure in failures {
            verdict.is_taken |= failure.exit_code == exit_code::GUARD;
            verdict.warnings.push(sentence(failure));
        }
    }
}

fn sentence(failure: Failure) -> String {
    match failure.hint {
        Some(hint) => format!("{} (hint: {hint})", failure.message),
        None => failure.message,
    }
}
