//! Questions on a terminal: asked on stderr, answered on stdin, one line each.

use crate::cli::render;
use crate::exit_code;
use crate::failure::Failure;
use std::io::{BufRead, IsTerminal};

/// Whoever answers, if there is somebody.
pub(super) struct Asker {
    is_terminal: bool,
}

impl Asker {
    /// Somebody answers if both ends of the talk are a terminal.
    pub(super) fn of_terminal() -> Self {
        Self {
            is_terminal: std::io::stdin().is_terminal() && std::io::stderr().is_terminal(),
        }
    }

    /// True if a question would be answered.
    pub(super) fn answers(&self) -> bool {
        self.is_terminal
    }

    /// Asks until there is an answer; an empty one is the default.
    ///
    /// # Errors
    /// If the input ends.
    pub(super) fn ask(&mut self, question: &str, default: Option<&str>) -> Result<String, Failure> {
        let shown = default
            .map(|default| format!(" [{default}]"))
            .unwrap_or_default();
        loop {
            render::talk(&format!("{question}{shown}: "));
            let mut line = String::new();
            let read = std::io::stdin().lock().read_line(&mut line);
            let ended = || {
                Failure::new(
                    exit_code::CONFIG,
                    "the questions were not answered; nothing was written",
                )
                .with_hint("name `--from` and `--to` on the command line")
            };
            if read.map_err(|_| ended())? == 0 {
                return Err(ended());
            }
            match (line.trim(), default) {
                ("", Some(default)) => return Ok(default.to_owned()),
                ("", None) => {}
                (answer, _) => return Ok(answer.to_owned()),
            }
        }
    }
}
