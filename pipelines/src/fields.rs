//! Readers of YAML values. Each returns what it could read and notes what it could not, so that
//! one pass finds every problem of a file.

use crate::nearest::nearest;
use crate::problem::{Place, Problems};
use crate::schema::Section;
use crate::spec::Name;
use crate::unsupported::{instead_of_key, instead_of_value, sentence};
use crate::yaml::{Entry, Node, Value};
use std::time::Duration;

/// The keys of one mapping, checked against those its section knows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fields<'n> {
    section: Section,
    entries: &'n [Entry],
    /// Where the mapping starts.
    pub(crate) place: Place,
}

impl<'n> Fields<'n> {
    /// Takes a mapping and notes every key that its section does not have. `example` shows a right
    /// value of `what`.
    pub(crate) fn of(
        node: &'n Node,
        section: Section,
        (what, example): (&str, &str),
        problems: &mut Problems,
    ) -> Option<Self> {
        let Value::Map(entries) = &node.value else {
            wrong_type(node, what, "a mapping", example, problems);
            return None;
        };
        for entry in entries {
            let key = entry.key.as_str();
            if section.key(key).is_some() {
                continue;
            }
            if let Some(instead) = instead_of_key(section, key) {
                problems.hinted(entry.key_place, sentence(key), instead);
                continue;
            }
            unknown_key(entry, section, what, problems);
        }
        Some(Self {
            section,
            entries,
            place: node.place,
        })
    }

    /// The value of a key; `None` if it is absent or empty.
    ///
    /// # Panics
    /// In tests, if the section has no row for the key: nobody could write it.
    pub(crate) fn value(&self, key: &str) -> Option<&'n Node> {
        debug_assert!(
            self.section.key(key).is_some(),
            "add the row of `{key}` to the section {:?} in src/schema",
            self.section
        );
        self.entries
            .iter()
            .find(|entry| entry.key == key)
            .map(|entry| &entry.node)
            .filter(|node| !node.is_nothing())
    }

    /// The value of a key that takes `null` as a word.
    pub(crate) fn word(&self, key: &str) -> Option<Node> {
        let entry = self.entries.iter().find(|entry| entry.key == key)?;
        let node = entry.node.spelled();
        (!node.is_nothing()).then_some(node)
    }
}

fn unknown_key(entry: &Entry, section: Section, what: &str, problems: &mut Problems) {
    let known = || section.keys().iter().map(|key| key.name);
    let elsewhere = match section {
        Section::Pipeline if Section::Project.key(&entry.key).is_some() => {
            Some("it belongs into `syncset.yaml`")
        }
        Section::Project if Section::Pipeline.key(&entry.key).is_some() => {
            Some("it belongs into a file of the folder `pipelines`")
        }
        _ => None,
    };
    let within = || within(section, &entry.key);
    if let Some(hint) = elsewhere.map(str::to_owned).or_else(within) {
        let message = format!("unknown key `{}`", entry.key);
        return problems.hinted(entry.key_place, message, hint);
    }
    let hint = match nearest(&entry.key, known()) {
        Some(name) => format!("did you mean `{name}`?"),
        None => format!(
            "the keys of {what} are {}",
            known()
                .map(|name| format!("`{name}`"))
                .collect::<Vec<_>>()
                .join(", ")
        ),
    };
    problems.hinted(
        entry.key_place,
        format!("unknown key `{}`", entry.key),
        hint,
    );
}

/// Where a key of a table belongs that stands one mapping too high.
fn within(section: Section, key: &str) -> Option<String> {
    const PARTS: [(&str, Section); 6] = [
        ("capture", Section::Capture),
        ("write", Section::Write),
        ("rejects", Section::Rejects),
        ("guards", Section::Guards),
        ("schema", Section::Schema),
        ("copy", Section::Copy),
    ];
    if section != Section::Table {
        return None;
    }
    let parts = PARTS.iter().filter(|(_, part)| part.key(key).is_some());
    let parts: Vec<_> = parts.map(|(name, _)| format!("`{name}:`")).collect();
    (!parts.is_empty()).then(|| format!("it belongs into {}", parts.join(" or ")))
}

/// Notes that a value is of another kind than it must be.
pub(crate) fn wrong_type(
    node: &Node,
    what: &str,
    expected: &str,
    example: &str,
    problems: &mut Problems,
) {
    let kind = node.kind();
    problems.hinted(
        node.place,
        format!("{what} must be {expected}, not {kind}"),
        format!("for example `{example}`"),
    );
}

/// A text. Numbers and booleans are taken as they are written.
pub(crate) fn text(
    node: &Node,
    what: &str,
    example: &str,
    problems: &mut Problems,
) -> Option<Name> {
    match &node.value {
        Value::Scalar { text, .. } if !text.trim().is_empty() => Some(Name {
            text: text.clone(),
            place: node.place,
        }),
        Value::Scalar { .. } => {
            problems.hinted(
                node.place,
                format!("{what} is empty"),
                format!("for example `{example}`"),
            );
            None
        }
        _ => {
            wrong_type(node, what, "a text", example, problems);
            None
        }
    }
}

