//! The tables `_syncset_*`, how they come to be, and how they move to a newer version.
//!
//! Each statement of DDL commits by itself here, so every migration can be repeated from its
//! beginning; the version is stored last. Nothing here reads or writes what the tables hold.

use crate::connect::{MysqlStore, Session};
use crate::error;
use crate::sql::identifier;
use crate::type_mapping::collation_of;
use crate::types::Flavour;
use crate::write::rights::grant_all;
use syncset_connector::{ConnectorError, ErrorClass, Result};

/// Version of the tables below; grows with every entry of [`MIGRATIONS`].
pub(super) const STATE_VERSION: usize = MIGRATIONS.len();

/// Statements that lead from version `index` to `index + 1`. Entries are never edited once
/// released: databases that have run them will not run them again. `{as}` stands for what follows
/// the columns of every table.
///
/// Positions, keys and reports are text, which stays as it was given. There are no foreign keys
/// between the tables: their checks would lock rows that units must not wait for.
const MIGRATIONS: &[&[&str]] = &[
    &[
        "CREATE TABLE IF NOT EXISTS _syncset_pipeline (
        project varchar(200) NOT NULL,
        pipeline varchar(200) NOT NULL,
        created_at datetime(6) NOT NULL,
        PRIMARY KEY (project, pipeline)
    ) {as}",
        "CREATE TABLE IF NOT EXISTS _syncset_fence (
        project varchar(200) NOT NULL,
        pipeline varchar(200) NOT NULL,
        epoch bigint unsigned NOT NULL,
        PRIMARY KEY (project, pipeline)
    ) {as}",
        "CREATE TABLE IF NOT EXISTS _syncset_lease (
        project varchar(200) NOT NULL,
        pipeline varchar(200) NOT NULL,
        epoch bigint unsigned NOT NULL,
        owner text,
        token varchar(64) NOT NULL DEFAULT '',
        taken_from text,
        expires_at datetime(6) NOT NULL,
        server varchar(255) NOT NULL DEFAULT '',
        PRIMARY KEY (project, pipeline)
    ) {as}",
        "CREATE TABLE IF NOT EXISTS _syncset_lease_session (
        project varchar(200) NOT NULL,
        pipeline varchar(200) NOT NULL,
        lock_name varchar(64) NOT NULL,
        epoch bigint unsigned NOT NULL,
        control tinyint(1) NOT NULL,
        PRIMARY KEY (project, pipeline, lock_name)
    ) {as}",
        "CREATE TABLE IF NOT EXISTS _syncset_watermark (
        project varchar(200) NOT NULL,
        pipeline varchar(200) NOT NULL,
        stream varchar(200) NOT NULL,
        target_schema varchar(64) NOT NULL,
        target_table varchar(64) NOT NULL,
        phase varchar(16) NOT NULL,
        position longtext NOT NULL,
        version bigint unsigned NOT NULL,
        selection text NOT NULL,
        selection_text longtext,
        into_empty tinyint(1) NOT NULL,
        updated_at datetime(6) NOT NULL,
        PRIMARY KEY (project, pipeline, stream),
        UNIQUE KEY watermark_target (target_schema, target_table)
    ) {as}",
        "CREATE TABLE IF NOT EXISTS _syncset_made (
        project varchar(200) NOT NULL,
        pipeline varchar(200) NOT NULL,
        target_schema varchar(64) NOT NULL,
        target_table varchar(64) NOT NULL,
        made longtext,
        planned longtext,
        planned_mark varchar(64) NOT NULL DEFAULT '',
        PRIMARY KEY (target_schema, target_table)
    ) {as}",
        "CREATE TABLE IF NOT EXISTS _syncset_chunk (
        project varchar(200) NOT NULL,
        pipeline varchar(200) NOT NULL,
        stream varchar(200) NOT NULL,
        number int unsigned NOT NULL,
        after_key longtext,
        up_to_key longtext,
        done tinyint(1) NOT NULL DEFAULT 0,
        row_count bigint unsigned NOT NULL DEFAULT 0,
        PRIMARY KEY (project, pipeline, stream, number)
    ) {as}",
        "CREATE TABLE IF NOT EXISTS _syncset_rejected (
        project varchar(200) NOT NULL,
        pipeline varchar(200) NOT NULL,
        stream varchar(200) NOT NULL,
        key_digest varchar(64) NOT NULL,
        key_values longtext NOT NULL,
        reason text NOT NULL,
        code varchar(64),
        row_image longtext NOT NULL,
        first_rejected_at datetime(6) NOT NULL,
        rejected_at datetime(6) NOT NULL,
        attempts bigint unsigned NOT NULL DEFAULT 1,
        PRIMARY KEY (project, pipeline, stream, key_digest)
    ) {as}",
        "CREATE TABLE IF NOT EXISTS _syncset_run (
        project varchar(200) NOT NULL,
        pipeline varchar(200) NOT NULL,
        run_id varchar(64) NOT NULL,
        started_at datetime NOT NULL,
        finished_at datetime,
        exit_code int,
        report longtext NOT NULL,
        PRIMARY KEY (project, pipeline, run_id),
        KEY run_started_at (project, pipeline, started_at)
    ) {as}",
        "CREATE TABLE IF NOT EXISTS _syncset_pending_delete (
        id bigint unsigned NOT NULL AUTO_INCREMENT,
        project varchar(200) NOT NULL,
        pipeline varchar(200) NOT NULL,
        target_schema varchar(64) NOT NULL,
        target_table varchar(64) NOT NULL,
        key_values longtext NOT NULL,
        key_hash binary(32) NOT NULL,
        PRIMARY KEY (id),
        UNIQUE KEY pending_delete_key (project, pipeline, target_schema, target_table, key_hash)
    ) {as}",
        "CREATE TABLE IF NOT EXISTS _syncset_meta (
        singleton tinyint(1) NOT NULL,
        version int unsigned NOT NULL,
        PRIMARY KEY (singleton)
    ) {as}",
    ],
    &[
        // `reverted_by` is the only column that ever changes.
        "CREATE TABLE IF NOT EXISTS _syncset_before_image (
        place bigint unsigned NOT NULL AUTO_INCREMENT,
        project varchar(200) NOT NULL,
        pipeline varchar(200) NOT NULL,
        run_id varchar(64) NOT NULL,
        stream varchar(200) NOT NULL,
        target_schema varchar(64) NOT NULL,
        target_table varchar(64) NOT NULL,
        key_values longtext NOT NULL,
        before_row longtext,
        after_row longtext,
        reverted_by varchar(64),
        kept_at datetime(6) NOT NULL,
        PRIMARY KEY (place),
        KEY before_image_run (project, pipeline, run_id, place)
    ) {as}",
    ],
    &[
        // Seconds since the epoch by the clock of the runner, which asks what is due.
        "CREATE TABLE IF NOT EXISTS _syncset_search (
        project varchar(200) NOT NULL,
        pipeline varchar(200) NOT NULL,
        stream varchar(200) NOT NULL,
        searched_at bigint NOT NULL,
        PRIMARY KEY (project, pipeline, stream)
    ) {as}",
    ],
];

