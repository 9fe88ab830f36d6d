//! A real schema, whole and selected, in all four directions.

use kit::{
    CHINOOK_TABLES, ChinookTable, Comparison, Database, Place, Project, SqliteFile, TextRow,
};
use serde_json::Value;

/// A side of a pipeline, opened.
enum Side {
    Postgres(Database),
    Sqlite(
        SqliteFile,
        #[expect(dead_code, reason = "keeps the folder")] tempfile::TempDir,
    ),
}

impl Side {
    async fn postgres() -> Self {
        Self::Postgres(kit::postgres().await.database("chinook").await)
    }

    fn sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = SqliteFile::new(folder.path().join("chinook.db"));
        Self::Sqlite(file, folder)
    }

    fn place(&self) -> Place<'_> {
        match self {
            Self::Postgres(database) => database.into(),
            Self::Sqlite(file, _) => file.into(),
        }
    }

    fn is_postgres(&self) -> bool {
        matches!(self, Self::Postgres(_))
    }

    async fn load(&self) {
        match self {
            Self::Postgres(database) => kit::load_chinook(database).await,
            Self::Sqlite(file, _) => kit::load_chinook_sqlite(file).await,
        }
    }

    /// How a table or column that is named differently on both sides is called here.
    fn pick<'a>(&self, postgres: &'a str, sqlite: &'a str) -> &'a str {
        if self.is_postgres() { postgres } else { sqlite }
    }

    fn name(&self, table: &ChinookTable) -> &'static str {
        if self.is_postgres() {
            table.postgres
        } else {
            table.sqlite
        }
    }

    /// Target tables keep their names; only PostgreSQL has schemas.
    fn to(&self) -> &'static str {
        self.pick("public.{table}", "{table}")
    }
}

fn project(source: &Side, target: &Side, pipeline: &str) -> Project {
    let project = Project::between(&source.place().url(), &target.place().url());
    project.pipeline("chinook", pipeline);
    project
}

async fn run(project: &Project) -> Value {
    let run = ["pipeline", "run", "chinook", "--output", "json"];
    project.syncset(run).await.expect_success().json()
}

/// Rows written and deleted, over all tables of a report.
fn written(report: &Value) -> u64 {
    let tables = report["tables"].as_array().expect("a report has tables");
    let count = |table: &Value, key: &str| table[key].as_u64().unwrap_or(0);
    tables
        .iter()
        .map(|table| count(table, "rows_written") + count(table, "rows_deleted"))
        .sum()
}

/// Both engines spell numbers and times as they do; zeros at the end of a fraction mean nothing.
fn canonical(rows: Vec<TextRow>) -> Vec<TextRow> {
    let is_plain = |text: &str| {
        text.bytes()
            .all(|byte| byte.is_ascii_digit() || b"-+: .T".contains(&byte))
    };
    let cell = |text: String| {
        if !text.contains('.') || !is_plain(&text) {
            return text;
        }
        let text = text.trim_end_matches('0');
        text.trim_end_matches('.').to_owned()
    };
    rows.into_iter()
        .map(|row| row.into_iter().map(|value| value.map(cell)).collect())
        .collect()
}

async fn assert_same(
    source: &Side,
    target: &Side,
    selects: (&str, &str),
    key_columns: usize,
) -> usize {
    let mut rows = source.place().rows(selects.0).await;
    let mut copied = target.place().rows(selects.1).await;
    if !source.is_postgres() || !target.is_postgres() {
        (rows, copied) = (canonical(rows), canonical(copied));
    }
    let comparison = Comparison::of(rows, copied, key_columns);
    assert!(comparison.is_equal(), "{selects:?}: {comparison}");
    comparison.equal
}

async fn whole(source: Side, target: Side) {
    source.load().await;
    let pattern = source.pick("public.*", "*");
    let pipeline = format!(
        "version: 1\nsource: source\ntarget: target\ntables:\n  \"{pattern}\":\n    capture: full\n    to: \"{}\"\n",
        target.to()
    );
    let project = project(&source, &target, &pipeline);

    let first = run(&project).await;
    let second = run(&project).await;

    let rows: u64 = CHINOOK_TABLES.iter().map(|table| table.row_count).sum();
    assert_eq!(written(&first), rows);
    assert_eq!(written(&second), 0, "an unchanged source writes nothing");
    for table in &CHINOOK_TABLES {
        let select = format!("SELECT * FROM \"{}\"", source.name(table));
        assert_same(&source, &target, (&select, &select), table.key_columns).await;
    }
}

