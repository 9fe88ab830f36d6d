//! Values that `mask:` hides: they reach no target, no state, no report and no log.

use crate::schema_lab::PAIRS;
use crate::targets::Target;
use kit::{Engine, Output, Project, TextRow};

/// What every private value of the source begins with.
const PLANTED: &str = "planted";

/// The key of the masks.
const KEY: &str = "what do ya want for nothing?";

const MASKS: &str = "email: { hmac_sha256: \"${MASK_KEY}\" }, phone: { partial: { last: 2 } }, \
     born: { truncate_date: year }, salary: { bucket: 1000 }, note: redact, hidden: null, \
     fixed: { constant: same }, loud: sha256";

const VISIBLE: &str = "SELECT id, email, phone, born, salary, note, hidden, fixed, loud FROM t \
                       ORDER BY id";

struct Lab {
    source: Target,
    target: Target,
    project: Project,
}

impl Lab {
    async fn new((source, target): (Engine, Engine)) -> Self {
        let (source, target) = (
            source.database("masks").await,
            target.database("masks").await,
        );
        let mut project = Project::between(&source.place().url(), &target.place().url());
        project.set("MASK_KEY", KEY);
        let lab = Self {
            source,
            target,
            project,
        };
        let rows: Vec<_> = (1..=50).map(row).collect();
        lab.at_source(&format!(
            "CREATE TABLE t (id int PRIMARY KEY, email varchar(60) NOT NULL, phone varchar(40), \
             born date, salary int, note varchar(60), hidden varchar(40) NOT NULL, \
             fixed varchar(40) NOT NULL, rev bigint NOT NULL); INSERT INTO t VALUES {}",
            rows.join(", ")
        ))
        .await;
        lab
    }

    async fn at_source(&self, sql: &str) {
        self.source.place().execute(sql).await;
    }

    fn edit(&self, masks: &str) {
        self.edit_under("{}", masks);
    }

    fn edit_under(&self, schema: &str, masks: &str) {
        let text = format!(
            "version: 1\nsource: source\ntarget: target\ntables:\n  t:\n    \
             capture: {{ mode: cursor, column: rev, overlap: 1000 }}\n    \
             rejects: {{ max_rows: 5 }}\n    derive: {{ loud: \"upper(note)\" }}\n    \
             mask: {{ {masks} }}\n    schema: {schema}\n"
        );
        self.project.pipeline("p", &text);
    }

    /// A run that says as much as it can.
    async fn run(&self) -> Output {
        let words = ["pipeline", "run", "p", "--output", "json"];
        let run = self.project.spawn_with(words, &[("SYNCSET_LOG", "trace")]);
        run.wait().await
    }

    async fn visible(&self) -> Vec<TextRow> {
        self.target.place().rows(VISIBLE).await
    }

    /// Everything that is at the target, and everything that was said.
    async fn assert_hidden(&self, outputs: &[Output]) {
        let mut all: Vec<String> = Vec::new();
        for output in outputs {
            all.extend([output.stdout.clone(), output.stderr.clone()]);
        }
        all.push(format!(
            "{:?}",
            self.target.place().rows("SELECT * FROM t").await
        ));
        for table in ["watermark", "chunk", "rejected", "run", "pending_delete"] {
            all.push(self.target.state_rows(table).await);
        }
        for text in all {
            assert!(!text.to_lowercase().contains(PLANTED), "{text}");
            assert!(!text.contains(KEY), "{text}");
        }
    }
}

fn row(id: u32) -> String {
    format!(
        "({id}, '{PLANTED}{id}@example.org', '{PLANTED} {id:02}', '1980-05-{:02}', {}, \
         '{PLANTED} note {id}', '{PLANTED} hidden {id}', '{PLANTED} fixed {id}', {id})",
        1 + id % 28,
        1_500 + id * 100,
    )
}

