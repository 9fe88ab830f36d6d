//! A command line that cannot be read, told like every other mistake.

use crate::cli::args::{Cli, Output};
use crate::cli::render;
use crate::exit_code;
use crate::failure::Failure;
use clap::error::{ContextKind, ContextValue, Error, ErrorKind};
use clap::{Command, CommandFactory};

/// Prints help and versions as they are, and mistakes as failures. Returns the exit code.
pub(crate) fn report(error: &Error) -> i32 {
    if !error.use_stderr() {
        let _ = error.print();
        return exit_code::DONE;
    }
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        let _ = error.print();
        return exit_code::CONFIG;
    }
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    render::failures(
        &failure(error, &arguments).into(),
        wanted_output(&arguments),
    );
    exit_code::CONFIG
}

/// How results were to be printed, as far as it can be seen in a line that cannot be read.
fn wanted_output(arguments: &[String]) -> Output {
    let given = arguments.windows(2).any(|pair| {
        let [flag, value] = pair else { return false };
        flag == "--output" && value != "text"
    });
    let joined =
        |argument: &String| matches!(argument.as_str(), "--output=json" | "--output=ndjson");
    if given || arguments.iter().any(joined) {
        Output::Json
    } else {
        Output::Text
    }
}

fn failure(error: &Error, arguments: &[String]) -> Failure {
    let (command, verb) = verb_of(arguments);
    let help = format!("see `{verb} --help`");
    let value = |kind| texts(error, kind).into_iter().next();
    let suggestion = [
        ContextKind::SuggestedArg,
        ContextKind::SuggestedSubcommand,
        ContextKind::SuggestedValue,
    ];
    // The nearest one comes last.
    let meant = suggestion
        .into_iter()
        .find_map(|kind| texts(error, kind).pop());
    let argument = value(ContextKind::InvalidArg).unwrap_or_default();
    let given = value(ContextKind::InvalidValue).unwrap_or_default();
    let message = match error.kind() {
        ErrorKind::UnknownArgument => format!("unknown argument `{argument}`"),
        ErrorKind::InvalidSubcommand => {
            let given = value(ContextKind::InvalidSubcommand).unwrap_or_default();
            return unknown_verb(&command, &verb, &given, meant);
        }
        ErrorKind::InvalidValue if given.is_empty() => format!("`{argument}` needs a value"),
        ErrorKind::InvalidValue => format!("`{given}` is no value of `{argument}`"),
        ErrorKind::ValueValidation => {
            let reason = std::error::Error::source(error).map(ToString::to_string);
            let reason = reason.unwrap_or_else(|| "it cannot be read".to_owned());
            // The value of a variable may be one that should not have been typed here.
            let given = match argument.starts_with("--set") {
                true => "what was given",
                false => &format!("`{given}`"),
            };
            format!("{given} is no value of `{argument}`: {reason}")
        }
        ErrorKind::MissingRequiredArgument => {
            let missing = texts(error, ContextKind::InvalidArg).join("`, `");
            format!("`{missing}` is missing")
        }
        ErrorKind::ArgumentConflict => {
            let prior = texts(error, ContextKind::PriorArg).join("`, `");
            format!("`{argument}` cannot be used with `{prior}`")
        }
        _ => first_line(error),
    };
    let hint = match meant {
        Some(meant) => format!("did you mean `{meant}`?"),
        None => match texts(error, ContextKind::ValidValue).as_slice() {
            [] => help,
            values => format!("it is one of `{}`", values.join("`, `")),
        },
    };
    Failure::new(exit_code::CONFIG, message).with_hint(hint)
}

/// A verb that is not there; it may be one of `pipeline`, which people leave out.
fn unknown_verb(command: &Command, place: &str, given: &str, meant: Option<String>) -> Failure {
    let of_pipeline = command
        .find_subcommand("pipeline")
        .is_some_and(|pipeline| pipeline.find_subcommand(given).is_some());
    let hint = match meant {
        _ if of_pipeline => format!("did you mean `{place} pipeline {given}`?"),
        Some(meant) => format!("did you mean `{place} {meant}`?"),
        None => {
            let verbs = command.get_subcommands().map(Command::get_name);
            let verbs: Vec<&str> = verbs.filter(|verb| *verb != "help").collect();
            format!("the verbs of `{place}` are `{}`", verbs.join("`, `"))
        }
    };
    Failure::new(exit_code::CONFIG, format!("unknown verb `{given}`")).with_hint(hint)
}

/// The verb of a command line, as far as it is known, and what is typed to get there.
fn verb_of(arguments: &[String]) -> (Command, String) {
    let mut command = Cli::command();
    let mut words = command.get_name().to_owned();
    for argument in arguments {
        if let Some(found) = command.find_subcommand(argument) {
            words.push_str(&format!(" {argument}"));
            command = found.clone();
        }
    }
    (command, words)
}

fn texts(error: &Error, kind: ContextKind) -> Vec<String> {
    match error.get(kind) {
        Some(ContextValue::String(text)) => vec![text.clone()],
        Some(ContextValue::Strings(texts)) => texts.clone(),
        _ => Vec::new(),
    }
}

