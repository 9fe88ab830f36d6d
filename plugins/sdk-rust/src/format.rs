//! Types by name: what a plugin writes, the format strings of the contract, and Arrow's own types.

use arrow_schema::{DataType, TimeUnit};

/// The most digits that a decimal of 128 bits holds.
const DECIMAL_DIGITS_MAX: u8 = 38;

/// The format string for a type as plugins write it: `"f64"`, `"utf8"`, ...; a format string of
/// the contract is returned as it is.
///
/// # Panics
/// If there is no such type; where the macros call it, that is an error of the build.
pub const fn format(name: &str) -> &str {
    match name.as_bytes() {
        b"bool" => "b",
        b"i8" => "c",
        b"u8" => "C",
        b"i16" => "s",
        b"u16" => "S",
        b"i32" => "i",
        b"u32" => "I",
        b"i64" => "l",
        b"u64" => "L",
        b"f32" => "f",
        b"f64" => "g",
        b"utf8" => "u",
        b"bytes" => "z",
        b"uuid" => "w:16",
        b"decimal" => "d:*",
        b"date" => "tdD",
        b"time" => "ttu",
        b"timestamp" => "tsu:",
        b"timestamp utc" => "tsu:UTC",
        b"b" | b"c" | b"C" | b"s" | b"S" | b"i" | b"I" | b"l" | b"L" | b"f" | b"g" | b"u"
        | b"z" | b"w:16" | b"tdD" | b"ttu" | b"tsu:" | b"tsu:UTC" | b"tsu:*" => name,
        b"d:*" => name,
        [b'd', b':', digits @ ..] if is_decimal(digits) => name,
        _ => panic!("no such type; see the table of types in the guide of syncset-plugin"),
    }
}

/// Whether these are the digits of a decimal and those after its point, such as `12,2`.
const fn is_decimal(text: &[u8]) -> bool {
    let (mut numbers, mut number, mut place) = ([0, 0], 0, 0);
    let mut has_digit = false;
    while place < text.len() {
        match text[place] {
            digit @ b'0'..=b'9' if numbers[number] < DECIMAL_DIGITS_MAX => {
                numbers[number] = numbers[number] * 10 + (digit - b'0');
                has_digit = true;
            }
            b',' if number == 0 && has_digit => {
                number = 1;
                has_digit = false;
            }
            b'-' if number == 1 && !has_digit && text[place - 1] == b',' => {}
            _ => return false,
        }
        place += 1;
    }
    let [precision, scale] = numbers;
    number == 1
        && has_digit
        && precision >= 1
        && precision <= DECIMAL_DIGITS_MAX
        && scale <= DECIMAL_DIGITS_MAX
}

/// As [`format()`], for one type and not a family such as `decimal`.
///
/// # Panics
/// If there is no such type, or it is a family.
pub const fn exact_format(name: &str) -> &str {
    let format = format(name);
    if matches!(format.as_bytes(), [.., b'*']) {
        panic!("one type is needed here, such as `d:12,2`, not a family of types");
    }
    format
}

/// Whether a column of type `format` will do for one of `formats`, which may end in `*`. None: any.
pub(crate) fn matches_any(formats: &[String], format: &str) -> bool {
    formats.is_empty()
        || formats.iter().any(|wanted| match wanted.strip_suffix('*') {
            Some(family) => format.starts_with(family),
            None => wanted == format,
        })
}

/// Arrow's type for a format string of the contract.
pub(crate) fn data_type(format: &str) -> Option<DataType> {
    Some(match format {
        "b" => DataType::Boolean,
        "c" => DataType::Int8,
        "C" => DataType::UInt8,
        "s" => DataType::Int16,
        "S" => DataType::UInt16,
        "i" => DataType::Int32,
        "I" => DataType::UInt32,
        "l" => DataType::Int64,
        "L" => DataType::UInt64,
        "f" => DataType::Float32,
        "g" => DataType::Float64,
        "u" => DataType::Utf8,
        "z" => DataType::Binary,
        "w:16" => DataType::FixedSizeBinary(16),
        "tdD" => DataType::Date32,
        "ttu" => DataType::Time64(TimeUnit::Microsecond),
        "tsu:" => DataType::Timestamp(TimeUnit::Microsecond, None),
        "tsu:UTC" => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        _ => {
            let (precision, scale) = format.strip_prefix("d:")?.split_once(',')?;
            let precision = precision.parse().ok()?;
            let scale: i8 = scale.parse().ok()?;
            let fits = (1..=DECIMAL_DIGITS_MAX).contains(&precision)
                && scale.unsigned_abs() <= DECIMAL_DIGITS_MAX;
            return fits.then_some(DataType::Decimal128(precision, scale));
        }
    })
}

/// The format string of the contract for one of Arrow's types, if it can be passed.
pub(crate) fn of(data_type: &DataType) -> Option<String> {
    Some(match data_type {
        DataType::Boolean => "b".into(),
        DataType::Int8 => "c".into(),
        DataType::UInt8 => "C".into(),
        DataType::Int16 => "s".into(),
        DataType::UInt16 => "S".into(),
        DataType::Int32 => "i".into(),
        DataType::UInt32 => "I".into(),
        DataType::Int64 => "l".into(),
        DataType::UInt64 => "L".into(),
        DataType::Float32 => "f".into(),
        DataType::Float64 => "g".into(),
        DataType::Utf8 => "u".into(),
        DataType::Binary => "z".into(),
        DataType::FixedSizeBinary(16) => "w:16".into(),
        DataType::Decimal128(precision, scale) => format!("d:{precision},{scale}"),
        DataType::Date32 => "tdD".into(),
        DataType::Time64(TimeUnit::Microsecond) => "ttu".into(),
        DataType::Timestamp(TimeUnit::Microsecond, None) => "tsu:".into(),
        DataType::Timestamp(TimeUnit::Microsecond, Some(zone)) if zone.as_ref() == "UTC" => {
            "tsu:UTC".into()
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_a_type_and_back() {
        let names = [
            "bool",
            "i8",
            "u8",
            "i16",
            "u16",
            "i32",
            "u32",
            "i64",
            "u64",
            "f32",
            "f64",
            "utf8",
            "bytes",
            "uuid",
            "date",
            "time",
            "timestamp",
            "timestamp utc",
            "d:38,10",
            "d:5,-2",
        ];

        for name in names {
            let format = exact_format(name);
            let data_type = data_type(format).expect(name);
            assert_eq!(of(&data_type).as_deref(), Some(format), "{name}");
        }
    }

    #[test]
    fn family_matches_its_members_only() {
        let decimal = [format("decimal").to_owned()];

        assert!(matches_any(&decimal, "d:12,2"));
        assert!(!matches_any(&decimal, "tdD"));
        assert!(matches_any(&[], "tdD"));
    }

    #[test]
    fn names_of_decimals_are_read_as_their_formats_are() {
        for text in [
            "12,2", "38,-38", "1,0", "", "12", "12,", ",2", "0,1", "39,1", "9,39", "999,1",
            "1,2,3", "-1,2", "1,2-", "1,--2",
        ] {
            let format = format!("d:{text}");
            assert_eq!(
                is_decimal(text.as_bytes()),
                data_type(&format).is_some(),
                "{text}"
            );
        }
    }

    #[test]
    fn formats_outside_of_the_contract_are_no_types() {
        for format in [
            "",
            "U",
            "d:",
            "d:0,0",
            "d:39,1",
            "d:10,40",
            "d:1,2,256",
            "tsn:",
            "+l",
        ] {
            assert_eq!(data_type(format), None, "{format}");
        }
    }
}
