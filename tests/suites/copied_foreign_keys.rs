//! Foreign keys of the source, and indexes that are more than a list of columns, at target tables
//! that syncset creates.

use crate::targets::Target;
use kit::{Engine, Output, Project};
use serde_json::Value;

const RUN: [&str; 7] = [
    "pipeline",
    "run",
    "p",
    "--on-lock",
    "wait=30s",
    "--output",
    "json",
];

const SHOP: &str = "CREATE TABLE customers (id int PRIMARY KEY, name varchar(20)); \
    CREATE TABLE orders (id int PRIMARY KEY, customer int, \
      CONSTRAINT orders_of FOREIGN KEY (customer) REFERENCES customers (id)); \
    INSERT INTO customers VALUES (1, 'one'), (2, 'two'), (3, 'three'); \
    INSERT INTO orders VALUES (10, 1), (11, 2), (12, NULL)";

/// An order moves to a new customer, and a customer goes with an order.
const CHANGES: &str = "INSERT INTO customers VALUES (4, 'four'); \
    UPDATE orders SET customer = 4 WHERE id = 10; DELETE FROM orders WHERE id = 11; \
    DELETE FROM customers WHERE id = 2; INSERT INTO orders VALUES (13, 4)";

const TABLES: [&str; 2] = ["customers", "orders"];

struct Lab {
    source: Target,
    target: Target,
    project: Project,
}

impl Lab {
    async fn new((source, target): (Engine, Engine), create: &str) -> Self {
        let (source, target) = (
            source.database("fkeys").await,
            target.database("fkeys").await,
        );
        let project = Project::between(&source.url(), &target.url());
        source.execute(create).await;
        let lab = Self {
            source,
            target,
            project,
        };
        lab.edit(
            "copy: { foreign_keys: true }",
            &TABLES.map(|table| (table, "")),
        );
        lab
    }

    async fn postgres(create: &str) -> Self {
        Self::new((Engine::Postgres, Engine::Postgres), create).await
    }

    /// Writes the pipeline: settings of all tables, then tables with settings of their own.
    fn edit(&self, settings: &str, tables: &[(&str, &str)]) {
        self.write("consistency: pipeline", settings, tables);
    }

    fn write(&self, top: &str, settings: &str, tables: &[(&str, &str)]) {
        let tables = tables
            .iter()
            .map(|(table, own)| format!("  {table}: {{ {own} }}\n"));
        let text = format!(
            "version: 1\nsource: source\ntarget: target\n{top}\n\
             guards: {{ max_delete_percent: 100, empty_source: allow }}\n\
             defaults:\n  capture: full\n  {settings}\ntables:\n{}",
            tables.collect::<String>()
        );
        self.project.pipeline("p", &text);
    }

    async fn run(&self) -> Output {
        self.project.syncset(RUN).await
    }

    /// A run that ends well; what it says.
    async fn runs(&self) -> Value {
        self.run().await.expect_success().json()
    }

    async fn killed_at(&self, point: &str) {
        let action = format!("{point}=exit9");
        let run = self
            .project
            .spawn_with(RUN, &[("SYNCSET_FAIL_POINT", action.as_str())]);
        run.wait().await.expect_code(137);
    }

    /// What becomes of the keys and indexes of a table that are said to come along.
    async fn told(&self, table: &str) -> Vec<String> {
        let words = ["pipeline", "plan", "p", "--output", "json"];
        let plan = self.project.syncset(words).await.expect_success().json();
        let tables = plan["tables"].as_array().cloned().unwrap_or_default();
        let is_it = |it: &&Value| {
            let name = it["table"].as_str().unwrap_or_default();
            name == table || name.ends_with(&format!(".{table}"))
        };
        let found = tables.iter().find(is_it).expect("the table is planned");
        let keys = found["indexes"].as_array().cloned().unwrap_or_default();
        let told = keys.iter().map(|key| {
            let name = key["name"].as_str().unwrap_or("-");
            let becomes = key["becomes"].as_str().unwrap_or("?");
            format!("{name}: {becomes}: {}", key["why"].as_str().unwrap_or("?"))
        });
        told.collect()
    }

