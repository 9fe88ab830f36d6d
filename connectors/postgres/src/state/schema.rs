//! The tables of `_syncset`, how they come to be, and how they move to a newer version.
//!
//! Nothing here reads or writes what the tables hold.

use crate::connect::{PgStore, Session};
use crate::sql::quote_ident;
use syncset_connector::{ConnectorError, ErrorClass, Result};

/// Version of the tables below; grows with every entry of [`MIGRATIONS`].
pub(super) const STATE_VERSION: usize = MIGRATIONS.len();

/// Serialises everybody who creates or migrates the tables of one database.
const MIGRATION_LOCK: i64 = 0x7379_6e63_7365_7401;

/// Statements that lead from version `index` to `index + 1`. Entries are never edited once
/// released: databases that have run them will not run them again.
const MIGRATIONS: &[&str] = &[VERSION_1, VERSION_2, VERSION_3, VERSION_4];

/// Positions, keys and reports are `json`, which keeps the text it was given; `jsonb` would
/// reorder keys and refuse some strings. There are no foreign keys between the tables: their
/// checks would lock rows that units must not wait for.
const VERSION_1: &str = "
CREATE TABLE _syncset.pipeline (
    project text NOT NULL,
    pipeline text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (project, pipeline)
);
CREATE TABLE _syncset.fence (
    project text NOT NULL,
    pipeline text NOT NULL,
    epoch bigint NOT NULL,
    PRIMARY KEY (project, pipeline)
) WITH (fillfactor = 50);
CREATE TABLE _syncset.lease (
    project text NOT NULL,
    pipeline text NOT NULL,
    epoch bigint NOT NULL,
    owner text,
    token text NOT NULL DEFAULT '',
    taken_from text,
    expires_at timestamptz NOT NULL DEFAULT 'epoch',
    sessions_tell boolean NOT NULL DEFAULT false,
    PRIMARY KEY (project, pipeline)
) WITH (fillfactor = 50);
CREATE TABLE _syncset.lease_session (
    project text NOT NULL,
    pipeline text NOT NULL,
    pid integer NOT NULL,
    backend_start timestamptz NOT NULL,
    epoch bigint NOT NULL,
    control boolean NOT NULL,
    PRIMARY KEY (project, pipeline, pid, backend_start)
);
CREATE TABLE _syncset.watermark (
    project text NOT NULL,
    pipeline text NOT NULL,
    stream text NOT NULL,
    target_schema text NOT NULL,
    target_table text NOT NULL,
    phase text NOT NULL CHECK (phase IN ('loading', 'following')),
    position json NOT NULL,
    version bigint NOT NULL,
    selection text NOT NULL,
    selection_text json,
    into_empty boolean NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (project, pipeline, stream),
    CONSTRAINT watermark_target UNIQUE (target_schema, target_table)
) WITH (fillfactor = 50);
CREATE TABLE _syncset.made (
    project text NOT NULL,
    pipeline text NOT NULL,
    target_schema text NOT NULL,
    target_table text NOT NULL,
    made json NOT NULL,
    PRIMARY KEY (target_schema, target_table)
);
CREATE TABLE _syncset.chunk (
    project text NOT NULL,
    pipeline text NOT NULL,
    stream text NOT NULL,
    index integer NOT NULL,
    after json,
    up_to json,
    done boolean NOT NULL DEFAULT false,
    row_count bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (project, pipeline, stream, index)
) WITH (fillfactor = 80);
CREATE TABLE _syncset.rejected (
    project text NOT NULL,
    pipeline text NOT NULL,
    stream text NOT NULL,
    key_digest text NOT NULL,
    key json NOT NULL,
    reason text NOT NULL,
    code text,
    row_image json NOT NULL,
    first_rejected_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    rejected_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    attempts bigint NOT NULL DEFAULT 1,
    PRIMARY KEY (project, pipeline, stream, key_digest)
);
CREATE TABLE _syncset.run (
    project text NOT NULL,
    pipeline text NOT NULL,
    run_id text NOT NULL,
    started_at timestamptz NOT NULL,
    finished_at timestamptz,
    exit_code integer,
    report json NOT NULL,
    PRIMARY KEY (project, pipeline, run_id)
);
CREATE INDEX run_started_at ON _syncset.run (project, pipeline, started_at);
CREATE TABLE _syncset.meta (
    singleton boolean PRIMARY KEY DEFAULT true CHECK (singleton),
    version integer NOT NULL
);
INSERT INTO _syncset.meta (version) VALUES (0);
";

/// Keys may be longer than an index entry, so there is no unique index over them.
const VERSION_2: &str = "
CREATE TABLE _syncset.pending_delete (
    project text NOT NULL,
    pipeline text NOT NULL,
    target_schema text NOT NULL,
    target_table text NOT NULL,
    key text[] NOT NULL
);
CREATE INDEX pending_delete_target
    ON _syncset.pending_delete (project, pipeline, target_schema, target_table);
";

/// `reverted_by` is the only column that ever changes.
const VERSION_3: &str = "
CREATE TABLE _syncset.before_image (
    project text NOT NULL,
    pipeline text NOT NULL,
    run_id text NOT NULL,
    place bigint GENERATED ALWAYS AS IDENTITY,
    stream text NOT NULL,
    target_schema text NOT NULL,
    target_table text NOT NULL,
    key json NOT NULL,
    before json,
    after json,
    reverted_by text,
    kept_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (project, pipeline, run_id, place)
);
";

