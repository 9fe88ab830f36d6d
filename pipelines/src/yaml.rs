//! YAML text to a tree in which every key and value knows its place.
//!
//! Scalars stay text with a flag for quotes, so `version: "1"` and a table called `null` mean
//! what they say. Duplicate keys, anchors, tags and merge keys are refused: a configuration that
//! decides what is copied must read in one way only.

use crate::problem::{Place, Problem, Source};
use saphyr_parser::{Event, Marker, Parser, ScalarStyle, Span, StrInput};

/// Levels of nesting at most; a pipeline needs eight.
const DEPTH_MAX: usize = 64;

/// A value with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Node {
    /// Where it starts.
    pub(crate) place: Place,
    /// What it is.
    pub(crate) value: Value,
}

/// What a value is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Value {
    /// Nothing, or `~`.
    Null,
    /// `null`, which is nothing but where it is a word.
    NullWord,
    /// A scalar; `quoted` ones are always text.
    Scalar {
        /// Without quotes.
        text: String,
        /// Whether it had quotes or was a block.
        quoted: bool,
    },
    /// A sequence.
    List(Vec<Node>),
    /// A mapping in the order of the file.
    Map(Vec<Entry>),
}

/// One key of a mapping with its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// The key.
    pub(crate) key: String,
    /// Where the key is.
    pub(crate) key_place: Place,
    /// The value.
    pub(crate) node: Node,
}

impl Node {
    /// The value of a key, if this is a mapping that has it.
    pub(crate) fn child(&self, key: &str) -> Option<&Node> {
        match &self.value {
            Value::Map(entries) => entries
                .iter()
                .find(|entry| entry.key == key)
                .map(|entry| &entry.node),
            _ => None,
        }
    }

    /// The same with `null` as the word it is spelled as.
    pub(crate) fn spelled(&self) -> Self {
        let value = match &self.value {
            Value::NullWord => Value::Scalar {
                text: "null".into(),
                quoted: false,
            },
            other => other.clone(),
        };
        Self {
            place: self.place,
            value,
        }
    }

    /// Whether it says nothing.
    pub(crate) fn is_nothing(&self) -> bool {
        matches!(self.value, Value::Null | Value::NullWord)
    }

    /// How a message calls this kind of value.
    pub(crate) fn kind(&self) -> &'static str {
        match &self.value {
            Value::Null | Value::NullWord => "nothing",
            Value::List(_) => "a list",
            Value::Map(_) => "a mapping",
            Value::Scalar { quoted: true, .. } => "a text",
            Value::Scalar { text, .. } if matches!(text.as_str(), "true" | "false") => "a boolean",
            Value::Scalar { text, .. } if text.parse::<f64>().is_ok() => "a number",
            Value::Scalar { .. } => "a text",
        }
    }
}

/// Reads the one document of a file. An empty file is `Null`.
///
/// # Errors
/// What is wrong with the YAML itself: all of what this module refuses, or the first thing that
/// is no YAML.
pub(crate) fn parse(source: Source) -> Result<Node, Vec<Problem>> {
    let mut builder = Builder {
        path: source.path,
        text: source.text,
        parser: Parser::new_from_str(source.text),
        problems: Vec::new(),
    };
    match builder.document() {
        Ok(node) if builder.problems.is_empty() => Ok(node),
        Ok(_) => Err(builder.problems),
        Err(problem) => {
            builder.problems.push(problem);
            Err(builder.problems)
        }
    }
}

struct Builder<'a> {
    path: &'a str,
    text: &'a str,
    parser: Parser<'a, StrInput<'a>>,
    problems: Vec<Problem>,
}

