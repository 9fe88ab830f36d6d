//! Two databases and an empty folder for `init`.

use kit::{Database, Output, Project};

const SHOP: &str = "
    CREATE TABLE customers (id int PRIMARY KEY, name text, email text, birth_date date,
      password_hash text, updated_at timestamptz NOT NULL DEFAULT now());
    CREATE INDEX ON customers (updated_at);
    CREATE FUNCTION stamp() RETURNS trigger LANGUAGE plpgsql AS
      $$ BEGIN NEW.updated_at = clock_timestamp(); RETURN NEW; END $$;
    CREATE TRIGGER stamp BEFORE UPDATE ON customers FOR EACH ROW EXECUTE FUNCTION stamp();
    CREATE TABLE orders (id int PRIMARY KEY, customer_id int REFERENCES customers,
      total numeric(12,2), doubled numeric GENERATED ALWAYS AS (total * 2) STORED,
      modified timestamp NOT NULL DEFAULT now());
    CREATE TABLE countries (code text NOT NULL UNIQUE, label text);
    CREATE TABLE keyless (at timestamptz, line text);
    CREATE TABLE \"Odd.Name: #1\" (\"Key Column\" int PRIMARY KEY, \"no\" text);
    CREATE VIEW v_totals AS SELECT customer_id, sum(total) FROM orders GROUP BY 1;
    INSERT INTO customers SELECT i, 'n' || i, 'e' || i, '2000-01-01', 'p' FROM generate_series(1, 30) i;
    INSERT INTO orders (id, customer_id, total) SELECT i, i, i FROM generate_series(1, 30) i;
    INSERT INTO keyless VALUES (NULL, 'a'), (NULL, 'a');
    INSERT INTO countries VALUES ('DE', 'Germany'), ('FR', 'France');
    INSERT INTO \"Odd.Name: #1\" VALUES (1, 'x');
    ANALYZE";

/// Two databases, of which the first has tables.
pub(crate) struct Lab {
    pub(crate) source: Database,
    pub(crate) target: Database,
    pub(crate) project: Project,
}

impl Lab {
    pub(crate) async fn new() -> Self {
        let server = kit::postgres().await;
        let lab = Self {
            source: server.database("init_source").await,
            target: server.database("init_target").await,
            project: Project::empty(),
        };
        lab.source.execute(SHOP).await;
        lab
    }

    pub(crate) async fn init(&self, more: &[&str]) -> Output {
        let (from, to) = (self.source.url(), self.target.url());
        let arguments = ["init", "--from", &from, "--to", &to, "--name", "p"];
        self.project
            .syncset(arguments.into_iter().chain(more.iter().copied()))
            .await
    }

    /// A text without what changes from run to run.
    pub(crate) fn stable(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (name, plain) in [(self.source.name(), "crm"), (self.target.name(), "reports")] {
            text = text.replace(name, plain);
            text = text.replace(&name.to_ascii_uppercase(), &plain.to_ascii_uppercase());
        }
        let filters = [
            (r"127\.0\.0\.1:\d+", "127.0.0.1:[port]"),
            (r"\b\d+ (B|KiB)\b", "[size]"),
            (r"PostgreSQL \d[^,]*", "PostgreSQL [version]"),
            (r"syncset-project-\w+", "[folder]"),
        ];
        for (pattern, replacement) in filters {
            let pattern = regex::Regex::new(pattern).unwrap();
            text = pattern.replace_all(&text, replacement).into_owned();
        }
        text
    }
}
