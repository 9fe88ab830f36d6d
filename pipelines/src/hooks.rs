//! Reads `hooks:` of a pipeline: what is run before and after it.

use crate::connection::scheme;
use crate::fields::{Fields, choice, duration, text, text_list, wrong_type};
use crate::interpolate;
use crate::nearest::nearest;
use crate::problem::Problems;
use crate::schema::Section;
use crate::spec::{ConnectionSpec, Hook, HookAction, HookError, HookWhen};
use crate::yaml::{Node, Value};
use std::collections::BTreeMap;
use std::time::Duration;

/// The lists of hooks, in the order in which they run.
const WHEN: [(&str, HookWhen); 4] = [
    ("before", HookWhen::Before),
    ("on_success", HookWhen::OnSuccess),
    ("on_failure", HookWhen::OnFailure),
    ("after", HookWhen::After),
];

/// How long a hook may take unless it says so: long enough for a message to a busy service, short
/// enough that a hook that hangs is noticed in the same run.
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(30);

/// Shorter ones end hooks of a busy machine that are all right.
const TIMEOUT_MIN: Duration = Duration::from_millis(100);

/// A hook keeps the lease while it runs.
const TIMEOUT_MAX: Duration = Duration::from_secs(24 * 60 * 60);

const EXAMPLE: &str = "hooks: { on_failure: [ { command: [./tell, ops] } ] }";
const SQL_EXAMPLE: &str = "{ sql: \"ANALYZE crm.customers\", connection: target }";
const COMMAND_EXAMPLE: &str = "{ command: [./tell, ops] }";

/// What a hook may name as its connection.
pub(crate) struct HookConnections<'a> {
    /// Connections of `syncset.yaml`.
    pub(crate) named: &'a BTreeMap<String, ConnectionSpec>,
    /// The pipeline's own ends, for `source` and `target`.
    pub(crate) ends: [(&'static str, Option<&'a ConnectionSpec>); 2],
}

impl HookConnections<'_> {
    fn names(&self) -> Vec<&str> {
        let ends = self.ends.iter().map(|end| end.0);
        self.named.keys().map(String::as_str).chain(ends).collect()
    }

    /// The connection of a name. `Some(None)`: the end that it means has problems of its own.
    fn of(&self, name: &str) -> Option<Option<ConnectionSpec>> {
        if let Some(found) = self.named.get(name) {
            return Some(Some(found.clone()));
        }
        let end = self.ends.iter().find(|end| end.0 == name)?;
        Some(end.1.cloned())
    }
}

/// Reads all hooks, in the order in which they run.
pub(crate) fn hooks(
    node: &Node,
    connections: &HookConnections,
    problems: &mut Problems,
) -> Vec<Hook> {
    let what = ("`hooks`", EXAMPLE);
    let Some(fields) = Fields::of(node, Section::Hooks, what, problems) else {
        return Vec::new();
    };
    let mut hooks = Vec::new();
    for (key, when) in WHEN {
        let Some(list) = fields.value(key) else {
            continue;
        };
        let Value::List(items) = &list.value else {
            let example = format!("{key}: [ {COMMAND_EXAMPLE} ]");
            wrong_type(list, &format!("`{key}`"), "a list", &example, problems);
            continue;
        };
        let read = items
            .iter()
            .filter_map(|item| hook(item, when, connections, problems));
        hooks.extend(read);
    }
    hooks
}

