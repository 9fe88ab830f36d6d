//! The writing side of a PostgreSQL database.

use crate::alter;
use crate::comments;
use crate::connect::{PgStore, Session};
use crate::connector::POOLER_NOTE;
use crate::ddl::{self, Need};
use crate::digest;
use crate::facts::facts_in;
use crate::indexes;
use crate::write::catalog::{self, Shape, target_name};
use crate::write::{PgUnit, analyze, holds, key_digest, status};
use crate::{error, state};
use async_trait::async_trait;
use std::sync::Arc;
use syncset_connector::{
    AlterationPlan, Comments, ConnectorError, Difference, Digest, ErrorClass, KeyDigest, Lease,
    MadeTable, Result, ShownWrite, TableAlteration, TableFacts, TableName, Target, TargetColumn,
    TargetIndex, TargetStatus, TargetTable, TypeMapping, UnitStart, UnitWriter,
};

/// Lock that keeps two of us from creating the same schema or type at once.
const CREATE_LOCK: i64 = 0x5379_6e63_7365_7401;

#[async_trait]
impl Target for PgStore {
    fn map_type(&self, column: &TargetColumn) -> TypeMapping {
        ddl::map_type(column)
    }

    async fn status(&self, tables: &[TargetTable]) -> Result<Vec<TargetStatus>> {
        let names: Vec<_> = tables.iter().map(|table| &table.name).collect();
        let mut session = self.control().await?;
        let shapes: Vec<Option<Arc<Shape>>> = catalog::shapes(&mut session, &names)
            .await?
            .into_iter()
            .map(|shape| shape.map(Arc::new))
            .collect();
        let answers = ask(&mut session, tables, &shapes).await?;
        drop(session);
        for (table, shape) in tables.iter().zip(&shapes) {
            if let Some(shape) = shape {
                self.writers.remember(&table.name, shape);
            }
        }
        let statuses = tables
            .iter()
            .zip(&shapes)
            .zip(answers)
            .map(|((table, shape), answer)| match shape {
                Some(shape) => TargetStatus {
                    exists: true,
                    empty: answer.empty,
                    columns: shape
                        .columns
                        .iter()
                        .map(|column| column.name.clone())
                        .collect(),
                    holds: holds::of_table(table, Some(shape.as_ref())),
                    differences: status::differences(table, shape, &self.facts().user),
                    create: Vec::new(),
                    notes: status::notes(table, shape, &names),
                    parents: status::parents(shape),
                    cascades: status::cascades(shape),
                },
                None => TargetStatus {
                    exists: false,
                    empty: true,
                    columns: Vec::new(),
                    holds: holds::of_table(table, None),
                    differences: answer
                        .missing
                        .into_iter()
                        .map(Difference::of_table)
                        .chain(status::long_names(table))
                        .collect(),
                    create: answer.create,
                    notes: Vec::new(),
                    parents: Vec::new(),
                    cascades: Vec::new(),
                },
            });
        let mut statuses: Vec<_> = statuses.collect();
        if let Some(first) = statuses.first_mut().filter(|_| self.likely_pooler()) {
            first.notes.push(format!("target: {POOLER_NOTE}"));
        }
        Ok(statuses)
    }

    async fn create(&self, lease: &Lease, tables: &[(&TargetTable, MadeTable)]) -> Result<()> {
        let mut needs: Vec<Need> = Vec::new();
        for (table, _) in tables {
            // Tables share schemas and types.
            let new = ddl::needs(table)?.into_iter();
            needs.extend(new.filter(|need| !needs.contains(need)).collect::<Vec<_>>());
        }
        let mut session = self.writers.session(self, lease).await?;
        let created = create_missing(&mut session, lease, &needs, tables).await;
        if created.is_ok() || session.execute("ROLLBACK").await.is_ok() {
            self.writers.give_back(session, lease);
        }
        self.writers.forget_shapes();
        created
    }

