//! The settings of a MySQL or MariaDB connection, read and checked without any I/O.

use super::tls::{SslMode, TlsFile, TlsFiles};
use crate::types::{ReadRules, TinyInt1, ZeroDates};
use std::path::PathBuf;
use syncset_connector::{Secret, SettingSchema, Settings};
use url::Url;

/// Port of both servers.
const PORT: u16 = 3306;

/// The keys of a connection besides `type` and `url`.
pub(crate) const SETTINGS: &[SettingSchema] = &[
    plain("host", "host name or address; default: localhost"),
    plain("port", "port; default: 3306"),
    plain(
        "socket",
        "path of the server's socket, instead of host and port",
    ),
    plain("user", "user to log in as"),
    SettingSchema {
        name: "password",
        secret: true,
        about: "password of the user",
    },
    plain("database", "database whose tables are read or written"),
    plain(
        "sslmode",
        "disable | prefer | require | verify-ca | verify-full; default: prefer",
    ),
    plain(
        "sslrootcert",
        "file of the authority that signed the server's certificate",
    ),
    plain("sslcert", "file of our own certificate"),
    plain("sslkey", "file of our own private key"),
    plain(
        "tinyint1",
        "boolean (default): `tinyint(1)` holds 0 and 1 only and is read as a boolean; integer: it \
         is read as a number",
    ),
    plain(
        "zero_dates",
        "error (default): a date such as `0000-00-00` or `2024-05-00` stops its table; null: it is \
         read as NULL; text: columns of dates and times with a date are read as text",
    ),
];

const fn plain(name: &'static str, about: &'static str) -> SettingSchema {
    SettingSchema {
        name,
        secret: false,
        about,
    }
}

/// A connection's settings, checked.
#[derive(Clone)]
pub(crate) struct Config {
    /// Name of the connection, for messages.
    pub(crate) name: String,
    /// Host, for messages where there is no socket.
    pub(crate) host: String,
    /// Port.
    pub(crate) port: u16,
    /// Path of the socket, instead of host and port.
    pub(crate) socket: Option<PathBuf>,
    /// User to log in as.
    pub(crate) user: String,
    pub(super) password: Option<Secret<String>>,
    /// The database.
    pub(crate) database: String,
    pub(super) sslmode: SslMode,
    pub(super) tls_files: TlsFiles,
    /// What columns are read as where there is a choice.
    pub(crate) rules: ReadRules,
}

/// What was given, of the URL and the single keys; single keys win.
#[derive(Default)]
struct Given {
    host: Option<String>,
    port: Option<String>,
    socket: Option<String>,
    user: Option<String>,
    password: Option<Secret<String>>,
    database: Option<String>,
    sslmode: Option<String>,
    sslrootcert: Option<String>,
    sslcert: Option<String>,
    sslkey: Option<String>,
    tinyint1: Option<String>,
    zero_dates: Option<String>,
}

impl Config {
    /// Reads the settings; all problems as (key, sentence).
    pub(crate) fn read(settings: &Settings) -> Result<Self, Vec<(String, String)>> {
        let mut problems = Vec::new();
        let mut given = Given::default();
        if let Some(url) = settings.value("url") {
            read_url(url, &mut given, &mut problems);
        }
        for (key, value) in &settings.values {
            if matches!(key.as_str(), "type" | "url") {
                continue;
            }
            if !given.set(key, value.expose()) {
                problems.push((
                    key.clone(),
                    format!("a MySQL or MariaDB connection has no key `{key}`"),
                ));
            }
        }
        let config = given.config(settings, &mut problems);
        if problems.is_empty() {
            Ok(config)
        } else {
            Err(problems)
        }
    }

    /// `user@host:port/database`.
    pub(crate) fn address(&self) -> String {
        format!("{}@{}/{}", self.user, self.place(), self.database)
    }

    /// `host:port`, or the path of the socket.
    pub(crate) fn place(&self) -> String {
        match &self.socket {
            Some(socket) => socket.display().to_string(),
            None => format!("{}:{}", self.host, self.port),
        }
    }
}

