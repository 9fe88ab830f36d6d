//! What a PostgreSQL source says of its tables and values is what the server itself says.

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Date32Type, Decimal128Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type,
    Time64MicrosecondType, TimestampMicrosecondType,
};
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::DataType;
use futures::TryStreamExt;
use kit::{Database, PostgresServer};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use syncset_connector::{
    Capture, Comparison, ErrorClass, Filter, Generated, KeyRange, Literal, OpenOptions, Predicate,
    Result, Role, Secret, Settings, SnapshotRequest, Store, TableDescription, TableKind, TableName,
    TableRead, TypeDefinition, special,
};

async fn open(url: &str) -> Result<Box<dyn Store>> {
    let settings = Settings {
        name: "source".to_owned(),
        values: BTreeMap::from([("url".to_owned(), Secret::new(url.to_owned()))]),
        base: "/".into(),
    };
    let options = OpenOptions {
        role: Role::Source,
        application: "syncset:test/read".to_owned(),
        sessions_max: 4,
        connect_timeout: Duration::from_secs(20),
        lock_timeout: Duration::from_secs(10),
        statement_timeout: Duration::ZERO,
    };
    syncset_postgres::CONNECTOR.open(&settings, &options).await
}

async fn describe_one(store: &dyn Store, table: &str) -> TableDescription {
    let described = store
        .describe(&[TableName::in_schema("public", table)])
        .await;
    described
        .expect("describes")
        .pop()
        .flatten()
        .expect("the table exists")
}

async fn read_all(
    store: &dyn Store,
    description: TableDescription,
    filter: Filter,
) -> Result<Vec<RecordBatch>> {
    let columns: Vec<_> = description
        .columns
        .iter()
        .map(|column| column.name.clone())
        .collect();
    let read = TableRead {
        key: description.primary_key.clone(),
        columns,
        description: Arc::new(description),
        filter,
        capture: Capture::Full,
        selection: String::new(),
        batch_bytes: 4_096,
    };
    let request = SnapshotRequest {
        read: Arc::new(read),
        from: None,
    };
    let source = store.source().expect("a source");
    let mut snapshot = source.open_snapshot(&[request], None).await?;
    let batches = snapshot
        .read_chunk(0, &KeyRange::all())
        .await?
        .try_collect()
        .await?;
    snapshot.close().await;
    Ok(batches)
}

/// How the server is asked for a column in the form that [`cell`] gives a value.
fn server_form(name: &str, data_type: &DataType, native: &str) -> String {
    let column = format!("\"{name}\"");
    let finite = |number: String| {
        format!("CASE WHEN isfinite({column}) THEN ({number})::int8::text ELSE {column}::text END")
    };
    match data_type {
        DataType::Float32 => format!("encode(float4send({column}), 'hex')"),
        DataType::Float64 => format!("encode(float8send({column}), 'hex')"),
        DataType::Binary => format!("encode({column}, 'hex')"),
        DataType::Date32 => finite(format!("{column} - date '1970-01-01'")),
        DataType::Time64(_) => format!("(extract(epoch FROM {column}) * 1000000)::int8::text"),
        // Beyond 2^63 microseconds after 1970 the batch holds the number less 2^64. Seconds and
        // microseconds are asked for apart: the server rounds the epoch of the largest instants.
        DataType::Timestamp(..) => finite(format!(
            "SELECT CASE WHEN n > 9223372036854775807 THEN n - 18446744073709551616 ELSE n END
             FROM (SELECT extract(epoch FROM date_trunc('second', {column}))::numeric * 1000000
               + extract(microseconds FROM {column})::numeric % 1000000 AS n) x"
        )),
        _ if native == "money" => format!("{column}::numeric::text"),
        // The cast of bpchar to text drops blanks; its output does not.
        _ if native.starts_with("character(") => {
            format!("CASE WHEN {column} IS NOT NULL THEN concat({column}) END")
        }
        _ => format!("{column}::text"),
    }
}