    async fn plan_alteration(&self, alteration: &TableAlteration) -> Result<AlterationPlan> {
        let mut session = self.control().await?;
        alter::plan(&mut session, alteration, &self.facts().user).await
    }

    async fn table_facts(&self, table: &TableName) -> Result<Option<TableFacts>> {
        let mut session = self.control().await?;
        facts_in(&mut session, self.facts(), table).await
    }

    async fn alter(&self, lease: &Lease, alteration: &TableAlteration) -> Result<()> {
        let mut session = self.writers.session(self, lease).await?;
        let altered = alter::alter(&mut session, lease, alteration, self.facts()).await;
        if session.is_usable() {
            self.writers.give_back(session, lease);
        }
        self.writers.forget_shapes();
        altered
    }

    fn defers_keys(&self) -> bool {
        true
    }

    fn refuses_foreign_key(
        &self,
        child: (&TargetTable, &[String]),
        parent: (&TargetTable, &[String]),
    ) -> Option<String> {
        indexes::foreign_key::refusal(child, parent)
    }

    fn spell_index(&self, table: &TableName, index: &TargetIndex) -> Vec<String> {
        let name = index.names.first().map_or("", String::as_str);
        indexes::statements(table, index, name, self.facts().version_num)
    }

    async fn build_index(
        &self,
        lease: &Lease,
        table: &TableName,
        index: &TargetIndex,
        made: &MadeTable,
    ) -> Result<MadeTable> {
        let mut session = self.writers.session(self, lease).await?;
        let version_num = self.facts().version_num;
        let built = indexes::build(&mut session, lease, (table, index), made, version_num).await;
        if session.is_usable() {
            self.writers.give_back(session, lease);
        }
        self.writers.forget_shapes();
        built
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
        let mut session = self.writers.session(self, lease).await?;
        let set = comments::set(&mut session, lease, (table, comments), made).await;
        if session.is_usable() {
            self.writers.give_back(session, lease);
        }
        set
    }

    fn spell(&self, table: &TableName, write: &ShownWrite) -> String {
        crate::write::spell(table, write)
    }

    async fn begin(&self, start: UnitStart) -> Result<Box<dyn UnitWriter>> {
        Ok(Box::new(PgUnit::begin(self, &self.writers, start).await?))
    }

    async fn was_committed(&self, start: &UnitStart) -> Result<bool> {
        let mut session = self.writers.session(self, &start.lease).await?;
        let committed = state::was_committed(&mut session, start).await;
        if committed.is_ok() {
            self.writers.give_back(session, &start.lease);
        }
        committed
    }

    async fn key_digest(&self, table: &TargetTable, digest: Digest) -> Result<KeyDigest> {
        let mut session = self.readers.session(self).await?;
        let shape = self.writers.shape(&mut session, &table.name).await?;
        let digest = key_digest(&mut session, (table, &shape), digest).await?;
        self.readers.give_back(session);
        Ok(digest)
    }

    fn key_hash(&self) -> Option<&'static str> {
        Some(digest::NAME)
    }

    async fn analyze(&self, tables: &[&TableName]) -> Result<()> {
        let mut session = self.readers.session(self).await?;
        let analyzed = analyze::analyze(&mut session, tables).await;
        self.readers.give_back(session);
        analyzed
    }
}

/// What only a second question can tell.
#[derive(Default)]
struct Answer {
    empty: bool,
    missing: Vec<String>,
    create: Vec<String>,
}

/// What a question is about.
enum Asked {
    Emptiness,
    Need(Need),
}

