//! `syncset.yaml`, and the lines of `.env`.

use super::text::{comment, key, line_comment, scalar};
use percent_encoding::percent_decode_str;

/// A connection as `syncset.yaml` will hold it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectionScaffold {
    /// Its name.
    pub name: String,
    /// The connector's kind.
    pub kind: String,
    /// Its URL as the file holds it: one without secrets, or `${VARIABLE}`.
    pub url: String,
    /// What answered there, for the comment above it.
    pub about: String,
}

/// The text of `syncset.yaml`.
pub fn project_file(project: &str, connections: &[ConnectionScaffold]) -> String {
    let mut text = comment(
        0,
        "The project: which databases there are. What is copied is in pipelines/. Written by \
         `syncset init`; yours to edit.",
    );
    text.push_str("version: 1\n\n");
    text.push_str(&comment(
        0,
        "Part of the name under which progress is stored at the target, so do not change it later.",
    ));
    text.push_str(&format!("project: {}\n\n", scalar(project)));
    text.push_str(&comment(
        0,
        "${NAME} comes from the environment, or from the file .env beside this one; what is in the \
         environment wins. Paths start at this folder. `syncset connection test` tries them all.",
    ));
    text.push_str("connections:\n");
    for connection in connections {
        let ConnectionScaffold {
            name,
            kind,
            url,
            about,
        } = connection;
        text.push_str(&line_comment(2, about));
        let url = url_scalar(url);
        text.push_str(&format!(
            "  {}: {{ type: {kind}, url: {url} }}\n",
            key(name)
        ));
    }
    text
}

/// A URL in double quotes; the `${...}` in it stay what they are.
fn url_scalar(url: &str) -> String {
    serde_json::Value::String(url.to_owned()).to_string()
}

/// A line of `.env` that any shell and any reader of such files understands alike.
pub fn dotenv_line(name: &str, url: &str) -> String {
    // In single quotes nothing is special but the quote itself, which a URL can spell otherwise.
    let url = url.replace('\'', "%27");
    format!("{name}='{url}'\n")
}

/// A name for the connection to a URL, made of its database or file: `crm`.
pub fn connection_name(url: &str) -> Option<String> {
    let path = url.split(['?', '#']).next()?.trim_end_matches('/');
    let (_, rest) = path.split_once(':')?;
    let last = match rest.strip_prefix("//") {
        // A URL of a server without a database names nothing.
        Some(rest) if !path.starts_with("sqlite:") => {
            // With a `@` it is the end of a password that holds a `/`, and not to be shown.
            let database = rest.split_once('/')?.1;
            (!database.contains('@')).then_some(database)?
        }
        _ => rest.rsplit(['/', '\\']).next()?,
    };
    let last = percent_decode_str(last).decode_utf8().ok()?;
    let stem = match last.rsplit_once('.') {
        Some((stem, _)) if !stem.is_empty() => stem,
        _ => &last,
    };
    let name = plain_name(stem);
    (!name.is_empty()).then_some(name)
}

/// A name of letters, digits, `_` and `-` that resembles a text.
pub fn plain_name(text: &str) -> String {
    let plain: String = text
        .chars()
        .map(|character| match character {
            plain if plain.is_ascii_alphanumeric() || plain == '-' => plain,
            _ => '_',
        })
        .collect();
    plain.trim_matches(['_', '-']).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_called_like_their_database_or_file() {
        for (url, expected) in [
            (
                "postgres://sync:s%2Fx@db1:5432/crm?sslmode=require",
                Some("crm"),
            ),
            ("postgresql://db1/Sales%20EU", Some("Sales_EU")),
            ("postgres://db1", None),
            ("postgres://sync:pass/word@db1/crm", None),
            ("postgres://db1/", None),
            ("sqlite:data/shop.db", Some("shop")),
            ("sqlite:///var/lib/shop.sqlite3", Some("shop")),
            ("sqlite:shop", Some("shop")),
            ("nothing", None),
        ] {
            assert_eq!(connection_name(url).as_deref(), expected, "{url}");
        }
    }
}
