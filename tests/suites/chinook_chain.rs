//! A real schema through all engines, one after the other, and back into the first.

use kit::{CHINOOK_TABLES, Flavour, MysqlServer, Place, Project, TextRow};
use serde_json::Value;

/// The pipelines in their order, each with source and target.
const CHAIN: [(&str, &str, &str); 4] = [
    ("first", "postgres", "mysql"),
    ("second", "mysql", "mariadb"),
    ("third", "mariadb", "sqlite"),
    ("fourth", "sqlite", "again"),
];

fn connection(name: &str, place: Place<'_>) -> String {
    let url = place.url();
    let (kind, _) = url.split_once(':').expect("a URL has a scheme");
    format!("  {name}: {{ type: {kind}, url: \"{url}\" }}\n")
}

async fn run(project: &Project, pipeline: &str) -> Value {
    let run = ["pipeline", "run", pipeline, "--output", "json"];
    project.syncset(run).await.expect_success().json()
}

/// Rows written and deleted, over all tables.
fn changed(report: &Value) -> u64 {
    let tables = report["tables"].as_array().expect("a report has tables");
    let counts = tables.iter().flat_map(|table| {
        ["rows_written", "rows_deleted"].map(|key| table[key].as_u64().unwrap_or(0))
    });
    counts.sum()
}

/// Every row of every table as the server prints it, in a strict order.
async fn everything(place: Place<'_>) -> Vec<(&'static str, Vec<TextRow>)> {
    let mut tables = Vec::new();
    for table in &CHINOOK_TABLES {
        let name = table.postgres;
        let select = format!("SELECT t.* FROM public.{name} t ORDER BY t::text COLLATE \"C\"");
        tables.push((name, place.rows(&select).await));
    }
    tables
}

/// Names and types of all columns.
async fn types(place: Place<'_>) -> Vec<TextRow> {
    let sql = "SELECT attrelid::regclass, attname, format_type(atttypid, atttypmod)
        FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
        WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND attnum > 0
        ORDER BY attrelid::regclass::text COLLATE \"C\", attnum";
    place.rows(sql).await
}

fn assert_equal(start: &[(&str, Vec<TextRow>)], end: &[(&str, Vec<TextRow>)]) {
    for ((name, expected), (_, found)) in start.iter().zip(end) {
        assert_eq!(found.len(), expected.len(), "rows of {name}");
        for (expected, found) in expected.iter().zip(found) {
            assert_eq!(found, expected, "{name}");
        }
    }
}

#[tokio::test]
async fn chinook_goes_through_all_engines_and_is_equal_at_the_end() {
    let start = kit::postgres().await.database("chain_start").await;
    let mysql = MysqlServer::shared(Flavour::Mysql).database("chain").await;
    let mariadb = MysqlServer::shared(Flavour::Mariadb)
        .database("chain")
        .await;
    let end = kit::postgres().await.database("chain_end").await;
    kit::load_chinook(&start).await;
    let project = Project::empty();
    let sqlite = project.sqlite("chain.db");
    let places = [
        connection("postgres", (&start).into()),
        connection("mysql", (&mysql).into()),
        connection("mariadb", (&mariadb).into()),
        connection("sqlite", (&sqlite).into()),
        connection("again", (&end).into()),
    ];
    let places = places.concat();
    project.file(
        "syncset.yaml",
        &format!("version: 1\nlease: {{ expires: 5s }}\nconnections:\n{places}"),
    );
    for (name, source, target) in CHAIN {
        let tables = if source == "postgres" {
            "public.*"
        } else {
            "*"
        };
        let to = if target == "again" {
            "public.{table}"
        } else {
            "{table}"
        };
        project.pipeline(
            name,
            &format!(
                "version: 1\nsource: {source}\ntarget: {target}\ntables:\n  \"{tables}\": \
                 {{ capture: full, to: \"{to}\" }}\n"
            ),
        );
    }
    let rows: u64 = CHINOOK_TABLES.iter().map(|table| table.row_count).sum();

    for (name, _, _) in CHAIN {
        if name == "second" {
            let killed = ("SYNCSET_FAIL_POINT", "unit.before_commit:4=exit9");
            let process = project.spawn_with(["pipeline", "run", name], &[killed]);
            process.wait().await.expect_code(128 + 9);
            run(&project, name).await;
        } else {
            assert_eq!(changed(&run(&project, name).await), rows, "{name}");
        }
    }

    let expected = everything((&start).into()).await;
    assert_equal(&expected, &everything((&end).into()).await);
    // SQLite has integers of one size, and texts and their lengths are not one.
    let widened: Vec<_> = types((&start).into()).await;
    let widened: Vec<TextRow> = widened
        .into_iter()
        .map(|mut column| {
            let native = column[2].take().map(|native| match native.as_str() {
                "integer" => "bigint".to_owned(),
                text if text.starts_with("character varying") => "text".to_owned(),
                _ => native,
            });
            column[2] = native;
            column
        })
        .collect();
    assert_eq!(types((&end).into()).await, widened);

    start
        .execute(
            "INSERT INTO artist VALUES (9001, 'Sigur Rós 😀 e\u{301} '), (9002, NULL);
             UPDATE customer SET email = '', company = 'ÅÄÖ \\N', fax = NULL WHERE customer_id < 9;
             UPDATE track SET unit_price = 0.10, composer = E'a\\tb' WHERE track_id % 100 = 0;
             UPDATE invoice SET invoice_date = '1969-12-31 23:59:59.999999', total = -0.01
               WHERE invoice_id = 7;
             DELETE FROM playlist_track WHERE playlist_id = 8 AND track_id % 50 = 0",
        )
        .await;
    let mut counts = Vec::new();
    for (name, _, _) in CHAIN {
        counts.push(changed(&run(&project, name).await));
    }

    assert_equal(
        &everything((&start).into()).await,
        &everything((&end).into()).await,
    );
    assert!(
        counts[0] > 50,
        "the changes are worth comparing: {counts:?}"
    );
    assert!(counts.iter().all(|count| *count == counts[0]), "{counts:?}");
}
