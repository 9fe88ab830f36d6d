//! The writing side of a MySQL or MariaDB database.

use crate::alter;
use crate::comments;
use crate::connect::{MysqlStore, Session};
use crate::ddl;
use crate::error;
use crate::facts;
use crate::indexes;
use crate::sql::table as table_name;
use crate::state;
use crate::type_mapping;
use crate::write::catalog::{self, Shape};
use crate::write::{MysqlUnit, analyze, holds, rights, row_count, status};
use async_trait::async_trait;
use std::sync::Arc;
use syncset_connector::{
    AlterationPlan, Comments, ConnectorError, Difference, Digest, ErrorClass, KeyDigest, Lease,
    MadeTable, Result, ShownWrite, TableAlteration, TableFacts, TableName, Target, TargetColumn,
    TargetIndex, TargetStatus, TargetTable, TypeMapping, UnitStart, UnitWriter, fail_point,
};

#[async_trait]
impl Target for MysqlStore {
    fn map_type(&self, column: &TargetColumn) -> TypeMapping {
        type_mapping::map_type(column, self.facts().flavour)
    }

    async fn status(&self, tables: &[TargetTable]) -> Result<Vec<TargetStatus>> {
        let names: Vec<_> = tables.iter().map(|table| &table.name).collect();
        let mut session = self.control().await?;
        let shapes = catalog::shapes(&mut session, self.facts(), &names).await?;
        let shapes: Vec<Option<Arc<Shape>>> = shapes
            .into_iter()
            .map(|shape| shape.map(Arc::new))
            .collect();
        let looked = look_into(&mut session, tables, &shapes).await?;
        drop(session);
        let flavour = self.facts().flavour;
        let mut statuses = Vec::with_capacity(tables.len());
        for ((table, shape), looked) in tables.iter().zip(&shapes).zip(looked) {
            let Some(shape) = shape else {
                let mut status = missing(table, ddl::create_table(table, flavour, ""));
                status.holds = holds::of_table(table, None, self.facts());
                statuses.push(status);
                continue;
            };
            self.writers.remember(&table.name, shape);
            let columns = shape.columns.iter().map(|column| column.name.clone());
            let lacking = rights::lacking(table, shape, looked.may_delete);
            let mut differences = rights::differences(&lacking, table, self.facts());
            if looked.read_only {
                differences.insert(0, Difference::of_table(READ_ONLY));
            }
            differences.extend(status::differences(table, shape, flavour));
            statuses.push(TargetStatus {
                exists: true,
                empty: looked.empty,
                columns: columns.collect(),
                holds: holds::of_table(table, Some(shape.as_ref()), self.facts()),
                differences,
                create: Vec::new(),
                notes: status::notes(table, shape, &names),
                parents: status::parents(shape),
                cascades: status::cascades(shape),
            });
        }
        if let Some(note) = self.facts().refused_log() {
            for status in &mut statuses {
                status.notes.push(note.to_owned());
            }
        }
        Ok(statuses)
    }

    async fn create(&self, lease: &Lease, tables: &[(&TargetTable, MadeTable)]) -> Result<()> {
        let _alone = self.writers.ddl.lock().await;
        let mut session = self.writers.session(self, lease).await?;
        let created = create_missing(self, &mut session, lease, tables).await;
        self.writers.give_back(session, lease);
        self.writers.forget_shapes();
        created
    }

    async fn plan_alteration(&self, alteration: &TableAlteration) -> Result<AlterationPlan> {
        alter::plan(self, alteration).await
    }

    async fn table_facts(&self, table: &TableName) -> Result<Option<TableFacts>> {
        facts::table_facts(self, table).await
    }

    async fn alter(&self, lease: &Lease, alteration: &TableAlteration) -> Result<()> {
        let _alone = self.writers.ddl.lock().await;
        let mut session = self.writers.session(self, lease).await?;
        let altered = alter::alter(self, &mut session, lease, alteration).await;
        self.writers.give_back(session, lease);
        self.writers.forget_shapes();
        altered
    }

    fn refuses_index(&self, table: &TargetTable, columns: &[String]) -> Option<String> {
        indexes::refusal(table, columns, self.facts().flavour)
    }

    fn refuses_foreign_key(
        &self,
        child: (&TargetTable, &[String]),
        parent: (&TargetTable, &[String]),
    ) -> Option<String> {
        indexes::foreign_key_refusal(child, parent, self.facts().flavour)
    }