impl<'a> Builder<'a> {
    fn document(&mut self) -> Result<Node, Problem> {
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::StreamStart | Event::DocumentStart(_) | Event::Nothing => {}
                Event::StreamEnd => {
                    return Ok(Node {
                        place: Place { line: 1, column: 1 },
                        value: Value::Null,
                    });
                }
                other => {
                    let root = self.node(other, span, 0)?;
                    self.nothing_follows()?;
                    return Ok(root);
                }
            }
        }
    }

    fn nothing_follows(&mut self) -> Result<(), Problem> {
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::StreamEnd => return Ok(()),
                Event::DocumentStart(_) => {
                    return Err(self.problem(place(span), "the file has a second document"));
                }
                _ => {}
            }
        }
    }

    fn next(&mut self) -> Result<(Event<'a>, Span), Problem> {
        match self.parser.next_event() {
            Some(Ok(event)) => Ok(event),
            Some(Err(error)) => {
                let place = place_of(error.marker());
                let hint = self.hint_of(error.info());
                let message = format!("this is no YAML: {}", error.info());
                Err(self.problem(place, message).with_hint(hint))
            }
            // The parser ends with `StreamEnd`, so this is a text it gave up on.
            None => Err(self.problem(Place { line: 1, column: 1 }, "this is no YAML")),
        }
    }

    /// What to do about a text that the parser gave up on.
    fn hint_of(&self, said: &str) -> &'static str {
        let is_mark = |line: &str| line.starts_with("<<<<<<<") || line.starts_with(">>>>>>>");
        if self.text.lines().any(is_mark) {
            "the file has the marks of a merge that was not finished: `<<<<<<<` and `>>>>>>>`"
        } else if said.contains("tab") {
            "indent with spaces, never with tabs"
        } else if said.contains("anchor") {
            "put a text that begins with `*` or `&` in quotes, as in `\"*\": {}`"
        } else {
            "check the indentation, colons and quotes here and just above"
        }
    }

    fn node(&mut self, event: Event<'a>, span: Span, depth: usize) -> Result<Node, Problem> {
        let place = place(span);
        if depth > DEPTH_MAX {
            return Err(self.problem(place, format!("nested more than {DEPTH_MAX} levels deep")));
        }
        let value = match event {
            Event::Scalar(text, style, anchor, tag) => {
                self.refuse_extras(place, anchor, tag.is_some());
                let quoted = style != ScalarStyle::Plain;
                if !quoted && matches!(text.as_ref(), "" | "~") {
                    Value::Null
                } else if !quoted && matches!(text.as_ref(), "null" | "Null" | "NULL") {
                    Value::NullWord
                } else {
                    Value::Scalar {
                        text: text.into_owned(),
                        quoted,
                    }
                }
            }
            Event::SequenceStart(anchor, tag) => {
                self.refuse_extras(place, anchor, tag.is_some());
                self.list(depth)?
            }
            Event::MappingStart(anchor, tag) => {
                self.refuse_extras(place, anchor, tag.is_some());
                self.map(depth)?
            }
            Event::Alias(_) => {
                self.refuse_extras(place, 1, false);
                Value::Null
            }
            _ => return Err(self.problem(place, "this is no YAML: a value is missing")),
        };
        Ok(Node { place, value })
    }

    fn list(&mut self, depth: usize) -> Result<Value, Problem> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, _) => return Ok(Value::List(items)),
                (event, span) => items.push(self.node(event, span, depth + 1)?),
            }
        }
    }

    fn map(&mut self, depth: usize) -> Result<Value, Problem> {
        let mut entries: Vec<Entry> = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if event == Event::MappingEnd {
                return Ok(Value::Map(entries));
            }
            let key = self.node(event, span, depth + 1)?;
            let (event, span) = self.next()?;
            let node = self.node(event, span, depth + 1)?;
            let Some(text) = self.key_text(&key) else {
                continue;
            };
            if let Some(first) = entries.iter().find(|entry| entry.key == text) {
                let line = first.key_place.line;
                let problem = self
                    .problem(key.place, format!("`{text}` is written twice"))
                    .with_hint(format!("it is already on line {line}: keep one of them"));
                self.problems.push(problem);
                continue;
            }
            entries.push(Entry {
                key: text,
                key_place: key.place,
                node,
            });
        }
    }

    /// The text of a key; anything but a plain text is a problem.
    fn key_text(&mut self, key: &Node) -> Option<String> {
        match &key.value {
            Value::Scalar { text, quoted } if text == "<<" && !quoted => {
                let problem = self
                    .problem(key.place, "merge keys (`<<`) are not supported")
                    .with_hint("put what tables share under `defaults:`");
                self.problems.push(problem);
                None
            }
            Value::Scalar { text, .. } => Some(text.clone()),
            _ => {
                let kind = key.kind();
                let problem = self.problem(key.place, format!("a key must be a text, not {kind}"));
                self.problems.push(problem);
                None
            }
        }
    }

    fn refuse_extras(&mut self, place: Place, anchor: usize, tag: bool) {
        if anchor != 0 {
            let problem = self
                .problem(place, "anchors and aliases (`&`, `*`) are not supported")
                .with_hint("put what tables share under `defaults:`; quote a text that starts so");
            self.problems.push(problem);
        }
        if tag {
            let problem = self
                .problem(place, "tags (`!`) are not supported")
                .with_hint("quote a text that starts with `!`");
            self.problems.push(problem);
        }
    }

    fn problem(&self, place: Place, message: impl Into<String>) -> Problem {
        Problem::at(self.path, place, message)
    }
}