/// Three tables with conditions, fewer columns, a new name and a computed column.
fn selection(source: &Side, target: &Side) -> String {
    let pick = |postgres, sqlite| source.pick(postgres, sqlite);
    let schema = pick("public.", "");
    let [customer, invoice, track] = [
        pick("customer", "Customer"),
        pick("invoice", "Invoice"),
        pick("track", "Track"),
    ];
    let [id, first, last, country] = [
        pick("customer_id", "CustomerId"),
        pick("first_name", "FirstName"),
        pick("last_name", "LastName"),
        pick("country", "Country"),
    ];
    let [address, total, milliseconds, composer] = [
        pick("billing_*", "Billing*"),
        pick("total", "Total"),
        pick("milliseconds", "Milliseconds"),
        pick("composer", "Composer"),
    ];
    format!(
        r#"version: 1
source: source
target: target
defaults:
  capture: full
  to: "{to}"
tables:
  {schema}{customer}:
    columns: [{id}, {first}, {last}, {country}]
    where: "\"{country}\" in ('Germany', 'France', 'Brazil')"
    rename: {{ {last}: family_name }}
    derive: {{ initial: "upper(left(\"{first}\", 1))" }}
  {schema}{invoice}:
    columns: {{ exclude: ["{address}"] }}
    where: "\"{total}\" >= 5.00"
  {schema}{track}:
    where: "\"{milliseconds}\" < 200000 and \"{composer}\" is not null"
  "{schema}*": skip
"#,
        to = target.to()
    )
}

async fn selected(source: Side, target: Side) {
    source.load().await;
    let project = project(&source, &target, &selection(&source, &target));

    run(&project).await;
    let copied = assert_selection(&source, &target).await;
    assert!(copied > 500, "the selection is worth comparing: {copied}");

    let [customer, id, country] = [
        source.pick("customer", "\"Customer\""),
        source.pick("customer_id", "\"CustomerId\""),
        source.pick("country", "\"Country\""),
    ];
    let [invoice, total] = [
        source.pick("invoice", "\"Invoice\""),
        source.pick("total", "\"Total\""),
    ];
    source
        .place()
        .execute(&format!(
            "UPDATE {customer} SET {country} = 'Chile' WHERE {id} = 1;
             UPDATE {customer} SET {country} = 'Brazil' WHERE {id} = 3;
             UPDATE {invoice} SET {total} = 1.00 WHERE {total} > 15;
             UPDATE {invoice} SET {total} = 7.50 WHERE {total} = 0.99"
        ))
        .await;
    let report = run(&project).await;

    assert!(written(&report) > 2);
    assert_selection(&source, &target).await;
}

/// Compares what the selection means with what is at the target. Returns the number of rows.
async fn assert_selection(source: &Side, target: &Side) -> usize {
    let own = [
        "SELECT customer_id, first_name, last_name, country, upper(left(first_name, 1)) \
         FROM customer WHERE country IN ('Germany', 'France', 'Brazil')",
        "SELECT invoice_id, customer_id, invoice_date, total FROM invoice WHERE total >= 5",
        "SELECT track_id, name, album_id, media_type_id, genre_id, composer, milliseconds, bytes, \
         unit_price FROM track WHERE milliseconds < 200000 AND composer IS NOT NULL",
    ];
    let own_sqlite = [
        "SELECT CustomerId, FirstName, LastName, Country, upper(substr(FirstName, 1, 1)) \
         FROM Customer WHERE Country IN ('Germany', 'France', 'Brazil')",
        "SELECT InvoiceId, CustomerId, InvoiceDate, Total FROM Invoice WHERE Total >= 5",
        "SELECT TrackId, Name, AlbumId, MediaTypeId, GenreId, Composer, Milliseconds, Bytes, \
         UnitPrice FROM Track WHERE Milliseconds < 200000 AND Composer IS NOT NULL",
    ];
    // Every column of the target table is named, so a column too many would be seen.
    let copied = ["customer", "invoice", "track"];
    let copied_sqlite = ["Customer", "Invoice", "Track"];
    let mut rows = 0;
    for index in 0..own.len() {
        let select = if source.is_postgres() {
            own
        } else {
            own_sqlite
        };
        let table = if source.is_postgres() {
            copied
        } else {
            copied_sqlite
        };
        let copy = format!("SELECT * FROM \"{}\"", table[index]);
        rows += assert_same(source, target, (select[index], &copy), 1).await;
    }
    rows
}

#[tokio::test]
async fn postgres_to_postgres_whole() {
    whole(Side::postgres().await, Side::postgres().await).await;
}

#[tokio::test]
async fn postgres_to_sqlite_whole() {
    whole(Side::postgres().await, Side::sqlite()).await;
}

#[tokio::test]
async fn sqlite_to_postgres_whole() {
    whole(Side::sqlite(), Side::postgres().await).await;
}

#[tokio::test]
async fn sqlite_to_sqlite_whole() {
    whole(Side::sqlite(), Side::sqlite()).await;
}

#[tokio::test]
async fn postgres_to_postgres_selected() {
    selected(Side::postgres().await, Side::postgres().await).await;
}

#[tokio::test]
async fn postgres_to_sqlite_selected() {
    selected(Side::postgres().await, Side::sqlite()).await;
}

#[tokio::test]
async fn sqlite_to_postgres_selected() {
    selected(Side::sqlite(), Side::postgres().await).await;
}

#[tokio::test]
async fn sqlite_to_sqlite_selected() {
    selected(Side::sqlite(), Side::sqlite()).await;
}
