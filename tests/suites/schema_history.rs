//! `schema history`: what is told of the versions of target tables.

use crate::schema_lab::{Lab, PAIRS};
use serde_json::{Value, json};

const HISTORY: [&str; 5] = ["schema", "history", "p", "--output", "json"];

impl Lab {
    /// The versions of table `t`, newest first, without their times.
    async fn versions(&self) -> Vec<Value> {
        let output = self.project.syncset(HISTORY).await.expect_success();
        let document = output.json();
        let tables = document["tables"].as_array().expect("a list of tables");
        let is_t = |table: &&Value| table["table"] == self.stream();
        let table = tables.iter().find(is_t).expect("the table has versions");
        let mut versions = table["versions"].as_array().expect("a list").clone();
        for version in &mut versions {
            let at = version.as_object_mut().expect("a version").remove("at");
            assert!(at.is_some_and(|at| at.as_str().is_some_and(|it| it.ends_with('Z'))));
        }
        versions
    }
}

#[tokio::test]
async fn history_tells_what_changed_and_on_whose_word() {
    for pair in [PAIRS[0], PAIRS[2]] {
        let lab = Lab::loaded(pair, "").await;
        let stream = lab.stream();

        lab.at_source("ALTER TABLE t ADD COLUMN note varchar(20)")
            .await;
        lab.run().await.expect_success();
        lab.edit("schema: { new_column: approve }");
        lab.at_source("ALTER TABLE t ADD COLUMN other varchar(20)")
            .await;
        lab.run().await.expect_code(5);
        let waiting = lab.versions().await.len();
        lab.run_with(&["--approve", stream]).await.expect_success();
        lab.run().await.expect_success();

        let versions = lab.versions().await;
        assert_eq!(waiting, 2, "{pair:?}: what waits is no version");
        let of = |index: usize, field: &str| versions[index][field].clone();
        assert_eq!(versions.len(), 3, "{pair:?}: {versions:?}");
        assert_eq!(of(0, "by"), "approval");
        assert_eq!(of(1, "by"), "policy");
        assert_eq!(of(2, "by"), "created");
        assert_eq!(of(2, "changes"), json!(["created with id, name, rev"]));
        let change = of(1, "changes").to_string();
        assert!(
            change.contains("the source has new column `note`"),
            "{change}"
        );
        for (index, version) in versions.iter().enumerate() {
            assert_eq!(version["version"], 3 - index);
            assert_eq!(version["status"], "applied", "{pair:?}");
        }
    }
}

#[tokio::test]
async fn version_is_applying_until_its_rows_are_there() {
    for pair in [PAIRS[1], PAIRS[3]] {
        let lab = Lab::loaded(pair, "").await;

        lab.at_source("ALTER TABLE t ADD COLUMN note varchar(20)")
            .await;
        lab.killed_at("alter.committed", &[]).await;
        let killed = lab.versions().await;
        lab.run().await.expect_success();
        let done = lab.versions().await;

        assert_eq!(killed[0]["version"], 2, "{pair:?}");
        assert_eq!(killed[0]["status"], "applying", "{pair:?}");
        assert_eq!(killed[1]["status"], "applied", "{pair:?}");
        assert_eq!(done[0]["status"], "applied", "{pair:?}");
        assert_eq!(done.len(), 2, "{pair:?}: {done:?}");
    }
}
