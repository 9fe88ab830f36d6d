//! The table of keys, the readers and the JSON Schemas say the same.

use super::lab::{CATALOG, pipeline, project, shown};
use crate::problem::Source;
use crate::schema::{Key, Section, Takes, pipeline_schema, project_schema, to_json};
use crate::{unsupported, yaml};
use boon::{Compiler, Schemas};
use serde_json::{Map, Value, json};

/// A file of one of the two kinds.
#[derive(Debug, Clone)]
struct File {
    is_project: bool,
    root: Value,
}

impl File {
    /// A right file that holds this line of a section at its place.
    fn with(section: Section, line: &Value) -> Self {
        let is_project = section.place().0 == Section::Project;
        let mut root = if is_project {
            json!({ "version": 1 })
        } else {
            json!({ "version": 1, "source": "crm", "target": "replica", "tables": { "t": {} } })
        };
        let place = match section.place().0 {
            Section::Table => &mut root["tables"]["t"],
            _ => &mut root,
        };
        for (key, value) in line.as_object().expect("a line is a mapping") {
            place[key] = value.clone();
        }
        Self { is_project, root }
    }

    /// What our reader says. JSON is YAML.
    fn read(&self) -> String {
        let text = self.root.to_string();
        if self.is_project {
            shown(project(&text))
        } else {
            shown(pipeline(&text))
        }
    }

    fn fits_schema(&self) -> bool {
        let schema = if self.is_project {
            project_schema(&CATALOG)
        } else {
            pipeline_schema(&CATALOG)
        };
        let (mut schemas, mut compiler) = (Schemas::new(), Compiler::new());
        compiler
            .add_resource("schema.json", schema)
            .expect("the schema is added once");
        let index = compiler
            .compile("schema.json", &mut schemas)
            .expect("the schema is one");
        schemas.validate(&self.root, index).is_ok()
    }

    /// Asserts that both refuse it.
    fn assert_wrong(&self) {
        assert_ne!(self.read(), "no problem", "{}", self.root);
        assert!(!self.fits_schema(), "{}", self.root);
    }
}

/// The line that a key's row shows.
fn example(key: &Key) -> Value {
    let path = key.name;
    let text = key.example;
    to_json(&yaml::parse(Source { path, text }).expect("examples are YAML"))
}

/// A key's example with another value in place of the key's own.
fn example_with(section: Section, key: &Key, value: Value) -> Value {
    let mut line = example(key);
    *mapping_of(section, &mut line)
        .get_mut(key.name)
        .expect("the example has the key") = value;
    line
}

/// A line of a section that has this key beside what it shows already.
fn line_with_key(section: Section, key: &str) -> Value {
    let first = section.keys().first().expect("a section has keys");
    let mut line = example(first);
    mapping_of(section, &mut line).insert(key.to_owned(), json!("x"));
    line
}

/// The mapping of a section in one of its lines.
fn mapping_of(section: Section, line: &mut Value) -> &mut Map<String, Value> {
    line.pointer_mut(section.place().1)
        .and_then(Value::as_object_mut)
        .expect("the line shows the section as a mapping")
}

fn rows() -> impl Iterator<Item = (Section, &'static Key)> {
    let keys = |section: Section| section.keys().iter().map(move |key| (section, key));
    Section::ALL.into_iter().flat_map(keys)
}

#[test]
fn example_of_each_key_is_right_for_reader_and_schema() {
    for (section, key) in rows() {
        let file = File::with(section, &example(key));

        assert_eq!(file.read(), "no problem", "{}", file.root);
        assert!(file.fits_schema(), "{}", file.root);
    }
}

#[test]
fn each_key_is_read_and_refuses_a_wrong_kind_of_value() {
    // No key takes a list of lists.
    let wrong = json!([[]]);

    for (section, key) in rows() {
        let file = File::with(section, &example_with(section, key, wrong.clone()));

        file.assert_wrong();
        assert!(!file.read().contains("unknown key"), "{}", file.read());
    }
}

#[test]
fn each_word_fits_the_schema_and_no_other_does() {
    for (section, key) in rows().filter(|(_, key)| !key.choices().is_empty()) {
        let is_by_column = key
            .takes
            .iter()
            .any(|takes| matches!(takes, Takes::Choices(_) | Takes::Masks(..)));
        let written = |word: &str| match is_by_column {
            true => json!({ "price": word }),
            false => json!(word),
        };
        for (word, _) in key.choices() {
            let file = File::with(section, &example_with(section, key, written(word)));
            assert!(file.fits_schema(), "{}", file.root);
        }

        File::with(section, &example_with(section, key, written("no_word"))).assert_wrong();
    }
}

