//! Pipelines that are edited between runs: what is new is read, what no longer belongs is deleted,
//! and nothing of somebody else is touched.

use crate::targets::Target;
use kit::postgres::send;
use kit::{Database, Output, Project};

const SOURCE: &str =
    "CREATE TABLE t (id int PRIMARY KEY, code text NOT NULL UNIQUE, name text NOT NULL,
      secret text, n int NOT NULL, updated_at timestamptz NOT NULL DEFAULT now());
    INSERT INTO t SELECT i, 'c' || i, 'name ' || i, 'secret ' || i, i % 10
      FROM generate_series(1, 100) i";

/// What every killed run may leave behind is waited for.
const RUN: [&str; 5] = ["pipeline", "run", "p", "--on-lock", "wait=170s"];

struct Lab {
    source: Database,
    target: Target,
    project: Project,
}

impl Lab {
    async fn new(target: Target) -> Self {
        let source = kit::postgres().await.database("edit_source").await;
        source.execute(SOURCE).await;
        let project = Project::between(&source.url(), &target.place().url());
        Self {
            source,
            target,
            project,
        }
    }

    async fn both() -> [Self; 2] {
        [
            Self::new(Target::postgres().await).await,
            Self::new(Target::sqlite()).await,
        ]
    }

    /// Writes the pipeline: the settings of its one table, and lines for its top.
    fn edit_with(&self, top: &str, settings: &str) {
        let text = format!(
            "version: 1\nsource: source\ntarget: target\n\
             guards: {{ max_delete_percent: 100, empty_source: allow }}\n\
             {top}tables:\n  public.t: {{ {settings} }}\n"
        );
        self.project.pipeline("p", &text);
    }

    fn edit(&self, settings: &str) {
        self.edit_with("", settings);
    }

    async fn run(&self) -> Output {
        self.project.syncset(RUN).await
    }

    async fn loaded(self, settings: &str) -> Self {
        self.edit(settings);
        self.run().await.expect_success();
        self
    }

    async fn killed_at(&self, point: &str) {
        let action = format!("{point}=exit9");
        let variables = [("SYNCSET_FAIL_POINT", action.as_str())];
        let run = self.project.spawn_with(RUN, &variables);
        run.wait().await.expect_code(137);
    }

    /// The columns of a target table, by name.
    async fn columns(&self, table: &str) -> Vec<String> {
        let sql = match &self.target {
            Target::Postgres(_) => format!(
                "SELECT column_name FROM information_schema.columns \
                 WHERE table_name = '{table}' AND table_schema = 'public' ORDER BY 1"
            ),
            Target::Mysql(_) => format!(
                "SELECT COLUMN_NAME FROM information_schema.COLUMNS \
                 WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = '{table}' ORDER BY 1"
            ),
            Target::Sqlite(..) => {
                format!("SELECT name FROM pragma_table_info('{table}') ORDER BY 1")
            }
        };
        let rows = self.target.place().rows(&sql).await;
        rows.into_iter()
            .filter_map(|mut row| row.remove(0))
            .collect()
    }

    /// Whether the source's query and the target's return the same rows.
    async fn assert_same(&self, at_source: &str, at_target: &str) {
        let expected = self.source.rows(at_source).await;
        let found = self.target.place().rows(at_target).await;
        assert_eq!(found, expected, "{at_target}");
    }
}

#[tokio::test]
async fn edited_table_becomes_what_is_selected() {
    for lab in Lab::both().await {
        let lab = lab
            .loaded("capture: xmin, columns: [id, name, secret, n], rename: { name: title }")
            .await;

        lab.edit(
            "capture: xmin, columns: [id, code, name, n], where: \"n < 5\", \
             derive: { loud: \"upper(name)\" }, rename: { name: full_name }",
        );
        lab.run().await.expect_success();

        assert_eq!(
            lab.columns("t").await,
            ["code", "full_name", "id", "loud", "n"]
        );
        lab.assert_same(
            "SELECT id, code, name, n, upper(name) FROM t WHERE n < 5 ORDER BY id",
            "SELECT id, code, full_name, n, loud FROM t ORDER BY id",
        )
        .await;
        let again = lab.run().await.expect_success();
        assert!(again.stdout.contains("unchanged"), "{}", again.stdout);
    }
}

