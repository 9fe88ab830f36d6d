//! One row of the table of keys.

use super::Section;

/// A key of a section.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Key {
    /// As it is written.
    pub(crate) name: &'static str,
    /// The kinds of values it takes.
    pub(crate) takes: &'static [Takes],
    /// True if its section is wrong without it.
    pub(crate) required: bool,
    /// What counts where it is absent, as one would write it; empty: nothing in particular.
    pub(crate) default: &'static str,
    /// One or two sentences, as Markdown.
    pub(crate) about: &'static str,
    /// A line that holds the key: of its own section at the top of a file and for a table, of the
    /// section that holds its own otherwise.
    pub(crate) example: &'static str,
}

/// A word that a key takes, and what it means.
pub(crate) type Choice = (&'static str, &'static str);

/// A kind of value.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Takes {
    /// This number and no other.
    Exactly(u64),
    /// A text. Numbers and booleans are texts as they are written.
    Text,
    /// A text that the pattern, an ECMA regular expression, matches; `${...}` in it is replaced.
    Matching(&'static str),
    /// A whole number of 0 or more.
    Count,
    /// `true` or `false`.
    Flag,
    /// A number from 0 to 100.
    Percent,
    /// `30s`, `10m`, `1h 30m`.
    Duration,
    /// One of these words.
    Choice(&'static [Choice]),
    /// A mapping of names to one of these words each.
    Choices(&'static [Choice]),
    /// A list of texts, perhaps empty.
    Texts,
    /// A list of one text or more, each only once.
    Names,
    /// A list of one text or more.
    Words,
    /// `64KiB`, `256MiB`, `1GiB`.
    Bytes,
    /// A mapping of texts to anything.
    Mapping,
    /// A mapping of texts to texts.
    TextMap,
    /// A mapping of names and globs of columns to one of these words, or to a mapping with the keys
    /// of another section.
    Masks(&'static [Choice], Section),
    /// A mapping with the keys of another section.
    Section(Section),
    /// A list of mappings with the keys of another section.
    Sections(Section),
    /// A list of names, or of mappings with the keys of another section.
    Steps(Section),
    /// A mapping of SQL identifiers to mappings with the keys of another section.
    Plugins(Section),
    /// A URL, or a mapping with the keys of its type.
    Connection,
    /// The name of a connection, or what [`Takes::Connection`] is.
    Endpoint,
    /// A mapping of names to connections.
    Connections,
    /// A mapping of names and globs of tables to their settings.
    Tables,
}

impl Key {
    /// A key that may be absent.
    pub(crate) const fn optional(name: &'static str, takes: &'static [Takes]) -> Self {
        Self {
            name,
            takes,
            required: false,
            default: "",
            about: "",
            example: "",
        }
    }

    /// A key without which its section is wrong.
    pub(crate) const fn required(name: &'static str, takes: &'static [Takes]) -> Self {
        Self {
            required: true,
            ..Self::optional(name, takes)
        }
    }

    /// With what counts where it is absent.
    pub(crate) const fn default(self, default: &'static str) -> Self {
        Self { default, ..self }
    }

    /// With what it is for.
    pub(crate) const fn about(self, about: &'static str) -> Self {
        Self { about, ..self }
    }

    /// With a line that shows it.
    pub(crate) const fn example(self, example: &'static str) -> Self {
        Self { example, ..self }
    }

    /// The words it takes; empty if it takes none.
    pub(crate) fn choices(&self) -> &'static [Choice] {
        self.takes
            .iter()
            .find_map(|takes| match takes {
                Takes::Choice(choices) | Takes::Choices(choices) | Takes::Masks(choices, _) => {
                    Some(*choices)
                }
                _ => None,
            })
            .unwrap_or_default()
    }
}
