//! What `docs/config.md` shows is what is read.

use super::lab::{pipeline, project, shown};
use crate::unsupported;

const DOCUMENT: &str = include_str!("../../../docs/config.md");

/// The YAML blocks of the document, in order.
fn blocks() -> Vec<&'static str> {
    DOCUMENT
        .split("```yaml\n")
        .skip(1)
        .filter_map(|rest| rest.split("```").next())
        .collect()
}

#[test]
fn the_examples_are_right() {
    let [first, second] = blocks()[..] else {
        panic!("one project and one pipeline were expected");
    };

    assert_eq!(shown(project(first)), "no problem");
    assert_eq!(shown(pipeline(second)), "no problem");
}

#[test]
fn everything_that_is_refused_is_listed() {
    let (_, listed) = DOCUMENT
        .split_once("## Recognised, not there yet")
        .expect("the document has the section");
    let words: Vec<_> = listed
        .split(|character: char| !character.is_ascii_alphanumeric() && character != '_')
        .collect();

    for word in unsupported::words() {
        assert!(
            words.contains(&word),
            "docs/config.md does not list `{word}`"
        );
    }
}