    fn spell_index(&self, table: &TableName, index: &TargetIndex) -> Vec<String> {
        let name = index.names.first().map_or("", String::as_str);
        vec![indexes::statement(table, index, name)]
    }

    async fn build_index(
        &self,
        lease: &Lease,
        table: &TableName,
        index: &TargetIndex,
        made: &MadeTable,
    ) -> Result<MadeTable> {
        let _alone = self.writers.ddl.lock().await;
        let mut session = self.writers.session(self, lease).await?;
        let step = indexes::step(self, &mut session, lease, (table, index), made).await;
        self.writers.give_back(session, lease);
        self.writers.forget_shapes();
        step
    }

    fn keeps_comments(&self) -> bool {
        true
    }

    async fn comment(
        &self,
        lease: &Lease,
        table: &TableName,
        comments: &Comments,
        made: &MadeTable,
    ) -> Result<MadeTable> {
        let _alone = self.writers.ddl.lock().await;
        let mut session = self.writers.session(self, lease).await?;
        let set = comments::set(self, &mut session, lease, (table, comments), made).await;
        self.writers.give_back(session, lease);
        self.writers.forget_shapes();
        set
    }

    fn spell_settings(&self) -> &'static [&'static str] {
        &["SET time_zone = '+00:00';"]
    }

    fn spell(&self, table: &TableName, write: &ShownWrite) -> String {
        crate::write::spell(table, write)
    }

    async fn begin(&self, start: UnitStart) -> Result<Box<dyn UnitWriter>> {
        Ok(Box::new(MysqlUnit::begin(self, start).await?))
    }

    async fn was_committed(&self, start: &UnitStart) -> Result<bool> {
        let mut session = self.writers.session(self, &start.lease).await?;
        let committed = state::was_committed(&mut session, start).await;
        if committed.is_ok() {
            self.writers.give_back(session, &start.lease);
        }
        committed
    }

    async fn key_digest(&self, table: &TargetTable, _: Digest) -> Result<KeyDigest> {
        let mut session = self.session().await?;
        let counted = row_count(&mut session, table).await?;
        self.give_back(session);
        Ok(counted)
    }

    async fn analyze(&self, tables: &[&TableName]) -> Result<()> {
        let mut session = self.session().await?;
        let analyzed = analyze::analyze(&mut session, self.facts(), tables).await;
        self.give_back(session);
        analyzed
    }
}

/// What this user lacks to write these tables; nothing of those that are not there.
pub(crate) async fn lacking_rights(
    store: &MysqlStore,
    tables: &[TargetTable],
) -> Result<Vec<rights::Lacking>> {
    let names: Vec<_> = tables.iter().map(|table| &table.name).collect();
    let mut session = store.control().await?;
    let shapes = catalog::shapes(&mut session, store.facts(), &names).await?;
    let shapes: Vec<_> = shapes.into_iter().map(|it| it.map(Arc::new)).collect();
    let looked = look_into(&mut session, tables, &shapes).await?;
    let tables = tables.iter().zip(&shapes).zip(looked);
    let lacking = tables.map(|((table, shape), looked)| match shape {
        Some(shape) => rights::lacking(table, shape, looked.may_delete),
        None => rights::Lacking::default(),
    });
    Ok(lacking.collect())
}

fn missing(table: &TargetTable, create: Result<String>) -> TargetStatus {
    let (create, differences) = match create {
        Ok(create) => (vec![create], Vec::new()),
        Err(error) => {
            let hint = error.hint.unwrap_or_default();
            let sentence = format!(
                "`{}` cannot be created: {}; {hint}",
                table.name, error.message
            );
            (Vec::new(), vec![Difference::of_table(sentence)])
        }
    };
    TargetStatus {
        exists: false,
        empty: true,
        columns: Vec::new(),
        holds: Vec::new(),
        differences,
        create,
        notes: Vec::new(),
        parents: Vec::new(),
        cascades: Vec::new(),
    }
}

/// Said of every table of a server that takes no changes.
const READ_ONLY: &str = "the server is read-only, as replicas are; connect to its primary";

/// What a table that is there says of itself beside its shape.
#[derive(Debug, Clone, Copy)]
struct Looked {
    /// No row is seen.
    empty: bool,
    /// Rows may be deleted, as far as that can be told.
    may_delete: bool,
    /// The server refuses every change.
    read_only: bool,
}

impl Looked {
    /// What is said of a table that is not there.
    const ABSENT: Self = Self {
        empty: true,
        may_delete: true,
        read_only: false,
    };
}

