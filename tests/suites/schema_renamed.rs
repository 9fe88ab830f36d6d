//! Tables of the source whose columns get other names between two runs. PostgreSQL numbers its
//! columns, so the target's are renamed and no row is read again; of the others a person says.

use crate::schema_lab::Lab;
use kit::Engine;
use serde_json::Value;

/// PostgreSQL as the source of each kind.
fn of_postgres() -> impl Iterator<Item = (Engine, Engine)> {
    let targets = Engine::ALL.iter();
    targets.map(|target| (Engine::Postgres, *target))
}

impl Lab {
    /// Runs, and gives back what the report says of `t`.
    async fn report_of_t(&self, flags: &[&str]) -> Value {
        let flags: Vec<_> = flags.iter().copied().chain(["--output", "json"]).collect();
        let report = self.run_with(&flags).await.expect_success().json();
        let tables = report["tables"].as_array().expect("a report has tables");
        let of_t = tables.iter().find(|it| it["table"] == self.stream());
        of_t.expect("the table is reported").clone()
    }

    /// A run after the source renamed something: no row is read again but those that changed.
    async fn follows(&self, sql: &str, rows: u64) {
        self.at_source(sql).await;
        let of_t = self.report_of_t(&[]).await;
        assert_ne!(of_t["outcome"], "loaded", "{sql}: {of_t}");
        assert_eq!(of_t["rows_written"], rows, "{sql}: {of_t}");
        assert!(of_t.to_string().contains("renamed column"), "{of_t}");
        self.is_quiet().await;
    }
}

#[tokio::test]
async fn names_are_followed_and_no_row_is_read_again() {
    for pair in of_postgres() {
        let lab = Lab::loaded(pair, "").await;

        lab.follows(
            "ALTER TABLE t RENAME name TO full_name; \
             UPDATE t SET full_name = 'new', rev = 1001 WHERE id = 1; \
             INSERT INTO t VALUES (101, 'row 101', 1002)",
            2,
        )
        .await;
        assert!(!lab.has_column("t", "name").await, "{pair:?}");
        lab.assert_same("SELECT id, full_name, rev FROM t ORDER BY id", 101)
            .await;

        lab.at_source("ALTER TABLE t ADD nick varchar(50) DEFAULT 'nick'")
            .await;
        lab.run().await.expect_success();
        lab.follows(
            "ALTER TABLE t RENAME nick TO between; ALTER TABLE t RENAME full_name TO nick; \
             ALTER TABLE t RENAME between TO full_name; \
             UPDATE t SET full_name = 'other', rev = 1003 WHERE id = 2",
            1,
        )
        .await;
        lab.assert_same("SELECT id, nick, full_name, rev FROM t ORDER BY id", 101)
            .await;

        lab.follows(
            "ALTER TABLE t RENAME id TO ident; UPDATE t SET nick = 'mine', rev = 1004 WHERE ident = 3",
            1,
        )
        .await;
        lab.follows(
            "ALTER TABLE t RENAME full_name TO label; \
             ALTER TABLE t ALTER label TYPE varchar(60); \
             UPDATE t SET label = repeat('x', 60), rev = 1005 WHERE ident = 4",
            1,
        )
        .await;
        // What comes under the old name is new, and read for all rows.
        lab.at_source(
            "ALTER TABLE t RENAME label TO tag; ALTER TABLE t ADD label int DEFAULT 7; \
             UPDATE t SET label = ident WHERE ident < 9",
        )
        .await;
        lab.run().await.expect_success();
        lab.is_quiet().await;
        lab.assert_same(
            "SELECT ident, nick, tag, label, rev FROM t ORDER BY ident",
            101,
        )
        .await;
        lab.edit("schema: { dropped_column: drop }");
        lab.follows(
            "ALTER TABLE t DROP label; ALTER TABLE t RENAME tag TO label",
            0,
        )
        .await;
        lab.assert_same("SELECT ident, nick, label, rev FROM t ORDER BY ident", 101)
            .await;
        assert!(!lab.has_column("t", "tag").await, "{pair:?}");
    }
}

