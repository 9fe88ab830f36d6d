//! The committed files that are made from the program: they must be what it makes.

use super::args::Cli;
use crate::registry;
use clap::error::ErrorKind;
use clap::{Arg, Command, CommandFactory};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Set to write the files instead of comparing them.
const RENEW: &str = "SYNCSET_RENEW";

/// What to do if they differ.
const COMMAND: &str = "SYNCSET_RENEW=1 cargo test --workspace --locked --lib -- cli::documents";

fn root() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package
        .parent()
        .expect("the package is in a workspace")
        .to_owned()
}

/// Compares a committed file with what it must be, or writes it.
fn assert_current(path: &str, wanted: &str) {
    let file = root().join(path);
    if std::env::var_os(RENEW).is_some() {
        std::fs::write(&file, wanted).expect("the file can be written");
        return;
    }
    let found = std::fs::read_to_string(&file).unwrap_or_default();
    let line = wanted
        .lines()
        .zip(found.lines())
        .position(|(wanted, found)| wanted != found);
    let line = line.unwrap_or_else(|| wanted.lines().count().min(found.lines().count())) + 1;
    assert!(
        found == wanted,
        "{path} differs from line {line} on; renew it and read what changed: {COMMAND}"
    );
}

fn pretty(schema: &serde_json::Value) -> String {
    serde_json::to_string_pretty(schema).expect("a value is JSON") + "\n"
}

#[test]
fn json_schemas_are_those_of_the_keys() {
    let catalog = registry::catalog();

    let project = pretty(&syncset_pipeline::project_schema(&catalog));
    assert_current("schemas/syncset.schema.json", &project);
    let pipeline = pretty(&syncset_pipeline::pipeline_schema(&catalog));
    assert_current("schemas/pipeline.schema.json", &pipeline);
}

#[test]
fn config_reference_is_that_of_the_keys() {
    let page = syncset_pipeline::config_reference(&registry::catalog());

    assert_current("docs/config-reference.md", &page);
}

#[test]
fn cli_reference_is_that_of_the_command_line() {
    assert_current("docs/cli-reference.md", &cli_reference());
}

#[test]
fn page_of_types_is_that_of_the_connectors() {
    assert_current("docs/types.md", &super::types::page());
}

/// `docs/cli-reference.md`.
fn cli_reference() -> String {
    let mut program = Cli::command();
    program.build();
    let mut page = CLI_HEAD.to_owned();
    page += "\n## Everywhere\n\n";
    page += &arguments(
        program
            .get_arguments()
            .filter(|argument| argument.is_global_set()),
    );
    add_verbs(&program, &mut page);
    page
}

const CLI_HEAD: &str = "\
# Reference of the command line

Every verb with its arguments. How they are used is told in [Command line](cli.md), and so are the \
exit codes.

<!-- Made from runner/src/cli/args: change it there. -->
";

/// The verbs below one, each with what it takes.
fn add_verbs(parent: &Command, page: &mut String) {
    for verb in parent.get_subcommands() {
        if verb.is_hide_set() || verb.get_name() == "help" {
            continue;
        }
        if verb.has_subcommands() {
            add_verbs(verb, page);
            continue;
        }
        let mut verb = verb.clone();
        let name = verb.get_bin_name().unwrap_or_default().to_owned();
        let about = sentence(verb.get_long_about().or(verb.get_about()));
        let usage = verb.render_usage().to_string();
        let usage = usage.trim_start_matches("Usage: ");
        *page += &format!("\n## `{name}`\n\n{about}\n\n```\n{usage}\n```\n");
        let own = verb
            .get_arguments()
            .filter(|argument| !argument.is_global_set());
        let table = arguments(own);
        if !table.is_empty() {
            *page += &format!("\n{table}");
        }
    }
}

/// A table of arguments; empty if there are none.
fn arguments<'a>(arguments: impl Iterator<Item = &'a Arg>) -> String {
    let shown = arguments.filter(|argument| {
        !argument.is_hide_set() && !matches!(argument.get_id().as_str(), "help" | "version")
    });
    let rows: String = shown.map(row).collect();
    if rows.is_empty() {
        return rows;
    }
    format!("| argument | meaning |\n|---|---|\n{rows}")
}

fn row(argument: &Arg) -> String {
    let form = argument.to_string().replace('|', "\\|");
    let short = match argument.get_short() {
        Some(letter) => format!("`-{letter}`, "),
        None => String::new(),
    };
    let mut text = sentence(argument.get_long_help().or(argument.get_help()));
    let values: Vec<_> = argument
        .get_possible_values()
        .iter()
        .filter(|_| argument.get_action().takes_values())
        .map(|value| match value.get_help() {
            Some(help) => format!("`{}`: {}", value.get_name(), lowered(&help.to_string())),
            None => format!("`{}`", value.get_name()),
        })
        .collect();
    if !values.is_empty() {
        text += &format!(" {}.", values.join("; "));
    }
    let defaults: Vec<_> = argument
        .get_default_values()
        .iter()
        .filter(|_| argument.get_action().takes_values())
        .map(|value| format!("`{}`", value.to_string_lossy()))
        .collect();
    if !defaults.is_empty() {
        text += &format!(" Default: {}.", defaults.join(", "));
    }
    format!("| {short}`{form}` | {} |\n", text.replace('|', "\\|"))
}