    /// The foreign keys of the target: table, columns and parent, and what is special about them.
    async fn keys(&self) -> Vec<String> {
        let sql = self.target.own(
            "SELECT conrelid::regclass || ' ' || pg_get_constraintdef(oid) FROM pg_constraint \
             WHERE contype = 'f' AND connamespace = 'public'::regnamespace ORDER BY 1",
            "SELECT m.name || ' ' || f.\"from\" FROM sqlite_schema m, pragma_foreign_key_list(m.name) f \
             WHERE m.type = 'table'",
            "SELECT CONCAT(TABLE_NAME, ' (', COLUMN_NAME, ') ', REFERENCED_TABLE_NAME) \
             FROM information_schema.KEY_COLUMN_USAGE WHERE TABLE_SCHEMA = DATABASE() \
             AND REFERENCED_TABLE_NAME IS NOT NULL ORDER BY 1",
        );
        let rows = self.target.rows(sql).await;
        rows.into_iter()
            .filter_map(|mut row| row.remove(0))
            .collect()
    }

    async fn assert_same(&self, tables: &[&str]) {
        for table in tables {
            let sql = format!("SELECT * FROM {table} ORDER BY id");
            let (source, target) = (self.source.rows(&sql).await, self.target.rows(&sql).await);
            assert_eq!(target, source, "{table}");
        }
    }

    /// Nothing is left to be done, and nothing is warned of.
    async fn assert_quiet(&self) {
        let last = self.runs().await;
        for table in last["tables"].as_array().expect("a report has tables") {
            assert_eq!(table["rows_written"], 0, "{table:#}");
            assert_eq!(table["warnings"], Value::Null, "{table:#}");
        }
        self.project
            .syncset(["schema", "diff", "p"])
            .await
            .expect_success();
    }
}

/// The one foreign key of the shop at a target of this engine.
fn of_shop(target: Engine) -> &'static str {
    match target {
        Engine::Postgres => {
            "orders FOREIGN KEY (customer) REFERENCES customers(id) DEFERRABLE INITIALLY DEFERRED"
        }
        _ => "orders (customer) customers",
    }
}

#[tokio::test]
async fn foreign_keys_come_along_and_no_row_is_refused() {
    for pair in [
        (Engine::Postgres, Engine::Postgres),
        (Engine::Mysql, Engine::Mysql),
        (Engine::Postgres, Engine::Mariadb),
        (Engine::Mariadb, Engine::Postgres),
    ] {
        let lab = Lab::new(pair, SHOP).await;

        let told = lab.told("orders").await;
        lab.runs().await;
        let keys = lab.keys().await;
        lab.source.execute(CHANGES).await;
        lab.runs().await;

        assert_eq!(
            told.last().map(String::as_str),
            Some("orders_of: foreign_key: the changes of all tables are committed together"),
            "{pair:?}: {told:?}"
        );
        assert_eq!(keys, [of_shop(pair.1)], "{pair:?}");
        assert_eq!(lab.keys().await, keys, "{pair:?}");
        lab.assert_same(&TABLES).await;
        lab.assert_quiet().await;
        lab.edit("copy: { foreign_keys: false }", &TABLES.map(|it| (it, "")));
        lab.runs().await;
        assert_eq!(lab.keys().await, [""; 0], "{pair:?}");
    }
}