#[tokio::test]
async fn killed_run_renames_nothing_twice() {
    let swap =
        "ALTER TABLE t RENAME a TO c; ALTER TABLE t RENAME b TO a; ALTER TABLE t RENAME c TO b";
    for pair in of_postgres() {
        let lab = Lab::loaded(pair, "schema: { renamed_column: approve }").await;
        lab.at_source("ALTER TABLE t ADD a int DEFAULT 1, ADD b int DEFAULT 2")
            .await;
        lab.run().await.expect_success();

        for point in ["alter.committed", "selection.stored", "window.batch"] {
            lab.at_source(swap).await;
            lab.at_source("UPDATE t SET rev = rev + 1000 WHERE id = 1")
                .await;
            lab.run().await.expect_code(5);
            lab.killed_at(point, &["--approve", "t"]).await;
            let of_t = lab.report_of_t(&[]).await;
            assert_eq!(of_t["outcome"], "followed", "{pair:?} {point}: {of_t}");
            lab.is_quiet().await;
            lab.assert_same("SELECT id, a, b, name, rev FROM t ORDER BY id", 100)
                .await;
        }
    }
}

#[tokio::test]
async fn rename_that_nobody_can_tell_waits_for_a_person() {
    let pairs = [
        (Engine::Mysql, Engine::Postgres),
        (Engine::Sqlite, Engine::Sqlite),
        (Engine::Mariadb, Engine::Mysql),
    ];
    for pair in pairs {
        let lab = Lab::loaded(pair, "").await;

        lab.at_source(
            "ALTER TABLE t RENAME COLUMN name TO full_name; \
             INSERT INTO u VALUES (101, 'row 101', 101)",
        )
        .await;
        let stopped = lab.run().await.expect_code(5);
        let plan = lab.project.syncset(["pipeline", "plan", "p"]).await;

        let said = Lab::said(&stopped);
        for part in [
            "table `t`: the source has no column `name` any more and a new one `full_name`",
            "syncset schema approve p --tables t",
            "say so with `schema: { renamed_column: add }`",
        ] {
            assert!(said.contains(part), "{pair:?} {part}: {said}");
        }
        let plan = plan.expect_code(5).stdout;
        assert!(plan.contains("RENAME COLUMN"), "{pair:?}: {plan}");
        assert_eq!(lab.number("SELECT count(*) FROM u").await, 101);
        assert_eq!(lab.number("SELECT count(name) FROM t").await, 100);

        lab.killed_at("alter.committed", &["--approve", "t"]).await;
        lab.run().await.expect_success();
        lab.is_quiet().await;
        assert!(!lab.has_column("t", "name").await, "{pair:?}");
        lab.assert_same("SELECT id, full_name, rev FROM t ORDER BY id", 100)
            .await;

        lab.at_source("ALTER TABLE t RENAME COLUMN full_name TO label")
            .await;
        lab.edit("schema: { renamed_column: add }");
        lab.run().await.expect_success();
        lab.is_quiet().await;
        assert!(lab.has_column("t", "full_name").await, "{pair:?}");
        lab.assert_same("SELECT id, label, rev FROM t ORDER BY id", 100)
            .await;

        lab.at_source("ALTER TABLE t RENAME COLUMN label TO title")
            .await;
        lab.edit_each("rename: { title: label }", "");
        lab.run().await.expect_success();
        lab.is_quiet().await;
        assert_eq!(lab.number("SELECT count(label) FROM t").await, 100);
    }
}

