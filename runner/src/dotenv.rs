//! `.env` beside `syncset.yaml`: variables for `${NAME}`.

use crate::exit_code;
use crate::failure::Failure;
use std::collections::HashMap;
use std::path::Path;
use syncset_pipeline::is_variable_name;

/// Some editors put it before the first character of a file.
const BYTE_ORDER_MARK: char = '\u{feff}';

/// The variables of `.env` in a folder; an absent file is an empty one.
///
/// # Errors
/// A file that cannot be read, or a line that is no `NAME=value`: its number, never its text,
/// which may hold a secret.
pub(crate) fn read(folder: &Path) -> Result<HashMap<String, String>, Failure> {
    let path = folder.join(".env");
    if !path.exists() {
        return Ok(HashMap::new());
    }
    let shown = path.display().to_string();
    let shown = shown.strip_prefix("./").unwrap_or(&shown);
    let text = std::fs::read_to_string(&path).map_err(|error| {
        let message = format!("cannot read `{shown}`: {error}");
        Failure::new(exit_code::CONFIG, message).with_hint("it must be a UTF-8 text file")
    })?;
    parse(&text, shown)
}

fn parse(text: &str, shown: &str) -> Result<HashMap<String, String>, Failure> {
    let text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
    let entries = dotenvy::from_read_iter(text.as_bytes());
    entries
        .collect::<Result<_, _>>()
        .map_err(|error| malformed(&error, text, shown))
}

fn malformed(error: &dotenvy::Error, text: &str, shown: &str) -> Failure {
    let dotenvy::Error::LineParse(found, _) = error else {
        return Failure::new(exit_code::CONFIG, format!("`{shown}` cannot be read"));
    };
    // What was found is a line or its value; a quote that is not closed makes all that follows
    // part of it.
    let first = found.lines().next().unwrap_or(found).trim();
    let is_it = |line: &str| line.trim_end().ends_with(first);
    let (index, content) = text
        .lines()
        .enumerate()
        .find(|(_, line)| is_it(line))
        .unwrap_or((0, first));
    let line = index + 1;
    let content = content.trim();
    let name = content.strip_prefix("export ").unwrap_or(content);
    let name = name.split_once('=').map(|(name, _)| name.trim());
    let (message, hint) = match name.filter(|name| is_variable_name(name)) {
        Some(name) => (
            format!("the value of `{name}` cannot be read ({shown}:{line})"),
            "put it into single quotes, which must be closed: NAME='value'; spaces, `#` and `$` are kept as they are in them",
        ),
        None => (
            format!("a line is no `NAME=value` ({shown}:{line})"),
            "write one `NAME=value` a line, and `#` before comments",
        ),
    };
    Failure::new(exit_code::CONFIG, message).with_hint(hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(text: &str) -> Result<Vec<(String, String)>, String> {
        let found = parse(text, ".env").map_err(|failure| failure.message)?;
        let mut found: Vec<_> = found.into_iter().collect();
        found.sort();
        Ok(found)
    }

    #[test]
    fn files_of_every_editor_are_read() {
        let expected = Ok(vec![
            ("A".to_owned(), "1".to_owned()),
            ("B".to_owned(), "two words # $A".to_owned()),
            ("C".to_owned(), String::new()),
        ]);

        for text in [
            "A=1\nB='two words # $A'\nC=\n",
            "\u{feff}A=1\r\nB='two words # $A'\r\nC=\r\n",
            "# comment\n\nexport A=1\nexport B='two words # $A'\n  C =",
        ] {
            assert_eq!(read_text(text), expected, "{text:?}");
        }
    }

    #[test]
    fn broken_lines_are_named_by_number_and_never_shown() {
        let cases = [
            ("A=1\nB\n", "a line is no `NAME=value` (.env:2)"),
            (
                "A=1\nB='hunter2\nC=3\n",
                "the value of `B` cannot be read (.env:2)",
            ),
            (
                "B=two words hunter2\n",
                "the value of `B` cannot be read (.env:1)",
            ),
            ("A=1\n<<<<<<< HEAD\n", "a line is no `NAME=value` (.env:2)"),
            (
                "A=1\n\nhunter2=4 5\n",
                "the value of `hunter2` cannot be read (.env:3)",
            ),
            ("9A=hunter2\n", "a line is no `NAME=value` (.env:1)"),
        ];

        for (text, expected) in cases {
            assert_eq!(read_text(text), Err(expected.to_owned()), "{text:?}");
        }
    }
}