/// A value as text, in the form of [`server_form`].
fn cell(array: &ArrayRef, row: usize) -> Option<String> {
    if array.is_null(row) {
        return None;
    }
    let infinity = |positive: bool| if positive { "infinity" } else { "-infinity" }.to_owned();
    Some(match array.data_type() {
        DataType::Boolean => array.as_boolean().value(row).to_string(),
        DataType::Int16 => array.as_primitive::<Int16Type>().value(row).to_string(),
        DataType::Int32 => array.as_primitive::<Int32Type>().value(row).to_string(),
        DataType::Int64 => array.as_primitive::<Int64Type>().value(row).to_string(),
        DataType::Float32 => {
            format!(
                "{:08x}",
                array.as_primitive::<Float32Type>().value(row).to_bits()
            )
        }
        DataType::Float64 => {
            format!(
                "{:016x}",
                array.as_primitive::<Float64Type>().value(row).to_bits()
            )
        }
        DataType::Decimal128(_, scale) => {
            decimal_text(array.as_primitive::<Decimal128Type>().value(row), *scale)
        }
        DataType::Utf8 => array.as_string::<i32>().value(row).to_owned(),
        DataType::Binary => hex(array.as_binary::<i32>().value(row)),
        DataType::FixedSizeBinary(16) => {
            let bytes = array.as_fixed_size_binary().value(row);
            uuid::Uuid::from_slice(bytes).expect("16 bytes").to_string()
        }
        DataType::Date32 => match array.as_primitive::<Date32Type>().value(row) {
            special::DATE_INFINITY => infinity(true),
            special::DATE_NEGATIVE_INFINITY => infinity(false),
            days => days.to_string(),
        },
        DataType::Time64(_) => array
            .as_primitive::<Time64MicrosecondType>()
            .value(row)
            .to_string(),
        DataType::Timestamp(..) => {
            match array.as_primitive::<TimestampMicrosecondType>().value(row) {
                special::TIMESTAMP_INFINITY => infinity(true),
                special::TIMESTAMP_NEGATIVE_INFINITY => infinity(false),
                microseconds => microseconds.to_string(),
            }
        }
        other => panic!("no column is read as {other}"),
    })
}

