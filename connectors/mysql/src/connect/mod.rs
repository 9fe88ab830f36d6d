//! Connecting: settings, sessions, and what the server says about itself.
//!
//! Every session is set up by one message after the handshake; nothing of the server's defaults
//! that decides about values is left as it is.

mod config;
mod facts;
mod session;
mod settings;
mod tls;

pub(crate) use config::{Config, SETTINGS};
pub(crate) use facts::ServerFacts;
pub(crate) use session::{RowStream, Session, TextRow};

use crate::changes::{Looks, account};
use crate::error;
use crate::sql::identifier;
use crate::write::WriterPool;
use crate::write::rights::RIGHTS_OF_TARGETS;
use mysql_async::{Conn, Opts, OptsBuilder, SslOpts};
use std::sync::{Arc, Mutex as StdMutex, PoisonError};
use std::time::Duration;
use syncset_connector::{ConnectorError, ErrorClass, OpenOptions, Result, Role};
use tokio::sync::{Mutex, MutexGuard, OwnedSemaphorePermit, Semaphore};

/// Bytes of one packet that we are ready to take: what the protocol allows.
const PACKET_BYTES_MAX: usize = 1 << 30;

/// The server's number for a database to which a user has no right, also where there is none.
const NO_RIGHT_TO_DATABASE: u16 = 1044;

/// Sent on links at rest, so that a firewall between does not forget them.
const KEEPALIVE: Duration = Duration::from_secs(10);

/// An opened database of MySQL or MariaDB.
///
/// The reading side, the writing side and the state are implemented on it in their own modules.
pub(crate) struct MysqlStore {
    pub(crate) config: Config,
    pub(crate) options: OpenOptions,
    control: Mutex<Session>,
    facts: ServerFacts,
    sessions: Arc<Semaphore>,
    /// Sessions at rest, in no transaction. They hold no place among those that may be open, so
    /// that whoever waits for a place is never kept waiting by them.
    idle: Arc<StdMutex<Vec<Session>>>,
    /// Numbers of all sessions that this store has opened.
    own_sessions: StdMutex<Vec<u64>>,
    /// The last look at the server's clock, statements and transactions.
    pub(crate) looks: Looks,
    /// What the units of a target share.
    pub(crate) writers: Arc<WriterPool>,
}

impl MysqlStore {
    /// Connects the control session and asks the server who it is, in one round trip.
    pub(crate) async fn open(config: Config, options: OpenOptions) -> Result<Self> {
        let (session, facts) = connect(&config, &options, None).await?;
        facts.check_version()?;
        Ok(Self {
            sessions: Arc::new(Semaphore::new(options.sessions_max)),
            own_sessions: StdMutex::new(vec![session.id]),
            control: Mutex::new(session),
            idle: Arc::default(),
            looks: Looks::default(),
            writers: Arc::default(),
            config,
            options,
            facts,
        })
    }

    /// A session at rest, or a new one; waits while `sessions_max` of them are open.
    pub(crate) async fn session(&self) -> Result<Session> {
        let place = Arc::clone(&self.sessions)
            .acquire_owned()
            .await
            .expect("the store never closes its semaphore");
        let idle = self
            .idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop();
        if let Some(mut session) = idle {
            session.take_place(place);
            return Ok(session);
        }
        self.new_session(Some(place)).await
    }

    /// Takes back a session that is in no transaction and set as it was when it was given out.
    pub(crate) fn give_back(&self, mut session: Session) {
        if session.is_usable() {
            session.leave_place();
            let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
            idle.push(session);
        }
    }

    /// The pool that [`give_back`](Self::give_back) fills, for whoever outlives this borrow.
    pub(crate) fn idle_sessions(&self) -> IdleSessions {
        IdleSessions(Arc::clone(&self.idle))
    }

    /// A session that is not among those that may be open.
    pub(crate) async fn new_session(&self, place: Option<OwnedSemaphorePermit>) -> Result<Session> {
        let (session, _) = connect(&self.config, &self.options, place).await?;
        self.note(session.id);
        Ok(session)
    }

    /// The control session: short statements, no transaction that outlives the guard.
    ///
    /// # Errors
    /// When the link was lost and cannot be made again.
    pub(crate) async fn control(&self) -> Result<MutexGuard<'_, Session>> {
        let mut session = self.control.lock().await;
        if !session.is_usable() {
            let new = self.new_session(None).await?;
            self.forget_sessions_before(new.id);
            *session = new;
        }
        Ok(session)
    }

    /// What the server said when the store was opened.
    pub(crate) fn facts(&self) -> &ServerFacts {
        &self.facts
    }

    /// Numbers of the sessions that this store has opened so far.
    pub(crate) fn own_sessions(&self) -> Vec<u64> {
        let own = self.own_sessions.lock();
        own.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A server that was started again counts its sessions from the beginning, so that a session of
    /// somebody else may have the number of a lost one of ours. The control session is asked who
    /// writes, so what was noted before it was connected may belong to another life of the server.
    fn forget_sessions_before(&self, control: u64) {
        let own = self.own_sessions.lock();
        let mut own = own.unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = own.iter().rposition(|id| *id == control) {
            own.drain(..place);
        }
    }

    fn note(&self, id: u64) {
        let own = self.own_sessions.lock();
        own.unwrap_or_else(PoisonError::into_inner).push(id);
    }

    /// Ends the sessions that are not in use.
    pub(crate) async fn close(self) {
        self.writers.close().await;
        let idle = std::mem::take(&mut *self.idle.lock().unwrap_or_else(PoisonError::into_inner));
        for session in idle {
            session.close().await;
        }
        self.control.into_inner().close().await;
    }
}