#[tokio::test]
async fn plan_says_why_a_foreign_key_is_left_out() {
    let lab = Lab::postgres(
        "CREATE TABLE customers (id int PRIMARY KEY, name text, code int UNIQUE, rev int NOT NULL DEFAULT 1); \
         CREATE TABLE orders (id int PRIMARY KEY, customer int REFERENCES customers, rev int NOT NULL DEFAULT 1, \
           code int CONSTRAINT by_code REFERENCES customers (code), boss int); \
         ALTER TABLE orders ADD CONSTRAINT unchecked FOREIGN KEY (boss) REFERENCES customers NOT VALID",
    )
    .await;
    let copy = "copy: { foreign_keys: true }";
    let cursor = "capture: { mode: cursor, column: rev, overlap: 10 }";
    let mut said = String::new();
    for (customers, orders) in [
        ("", ""),
        ("where: id > 0", ""),
        ("columns: [id]", "columns: [id, rev]"),
        ("mask: { name: redact }", "mask: { customer: redact }"),
        ("", "write: { on_delete: soft }"),
        ("", cursor),
        ("write: { on_delete: keep }", cursor),
    ] {
        lab.edit(copy, &[("customers", customers), ("orders", orders)]);
        let told = lab.told("orders").await.join("\n  ");
        said.push_str(&format!("[{customers}] [{orders}]\n  {told}\n"));
    }
    lab.write("", copy, &TABLES.map(|table| (table, "")));
    said.push_str(&format!(
        "each by itself\n  {}\n",
        lab.told("orders").await.join("\n  ")
    ));
    lab.edit(copy, &[("orders", "")]);
    said.push_str(&format!(
        "alone\n  {}\n",
        lab.told("orders").await.join("\n  ")
    ));
    insta::assert_snapshot!(said, @r"
    [] []
      by_code: nothing: (code) is not the key of `public.customers`
      orders_customer_fkey: foreign_key: the changes of all tables are committed together
      unchecked: nothing: the source may hold rows that do not keep to it
    [where: id > 0] []
      by_code: nothing: (code) is not the key of `public.customers`
      orders_customer_fkey: nothing: some rows of `public.customers` only are selected
      unchecked: nothing: the source may hold rows that do not keep to it
    [columns: [id]] [columns: [id, rev]]
      by_code: nothing: `code` is not copied
      orders_customer_fkey: nothing: `customer` is not copied
      unchecked: nothing: the source may hold rows that do not keep to it
    [mask: { name: redact }] [mask: { customer: redact }]
      by_code: nothing: (code) is not the key of `public.customers`
      orders_customer_fkey: nothing: `customer` is masked
      unchecked: nothing: the source may hold rows that do not keep to it
    [] [write: { on_delete: soft }]
      by_code: nothing: (code) is not the key of `public.customers`
      orders_customer_fkey: nothing: rows of `public.orders` that are gone stay, and those of `public.customers` do not
      unchecked: nothing: the source may hold rows that do not keep to it
    [] [capture: { mode: cursor, column: rev, overlap: 10 }]
      by_code: nothing: (code) is not the key of `public.customers`
      orders_customer_fkey: nothing: the capture of `public.orders` does not see deletes, so that rows that are gone could refer to rows of `public.customers` that are deleted
      unchecked: nothing: the source may hold rows that do not keep to it
    [write: { on_delete: keep }] [capture: { mode: cursor, column: rev, overlap: 10 }]
      by_code: nothing: (code) is not the key of `public.customers`
      orders_customer_fkey: foreign_key: the changes of all tables are committed together
      unchecked: nothing: the source may hold rows that do not keep to it
    each by itself
      by_code: nothing: tables are committed one by one, so that rows could come before those that they refer to; `consistency: pipeline` commits them together
      orders_customer_fkey: nothing: tables are committed one by one, so that rows could come before those that they refer to; `consistency: pipeline` commits them together
      unchecked: nothing: tables are committed one by one, so that rows could come before those that they refer to; `consistency: pipeline` commits them together
    alone
      by_code: nothing: `public.customers` is not copied by this pipeline
      orders_customer_fkey: nothing: `public.customers` is not copied by this pipeline
      unchecked: nothing: `public.customers` is not copied by this pipeline
    ");
    lab.runs().await;
    assert_eq!(lab.keys().await, [""; 0]);
}

#[tokio::test]
async fn foreign_key_is_built_once_whenever_a_run_is_killed() {
    for target in [Engine::Postgres, Engine::Mysql] {
        for point in ["indexes.begun", "indexes.step", "indexes.step:2"] {
            let lab = Lab::new((Engine::Postgres, target), SHOP).await;

            lab.killed_at(point).await;
            lab.runs().await;

            assert_eq!(lab.keys().await, [of_shop(target)], "{target:?} {point}");
            lab.assert_quiet().await;
        }
    }
}

#[tokio::test]
async fn tables_at_both_ends_of_a_foreign_key_can_change() {
    for (pair, larger) in [
        (
            (Engine::Postgres, Engine::Postgres),
            [
                "ALTER TABLE customers ALTER id TYPE bigint",
                "ALTER TABLE orders ALTER customer TYPE bigint",
            ],
        ),
        (
            (Engine::Postgres, Engine::Mysql),
            [
                "ALTER TABLE customers ALTER id TYPE bigint",
                "ALTER TABLE orders ALTER customer TYPE bigint",
            ],
        ),
    ] {
        let lab = Lab::new(pair, SHOP).await;
        lab.runs().await;
        let copy = "copy: { foreign_keys: true }\n  schema: evolve";
        lab.edit(copy, &TABLES.map(|table| (table, "")));

        for statement in larger {
            lab.source.execute(statement).await;
        }
        lab.source
            .execute("INSERT INTO customers VALUES (9876543210, 'far'); INSERT INTO orders VALUES (20, 9876543210)")
            .await;
        let agreed = lab.project.syncset(["schema", "approve", "p"]).await;
        agreed.expect_success();
        lab.assert_same(&TABLES).await;
        let widened = lab.keys().await;
        lab.source
            .execute("ALTER TABLE customers RENAME id TO number; ALTER TABLE orders RENAME customer TO buyer")
            .await;
        lab.runs().await;
        let renamed = lab.keys().await;
        lab.source.execute("ALTER TABLE orders DROP buyer").await;
        lab.runs().await;

        assert_eq!(widened, [of_shop(pair.1)], "{pair:?}");
        assert_eq!(renamed.len(), 1, "{pair:?}: {renamed:?}");
        assert!(renamed[0].contains("(buyer)"), "{renamed:?}");
        assert_eq!(lab.keys().await, [""; 0], "{pair:?}");
        lab.assert_quiet().await;
    }
}

#[tokio::test]
async fn rows_that_refer_to_each_other_pass_where_keys_are_deferred() {
    let chain = "CREATE TABLE people (id int PRIMARY KEY, boss int REFERENCES people (id)); \
        INSERT INTO people VALUES (1, 3), (2, 1), (3, 2)";
    for target in [Engine::Postgres, Engine::Mariadb] {
        let lab = Lab::new((Engine::Postgres, target), chain).await;
        lab.edit("copy: { foreign_keys: true }", &[("people", "")]);

        let told = lab.told("people").await;
        lab.runs().await;
        let keys = lab.keys().await;
        lab.source
            .execute(
                "BEGIN; ALTER TABLE people DROP CONSTRAINT people_boss_fkey; \
                 INSERT INTO people VALUES (5, 6), (6, 5); \
                 UPDATE people SET id = id + 10, boss = boss + 10 WHERE id < 4; \
                 ALTER TABLE people ADD FOREIGN KEY (boss) REFERENCES people (id); COMMIT",
            )
            .await;
        lab.runs().await;

        lab.assert_same(&["people"]).await;
        let is_kept = target == Engine::Postgres;
        assert_eq!(keys.len(), usize::from(is_kept), "{target:?}: {told:?}");
        assert!(is_kept || told[0].contains("row by row"), "{told:?}");
    }
}

#[tokio::test]
async fn foreign_key_that_rows_break_is_told_and_rows_go_on() {
    let lab = Lab::postgres(SHOP).await;
    lab.killed_at("load.begun").await;
    lab.target
        .execute(
            "CREATE FUNCTION nobody() RETURNS trigger LANGUAGE plpgsql AS \
             $$ BEGIN NEW.customer := 99; RETURN NEW; END $$; \
             CREATE TRIGGER nobody BEFORE INSERT OR UPDATE ON orders FOR EACH ROW EXECUTE FUNCTION nobody()",
        )
        .await;

    let first = lab.runs().await;
    let none = lab.keys().await;
    lab.target.execute("DROP TRIGGER nobody ON orders").await;
    let second = lab.runs().await;

    let said = first["tables"].to_string();
    assert!(
        said.contains(
            "foreign key `orders_of` (customer) to public.customers (id) could not be made"
        ),
        "{said}"
    );
    assert!(said.contains("refer to rows that are not there"), "{said}");
    assert_eq!(none, [""; 0]);
    assert!(
        !second["tables"].to_string().contains("could not be made"),
        "{second}"
    );
    assert_eq!(lab.keys().await, [of_shop(Engine::Postgres)]);
    lab.assert_same(&TABLES).await;
}

#[tokio::test]
async fn indexes_are_spelled_as_at_the_source_where_both_are_postgres() {
    let create = "CREATE TABLE docs (id int PRIMARY KEY, name text, tags int[], size int); \
        CREATE FUNCTION mine(text) RETURNS text IMMUTABLE LANGUAGE sql AS 'SELECT $1'; \
        CREATE INDEX docs_lower ON docs (lower(name) DESC, size) WHERE size > 3; \
        CREATE INDEX docs_tags ON docs USING gin (tags); \
        CREATE INDEX docs_mine ON docs (mine(name)); \
        INSERT INTO docs VALUES (1, 'A', '{1,2}', 5)";
    let lab = Lab::postgres(create).await;
    let copy = "copy: { indexes: true }";
    let indexes = "SELECT indexdef FROM pg_indexes WHERE tablename = 'docs' ORDER BY 1";

    lab.edit(copy, &[("docs", "")]);
    let told = lab.told("docs").await;
    lab.runs().await;
    let built = lab.target.rows(indexes).await;
    lab.source
        .execute(
            "DROP INDEX docs_lower; CREATE INDEX docs_lower ON docs (lower(name)) WHERE size > 4",
        )
        .await;
    lab.runs().await;
    let changed = lab.target.rows(indexes).await;
    lab.edit(copy, &[("docs", "rename: { name: title }")]);
    let renamed = lab.told("docs").await;
    lab.runs().await;

    insta::assert_snapshot!(told.join("\n"), @r"
    docs_lower: index: as at the source
    docs_mine: nothing: it names more than columns of its table
    docs_tags: index: as at the source
    ");
    insta::assert_snapshot!(renamed.join("\n"), @r"
    docs_lower: nothing: `name` has another name at the target
    docs_mine: nothing: it names more than columns of its table
    docs_tags: index: as at the source
    ");
    let text = |rows: Vec<Vec<Option<String>>>| {
        let lines: Vec<String> = rows.into_iter().flatten().flatten().collect();
        lines.join("\n")
    };
    insta::assert_snapshot!(text(built), @r"
    CREATE INDEX docs_lower ON public.docs USING btree (lower(name) DESC, size) WHERE (size > 3)
    CREATE INDEX docs_tags ON public.docs USING gin (tags)
    CREATE UNIQUE INDEX docs_pkey ON public.docs USING btree (id)
    ");
    insta::assert_snapshot!(text(changed), @r"
    CREATE INDEX docs_lower ON public.docs USING btree (lower(name)) WHERE (size > 4)
    CREATE INDEX docs_tags ON public.docs USING gin (tags)
    CREATE UNIQUE INDEX docs_pkey ON public.docs USING btree (id)
    ");
    insta::assert_snapshot!(text(lab.target.rows(indexes).await), @r"
    CREATE INDEX docs_tags ON public.docs USING gin (tags)
    CREATE UNIQUE INDEX docs_pkey ON public.docs USING btree (id)
    ");
    lab.assert_quiet().await;
}
