//! Pieces of the files that are written: names, comments, sizes.

/// Width at which comments are wrapped.
const LINE_WIDTH: usize = 98;

/// Words that YAML reads as something else than a text.
const YAML_WORDS: [&str; 9] = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"];

/// A text as a YAML value: plain where that is safe, else in double quotes. `${` is escaped, since
/// values are looked through for variables.
pub(super) fn scalar(text: &str) -> String {
    key(&text.replace("${", "$${"))
}

/// A text as a YAML key, in which nothing is looked for.
pub(super) fn key(text: &str) -> String {
    let mut characters = text.chars();
    let starts_plain = characters
        .next()
        .is_some_and(|first| first.is_ascii_alphabetic() || first == '_');
    let is_plain = starts_plain
        && characters
            .all(|other| other.is_ascii_alphanumeric() || matches!(other, '_' | '.' | '-'));
    if is_plain && !YAML_WORDS.contains(&text.to_ascii_lowercase().as_str()) {
        return text.to_owned();
    }
    // A JSON string is a YAML string in double quotes.
    serde_json::Value::String(text.to_owned()).to_string()
}

/// Names as the content of a YAML list in one line.
pub(super) fn list<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let scalars: Vec<_> = names.into_iter().map(scalar).collect();
    scalars.join(", ")
}

/// Names with commas between, for comments.
pub(super) fn names<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    names.into_iter().collect::<Vec<_>>().join(", ")
}

/// A comment of any length, wrapped and indented. No character of it can end the comment.
pub(super) fn comment(indent: usize, text: &str) -> String {
    let prefix = format!("{}#", " ".repeat(indent));
    let mut lines = String::new();
    let mut line = prefix.clone();
    for word in text.split_whitespace() {
        let word: String = word.chars().map(visible).collect();
        let is_first = line == prefix;
        if !is_first && line.chars().count() + 1 + word.chars().count() > LINE_WIDTH {
            lines.push_str(&format!("{line}\n"));
            line = prefix.clone();
        }
        line.push_str(&format!(" {word}"));
    }
    lines.push_str(&format!("{line}\n"));
    lines
}

/// A comment of one line: one that becomes part of the file when its `# ` is deleted.
pub(super) fn line_comment(indent: usize, line: &str) -> String {
    let line: String = line.chars().map(visible).collect();
    format!("{}# {line}\n", " ".repeat(indent))
}

fn visible(character: char) -> char {
    match character {
        '\u{85}' | '\u{2028}' | '\u{2029}' => '?',
        control if control.is_control() => '?',
        other => other,
    }
}

/// A number of bytes for people: `48 KiB`.
pub fn display_size(bytes: u64) -> String {
    let mut unit = "B";
    let mut shown = bytes;
    for larger in ["KiB", "MiB", "GiB", "TiB"] {
        if shown < 10 * 1024 {
            break;
        }
        shown = (shown + 512) / 1024;
        unit = larger;
    }
    format!("{shown} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scalars_are_read_back_as_the_same_text() {
        for (text, expected) in [
            ("public.orders", "public.orders"),
            ("no", "\"no\""),
            ("1st", "\"1st\""),
            ("a: b", "\"a: b\""),
            ("say \"hi\"", "\"say \\\"hi\\\"\""),
            ("two\nlines", "\"two\\nlines\""),
            ("${HOME}", "\"$${HOME}\""),
            ("", "\"\""),
        ] {
            assert_eq!(scalar(text), expected);
        }
    }

    #[test]
    fn no_name_can_end_a_comment() {
        let text = comment(2, "a\nname: with\u{2028}breaks\u{7}");

        assert_eq!(text, "  # a name: with breaks?\n");
        assert_eq!(line_comment(2, "x\ny"), "  # x?y\n");
    }

    #[test]
    fn sizes_have_the_largest_unit_that_tells_something() {
        assert_eq!(display_size(0), "0 B");
        assert_eq!(display_size(8 * 1024), "8192 B");
        assert_eq!(display_size(48 * 1024), "48 KiB");
        assert_eq!(display_size(3 << 40), "3072 GiB");
    }
}
