//! Keeps our secrets out of the log when a command prints its environment.

use crate::files::ProjectFiles;
use percent_encoding::percent_decode_str;
use syncset_pipeline::{ConnectionSpec, HookAction, PipelineSpec};

/// Shorter values occur in harmless words, and protect nothing.
const SECRET_BYTES_MIN: usize = 6;

/// What a secret becomes.
const REDACTED: &str = "[secret]";

/// Knows the secrets of a project's files.
pub(crate) struct Redactor {
    /// Longest first: a URL goes before the password in it.
    secrets: Vec<String>,
}

impl Redactor {
    /// Of connections that are marked as secret, passwords within URLs, and all values of `.env`.
    /// `specs`: the pipelines, whose connections may be written into them.
    pub(crate) fn new(files: &ProjectFiles, specs: &[PipelineSpec]) -> Self {
        let mut secrets: Vec<String> = files.dotenv().map(|(_, value)| value.to_owned()).collect();
        let named = files.project.connections.values();
        for connection in named.chain(specs.iter().flat_map(connections)) {
            let marked = connection.info.settings.iter();
            let marked = marked.filter(|setting| setting.secret);
            let marked = marked.filter_map(|setting| connection.settings.value(setting.name));
            secrets.extend(marked.map(str::to_owned));
            let url = connection.settings.value("url");
            secrets.extend(url.into_iter().flat_map(passwords));
        }
        Self::of(secrets)
    }

    fn of(mut secrets: Vec<String>) -> Self {
        secrets.retain(|secret| secret.len() >= SECRET_BYTES_MIN);
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        secrets.dedup();
        Self { secrets }
    }

    /// The text without secrets.
    pub(crate) fn redact(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for secret in &self.secrets {
            if text.contains(secret.as_str()) {
                text = text.replace(secret.as_str(), REDACTED);
            }
        }
        text
    }
}

/// Connections of a pipeline, those of its hooks among them.
fn connections(spec: &PipelineSpec) -> impl Iterator<Item = &ConnectionSpec> {
    let of_hooks = spec.hooks.iter().filter_map(|hook| match &hook.action {
        HookAction::Sql { connection, .. } => Some(connection),
        HookAction::Command(_) | HookAction::Shell(_) => None,
    });
    [&spec.source, &spec.target].into_iter().chain(of_hooks)
}

/// Passwords in a URL, as they are written there and as they are.
fn passwords(url: &str) -> Vec<String> {
    let written = password(url).into_iter().chain(password_parameter(url));
    let forms = |text: &str| {
        let decoded = percent_decode_str(text).decode_utf8_lossy();
        [
            text.to_owned(),
            decoded.replace('+', " "),
            decoded.into_owned(),
        ]
    };
    written.flat_map(forms).collect()
}

/// The value of `?password=`.
fn password_parameter(url: &str) -> Option<&str> {
    let (_, parameters) = url.split_once('?')?;
    let parameters = parameters.split(['&', '#']);
    parameters
        .filter_map(|parameter| parameter.strip_prefix("password="))
        .next()
}

/// The password of `scheme://user:password@host`, as it is written there.
fn password(url: &str) -> Option<&str> {
    let (_, rest) = url.split_once("://")?;
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (user, _) = rest.get(..end)?.rsplit_once('@')?;
    let (_, password) = user.split_once(':')?;
    Some(password)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn password_of_a_url_is_found() {
        assert_eq!(password("postgres://ann:s3cret!@db/crm"), Some("s3cret!"));
        assert_eq!(password("postgres://ann:a:b@c@db?x=@"), Some("a:b@c"));
        assert_eq!(password("postgres://ann@db/crm"), None);
        assert_eq!(password("sqlite:shop.db"), None);
    }

    #[test]
    fn passwords_of_a_url_are_known_in_every_form() {
        let all = passwords("postgres://ann:p%40ss-word@db/crm?sslmode=require&password=ge%23heim");

        for password in ["p%40ss-word", "p@ss-word", "ge%23heim", "ge#heim"] {
            assert!(all.iter().any(|it| it == password), "{password}: {all:?}");
        }
    }

    #[test]
    fn longer_secrets_go_first_and_short_ones_stay() {
        let secrets = ["hunter", "hunter22", "on"].map(str::to_owned);
        let redactor = Redactor::of(secrets.into());

        let text = redactor.redact("on hunter22, hunter");

        assert_eq!(text, "on [secret], [secret]");
    }
}
