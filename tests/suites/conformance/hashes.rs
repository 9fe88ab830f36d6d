//! Hashes of rows in their canonical form: every server that makes them makes the same.
//!
//! `tests/golden/canonical_rows.json` has rows and their hashes; the runner's own form is held to
//! them too.

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use futures::TryStreamExt;
use kit::{AnyDatabase, Engine, Kind, SampleTable, TextRow};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use syncset_connector::{
    Capture, Filter, HashRequest, OpenOptions, Ordinal, PartHash, Parts, Role, RowHash, Secret,
    Settings, Snapshot, SnapshotRequest, Store, TableDescription, TableRead, ValueForm,
};

const GOLDEN: &str = include_str!("../../golden/canonical_rows.json");

const COLUMNS: [(&str, Kind, ValueForm); 11] = [
    ("id", Kind::BigInt, ValueForm::Number),
    ("n", Kind::Int, ValueForm::Number),
    ("d", Kind::Decimal(20, 4), ValueForm::Number),
    ("b", Kind::Bool, ValueForm::Number),
    ("at", Kind::Instant, ValueForm::Moment),
    ("loc", Kind::Local, ValueForm::Moment),
    ("day", Kind::Date, ValueForm::Printed),
    ("t", Kind::Text, ValueForm::Text),
    ("k", Kind::Key(40), ValueForm::Text),
    ("y", Kind::Bytes, ValueForm::Bytes),
    ("u", Kind::Uuid, ValueForm::Printed),
];

/// Those that hash rows in their canonical form.
const ENGINES: [Engine; 3] = [Engine::Postgres, Engine::Mysql, Engine::Mariadb];

/// Random rows of one test.
const ROWS: i64 = 300;

/// What a server says of the hashes of a table.
#[derive(Debug, PartialEq, Eq)]
struct Hashes {
    /// By key.
    rows: BTreeMap<i64, i64>,
    /// By the key's own parts.
    by_key: BTreeMap<i64, (u64, i128)>,
    /// By parts of the key's hash.
    by_hash: BTreeMap<i64, (u64, i128)>,
    /// Sums over every other of these parts.
    within: BTreeMap<i64, (u64, i128)>,
}

/// Hashes of rows by one engine.
async fn hashes(engine: Engine, rows: &[TextRow]) -> Hashes {
    let columns: Vec<_> = COLUMNS
        .iter()
        .map(|(name, kind, _)| (*name, *kind))
        .collect();
    let database = engine.database("hashes").await;
    let table = SampleTable::new("t", &columns, &["id"]);
    database.fill(&table, rows).await;
    of_table(&database).await
}

/// A database opened to be read.
async fn opened(database: &AnyDatabase) -> Box<dyn Store> {
    let engine = database.engine();
    let settings = Settings {
        name: "lab".into(),
        values: BTreeMap::from([("url".into(), Secret::new(database.url()))]),
        base: ".".into(),
    };
    let options = OpenOptions {
        role: Role::Source,
        application: "syncset:test/lab".into(),
        sessions_max: 2,
        connect_timeout: Duration::from_secs(20),
        lock_timeout: Duration::from_secs(10),
        statement_timeout: Duration::ZERO,
    };
    let store = engine.connector().open(&settings, &options).await;
    store.expect("the test's database can be opened")
}

/// A snapshot of a table or view with the key `id`, and its description.
async fn snapshot_of(
    store: &dyn Store,
    engine: Engine,
    table: &str,
) -> (Box<dyn Snapshot>, Arc<TableDescription>) {
    let name = super::store_lab::table_name(engine, table);
    let described = store.describe(&[name]).await.expect("describes");
    let description = described.into_iter().next().flatten().expect("a table");
    let description = Arc::new(description);
    let columns = description.columns.iter();
    let read = TableRead {
        key: vec!["id".to_owned()],
        columns: columns.map(|column| column.name.clone()).collect(),
        description: description.clone(),
        filter: Filter::All,
        capture: Capture::Full,
        selection: String::new(),
        all_written: true,
        batch_bytes: 4_096,
    };
    let request = SnapshotRequest {
        read: Arc::new(read),
        from: None,
    };
    let source = store.source().expect("a source");
    let snapshot = source.open_snapshot(&[request], None).await;
    (snapshot.expect("opens"), description)
}