impl Given {
    fn set(&mut self, key: &str, value: &str) -> bool {
        let slot = match key {
            "host" => &mut self.host,
            "port" => &mut self.port,
            "socket" => &mut self.socket,
            "user" => &mut self.user,
            "password" => {
                self.password = Some(Secret::new(value.to_owned()));
                return true;
            }
            "database" => &mut self.database,
            "sslmode" | "ssl-mode" => &mut self.sslmode,
            "sslrootcert" | "ssl-ca" => &mut self.sslrootcert,
            "sslcert" | "ssl-cert" => &mut self.sslcert,
            "sslkey" | "ssl-key" => &mut self.sslkey,
            "tinyint1" => &mut self.tinyint1,
            "zero_dates" => &mut self.zero_dates,
            _ => return false,
        };
        *slot = Some(value.to_owned());
        true
    }

    fn config(self, settings: &Settings, problems: &mut Vec<(String, String)>) -> Config {
        let mut problem = |key: &str, sentence: String| problems.push((key.to_owned(), sentence));
        let port = self.port.map_or(PORT, |text| {
            text.parse()
                .ok()
                .filter(|port| *port > 0)
                .unwrap_or_else(|| {
                    problem("port", "`port` must be a number from 1 to 65535".to_owned());
                    PORT
                })
        });
        let host = self.host.unwrap_or_else(|| "localhost".to_owned());
        let socket = match (self.socket, host.starts_with('/')) {
            (Some(path), _) => Some(settings.base.join(path)),
            (None, true) => Some(PathBuf::from(&host)),
            (None, false) => None,
        };
        let user = self.user.filter(|user| !user.is_empty());
        if user.is_none() {
            problem("user", "the connection names no `user`".to_owned());
        }
        let database = self.database.filter(|database| !database.is_empty());
        if database.is_none() {
            problem("database", "the connection names no `database`".to_owned());
        }
        let sslmode = self.sslmode.map_or(SslMode::Prefer, |mode| {
            SslMode::of(&mode).unwrap_or_else(|| {
                problem(
                    "sslmode",
                    "`sslmode` must be one of disable, prefer, require, verify-ca, verify-full"
                        .to_owned(),
                );
                SslMode::Prefer
            })
        });
        if self.sslcert.is_some() != self.sslkey.is_some() {
            let missing = if self.sslcert.is_some() {
                "sslkey"
            } else {
                "sslcert"
            };
            problem(missing, "`sslcert` and `sslkey` go together".to_owned());
        }
        let rules = ReadRules {
            tiny_int_1: match self.tinyint1.as_deref() {
                None | Some("boolean") => TinyInt1::Boolean,
                Some("integer") => TinyInt1::Integer,
                Some(_) => {
                    let sentence = "`tinyint1` must be `boolean` or `integer`";
                    problem("tinyint1", sentence.to_owned());
                    TinyInt1::Boolean
                }
            },
            zero_dates: match self.zero_dates.as_deref() {
                None | Some("error") => ZeroDates::Error,
                Some("null") => ZeroDates::Null,
                Some("text") => ZeroDates::Text,
                Some(_) => {
                    let sentence = "`zero_dates` must be `error`, `null` or `text`";
                    problem("zero_dates", sentence.to_owned());
                    ZeroDates::Error
                }
            },
        };
        let file = |setting, path: Option<String>| {
            path.map(|path| TlsFile {
                setting,
                path: settings.base.join(path),
            })
        };
        Config {
            name: settings.name.clone(),
            host,
            port,
            socket,
            user: user.unwrap_or_default(),
            password: self.password,
            database: database.unwrap_or_default(),
            sslmode,
            tls_files: TlsFiles {
                root: file("sslrootcert", self.sslrootcert),
                certificate: file("sslcert", self.sslcert),
                key: file("sslkey", self.sslkey),
            },
            rules,
        }
    }
}

