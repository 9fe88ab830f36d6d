//! Reads `syncset.yaml`.

use crate::connection::{Context, scheme};
use crate::fields::{Fields, duration, text, version, wrong_type};
use crate::plugin_setting::{self, Pins};
use crate::problem::{Lookup, Problem, Problems, Source};
use crate::read_replica::join_replicas;
use crate::schema::Section;
use crate::spec::{ConnectionSpec, Keep, LEASE_DEFAULT, Project};
use crate::yaml::{self, Value};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;
use syncset_connector::ConnectorInfo;

/// Name of a project that has none.
const NAME_DEFAULT: &str = "default";

/// Shorter leases expire between two heartbeats of a busy machine.
const LEASE_MIN: Duration = Duration::from_secs(5);

/// Longer leases make the run after a lost machine wait for ever.
const LEASE_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// Shorter times would drop the run that a person asks about the next morning.
const KEEP_MIN: Duration = Duration::from_secs(60 * 60);

/// Longer times make records that nobody reads slow down every run.
const KEEP_MAX: Duration = Duration::from_secs(3660 * 24 * 60 * 60);

/// Reads the project file. `base` is the project folder: relative paths start there.
///
/// # Errors
/// All problems of the file, in its order.
pub fn parse_project(
    source: Source,
    base: &Path,
    catalog: &[&'static ConnectorInfo],
    lookup: &Lookup,
) -> Result<Project, Vec<Problem>> {
    read_project(source, base, (catalog, lookup), Pins::Checked)
}

/// The same with whatever is written as pins of plugins.
///
/// # Errors
/// As [`parse_project`].
pub fn read_project(
    source: Source,
    base: &Path,
    (catalog, lookup): (&[&'static ConnectorInfo], &Lookup),
    pins: Pins,
) -> Result<Project, Vec<Problem>> {
    let root = yaml::parse(source)?;
    let mut problems = Problems::of(source.path);
    let what = ("the project file", "version: 1");
    let Some(fields) = Fields::of(&root, Section::Project, what, &mut problems) else {
        return problems.finish(None);
    };
    version(&fields, &mut problems);
    let context = Context {
        path: source.path,
        base,
        catalog,
        lookup,
    };
    let project = Project {
        name: name(&fields, &context, &mut problems),
        connections: connections(&fields, &context, &mut problems),
        plugins: fields
            .value("plugins")
            .map(|node| {
                let from = (source.path, pins);
                plugin_setting::plugins(node, from, (base, lookup), &mut problems)
            })
            .unwrap_or_default(),
        lease: lease(&fields, &mut problems),
        retention: retention(&fields, &mut problems),
        base: base.to_owned(),
    };
    problems.finish(Some(project))
}

fn name(fields: &Fields, context: &Context, problems: &mut Problems) -> String {
    let Some(node) = fields.value("project") else {
        return NAME_DEFAULT.to_owned();
    };
    let name = text(node, "`project`", "project: shop", problems)
        .and_then(|name| context.fill(&name.text, name.place, problems))
        .unwrap_or_else(|| NAME_DEFAULT.to_owned());
    let plain = |character: char| character.is_alphanumeric() || "_-.".contains(character);
    if !name.chars().all(plain) {
        problems.hinted(
            node.place,
            "`project` may hold letters, digits, `_`, `-` and `.` only",
            "for example `project: shop`",
        );
    }
    name
}

fn connections(
    fields: &Fields,
    context: &Context,
    problems: &mut Problems,
) -> BTreeMap<String, ConnectionSpec> {
    let mut found = BTreeMap::new();
    let Some(node) = fields.value("connections") else {
        return found;
    };
    let Value::Map(entries) = &node.value else {
        let example = "connections: { crm: { type: postgres, url: \"${CRM_URL}\" } }";
        wrong_type(node, "`connections`", "a mapping", example, problems);
        return found;
    };
    for entry in entries {
        if entry.key.is_empty() || scheme(&entry.key).is_some() {
            problems.hinted(
                entry.key_place,
                format!("`{}` is no name of a connection", entry.key),
                "a name is not empty and does not look like a URL",
            );
        }
        if let Some(connection) = context.connection(&entry.key, &entry.node, problems) {
            found.insert(entry.key.clone(), connection);
        }
    }
    join_replicas(&mut found, entries, problems);
    found
}

fn lease(fields: &Fields, problems: &mut Problems) -> Duration {
    let example = "lease: { expires: 60s }";
    let Some(node) = fields.value("lease") else {
        return LEASE_DEFAULT;
    };
    let what = ("`lease`", example);
    let expires = Fields::of(node, Section::Lease, what, problems)
        .and_then(|fields| fields.value("expires"))
        .and_then(|node| Some((duration(node, "`expires`", example, problems)?, node.place)));
    let Some((expires, place)) = expires else {
        return LEASE_DEFAULT;
    };
    if !(LEASE_MIN..=LEASE_MAX).contains(&expires) {
        problems.hinted(
            place,
            "`expires` must be between 5s and 24h",
            format!("for example `{example}`"),
        );
    }
    expires
}

fn retention(fields: &Fields, problems: &mut Problems) -> Keep {
    let example = "retention: { runs: 30d, rejected: 30d }";
    let mut keep = Keep::default();
    let Some(node) = fields.value("retention") else {
        return keep;
    };
    let what = ("`retention`", example);
    let Some(fields) = Fields::of(node, Section::Retention, what, problems) else {
        return keep;
    };
    for (key, kept) in [
        ("runs", &mut keep.runs),
        ("rejected", &mut keep.rejected),
        ("before_images", &mut keep.before_images),
    ] {
        let Some(node) = fields.value(key) else {
            continue;
        };
        let Some(asked) = duration(node, &format!("`{key}`"), example, problems) else {
            continue;
        };
        if !(KEEP_MIN..=KEEP_MAX).contains(&asked) {
            problems.hinted(
                node.place,
                format!("`{key}` must be between 1h and ten years"),
                format!("for example `{example}`"),
            );
        }
        *kept = asked;
    }
    keep
}