async fn of_table(database: &AnyDatabase) -> Hashes {
    let engine = database.engine();
    let store = opened(database).await;
    let (mut snapshot, description) = snapshot_of(&*store, engine, "t").await;
    assert_eq!(description.primary_key, ["id"]);
    let names: Vec<_> = COLUMNS
        .iter()
        .map(|(name, ..)| (*name).to_owned())
        .collect();
    let by = |ordinal| HashRequest {
        columns: names.clone(),
        hash: RowHash::Canonical(COLUMNS.map(|(.., form)| form).to_vec()),
        ordinal,
    };
    let (key, hash) = (by(Ordinal::Key), by(Ordinal::KeyHash));
    let facts = snapshot.hash_facts(0, &hash).await.expect("answers");
    assert!(facts.expect("it hashes").has_key_ordinal, "{engine:?}");

    let all = Parts {
        shift: 63,
        numbers: vec![-1, 0],
    };
    let listed = snapshot.read_hashes(0, &key, &all).await.expect("lists");
    let listed: Vec<_> = listed.try_collect().await.expect("hashes arrive");
    let mut rows = BTreeMap::new();
    for batch in &listed {
        let column = |index| batch.column(index).as_primitive::<Int64Type>().values();
        rows.extend(column(0).iter().copied().zip(column(1).iter().copied()));
    }
    let by_key = snapshot.hash_parts(0, &key, None, 60).await;
    let by_hash = snapshot.hash_parts(0, &hash, None, 54).await;
    let by_hash = sums(by_hash.expect("hashes"));
    let some = Parts {
        shift: 54,
        numbers: by_hash.keys().copied().step_by(2).collect(),
    };
    let within = snapshot.hash_parts(0, &hash, Some(&some), 49).await;
    let hashes = Hashes {
        rows,
        by_key: sums(by_key.expect("hashes")),
        by_hash,
        within: sums(within.expect("hashes")),
    };
    snapshot.close().await;
    store.close().await;
    hashes
}

fn sums(parts: Vec<PartHash>) -> BTreeMap<i64, (u64, i128)> {
    let parts = parts.into_iter();
    parts
        .map(|part| (part.number, (part.row_count, part.sum)))
        .collect()
}

#[tokio::test]
async fn golden_rows_have_their_hashes_at_every_server() {
    let golden: Value = serde_json::from_str(GOLDEN).expect("the file is JSON");
    let golden = golden.as_array().expect("a list").iter();
    let texts = |row: &Value| -> TextRow {
        let values = row["row"].as_array().expect("values").iter();
        values
            .map(|value| value.as_str().map(str::to_owned))
            .collect()
    };
    let rows: Vec<_> = golden.clone().map(texts).collect();
    let number = |text: &str| text.parse::<i64>().expect("a number");
    let expected: BTreeMap<_, _> = golden
        .zip(&rows)
        .map(|(line, row)| {
            let key = row[0].as_deref().expect("a key");
            (number(key), number(line["hash"].as_str().expect("a hash")))
        })
        .collect();

    for engine in ENGINES {
        assert_eq!(hashes(engine, &rows).await.rows, expected, "{engine:?}");
    }
}