fn decimal_text(value: i128, scale: i8) -> String {
    if value == special::DECIMAL_NAN {
        return "NaN".to_owned();
    }
    let scale = usize::try_from(scale).expect("no negative scale");
    let sign = if value < 0 { "-" } else { "" };
    let digits = format!("{:0>width$}", value.unsigned_abs(), width = scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    let point = if scale > 0 { "." } else { "" };
    format!("{sign}{whole}{point}{fraction}")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Reads the table by the connector and by the server's own text output, and compares each value.
/// The first column numbers the rows.
async fn assert_reads_as_printed(database: &Database, table: &str) {
    let store = open(&database.url()).await.expect("opens");
    let description = describe_one(store.as_ref(), table).await;
    let forms: Vec<_> = description
        .columns
        .iter()
        .map(|column| {
            let native = match &column.native.definition {
                Some(TypeDefinition::Domain { base, .. }) => base,
                _ => &column.native.name,
            };
            server_form(&column.name, &column.data_type, native)
        })
        .collect();
    let names: Vec<_> = description
        .columns
        .iter()
        .map(|column| column.name.clone())
        .collect();

    let batches = read_all(store.as_ref(), description, Filter::All)
        .await
        .expect("reads");

    let mut session = database.connect().await;
    kit::postgres::rows_of(
        &mut session,
        "SET TimeZone = 'UTC'; SET DateStyle = 'ISO'; SET IntervalStyle = 'postgres';
         SET bytea_output = 'hex'; SET extra_float_digits = 3; SET xmloption = content",
    )
    .await;
    let sql = format!("SELECT {} FROM {table} ORDER BY 1", forms.join(", "));
    let sql = sql.replacen(&forms[0], "\"id\"", 1);
    let expected = kit::postgres::rows_of(&mut session, &sql).await;
    let mut rows: Vec<Vec<_>> = batches
        .iter()
        .flat_map(|batch| {
            (0..batch.num_rows()).map(|row| {
                batch
                    .columns()
                    .iter()
                    .map(|array| cell(array, row))
                    .collect()
            })
        })
        .collect();
    rows.sort_by_key(|row| row[0].as_ref().and_then(|id| id.parse::<i64>().ok()));
    assert_eq!(rows.len(), expected.len());
    for (row, expected) in rows.iter().zip(&expected) {
        for ((value, expected), name) in row.iter().zip(expected).zip(&names) {
            assert_eq!(value, expected, "column {name} of row {:?}", row[0]);
        }
    }
    store.close().await;
}

/// Each type with its edge values.
const EDGES: &[(&str, &[&str])] = &[
    ("bool", &["true", "false"]),
    ("int2", &["-32768", "0", "32767"]),
    ("int4", &["-2147483648", "0", "2147483647"]),
    (
        "int8",
        &["-9223372036854775808", "0", "9223372036854775807"],
    ),
    (
        "float4",
        &[
            "NaN",
            "Infinity",
            "-Infinity",
            "-0",
            "1e-45",
            "3.4028235e38",
            "0.1",
        ],
    ),
    (
        "float8",
        &[
            "NaN",
            "Infinity",
            "-Infinity",
            "-0",
            "5e-324",
            "1.7976931348623157e308",
            "0.1",
        ],
    ),
    (
        "numeric(12,3)",
        &["NaN", "-999999999.999", "0", "0.001", "999999999.999"],
    ),
    (
        "numeric(38,0)",
        &[
            "99999999999999999999999999999999999999",
            "-99999999999999999999999999999999999999",
            "NaN",
        ],
    ),
    (
        "numeric(38,38)",
        &[
            "0.99999999999999999999999999999999999999",
            "-0.00000000000000000000000000000000000001",
        ],
    ),
    (
        "numeric",
        &[
            "NaN",
            "Infinity",
            "-Infinity",
            "0",
            "0.000",
            "1.0",
            "1.00",
            "-1e-40",
            "1e40",
            "10000",
            "0.0001",
        ],
    ),
    (
        "numeric(50,20)",
        &["123456789012345678901234567890.12345678901234567890", "NaN"],
    ),
    ("numeric(3,-2)", &["12300", "-99900"]),
    (
        "text",
        &[
            "",
            "a\tb\nc\\",
            "Zürich \u{1F600}",
            "NULL",
            "it's \"quoted\"",
        ],
    ),
    ("varchar(5)", &["", "ab   "]),
    ("char(5)", &["", "ab", "abcde"]),
    ("name", &["Name"]),
    ("\"char\"", &["", "x"]),
    ("citext", &["MiXed"]),
    ("mood", &["sad", "it's"]),
    ("bytea", &["", "\\x00ff27", "abc"]),
    (
        "uuid",
        &[
            "00000000-0000-0000-0000-000000000000",
            "ffffffff-ffff-ffff-ffff-ffffffffffff",
        ],
    ),
    (
        "date",
        &[
            "infinity",
            "-infinity",
            "4713-01-01 BC",
            "1969-12-31",
            "2000-01-01",
            "5874897-12-31",
        ],
    ),
    ("time", &["00:00", "23:59:59.999999", "24:00"]),
    (
        "timestamp",
        &[
            "infinity",
            "-infinity",
            "4713-01-01 00:00:00 BC",
            "1969-12-31 23:59:59.999999",
            "294276-12-31 23:59:59.999999",
        ],
    ),
    (
        "timestamptz",
        &[
            "infinity",
            "-infinity",
            "4713-01-02 00:00:00+00 BC",
            "2024-03-31 02:30:00+01",
            "294276-12-31 23:59:59.999999+00",
        ],
    ),
    ("timetz", &["24:00:00+00", "12:00:00.5-15:59"]),
    (
        "interval",
        &["1 year -3 days 04:05:06.789", "-178000000 years", "0"],
    ),
    ("money", &["-92233720368547758.08", "0.01"]),
    ("json", &["{\"b\" : 1,  \"a\":[null]}", "\"\\u00e9\""]),
    ("jsonb", &["{\"b\" : 1,  \"a\":[null]}", "1.00", "null"]),
    ("xml", &["<a>1</a>", "plain"]),
    ("amount", &["1.10", "NaN"]),
    ("free", &["1.10", "Infinity"]),
    ("doc", &["{\"a\": 1}"]),
    ("outer_doc", &["[1, 2]"]),
    (
        "int4[]",
        &["{}", "{1,NULL}", "[0:1]={1,2}", "{{1,2},{3,4}}"],
    ),
    ("text[]", &["{\"a,b\",\"NULL\",NULL,\"\"}"]),
    ("mood[]", &["{ok,\"it's\"}"]),
    ("pair", &["(1,sad)", "(,)"]),
    ("pair[]", &["{\"(1,sad)\"}"]),
    ("int4range", &["empty", "[1,5)", "(,)"]),
    ("tstzrange", &["[2024-01-01 00:00:00+00,infinity)"]),
    ("floatrange", &["[1.5,2)"]),
    ("int4multirange", &["{}", "{[1,2),[5,9)}"]),
    ("inet", &["1.2.3.4", "::1/64"]),
    ("cidr", &["10.0.0.0/8"]),
    ("macaddr", &["08:00:2b:01:02:03"]),
    ("macaddr8", &["08:00:2b:01:02:03:04:05"]),
    ("bit(3)", &["101"]),
    ("varbit", &["", "1"]),
    ("tsvector", &["'a':1A 'b c':2"]),
    ("tsquery", &["a & !b"]),
    ("point", &["(1.5,-0)"]),
    ("polygon", &["((0,0),(1,1),(1,0))"]),
    ("hstore", &["\"a\"=>NULL, \"b\"=>\"x\""]),
    ("oid", &["4294967295"]),
    ("regtype", &["integer"]),
    ("pg_lsn", &["FFFFFFFF/FFFFFFFF"]),
    ("ltree_free", &["anything"]),
];

const TYPES: &str = "CREATE EXTENSION citext; CREATE EXTENSION hstore;
    CREATE TYPE mood AS ENUM ('sad', 'ok', 'it''s');
    CREATE TYPE pair AS (a int, b mood);
    CREATE DOMAIN amount AS numeric(10, 2); CREATE DOMAIN free AS numeric;
    CREATE DOMAIN doc AS jsonb; CREATE DOMAIN outer_doc AS doc;
    CREATE DOMAIN ltree_free AS varchar(20);
    CREATE TYPE floatrange AS RANGE (subtype = float8);";

#[tokio::test]
async fn every_type_reads_as_the_server_prints_it() {
    let database = kit::postgres().await.database("read").await;
    database.execute(TYPES).await;
    let columns: Vec<_> = EDGES
        .iter()
        .enumerate()
        .map(|(index, (native, _))| format!("c{index} {native}"))
        .collect();
    database
        .execute(&format!(
            "CREATE TABLE edges (id int8 PRIMARY KEY, {})",
            columns.join(", ")
        ))
        .await;
    let row_count = EDGES
        .iter()
        .map(|(_, values)| values.len())
        .max()
        .unwrap_or(0);
    let mut sql = String::new();
    // One more row than values: the last one is all NULL.
    for row in 0..=row_count {
        let values: Vec<_> = EDGES
            .iter()
            .map(|(native, values)| match values.get(row) {
                Some(value) => format!("'{}'::{native}", value.replace('\'', "''")),
                None => "NULL".to_owned(),
            })
            .collect();
        sql.push_str(&format!(
            "INSERT INTO edges VALUES ({row}, {});\n",
            values.join(", ")
        ));
    }
    database.execute(&sql).await;

    assert_reads_as_printed(&database, "edges").await;
}

#[tokio::test]
async fn random_values_read_as_the_server_prints_them() {
    let seed: u64 = rand::random();
    eprintln!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let database = kit::postgres().await.database("read").await;
    let mut values = Vec::new();
    for id in 0..2_000 {
        let mut digits = |count: usize| -> String {
            (0..count)
                .map(|_| char::from(b'0' + random.random_range(0..10_u8)))
                .collect()
        };
        let free = format!("{}.{}", digits(1 + id % 40), digits(id % 31));
        let price = format!("-{}.{}", digits(9), digits(3));
        let text: String = (0..random.random_range(0..30))
            .map(|_| random.random_range('\u{1}'..'\u{d7ff}'))
            .collect();
        let seconds = random.random_range(-211_000_000_000_i64..9_224_000_000_000);
        let fraction: u32 = random.random_range(0..1_000_000);
        let days = random.random_range(-2_440_000..2_145_000_000);
        values.push(format!(
            "({id}, {i8}, '{f8}', '{free}', '{price}', '{text}', '{uuid}',
              to_date('1970-01-01', 'YYYY-MM-DD') + {days},
              timestamptz 'epoch' + {seconds} * interval '1 s' + {fraction} * interval '1 us',
              decode('{bytes}', 'hex'))",
            i8 = random.random::<i64>(),
            f8 = f64::from_bits(random.random::<u64>() & !(0x7ff << 52) | (1_023 + 50) << 52),
            text = text.replace('\'', "''"),
            uuid = uuid::Uuid::from_u128(random.random()),
            bytes = hex(&random.random::<[u8; 9]>()),
        ));
    }
    database
        .execute(&format!(
            "SET standard_conforming_strings = on;
             CREATE TABLE random (id int8 PRIMARY KEY, n int8, f float8, free numeric,
               price numeric(12, 3), t text, u uuid, d date, at timestamptz, b bytea);
             INSERT INTO random VALUES {}",
            values.join(",\n")
        ))
        .await;

    assert_reads_as_printed(&database, "random").await;
}

#[tokio::test]
async fn odd_tables_are_described_as_they_are() {
    let database = kit::postgres().await.database("read").await;
    database
        .execute(
            "CREATE SCHEMA \"Odd Schema\"; CREATE TYPE \"Odd Schema\".mood AS ENUM ('b', 'a');
             CREATE TABLE \"Odd Schema\".\"Order.Items\" (
               id int8 GENERATED ALWAYS AS IDENTITY PRIMARY KEY, gone int,
               \"say \"\"x\"\"\" \"Odd Schema\".mood DEFAULT 'a', email text NOT NULL UNIQUE,
               nick text UNIQUE, twice int8 GENERATED ALWAYS AS (id * 2) STORED);
             ALTER TABLE \"Odd Schema\".\"Order.Items\" DROP COLUMN gone;
             CREATE UNIQUE INDEX partial ON \"Odd Schema\".\"Order.Items\" (email) WHERE id > 5;
             CREATE UNIQUE INDEX computed ON \"Odd Schema\".\"Order.Items\" (lower(email));
             CREATE TABLE parts (id int, k text, PRIMARY KEY (k, id)) PARTITION BY LIST (k);
             CREATE TABLE parts_a PARTITION OF parts FOR VALUES IN ('a');
             CREATE TABLE parts_b PARTITION OF parts FOR VALUES IN ('b') PARTITION BY RANGE (id);
             CREATE TABLE parts_b1 PARTITION OF parts_b FOR VALUES FROM (1) TO (9);
             CREATE VIEW v AS SELECT id FROM parts;
             CREATE MATERIALIZED VIEW m AS SELECT 1 AS one;
             CREATE TABLE child (id int PRIMARY KEY, k text, p int,
               FOREIGN KEY (k, p) REFERENCES parts (k, id) ON DELETE CASCADE);
             CREATE SCHEMA _syncset; CREATE TABLE _syncset.pipeline (id int)",
        )
        .await;
    let store = open(&database.url()).await.expect("opens");

    let listed = store.list_tables().await.expect("lists");
    let names = [
        TableName::in_schema("Odd Schema", "Order.Items"),
        TableName::bare("parts"),
        TableName::in_schema("public", "absent"),
        TableName::in_schema("public", "v"),
        TableName::in_schema("public", "child"),
        TableName::bare("parts"),
    ];
    let described = store.describe(&names).await.expect("describes");

    let listed: Vec<_> = listed
        .iter()
        .map(|entry| (entry.name.to_string(), entry.kind))
        .collect();
    let expected = [
        ("Odd Schema.Order.Items", TableKind::Table),
        ("public.child", TableKind::Table),
        ("public.m", TableKind::MaterializedView),
        ("public.parts", TableKind::Partitioned),
        ("public.v", TableKind::View),
    ];
    assert_eq!(listed, expected.map(|(name, kind)| (name.to_owned(), kind)));
    let items = described[0].as_ref().expect("exists");
    assert_eq!(items.primary_key, ["id"]);
    let keys: Vec<_> = items
        .unique_keys
        .iter()
        .map(|key| (key.columns.clone(), key.total))
        .collect();
    assert!(keys.contains(&(vec!["email".to_owned()], true)));
    assert!(keys.contains(&(vec!["nick".to_owned()], false)));
    assert_eq!(keys.len(), 3, "{keys:?}");
    let column = |name: &str| items.column(name).expect("exists");
    assert_eq!(column("id").generated, Some(Generated::IdentityAlways));
    assert_eq!(column("twice").generated, Some(Generated::Expression));
    let mood = column("say \"x\"");
    assert_eq!(mood.native.name, "\"Odd Schema\".mood");
    assert_eq!(mood.stable_id, Some(3));
    let labels = vec!["b".to_owned(), "a".to_owned()];
    assert_eq!(
        mood.native.definition,
        Some(TypeDefinition::Enum { labels })
    );
    let parts = described[1].as_ref().expect("exists");
    assert_eq!(parts.kind, TableKind::Partitioned);
    assert_eq!(parts.primary_key, ["k", "id"]);
    assert_eq!(
        parts.storage_identity["leaves"]
            .as_object()
            .map(|leaves| leaves.len()),
        Some(2)
    );
    assert_eq!(described[2], None);
    let view = described[3].as_ref().expect("exists");
    assert!(view.columns[0].nullable);
    let foreign = &described[4].as_ref().expect("exists").foreign_keys[0];
    assert_eq!(foreign.parent, TableName::in_schema("public", "parts"));
    assert_eq!((foreign.columns.len(), foreign.cascades), (2, true));
    assert_eq!(described[5], described[1]);
}

