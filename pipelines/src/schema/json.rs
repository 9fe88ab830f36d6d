//! The keys as JSON Schemas, for editors and for whoever checks files without syncset.
//!
//! Draft 7, because that is what the YAML language server of the editors reads best. A schema
//! knows the keys and the form of their values; what depends on several keys, on connections or
//! on a store is left to `syncset pipeline validate`.

use super::{Choice, Key, Section, Takes};
use crate::problem::Source;
use crate::yaml::{self, Node};
use serde_json::{Map, Number, Value, json};
use syncset_connector::{ConnectorInfo, SettingSchema};

const DRAFT: &str = "http://json-schema.org/draft-07/schema#";

/// A text, as our readers take it: numbers and booleans as they are written.
const TEXT: [&str; 3] = ["string", "number", "boolean"];

/// A number with its unit, perhaps several times.
const DURATION: &str = r"^\s*(0|([0-9]+(\.[0-9]+)?\s*[a-zA-Zµ]+\s*)+)$";

/// A number of bytes with its unit.
const BYTES: &str = r"^\s*[0-9]+\s*([bB]|[kKmMgG]([iI]?[bB])?)?\s*$";

/// A name that SQL needs no quotes for.
const IDENTIFIER: &str = "^[a-z_][a-z0-9_]*$";

/// A whole number with `_` between its digits, which is a text for YAML.
const GROUPED_DIGITS: &str = "^[0-9]+(_[0-9]+)+$";

/// One or two parts with a dot between them; a part in double quotes may hold anything.
const TABLE_NAME: &str = r#"^("([^"]|"")+"|[^."]+)(\.("([^"]|"")+"|[^."]+))?$"#;