/// Seconds since the epoch by the clock of the runner, which asks what is due.
const VERSION_4: &str = "
CREATE TABLE _syncset.search (
    project text NOT NULL,
    pipeline text NOT NULL,
    stream text NOT NULL,
    searched_at bigint NOT NULL,
    PRIMARY KEY (project, pipeline, stream)
);
";

/// Creates or migrates `_syncset`; one round trip when there is nothing to do.
pub(super) async fn ensure(store: &PgStore) -> Result<()> {
    if store.facts().is_standby {
        return Err(on_standby(store));
    }
    let mut session = store.control().await?;
    match version(&mut session).await {
        Ok(Some(version)) if version == STATE_VERSION => return Ok(()),
        Ok(Some(version)) => check_not_newer(version)?,
        Ok(None) => {}
        Err(error) if is_privilege(&error) => return Err(missing_usage(store, error)),
        Err(error) => return Err(error),
    }
    let migrated = migrate(&mut session).await;
    if migrated.is_err() {
        // The first error is the one to report; a broken session rolls back by itself.
        let _ = session.execute("ROLLBACK").await;
    }
    migrated.map_err(|error| {
        if is_privilege(&error) {
            missing_create(store, error)
        } else {
            error
        }
    })
}

fn on_standby(store: &PgStore) -> ConnectorError {
    ConnectorError::new(
        ErrorClass::Config,
        format!(
            "the target `{}` is a standby, which nobody can write to",
            store.config.name
        ),
    )
    .with_hint("connect to its primary; if it is being promoted, run again when that is done")
}

/// Refuses state that a newer binary wrote.
pub(super) fn check_not_newer(version: usize) -> Result<()> {
    if version <= STATE_VERSION {
        return Ok(());
    }
    Err(ConnectorError::new(
        ErrorClass::StateTooNew,
        format!(
            "the state in schema `_syncset` has version {version}, this syncset knows {STATE_VERSION}"
        ),
    )
    .with_hint("use the newest syncset that ever wrote to this database, or a later one"))
}

/// True if the error says that a table or schema does not exist.
pub(super) fn is_missing(error: &ConnectorError) -> bool {
    matches!(error.code.as_deref(), Some("42P01" | "3F000"))
}

/// True if the error says that a right is missing.
pub(super) fn is_privilege(error: &ConnectorError) -> bool {
    error.code.as_deref() == Some("42501")
}

/// Somebody else made `_syncset` and did not let us use it.
pub(super) fn missing_usage(store: &PgStore, cause: ConnectorError) -> ConnectorError {
    let role = quote_ident(&store.facts().user);
    ConnectorError::new(
        ErrorClass::Privilege,
        format!(
            "role {role} may not use the schema `_syncset` of database {}",
            quote_ident(&store.facts().database)
        ),
    )
    .with_hint(format!(
        "run as its owner: GRANT USAGE ON SCHEMA _syncset TO {role}; \
         GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA _syncset TO {role}"
    ))
    .with_code("42501")
    .caused_by(cause)
}

fn missing_create(store: &PgStore, cause: ConnectorError) -> ConnectorError {
    let role = quote_ident(&store.facts().user);
    let database = quote_ident(&store.facts().database);
    ConnectorError::new(
        ErrorClass::Privilege,
        format!("role {role} may not create the schema `_syncset` in database {database}"),
    )
    .with_hint(format!(
        "run as its owner: GRANT CREATE ON DATABASE {database} TO {role}; \
         or, to give less: CREATE SCHEMA _syncset AUTHORIZATION {role}"
    ))
    .with_code("42501")
    .caused_by(cause)
}

/// The stored version; `None` if the tables are not there.
async fn version(session: &mut Session) -> Result<Option<usize>> {
    match session.rows("SELECT version FROM _syncset.meta").await {
        Ok(rows) => match rows.first().and_then(|row| row.text(0)) {
            Some(text) => text.parse().map(Some).map_err(|_| damaged()),
            None => Err(damaged()),
        },
        Err(error) if is_missing(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// What is said of a state that somebody cut into.
pub(super) fn damaged() -> ConnectorError {
    ConnectorError::new(
        ErrorClass::Store,
        "table `_syncset.meta` does not hold one version number",
    )
    .with_hint(
        "restore the schema `_syncset` from a backup, or drop it: the next runs load every table again",
    )
}

/// Runs every migration that is missing, under a lock that lets one migrate at a time.
async fn migrate(session: &mut Session) -> Result<()> {
    session
        .execute(&format!(
            "BEGIN ISOLATION LEVEL READ COMMITTED; SELECT pg_advisory_xact_lock({MIGRATION_LOCK})"
        ))
        .await?;
    // CREATE SCHEMA IF NOT EXISTS wants the right to create even where nothing is to be created,
    // so a schema that an administrator made for us is looked for first.
    let found = session
        .rows("SELECT to_regnamespace('_syncset')::text, to_regclass('_syncset.meta')::text")
        .await?;
    let has = |column| found.first().is_some_and(|row| row.text(column).is_some());
    if !has(0) {
        session.execute("CREATE SCHEMA _syncset").await?;
    }
    let from = if has(1) {
        version(session).await?.ok_or_else(damaged)?
    } else {
        0
    };
    check_not_newer(from)?;
    for migration in MIGRATIONS.iter().skip(from) {
        session.execute(migration).await?;
    }
    session
        .execute(&format!(
            "UPDATE _syncset.meta SET version = {STATE_VERSION}; COMMIT"
        ))
        .await
        .map(drop)
}