#[tokio::test]
async fn describing_fifty_tables_takes_as_many_statements_as_one() {
    let server = PostgresServer::start_own("");
    let database = server.database("read").await;
    let tables: Vec<_> = (0..50)
        .map(|n| format!("CREATE TABLE t{n} (id int PRIMARY KEY)"))
        .collect();
    database.execute(&tables.join(";")).await;
    database.log_statements().await;
    let store = open(&database.url()).await.expect("opens");
    let names: Vec<_> = (0..50)
        .map(|n| TableName::in_schema("public", format!("t{n}")))
        .collect();

    let one = store.describe(&names[..1]).await.expect("describes");
    let after_one = server.statements_seen(&database).len();
    let all = store.describe(&names).await.expect("describes");
    let after_all = server.statements_seen(&database).len();

    assert!(one.iter().chain(&all).all(Option::is_some));
    // One simple query for all of it, and one more for the configuration of the session.
    assert_eq!((after_one, after_all), (2, 3));
}

#[tokio::test]
async fn missing_rights_are_described_and_then_named() {
    let database = kit::postgres().await.database("read").await;
    database
        .execute("CREATE TABLE t (id int PRIMARY KEY, secret text); INSERT INTO t VALUES (1)")
        .await;
    let role = database.role("reader", &["pg_read_all_stats"]).await;
    database
        .execute(&format!("GRANT SELECT (id) ON t TO \"{}\"", role.name))
        .await;
    let store = open(&role.url).await.expect("opens");

    let description = describe_one(store.as_ref(), "t").await;
    let readable: Vec<_> = description
        .columns
        .iter()
        .map(|column| column.readable)
        .collect();
    let error = read_all(store.as_ref(), description, Filter::All)
        .await
        .expect_err("refused");

    assert_eq!(readable, [true, false]);
    assert_eq!(error.class, ErrorClass::Privilege, "{error:?}");
}