/// Looks into the tables that are there. One round trip, none if there is nothing to ask; more
/// only where something is missing.
async fn look_into(
    session: &mut Session,
    tables: &[TargetTable],
    shapes: &[Option<Arc<Shape>>],
) -> Result<Vec<Looked>> {
    let mut looked = vec![Looked::ABSENT; tables.len()];
    let there = || (0..tables.len()).filter(|place| shapes[*place].is_some());
    let questions: Vec<_> = there()
        .map(|place| {
            let name = table_name(&tables[place].name);
            [is_empty_sql(&name), may_delete_sql(&name)].join(";\n")
        })
        .collect();
    if questions.is_empty() {
        return Ok(looked);
    }
    let Ok(answers) = session.result_sets(&questions.join(";\n")).await else {
        for place in there() {
            looked[place] = look_into_one(session, &table_name(&tables[place].name)).await?;
        }
        return Ok(looked);
    };
    for (place, sets) in there().zip(answers.chunks(2)) {
        let is_empty = sets.first().and_then(|rows| rows.first());
        looked[place].empty = is_empty.is_some_and(|row| row.is_true(0));
    }
    Ok(looked)
}

fn is_empty_sql(name: &str) -> String {
    format!("SELECT NOT EXISTS (SELECT 1 FROM {name})")
}

/// A plan is refused for the same reasons as the statement itself.
fn may_delete_sql(name: &str) -> String {
    format!("EXPLAIN DELETE FROM {name} WHERE FALSE")
}

async fn look_into_one(session: &mut Session, name: &str) -> Result<Looked> {
    let mut looked = Looked::ABSENT;
    match session.rows(&is_empty_sql(name)).await {
        Ok(rows) => looked.empty = rows.first().is_some_and(|row| row.is_true(0)),
        // The missing right is told, and stops the run.
        Err(error) if error.class == ErrorClass::Privilege => {}
        Err(error) => return Err(error),
    }
    match session.rows(&may_delete_sql(name)).await {
        Ok(_) => {}
        Err(error) if error.class == ErrorClass::Privilege => looked.may_delete = false,
        Err(error) if error::number(&error) == Some(1290) => looked.read_only = true,
        Err(error) if error.class == ErrorClass::Connection => return Err(error),
        // It is no table, or is locked: that says nothing of rights.
        Err(_) => {}
    }
    Ok(looked)
}

/// Creates the tables that are missing, and stores what is made of them. Each statement of DDL
/// commits by itself; see [`state::plan_statement`] for what a crash in between leaves.
async fn create_missing(
    store: &MysqlStore,
    session: &mut Session,
    lease: &Lease,
    tables: &[(&TargetTable, MadeTable)],
) -> Result<()> {
    let names: Vec<_> = tables.iter().map(|(table, _)| &table.name).collect();
    let shapes = catalog::shapes(session, store.facts(), &names).await?;
    // A read opens a transaction here.
    session.execute("ROLLBACK").await?;
    let (mut planned, mut ddl, mut done) = (String::new(), Vec::new(), String::new());
    for ((table, made), shape) in tables.iter().zip(&shapes) {
        if shape.is_some() {
            continue;
        }
        let mark = uuid::Uuid::new_v4().simple().to_string();
        let comment = state::marked_comment("", &mark).unwrap_or_default();
        let made = MadeTable {
            target: table.name.clone(),
            ..made.clone()
        };
        planned.push_str(&state::plan_statement(&lease.key, &made, &mark));
        ddl.push(ddl::create_table(table, store.facts().flavour, &comment)?);
        done.push_str(&state::done_statement(&made, &mark));
    }
    if ddl.is_empty() {
        return Ok(());
    }
    state::under_fences(session, &[lease], &planned).await?;
    fail_point("create.planned");
    let created = session.execute_each(&ddl.join(";\n")).await;
    if let Err(error) = created {
        // The first error is the one to report; a broken session rolls back by itself.
        let _ = session.execute("ROLLBACK").await;
        return Err(not_created(store, error));
    }
    fail_point("create.executed");
    state::under_fences(session, &[lease], &done)
        .await
        .map(drop)
}

fn not_created(store: &MysqlStore, error: ConnectorError) -> ConnectorError {
    if error.class != ErrorClass::Privilege {
        return error;
    }
    let database = crate::sql::identifier(&store.config.database);
    let grant = rights::grant_all(store.facts());
    ConnectorError::new(
        ErrorClass::Privilege,
        format!("this user may not create tables in the database {database}"),
    )
    .with_hint(format!("{grant}; or create the tables yourself"))
    .caused_by(error)
}