#[tokio::test]
async fn file_learns_the_new_name_and_nothing_is_read_again() {
    let cursor = |column| format!("capture: {{ mode: cursor, column: {column}, overlap: 1000 }}");
    let lab = Lab::loaded((Engine::Postgres, Engine::Sqlite), "").await;
    let steps = [
        ("rev", "version", cursor("rev"), cursor("version")),
        (
            "name",
            "label",
            format!("{}, where: \"name <> 'row 7'\"", cursor("version")),
            format!("{}, where: \"label <> 'row 7'\"", cursor("version")),
        ),
        (
            "label",
            "title",
            format!(
                "{}, derive: {{ loud: \"upper(label)\" }}",
                cursor("version")
            ),
            format!(
                "{}, derive: {{ loud: \"upper(title)\" }}",
                cursor("version")
            ),
        ),
        (
            "title",
            "caption",
            format!("{}, columns: [id, title, version]", cursor("version")),
            format!("{}, columns: [id, caption, version]", cursor("version")),
        ),
    ];
    for (from, to, then, now) in steps {
        lab.edit_each(&then, "");
        lab.run().await.expect_success();

        lab.at_source(&format!("ALTER TABLE t RENAME {from} TO {to}"))
            .await;
        lab.at_source("INSERT INTO u SELECT max(id) + 1, 'more', max(rev) + 1 FROM u")
            .await;
        let stopped = Lab::said(&lab.run().await.expect_code(5));
        let told = format!("the source renamed column `{from}` to `{to}`, and ");
        assert!(stopped.contains(&told), "{stopped}");
        assert!(stopped.contains("pipelines/p.yaml:6:"), "{stopped}");
        assert!(
            stopped.contains(&format!("write `{to}` there")),
            "{stopped}"
        );
        let (source, target) = lab.rows_of("SELECT count(*) FROM u").await;
        assert_eq!(source, target);

        lab.edit_each(&now, "");
        let of_t = lab.report_of_t(&[]).await;
        assert_ne!(of_t["outcome"], "loaded", "{now}: {of_t}");
        assert_eq!(of_t["rows_written"], 0, "{now}: {of_t}");
    }
    lab.assert_same("SELECT id, caption, version FROM t ORDER BY id", 100)
        .await;
}

#[tokio::test]
async fn column_that_is_left_out_stays_so_under_another_name() {
    for pair in [
        (Engine::Postgres, Engine::Mysql),
        (Engine::Sqlite, Engine::Sqlite),
    ] {
        let lab = Lab::loaded(pair, "columns: { exclude: [name] }").await;

        lab.at_source("ALTER TABLE t RENAME COLUMN name TO full_name")
            .await;
        let stopped = Lab::said(&lab.run().await.expect_code(5));

        assert!(stopped.contains("`exclude` leaves it out"), "{stopped}");
        assert!(
            stopped.contains("write `full_name` in `exclude`"),
            "{stopped}"
        );
        assert!(!lab.has_column("t", "full_name").await, "{pair:?}");
        lab.edit_each(
            "columns: { exclude: [full_name] }",
            "columns: { exclude: [name] }",
        );
        lab.run().await.expect_success();
        assert!(!lab.has_column("t", "full_name").await, "{pair:?}");
    }
}

#[tokio::test]
async fn name_that_somebody_else_gave_a_column_is_not_taken() {
    for pair in of_postgres() {
        let lab = Lab::loaded(pair, "").await;
        lab.target
            .execute("ALTER TABLE t ADD COLUMN full_name varchar(50)")
            .await;
        lab.target.execute("UPDATE t SET full_name = 'mine'").await;

        lab.at_source("ALTER TABLE t RENAME name TO full_name")
            .await;
        let stopped = Lab::said(&lab.run().await.expect_code(5));

        assert!(
            stopped.contains("`full_name`") && stopped.contains("was not made by syncset"),
            "{stopped}"
        );
        let kept = "SELECT count(*) FROM t WHERE full_name = 'mine' AND name LIKE 'row %'";
        assert_eq!(lab.number(kept).await, 100, "{pair:?}");
        lab.edit_each("rename: { full_name: name }", "");
        lab.run().await.expect_success();
        lab.is_quiet().await;
        assert_eq!(lab.number(kept).await, 100, "{pair:?}");
    }
}