/// The schema of `syncset.yaml`, for these connectors.
pub fn project_schema(catalog: &[&'static ConnectorInfo]) -> Value {
    let is_inside = |section: Section| section.is_nested() && section.place().0 == Section::Project;
    document("syncset.yaml", Section::Project, is_inside, catalog)
}

/// The schema of `pipelines/NAME.yaml`, for these connectors.
pub fn pipeline_schema(catalog: &[&'static ConnectorInfo]) -> Value {
    let is_inside = |section: Section| {
        section == Section::Table || section.is_nested() && section.place().0 != Section::Project
    };
    document("a syncset pipeline", Section::Pipeline, is_inside, catalog)
}

fn document(
    title: &str,
    root: Section,
    is_inside: impl Fn(Section) -> bool,
    catalog: &[&'static ConnectorInfo],
) -> Value {
    let mut schema = Map::new();
    schema.insert("$schema".into(), DRAFT.into());
    schema.insert("title".into(), title.into());
    schema.extend(mapping(root));
    let mut definitions = Map::new();
    for section in Section::ALL
        .into_iter()
        .filter(|section| is_inside(*section))
    {
        definitions.insert(section.name().into(), mapping(section).into());
    }
    definitions.insert("connection".into(), connection(catalog));
    for info in catalog {
        definitions.insert(of_kind(info), connection_of(info));
    }
    schema.insert("definitions".into(), definitions.into());
    schema.into()
}

/// A section: its keys and no others.
fn mapping(section: Section) -> Map<String, Value> {
    let mut properties = Map::new();
    let mut required = Vec::new();
    for key in section.keys() {
        properties.insert(key.name.into(), property(section, key));
        if key.required {
            required.push(key.name);
        }
    }
    let mut schema = Map::new();
    schema.insert("description".into(), section.about().into());
    schema.insert("type".into(), "object".into());
    schema.insert("properties".into(), properties.into());
    schema.insert("additionalProperties".into(), false.into());
    if !required.is_empty() {
        schema.insert("required".into(), required.into());
    }
    schema
}

fn property(section: Section, key: &Key) -> Value {
    let mut schema = Map::new();
    schema.insert("description".into(), description(key).into());
    let mut kinds: Vec<_> = key.takes.iter().map(|takes| value(*takes)).collect();
    match kinds.pop() {
        // Draft 7 reads nothing beside a `$ref`.
        Some(Value::Object(only)) if kinds.is_empty() && !only.contains_key("$ref") => {
            schema.extend(only);
        }
        last => {
            kinds.extend(last);
            schema.insert("anyOf".into(), kinds.into());
        }
    }
    if !key.default.is_empty() {
        schema.insert("default".into(), scalar(key.default));
    }
    schema.insert("examples".into(), json!([example(section, key)]));
    schema.into()
}

/// What the key is for, with what each of its words means.
fn description(key: &Key) -> String {
    let words = key
        .choices()
        .iter()
        .map(|(word, about)| format!("\n- `{word}`: {about}"));
    key.about.to_owned() + &words.collect::<String>()
}

fn value(takes: Takes) -> Value {
    match takes {
        Takes::Exactly(number) => json!({ "const": number }),
        Takes::Text => json!({ "type": TEXT, "minLength": 1 }),
        Takes::Matching(pattern) => json!({ "type": TEXT, "pattern": pattern }),
        Takes::Flag => json!({ "type": "boolean" }),
        Takes::Percent => json!({ "type": "number", "minimum": 0, "maximum": 100 }),
        Takes::Count => {
            json!({ "type": ["integer", "string"], "minimum": 0, "pattern": GROUPED_DIGITS })
        }
        Takes::Duration => json!({ "type": "string", "pattern": DURATION }),
        Takes::Choice(choices) => {
            json!({ "enum": words(choices) })
        }
        Takes::Choices(choices) => json!({
            "type": "object", "additionalProperties": { "enum": words(choices) }
        }),
        Takes::Texts => json!({ "type": "array", "items": value(Takes::Text) }),
        Takes::Names => json!({
            "type": "array", "items": value(Takes::Text), "minItems": 1, "uniqueItems": true
        }),
        Takes::Words => json!({ "type": "array", "items": value(Takes::Text), "minItems": 1 }),
        Takes::Bytes => json!({ "type": TEXT, "pattern": BYTES }),
        Takes::Mapping => json!({ "type": "object" }),
        Takes::TextMap => json!({ "type": "object", "additionalProperties": value(Takes::Text) }),
        Takes::Masks(choices, section) => json!({
            "type": "object",
            "additionalProperties": {
                "anyOf": [
                    { "enum": words(choices) }, { "type": "null" }, definition(section.name())
                ]
            }
        }),
        Takes::Section(section) => definition(section.name()),
        Takes::Sections(section) => {
            json!({ "type": "array", "items": definition(section.name()) })
        }
        Takes::Steps(section) => json!({
            "type": "array",
            "items": { "anyOf": [value(Takes::Text), definition(section.name())] }
        }),
        Takes::Plugins(section) => json!({
            "type": "object",
            "propertyNames": { "pattern": IDENTIFIER },
            "additionalProperties": definition(section.name())
        }),
        Takes::Connection => definition("connection"),
        Takes::Endpoint => json!({
            "anyOf": [{ "type": "string", "minLength": 1 }, definition("connection")]
        }),
        Takes::Connections => json!({
            "type": "object", "additionalProperties": value(Takes::Connection)
        }),
        Takes::Tables => json!({
            "type": "object",
            "minProperties": 1,
            "propertyNames": { "pattern": TABLE_NAME },
            "additionalProperties": {
                "anyOf": [definition("table"), { "const": "skip" }, { "type": "null" }]
            }
        }),
    }
}

/// The words of a choice. YAML reads an unquoted `null` as no text.
fn words(choices: &[Choice]) -> Vec<Value> {
    let words = choices.iter().map(|(word, _)| Value::from(*word));
    let null = choices.iter().filter(|(word, _)| *word == "null");
    words.chain(null.map(|_| Value::Null)).collect()
}

fn definition(name: &str) -> Value {
    json!({ "$ref": format!("#/definitions/{name}") })
}

fn of_kind(info: &ConnectorInfo) -> String {
    format!("connection_{}", info.kind)
}

fn connection(catalog: &[&'static ConnectorInfo]) -> Value {
    let mut kinds = vec![json!({
        "description": "A URL, such as `postgres://user@host/database` or `sqlite:shop.db`.",
        "type": "string",
        "pattern": r"^([A-Za-z][A-Za-z0-9+.\-]*:|\$\{)",
    })];
    kinds.extend(catalog.iter().map(|info| definition(&of_kind(info))));
    json!({ "anyOf": kinds })
}

/// A connection of one kind: its type or a URL says which.
fn connection_of(info: &ConnectorInfo) -> Value {
    let mut properties = Map::new();
    let schemes = info.schemes.join("|");
    properties.insert(
        "type".into(),
        json!({ "description": TYPE_ABOUT, "const": info.kind }),
    );
    properties.insert(
        "url".into(),
        json!({
            "description": URL_ABOUT,
            "type": "string",
            "pattern": format!(r"^({schemes}):|\$\{{"),
        }),
    );
    if info.capabilities.shows_writers {
        let replica = json!({
            "description": READ_REPLICA_ABOUT,
            "type": "string",
            "minLength": 1,
        });
        properties.insert("read_replica".into(), replica);
    }
    for setting in info.settings {
        properties.insert(setting.name.into(), setting_schema(setting));
    }
    json!({
        "description": format!("A connection of `type: {}`.", info.kind),
        "type": "object",
        "properties": properties,
        "additionalProperties": false,
        "anyOf": [{ "required": ["type"] }, { "required": ["url"] }],
    })
}

fn setting_schema(setting: &SettingSchema) -> Value {
    json!({ "description": setting.about, "type": TEXT, "minLength": 1 })
}

/// What `type` of a connection is.
pub(super) const TYPE_ABOUT: &str = "Kind of the store. It may be absent if the URL says it.";

/// What `url` of a connection is.
pub(super) const URL_ABOUT: &str = "URL of the store; keys beside it win over its parts.";

/// What `read_replica` of a connection is.
pub(super) const READ_REPLICA_ABOUT: &str = "Name of another connection of the project, of the same type, to a replica of this one: \
     `pipeline check` and `repair` read the tables there and ask this one about the rows that \
     differ. In `syncset.yaml` only.";

/// The value that a key's example shows.
fn example(section: Section, key: &Key) -> Value {
    let (path, text) = (key.name, key.example);
    let line = to_json(&yaml::parse(Source { path, text }).expect("examples are YAML"));
    let pointer = format!("{}/{}", section.place().1, key.name);
    let shown = line.pointer(&pointer);
    shown.expect("an example shows its key").clone()
}

/// A value with the types that YAML gives it.
pub(crate) fn to_json(node: &Node) -> Value {
    match &node.value {
        yaml::Value::Null | yaml::Value::NullWord => Value::Null,
        yaml::Value::Scalar { text, quoted: true } => text.as_str().into(),
        yaml::Value::Scalar { text, .. } => scalar(text),
        yaml::Value::List(items) => items.iter().map(to_json).collect(),
        yaml::Value::Map(entries) => entries
            .iter()
            .map(|entry| (entry.key.clone(), to_json(&entry.node)))
            .collect::<Map<_, _>>()
            .into(),
    }
}

/// A plain scalar as YAML reads it.
fn scalar(text: &str) -> Value {
    match text {
        "true" => true.into(),
        "false" => false.into(),
        _ => {
            let whole = || text.parse::<i64>().map(Value::from).ok();
            let large = || text.parse::<u64>().map(Value::from).ok();
            // What is no finite number has no JSON.
            let other = || Number::from_f64(text.parse().ok()?).map(Value::from);
            // Not a number for YAML: `inf`, `nan`, `+5`.
            let plain = text.starts_with(|first: char| first.is_ascii_digit() || first == '-');
            let number = whole().or_else(large).or_else(other);
            number.filter(|_| plain).unwrap_or_else(|| text.into())
        }
    }
}
