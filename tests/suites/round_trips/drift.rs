//! A value of every type that differs is found by `pipeline check`, in its row and column.

use super::Trip;
use crate::mysql_lab::said;
use crate::round_trip_forms::{Class, seen};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// Whether two values differ in more than their spelling.
fn told_apart(class: Class, native: &str, left: &str, right: &str) -> bool {
    let is_zero = |text: &str| text.trim_start_matches(['8', '0']).is_empty();
    match class {
        Class::Double | Class::Single if is_zero(left) => !is_zero(right),
        Class::Text if native.contains("json") || native == "longtext" => {
            let parsed = |text: &str| serde_json::from_str::<Value>(text).ok();
            match (parsed(left), parsed(right)) {
                (Some(left), Some(right)) => {
                    std::mem::discriminant(&left) != std::mem::discriminant(&right)
                }
                (left, right) => left.is_some() != right.is_some(),
            }
        }
        Class::Text => left.trim_end_matches(' ') != right.trim_end_matches(' '),
        _ => left != right,
    }
}

impl Trip {
    /// Gives one row after the other, at the target, the value of another row in one column.
    pub(super) async fn drift_is_found(&self) {
        let there = seen(self.to, &self.middle, "t").await;
        let names: Vec<_> = there
            .columns
            .iter()
            .map(|(number, _)| format!("c{number}"))
            .collect();
        let mut edits = Vec::new();
        let mut expected = BTreeSet::new();
        for (place, (number, native)) in there.columns.iter().enumerate() {
            let class = self.cases[*number].class;
            let value = |row: usize| {
                let text = there.rows[row][place + 1].as_deref();
                self.value(class, there.engine, native, text)
            };
            let differs = |&row: &usize| match (value(place), value(row)) {
                (Some(own), Some(other)) => told_apart(class, native, &own, &other),
                (own, other) => own != other,
            };
            let Some(other) = (0..there.rows.len()).find(differs) else {
                panic!("all values of {native} are alike");
            };
            let id = |row: usize| there.rows[row][0].clone().expect("a key");
            let name = &names[place];
            let values = names.iter().map(|it| match it == name {
                true => format!("b.{it}"),
                false => format!("a.{it}"),
            });
            edits.push(format!(
                "DELETE FROM t WHERE id = {own}; INSERT INTO t (id, seq, {}) SELECT a.id, a.seq, {} \
                 FROM before_drift a, before_drift b WHERE a.id = {own} AND b.id = {}",
                names.join(", "),
                values.collect::<Vec<_>>().join(", "),
                id(other),
                own = id(place),
            ));
            expected.insert((json!([id(place)]).to_string(), json!([name]).to_string()));
        }
        let target = self.middle.place();
        target
            .execute("CREATE TABLE before_drift AS SELECT * FROM t")
            .await;
        target.execute(&edits.join("; ")).await;

        let natives: Vec<_> = there
            .columns
            .iter()
            .map(|(number, it)| format!("c{number} {it}"))
            .collect();
        for mode in ["auto", "stream"] {
            let check = format!("pipeline check there --samples 1000 --mode {mode} --output json");
            let check = self.project.syncset(check.split(' ')).await;

            assert_eq!(check.code, 4, "{}", said(&check));
            let table = check.json()["tables"][0].clone();
            let samples = table["samples"].as_array().expect("rows are named").iter();
            let found = samples.map(|row| (row["key"].to_string(), row["columns"].to_string()));
            let found: BTreeSet<_> = found.collect();
            assert!(
                found == expected,
                "{:?} to {:?} by {}: not found {:?}, found {:?}; {}",
                self.from,
                self.to,
                table["mode"],
                expected.difference(&found).collect::<Vec<_>>(),
                found.difference(&expected).collect::<Vec<_>>(),
                natives.join(", ")
            );
            if table["mode"] == "stream" {
                break;
            }
        }
        target.execute("DROP TABLE before_drift").await;
    }
    /// A repair mends every value, a revert brings every value back as it was, and it is mended
    /// again.
    pub(super) async fn drift_is_repaired_and_reverted(&self) {
        let drifted = seen(self.to, &self.middle, "t").await;
        let repair = "pipeline repair there --max-percent 100 --output json";

        let repaired = self.project.syncset(repair.split(' ')).await;
        let report = repaired.expect_success().json();
        self.assert_equal("after a repair").await;
        let run_id = report["run_id"].as_str().expect("the run's id");
        let revert = ["pipeline", "revert", "there", run_id];
        self.project.syncset(revert).await.expect_success();
        let reverted = seen(self.to, &self.middle, "t").await;
        for (was, is) in drifted.rows.iter().zip(&reverted.rows) {
            let values = was.iter().zip(is).enumerate();
            let lost: Vec<_> = values.filter(|(_, (was, is))| was != is).collect();
            let columns = &drifted.columns;
            assert!(
                lost.is_empty(),
                "{:?} to {:?}: {lost:?} of {columns:?}",
                self.from,
                self.to
            );
        }
        assert_eq!(drifted.rows.len(), reverted.rows.len());
        self.project
            .syncset(repair.split(' '))
            .await
            .expect_success();

        self.assert_equal("after the second repair").await;
    }
}
