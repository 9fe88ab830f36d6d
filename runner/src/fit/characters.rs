//! Texts and bytes: their lengths, their characters, and what only a test tells.

use super::nearest::{Outcome, Verdict, decided};
use super::{Lost, Rule};
use Verdict::{Fits, Nearest, Nothing};
use arrow_array::builder::{BinaryBuilder, StringBuilder};
use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, FixedSizeBinaryArray};
use arrow_schema::ArrowError;
use std::borrow::Cow;
use std::sync::Arc;
use syncset_connector::{Domain, Repertoire, Test, TextDomain};

pub(super) fn texts(array: &ArrayRef, domain: &Domain, rule: Rule) -> Outcome {
    let values = array.as_string::<i32>();
    let mut lost = Lost::default();
    let judge = |text: &str| match domain {
        Domain::Texts(form) => text_verdict(text, form),
        Domain::Labels { labels, several } => match is_label(text, labels, *several) {
            true => Fits,
            false => Nothing,
        },
        Domain::Tested(test) if !test.keeps(text.as_bytes()) => Nothing,
        _ => Fits,
    };
    if values
        .iter()
        .flatten()
        .all(|text| matches!(judge(text), Fits))
    {
        return Outcome {
            array: Arc::clone(array),
            lost,
        };
    }
    let mut fitted = StringBuilder::with_capacity(values.len(), values.value_data().len());
    for text in values {
        let decided = text.and_then(|text| {
            let verdict = match judge(text) {
                Fits => Fits,
                Nearest(near) => Nearest(Cow::Owned(near)),
                Nothing => Nothing,
            };
            decided(Cow::Borrowed(text), verdict, rule, &mut lost)
        });
        fitted.append_option(decided);
    }
    Outcome {
        array: Arc::new(fitted.finish()),
        lost,
    }
}

fn is_label(text: &str, labels: &[String], several: bool) -> bool {
    if !several {
        return labels.iter().any(|label| label == text);
    }
    let mut rest = labels.iter();
    text.is_empty() || text.split(',').all(|part| rest.any(|label| label == part))
}

/// What a text lacks characters for becomes `?`, a NUL goes, and what is too long is cut.
fn text_verdict(text: &str, form: &TextDomain) -> Verdict<String> {
    let (mut near, mut chars, mut bytes) = (String::new(), 0_u64, 0_u64);
    let mut is_same = true;
    for character in text.chars() {
        let (kept, length) = match form.repertoire.bytes(character) {
            Some(length) => (character, length),
            None if character == '\0' => {
                is_same = false;
                continue;
            }
            None => {
                is_same = false;
                ('?', question_mark(&form.repertoire))
            }
        };
        chars += 1;
        bytes += length;
        if form.chars_max.is_some_and(|max| chars > max) || bytes > form.bytes_max {
            is_same = false;
            break;
        }
        near.push(kept);
    }
    if form.drops_blanks && near.ends_with(' ') {
        is_same = false;
        near.truncate(near.trim_end_matches(' ').len());
    }
    match is_same {
        true => Fits,
        false => Nearest(near),
    }
}

fn question_mark(repertoire: &Repertoire) -> u64 {
    repertoire.bytes('?').unwrap_or(1)
}

/// Bytes of a fixed length that pass a test, such as UUIDs.
pub(super) fn tested(array: &ArrayRef, test: Test, rule: Rule) -> Result<Outcome, ArrowError> {
    let mut lost = Lost::default();
    let mut judge = |value: &[u8]| {
        test.keeps(value) || decided((), Verdict::Nothing, rule, &mut lost).is_some()
    };
    let values = array.as_fixed_size_binary();
    let kept: Vec<Option<&[u8]>> = values
        .iter()
        .map(|value| value.filter(|value| judge(value)))
        .collect();
    if lost == Lost::default() {
        return Ok(Outcome {
            array: Arc::clone(array),
            lost,
        });
    }
    let length = values.value_length();
    let fitted = FixedSizeBinaryArray::try_from_sparse_iter_with_size(kept.into_iter(), length)?;
    Ok(Outcome {
        array: Arc::new(fitted),
        lost,
    })
}

pub(super) fn bytes(array: &ArrayRef, (exactly, max): (Option<u64>, u64), rule: Rule) -> Outcome {
    let values = array.as_binary::<i32>();
    let mut lost = Lost::default();
    let max = exactly.unwrap_or(max);
    let judge = |value: &[u8]| {
        let length = value.len() as u64;
        if length > max {
            let kept = usize::try_from(max).unwrap_or(usize::MAX);
            Nearest(value[..kept.min(value.len())].to_vec())
        } else if exactly.is_some_and(|exactly| length != exactly) {
            Nothing
        } else {
            Fits
        }
    };
    let mut fitted = BinaryBuilder::new();
    for value in values {
        let decided = value.and_then(|value| {
            let verdict = match judge(value) {
                Fits => Fits,
                Nearest(near) => Nearest(Cow::Owned(near)),
                Nothing => Nothing,
            };
            decided(Cow::Borrowed(value), verdict, rule, &mut lost)
        });
        fitted.append_option(decided);
    }
    if lost == Lost::default() {
        return Outcome {
            array: Arc::clone(array),
            lost,
        };
    }
    Outcome {
        array: Arc::new(fitted.finish()),
        lost,
    }
}
