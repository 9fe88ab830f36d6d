//! One writer of a load: random transactions on the keys that are its own.

use crate::load::{Load, LoadOptions, LoadRow, REGIONS};
use crate::writer_session::{End, Refusal, Server, WriterSession};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// Writes to keys with one remainder by the number of writers, until it is told to stop.
#[derive(Debug)]
pub(crate) struct Writer {
    server: Server,
    options: LoadOptions,
    random: StdRng,
    stop: Arc<AtomicBool>,
    commits: Arc<AtomicU64>,
    report: WriterReport,
}

/// What a writer leaves behind.
#[derive(Debug)]
pub(crate) struct WriterReport {
    /// Which keys it owns: those with this remainder by the number of writers.
    pub(crate) remainder: i64,
    /// All its rows.
    pub(crate) rows: BTreeMap<i64, LoadRow>,
    /// A key that it has not used; keys it has used are never used again.
    pub(crate) next_id: i64,
    /// Transactions it committed.
    pub(crate) commit_count: u64,
    /// Transactions it rolled back.
    pub(crate) rollback_count: u64,
}

/// What one statement did to a key: its row, or `None` for a delete.
type Effect = (i64, Option<LoadRow>);

impl Writer {
    pub(crate) fn new(
        load: &Load,
        number: u32,
        stop: Arc<AtomicBool>,
        commits: Arc<AtomicU64>,
    ) -> Self {
        let options = load.options().clone();
        let writers = i64::from(options.writer_count);
        let remainder = i64::from(number);
        let own = |id: i64| id.rem_euclid(writers) == remainder;
        let rows = load.ledger().rows.iter();
        let next_id = (load.next_id()..).find(|id| own(*id));
        let seed = options.seed ^ (u64::from(number) << 32) ^ load.round();
        Self {
            server: load.server().clone(),
            random: StdRng::seed_from_u64(seed),
            stop,
            commits,
            report: WriterReport {
                remainder,
                rows: rows
                    .filter(|(id, _)| own(**id))
                    .map(|(id, row)| (*id, row.clone()))
                    .collect(),
                next_id: next_id.expect("some key has the remainder"),
                commit_count: 0,
                rollback_count: 0,
            },
            options,
        }
    }

    pub(crate) async fn run(mut self) -> WriterReport {
        let mut session = WriterSession::connect(&self.server).await;
        while !self.stop.load(Ordering::SeqCst) {
            let is_two_phase = self.happens(self.options.two_phase_percent);
            let name = is_two_phase.then(|| format!("load_{:016x}", self.random.random::<u64>()));
            match self.transaction(&mut session, name.as_deref()).await {
                Ok(()) => {}
                Err(Refusal::Deadlock) => {
                    let forgotten = session.forget(name.as_deref()).await;
                    forgotten.expect("a transaction that was given up can be forgotten");
                    self.report.rollback_count += 1;
                }
                Err(refusal) => panic!("the server refuses a writer nothing: {refusal:?}"),
            }
        }
        self.report
    }

    /// One transaction; one with a name is prepared before it ends.
    async fn transaction(
        &mut self,
        session: &mut WriterSession,
        name: Option<&str>,
    ) -> Result<(), Refusal> {
        session.begin(name).await?;
        if self.happens(self.options.read_first_percent) {
            // Has a snapshot and a start time, but no transaction id yet.
            session
                .execute(&format!("SELECT count(*) FROM {}", Load::TABLE))
                .await?;
            self.pause(session).await?;
        }
        let mut effects: Vec<Effect> = Vec::new();
        for _ in 0..self.random.random_range(self.options.statements.clone()) {
            let (sql, effect) = self.statement(session, &effects);
            session.execute(&sql).await?;
            effects.push(effect);
        }
        self.pause(session).await?;
        if self.happens(self.options.late_percent) {
            let ms = self.random.random_range(self.options.late_ms.clone());
            // No statement is in progress meanwhile.
            tokio::time::sleep(Duration::from_millis(ms)).await;
        }
        let end = match self.happens(self.options.rollback_percent) {
            true => End::Rollback,
            false => End::Commit,
        };
        if let Some(name) = name {
            session.prepare(name).await?;
            self.pause(session).await?;
            session.end_prepared(name, end).await?;
        } else {
            session.end(end).await?;
        }
        self.note(effects, end);
        Ok(())
    }

