//! `read_replica:` of a connection: another connection of the project.

use crate::fields::text;
use crate::nearest::listed;
use crate::problem::Problems;
use crate::spec::ConnectionSpec;
use crate::yaml::{Entry, Node, Value};
use std::collections::BTreeMap;

/// The key of a connection.
pub(crate) const READ_REPLICA: &str = "read_replica";

/// Gives connections of the project the replicas that they name. `written`: the connections as they
/// are written.
pub(crate) fn join_replicas(
    connections: &mut BTreeMap<String, ConnectionSpec>,
    written: &[Entry],
    problems: &mut Problems,
) {
    for entry in written {
        let Some(named) = replica_of(&entry.node) else {
            continue;
        };
        let example = "read_replica: crm_standby";
        let Some(name) = text(named, "`read_replica`", example, problems) else {
            continue;
        };
        let Some(kind) = connections.get(&entry.key).map(|it| it.kind.clone()) else {
            continue;
        };
        let others = connections.values();
        let others = others.filter(|it| it.kind == kind && it.name != entry.key);
        let others: Vec<_> = others.map(|it| it.name.as_str()).collect();
        let problem = match connections.get(&name.text) {
            _ if name.text == entry.key => Some("it names itself".to_owned()),
            None => Some(format!("there is no connection `{}`", name.text)),
            Some(replica) if replica.kind != kind => {
                Some(format!("`{}` is of `type: {}`", name.text, replica.kind))
            }
            Some(_) => None,
        };
        if let Some(problem) = problem {
            let hint = match others.is_empty() {
                true => format!("add a connection of `type: {kind}` and name it"),
                false => format!(
                    "the others of `type: {kind}` are {}",
                    listed(&name.text, others)
                ),
            };
            let message = format!("`read_replica` of `{}`: {problem}", entry.key);
            problems.hinted(name.place, message, hint);
            continue;
        }
        let replica = connections
            .get(&name.text)
            .cloned()
            .map(|it| ConnectionSpec {
                read_replica: None,
                ..it
            });
        if let Some(connection) = connections.get_mut(&entry.key) {
            connection.read_replica = replica.map(Box::new);
        }
    }
}

/// What a connection names as its replica.
pub(crate) fn replica_of(node: &Node) -> Option<&Node> {
    let Value::Map(entries) = &node.value else {
        return None;
    };
    let entry = entries.iter().find(|entry| entry.key == READ_REPLICA);
    entry.map(|entry| &entry.node)
}