#[tokio::test]
async fn plan_says_what_an_edit_changes_and_does() {
    let lab = Lab::new(Target::postgres().await)
        .await
        .loaded("capture: xmin, columns: [id, name, secret]")
        .await;
    lab.source.execute("ANALYZE t").await;

    lab.edit(
        "capture: xmin, columns: [id, name, n], where: \"n < 5\", derive: { loud: \"upper(name)\" }",
    );
    let plan = lab.project.syncset(["pipeline", "plan", "p"]).await;

    insta::assert_snapshot!(plan.snapshot(), @r#"
    exit: 0
    stdout:
    public.t -> public.t: load it again and compare keys: its selection was edited (columns, derive, where)
      edited columns: - secret
      edited columns: + n
      edited derive: + loud = upper("name")
      edited where: + n < 5
      capture: xmin, about 100 rows
      key: id
      exact: id, name, n
      column = upper("name"): text -> loud text
      unique key `t_code_key` (code): left out: `code` is not copied
      source: SELECT "id", "name", "n" FROM "public"."t" WHERE ("n" OPERATOR(pg_catalog.<) '5'::pg_catalog.int8)
      source: SELECT w.c0, CASE WHEN w.member THEN w.c1 END, CASE WHEN w.member THEN w.c2 END, w.member FROM (SELECT "id" AS c0, "name" AS c1, "n" AS c2, ("n" OPERATOR(pg_catalog.<) '5'::pg_catalog.int8) IS TRUE AS member FROM "public"."t" WHERE age("t".xmin) <= age($watermark) ORDER BY "t"."id" OFFSET 0) w
      target: ALTER TABLE "public"."t" DROP COLUMN "secret"
        lock: ACCESS EXCLUSIVE; blocks readers and writers while it runs; writes no row; cannot be undone
      target: ALTER TABLE "public"."t" ADD COLUMN "n" integer
        lock: ACCESS EXCLUSIVE; blocks readers and writers while it runs; writes no row; can be undone
      target: ALTER TABLE "public"."t" ADD COLUMN "loud" text
        lock: ACCESS EXCLUSIVE; blocks readers and writers while it runs; writes no row; can be undone
      note: rows deleted at the source stay: `capture: xmin` does not see deletes
      note: rows are read again in chunks and written where they differ; a run that is killed goes on where it was
      note: rows that are no longer selected are deleted at the end of the load
    "#);
    assert_eq!(lab.columns("t").await, ["id", "name", "secret"]);
    let json = ["pipeline", "plan", "p", "--output", "json"];
    let json = lab.project.syncset(json).await.json();
    assert_eq!(json["tables"][0]["edited"][0]["part"], "columns");
    assert_eq!(json["tables"][0]["edited"][0]["before"], "secret");
}

#[tokio::test]
async fn names_that_are_swapped_keep_their_values_apart() {
    for lab in Lab::both().await {
        let lab = lab.loaded("capture: xmin, columns: [id, code, name]").await;

        lab.edit("capture: xmin, columns: [id, code, name], rename: { code: name, name: code }");
        lab.run().await.expect_success();

        lab.assert_same(
            "SELECT id, name, code FROM t ORDER BY id",
            "SELECT id, code, name FROM t ORDER BY id",
        )
        .await;
    }
}

#[tokio::test]
async fn column_of_another_origin_keeps_no_old_value() {
    for lab in Lab::both().await {
        let settings = |source: &str| {
            format!(
                "capture: xmin, columns: [id, {source}], rename: {{ {source}: x }}, \
                 write: {{ on_delete: keep }}"
            )
        };
        let lab = lab.loaded(&settings("secret")).await;
        lab.source.execute("DELETE FROM t WHERE id > 50").await;

        lab.edit(&settings("name"));
        lab.run().await.expect_success();

        let rows = lab.target.place();
        let rows = rows.rows("SELECT count(*), count(x) FROM t").await;
        assert_eq!(rows, [["100", "50"].map(|it| Some(it.to_owned())).to_vec()]);
        lab.assert_same(
            "SELECT id, name FROM t ORDER BY id",
            "SELECT id, x FROM t WHERE id <= 50 ORDER BY id",
        )
        .await;
    }
}

#[tokio::test]
async fn columns_of_somebody_else_stay_with_their_values() {
    for lab in Lab::both().await {
        let lab = lab.loaded("capture: xmin, columns: [id, secret]").await;
        let theirs = "ALTER TABLE t ADD COLUMN note text; UPDATE t SET note = 'mine ' || id";
        lab.target.place().execute(theirs).await;

        lab.edit("capture: xmin, columns: [id, name]");
        lab.run().await.expect_success();

        assert_eq!(lab.columns("t").await, ["id", "name", "note"]);
        lab.assert_same(
            "SELECT id, 'mine ' || id FROM t ORDER BY id",
            "SELECT id, note FROM t ORDER BY id",
        )
        .await;
        lab.edit("capture: xmin, columns: [id, code], rename: { code: note }");
        let refused = lab.run().await.expect_code(5);
        assert!(refused.stderr.contains("`note`"), "{}", refused.stderr);
        assert_eq!(lab.columns("t").await, ["id", "name", "note"]);
    }
}

#[tokio::test]
async fn copied_values_in_a_column_we_did_not_make_are_for_a_person() {
    for lab in Lab::both().await {
        let theirs = "CREATE TABLE t (id integer PRIMARY KEY, name text, secret text)";
        lab.target.place().execute(theirs).await;
        let lab = lab
            .loaded("capture: xmin, columns: [id, name, secret]")
            .await;

        lab.edit("capture: xmin, columns: [id, name]");
        let refused = lab.run().await.expect_code(5);
        lab.target
            .place()
            .execute("UPDATE t SET secret = NULL")
            .await;
        lab.run().await.expect_success();

        assert!(refused.stderr.contains("`secret`"), "{}", refused.stderr);
        assert!(refused.stderr.contains("SET \"secret\" = NULL"));
        assert_eq!(lab.columns("t").await, ["id", "name", "secret"]);
    }
}

#[tokio::test]
async fn view_on_a_column_that_goes_stops_with_its_name() {
    for lab in Lab::both().await {
        let lab = lab
            .loaded("capture: xmin, columns: [id, name, secret]")
            .await;
        let view = "CREATE VIEW report AS SELECT id, secret FROM t";
        lab.target.place().execute(view).await;
        lab.edit("capture: xmin, columns: [id, name, n]");

        let plan = lab.project.syncset(["pipeline", "plan", "p"]).await;
        let dry = lab
            .project
            .syncset(["pipeline", "run", "p", "--dry-run"])
            .await;
        let refused = lab.run().await;

        for output in [plan, dry, refused] {
            let output = output.expect_code(5);
            assert!(output.stderr.contains("report"), "{}", output.stderr);
        }
        assert_eq!(lab.columns("t").await, ["id", "name", "secret"]);
        let undone = "capture: xmin, columns: [id, name, secret]";
        lab.edit(undone);
        let undone = lab.run().await.expect_success();
        assert!(undone.stdout.contains("unchanged"), "{}", undone.stdout);
        lab.edit("capture: xmin, columns: [id, name, n]");
        lab.target.place().execute("DROP VIEW report").await;
        lab.run().await.expect_success();
        assert_eq!(lab.columns("t").await, ["id", "n", "name"]);
    }
}

#[tokio::test]
async fn reload_goes_on_wherever_it_was_killed() {
    for point in [
        "alter.committed",
        "load.low_known",
        "load.begun",
        "unit.begun",
        "chunk.batch",
        "unit.before_commit",
        "unit.committed",
        "settle.compared",
    ] {
        for lab in Lab::both().await {
            let lab = lab.loaded("capture: xmin, columns: [id, secret, n]").await;
            lab.edit("capture: xmin, columns: [id, name, n], where: \"n < 5\"");

            lab.killed_at(point).await;
            lab.run().await.expect_success();

            assert_eq!(lab.columns("t").await, ["id", "n", "name"], "{point}");
            lab.assert_same(
                "SELECT id, name, n FROM t WHERE n < 5 ORDER BY id",
                "SELECT id, name, n FROM t ORDER BY id",
            )
            .await;
        }
    }
}

#[tokio::test]
async fn undone_or_second_edit_in_the_middle_of_a_reload_wins() {
    for point in ["alter.committed", "load.begun", "unit.committed"] {
        for (settings, wanted) in [
            ("columns: [id, secret, n]", "id, secret, n"),
            ("columns: [id, code, n], where: \"n > 5\"", "id, code, n"),
        ] {
            for lab in Lab::both().await {
                let lab = lab.loaded("capture: xmin, columns: [id, secret, n]").await;
                lab.edit("capture: xmin, columns: [id, name, n], where: \"n < 5\"");
                lab.killed_at(point).await;

                lab.edit(&format!("capture: xmin, {settings}"));
                lab.run().await.expect_success();

                let condition = if settings.contains("where") {
                    "n > 5"
                } else {
                    "true"
                };
                lab.assert_same(
                    &format!("SELECT {wanted} FROM t WHERE {condition} ORDER BY id"),
                    &format!("SELECT {wanted} FROM t ORDER BY id"),
                )
                .await;
                assert_eq!(lab.columns("t").await.len(), 3, "{point}");
            }
        }
    }
}

#[tokio::test]
async fn table_altered_there_and_back_by_killed_runs_is_loaded_again() {
    for lab in Lab::both().await {
        let lab = lab.loaded("capture: xmin, columns: [id, secret]").await;
        lab.edit("capture: xmin, columns: [id, name]");
        lab.killed_at("alter.committed").await;
        lab.edit("capture: xmin, columns: [id, secret]");
        lab.killed_at("alter.committed").await;

        lab.run().await.expect_success();

        lab.assert_same(
            "SELECT id, secret FROM t ORDER BY id",
            "SELECT id, secret FROM t ORDER BY id",
        )
        .await;
    }
}

#[tokio::test]
async fn edit_waits_for_a_person_with_approve() {
    let top = "on_selection_change: approve\n";
    for lab in Lab::both().await {
        let lab = lab.loaded("capture: xmin, columns: [id, secret]").await;
        lab.edit_with(top, "capture: xmin, columns: [id, name], where: \"n < 5\"");

        let refused = lab.run().await.expect_code(5);
        let wrong = lab
            .project
            .syncset(["pipeline", "run", "p", "--approve", "public.u"]);
        let wrong = wrong.await.expect_code(2);
        let before = lab.columns("t").await;
        let agreed = ["pipeline", "run", "p", "--approve", "public.t"];
        lab.project.syncset(agreed).await.expect_success();

        for part in ["where: + n < 5", "columns: - secret", "--approve public.t"] {
            assert!(refused.stderr.contains(part), "{}", refused.stderr);
        }
        assert!(wrong.stderr.contains("public.t"), "{}", wrong.stderr);
        assert_eq!(before, ["id", "secret"]);
        assert_eq!(lab.columns("t").await, ["id", "name"]);
    }
}

#[tokio::test]
async fn edit_is_refused_whatever_the_flags_with_fail() {
    let top = "on_selection_change: fail\n";
    let lab = Lab::new(Target::sqlite()).await;
    let lab = lab.loaded("capture: xmin, columns: [id, secret]").await;
    lab.edit_with(top, "capture: xmin, columns: [id, name]");

    for flags in [&[][..], &["--full-refresh"], &["--approve", "public.t"]] {
        let run = RUN.iter().chain(flags);
        let refused = lab.project.syncset(run).await.expect_code(5);
        assert!(
            refused.stderr.contains("undo the edit"),
            "{}",
            refused.stderr
        );
    }

    assert_eq!(lab.columns("t").await, ["id", "secret"]);
    lab.edit_with(top, "capture: xmin, columns: [id, secret]");
    lab.run().await.expect_success();
}

#[tokio::test]
async fn primary_key_follows_the_key_of_the_pipeline() {
    for lab in Lab::both().await {
        let lab = lab.loaded("capture: full, columns: [id, code, name]").await;

        lab.edit("capture: full, columns: [id, code, name], key: [code]");
        lab.run().await.expect_success();
        lab.source
            .execute("UPDATE t SET id = id + 1000 WHERE id > 90; DELETE FROM t WHERE id = 1")
            .await;
        lab.run().await.expect_success();
        lab.edit("capture: full, columns: [code, name], key: [code]");
        lab.run().await.expect_success();

        lab.assert_same(
            "SELECT code, name FROM t ORDER BY code COLLATE \"C\"",
            lab.target.pick(
                "SELECT code, name FROM t ORDER BY code COLLATE \"C\"",
                "SELECT code, name FROM t ORDER BY code",
            ),
        )
        .await;
        assert_eq!(lab.columns("t").await, ["code", "name"]);
        let doubled = "INSERT INTO t (code, name) VALUES ('c2', 'twice')";
        let refused = match &lab.target {
            Target::Postgres(database) => database.try_execute(doubled).await.is_err(),
            Target::Mysql(database) => database.try_execute(doubled).await.is_err(),
            Target::Sqlite(file, _) => {
                let sql = "SELECT sql LIKE '%PRIMARY KEY (\"code\")%' FROM sqlite_schema \
                           WHERE name = 't'";
                file.rows(sql).await == [[Some("1".to_owned())]]
            }
        };
        assert!(refused, "nothing makes `code` unique");
    }
}

#[tokio::test]
async fn key_that_the_rows_do_not_have_yet_is_for_a_person() {
    for lab in Lab::both().await {
        let lab = lab.loaded("capture: full, columns: [id, name]").await;
        lab.edit("capture: full, columns: [id, code, name], key: [code]");

        let refused = lab.run().await.expect_code(5);
        lab.target.place().execute("DROP TABLE t").await;
        lab.run().await.expect_success();

        assert!(refused.stderr.contains("DROP TABLE"), "{}", refused.stderr);
        lab.assert_same(
            "SELECT id, code, name FROM t ORDER BY id",
            "SELECT id, code, name FROM t ORDER BY id",
        )
        .await;
    }
}

#[tokio::test]
async fn table_that_is_written_no_longer_is_left_and_let_go() {
    for lab in Lab::both().await {
        let lab = lab.loaded("capture: xmin, columns: [id, name]").await;

        lab.edit("capture: xmin, columns: [id, name], to: other");
        let moved = lab.run().await.expect_success();

        assert!(moved.stderr.contains("DROP TABLE"), "{}", moved.stderr);
        for table in ["t", "other"] {
            lab.assert_same(
                "SELECT id, name FROM t ORDER BY id",
                &format!("SELECT id, name FROM {table} ORDER BY id"),
            )
            .await;
        }
        // Nobody has it any more: its rows are somebody's, and another pipeline may have its name.
        let other = "version: 1\nsource: source\ntarget: target\n\
                     tables: { public.t: { capture: full, columns: [id, n] } }\n";
        lab.project.pipeline("q", other);
        lab.project
            .syncset(["pipeline", "run", "q"])
            .await
            .expect_code(8);
        lab.target.place().execute("DROP TABLE t").await;
        lab.project
            .syncset(["pipeline", "run", "q"])
            .await
            .expect_success();
        assert_eq!(lab.columns("t").await, ["id", "n"]);
    }
}

#[tokio::test]
async fn rows_of_others_in_the_new_table_stop_an_edit() {
    for lab in Lab::both().await {
        let lab = lab.loaded("capture: xmin, columns: [id, name]").await;
        let theirs = "CREATE TABLE other (id integer PRIMARY KEY, name text); \
                      INSERT INTO other VALUES (1000, 'mine')";
        lab.target.place().execute(theirs).await;

        lab.edit("capture: xmin, columns: [id, name], to: other");
        let refused = [&RUN[..], &["--full-refresh"]].concat();
        lab.run().await.expect_code(8);
        lab.project.syncset(refused).await.expect_code(8);

        let rows = lab.target.place();
        assert_eq!(
            rows.rows("SELECT count(*) FROM other").await[0][0].as_deref(),
            Some("1")
        );
    }
}

#[tokio::test]
async fn table_that_left_the_pipeline_is_spoken_of_and_may_come_back() {
    for lab in Lab::both().await {
        lab.source
            .execute("CREATE TABLE u (id int PRIMARY KEY)")
            .await;
        let lab = lab.loaded("capture: xmin, columns: [id, name]").await;
        let with = |settings: &str| {
            let text = format!(
                "version: 1\nsource: source\ntarget: target\ntables:\n  public.u: {{}}\n{settings}"
            );
            lab.project.pipeline("p", &text);
        };

        with("  public.t: skip\n");
        let plan = lab.project.syncset(["pipeline", "plan", "p"]).await;
        let run = lab.run().await;
        let status = lab.project.syncset(["pipeline", "status", "p"]).await;
        lab.source
            .execute("UPDATE t SET name = 'new' WHERE id = 7")
            .await;
        with("  public.t: { capture: xmin, columns: [id, name] }\n");
        lab.run().await.expect_success();

        for output in [plan, run, status] {
            let output = output.expect_success();
            let text = format!("{}{}", output.stdout, output.stderr);
            assert!(
                text.contains("pipeline reset p --tables public.t"),
                "{text}"
            );
        }
        lab.assert_same(
            "SELECT id, name FROM t ORDER BY id",
            "SELECT id, name FROM t ORDER BY id",
        )
        .await;

        with("");
        // As a pipeline may name it, without the schema.
        let reset = ["pipeline", "reset", "p", "--tables", "t"];
        lab.project.syncset(reset).await.expect_success();
        let quiet = lab.run().await.expect_success();
        assert!(!quiet.stderr.contains("public.t"), "{}", quiet.stderr);
        // Nothing is known of it any more: its rows are nobody's, and so is its name.
        with("  public.t: { capture: xmin, columns: [id, code] }\n");
        let taken = lab.run().await;
        assert_eq!(taken.code, 8, "{}", taken.stderr);
        assert!(taken.stderr.contains("did not write"), "{}", taken.stderr);
        lab.target.place().execute("DROP TABLE t").await;
        lab.run().await.expect_success();
        assert_eq!(lab.columns("t").await, ["code", "id"]);
        lab.assert_same(
            "SELECT id, code FROM t ORDER BY id",
            "SELECT id, code FROM t ORDER BY id",
        )
        .await;
    }
}

#[tokio::test]
async fn table_of_a_renamed_pipeline_is_altered_like_any_other() {
    for lab in Lab::both().await {
        let lab = lab.loaded("capture: xmin, columns: [id, name, code]").await;
        let files = lab.project.path().join("pipelines");
        std::fs::rename(files.join("p.yaml"), files.join("q.yaml")).expect("both are names");
        let adopt = ["pipeline", "adopt", "p", "q"];
        lab.project.syncset(adopt).await.expect_success();

        lab.project.pipeline(
            "q",
            "version: 1\nsource: source\ntarget: target\ntables:\n  \
             public.t: { capture: xmin, columns: [id, code] }\n",
        );
        lab.project
            .syncset(["pipeline", "run", "q"])
            .await
            .expect_success();

        assert_eq!(lab.columns("t").await, ["code", "id"]);
        let select = "SELECT id, code FROM t ORDER BY id";
        lab.assert_same(select, select).await;
    }
}

#[tokio::test]
async fn alteration_waits_for_readers_of_the_table() {
    let target = kit::postgres().await.database("edit_locked").await;
    let mut reader = target.connect().await;
    let lab = Lab::new(Target::Postgres(target)).await;
    let lab = lab.loaded("capture: xmin, columns: [id, secret]").await;
    send(&mut reader, "BEGIN; SELECT count(*) FROM t").await;
    lab.edit("capture: xmin, columns: [id, name]");

    let run = lab.project.spawn(RUN);
    let waits = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 't'::regclass";
    let waiting = async || {
        let rows = lab.target.place().rows(waits).await;
        rows[0][0].as_deref() != Some("0")
    };
    kit::eventually("the alteration waits", waiting).await;
    send(&mut reader, "COMMIT").await;
    run.wait().await.expect_success();

    assert_eq!(lab.columns("t").await, ["id", "name"]);
}

#[tokio::test]
async fn table_of_another_owner_is_altered_by_its_owner() {
    let target = kit::postgres().await.database("edit_owned").await;
    let create = format!("CREATE ON DATABASE \"{}\"", target.name());
    let role = target.role("writer", &[create.as_str()]).await;
    let source = kit::postgres().await.database("edit_source").await;
    source.execute(SOURCE).await;
    let project = Project::between(&source.url(), &role.url);
    target
        .execute(&format!(
            "CREATE TABLE t (id integer PRIMARY KEY, name text);
             GRANT ALL ON t TO \"{}\"",
            role.name
        ))
        .await;
    let lab = Lab {
        source,
        target: Target::Postgres(target),
        project,
    };
    let lab = lab.loaded("capture: xmin, columns: [id, name]").await;
    lab.edit("capture: xmin, columns: [id, name, n]");

    let refused = lab.run().await.expect_code(5);
    lab.target
        .place()
        .execute("ALTER TABLE t ADD COLUMN n integer")
        .await;
    lab.run().await.expect_success();

    assert!(
        refused.stderr.contains("ADD COLUMN \"n\" integer"),
        "{}",
        refused.stderr
    );
    lab.assert_same(
        "SELECT id, name, n FROM t ORDER BY id",
        "SELECT id, name, n FROM t ORDER BY id",
    )
    .await;
}
