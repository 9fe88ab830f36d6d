//! Rows are inserted, updated and deleted at random, leave the selection and come back, and runs
//! are killed. After a quiet run the rows that are there are the selected ones, and every other row
//! that ever was at the target still is, marked once.
//!
//! `SYNCSET_SOFT_ROUNDS` says how many rounds each test does, `SYNCSET_TEST_SEED` which.

use crate::marks_lab::{Lab, NO_GUARD, targets_in_turn};
use crate::targets::Target;
use kit::TextRow;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use std::collections::{BTreeMap, BTreeSet};

/// Rounds of each test, unless the environment says otherwise.
const ROUNDS_DEFAULT: u32 = 8;

/// The same for MySQL and MariaDB, whose runs take longer.
const MYSQL_ROUNDS_DEFAULT: u32 = 2;

/// Rows have ids up to here: few, so that they go and come back often.
const IDS: i32 = 60;

/// Where runs are killed.
const POINTS: [&str; 9] = [
    "load.begun",
    "unit.begun",
    "unit.begun:2",
    "chunk.batch",
    "unit.before_commit",
    "unit.before_commit:2",
    "unit.committed",
    "window.batch",
    "settle.compared",
];

const ALL: &str = "SELECT id, grp, v, _deleted_at FROM t";

struct Walk {
    lab: Lab,
    random: StdRng,
    /// Whether every run sees rows that were deleted at the source.
    sees_deletes: bool,
    /// Rows that were seen at the target.
    ever: BTreeSet<String>,
    /// Rows that are marked, and how.
    marked: BTreeMap<String, String>,
    /// Rows that were touched at the source since.
    touched: BTreeSet<String>,
    /// True if one of them was deleted.
    deleted: bool,
    kills: u32,
}

impl Walk {
    async fn touch(&mut self) {
        let mut statements = Vec::new();
        for _ in 0..self.random.random_range(1..30) {
            let id = self.random.random_range(1..=IDS);
            let version = self.random.random_range(0..4);
            let group = self.random.random_range(1..=2);
            statements.push(match self.random.random_range(0..10) {
                0..4 => format!(
                    "INSERT INTO t VALUES ({id}, {group}, 'v{version}') \
                     ON CONFLICT (id) DO UPDATE SET grp = excluded.grp, v = excluded.v"
                ),
                4..8 => format!("UPDATE t SET grp = 3 - grp WHERE id = {id}"),
                _ => {
                    self.deleted = true;
                    format!("DELETE FROM t WHERE id = {id}")
                }
            });
            self.touched.insert(id.to_string());
        }
        self.lab.change(&statements.join(";\n")).await;
    }

    /// Flags of runs that have to see all that happened.
    fn flags(&self) -> &'static [&'static str] {
        if self.deleted && !self.sees_deletes {
            &["--full-refresh"]
        } else {
            &[]
        }
    }

    async fn killed_run(&mut self) {
        let point = POINTS.choose(&mut self.random).expect("some");
        let action = format!("{point}=exit9");
        let variables = [("SYNCSET_FAIL_POINT", action.as_str())];
        let words = ["pipeline", "run", "p", "--on-lock", "wait=30s"];
        let words = words.iter().chain(self.flags());
        let output = self.lab.project.spawn_with(words, &variables).wait().await;
        match output.code {
            137 => self.kills += 1,
            _ => drop(output.expect_success()),
        }
        for mut row in self.lab.rows(ALL).await {
            self.ever.extend(row.swap_remove(0));
        }
    }

    async fn assert_right(&mut self, pipeline: &str) {
        let flags = self.flags();
        self.lab.run(flags).await.expect_success();
        self.lab.live_rows_are_the_selected_ones().await;
        let rows = self.lab.rows(ALL).await;
        let text = |row: &TextRow, index: usize| row[index].clone();
        let there: BTreeSet<String> = rows.iter().filter_map(|row| text(row, 0)).collect();
        let lost: Vec<_> = self.ever.difference(&there).collect();
        assert!(lost.is_empty(), "{pipeline}: lost {lost:?}");
        let marked: BTreeMap<String, String> = rows
            .iter()
            .filter_map(|row| Some((text(row, 0)?, text(row, 3)?)))
            .collect();
        for (id, mark) in &self.marked {
            if !self.touched.contains(id) {
                assert_eq!(marked.get(id), Some(mark), "{pipeline}: row {id}");
            }
        }

        assert_eq!(self.lab.counts(&[]).await, (0, 0), "{pipeline}");
        let mut again = self.lab.rows(ALL).await;
        let mut before = rows;
        again.sort();
        before.sort();
        assert_eq!(again, before, "{pipeline}");
        self.ever.extend(there);
        self.marked = marked;
        self.touched.clear();
        self.deleted = false;
    }
}

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().expect("the variable is a number"))
}

async fn walked_at_random(case: usize, settings: &str, top: &str) {
    let seed = number("SYNCSET_TEST_SEED").unwrap_or_else(rand::random);
    println!("SYNCSET_TEST_SEED={seed}");
    for target in targets_in_turn(case).await {
        let default = match target {
            Target::Mysql(_) => MYSQL_ROUNDS_DEFAULT,
            Target::Postgres(_) | Target::Sqlite(..) => ROUNDS_DEFAULT,
        };
        let rounds = number("SYNCSET_SOFT_ROUNDS").unwrap_or(default.into());
        let lab = Lab::with_rows(target, 20).await;
        let settings = format!("where: \"grp = 1\", {settings}");
        lab.pipeline(&format!("{NO_GUARD}{top}"), &settings);
        lab.run(&[]).await.expect_success();
        let mut walk = Walk {
            lab,
            random: StdRng::seed_from_u64(seed),
            sees_deletes: ["full", "hash", "find_deletes"]
                .iter()
                .any(|word| settings.contains(word)),
            ever: (1..=20).map(|id| id.to_string()).collect(),
            marked: BTreeMap::new(),
            touched: BTreeSet::new(),
            deleted: false,
            kills: 0,
        };
        for _ in 0..rounds {
            for _ in 0..walk.random.random_range(1..4) {
                walk.touch().await;
                walk.killed_run().await;
            }
            if walk.random.random_bool(0.5) {
                walk.touch().await;
            }
            walk.assert_right(&format!("{top}{settings}")).await;
        }
        println!(
            "{rounds} rounds, {} kills, {} rows marked",
            walk.kills,
            walk.marked.len()
        );
    }
}

#[tokio::test]
async fn random_windows_mark_what_is_gone() {
    walked_at_random(0, "capture: xmin, write: { on_delete: soft }", "").await;
}

#[tokio::test]
async fn random_whole_tables_mark_what_is_gone() {
    walked_at_random(1, "capture: full, write: { on_delete: soft }", "").await;
}

#[tokio::test]
async fn random_comparisons_mark_what_is_gone() {
    walked_at_random(1, "capture: hash, write: { on_delete: soft }", "").await;
}

#[tokio::test]
async fn random_searches_mark_what_is_gone() {
    let capture = "capture: { mode: xmin, find_deletes: { every: 0s } }";
    walked_at_random(0, &format!("{capture}, write: {{ on_delete: soft }}"), "").await;
}

#[tokio::test]
async fn random_replaced_tables_mark_what_is_gone() {
    walked_at_random(
        2,
        "capture: full, write: { mode: replace, on_delete: soft }",
        "",
    )
    .await;
}

#[tokio::test]
async fn random_windows_that_commit_together_mark_what_is_gone() {
    walked_at_random(
        3,
        "capture: xmin, write: { on_delete: soft, synced_at: _synced_at }",
        "consistency: pipeline\n",
    )
    .await;
}
