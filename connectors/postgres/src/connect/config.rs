//! The settings of a PostgreSQL connection, read and checked without any I/O.

use super::tls::TlsFile;
use sqlx::ConnectOptions;
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use std::str::FromStr;
use syncset_connector::{Secret, SettingSchema, Settings};
use url::Url;

/// The keys of a connection besides `type` and `url`.
pub(crate) const SETTINGS: &[SettingSchema] = &[
    plain(
        "host",
        "host name, address, or folder of the server's socket; default: localhost",
    ),
    plain("port", "port; default: 5432"),
    plain("user", "user to log in as"),
    SettingSchema {
        name: "password",
        secret: true,
        about: "password of the user",
    },
    plain("database", "database; default: the user's name"),
    plain(
        "sslmode",
        "disable | allow | prefer | require | verify-ca | verify-full; default: prefer",
    ),
    plain(
        "sslrootcert",
        "file of the authority that signed the server's certificate",
    ),
    plain("sslcert", "file of our own certificate"),
    plain("sslkey", "file of our own private key"),
    plain(
        "row_security",
        "off (default): a policy that would hide rows is an error; on: rows it hides are not read",
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
    /// Host or socket folder, for messages.
    pub(crate) host: String,
    /// Port, for messages.
    pub(crate) port: u16,
    /// True if policies may hide rows from us.
    pub(crate) row_security: bool,
    /// Files that encrypted links need.
    pub(super) tls_files: Vec<TlsFile>,
    driver: PgConnectOptions,
}

/// What was given, of the URL and the single keys; single keys win.
#[derive(Default)]
struct Given {
    host: Option<String>,
    port: Option<String>,
    user: Option<String>,
    password: Option<Secret<String>>,
    database: Option<String>,
    sslmode: Option<String>,
    sslrootcert: Option<String>,
    sslcert: Option<String>,
    sslkey: Option<String>,
    row_security: Option<String>,
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
            if matches!(key.as_str(), "type" | "url" | "application_name") {
                continue;
            }
            if !given.set(key, value.expose()) {
                problems.push((
                    key.clone(),
                    format!("a postgres connection has no key `{key}`"),
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
        let driver = &self.driver;
        format!(
            "{}@{}:{}/{}",
            driver.get_username(),
            self.host,
            self.port,
            driver.get_database().unwrap_or_default()
        )
    }

    /// The driver's options with the name that administrators see.
    pub(crate) fn driver(&self, application: &str) -> PgConnectOptions {
        self.driver.clone().application_name(application)
    }
}

impl Given {
    fn set(&mut self, key: &str, value: &str) -> bool {
        let slot = match key {
            "host" | "hostaddr" => &mut self.host,
            "port" => &mut self.port,
            "user" => &mut self.user,
            "password" => {
                self.password = Some(Secret::new(value.to_owned()));
                return true;
            }
            "database" | "dbname" => &mut self.database,
            "sslmode" => &mut self.sslmode,
            "sslrootcert" => &mut self.sslrootcert,
            "sslcert" => &mut self.sslcert,
            "sslkey" => &mut self.sslkey,
            "row_security" => &mut self.row_security,
            _ => return false,
        };
        *slot = Some(value.to_owned());
        true
    }

    fn config(self, settings: &Settings, problems: &mut Vec<(String, String)>) -> Config {
        let mut problem = |key: &str, sentence: String| problems.push((key.to_owned(), sentence));
        let host = self.host.unwrap_or_else(|| "localhost".to_owned());
        let port = self.port.map_or(5432, |text| {
            text.parse()
                .ok()
                .filter(|port| *port > 0)
                .unwrap_or_else(|| {
                    problem("port", "`port` must be a number from 1 to 65535".to_owned());
                    5432
                })
        });
        // The driver would read the environment's PGHOST and friends; what is set here wins.
        let mut driver = PgConnectOptions::new_without_pgpass().port(port);
        driver = if host.starts_with('/') {
            driver.socket(&host)
        } else {
            driver.host(&host)
        };
        if let Some(user) = &self.user {
            driver = driver.username(user);
        }
        if let Some(password) = &self.password {
            driver = driver.password(password.expose());
        }
        let database = self
            .database
            .unwrap_or_else(|| driver.get_username().to_owned());
        driver = driver.database(&database);
        if let Some(mode) = &self.sslmode {
            match PgSslMode::from_str(mode) {
                Ok(mode) => driver = driver.ssl_mode(mode),
                Err(_) => problem("sslmode", "`sslmode` must be one of disable, allow, prefer, require, verify-ca, verify-full".to_owned()),
            }
        }
        let mut tls_files = Vec::new();
        let mut file = |setting, path: &str| {
            let path = settings.base.join(path);
            tls_files.push(TlsFile {
                setting,
                path: path.clone(),
            });
            path
        };
        if let Some(path) = &self.sslrootcert {
            driver = driver.ssl_root_cert(file("sslrootcert", path));
        }
        if let Some(path) = &self.sslcert {
            driver = driver.ssl_client_cert(file("sslcert", path));
        }
        if let Some(path) = &self.sslkey {
            driver = driver.ssl_client_key(file("sslkey", path));
        }
        let row_security = match self.row_security.as_deref() {
            None | Some("off" | "false") => false,
            Some("on" | "true") => true,
            Some(_) => {
                problem(
                    "row_security",
                    "`row_security` must be `on` or `off`".to_owned(),
                );
                false
            }
        };
        Config {
            name: settings.name.clone(),
            host,
            port,
            row_security,
            tls_files,
            // Poolers refuse start-up parameters they do not know, and statements hold values.
            driver: driver.extra_float_digits(None).disable_statement_logging(),
        }
    }
}

fn read_url(text: &str, given: &mut Given, problems: &mut Vec<(String, String)>) {
    let mut problem = |sentence: &str| problems.push(("url".to_owned(), sentence.to_owned()));
    let Ok(url) = Url::parse(text) else {
        problem(
            "`url` must look like `postgres://user:password@host:5432/database`, with `%2F` for a \
             `/` in its parts, `%40` for `@`, `%23` for `#`, `%3F` for `?` and `%25` for `%`",
        );
        return;
    };
    if !matches!(url.scheme(), "postgres" | "postgresql") {
        problem("`url` must start with `postgres://` or `postgresql://`");
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
        let known = given.set(&key, &value);
        if !known && key != "application_name" {
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
            name: "crm".to_owned(),
            values: pairs
                .iter()
                .map(|(key, value)| ((*key).to_owned(), Secret::new((*value).to_owned())))
                .collect::<BTreeMap<_, _>>(),
            base: "/project".into(),
        }
    }

    #[test]
    fn url_and_single_keys_give_the_same_connection() {
        let url = settings(&[(
            "url",
            "postgresql://sync:p%40ss@db2:6432/crm?sslmode=require",
        )]);
        let keys = settings(&[
            ("host", "db2"),
            ("port", "6432"),
            ("user", "sync"),
            ("password", "p@ss"),
            ("database", "crm"),
            ("sslmode", "require"),
        ]);

        for settings in [url, keys] {
            let config = Config::read(&settings)
                .map_err(|_| ())
                .expect("no problems");
            assert_eq!(
                (
                    config.host.as_str(),
                    config.port,
                    config.driver.get_database()
                ),
                ("db2", 6432, Some("crm"))
            );
            assert_eq!(config.driver.get_username(), "sync");
            assert_eq!(config.address(), "sync@db2:6432/crm");
            assert!(!config.row_security);
        }
    }

    #[test]
    fn every_problem_is_named_with_its_key() {
        let settings = settings(&[
            ("url", "postgres://h/db?colour=red"),
            ("port", "seventy"),
            ("sslmode", "sometimes"),
            ("row_security", "maybe"),
            ("pasword", "x"),
        ]);

        let problems = Config::read(&settings).err().expect("problems");

        let mut keys: Vec<_> = problems.iter().map(|(key, _)| key.as_str()).collect();
        keys.sort_unstable();
        assert_eq!(keys, ["pasword", "port", "row_security", "sslmode", "url"]);
    }

    #[test]
    fn a_socket_folder_is_a_host() {
        let settings = settings(&[("url", "postgres://u@%2Ftmp%2Fpg:5433/db")]);

        let config = Config::read(&settings)
            .map_err(|_| ())
            .expect("no problems");

        assert_eq!(config.host, "/tmp/pg");
        assert_eq!(
            config.driver.get_socket().map(|path| path.to_str()),
            Some(Some("/tmp/pg"))
        );
    }
}