/// A list of texts.
pub(crate) fn text_list(
    node: &Node,
    what: &str,
    example: &str,
    problems: &mut Problems,
) -> Option<Vec<Name>> {
    let Value::List(items) = &node.value else {
        wrong_type(node, what, "a list", example, problems);
        return None;
    };
    let names: Vec<_> = items
        .iter()
        .filter_map(|item| text(item, &format!("an entry of {what}"), example, problems))
        .collect();
    (names.len() == items.len()).then_some(names)
}

/// A mapping of texts to texts, in the order of the file.
pub(crate) fn text_map(
    node: &Node,
    what: &str,
    example: &str,
    problems: &mut Problems,
) -> Vec<(Name, Name)> {
    let Value::Map(entries) = &node.value else {
        wrong_type(node, what, "a mapping", example, problems);
        return Vec::new();
    };
    entries
        .iter()
        .filter_map(|entry| {
            let value = text(&entry.node, &format!("`{}`", entry.key), example, problems)?;
            let key = Name {
                text: entry.key.clone(),
                place: entry.key_place,
            };
            Some((key, value))
        })
        .collect()
}

/// A whole number that is not negative.
pub(crate) fn count(
    node: &Node,
    what: &str,
    example: &str,
    problems: &mut Problems,
) -> Option<u64> {
    if let Value::Scalar {
        text,
        quoted: false,
    } = &node.value
        && let Ok(number) = text.replace('_', "").parse()
    {
        return Some(number);
    }
    problems.hinted(
        node.place,
        format!("{what} must be a whole number of 0 or more"),
        format!("for example `{example}`"),
    );
    None
}

/// A duration such as `10m`, `24h`, `1h 30m`.
pub(crate) fn duration(
    node: &Node,
    what: &str,
    example: &str,
    problems: &mut Problems,
) -> Option<Duration> {
    let name = text(node, what, example, problems)?;
    match humantime::parse_duration(&name.text) {
        Ok(duration) => Some(duration),
        Err(_) => {
            problems.hinted(
                node.place,
                format!("{what} must be a duration with its unit, such as `10m` or `24h`"),
                format!("for example `{example}`"),
            );
            None
        }
    }
}

/// A number of bytes with its unit, as `--memory` takes it.
pub(crate) fn bytes(
    node: &Node,
    what: &str,
    example: &str,
    problems: &mut Problems,
) -> Option<u64> {
    let size = text(node, what, example, problems)?.text;
    let size = size.trim();
    let digits = size.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let unit: Option<u64> = match size[digits.len()..].to_ascii_lowercase().as_str() {
        "" | "b" => Some(1),
        "kib" | "k" => Some(1 << 10),
        "mib" | "m" => Some(1 << 20),
        "gib" | "g" => Some(1 << 30),
        "kb" => Some(1_000),
        "mb" => Some(1_000_000),
        "gb" => Some(1_000_000_000),
        _ => None,
    };
    let number = digits.trim().parse::<u64>().ok();
    let found = number
        .zip(unit)
        .map(|(number, unit)| number.saturating_mul(unit));
    if found.is_none() {
        problems.hinted(
            node.place,
            format!("{what} must be a number of bytes with its unit, such as `256MiB`"),
            format!("for example `{example}`"),
        );
    }
    found
}

/// One of the known words; a word of a later version is refused as such.
pub(crate) fn choice<T: Copy>(
    node: &Node,
    section: Section,
    key: &str,
    options: &[(&str, T)],
    problems: &mut Problems,
) -> Option<T> {
    debug_assert!(
        section.key(key).is_some_and(|row| row
            .choices()
            .iter()
            .map(|choice| choice.0)
            .eq(options.iter().map(|option| option.0))),
        "the words of `{key}` differ from those of its row in the section {section:?}"
    );
    let example = format!("{key}: {}", options.first().map_or("", |option| option.0));
    let name = text(node, &format!("`{key}`"), &example, problems)?;
    if let Some(option) = options.iter().find(|option| option.0 == name.text) {
        return Some(option.1);
    }
    if let Some(instead) = instead_of_value(section, key, &name.text) {
        let what = format!("{key}: {}", name.text);
        problems.hinted(name.place, sentence(&what), instead);
        return None;
    }
    let hint = match nearest(&name.text, options.iter().map(|option| option.0)) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("it is one of {}", words(options)),
    };
    problems.hinted(
        name.place,
        format!("`{}` is no value of `{key}`", name.text),
        hint,
    );
    None
}

fn words<T>(options: &[(&str, T)]) -> String {
    options
        .iter()
        .map(|option| format!("`{}`", option.0))
        .collect::<Vec<_>>()
        .join(", ")
}

/// `version: 1`, required at the top of both files.
pub(crate) fn version(fields: &Fields, problems: &mut Problems) {
    match fields.value("version") {
        None => problems.hinted(
            fields.place,
            "`version` is missing",
            "write `version: 1` as the first line",
        ),
        Some(node) => {
            if count(node, "`version`", "version: 1", problems).is_some_and(|number| number != 1) {
                problems.hinted(
                    node.place,
                    "this version of syncset reads `version: 1` only",
                    "write `version: 1`, or use a newer syncset",
                );
            }
        }
    }
}