fn first_line(error: &Error) -> String {
    let text = error.render().to_string();
    let line = text.lines().next().unwrap_or_default();
    line.trim_start_matches("error: ").replace('\'', "`")
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    fn said(line: &str) -> String {
        let arguments = line.split_whitespace();
        let error = Cli::try_parse_from(arguments).expect_err("it is a mistake");
        let arguments: Vec<String> = line.split_whitespace().skip(1).map(str::to_owned).collect();
        let failure = failure(&error, &arguments);
        format!(
            "{}\n  hint: {}\n",
            failure.message,
            failure.hint.unwrap_or_default()
        )
    }

    #[test]
    fn slips_of_the_fingers_are_answered_with_what_was_meant() {
        let lines = [
            "syncset run p",
            "syncset pipline run p",
            "syncset pipeline rnu p",
            "syncset pipeline frobnicate p",
            "syncset pipeline run p --jbos 4",
            "syncset pipeline run p --jobs many",
            "syncset pipeline run p --jobs 0",
            "syncset pipeline run p --memory 64parsecs",
            "syncset pipeline run p --max-duration 5",
            "syncset pipeline run p --on-lock later",
            "syncset pipeline run p --skip-exit-code 9",
            "syncset pipeline run p --all",
            "syncset pipeline run --set CRM_URL",
            "syncset pipeline run p --output jsno",
            "syncset pipeline status p --max-age",
            "syncset pipeline plan",
            "syncset pipeline plan p q",
            "syncset types postgres",
        ];

        let said: String = lines
            .iter()
            .map(|line| format!("{line}\n  {}", said(line)))
            .collect();

        insta::assert_snapshot!(said, @"
        syncset run p
          unknown verb `run`
          hint: did you mean `syncset pipeline run`?
        syncset pipline run p
          unknown verb `pipline`
          hint: did you mean `syncset pipeline`?
        syncset pipeline rnu p
          unknown verb `rnu`
          hint: the verbs of `syncset pipeline` are `list`, `validate`, `plan`, `run`, `check`, `repair`, `revert`, `status`, `history`, `reset`, `adopt`, `unlock`
        syncset pipeline frobnicate p
          unknown verb `frobnicate`
          hint: the verbs of `syncset pipeline` are `list`, `validate`, `plan`, `run`, `check`, `repair`, `revert`, `status`, `history`, `reset`, `adopt`, `unlock`
        syncset pipeline run p --jbos 4
          unknown argument `--jbos`
          hint: did you mean `--jobs`?
        syncset pipeline run p --jobs many
          `many` is no value of `--jobs <JOBS>`: invalid digit found in string
          hint: see `syncset pipeline run --help`
        syncset pipeline run p --jobs 0
          `0` is no value of `--jobs <JOBS>`: 0 is not in 1..=64
          hint: see `syncset pipeline run --help`
        syncset pipeline run p --memory 64parsecs
          `64parsecs` is no value of `--memory <BYTES>`: unknown unit `parsecs`; write `64MiB`
          hint: see `syncset pipeline run --help`
        syncset pipeline run p --max-duration 5
          `5` is no value of `--max-duration <DURATION>`: time unit needed, for example 5sec or 5ms
          hint: see `syncset pipeline run --help`
        syncset pipeline run p --on-lock later
          `later` is no value of `--on-lock <POLICY>`: expected `fail`, `skip` or `wait=5m`
          hint: see `syncset pipeline run --help`
        syncset pipeline run p --skip-exit-code 9
          `9` is no value of `--skip-exit-code <CODE>`: 9 is not in 10..=125
          hint: see `syncset pipeline run --help`
        syncset pipeline run p --all
          `[NAME]...` cannot be used with `--all`
          hint: see `syncset pipeline run --help`
        syncset pipeline run --set CRM_URL
          what was given is no value of `--set <NAME=VALUE>`: expected `NAME=value`, without spaces around `=`
          hint: see `syncset pipeline run --help`
        syncset pipeline run p --output jsno
          `jsno` is no value of `--output <OUTPUT>`
          hint: did you mean `json`?
        syncset pipeline status p --max-age
          `--max-age <DURATION>` needs a value
          hint: see `syncset pipeline status --help`
        syncset pipeline plan
          `<NAME>` is missing
          hint: see `syncset pipeline plan --help`
        syncset pipeline plan p q
          unknown argument `q`
          hint: see `syncset pipeline plan --help`
        syncset types postgres
          `<TO>` is missing
          hint: see `syncset types --help`
        ");
    }

    #[test]
    fn scripts_that_want_json_get_it_for_a_wrong_line_too() {
        let words = |line: &str| -> Vec<String> { line.split(' ').map(str::to_owned).collect() };

        assert_eq!(wanted_output(&words("plan --output json")), Output::Json);
        assert_eq!(wanted_output(&words("plan --output=json")), Output::Json);
        assert_eq!(wanted_output(&words("plan p --output text")), Output::Text);
        assert_eq!(wanted_output(&words("plan --output")), Output::Text);
    }
}