#[test]
fn keys_without_a_row_are_refused_in_each_section() {
    for section in Section::ALL {
        File::with(section, &line_with_key(section, "no_key")).assert_wrong();
    }
}

#[test]
fn keys_and_values_of_later_versions_have_no_row() {
    for (section, key) in unsupported::keys() {
        assert!(section.key(key).is_none(), "{section:?} {key}");
        File::with(section, &line_with_key(section, key)).assert_wrong();
    }
    for (section, name, value) in unsupported::values() {
        let key = section.key(name).expect("the key of the value has a row");
        File::with(section, &example_with(section, key, json!(value))).assert_wrong();
    }
}

#[test]
fn missing_required_keys_are_refused() {
    for (section, key) in rows().filter(|(_, key)| key.required) {
        let mut file = File::with(section, &example(key));
        let (top, pointer) = section.place();
        let base = if top == Section::Table {
            "/tables/t"
        } else {
            ""
        };
        file.root
            .pointer_mut(&format!("{base}{pointer}"))
            .and_then(Value::as_object_mut)
            .and_then(|mapping| mapping.remove(key.name))
            .expect("the example has the key");

        file.assert_wrong();
    }
}

#[test]
fn forms_of_values_are_right_or_wrong_for_both() {
    let table = |key: &str, value: Value| File::with(Section::Table, &json!({ key: value }));
    let lease =
        |value: Value| File::with(Section::Lease, &json!({ "lease": { "expires": value } }));
    let connection =
        |value: Value| File::with(Section::Project, &json!({ "connections": { "c": value } }));
    let plugin = |name: &str, key: &str, value: Value| {
        let plugin = json!({ "path": "p.wasm", key: value });
        File::with(Section::Project, &json!({ "plugins": { name: plugin } }))
    };
    let limit = |key: &str, value: Value| plugin("p", "limits", json!({ key: value }));
    let tables = |name: &str, value: Value| {
        File::with(Section::Pipeline, &json!({ "tables": { name: value } }))
    };
    let right = [
        table("rename", json!({ "a": 1, "b": true })),
        lease(json!("1m 30s")),
        connection(json!("sqlite:shop.db")),
        connection(json!("${CRM_URL}")),
        connection(json!({ "url": "${CRM_URL}" })),
        connection(json!({ "type": "postgres", "host": "db", "user": 5 })),
        connection(json!({ "url": "postgres://db", "database": "crm" })),
        tables("public.\"Order.Items\"", json!(null)),
        tables("public.ref_*", json!("skip")),
        tables("*.*", json!({})),
        plugin("_p2", "sha256", json!("aB".repeat(32))),
        plugin("p", "config", json!({ "any": [1, { "thing": null }] })),
        limit("memory", json!(" 2 GiB ")),
        limit("memory", json!(268_435_456)),
        limit("batch_timeout", json!("100ms")),
        table("transform", json!([])),
        table("transform", json!(["scrub", { "plugin": "scrub" }])),
    ];
    let wrong = [
        table("columns", json!([])),
        table("key", json!([])),
        table("key", json!(["id", "id"])),
        table("where", json!("")),
        table("rejects", json!({ "max_rows": -1 })),
        table("rejects", json!({ "max_rows": 1.5 })),
        lease(json!(60)),
        lease(json!("sixty")),
        connection(json!("hunter2")),
        connection(json!({ "host": "db" })),
        connection(json!({ "type": "oracle" })),
        connection(json!({ "type": "sqlite", "host": "db" })),
        connection(json!({ "type": "sqlite", "url": "postgres://db" })),
        connection(json!({ "type": "postgres", "host": ["db"] })),
        tables("a.b.c", json!(null)),
        tables("a.", json!(null)),
        tables("t", json!("skipped")),
        plugin("P", "sha256", json!("ab".repeat(32))),
        plugin("2p", "sha256", json!("ab".repeat(32))),
        plugin("p", "sha256", json!("ab")),
        plugin("p", "sha256", json!("zz".repeat(32))),
        plugin("p", "config", json!("text")),
        limit("memory", json!("2 gallons")),
        limit("memory", json!("-1MiB")),
        limit("fuel", json!(-1)),
        table("transform", json!("scrub")),
        table("transform", json!([null])),
        table("transform", json!([{ "config": {} }])),
        File::with(Section::Project, &json!({ "project": "a shop" })),
        File::with(Section::Project, &json!({ "version": 2 })),
        File::with(Section::Pipeline, &json!({ "tables": {} })),
    ];

    for file in right {
        assert_eq!(file.read(), "no problem", "{}", file.root);
        assert!(file.fits_schema(), "{}", file.root);
    }
    for file in wrong {
        file.assert_wrong();
    }
}