#[tokio::test]
async fn policy_that_hides_rows_is_an_error_unless_asked_for() {
    let database = kit::postgres().await.database("read").await;
    database
        .execute(
            "CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1), (2);
             ALTER TABLE t ENABLE ROW LEVEL SECURITY;
             CREATE POLICY odd ON t USING (id % 2 = 1)",
        )
        .await;
    let role = database.role("reader", &["pg_read_all_stats"]).await;
    database
        .execute(&format!("GRANT SELECT ON t TO \"{}\"", role.name))
        .await;

    let strict = open(&role.url).await.expect("opens");
    let lenient = open(&format!("{}?row_security=on", role.url))
        .await
        .expect("opens");
    let description = describe_one(strict.as_ref(), "t").await;
    let refused = read_all(strict.as_ref(), description.clone(), Filter::All).await;
    let visible = read_all(lenient.as_ref(), description, Filter::All)
        .await
        .expect("reads");

    assert_eq!(refused.expect_err("refused").class, ErrorClass::Privilege);
    assert_eq!(visible.iter().map(RecordBatch::num_rows).sum::<usize>(), 1);
}

#[tokio::test]
async fn connections_that_fail_say_why() {
    let database = kit::postgres().await.database("read").await;
    let role = database.role("reader", &[]).await;
    let absent = database.url().replace(database.name(), "absent");

    let wrong_password = open(&database.url_as(&role.name, "no"))
        .await
        .err()
        .expect("refused");
    let wrong_database = open(&absent).await.err().expect("refused");
    let wrong_port = open("postgres://x@127.0.0.1:1/x")
        .await
        .err()
        .expect("refused");

    assert_eq!(wrong_password.class, ErrorClass::Authentication);
    assert_eq!(wrong_database.class, ErrorClass::Config);
    assert_eq!(wrong_port.class, ErrorClass::Connection);
    for error in [&wrong_password, &wrong_database, &wrong_port] {
        assert!(error.hint.is_some(), "{error:?}");
    }
}

