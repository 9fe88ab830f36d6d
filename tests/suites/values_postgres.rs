//! What a PostgreSQL source says of its values is what the server itself prints.

use crate::read_lab::{describe_one, open, read_all};
use arrow_array::cast::AsArray;
use arrow_array::types::{
    Date32Type, Decimal128Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type,
    Time64MicrosecondType, TimestampMicrosecondType,
};
use arrow_array::{Array, ArrayRef};
use arrow_schema::DataType;
use kit::Database;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use syncset_connector::{Filter, TypeDefinition, special};

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
        // From the first moment of 4714-11-24 BC on.
        let seconds = random.random_range(-210_866_803_200_i64..9_223_372_036_854);
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
