//! `plugin test`: what a plugin makes of a few rows, before and after side by side.

use crate::cli::args::{Cli, PluginTestArgs};
use crate::cli::plugin::samples;
use crate::cli::plugin::trial::{self, After, Disagreement, Origin, Outcome, Trial};
use crate::cli::plugin::{Chosen, is_text, open};
use crate::cli::render;
use crate::exit_code;
use crate::failure::{Failure, Failures};
use crate::plugins;
use serde_json::{Value, json};
use std::path::Path;
use syncset_plugin_host::Config;

/// The input that is a pipeline's source.
const PIPELINE: &str = "pipeline:";

/// Characters of a value that are shown.
const SHOWN_CHARS_MAX: usize = 60;

/// Tries it; exits with 4 if rows do not become what is expected, or not in every way.
pub(super) async fn test(cli: &Cli, args: &PluginTestArgs) -> Result<i32, Failures> {
    let chosen = Chosen::load(cli, &args.plugin)?;
    let given = args.config.as_deref().map(config).transpose()?;
    let (rows, config, origin) = match args.input.strip_prefix(PIPELINE) {
        Some(name) => {
            let place = match name.split_once('/') {
                Some((name, table)) => (name, Some(table)),
                None => (name, None),
            };
            let context = open(cli)?;
            let plugin = chosen.plugin.name();
            let sample = samples::of_pipeline(&context, place, plugin, args.limit).await?;
            let used = sample.config.map(|config| plugins::config_of(&config));
            let origin = Origin {
                pipeline: place.0.to_owned(),
                table: sample.table,
            };
            let config = given.or(used).unwrap_or_else(|| chosen.config());
            (sample.rows, config, origin)
        }
        None => {
            let config = given.unwrap_or_else(|| chosen.config());
            let needs = match &args.call {
                // Functions take what the expression gives them.
                Some(_) => None,
                None => chosen.plugin.reads(&config).map_err(Failure::from)?,
            };
            let path = cli.directory.join(&args.input);
            let rows = samples::of_file(&path, args.limit, needs.as_deref())?;
            (rows, config, Origin::default())
        }
    };
    let description = chosen.plugin.description();
    if args.call.is_none() && !description.transforms && !description.filters {
        let functions = description.functions.iter().map(|it| it.name.as_str());
        let functions: Vec<_> = functions.collect();
        let message = format!("plugin `{}` has functions only", chosen.plugin.name());
        return Err(Failure::new(exit_code::CONFIG, message)
            .with_hint(format!(
                "call one over the rows with `--call \"{}(..)\"`",
                functions.first().copied().unwrap_or("function")
            ))
            .into());
    }
    let trial = Trial {
        plugin: chosen.plugin,
        config,
        call: args.call.clone(),
        rows,
        origin,
    };
    let before = trial::texts(&trial.rows)?;
    let outcome = trial.run()?;
    let disagreement = trial.disagreement(&outcome.rows)?;
    let expected = args.expect.as_ref().map(|path| {
        let path = cli.directory.join(path);
        unexpected(&outcome, &path)
    });
    let unexpected = expected.transpose()?.unwrap_or_default();
    let names = trial.rows.schema();
    let names: Vec<String> = names.fields().iter().map(|it| it.name().clone()).collect();
    let code = match unexpected.is_empty() && disagreement.is_none() {
        true => exit_code::DONE,
        false => exit_code::DIFFERENT,
    };
    let shown = Shown {
        names: &names,
        before: &before,
        outcome: &outcome,
        disagreement: disagreement.as_ref(),
        unexpected: &unexpected,
    };
    if is_text(cli.output) {
        render::text_out(&shown.text());
    } else {
        render::json(&shown.document(code));
    }
    Ok(code)
}

fn config(text: &str) -> Result<Config, Failure> {
    match serde_json::from_str(text) {
        Ok(Value::Object(_)) => Ok(Config::new(text)),
        Ok(_) => Err("it is no JSON object".to_owned()),
        Err(error) => Err(error.to_string()),
    }
    .map_err(|reason| Failure::new(exit_code::CONFIG, format!("`--config`: {reason}")))
}

