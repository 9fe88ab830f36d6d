//! The writing side of a MySQL or MariaDB database.

use crate::alter;
use crate::connect::{MysqlStore, Session};
use crate::ddl;
use crate::sql::table as table_name;
use crate::state;
use crate::write::catalog::{self, Shape};
use crate::write::{MysqlUnit, analyze, key_digest, status};
use async_trait::async_trait;
use std::sync::Arc;
use syncset_connector::{
    AlterationPlan, ConnectorError, Difference, ErrorClass, KeyDigest, Lease, MadeTable, Result,
    TableAlteration, TableName, Target, TargetColumn, TargetStatus, TargetTable, TypeMapping, UnitStart,
    UnitWriter,
};

#[async_trait]
impl Target for MysqlStore {
    fn map_type(&self, column: &TargetColumn) -> TypeMapping {
        ddl::map_type(column, self.facts().flavour)
    }

    async fn status(&self, tables: &[TargetTable]) -> Result<Vec<TargetStatus>> {
        let names: Vec<_> = tables.iter().map(|table| &table.name).collect();
        let mut session = self.control().await?;
        let shapes = catalog::shapes(&mut session, self.facts(), &names).await?;
        let shapes: Vec<Option<Arc<Shape>>> = shapes
            .into_iter()
            .map(|shape| shape.map(Arc::new))
            .collect();
        let empty = which_are_empty(&mut session, tables, &shapes).await?;
        drop(session);
        let flavour = self.facts().flavour;
        let mut statuses = Vec::with_capacity(tables.len());
        for ((table, shape), empty) in tables.iter().zip(&shapes).zip(empty) {
            let Some(shape) = shape else {
                statuses.push(missing(table, ddl::create_table(table, flavour, "")));
                continue;
            };
            self.writers.remember(&table.name, shape);
            let columns = shape.columns.iter().map(|column| column.name.clone());
            statuses.push(TargetStatus {
                exists: true,
                empty,
                columns: columns.collect(),
                differences: status::differences(table, shape, flavour),
                create: Vec::new(),
                notes: status::notes(table, shape, &names),
                parents: status::parents(shape),
                cascades: status::cascades(shape),
            });
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

    async fn alter(&self, lease: &Lease, alteration: &TableAlteration) -> Result<()> {
        let _alone = self.writers.ddl.lock().await;
        let mut session = self.writers.session(self, lease).await?;
        let altered = alter::alter(self, &mut session, lease, alteration).await;
        self.writers.give_back(session, lease);
        self.writers.forget_shapes();
        altered
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

    async fn key_digest(&self, table: &TargetTable) -> Result<KeyDigest> {
        let mut session = self.session().await?;
        let shape = self
            .writers
            .shape(&mut session, self.facts(), &table.name)
            .await?;
        let digest = key_digest(&mut session, table, &shape).await?;
        self.give_back(session);
        Ok(digest)
    }

    async fn analyze(&self, tables: &[&TableName]) -> Result<()> {
        let mut session = self.session().await?;
        let analyzed = analyze::analyze(&mut session, self.facts(), tables).await;
        self.give_back(session);
        analyzed
    }
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
        differences,
        create,
        notes: Vec::new(),
        parents: Vec::new(),
        cascades: Vec::new(),
    }
}

/// Asks which tables hold no row. One round trip, none if there is nothing to ask.
async fn which_are_empty(
    session: &mut Session,
    tables: &[TargetTable],
    shapes: &[Option<Arc<Shape>>],
) -> Result<Vec<bool>> {
    let mut empty = vec![true; tables.len()];
    let there = || (0..tables.len()).filter(|place| shapes[*place].is_some());
    let questions: Vec<_> = there()
        .map(|place| {
            let name = table_name(&tables[place].name);
            format!("SELECT NOT EXISTS (SELECT 1 FROM {name})")
        })
        .collect();
    if questions.is_empty() {
        return Ok(empty);
    }
    let answers = session.result_sets(&questions.join(";\n")).await;
    let answers = answers.map_err(|error| match error.class {
        ErrorClass::Privilege => error
            .with_hint("grant this user SELECT, INSERT, UPDATE and DELETE on the tables it writes"),
        _ => error,
    })?;
    for (place, rows) in there().zip(answers) {
        empty[place] = rows.first().is_some_and(|row| row.is_true(0));
    }
    Ok(empty)
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
    let created = session.execute_each(&ddl.join(";\n")).await;
    if let Err(error) = created {
        // The first error is the one to report; a broken session rolls back by itself.
        let _ = session.execute("ROLLBACK").await;
        return Err(not_created(store, error));
    }
    state::under_fences(session, &[lease], &done)
        .await
        .map(drop)
}

fn not_created(store: &MysqlStore, error: ConnectorError) -> ConnectorError {
    if error.class != ErrorClass::Privilege {
        return error;
    }
    let database = crate::sql::identifier(&store.config.database);
    ConnectorError::new(
        ErrorClass::Privilege,
        format!("this user may not create tables in the database {database}"),
    )
    .with_hint(format!(
        "GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER, CREATE TEMPORARY TABLES \
         ON {database}.* TO this user, or create the tables yourself"
    ))
    .caused_by(error)
}
