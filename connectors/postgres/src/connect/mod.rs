//! Connecting: settings, sessions, and what the server says about itself.
//!
//! Every session is configured by one simple query after the handshake, never by start-up
//! parameters, which poolers refuse; behind a pooler, by the first statements of each transaction.
//! `search_path` is left as the user has it, because functions
//! behind views, policies and triggers depend on it; statements that read the catalogues start
//! with [`CATALOG_PATH`], and everything we send is qualified anyway.

mod config;
mod facts;
mod session;
mod settings;
mod tls;

pub(crate) use config::{Config, SETTINGS};
pub(crate) use facts::ServerFacts;
pub(crate) use session::{Session, TextRow};

use crate::changes::ReaderPool;
use crate::error;
use crate::write::WriterPool;
use settings::{SessionSettings, startup_name};
use sqlx::{ConnectOptions, postgres::PgConnection};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;
use syncset_connector::{ConnectorError, ErrorClass, OpenOptions, Result};
use tokio::sync::{Mutex, MutexGuard, OwnedSemaphorePermit, Semaphore};

/// First statement of a simple query of several, which is one transaction: names of types and tables are printed with their schemas.
pub(crate) const CATALOG_PATH: &str = "SET LOCAL search_path = pg_catalog;";

/// An opened PostgreSQL database.
///
/// The reading side, the writing side and the state are implemented on it in their own modules.
pub(crate) struct PgStore {
    pub(crate) config: Config,
    pub(crate) options: OpenOptions,
    control: Mutex<Session>,
    facts: ServerFacts,
    sessions: Arc<Semaphore>,
    pooled: AtomicBool,
    /// What the units of a target share.
    pub(crate) writers: Arc<WriterPool>,
    /// Sessions that chunks of a load hand on to each other.
    pub(crate) readers: ReaderPool,
}

impl PgStore {
    /// Connects the control session and asks the server who it is, in one round trip.
    pub(crate) async fn open(config: Config, options: OpenOptions) -> Result<Self> {
        let (session, facts) = connect(&config, &options, None).await?;
        Ok(Self {
            sessions: Arc::new(Semaphore::new(options.sessions_max)),
            pooled: AtomicBool::new(facts.pooled),
            control: Mutex::new(session),
            writers: Arc::default(),
            readers: ReaderPool::default(),
            config,
            options,
            facts,
        })
    }

    /// Opens a new session; waits while `sessions_max` of them are open.
    pub(crate) async fn session(&self) -> Result<Session> {
        let place = self.place().await;
        self.session_at(place).await
    }

    /// A place among the `sessions_max` sessions that may be open.
    pub(crate) async fn place(&self) -> OwnedSemaphorePermit {
        Arc::clone(&self.sessions)
            .acquire_owned()
            .await
            .expect("the store never closes its semaphore")
    }

    /// Opens a new session at a place.
    pub(crate) async fn session_at(&self, place: OwnedSemaphorePermit) -> Result<Session> {
        let (session, facts) = connect(&self.config, &self.options, Some(place)).await?;
        if facts.pooled {
            self.pooled.store(true, Ordering::Relaxed);
        }
        Ok(session)
    }

    /// The control session: short statements, no COPY, no transaction that outlives the guard.
    ///
    /// # Errors
    /// When the link was lost and cannot be made again.
    pub(crate) async fn control(&self) -> Result<MutexGuard<'_, Session>> {
        let mut session = self.control.lock().await;
        if !session.is_usable() {
            *session = connect(&self.config, &self.options, None).await?.0;
        }
        Ok(session)
    }

    /// What the server said when the store was opened.
    pub(crate) fn facts(&self) -> &ServerFacts {
        &self.facts
    }

    /// True if any session went through a transaction pooler, as far as that can be told.
    pub(crate) fn likely_pooler(&self) -> bool {
        self.pooled.load(Ordering::Relaxed)
    }

    /// Ends the control session.
    pub(crate) async fn close(self) {
        self.writers.close().await;
        self.control.into_inner().close().await;
    }
}

async fn connect(
    config: &Config,
    options: &OpenOptions,
    permit: Option<OwnedSemaphorePermit>,
) -> Result<(Session, ServerFacts)> {
    tls::check_files(&config.tls_files).await?;
    let started = Instant::now();
    let work = async {
        let link: PgConnection = config
            .driver(&startup_name(&options.application))
            .connect()
            .await
            .map_err(|failure| cannot_connect(config, failure))?;
        let mut session = Session::new(link, config.name.clone(), permit);
        let settings = SessionSettings::new(config, options);
        let first = settings.first_statements(started.elapsed());
        let sql = format!("{first}{}", facts::SQL);
        let mut sets = session.result_sets(&sql).await?;
        let row = sets
            .pop()
            .and_then(|mut rows| rows.pop())
            .ok_or_else(|| error::unexpected("the server did not say who it is"))?;
        let facts = ServerFacts::read(&row, started.elapsed())?;
        session.backend_pid = row.parse(facts::BACKEND_PID)?;
        session.backend_start = row.required(facts::BACKEND_START)?.to_owned();
        if facts.pooled {
            session.begin_transactions_with(settings.prologue(&facts.server_encoding));
        }
        Ok((session, facts))
    };
    match tokio::time::timeout(options.connect_timeout, work).await {
        Ok(outcome) => outcome,
        Err(_) => Err(ConnectorError::new(
            ErrorClass::Connection,
            format!(
                "`{}` did not answer within {} s at {}:{}",
                config.name,
                options.connect_timeout.as_secs(),
                config.host,
                config.port
            ),
        )
        .with_hint("check host, port and firewalls")),
    }
}

fn cannot_connect(config: &Config, failure: sqlx::Error) -> ConnectorError {
    if let Some(error) = tls::refused(config, &failure) {
        return error;
    }
    let mut error = error::of(failure);
    if error.class == ErrorClass::Connection && error.code.is_none() {
        error.message = format!(
            "cannot reach the server of `{}` at {}:{}",
            config.name, config.host, config.port
        );
        error.hint = Some("check host, port, `sslmode`, and whether the server runs".to_owned());
    }
    error
}