#[tokio::test]
async fn masked_values_reach_no_target_report_or_log() {
    for pair in PAIRS {
        let lab = Lab::new(pair).await;
        lab.edit(MASKS);
        let first = lab.run().await.expect_success();
        let rows = lab.visible().await;
        assert_eq!(rows.len(), 50);
        let shown = |row: &TextRow| {
            row.iter()
                .map(|it| it.clone().unwrap_or("-".into()))
                .collect()
        };
        let seventh: Vec<String> = shown(&rows[6]);
        assert_eq!(seventh[1].len(), 64);
        assert_eq!(
            &seventh[2..],
            [
                "********07",
                "1980-01-01",
                "2000",
                "***",
                "-",
                "same",
                &seventh[8]
            ]
        );
        assert_eq!(seventh[8].len(), 64);

        // One row is refused by the target, one is changed, one is gone from it.
        let phone = lab.target.own("phone", "phone", "phone(40)");
        let unique = format!("CREATE UNIQUE INDEX only_one ON t ({phone})");
        lab.target.place().execute(&unique).await;
        lab.at_source(&format!(
            "INSERT INTO t VALUES {}",
            row(107).replace("107'", "07'")
        ))
        .await;
        lab.at_source(&format!(
            "UPDATE t SET note = '{PLANTED} other', email = '{PLANTED}', rev = 200 WHERE id = 7"
        ))
        .await;
        let second = lab.run().await.expect_success();
        assert_eq!(
            second.json()["tables"][0]["rows_rejected"],
            1,
            "{}",
            second.stdout
        );
        let eighth: Vec<String> = shown(&lab.visible().await[6]);
        assert_ne!(eighth[1], seventh[1]);
        assert_ne!(eighth[8], seventh[8]);

        let place = lab.target.place();
        place.execute("UPDATE t SET salary = 1 WHERE id = 9").await;
        let check = ["pipeline", "check", "p", "--output", "json"];
        let check = lab.project.syncset(check).await;
        assert!([4, 9].contains(&check.code), "{}", check.stdout);
        let repair = ["pipeline", "repair", "p", "--dry-run", "--output", "json"];
        let repair = lab.project.syncset(repair).await;
        let plan = ["pipeline", "plan", "p", "--output", "json"];
        let plan = lab.project.syncset(plan).await.expect_success();
        lab.assert_hidden(&[first, second, check, repair, plan])
            .await;
    }
}

#[tokio::test]
async fn masks_that_need_no_values_read_none() {
    let mut lab = Lab::new((Engine::Postgres, Engine::Sqlite)).await;
    let Target::Postgres(database) = &lab.source else {
        panic!("the source is PostgreSQL");
    };
    // Whoever named one of the other columns would be refused.
    let role = database.role("masks", &[]).await;
    let read = "id, email, phone, born, salary, note, rev";
    let grant = format!("GRANT SELECT ({read}) ON t TO \"{}\"", role.name);
    database.execute(&grant).await;
    lab.project = Project::between(&role.url, &lab.target.place().url());
    lab.project.set("MASK_KEY", KEY);
    lab.edit(MASKS);

    lab.run().await.expect_success();
    lab.at_source("UPDATE t SET salary = 9, rev = 300 WHERE id = 1")
        .await;
    lab.run().await.expect_success();

    let sql = "SELECT salary FROM t WHERE id = 1";
    assert_eq!(lab.target.value(sql).await, "0");
}

#[tokio::test]
async fn columns_that_no_mask_covers_stop_their_table() {
    for pair in PAIRS {
        let lab = Lab::new(pair).await;
        let strict = "{ unmasked_columns: fail }";
        lab.edit_under(strict, MASKS);
        lab.run().await.expect_success();
        lab.at_source("ALTER TABLE t ADD COLUMN extra varchar(40)")
            .await;
        lab.at_source(&format!("UPDATE t SET extra = '{PLANTED}', rev = 500"))
            .await;

        let stopped = lab.run().await.expect_code(5);
        assert!(stopped.stdout.contains("`extra`"), "{}", stopped.stdout);
        assert!(
            stopped.stdout.contains("`unmasked_columns: fail`"),
            "{}",
            stopped.stdout
        );
        lab.edit_under(strict, &format!("{MASKS}, \"ex*\": redact"));
        let masked = lab.run().await.expect_success();

        assert_eq!(
            lab.target.value("SELECT extra FROM t WHERE id = 3").await,
            "***"
        );
        lab.at_source("ALTER TABLE t RENAME COLUMN email TO mail")
            .await;
        let renamed = lab.run().await;
        assert!([2, 5].contains(&renamed.code), "{}", renamed.stdout);
        lab.assert_hidden(&[stopped, masked, renamed]).await;
    }
}

#[tokio::test]
async fn edited_masks_replace_what_is_at_the_target() {
    for pair in PAIRS {
        let mut lab = Lab::new(pair).await;
        lab.edit("");
        lab.run().await.expect_success();
        assert!(format!("{:?}", lab.visible().await).contains(PLANTED));

        lab.edit(MASKS);
        let masked = lab.run().await.expect_success();
        let first = lab.visible().await;
        lab.project.set("MASK_KEY", "what do ya want 2");
        let other = lab.run().await.expect_success();
        let second = lab.visible().await;

        let reason = "its selection was edited (mask)";
        assert!(masked.stdout.contains(reason), "{}", masked.stdout);
        assert!(other.stdout.contains(reason), "{}", other.stdout);
        assert_ne!(first[0][1], second[0][1]);
        assert_eq!(first[0][2..], second[0][2..]);
        lab.assert_hidden(&[masked, other]).await;
    }
}
