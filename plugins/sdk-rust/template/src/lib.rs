//! Telephone numbers: a function for SQL and a transform.

use std::sync::Arc;

use syncset_plugin::arrow_array::StringArray;
use syncset_plugin::prelude::*;

/// Countries that are known, with their calling codes.
const CALLING_CODES: &[(&str, &str)] = &[
    ("AT", "43"),
    ("CH", "41"),
    ("DE", "49"),
    ("FR", "33"),
    ("GB", "44"),
    ("US", "1"),
];

/// A telephone number in the international form, such as `+4930123456`. Numbers without a calling
/// code are those of the country (two letters). NULL if there are too few or too many digits.
#[syncset_plugin::scalar]
fn normalise_phone(phone: &str, country: &str) -> Result<Option<String>> {
    let code = CALLING_CODES.iter().find(|(name, _)| *name == country);
    let (_, code) = code.ok_or_else(|| Error::new("the country is not known"))?;
    let digits: String = phone.chars().filter(char::is_ascii_digit).collect();
    let number = if phone.trim_start().starts_with('+') {
        digits
    } else if let Some(international) = digits.strip_prefix("00") {
        international.to_owned()
    } else {
        format!("{code}{}", digits.strip_prefix('0').unwrap_or(&digits))
    };
    Ok((8..=15)
        .contains(&number.len())
        .then(|| format!("+{number}")))
}

/// Brings one column into the international form. This is the configuration, too.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct NormalisePhones {
    column: String,
    #[serde(default = "germany")]
    country: String,
}

fn germany() -> String {
    "DE".into()
}

impl Transform for NormalisePhones {
    fn reads(&self) -> Reads {
        Reads::columns([(&self.column, "utf8")])
    }

    fn transform(&self, _context: &Context, batch: RecordBatch) -> Result<Output> {
        let mut numbers = Vec::with_capacity(batch.num_rows());
        for (row, phone) in batch[self.column.as_str()]
            .as_string::<i32>()
            .iter()
            .enumerate()
        {
            let number = match phone {
                Some(phone) => normalise_phone(phone, &self.country)
                    .map_err(|error| error.at_row(row).in_column(&self.column))?,
                None => None,
            };
            numbers.push(number);
        }
        let numbers: ArrayRef = Arc::new(StringArray::from(numbers));
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
            ("030 123456", "DE", Some("+4930123456")),
            ("+43 (1) 5123456", "DE", Some("+4315123456")),
            ("0041 44 1234567", "DE", Some("+41441234567")),
            ("12", "DE", None),
        ];

        for (phone, country, expected) in cases {
            assert_eq!(
                normalise_phone(phone, country).unwrap().as_deref(),
                expected,
                "{phone}"
            );
        }
        assert!(normalise_phone("030 123456", "XX").is_err());
    }

    #[test]
    fn transform_changes_the_column_that_is_configured() {
        let phones = StringArray::from(vec![Some("030 123456"), None]);
        let batch = RecordBatch::try_from_iter([("mobile", Arc::new(phones) as ArrayRef)]).unwrap();

        let output = testing::transform::<NormalisePhones>(
            r#"{"column": "mobile"}"#,
            &Context::default(),
            &batch,
        );

        let expected = StringArray::from(vec![Some("+4930123456"), None]);
        assert_eq!(*output.unwrap().batch()["mobile"], expected);
    }
}