fn hook(
    node: &Node,
    when: HookWhen,
    connections: &HookConnections,
    problems: &mut Problems,
) -> Option<Hook> {
    let what = ("a hook", COMMAND_EXAMPLE);
    let fields = Fields::of(node, Section::Hook, what, problems)?;
    let action = match (fields.value("sql"), fields.value("command")) {
        (Some(sql), None) => statement(sql, &fields, connections, problems),
        (None, Some(command)) => {
            if let Some(connection) = fields.value("connection") {
                problems.hinted(
                    connection.place,
                    "`connection` is for `sql`",
                    "take it out: a command finds what it needs in its environment",
                );
            }
            program(command, problems)
        }
        (Some(_), Some(_)) => {
            problems.hinted(
                node.place,
                "a hook is `sql` or `command`, not both",
                "write two hooks: they run one after another",
            );
            None
        }
        (None, None) => {
            problems.hinted(
                node.place,
                "a hook needs `sql` or `command`",
                format!("for example `{COMMAND_EXAMPLE}` or `{SQL_EXAMPLE}`"),
            );
            None
        }
    };
    let on_error = fields.value("on_error").and_then(|node| {
        let words = [("fail", HookError::Fail), ("warn", HookError::Warn)];
        choice(node, Section::Hook, "on_error", &words, problems)
    });
    let timeout = timeout(&fields, problems);
    Some(Hook {
        when,
        action: action?,
        timeout,
        on_error: on_error.unwrap_or(match when {
            HookWhen::Before => HookError::Fail,
            // The rows are where they belong, whoever could not be told about it.
            HookWhen::OnSuccess | HookWhen::OnFailure | HookWhen::After => HookError::Warn,
        }),
        place: node.place,
    })
}

fn timeout(fields: &Fields, problems: &mut Problems) -> Duration {
    let example = "timeout: 30s";
    let Some(node) = fields.value("timeout") else {
        return TIMEOUT_DEFAULT;
    };
    let Some(timeout) = duration(node, "`timeout`", example, problems) else {
        return TIMEOUT_DEFAULT;
    };
    if !(TIMEOUT_MIN..=TIMEOUT_MAX).contains(&timeout) {
        problems.hinted(
            node.place,
            "`timeout` must be between 100ms and 24h",
            format!("for example `{example}`"),
        );
    }
    timeout
}

fn statement(
    node: &Node,
    fields: &Fields,
    connections: &HookConnections,
    problems: &mut Problems,
) -> Option<HookAction> {
    let sql = text(node, "`sql`", SQL_EXAMPLE, problems);
    let Some(named) = fields.value("connection") else {
        problems.hinted(
            fields.place,
            "`sql` needs a `connection`",
            format!("for example `{SQL_EXAMPLE}`"),
        );
        return None;
    };
    let name = text(named, "`connection`", "connection: target", problems)?;
    let Some(connection) = connections.of(&name.text) else {
        if scheme(&name.text).is_some() {
            // It may hold a password.
            problems.hinted(
                name.place,
                "`connection` of a hook is a name, not a URL",
                "write the URL into `connections` of syncset.yaml and name it here",
            );
            return None;
        }
        let names = connections.names();
        let hint = match nearest(&name.text, names.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("connections here: {}", names.join(", ")),
        };
        problems.hinted(
            name.place,
            format!("there is no connection `{}`", name.text),
            hint,
        );
        return None;
    };
    let (sql, connection) = (sql?, connection?);
    if !connection.info.capabilities.statements {
        problems.hinted(
            name.place,
            format!("`{}` runs no statements of yours", connection.kind),
            "use a command",
        );
        return None;
    }
    let before = problems.count();
    let text = interpolate::refuse(&sql.text, sql.place, problems);
    (problems.count() == before).then_some(HookAction::Sql { text, connection })
}

fn program(node: &Node, problems: &mut Problems) -> Option<HookAction> {
    if !matches!(node.value, Value::List(_)) {
        let command = text(node, "`command`", COMMAND_EXAMPLE, problems)?;
        // The shell fills in the variables; `$${` means the same as everywhere.
        return Some(HookAction::Shell(command.text.replace("$${", "${")));
    }
    let words = text_list(node, "`command`", COMMAND_EXAMPLE, problems)?;
    if words.is_empty() {
        problems.hinted(
            node.place,
            "`command` is empty",
            format!("for example `{COMMAND_EXAMPLE}`"),
        );
        return None;
    }
    let before = problems.count();
    for word in &words {
        if word.text.replace("$${", "").contains("${") {
            problems.hinted(
                word.place,
                "`${...}` is not replaced in a list",
                "let the command read its environment, write it as one text for `sh`, \
                 or write `$${` for the two characters",
            );
        }
    }
    let words = words.iter().map(|word| word.text.replace("$${", "${"));
    (problems.count() == before).then(|| HookAction::Command(words.collect()))
}