#[tokio::test]
async fn name_of_a_column_that_keeps_its_values_is_not_taken() {
    let kept = "SELECT count(*) FROM t WHERE name LIKE 'row %'";
    for (pair, at_once) in of_postgres().flat_map(|pair| [(pair, true), (pair, false)]) {
        let lab = Lab::loaded(pair, "").await;
        lab.at_source("ALTER TABLE t ADD nick varchar(50) DEFAULT 'nick'")
            .await;
        lab.run().await.expect_success();

        lab.at_source("ALTER TABLE t DROP name").await;
        if !at_once {
            lab.run().await.expect_success();
        }
        lab.at_source("ALTER TABLE t RENAME nick TO name").await;
        let stopped = Lab::said(&lab.run().await.expect_code(5));

        assert!(
            stopped.contains("column `nick` of") && stopped.contains("keeps what was copied"),
            "{pair:?}: {stopped}"
        );
        assert_eq!(lab.number(kept).await, 100, "{pair:?}");
        match at_once {
            true => lab.edit("schema: { dropped_column: drop }"),
            false => drop(lab.run_with(&["--approve", "t"]).await.expect_success()),
        }
        lab.run().await.expect_success();
        lab.is_quiet().await;
        assert!(!lab.has_column("t", "nick").await, "{pair:?}");
        lab.assert_same("SELECT id, name FROM t ORDER BY id", 100)
            .await;
    }
}

#[tokio::test]
async fn names_change_hands_in_a_table_that_was_made_anew() {
    for (pair, capture) in of_postgres().flat_map(|pair| [(pair, ""), (pair, "capture: full")]) {
        let lab = Lab::loaded(pair, capture).await;
        for _ in 0..2 {
            lab.at_source(
                "DROP TABLE t; CREATE TABLE t (id int PRIMARY KEY, name varchar(50) NOT NULL, \
                 rev bigint NOT NULL, nick varchar(20)); \
                 INSERT INTO t SELECT n, 'name ' || n, n, 'nick ' || n FROM generate_series(1, 100) n",
            )
            .await;
            lab.run().await.expect_success();
        }

        lab.at_source(
            "ALTER TABLE t RENAME nick TO c; ALTER TABLE t RENAME name TO nick; \
             ALTER TABLE t RENAME c TO name; UPDATE t SET nick = repeat('x', 50) WHERE id = 7",
        )
        .await;
        lab.run().await.expect_success();

        lab.assert_same("SELECT id, name, nick FROM t WHERE id <> 7 ORDER BY id", 99)
            .await;
        lab.is_quiet().await;
    }
}

#[tokio::test]
async fn appended_rows_keep_their_values_under_the_new_name() {
    for pair in [
        (Engine::Postgres, Engine::Postgres),
        (Engine::Postgres, Engine::Mariadb),
    ] {
        let append = |cursor| {
            format!(
                "write: {{ mode: append }}, capture: {{ mode: cursor, column: {cursor}, overlap: 0 }}"
            )
        };
        let lab = Lab::loaded(pair, &append("rev")).await;

        lab.at_source(
            "ALTER TABLE t RENAME name TO full_name; ALTER TABLE t RENAME rev TO version; \
             INSERT INTO t VALUES (101, 'row 101', 101), (102, 'row 102', 102)",
        )
        .await;
        lab.edit_each(&append("version"), &append("rev"));
        lab.killed_at("alter.committed", &[]).await;
        lab.run().await.expect_success();

        // The newest number may wait until there is a greater one.
        lab.assert_same(
            "SELECT id, full_name, version FROM t WHERE id <= 101 ORDER BY id",
            101,
        )
        .await;
    }
}

#[tokio::test]
async fn table_of_somebody_else_is_loaded_again_if_names_change_hands() {
    let lab = Lab::loaded((Engine::Postgres, Engine::Postgres), "").await;
    lab.at_source("ALTER TABLE t ADD nick varchar(50) NOT NULL DEFAULT 'nick'")
        .await;
    lab.target
        .execute(
            "CREATE TABLE theirs (id int PRIMARY KEY, name varchar(50), nick varchar(50), rev bigint)",
        )
        .await;
    lab.edit_each("to: theirs", "");
    lab.run().await.expect_success();

    lab.at_source(
        "ALTER TABLE t RENAME nick TO c; ALTER TABLE t RENAME name TO nick; \
         ALTER TABLE t RENAME c TO name",
    )
    .await;
    lab.run().await.expect_success();

    let source = lab
        .source
        .place()
        .rows("SELECT id, name, nick FROM t ORDER BY id")
        .await;
    let target = lab
        .target
        .place()
        .rows("SELECT id, name, nick FROM theirs ORDER BY id")
        .await;
    assert_eq!(source, target);
}
