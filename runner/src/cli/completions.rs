//! `completions` and `man`: what shells and `man` want to know of the command line.

use crate::cli::args::{Cli, Output, Shell};
use crate::cli::render;
use crate::exit_code;
use crate::failure::{Failure, Failures};
use clap::CommandFactory;
use std::path::Path;

/// Prints the completion script of a shell.
pub(crate) fn completions(shell: Shell) -> i32 {
    let mut script = Vec::new();
    let mut command = Cli::command();
    let name = command.get_name().to_owned();
    match shell {
        Shell::Bash => generate(clap_complete::Shell::Bash, &mut command, &name, &mut script),
        Shell::Zsh => generate(clap_complete::Shell::Zsh, &mut command, &name, &mut script),
        Shell::Fish => generate(clap_complete::Shell::Fish, &mut command, &name, &mut script),
    }
    render::text_out(&String::from_utf8_lossy(&script));
    exit_code::DONE
}

fn generate(
    shell: clap_complete::Shell,
    command: &mut clap::Command,
    name: &str,
    script: &mut Vec<u8>,
) {
    clap_complete::generate(shell, command, name, script);
}

/// Writes a manual page per verb into a folder, which is made if it is not there.
pub(crate) fn man(folder: &Path, output: Output) -> Result<i32, Failures> {
    let shown = folder.display();
    let written = std::fs::create_dir_all(folder)
        .and_then(|()| clap_mangen::generate_to(Cli::command(), folder))
        .and_then(|()| pages(folder));
    let pages = written.map_err(|error| {
        let message = format!("cannot write manual pages into `{shown}`: {error}");
        Failure::new(exit_code::FAILED, message).with_hint("name a folder that can be written")
    })?;
    match output {
        Output::Text => {
            let count = pages.len();
            render::text_out(&format!("wrote {count} manual pages into `{shown}`\n"));
        }
        _ => render::json(&serde_json::json!({ "exit_code": 0, "pages": pages })),
    }
    Ok(exit_code::DONE)
}

/// Names of the pages in a folder, sorted.
fn pages(folder: &Path) -> std::io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name.starts_with("syncset") && name.ends_with(".1") {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}