fn read_url(text: &str, given: &mut Given, problems: &mut Vec<(String, String)>) {
    let mut problem = |sentence: &str| problems.push(("url".to_owned(), sentence.to_owned()));
    let Ok(url) = Url::parse(text) else {
        problem("`url` must look like `mysql://user:password@host:3306/database`");
        return;
    };
    if !matches!(url.scheme(), "mysql" | "mariadb") {
        problem("`url` must start with `mysql://` or `mariadb://`");
        return;
    }
    let mut set = |key: &str, part: &str| {
        let Ok(value) = percent_encoding::percent_decode_str(part).decode_utf8() else {
            problem("a part of `url` is not UTF-8 after decoding its `%` signs");
            return;
        };
        if !value.is_empty() {
            given.set(key, &value);
        }
    };
    if let Some(host) = url.host_str() {
        set("host", host.trim_start_matches('[').trim_end_matches(']'));
    }
    if let Some(port) = url.port() {
        set("port", &port.to_string());
    }
    set("user", url.username());
    if let Some(password) = url.password() {
        set("password", password);
    }
    set("database", url.path().trim_start_matches('/'));
    for (key, value) in url.query_pairs() {
        if !given.set(&key, &value) {
            problems.push((
                "url".to_owned(),
                format!("`url` has a parameter `{key}` that is not known"),
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn settings(pairs: &[(&str, &str)]) -> Settings {
        Settings {
            name: "shop".to_owned(),
            values: pairs
                .iter()
                .map(|(key, value)| ((*key).to_owned(), Secret::new((*value).to_owned())))
                .collect::<BTreeMap<_, _>>(),
            base: "/project".into(),
        }
    }

    fn read(pairs: &[(&str, &str)]) -> Config {
        Config::read(&settings(pairs))
            .map_err(|_| ())
            .expect("no problems")
    }

    #[test]
    fn url_and_single_keys_give_the_same_connection() {
        let url = read(&[(
            "url",
            "mariadb://sync:p%40ss@db2:3307/shop?ssl-mode=VERIFY_CA&ssl-ca=ca.pem",
        )]);
        let keys = read(&[
            ("host", "db2"),
            ("port", "3307"),
            ("user", "sync"),
            ("password", "p@ss"),
            ("database", "shop"),
            ("sslmode", "verify-ca"),
            ("sslrootcert", "ca.pem"),
        ]);

        for config in [url, keys] {
            assert_eq!(config.address(), "sync@db2:3307/shop");
            assert_eq!(config.sslmode, SslMode::VerifyCa);
            let root = config.tls_files.root.map(|file| file.path);
            assert_eq!(root, Some("/project/ca.pem".into()));
            let password = config.password.map(|password| password.expose().clone());
            assert_eq!(password.as_deref(), Some("p@ss"));
        }
    }

    #[test]
    fn every_problem_is_named_with_its_key() {
        let settings = settings(&[
            ("url", "mysql://h?colour=red"),
            ("port", "seventy"),
            ("sslmode", "sometimes"),
            ("tinyint1", "maybe"),
            ("zero_dates", "never"),
            ("sslcert", "a.pem"),
            ("pasword", "x"),
        ]);

        let problems = Config::read(&settings).err().expect("problems");

        let mut keys: Vec<_> = problems.iter().map(|(key, _)| key.as_str()).collect();
        keys.sort_unstable();
        assert_eq!(
            keys,
            [
                "database",
                "pasword",
                "port",
                "sslkey",
                "sslmode",
                "tinyint1",
                "url",
                "user",
                "zero_dates"
            ]
        );
    }

    #[test]
    fn a_socket_stands_for_host_and_port() {
        let key = read(&[("url", "mysql://u@h/d"), ("socket", "/run/mysqld.sock")]);
        let host = read(&[("url", "mysql://u@%2Frun%2Fmysqld.sock/d")]);

        assert_eq!(key.address(), "u@/run/mysqld.sock/d");
        assert_eq!(host.address(), "u@/run/mysqld.sock/d");
    }
}
