//! Comments of the source at target tables that syncset creates.

use crate::targets::Target;
use kit::{Engine, Project};
use serde_json::Value;

const RUN: [&str; 5] = ["pipeline", "run", "p", "--output", "json"];

struct Lab {
    source: Target,
    target: Target,
    project: Project,
}

impl Lab {
    async fn new((source, target): (Engine, Engine)) -> Self {
        let (source, target) = (source.database("said").await, target.database("said").await);
        let project = Project::between(&source.url(), &target.url());
        Self {
            source,
            target,
            project,
        }
    }

    fn edit(&self, settings: &str) {
        let text = format!(
            "version: 1\nsource: source\ntarget: target\ncopy: {{ comments: true }}\n\
             tables:\n  people: {{ capture: full, {settings} }}\n"
        );
        self.project.pipeline("p", &text.replace(", }", " }"));
    }

    async fn runs(&self) -> Value {
        self.project.syncset(RUN).await.expect_success().json()
    }

    /// Says something of the source's table, or of a column of it.
    async fn say(&self, of: Option<&str>, text: &str) {
        let sql = match (of, self.source.engine()) {
            (Some(column), Engine::Postgres) => {
                format!("COMMENT ON COLUMN people.{column} IS '{text}'")
            }
            (None, Engine::Postgres) => format!("COMMENT ON TABLE people IS '{text}'"),
            (Some(column), _) => {
                format!("ALTER TABLE people MODIFY {column} varchar(20) COMMENT '{text}'")
            }
            (None, _) => format!("ALTER TABLE people COMMENT '{text}'"),
        };
        self.source.execute(&sql).await;
    }

    /// What is said of the target's table, then of its columns in their order.
    async fn said(&self) -> Vec<String> {
        let sql = self.target.own(
            "SELECT coalesce(col_description('people'::regclass, n), '') FROM \
             generate_series(0, (SELECT max(attnum) FROM pg_attribute \
             WHERE attrelid = 'people'::regclass)) n WHERE n = 0 OR EXISTS (SELECT FROM pg_attribute \
             WHERE attrelid = 'people'::regclass AND attnum = n AND NOT attisdropped) ORDER BY n",
            "SELECT ''",
            "SELECT said FROM (SELECT 0 place, TABLE_COMMENT said FROM information_schema.TABLES \
             WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = 'people' UNION ALL \
             SELECT ORDINAL_POSITION, COLUMN_COMMENT FROM information_schema.COLUMNS \
             WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = 'people') t ORDER BY place",
        );
        let rows = self.target.rows(sql).await;
        let said = rows.into_iter().flatten().map(Option::unwrap_or_default);
        let unmarked = said.map(|it| it.split("[syncset").next().unwrap_or_default().to_owned());
        unmarked.map(|it| it.trim_end().to_owned()).collect()
    }
}

#[tokio::test]
async fn comments_follow_the_source_through_changes_of_columns() {
    for pair in [
        (Engine::Postgres, Engine::Postgres),
        (Engine::Postgres, Engine::Mysql),
        (Engine::Mysql, Engine::Mariadb),
        (Engine::Mariadb, Engine::Postgres),
    ] {
        let lab = Lab::new(pair).await;
        lab.source
            .execute("CREATE TABLE people (id int PRIMARY KEY, name varchar(20), mail varchar(20))")
            .await;
        lab.source
            .execute("INSERT INTO people VALUES (1, 'a', 'b')")
            .await;
        lab.say(None, "who''s who").await;
        lab.say(Some("name"), "of a person").await;
        lab.edit("");

        lab.runs().await;
        let first = lab.said().await;
        lab.say(Some("name"), "").await;
        lab.say(Some("mail"), "where to").await;
        lab.runs().await;
        let second = lab.said().await;
        let longer = match pair.0 {
            Engine::Postgres => "ALTER TABLE people ALTER mail TYPE varchar(25)",
            _ => "ALTER TABLE people MODIFY mail varchar(25) COMMENT 'where to'",
        };
        lab.source.execute(longer).await;
        lab.runs().await;
        let widened = lab.said().await;
        lab.edit("rename: { mail: address }");
        lab.runs().await;
        let renamed = lab.said().await;
        let quiet = lab.runs().await;

        assert_eq!(first, ["who's who", "", "of a person", ""], "{pair:?}");
        assert_eq!(second, ["who's who", "", "", "where to"], "{pair:?}");
        assert_eq!(widened, second, "{pair:?}");
        assert_eq!(renamed, second, "{pair:?}");
        assert_eq!(
            quiet["tables"][0]["warnings"],
            Value::Null,
            "{pair:?}: {quiet}"
        );
    }
}

#[tokio::test]
async fn plan_says_which_comments_are_to_be_set() {
    for (target, said) in [
        (
            Engine::Postgres,
            "comments of the table, `id` are set once the rows are there",
        ),
        (
            Engine::Sqlite,
            "comments are left out: the target keeps none",
        ),
    ] {
        let lab = Lab::new((Engine::Postgres, target)).await;
        lab.source
            .execute(
                "CREATE TABLE people (id int PRIMARY KEY); COMMENT ON COLUMN people.id IS 'number'; \
                 COMMENT ON TABLE people IS 'all'",
            )
            .await;
        lab.edit("");

        let plan = lab.project.syncset(["pipeline", "plan", "p"]).await;
        let before = plan.expect_success().stdout.clone();
        lab.runs().await;
        lab.project
            .syncset(["schema", "diff", "p"])
            .await
            .expect_success();
        let after = lab.project.syncset(["pipeline", "plan", "p"]).await;

        assert!(before.contains(said), "{target:?}: {before}");
        let is_over = target == Engine::Postgres;
        let after = after.expect_success().stdout.clone();
        assert_eq!(after.contains("comments"), !is_over, "{target:?}: {after}");
    }
}