/// The first letter small, unless the word is an abbreviation.
fn lowered(text: &str) -> String {
    let mut characters = text.chars();
    let first = characters.next();
    let rest = characters.as_str();
    match first {
        Some(first) if rest.starts_with(char::is_lowercase) => {
            format!("{}{rest}", first.to_lowercase())
        }
        _ => text.to_owned(),
    }
}

/// Help as one paragraph that ends with a full stop.
fn sentence(help: Option<&clap::builder::StyledStr>) -> String {
    let text = help.map(ToString::to_string).unwrap_or_default();
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if text.is_empty() || text.ends_with('.') {
        return text;
    }
    text + "."
}

/// Command lines of syncset in the documentation, each with its file.
fn commands() -> Vec<(PathBuf, Vec<String>)> {
    let mut files = vec![root().join("README.md")];
    for folder in [
        "docs",
        "docs/systemd",
        "docs/github-actions",
        "pipelines/examples/shop",
    ] {
        let entries = std::fs::read_dir(root().join(folder)).expect("the folder is there");
        let paths = entries.map(|entry| entry.expect("it can be read").path());
        files.extend(paths.filter(|path| path.is_file()));
    }
    let mut found = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(&file).expect("documentation is text");
        let is_page = file.extension().is_some_and(|end| end == "md");
        let mut is_code = !is_page;
        for line in text.lines() {
            if is_page && line.trim_start().starts_with("```") {
                is_code = !is_code;
            } else if is_code {
                found.extend(commands_of(line).map(|words| (file.clone(), words)));
            } else {
                let inline = line.split('`').skip(1).step_by(2);
                let words = inline
                    .flat_map(commands_of)
                    .map(|words| (file.clone(), words));
                found.extend(words);
            }
        }
    }
    found
}

/// The parts of a shell line that call syncset, without placeholders for several things at once.
fn commands_of(line: &str) -> impl Iterator<Item = Vec<String>> {
    let line = line
        .trim()
        .trim_start_matches("ExecStart=")
        .trim_start_matches("- run: ");
    let parts: Vec<_> = line
        .split(" # ")
        .take(1)
        .flat_map(|command| command.split([';', '|', '>']))
        .flat_map(|part| part.split("&&"))
        .filter_map(called)
        .collect();
    parts.into_iter()
}

fn called(part: &str) -> Option<Vec<String>> {
    let mut words: Vec<_> = part
        .split_whitespace()
        .map(|word| word.trim_matches(['"', '\'']).to_owned())
        // `NAME=value` before a program is its environment; schedules come before it in a crontab.
        .skip_while(|word| word.contains('=') || word.contains('*') || word.parse::<u8>().is_ok())
        .collect();
    if words.starts_with(&["cargo".into(), "run".into()]) {
        words.drain(..words.iter().position(|word| word == "--")?);
        words[0] = "syncset".into();
    }
    let program = words.first()?;
    let is_call = program == "syncset" || program.ends_with("/syncset");
    let is_whole = words.len() > 1
        && !words
            .iter()
            .any(|word| word.contains(['[', '…']) || word == "VERB");
    (is_call && is_whole).then_some(words)
}

fn is_verb(words: &[String]) -> bool {
    words.len() <= 3 && !words.iter().any(|word| word.starts_with('-'))
}

#[test]
fn commands_of_the_documentation_are_understood() {
    let commands = commands();
    let mut verbs = BTreeSet::new();

    for (file, words) in &commands {
        verbs.extend(words.get(1).cloned());
        match Cli::command().try_get_matches_from(words) {
            Ok(_) => {}
            Err(error) if !error.use_stderr() => {}
            // In a sentence a verb may be named without being called.
            Err(error) if error.kind() == ErrorKind::MissingRequiredArgument && is_verb(words) => {}
            Err(error) => panic!("{}: {}\n{error}", file.display(), words.join(" ")),
        }
    }

    assert!(commands.len() > 20, "{commands:?}");
    assert!(verbs.contains("pipeline"), "{verbs:?}");
}

/// Where the help texts are: what `--help` of each verb prints, by its words.
const HELP_FOLDER: &str = "runner/src/cli/help";

/// Columns of the help texts; what is printed where there is no terminal.
const HELP_WIDTH: usize = 100;

/// The help of every verb and group of verbs, each with the name of its file.
fn help_texts(command: &Command, texts: &mut Vec<(String, String)>) {
    let mut command = command.clone();
    let name = command.get_bin_name().unwrap_or(command.get_name());
    let file = format!("{}.txt", name.replace(' ', "-"));
    texts.push((file, command.render_long_help().to_string()));
    for verb in command.get_subcommands() {
        if !verb.is_hide_set() && verb.get_name() != "help" {
            help_texts(verb, texts);
        }
    }
}

#[test]
fn help_of_every_verb_is_what_was_read() {
    let mut program = Cli::command().term_width(HELP_WIDTH);
    program.build();
    let mut texts = Vec::new();
    help_texts(&program, &mut texts);

    for (file, text) in &texts {
        assert_current(&format!("{HELP_FOLDER}/{file}"), text);
    }
    let entries = std::fs::read_dir(root().join(HELP_FOLDER)).expect("the folder is there");
    let names = entries.map(|entry| entry.expect("it can be read").file_name());
    for name in names.map(|name| name.to_string_lossy().into_owned()) {
        let is_made = texts.iter().any(|(file, _)| *file == name);
        assert!(is_made, "{HELP_FOLDER}/{name} is of no verb: delete it");
    }
}