/// Where rows are not as a file expects them: JSON objects, one a line, for the rows that stay.
fn unexpected(outcome: &Outcome, path: &Path) -> Result<Vec<String>, Failure> {
    let text = samples::read(path)?;
    let lines = text
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty());
    let mut wrong = Vec::new();
    let mut kept = outcome.rows.iter().enumerate().filter_map(|(row, after)| {
        let values = after.as_ref()?;
        Some((row, values))
    });
    for (index, line) in lines {
        let place = format!("{}:{}", path.display(), index + 1);
        let expected = match serde_json::from_str(line) {
            Ok(Value::Object(expected)) => expected,
            _ => {
                let message = format!("{place}: not a JSON object");
                return Err(Failure::new(exit_code::CONFIG, message));
            }
        };
        let Some((row, values)) = kept.next() else {
            wrong.push(format!("{place}: no row is left for it"));
            continue;
        };
        for (name, value) in &expected {
            let found = outcome.names.iter().position(|known| known == name);
            let Some(found) = found.map(|at| values[at].as_deref()) else {
                wrong.push(format!("{place}: there is no column `{name}`"));
                continue;
            };
            let value = Some(value).filter(|value| !value.is_null());
            let value = value.map(samples::text);
            if !is_same(found, value.as_deref()) {
                let (found, value) = (shown(found), shown(value.as_deref()));
                wrong.push(format!(
                    "{place}: row {}: `{name}` is {found}, not {value}",
                    row + 1
                ));
            }
        }
    }
    if let Some((row, _)) = kept.next() {
        let path = path.display();
        wrong.push(format!(
            "{path}: row {} and those after it are not expected",
            row + 1
        ));
    }
    Ok(wrong)
}

/// Texts that are equal, or numbers that are: 1.50 and 1.5.
fn is_same(found: Option<&str>, expected: Option<&str>) -> bool {
    let (Some(left), Some(right)) = (found, expected) else {
        return found == expected;
    };
    let number = |text: &str| text.parse::<f64>().ok();
    left == right || number(left).is_some_and(|value| Some(value) == number(right))
}

/// A value as it is shown in a line.
fn shown(value: Option<&str>) -> String {
    let Some(value) = value else {
        return "NULL".to_owned();
    };
    let mut text: String = value.chars().take(SHOWN_CHARS_MAX).collect();
    if text.len() < value.len() {
        text.push('…');
    }
    text.replace(['\n', '\r', '\t'], " ")
}

struct Shown<'a> {
    names: &'a [String],
    before: &'a [Vec<Option<String>>],
    outcome: &'a Outcome,
    disagreement: Option<&'a Disagreement>,
    unexpected: &'a [String],
}

impl Shown<'_> {
    fn text(&self) -> String {
        let mut rows = vec![["row", "column", "before", "after"].map(str::to_owned)];
        for (row, (before, after)) in self.before.iter().zip(&self.outcome.rows).enumerate() {
            rows.extend(self.lines(row, before, after));
        }
        let mut text = render::grid(&rows);
        if let Some(found) = self.disagreement {
            text.push_str(&format!(
                "row {} becomes something else with {}: {}\n",
                found.row + 1,
                found.way,
                match &found.found {
                    None => "it is dropped".to_owned(),
                    Some(values) => {
                        let values = values.iter().map(|value| shown(value.as_deref()));
                        values.collect::<Vec<_>>().join(", ")
                    }
                }
            ));
        }
        for wrong in self.unexpected {
            text.push_str(&format!("{wrong}\n"));
        }
        if self.disagreement.is_none() && self.unexpected.is_empty() {
            let count = self.before.len();
            text.push_str(&format!(
                "{count} rows: the same with a fresh instance, row by row, and in other batches\n"
            ));
        }
        text
    }

    /// The columns of a row that differ.
    fn lines(&self, row: usize, before: &[Option<String>], after: &After) -> Vec<[String; 4]> {
        let mut number = (row + 1).to_string();
        let mut line = |column: &str, before: String, after: String| {
            [
                std::mem::take(&mut number),
                column.to_owned(),
                before,
                after,
            ]
        };
        let Some(after) = after else {
            return vec![line("", String::new(), "dropped".to_owned())];
        };
        let mut lines = Vec::new();
        for (name, value) in self.outcome.names.iter().zip(after) {
            let was = self.names.iter().position(|known| known == name);
            let was = was.map(|at| &before[at]);
            if was != Some(value) {
                let was = was.map_or_else(String::new, |was| shown(was.as_deref()));
                lines.push(line(name, was, shown(value.as_deref())));
            }
        }
        if lines.is_empty() {
            lines.push(line("", String::new(), "unchanged".to_owned()));
        }
        lines
    }

    fn document(&self, code: i32) -> Value {
        let object = |names: &[String], values: &[Option<String>]| {
            let fields = names.iter().cloned().zip(values.iter().map(|it| json!(it)));
            Value::Object(fields.collect())
        };
        let rows = self.before.iter().zip(&self.outcome.rows);
        let rows = rows.map(|(before, after)| {
            json!({
                "before": object(self.names, before),
                "after": after.as_ref().map(|after| object(&self.outcome.names, after)),
            })
        });
        let disagreement = self.disagreement.map(|found| {
            json!({
                "row": found.row,
                "way": found.way,
                "after": found.found.as_ref().map(|it| object(&self.outcome.names, it)),
            })
        });
        json!({
            "exit_code": code,
            "rows": rows.collect::<Vec<_>>(),
            "disagreement": disagreement,
            "unexpected": self.unexpected,
        })
    }
}
