//! Reads a pipeline file.

use crate::connection::{Context, endpoint};
use crate::fields::{Fields, choice, text_list, version, wrong_type};
use crate::hooks::{HookConnections, hooks};
use crate::interpolate;
use crate::mask_setting;
use crate::plugin_setting::PluginContext;
use crate::problem::{Lookup, Problem, Problems, Source};
use crate::schema::Section;
use crate::settings::{self, merge, only};
use crate::spec::{Consistency, OnSelectionChange, PipelineSpec, Project, TableRule};
use crate::table_pattern::TablePattern;
use crate::yaml::{self, Entry, Node, Value};
use std::path::Path;
use syncset_connector::ConnectorInfo;

const ON_SELECTION_CHANGE: [(&str, OnSelectionChange); 3] = [
    ("reload", OnSelectionChange::Reload),
    ("approve", OnSelectionChange::Approve),
    ("fail", OnSelectionChange::Fail),
];

/// Keys at the top that every table takes over unless it says otherwise.
const SHARED: [&str; 4] = ["capture", "rejects", "guards", "copy"];

const TABLES_EXAMPLE: &str = "tables: { public.customers: { columns: [id, name] } }";

/// Reads a pipeline file. `name` is the file's name without `.yaml`.
///
/// # Errors
/// All problems of the file, in its order.
pub fn parse_pipeline(
    name: &str,
    source: Source,
    project: &Project,
    catalog: &[&'static ConnectorInfo],
    lookup: &Lookup,
) -> Result<PipelineSpec, Vec<Problem>> {
    let root = yaml::parse(source)?;
    let mut problems = Problems::of(source.path);
    let root = without_variables(root, (&project.base, lookup), &mut problems);
    let what = ("a pipeline file", "version: 1");
    let Some(fields) = Fields::of(&root, Section::Pipeline, what, &mut problems) else {
        return problems.finish(None);
    };
    version(&fields, &mut problems);
    if !is_one_way(&fields, &mut problems) {
        return problems.finish(None);
    }
    let context = Context {
        path: source.path,
        base: &project.base,
        catalog,
        lookup,
    };
    let from = endpoint(
        &fields,
        "source",
        &project.connections,
        &context,
        &mut problems,
    );
    let into = endpoint(
        &fields,
        "target",
        &project.connections,
        &context,
        &mut problems,
    );
    let with_plugins = PluginContext {
        plugins: &project.plugins,
        base: &project.base,
        lookup,
    };
    let tables = tables(&root, &fields, &with_plugins, &mut problems);
    let consistency = consistency(&fields, &tables, &mut problems);
    let tags = fields
        .value("tags")
        .and_then(|node| text_list(node, "`tags`", "tags: [hourly]", &mut problems))
        .unwrap_or_default();
    let on_selection_change = fields.value("on_selection_change").and_then(|node| {
        let key = "on_selection_change";
        choice(
            node,
            Section::Pipeline,
            key,
            &ON_SELECTION_CHANGE,
            &mut problems,
        )
    });
    let on_selection_change = on_selection_change.unwrap_or_default();
    let hooks = match fields.value("hooks") {
        Some(node) => {
            let connections = HookConnections {
                named: &project.connections,
                ends: [("source", from.as_ref()), ("target", into.as_ref())],
            };
            hooks(node, &connections, &mut problems)
        }
        None => Vec::new(),
    };
    let spec = from.zip(into).map(|(source_spec, target)| PipelineSpec {
        name: name.to_owned(),
        path: source.path.to_owned(),
        source: source_spec,
        target,
        tables,
        consistency,
        tags: tags.into_iter().map(|tag| tag.text).collect(),
        on_selection_change,
        hooks,
        plugins: project.plugins.clone(),
    });
    problems.finish(spec)
}

/// Checks the words that only have one meaning in this version. False if the rest of the file
/// follows other rules.
fn is_one_way(fields: &Fields, problems: &mut Problems) -> bool {
    let section = Section::Pipeline;
    match fields.value("mode") {
        Some(node) => choice(node, section, "mode", &[("one_way", ())], problems).is_some(),
        None => true,
    }
}

/// What is committed together. A row that is put aside would be missing from what belongs
/// together, so `pipeline` and `rejects` exclude each other.
fn consistency(fields: &Fields, tables: &[TableRule], problems: &mut Problems) -> Consistency {
    let words = [
        ("table", Consistency::Table),
        ("pipeline", Consistency::Pipeline),
    ];
    let chosen = fields
        .value("consistency")
        .and_then(|node| choice(node, Section::Pipeline, "consistency", &words, problems));
    let consistency = chosen.unwrap_or_default();
    if consistency == Consistency::Pipeline {
        let puts_aside = |rule: &&TableRule| {
            let settings = rule.settings.as_ref();
            settings.is_some_and(|settings| settings.max_rejects > 0)
        };
        for rule in tables.iter().filter(puts_aside) {
            problems.hinted(
                rule.place,
                format!(
                    "`{}` puts rows aside (`rejects.max_rows`), which `consistency: pipeline` does not allow: others would be without them",
                    rule.pattern.text
                ),
                "take `rejects` out, or use `consistency: table`",
            );
        }
    }
    consistency
}

fn tables(
    root: &Node,
    fields: &Fields,
    context: &PluginContext,
    problems: &mut Problems,
) -> Vec<TableRule> {
    let shared = only(root, &SHARED);
    let defaults = match fields.value("defaults") {
        Some(node) => merge(&shared, node),
        None => shared,
    };
    let Some(node) = fields.value("tables") else {
        // Nothing below reads them, and all problems of a file are shown at once.
        settings::read(&defaults, defaults.place, context, problems);
        problems.hinted(
            fields.place,
            "`tables` is missing",
            format!("for example `{TABLES_EXAMPLE}`"),
        );
        return Vec::new();
    };
    let Value::Map(entries) = &node.value else {
        wrong_type(node, "`tables`", "a mapping", TABLES_EXAMPLE, problems);
        return Vec::new();
    };
    if settings::read(&defaults, defaults.place, context, problems).is_none() {
        return Vec::new();
    }
    if entries.is_empty() {
        problems.hinted(
            node.place,
            "`tables` is empty",
            format!("for example `{TABLES_EXAMPLE}`"),
        );
    }
    entries
        .iter()
        .filter_map(|entry| rule(entry, &defaults, context, problems))
        .collect()
}

fn rule(
    entry: &Entry,
    defaults: &Node,
    context: &PluginContext,
    problems: &mut Problems,
) -> Option<TableRule> {
    let pattern = TablePattern::parse(&entry.key)
        .map_err(|message| problems.add(entry.key_place, message))
        .ok();
    let settings = match &entry.node.value {
        Value::Scalar { text, .. } if text == "skip" => None,
        Value::Map(_) | Value::Null | Value::NullWord => {
            let merged = merge(defaults, &entry.node);
            let settings = settings::read(&merged, entry.key_place, context, problems)?;
            settings.check(&entry.key, problems);
            Some(settings)
        }
        _ => {
            wrong_type(
                &entry.node,
                &format!("the entry of `{}`", entry.key),
                "a mapping or `skip`",
                "public.customers: { columns: [id, name] }",
                problems,
            );
            return None;
        }
    };
    Some(TableRule {
        pattern: pattern?,
        place: entry.key_place,
        settings,
    })
}

/// Refuses `${...}` outside of `source` and `target`, of `hooks` and the `config` of plugins, which
/// have rules of their own, and of the secrets of masks, which it fills in.
fn without_variables(root: Node, context: (&Path, &Lookup), problems: &mut Problems) -> Node {
    let Node { place, value } = root;
    let value = match value {
        Value::Map(entries) => Value::Map(
            entries
                .into_iter()
                .map(|entry| match entry.key.as_str() {
                    "source" | "target" | "hooks" => entry,
                    _ => Entry {
                        node: refuse_variables(entry.node, context, problems),
                        ..entry
                    },
                })
                .collect(),
        ),
        other => other,
    };
    Node { place, value }
}

fn refuse_variables(node: Node, context: (&Path, &Lookup), problems: &mut Problems) -> Node {
    let Node { place, value } = node;
    let value = match value {
        nothing @ (Value::Null | Value::NullWord) => nothing,
        Value::Scalar { text, quoted } => Value::Scalar {
            text: interpolate::refuse(&text, place, problems),
            quoted,
        },
        Value::List(items) => Value::List(
            items
                .into_iter()
                .map(|item| refuse_variables(item, context, problems))
                .collect(),
        ),
        Value::Map(entries) => Value::Map(
            entries
                .into_iter()
                .map(|entry| Entry {
                    node: match entry.key.as_str() {
                        "mask" => {
                            let others =
                                |node, problems: &mut _| refuse_variables(node, context, problems);
                            mask_setting::with_secrets(entry.node, context, problems, others)
                        }
                        "transform" => refuse_in_steps(entry.node, context, problems),
                        _ => refuse_variables(entry.node, context, problems),
                    },
                    ..entry
                })
                .collect(),
        ),
    };
    Node { place, value }
}

/// Leaves the `config` of each entry to its reader, which has to know what came from outside.
fn refuse_in_steps(node: Node, context: (&Path, &Lookup), problems: &mut Problems) -> Node {
    let Node {
        place,
        value: Value::List(items),
    } = node
    else {
        return refuse_variables(node, context, problems);
    };
    let item = |item: Node| {
        let Value::Map(entries) = item.value else {
            return refuse_variables(item, context, problems);
        };
        let entries = entries.into_iter().map(|entry| match entry.key.as_str() {
            "config" => entry,
            _ => Entry {
                node: refuse_variables(entry.node, context, problems),
                ..entry
            },
        });
        Node {
            place: item.place,
            value: Value::Map(entries.collect()),
        }
    };
    Node {
        place,
        value: Value::List(items.into_iter().map(item).collect()),
    }
}