fn place(span: Span) -> Place {
    place_of(&span.start)
}

fn place_of(marker: &Marker) -> Place {
    Place {
        line: marker.line().max(1),
        column: marker.col() + 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn problems(text: &str) -> Vec<String> {
        let path = "p.yaml";
        match parse(Source { path, text }) {
            Ok(_) => Vec::new(),
            Err(problems) => problems.iter().map(ToString::to_string).collect(),
        }
    }

    #[test]
    fn every_key_and_value_knows_its_place() {
        let root = parse(Source {
            path: "p.yaml",
            text: "a: 1\nb:\n  - \"x\"\n  - { c: ä, d: null }\n",
        })
        .expect("valid YAML");

        let Value::Map(entries) = &root.value else {
            panic!("a mapping was expected");
        };
        assert_eq!(entries[1].key_place, Place { line: 2, column: 1 });
        let Value::List(items) = &entries[1].node.value else {
            panic!("a list was expected");
        };
        assert_eq!(items[0].place, Place { line: 3, column: 5 });
        let inner = items[1].child("d").expect("the key is there");
        assert_eq!(
            inner.place,
            Place {
                line: 4,
                column: 16
            }
        );
        assert_eq!(inner.value, Value::NullWord);
    }

    #[test]
    fn ambiguous_yaml_is_refused_all_at_once() {
        let found = problems("a: 1\nb: &x { c: 1 }\nd: *x\n<<: {}\na: 2\ne: !t 1\n[x]: 1\n");

        insta::assert_snapshot!(found.join("\n"), @"
        anchors and aliases (`&`, `*`) are not supported (p.yaml:2:4)
        anchors and aliases (`&`, `*`) are not supported (p.yaml:3:4)
        merge keys (`<<`) are not supported (p.yaml:4:1)
        `a` is written twice (p.yaml:5:1)
        tags (`!`) are not supported (p.yaml:6:4)
        a key must be a text, not a list (p.yaml:7:1)
        ");
    }

    #[test]
    fn broken_yaml_names_its_place() {
        insta::assert_snapshot!(problems("a:\n  - b\n c: [").join("\n"), @"this is no YAML: while parsing a block mapping, did not find expected key (p.yaml:3:2)");
        insta::assert_snapshot!(problems("a: 1\n---\nb: 2\n").join("\n"), @"the file has a second document (p.yaml:2:1)");
        let deep = "[".repeat(80);
        insta::assert_snapshot!(problems(&deep).join("\n"), @"nested more than 64 levels deep (p.yaml:1:66)");
    }

    proptest! {
        #[test]
        fn no_text_makes_the_reader_panic(text in "\\PC*") {
            let _ = problems(&text);
        }

        #[test]
        fn no_text_of_yaml_characters_makes_the_reader_panic(
            text in "[a-c0-9 \n\t:,\\[\\]{}\"'#&*!|>%@`~?<-]{0,80}"
        ) {
            let _ = problems(&text);
        }
    }
}
