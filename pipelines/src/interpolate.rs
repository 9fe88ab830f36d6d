//! `${NAME}` from the environment and `${file:PATH}` from a file.
//!
//! Values are put in after the YAML was read, so a value can never add keys; they appear in no
//! message.

use crate::problem::{Lookup, Place, Problems};
use std::path::Path;

/// Replaces every `${...}`; `$${` stands for `${`. Relative paths start at `base`.
///
/// Returns `None` after noting each variable or file that is missing.
pub(crate) fn interpolate(
    text: &str,
    place: Place,
    base: &Path,
    lookup: &Lookup,
    problems: &mut Problems,
) -> Option<String> {
    let mut result = String::with_capacity(text.len());
    let mut complete = true;
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        let (before, found) = rest.split_at(start);
        if let Some(kept) = before.strip_suffix('$') {
            result.push_str(kept);
            result.push_str("${");
            rest = found.strip_prefix("${").unwrap_or(found);
            continue;
        }
        result.push_str(before);
        let Some((name, after)) = found
            .strip_prefix("${")
            .and_then(|inner| inner.split_once('}'))
        else {
            problems.hinted(
                place,
                "`${` without its `}`",
                "write `${NAME}`, or `$${` for the two characters themselves",
            );
            return None;
        };
        match resolve(name, place, base, lookup, problems) {
            Some(value) => result.push_str(&value),
            None => complete = false,
        }
        rest = after;
    }
    result.push_str(rest);
    complete.then_some(result)
}

/// Each `${...}` of a text that [`interpolate`] replaces.
pub(crate) fn variables(text: &str) -> impl Iterator<Item = &str> {
    let starts = text.match_indices("${").map(|(start, _)| start);
    let starts = starts.filter(|start| !text[..*start].ends_with('$'));
    starts.filter_map(|start| {
        let end = text[start..].find('}')?;
        text.get(start..=start + end)
    })
}

fn resolve(
    name: &str,
    place: Place,
    base: &Path,
    lookup: &Lookup,
    problems: &mut Problems,
) -> Option<String> {
    if let Some(path) = name.strip_prefix("file:") {
        let full = base.join(path);
        return match (lookup.file)(&full.to_string_lossy()) {
            // Editors and `echo` end a file with a line break that is no part of a password.
            Ok(text) => Some(text.trim_end_matches(['\n', '\r']).to_owned()),
            Err(error) => {
                problems.hinted(
                    place,
                    format!("cannot read the file of `${{file:{path}}}`: {error}"),
                    "relative paths start at the project folder",
                );
                None
            }
        };
    }
    if !is_variable_name(name) {
        problems.hinted(
            place,
            format!("`${{{name}}}` is no name of a variable"),
            "write `${NAME}` or `${file:PATH}`, or `$${` for the two characters themselves",
        );
        return None;
    }
    let value = (lookup.env)(name);
    if value.is_none() {
        problems.hinted(
            place,
            format!("the variable `{name}` is not set"),
            format!("export {name}=..., or put it into the file `.env` beside `syncset.yaml`"),
        );
    }
    value
}

/// Whether a text can be the name of a variable: letters, digits and `_`, no digit first.
pub fn is_variable_name(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && name
            .chars()
            .all(|other| other.is_ascii_alphanumeric() || other == '_')
}

/// Refuses `${...}` where it is not replaced, so that nobody filters by the literal text.
/// Returns the text with `$${` made `${`.
pub(crate) fn refuse(text: &str, place: Place, problems: &mut Problems) -> String {
    let plain = text.replace("$${", "");
    if plain.contains("${") {
        problems.hinted(
            place,
            "`${...}` is replaced in connections, `source` and `target` only",
            "write the value itself, or `$${` for the two characters",
        );
    }
    text.replace("$${", "${")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(text: &str) -> Result<String, Vec<String>> {
        let lookup = Lookup {
            env: &|name| (name == "USER_1").then(|| "ann".to_owned()),
            file: &|path| match path {
                "/base/pw" => Ok("secret\n".into()),
                _ => Err(std::io::ErrorKind::NotFound.into()),
            },
        };
        let mut problems = Problems::of("f");
        let place = Place { line: 1, column: 1 };
        let value = interpolate(text, place, Path::new("/base"), &lookup, &mut problems);
        problems
            .finish(value)
            .map_err(|list| list.into_iter().map(|problem| problem.message).collect())
    }

    #[test]
    fn variables_files_and_escapes_are_replaced() {
        let cases = [
            ("plain", "plain"),
            ("a${USER_1}b${USER_1}", "aannbann"),
            ("${file:pw}!", "secret!"),
            ("$${USER_1} $ {} $x", "${USER_1} $ {} $x"),
        ];
        for (text, expected) in cases {
            assert_eq!(filled(text).as_deref(), Ok(expected));
        }
    }

    #[test]
    fn variables_are_told_from_escapes() {
        let found: Vec<_> = variables("a${B}$${C}${file:d}e${").collect();

        assert_eq!(found, ["${B}", "${file:d}"]);
    }

    #[test]
    fn what_is_missing_is_named() {
        let found = filled("${A} ${B} ${file:none} ${a-b}").expect_err("nothing is there");

        assert_eq!(found.len(), 4);
        assert!(
            found.contains(&"the variable `A` is not set".into()),
            "{found:?}"
        );
        assert!(filled("${A").is_err());
    }
}