/// Longest wait for somebody else who migrates, in seconds.
const MIGRATION_WAIT_S: u32 = 30;

/// Creates or migrates the tables; one round trip when there is nothing to do.
pub(super) async fn ensure(store: &MysqlStore) -> Result<()> {
    let mut session = store.control().await?;
    match version(&mut session).await {
        Ok(Some(version)) if version == STATE_VERSION => {
            return check_server(store);
        }
        Ok(Some(version)) => check_not_newer(version)?,
        Ok(None) => {}
        Err(error) if error.class == ErrorClass::Privilege => {
            return Err(missing_rights(store, error));
        }
        Err(error) => return Err(error),
    }
    check_server(store)?;
    let flavour = store.facts().flavour;
    migrate(&mut session, flavour).await.map_err(|error| {
        if error.class == ErrorClass::Privilege {
            missing_rights(store, error)
        } else {
            error
        }
    })
}

/// Refuses state that a newer binary wrote.
pub(super) fn check_not_newer(version: usize) -> Result<()> {
    if version <= STATE_VERSION {
        return Ok(());
    }
    Err(ConnectorError::new(
        ErrorClass::StateTooNew,
        format!(
            "the state in the tables `_syncset_*` has version {version}, this syncset knows \
             {STATE_VERSION}"
        ),
    )
    .with_hint("use the newest syncset that ever wrote to this database, or a later one"))
}