fn compare(column: &str, comparison: Comparison, literal: Literal) -> Predicate {
    Predicate::Compare {
        column: column.to_owned(),
        comparison,
        literal,
    }
}

fn any_of(column: &str, literals: &[&str], negated: bool) -> Predicate {
    Predicate::In {
        column: column.to_owned(),
        literals: literals
            .iter()
            .map(|text| Literal::Text((*text).to_owned()))
            .collect(),
        negated,
    }
}

#[tokio::test]
async fn pushed_conditions_select_what_they_mean() {
    use Comparison::{Equal, Greater, GreaterOrEqual, Less, LessOrEqual, NotEqual};
    let database = kit::postgres().await.database("read").await;
    database
        .execute(
            "CREATE EXTENSION citext; CREATE TYPE mood AS ENUM ('sad', 'ok');
             CREATE COLLATION loose (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
             CREATE TABLE t (id int PRIMARY KEY, n int8, d numeric(10, 2), free numeric, ok bool,
               day date, at timestamptz, u uuid, name text, loose text COLLATE loose, mood mood,
               ci citext, pair int4range);
             INSERT INTO t VALUES
               (1, 5, 1.50, 1.5, true, '2024-05-31', '2024-05-31 12:00:00+02',
                'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', 'Ann', 'Ann', 'sad', 'Ann', '[1,2)'),
               (2, -7, 2, 1e30, false, '0044-03-15 BC', 'infinity',
                '00000000-0000-0000-0000-000000000000', 'ann', 'ANN', 'ok', 'x', NULL),
               (3, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
               (4, 9223372036854775807, -3.25, 'NaN', true, 'infinity', '1970-01-01 00:00:00+00',
                'ffffffff-ffff-ffff-ffff-ffffffffffff', 'it''s \\ ', 'ann', 'ok', 'ANN', 'empty')",
        )
        .await;
    let store = open(&database.url()).await.expect("opens");
    let description = describe_one(store.as_ref(), "t").await;
    let number = |text: &str| Literal::Number(text.to_owned());
    let text = |text: &str| Literal::Text(text.to_owned());
    let cases = [
        (compare("n", Greater, number("4.5")), vec![1, 4]),
        (compare("n", LessOrEqual, number("-7")), vec![2]),
        (
            compare("n", Less, number("9223372036854775808")),
            vec![1, 2, 4],
        ),
        (compare("d", Equal, number("1.5")), vec![1]),
        (
            compare("free", GreaterOrEqual, number("1.50")),
            vec![1, 2, 4],
        ),
        (compare("ok", NotEqual, Literal::Boolean(true)), vec![2]),
        (Predicate::Column("ok".to_owned()), vec![1, 4]),
        (compare("day", Greater, text("2024-05-30")), vec![1, 4]),
        (compare("at", Equal, text("2024-05-31T10:00:00Z")), vec![1]),
        (compare("at", Less, text("2024-05-31")), vec![4]),
        (
            compare(
                "u",
                GreaterOrEqual,
                text("A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11"),
            ),
            vec![1, 4],
        ),
        (compare("name", Equal, text("ann")), vec![2]),
        (compare("name", Equal, text("it's \\ ")), vec![4]),
        (compare("name", NotEqual, text("ann")), vec![1, 4]),
        (compare("loose", Equal, text("ann")), vec![4]),
        (compare("loose", NotEqual, text("ann")), vec![1, 2]),
        (any_of("loose", &["ann", "Ann"], false), vec![1, 4]),
        (any_of("name", &["ann", "x"], true), vec![1, 4]),
        (compare("mood", Equal, text("ok")), vec![2, 4]),
        (compare("mood", Equal, text("no such label")), vec![]),
        (
            Predicate::IsNull {
                column: "ci".to_owned(),
                negated: false,
            },
            vec![3],
        ),
        (
            Predicate::Not(Box::new(Predicate::And(vec![
                compare("n", Greater, number("0")),
                compare("name", Equal, text("Ann")),
            ]))),
            vec![2, 4],
        ),
        (
            Predicate::Or(vec![
                compare("id", Equal, number("3")),
                compare("d", Less, number("0")),
            ]),
            vec![3, 4],
        ),
    ];

    let source = store.source().expect("a source");
    for (predicate, expected) in cases {
        source
            .can_push(&description, &predicate)
            .expect("can be pushed");
        let batches = read_all(
            store.as_ref(),
            description.clone(),
            Filter::Predicate(predicate.clone()),
        )
        .await
        .expect("reads");
        let mut ids: Vec<i32> = batches
            .iter()
            .flat_map(|batch| {
                batch
                    .column(0)
                    .as_primitive::<Int32Type>()
                    .values()
                    .to_vec()
            })
            .collect();
        ids.sort_unstable();
        assert_eq!(ids, expected, "{predicate:?}");
    }
    for predicate in [
        compare("ci", Equal, text("ann")),
        compare("name", Less, text("b")),
        compare("pair", Equal, text("[1,2)")),
        compare("day", Equal, text("tomorrow")),
        compare("n", Equal, text("5")),
    ] {
        assert!(
            source.can_push(&description, &predicate).is_err(),
            "{predicate:?}"
        );
    }
}