#[tokio::test]
async fn random_rows_have_the_same_hashes_at_every_server() {
    let seed = std::env::var("SYNCSET_TEST_SEED").ok();
    let seed = seed.and_then(|seed| seed.parse().ok());
    let seed: u64 = seed.unwrap_or_else(rand::random);
    println!("SYNCSET_TEST_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let rows: Vec<_> = (0..ROWS).map(|id| random_row(&mut random, id)).collect();

    let [first, others @ ..] = ENGINES;
    let expected = hashes(first, &rows).await;
    assert_eq!(expected.rows.len(), rows.len());
    let distinct: std::collections::BTreeSet<_> = expected.rows.values().collect();
    assert_eq!(distinct.len(), rows.len(), "no two rows are alike");
    for engine in others {
        assert_eq!(hashes(engine, &rows).await, expected, "{engine:?}");
    }
}

/// Types of PostgreSQL whose hashes two servers compare by their own hash.
const PROBED: [&str; 21] = [
    "boolean",
    "smallint",
    "integer",
    "bigint",
    "numeric",
    "real",
    "double precision",
    "text",
    "character varying",
    "bpchar",
    "date",
    "time without time zone",
    "timestamp without time zone",
    "timestamp with time zone",
    "interval",
    "uuid",
    "bytea",
    "json",
    "jsonb",
    "text[]",
    "inet",
];

#[tokio::test]
async fn edge_values_of_every_type_are_hashed_first() {
    let database = Engine::Postgres.database("hashes").await;
    let columns = PROBED.iter().enumerate();
    let columns: Vec<_> = columns
        .map(|(place, native)| format!("c{place} {native}"))
        .collect();
    let table = format!(
        "CREATE TABLE t (id bigint PRIMARY KEY, {})",
        columns.join(", ")
    );
    database.execute(&table).await;
    let store = opened(&database).await;
    let (mut snapshot, description) = snapshot_of(&*store, Engine::Postgres, "t").await;
    let columns = description.columns.iter();
    let request = HashRequest {
        columns: columns.map(|column| column.name.clone()).collect(),
        hash: RowHash::Own,
        ordinal: Ordinal::KeyHash,
    };

    let facts = snapshot.hash_facts(0, &request).await.expect("answers");

    let facts = facts.expect("it hashes");
    let probed: std::collections::BTreeSet<_> = facts
        .probes
        .iter()
        .map(|(native, _)| native.as_str())
        .collect();
    assert_eq!(probed, PROBED.into_iter().collect());
    let hashes: std::collections::BTreeSet<_> =
        facts.probes.iter().map(|(_, hash)| hash.as_str()).collect();
    assert!(hashes.len() > PROBED.len() / 2, "{:?}", facts.probes);
    snapshot.close().await;
    store.close().await;
}

/// A row with values of every length and sign.
fn random_row(random: &mut StdRng, id: i64) -> TextRow {
    const PIECES: [&str; 12] = [
        "a", "ä", "€", "😀", " ", "'", "\\", "\n", "~", "#", "1:", "\u{301}",
    ];
    let id = (id - ROWS / 2) * 61_489_146_912_365_055;
    let text = |random: &mut StdRng, length: usize| -> String {
        let pieces = std::iter::repeat_with(|| *PIECES.choose(random).expect("some"));
        pieces.take(length).collect()
    };
    let whole: i64 = random.random_range(-9_999_999_999_999_999..=9_999_999_999_999_999);
    let shift = random.random_range(0..16);
    let whole = whole / 10_i64.pow(shift);
    let decimals = random.random_range(0..10_000_u32);
    let decimals = format!("{decimals:04}").trim_end_matches('0').to_owned();
    let decimal = match decimals.as_str() {
        "" => whole.to_string(),
        _ => format!("{whole}.{decimals}"),
    };
    let moment = |random: &mut StdRng, years: std::ops::Range<i32>| {
        let micros = random.random_range(0..1_000_000_u32);
        let digits = random.random_range(0..=6);
        let fraction: String = format!("{micros:06}").chars().take(digits).collect();
        let fraction = fraction.trim_end_matches('0');
        format!(
            "{:04}-{:02}-{:02} {:02}:{:02}:{:02}{}{fraction}",
            random.random_range(years),
            random.random_range(1..=12),
            random.random_range(1..=28),
            random.random_range(0..24),
            random.random_range(0..60),
            random.random_range(0..60),
            if fraction.is_empty() { "" } else { "." },
        )
    };
    let length = *[0, 1, 7, 300, 1_023, 2_000].choose(random).expect("some");
    let long = text(random, length);
    let short_length = random.random_range(0..20);
    let short = text(random, short_length);
    let bytes: usize = *[0, 1, 40, 512, 513].choose(random).expect("some");
    let bytes: String = (0..bytes)
        .map(|_| format!("{:02x}", random.random_range(0..=255)))
        .collect();
    let day = moment(random, 1_000..10_000)[..10].to_owned();
    let row = [
        id.to_string(),
        random.random_range(i32::MIN..=i32::MAX).to_string(),
        decimal,
        random.random::<bool>().to_string(),
        moment(random, 1_971..2_038),
        moment(random, 1_000..10_000),
        day,
        long,
        short,
        bytes,
        uuid::Builder::from_random_bytes(random.random())
            .into_uuid()
            .to_string(),
    ];
    let keep = |(place, value)| (place == 0 || random.random_range(0..8) > 0).then_some(value);
    row.into_iter().enumerate().map(keep).collect()
}