/// True if the error says that a table does not exist.
pub(super) fn is_missing(error: &ConnectorError) -> bool {
    error::number(error) == Some(1146)
}

/// This user may not do something to the tables of the state.
pub(super) fn missing_rights(store: &MysqlStore, cause: ConnectorError) -> ConnectorError {
    let database = identifier(&store.config.database);
    ConnectorError::new(
        ErrorClass::Privilege,
        format!("this user may not keep the tables `_syncset_*` in the database {database}"),
    )
    .with_hint(grant_all(store.facts()))
    .caused_by(cause)
}

/// The stored version; `None` if the tables are not there.
async fn version(session: &mut Session) -> Result<Option<usize>> {
    let rows = match session.rows("SELECT version FROM _syncset_meta").await {
        Ok(rows) => rows,
        Err(error) if is_missing(&error) => return Ok(None),
        Err(error) => return Err(error),
    };
    match rows.first() {
        Some(row) => row.parse(0).map(Some),
        None => Ok(None),
    }
}

/// Runs every migration that is missing, under a lock that lets one migrate at a time.
async fn migrate(session: &mut Session, flavour: Flavour) -> Result<()> {
    let lock = "CONCAT('syncset:migrate:', LEFT(SHA2(DATABASE(), 256), 32))";
    let locked = session
        .rows(&format!("SELECT GET_LOCK({lock}, {MIGRATION_WAIT_S})"))
        .await?;
    if locked.first().and_then(|row| row.text(0)) != Some("1") {
        return Err(ConnectorError::new(
            ErrorClass::Transient,
            "another run creates the tables `_syncset_*` for a long time",
        )
        .with_hint("run again when it is done"));
    }
    let migrated = run_missing(session, flavour).await;
    let released = session.execute(&format!("DO RELEASE_LOCK({lock})")).await;
    migrated?;
    released.map(drop)
}

async fn run_missing(session: &mut Session, flavour: Flavour) -> Result<()> {
    let from = version(session).await?.unwrap_or(0);
    check_not_newer(from)?;
    let collation = collation_of(flavour);
    let suffix = format!("ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE {collation}");
    for migration in MIGRATIONS.iter().skip(from) {
        for statement in *migration {
            session.execute(&statement.replace("{as}", &suffix)).await?;
        }
    }
    session
        .execute(&format!(
            "START TRANSACTION;\n\
             INSERT INTO _syncset_meta (singleton, version) VALUES (1, {STATE_VERSION}) \
             ON DUPLICATE KEY UPDATE version = {STATE_VERSION};\nCOMMIT"
        ))
        .await
        .map(drop)
}

/// Refuses a server whose settings would let rows and state come apart.
fn check_server(store: &MysqlStore) -> Result<()> {
    let facts = store.facts();
    if facts.refused_log().is_some() {
        return Err(ConnectorError::new(
            ErrorClass::Config,
            format!(
                "the server of `{}` logs statements, not rows, and refuses what a unit of work \
                 writes at READ COMMITTED",
                store.config.name
            ),
        )
        .with_hint("SET GLOBAL binlog_format = 'ROW' at the server, then run again"));
    }
    Ok(())
}
