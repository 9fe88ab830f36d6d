//! A database of a test, and the roles made for it.

use crate::postgres::{PostgresServer, connect_to, execute_at, raw, rows_of};
use sqlx::{Connection, Executor, PgConnection};
use url::Url;

/// A database of a test. Dropped at the server when the value is dropped, so keep it as long as
/// its URL is used.
#[must_use = "the database is dropped with this value"]
#[derive(Debug)]
pub struct Database {
    name: String,
    url: Url,
    server: Url,
}

impl Database {
    /// One that exists, at the server with this URL.
    pub(crate) fn existing(name: String, server: &Url) -> Self {
        let mut url = server.clone();
        url.set_path(&name);
        Self {
            name,
            url,
            server: server.clone(),
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The database of the same name at another server, such as a standby.
    pub fn at(&self, server: &PostgresServer) -> Self {
        server.existing_database(&self.name)
    }

    /// Its URL, as a superuser.
    pub fn url(&self) -> String {
        self.url.to_string()
    }

    /// Its URL for another role.
    pub fn url_as(&self, role: &str, password: &str) -> String {
        let mut url = self.url.clone();
        url.set_username(role).expect("the URL has a host");
        url.set_password(Some(password))
            .expect("the URL has a host");
        url.to_string()
    }

    /// Its URL through another port of 127.0.0.1, such as that of a proxy.
    pub fn url_through(&self, port: u16) -> String {
        let mut url = self.url.clone();
        url.set_host(Some("127.0.0.1")).expect("the host is valid");
        url.set_port(Some(port)).expect("the URL has a host");
        url.to_string()
    }

    /// A session as a superuser.
    pub async fn connect(&self) -> PgConnection {
        connect_to(self.url.as_str()).await
    }

    /// Runs statements, each committed by itself unless the text says otherwise: a text without
    /// BEGIN is one transaction.
    ///
    /// # Panics
    /// If the server refuses one.
    pub async fn execute(&self, sql: &str) {
        execute_at(self.url.as_str(), sql).await;
    }

    /// As [`execute`](Self::execute), for statements that may be refused.
    ///
    /// # Errors
    /// What the server answered.
    pub async fn try_execute(&self, sql: &str) -> Result<(), sqlx::Error> {
        let mut session = self.connect().await;
        session.execute(raw(sql)).await.map(drop)
    }

    /// All rows of a query, as the text forms of the server.
    ///
    /// # Panics
    /// If the server refuses the query.
    pub async fn rows(&self, sql: &str) -> Vec<Vec<Option<String>>> {
        rows_of(&mut self.connect().await, sql).await
    }

    /// The only value of a query, as text; NULL is `NULL`.
    ///
    /// # Panics
    /// If the query does not return one row of one column.
    pub async fn value(&self, sql: &str) -> String {
        crate::rows::only_value(sql, self.rows(sql).await)
    }

    /// Creates a role that may log in with the password `secret`, and returns its URL. The name
    /// is made unique, since roles belong to the whole server.
    pub async fn role(&self, prefix: &str, grants: &[&str]) -> Role {
        let name = format!("{prefix}_{}", self.name);
        self.execute(&format!("CREATE ROLE \"{name}\" LOGIN PASSWORD 'secret'"))
            .await;
        for grant in grants {
            self.execute(&format!("GRANT {grant} TO \"{name}\"")).await;
        }
        Role {
            url: self.url_as(&name, "secret"),
            name,
        }
    }

    /// Makes the server log every statement of sessions that are opened from here on.
    pub async fn log_statements(&self) {
        execute_at(
            self.server.as_str(),
            &format!("ALTER DATABASE \"{}\" SET log_statement = 'all'", self.name),
        )
        .await;
    }
}

/// A role of a test.
#[derive(Debug, Clone)]
pub struct Role {
    /// Its name.
    pub name: String,
    /// URL of the database it was made for, as this role.
    pub url: String,
}

impl Drop for Database {
    fn drop(&mut self) {
        let server = self.server.clone();
        let statement = format!("DROP DATABASE IF EXISTS \"{}\" WITH (FORCE)", self.name);
        // The runtime of the test may be gone already. Nobody waits: a throw-away cluster is
        // removed as a whole, and another server keeps at most a stray database.
        std::thread::spawn(move || {
            let Ok(runtime) = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
            else {
                return;
            };
            runtime.block_on(async {
                if let Ok(mut session) = PgConnection::connect(server.as_str()).await {
                    let _ = session.execute(raw(&statement)).await;
                }
            });
        });
    }
}
