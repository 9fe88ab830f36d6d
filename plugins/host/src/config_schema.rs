//! A configuration against the JSON Schema that its plugin gives.

use serde_json::Value;

/// Where a schema is registered; nothing is ever fetched from there.
const PLACE: &str = "plugin:config-schema";

/// What is wrong with a configuration; `None` if it is as the schema wants it, or there is none.
/// Holds no value of the configuration: it may contain secrets.
pub(crate) fn config_problem(schema: &str, config: &Value) -> Option<String> {
    if schema.is_empty() {
        return match config.as_object().is_some_and(|map| map.is_empty()) {
            true => None,
            false => Some("the plugin takes no configuration".to_owned()),
        };
    }
    let schema = match serde_json::from_str(schema) {
        Ok(schema) => schema,
        Err(error) => return Some(format!("its JSON Schema is no JSON: {error}")),
    };
    let mut schemas = boon::Schemas::new();
    let mut compiler = boon::Compiler::new();
    let unusable =
        |error: boon::CompileError| Some(format!("its JSON Schema cannot be used: {error}"));
    if let Err(error) = compiler.add_resource(PLACE, schema) {
        return unusable(error);
    }
    let compiled = match compiler.compile(PLACE, &mut schemas) {
        Ok(compiled) => compiled,
        Err(error) => return unusable(error),
    };
    let error = schemas.validate(config, compiled).err()?;
    Some(first_leaf(&error))
}

/// The first mistake that no other one explains.
fn first_leaf(error: &boon::ValidationError<'_, '_>) -> String {
    if let Some(cause) = error.causes.first() {
        return first_leaf(cause);
    }
    let place = error.instance_location.to_string();
    let place = match place.trim_start_matches('/') {
        "" => "the configuration".to_owned(),
        place => format!("`{}`", place.replace('/', ".")),
    };
    match &error.kind {
        boon::ErrorKind::Required { want } => format!("{place} lacks `{}`", want.join("`, `")),
        boon::ErrorKind::AdditionalProperties { got } => {
            let got: Vec<_> = got.iter().map(AsRef::as_ref).collect();
            format!("{place} has `{}`, which it does not know", got.join("`, `"))
        }
        boon::ErrorKind::Type { want, .. } => {
            let want: Vec<_> = want.iter().map(|one| one.to_string()).collect();
            format!("{place} must be {}", want.join(" or "))
        }
        // What the schema allows is no secret.
        boon::ErrorKind::Enum { want } => {
            let want: Vec<_> = want.iter().map(|one| format!("`{one}`")).collect();
            format!("{place} is none of {}", want.join(", "))
        }
        boon::ErrorKind::Const { want } => format!("{place} is not `{want}`"),
        other => {
            // The words of others quote the value.
            let name = format!("{other:?}");
            let name = name.split([' ', '{', '(']).next().unwrap_or_default();
            format!("{place} is not as its JSON Schema wants it ({name})")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_that_are_allowed_are_listed() {
        let schema = json!({ "properties": {
            "mode": { "enum": ["fast", "exact", 3] },
            "version": { "const": 2 },
        } });
        let problem = |config| config_problem(&schema.to_string(), &config).unwrap_or_default();

        assert_eq!(
            problem(json!({ "mode": "hasty" })),
            "`mode` is none of `\"fast\"`, `\"exact\"`, `3`"
        );
        assert_eq!(problem(json!({ "version": 1 })), "`version` is not `2`");
        assert_eq!(problem(json!({ "mode": "fast" })), "");
    }
}