/// Asks which tables hold no row, and what is missing for those that do not exist. One round trip,
/// none if there is nothing to ask.
async fn ask(
    session: &mut Session,
    tables: &[TargetTable],
    shapes: &[Option<Arc<Shape>>],
) -> Result<Vec<Answer>> {
    let mut answers: Vec<Answer> = tables.iter().map(|_| Answer::default()).collect();
    let mut questions = Vec::new();
    let mut asked = Vec::new();
    for (index, (table, shape)) in tables.iter().zip(shapes).enumerate() {
        match shape {
            Some(shape) if shape.missing_rights.iter().any(|right| right == "SELECT") => {}
            Some(_) => {
                let name = target_name(&table.name);
                questions.push(format!("NOT EXISTS (SELECT FROM {name})"));
                asked.push((index, Asked::Emptiness));
            }
            None => {
                for need in ddl::needs(table)? {
                    questions.push(format!("NOT ({})", need.exists));
                    asked.push((index, Asked::Need(need)));
                }
            }
        }
    }
    if questions.is_empty() {
        return Ok(answers);
    }
    let sql = format!(
        "SET LOCAL search_path = pg_catalog;\n{}",
        numbered(&questions)
    );
    for row in session.rows(&sql).await? {
        let (index, asked) = asked
            .get(row.parse::<usize>(0)?)
            .ok_or_else(|| error::unexpected("the server answered what was not asked"))?;
        let (answer, is_true) = (&mut answers[*index], row.is_true(1));
        match asked {
            Asked::Emptiness => answer.empty = is_true,
            Asked::Need(need) if is_true => match &need.create {
                Some(create) => answer.create.push(create.clone()),
                None => answer.missing.push(missing(need)),
            },
            Asked::Need(_) => {}
        }
    }
    Ok(answers)
}

fn missing(need: &Need) -> String {
    format!("the target has no {}; {}", need.what, need.advice)
}

/// Asks any number of yes-or-no questions: number and answer, in order.
fn numbered(questions: &[String]) -> String {
    let parts = questions.iter().enumerate();
    let parts: Vec<_> = parts
        .map(|(number, question)| format!("({number}, {question})"))
        .collect();
    format!("SELECT * FROM (VALUES\n{}) q ORDER BY 1", parts.join(",\n"))
}

/// Creates what is missing of `needs`, and stores what is made of tables that were. With more than
/// one table a refusal does not say which of them it is about.
async fn create_missing(
    session: &mut Session,
    lease: &Lease,
    needs: &[Need],
    tables: &[(&TargetTable, MadeTable)],
) -> Result<()> {
    let questions: Vec<_> = needs.iter().map(|need| need.exists.clone()).collect();
    let sql = format!(
        "BEGIN ISOLATION LEVEL READ COMMITTED;\nSET LOCAL search_path = pg_catalog;\n{};\n\
         SELECT pg_advisory_xact_lock({CREATE_LOCK});\n{}",
        state::lock_fence(lease),
        numbered(&questions)
    );
    let sets = session.result_sets(&sql).await?;
    if sets.get(2).is_none_or(Vec::is_empty) {
        return Err(state::fenced(lease));
    }
    let exist = sets
        .last()
        .filter(|rows| rows.len() == needs.len())
        .ok_or_else(|| error::unexpected("the server did not say what exists"))?;
    let mut statements = Vec::new();
    let mut missing = Vec::new();
    for (need, exists) in needs.iter().zip(exist) {
        if exists.is_true(1) {
            continue;
        }
        missing.push(need.what.as_str());
        let Some(create) = &need.create else {
            return Err(ConnectorError::new(
                ErrorClass::TargetDiffers,
                format!("the target has no {}", need.what),
            )
            .with_hint(need.advice.clone()));
        };
        if tables.len() > 1 {
            statements.push(create.as_str());
            continue;
        }
        session
            .execute(create)
            .await
            .map_err(|failure| match failure.class {
                ErrorClass::Privilege => ConnectorError {
                    message: format!("this user may not create {}", need.what),
                    hint: Some(need.advice.clone()),
                    ..failure
                },
                _ => failure,
            })?;
    }
    let of_made: Vec<String> = tables
        .iter()
        .filter(|(table, _)| missing.contains(&ddl::what_of(table).as_str()))
        .map(|(_, made)| state::made_statement(&lease.key, made))
        .collect();
    statements.extend(of_made.iter().map(String::as_str));
    statements.push("COMMIT");
    session.execute(&statements.join(";\n")).await.map(drop)
}
