//! Masks whose values are texts.

use super::{Unfit, fake};
use crate::evaluate::Fault;
use crate::uuid;
use arrow_array::builder::StringBuilder;
use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef};
use arrow_cast::{CastOptions, cast_with_options};
use arrow_schema::DataType;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use std::fmt::Write as _;
use std::sync::Arc;
use syncset_connector::{FakeKind, Mask, MaskKey};

/// Makes a text of the bytes of a value.
#[derive(Clone)]
pub(super) enum TextMask {
    Hmac(Hmac<Sha256>),
    Sha256,
    Redact,
    Partial { first: usize, last: usize },
    Email,
    Fake(FakeKind, Hmac<Sha256>),
}

impl std::fmt::Debug for TextMask {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("TextMask(..)")
    }
}

impl TextMask {
    /// A mask over values of this type.
    pub(super) fn of(mask: &Mask, input: &DataType) -> Result<Self, Unfit> {
        let is_text = *input == DataType::Utf8;
        let of_texts = |mask| match is_text {
            true => Ok(mask),
            false => Err(Unfit {
                reason: format!("it masks texts, and the column is {input}"),
                hint: "use `null`, `constant`, `redact` or `hmac_sha256`",
            }),
        };
        if input.is_nested() {
            return Err(Unfit {
                reason: format!("values of the type {input} have no text"),
                hint: "use `null`, or leave the column out",
            });
        }
        match mask {
            Mask::HmacSha256(key) => Ok(Self::Hmac(keyed(key)?)),
            Mask::Fake(kind, key) => Ok(Self::Fake(*kind, keyed(key)?)),
            Mask::Sha256 => Ok(Self::Sha256),
            Mask::Partial { first, last } => of_texts(Self::Partial {
                first: *first,
                last: *last,
            }),
            Mask::Email => of_texts(Self::Email),
            Mask::Redact | Mask::Null | Mask::Constant(_) => Ok(Self::Redact),
            Mask::TruncateDate(_) | Mask::Bucket(_) => Ok(Self::Redact),
        }
    }

    pub(super) fn apply(&self, values: &ArrayRef) -> Result<ArrayRef, Fault> {
        let mut masked = StringBuilder::with_capacity(values.len(), values.len() * 16);
        let mut text = String::new();
        for_each_bytes(values, |bytes| {
            let Some(bytes) = bytes else {
                return masked.append_null();
            };
            text.clear();
            self.write(bytes, &mut text);
            masked.append_value(&text);
        })?;
        Ok(Arc::new(masked.finish()))
    }

    fn write(&self, bytes: &[u8], masked: &mut String) {
        match self {
            Self::Hmac(keyed) => push_hex(&digest(keyed, bytes), masked),
            Self::Sha256 => push_hex(&Sha256::digest(bytes), masked),
            Self::Redact => masked.push_str("***"),
            Self::Partial { first, last } => {
                partial(&String::from_utf8_lossy(bytes), (*first, *last), masked);
            }
            Self::Email => email(&String::from_utf8_lossy(bytes), masked),
            Self::Fake(kind, keyed) => fake::push(*kind, &digest(keyed, bytes), masked),
        }
    }
}

fn keyed(key: &MaskKey) -> Result<Hmac<Sha256>, Unfit> {
    Hmac::new_from_slice(key.secret.expose().as_bytes()).map_err(|_| Unfit {
        reason: "its key cannot be used".to_owned(),
        hint: "use another key",
    })
}

fn digest(keyed: &Hmac<Sha256>, bytes: &[u8]) -> [u8; 32] {
    let mut mac = keyed.clone();
    mac.update(bytes);
    mac.finalize().into_bytes().into()
}

fn push_hex(digest: &[u8], text: &mut String) {
    for byte in digest {
        // Writing to a text has no error.
        let _infallible = write!(text, "{byte:02x}");
    }
}

/// A text of as many characters, of which only some are those of the value. Where nothing would be
/// hidden, everything is.
fn partial(text: &str, (first, last): (usize, usize), masked: &mut String) {
    let count = text.chars().count();
    let shows = first.saturating_add(last) < count;
    for (place, character) in text.chars().enumerate() {
        let is_shown = shows && (place < first || count - place <= last);
        masked.push(if is_shown { character } else { '*' });
    }
}

fn email(text: &str, masked: &mut String) {
    match text.rsplit_once('@') {
        Some((local, domain)) if !local.is_empty() && !domain.is_empty() => {
            masked.extend(local.chars().take(1));
            masked.push_str("***@");
            masked.push_str(domain);
        }
        _ => masked.push_str("***"),
    }
}

/// The bytes of each value: of its text, so that `42` is the same as a number and as a text; of
/// binary values as they are.
fn for_each_bytes(values: &ArrayRef, mut take: impl FnMut(Option<&[u8]>)) -> Result<(), Fault> {
    match values.data_type() {
        DataType::Utf8 => {
            for value in values.as_string::<i32>() {
                take(value.map(str::as_bytes));
            }
        }
        DataType::Binary => {
            for value in values.as_binary::<i32>() {
                take(value);
            }
        }
        DataType::FixedSizeBinary(16) => {
            for value in values.as_fixed_size_binary().iter() {
                let text = value.map(uuid::text);
                take(text.as_deref().map(str::as_bytes));
            }
        }
        _ => {
            let options = CastOptions {
                safe: false,
                ..CastOptions::default()
            };
            let texts = cast_with_options(values, &DataType::Utf8, &options)
                .map_err(|_| Fault::new("a value has no text that could be masked"))?;
            for value in texts.as_string::<i32>() {
                take(value.map(str::as_bytes));
            }
        }
    }
    Ok(())
}
