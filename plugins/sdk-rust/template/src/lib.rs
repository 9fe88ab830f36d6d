//! Phone numbers in the form +491712345678 (E.164), so that equal ones are equal.

use std::sync::Arc;

use syncset_plugin::arrow_array::StringArray;
use syncset_plugin::arrow_schema::{DataType, Field};
use syncset_plugin::prelude::*;

const CALLING_CODES: [(&str, &str); 6] = [
    ("AT", "43"),
    ("CH", "41"),
    ("DE", "49"),
    ("FR", "33"),
    ("GB", "44"),
    ("US", "1"),
];
const DIGITS_MIN: usize = 7;
const DIGITS_MAX: usize = 15;

/// The number with its calling code; NULL if it is no number or the country is not known.
#[syncset_plugin::scalar]
fn normalise_phone(phone: &str, country: &str) -> Option<String> {
    let digits: String = phone.chars().filter(char::is_ascii_digit).collect();
    let number = if phone.trim().starts_with('+') {
        digits
    } else if let Some(international) = digits.strip_prefix("00") {
        international.to_owned()
    } else {
        let country = country.to_uppercase();
        let (_, code) = CALLING_CODES.iter().find(|(name, _)| *name == country)?;
        format!("{code}{}", digits.strip_prefix('0').unwrap_or(&digits))
    };
    (DIGITS_MIN..=DIGITS_MAX)
        .contains(&number.len())
        .then(|| format!("+{number}"))
}

/// Normalises one column, by the country that the column `country` names. This is the
/// configuration, too.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct NormalisePhones {
    column: String,
}

impl Transform for NormalisePhones {
    fn reads(&self) -> Reads {
        Reads::columns([(self.column.as_str(), "utf8"), ("country", "utf8")])
    }

    fn bind(&self, _input: &Schema) -> Result<Schema> {
        let column = Field::new(&self.column, DataType::Utf8, true);
        Ok(Schema::new(vec![column]))
    }

    fn transform(&self, _context: &Context, batch: RecordBatch) -> Result<Output> {
        let phones = batch[self.column.as_str()].as_string::<i32>();
        let countries = batch["country"].as_string::<i32>();
        let numbers: StringArray = phones
            .iter()
            .zip(countries)
            .map(|(phone, country)| normalise_phone(phone?, country?))
            .collect();
        let numbers: ArrayRef = Arc::new(numbers);
        Ok(RecordBatch::try_from_iter([(&self.column, numbers)])?.into())
    }
}

syncset_plugin::plugin! {
    config_schema: include_str!("../config.schema.json"),
    functions: [normalise_phone],
    transform: NormalisePhones,
}

#[cfg(test)]
mod tests {
    use super::*;
    use syncset_plugin::testing;

    #[test]
    fn numbers_get_their_calling_code() {
        let cases = [
            ("0171 2345678", "DE", Some("+491712345678")),
            ("+49 (171) 234-5679", "XX", Some("+491712345679")),
            ("0041 44 668 18 00", "DE", Some("+41446681800")),
            ("020 7946 0958", "gb", Some("+442079460958")),
            ("020 7946 0958", "XX", None),
            ("unknown", "DE", None),
        ];

        for (phone, country, expected) in cases {
            let found = normalise_phone(phone, country);
            assert_eq!(found.as_deref(), expected, "{phone} {country}");
        }
    }

    #[test]
    fn transform_changes_the_column_that_is_configured() {
        let mobiles = StringArray::from(vec![Some("0171 2345678"), None]);
        let countries = StringArray::from(vec![Some("DE"), Some("DE")]);
        let columns: [(&str, ArrayRef); 2] = [
            ("mobile", Arc::new(mobiles)),
            ("country", Arc::new(countries)),
        ];
        let batch = RecordBatch::try_from_iter(columns).unwrap();

        let output = testing::transform::<NormalisePhones>(
            r#"{"column": "mobile"}"#,
            &Context::default(),
            &batch,
        );

        let expected = StringArray::from(vec![Some("+491712345678"), None]);
        assert_eq!(*output.unwrap().batch()["mobile"], expected);
    }
}