/// The sessions at rest of one store.
#[derive(Clone)]
pub(crate) struct IdleSessions(Arc<StdMutex<Vec<Session>>>);

impl IdleSessions {
    /// Takes back a session that is in no transaction.
    pub(crate) fn give_back(&self, mut session: Session) {
        if session.is_usable() {
            session.leave_place();
            let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            idle.push(session);
        }
    }
}

async fn connect(
    config: &Config,
    options: &OpenOptions,
    place: Option<OwnedSemaphorePermit>,
) -> Result<(Session, ServerFacts)> {
    config.tls_files.check().await?;
    let work = async {
        let link = link(config)
            .await
            .map_err(|failure| cannot_connect(config, options.role, failure))?;
        let mut session = Session::new(link, config.name.clone(), place);
        let sql = format!("{}; {}", settings::first_statements(options), facts::sql());
        let sets = session.result_sets(&sql).await?;
        let (facts, id) = ServerFacts::read(&sets)?;
        session.id = id;
        Ok((session, facts))
    };
    match tokio::time::timeout(options.connect_timeout, work).await {
        Ok(outcome) => outcome,
        Err(_) => Err(ConnectorError::new(
            ErrorClass::Connection,
            format!(
                "`{}` did not answer within {} s at {}",
                config.name,
                options.connect_timeout.as_secs(),
                config.place()
            ),
        )
        .with_hint("check host, port and firewalls")),
    }
}

/// Makes a link: encrypted as `sslmode` asks, not encrypted where it only prefers that.
async fn link(config: &Config) -> mysql_async::Result<Conn> {
    // What goes through a socket does not leave the machine.
    let is_local = config.socket.is_some() && config.sslmode == tls::SslMode::Prefer;
    let encryption = tls::options(config).filter(|_| !is_local);
    let failure = match Conn::new(driver_options(config, encryption.clone())).await {
        Ok(link) => return Ok(link),
        Err(failure) => failure,
    };
    match (config.sslmode, encryption) {
        (tls::SslMode::Prefer, Some(_)) if tls::is_without_tls(&failure) => {
            Conn::new(driver_options(config, None)).await
        }
        (tls::SslMode::VerifyCa, Some(encryption)) => match tls::name_shown(&failure) {
            // Any name of the same authority will do, so the one that it shows is asked for.
            Some(name) => {
                let encryption = encryption.with_danger_tls_hostname_override(Some(name));
                Conn::new(driver_options(config, Some(encryption))).await
            }
            None => Err(failure),
        },
        _ => Err(failure),
    }
}

fn driver_options(config: &Config, encryption: Option<SslOpts>) -> Opts {
    let password = config.password.as_ref().map(|password| password.expose());
    OptsBuilder::default()
        .ip_or_hostname(config.host.clone())
        .tcp_port(config.port)
        .socket(
            config
                .socket
                .as_ref()
                .map(|path| path.display().to_string()),
        )
        // Otherwise the driver leaves the host it was told for the socket that the server names.
        .prefer_socket(config.socket.is_some())
        .user(Some(config.user.clone()))
        .pass(password.cloned())
        .db_name(Some(config.database.clone()))
        .ssl_opts(encryption)
        .tcp_keepalive(Some(KEEPALIVE))
        .tcp_nodelay(true)
        // Each statement is prepared for one use.
        .stmt_cache_size(0)
        // Known here, so that the driver does not ask.
        .max_allowed_packet(Some(PACKET_BYTES_MAX))
        .wait_timeout(Some(usize::MAX >> 1))
        .conn_ttl(None::<Duration>)
        .into()
}

fn cannot_connect(config: &Config, role: Role, failure: mysql_async::Error) -> ConnectorError {
    if let Some(error) = tls::refused(config, &failure) {
        return error;
    }
    let mut error = error::of(failure);
    if error::number(&error) == Some(NO_RIGHT_TO_DATABASE) {
        let rights = match role {
            Role::Target => RIGHTS_OF_TARGETS,
            Role::Source => "SELECT",
        };
        error.hint = Some(format!(
            "check the name of the database, or let an administrator run: GRANT {rights} ON {}.* \
             TO {}",
            identifier(&config.database),
            account(&config.user)
        ));
    }
    if error::number(&error) == Some(1045) && config.sslmode == tls::SslMode::Disable {
        let hint = error.hint.unwrap_or_default();
        error.hint = Some(format!(
            "{hint}; a user that may log in by encrypted links only needs another `sslmode`"
        ));
    }
    if error.class == ErrorClass::Connection && error.code.is_none() {
        error.message = format!(
            "cannot reach the server of `{}` at {}",
            config.name,
            config.place()
        );
        error.hint = Some("check host, port, `sslmode`, and whether the server runs".to_owned());
    }
    error
}