    fn note(&mut self, effects: Vec<Effect>, end: End) {
        if end == End::Rollback {
            self.report.rollback_count += 1;
            return;
        }
        for (id, row) in effects {
            match row {
                Some(row) => self.report.rows.insert(id, row),
                None => self.report.rows.remove(&id),
            };
        }
        self.report.commit_count += 1;
        self.commits.fetch_add(1, Ordering::SeqCst);
    }

    /// A random statement, given what the transaction has done so far.
    fn statement(&mut self, session: &WriterSession, before: &[Effect]) -> (String, Effect) {
        let weights = self.options.weights;
        let total = weights.insert + weights.update + weights.relocate + weights.delete;
        let choice = self.random.random_range(0..total);
        let row = self.own_row(before);
        let Some(mut row) = row.filter(|_| choice >= weights.insert) else {
            return self.insert(session);
        };
        row.revision += 1;
        if choice < weights.insert + weights.update {
            row.amount = self.amount();
            row.label = self.label();
        } else if choice < weights.insert + weights.update + weights.relocate {
            row.region = self.region();
        } else {
            let sql = format!("DELETE FROM {} WHERE id = {}", Load::TABLE, row.id);
            return (sql, (row.id, None));
        }
        let sql = format!(
            "UPDATE {} SET label = '{}', amount = {}, region = '{}', revision = {} WHERE id = {}",
            Load::TABLE,
            row.label,
            row.amount,
            row.region,
            row.revision,
            row.id
        );
        (sql, (row.id, Some(row)))
    }

    fn insert(&mut self, session: &WriterSession) -> (String, Effect) {
        let row = LoadRow {
            id: self.report.next_id,
            label: self.label(),
            amount: self.amount(),
            region: self.region(),
            revision: 0,
        };
        self.report.next_id += i64::from(self.options.writer_count);
        let wait = if self.happens(self.options.wait_percent) {
            let ms = self.pause_ms();
            format!(" FROM (SELECT {}) waits", session.sleeping(ms))
        } else {
            String::new()
        };
        let sql = format!(
            "INSERT INTO {} (id, label, amount, region, revision) \
             SELECT {}, '{}', {}, '{}', {}{wait}",
            Load::TABLE,
            row.id,
            row.label,
            row.amount,
            row.region,
            row.revision
        );
        (sql, (row.id, Some(row)))
    }

    /// A row of this writer as the transaction sees it; `None` if the one that was hit is gone.
    fn own_row(&mut self, before: &[Effect]) -> Option<LoadRow> {
        let (first, _) = self.report.rows.first_key_value()?;
        let start = self.random.random_range(*first..self.report.next_id);
        let (id, committed) = self.report.rows.range(start..).next()?;
        let changed = before.iter().rev().find(|(changed, _)| changed == id);
        match changed {
            Some((_, row)) => row.clone(),
            None => Some(committed.clone()),
        }
    }

    fn label(&mut self) -> String {
        (0..self.options.label_bytes)
            .map(|_| char::from(self.random.random_range(b'a'..=b'z')))
            .collect()
    }

    fn amount(&mut self) -> String {
        let cents: u32 = self.random.random_range(0..100_000_000);
        format!("{}.{:02}", cents / 100, cents % 100)
    }

    fn region(&mut self) -> String {
        let region = REGIONS.choose(&mut self.random);
        (*region.expect("there are regions")).to_owned()
    }

    fn happens(&mut self, percent: u32) -> bool {
        self.random.random_range(0..100) < percent
    }

    /// Lets time pass at the server: a commit that comes late is what the load is about.
    async fn pause(&mut self, session: &mut WriterSession) -> Result<(), Refusal> {
        let ms = self.pause_ms();
        session.sleep(ms).await
    }

    fn pause_ms(&mut self) -> u64 {
        self.random
            .random_range(self.options.commit_delay_ms.clone())
    }
}
