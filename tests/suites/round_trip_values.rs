//! Values of every type that a connector lists, as literals of its engine: the edges of the type
//! first, then random ones.

use crate::round_trip_forms::{Class, Engine, base, numbers};
use arrow_schema::DataType;
use chrono::{DateTime, NaiveDate};
use rand::Rng;
use rand::rngs::StdRng;
use syncset_connector::{Connector, TargetColumn};

/// A column of the source.
#[derive(Debug)]
pub(crate) struct Case {
    /// Its type as DDL spells it.
    pub(crate) native: String,
    /// What makes two of its values equal.
    pub(crate) class: Class,
    /// Literals.
    pub(crate) values: Vec<String>,
}

/// Texts at which copies go wrong, shortest first.
const TEXTS: &[&str] = &[
    "",
    " ",
    "a",
    "a ",
    "  a  ",
    "A",
    "ä",
    "😀",
    "\u{10ffff}",
    "e\u{301}",
    "\u{e9}",
    "\u{feff}x",
    "ß\u{200d}ı",
    "İıſﬃ",
    "\t\n\r",
    "\\",
    "\\N",
    "NULL",
    "'",
    "\"`",
    "\\'; --",
    "\u{1}\u{7f}\u{80}",
    "\u{ffff}",
    "a\tb\nc\\d\\\\e",
    "0",
    "-zero",
    "NaN",
    "true",
    "1e5",
];

/// Texts with a character that PostgreSQL lacks.
const TEXTS_WITH_ZERO: &[&str] = &["\0", "a\0b", "a\0"];

/// Dates that all engines hold.
const DATES: &[&str] = &[
    "0001-01-01",
    "0099-12-31",
    "1000-01-01",
    "1582-10-04",
    "1582-10-10",
    "1900-03-01",
    "1969-12-31",
    "1970-01-01",
    "2000-02-29",
    "2024-02-29",
    "9999-12-31",
];

/// Local times that all engines hold, some of which some zones skip or see twice.
const TIMES: &[&str] = &[
    "0001-01-01 00:00:00",
    "0001-01-01 00:00:00.000001",
    "1000-01-01 00:00:00",
    "1582-10-10 12:00:00",
    "1883-11-18 12:03:57.5",
    "1969-12-31 23:59:59.999999",
    "1970-01-01 00:00:00",
    "2016-12-31 23:59:59",
    "2024-03-10 02:30:00",
    "2024-03-31 02:30:00.1",
    "2024-10-27 01:59:59.999999",
    "2024-10-27 02:30:00",
    "2024-11-03 01:30:00.000001",
    "9999-12-31 23:59:59.999999",
];

/// Spans of a day that all engines hold.
const SPANS: &[&str] = &[
    "00:00:00",
    "00:00:00.000001",
    "12:34:56.789",
    "23:59:59.999999",
    "24:00:00",
];

/// Types that no list of samples has: lengths, labels and character sets of their own.
fn more(engine: Engine) -> Vec<Case> {
    let case = |native: &str, class, values: &[&str]| Case {
        native: native.to_owned(),
        class,
        values: values.iter().map(|text| engine.quoted(text)).collect(),
    };
    let text = |native: &str, values: &[&str]| case(native, Class::Text, values);
    match engine {
        Engine::Postgres => vec![
            text(
                "public.\"Odd Labels\"",
                &["", "it's", "a,b", "😀 \\", " x "],
            ),
            text("public.a_domain", &["ab ", ""]),
            text("numeric(5,-2)", &["12300", "-9999900", "0", "NaN"]),
            text("numeric(3,5)", &["0.00999", "-0.00001"]),
            text("\"char\"", &["x", ""]),
            text("character varying", &["", "a ", "😀"]),
            text("character(1)", &["", "x", "ß"]),
            text(
                "text[]",
                &["{}", "{NULL,\"NULL\",\"\"}", "{\"a,b\",\"\\\"\",\"\\\\\"}"],
            ),
            text(
                "timestamp without time zone[]",
                &["{\"2024-03-31 02:30:00\",NULL}"],
            ),
            text("daterange", &["[2024-01-01,)", "empty"]),
            text("macaddr8", &["08:00:2b:01:02:03:04:05"]),
            text("polygon", &["((0,0),(1.5,1),(1,-0))"]),
            case(
                "timestamp(0) without time zone",
                Class::Local,
                &["2024-03-31 02:30:00"],
            ),
            case(
                "timestamp(3) with time zone",
                Class::Instant,
                &["2024-10-27 00:30:00.123+00"],
            ),
            case("numeric(1,1)", Class::Number, &["0.9", "-0.1", "0"]),
            case(
                "numeric(38,38)",
                Class::Number,
                &["0.00000000000000000000000000000000000001"],
            ),
        ],
        Engine::Mysql | Engine::Mariadb => vec![
            text(
                "enum('a,b','it''s','','ß €') collate utf8mb4_bin",
                &["a,b", "it's", "", "ß €"],
            ),
            text(
                "set('x y','b''c','ß') collate utf8mb4_bin",
                &["", "x y", "ß,x y", "b'c"],
            ),
            text(
                "varchar(9) collate latin1_swedish_ci",
                &["café€", "a  ", "\u{81}ÿ"],
            ),
            text("text collate utf8mb3_general_ci", &["ÄÖ☃", ""]),
            text("varchar(9) collate ucs2_general_ci", &["ÄÖ☃", "\u{ffff}"]),
            text("varchar(9) collate utf16_general_ci", &["😀", "a "]),
            text("char(9) collate utf8mb4_bin", &["a  ", "", "😀"]),
            text("varchar(5000)", &["", "a "]),
            text("bit(9)", &[]).of(&["b'100000001'", "b'0'", "b'1'"]),
            text("bit(64)", &[]).of(&["0xffffffffffffffff", "0x8000000000000001", "1"]),
            case(
                "int(5) unsigned zerofill",
                Class::Number,
                &["7", "4294967295"],
            ),
            case("decimal(5,2)", Class::Number, &["-999.99", "0.10", "0"]),
            case(
                "decimal(38,10)",
                Class::Number,
                &["-9999999999999999999999999999.9999999999"],
            ),
            case(
                "decimal(10,2) unsigned",
                Class::Number,
                &["99999999.99", "0.01"],
            ),
            case(
                "time",
                Class::Span,
                &["-838:59:59", "838:59:59", "24:00:00"],
            ),
            case("time(1)", Class::Span, &["-00:00:00.5", "00:00:00.1"]),
            case(
                "datetime",
                Class::Local,
                &["2024-03-31 02:30:00", "9999-12-31 23:59:59"],
            ),
            case("datetime(3)", Class::Local, &["2024-10-27 02:30:00.123"]),
            case(
                "timestamp",
                Class::Instant,
                &["1970-01-01 00:00:01", "2038-01-19 03:14:07"],
            ),
            case("binary(3)", Class::Bytes, &[]).of(&["x'ff'", "x'000000'", "x'202020'"]),
        ],
        Engine::Sqlite => vec![
            text("STRING", &["text", "x"]),
            text("NVARCHAR(9)", &["", "😀 "]),
            case("INT", Class::Number, &["-1"]),
            case("DOUBLE PRECISION", Class::Double, &["0.1", "-0.5"]),
            case("Decimal(5, 2)", Class::Number, &["0.1", "-999.99", "7"]),
            case("NUMERIC(8)", Class::Number, &["-99999999"]),
            case(
                "GUID",
                Class::Uuid,
                &["6F9619FF-8b86-d011-b42d-00c04fc964ff"],
            ),
        ],
    }
}

impl Case {
    fn of(mut self, literals: &[&str]) -> Self {
        self.values = literals.iter().map(|&it| it.to_owned()).collect();
        self
    }
}

/// What must be there before the columns can be made.
pub(crate) fn preparation(engine: Engine) -> &'static str {
    match engine {
        Engine::Postgres => {
            "CREATE TYPE an_enum AS ENUM ('sad', 'happy');
             CREATE TYPE \"Odd Labels\" AS ENUM ('', 'it''s', 'a,b', '😀 \\', ' x ');
             CREATE TYPE a_composite AS (a integer);
             CREATE DOMAIN a_domain AS varchar(5) CHECK (value <> 'never');"
        }
        _ => "",
    }
}

/// A column of every type that the connector of an engine lists, and of some more.
pub(crate) fn cases(engine: Engine, rng: &mut StdRng) -> Vec<Case> {
    let connector: &dyn Connector = match engine {
        Engine::Postgres => syncset_postgres::CONNECTOR,
        Engine::Mysql => syncset_mysql::MYSQL,
        Engine::Mariadb => syncset_mysql::MARIADB,
        Engine::Sqlite => syncset_sqlite::CONNECTOR,
    };
    let samples = connector.type_samples();
    assert!(samples.len() > 15, "the connector lists its types");
    let mut cases: Vec<_> = samples
        .iter()
        .map(|sample| of_sample(engine, sample, rng))
        .collect();
    cases.extend(more(engine));
    for case in &cases {
        assert!(
            !case.values.is_empty(),
            "no values for {engine:?} `{}`",
            case.native
        );
    }
    cases
}

fn of_sample(engine: Engine, sample: &TargetColumn, rng: &mut StdRng) -> Case {
    let native = sample
        .native
        .as_ref()
        .expect("samples have a type")
        .name
        .clone();
    let base = base(&native);
    let class = match &sample.data_type {
        _ if matches!(base.as_str(), "inet" | "cidr" | "inet4" | "inet6") => Class::Network,
        _ if base == "money" => Class::Number,
        _ if base.starts_with("numeric") && numbers(&native).len() == 2 => Class::Number,
        DataType::Boolean => Class::Boolean,
        DataType::Float32 => Class::Single,
        DataType::Float64 => Class::Double,
        DataType::Decimal128(..) | DataType::Decimal256(..) => Class::Number,
        it if it.is_integer() => Class::Number,
        DataType::Binary => Class::Bytes,
        DataType::FixedSizeBinary(16) => Class::Uuid,
        DataType::Date32 => Class::Date,
        DataType::Time64(_) => Class::Span,
        DataType::Timestamp(_, None) => Class::Local,
        DataType::Timestamp(_, Some(_)) => Class::Instant,
        _ => Class::Text,
    };
    let own = own_values(engine, &native, &base);
    let quoted =
        |texts: Vec<String>| -> Vec<String> { texts.iter().map(|it| engine.quoted(it)).collect() };
    let values = if !own.is_empty() {
        own
    } else {
        match class {
            Class::Boolean if engine == Engine::Postgres => quoted(vec!["t".into(), "f".into()]),
            Class::Boolean => vec!["0".into(), "1".into()],
            Class::Number => quoted(numbers_of(engine, &native, &base, rng)),
            Class::Single => floats(engine, true, rng),
            Class::Double => floats(engine, false, rng),
            Class::Bytes => bytes(&native, rng)
                .iter()
                .map(|it| engine.bytes(it))
                .collect(),
            Class::Uuid => quoted(uuids(engine, rng)),
            Class::Date => quoted(dates(engine, rng)),
            Class::Span => quoted(spans(engine, rng)),
            Class::Local | Class::Instant => quoted(moments(engine, &base, class, rng)),
            Class::Text => quoted(texts(engine, &native, &base, rng)),
            Class::Network => panic!("no values for {engine:?} `{native}`"),
        }
    };
    Case {
        native,
        class,
        values,
    }
}

/// Literals of types whose values nothing else is like.
fn own_values(engine: Engine, native: &str, base: &str) -> Vec<String> {
    if engine.is_of_mysql() && (base.starts_with("geom") || base == "point") {
        let points = [
            "ST_GeomFromText('POINT(1 2)')",
            "ST_GeomFromText('POINT(-0.5 1e300)', 0)",
        ];
        let others = [
            "ST_GeomFromText('LINESTRING(0 0,1 1)')",
            "ST_GeomFromText('POLYGON((0 0,1 0,1 1,0 0))', 4326)",
            "ST_GeomFromText('GEOMETRYCOLLECTION(POINT(1 2))')",
        ];
        let others: &[&str] = if base == "point" { &[] } else { &others };
        return points
            .iter()
            .chain(others)
            .map(|&it| it.to_owned())
            .collect();
    }
    let texts: &[&str] = match (engine, base) {
        (Engine::Mysql, "vector") => {
            let vectors = ["[0,0,0]", "[1,-2.5,3e38]"];
            return vectors
                .map(|it| format!("STRING_TO_VECTOR('{it}')"))
                .to_vec();
        }
        (Engine::Mysql | Engine::Mariadb, "bit") => return vec!["b'0'".into(), "b'1'".into()],
        (Engine::Mysql | Engine::Mariadb, "year") => &["0", "1901", "1970", "2155"],
        (Engine::Mysql | Engine::Mariadb, "enum") => &["a", "b"],
        (Engine::Mysql | Engine::Mariadb, "set") => &["", "a", "b", "a,b"],
        (Engine::Mysql, "json") => &[
            "{\"b\": [1, 2.50, \"\\u0000\"], \"a\": null}",
            "[18446744073709551615, -9223372036854775808, 1.7976931348623157e308]",
            "\"😀\"",
            "null",
            "[]",
        ],
        (Engine::Mariadb | Engine::Sqlite, "json") => &[
            "{\"b\":  1.50, \"a\": 1, \"a\": 2}",
            "[1e400, 123456789012345678901234567890.12]",
            "\"\\u0000 😀\"",
            "null",
            " [ ] ",
        ],
        (Engine::Mariadb, "inet4") => &["0.0.0.0", "10.1.2.3", "255.255.255.255"],
        (Engine::Mariadb, "inet6") => &["::", "2001:DB8::ff00:42", "::ffff:1.2.3.4", "::1"],
        (Engine::Postgres, "numeric") if !numbers(native).is_empty() => &[],
        (Engine::Postgres, _) => of_postgres(base),
        _ => &[],
    };
    texts.iter().map(|text| engine.quoted(text)).collect()
}

fn of_postgres(base: &str) -> &'static [&'static str] {
    match base {
        "json" => &[
            "{\"b\": 1,  \"a\": 2, \"a\": 3}",
            "[1e400, 123456789012345678901234567890.12]",
            "\"\\u0000 😀\"",
            "null",
            " [ ] ",
            "\"\\\\N\"",
        ],
        "jsonb" => &[
            "{\"b\": 1.50, \"a\": null}",
            "[1e400]",
            "\"\\u00e4\"",
            "null",
            "{}",
        ],
        "time with time zone" => &["23:59:59.999999+14", "00:00:00-14", "24:00:00+00"],
        "interval" => &[
            "-1 mons +2 days -03:04:05.678",
            "178000000 years",
            "0",
            "-00:00:00.000001",
        ],
        "money" => &["-92233720368547758.08", "0", "0.01"],
        "xml" => &["<a>1</a>", "", "<?xml version=\"1.0\"?><ä b=\"c\"/>"],
        "integer[]" => &["{}", "{1,NULL,-2}", "[2:3]={7,NULL}", "{{1,2},{3,4}}"],
        "int4range" => &["[1,5)", "empty", "(,)"],
        "int4multirange" => &["{[1,3),[7,9)}", "{}"],
        "inet" => &[
            "10.0.0.1",
            "10.0.0.1/8",
            "::1",
            "2001:db8::/32",
            "0.0.0.0/0",
        ],
        "cidr" => &["10.0.0.0/8", "::/0", "1.2.3.4/32"],
        "macaddr" => &["08:00:2b:01:02:03", "00:00:00:00:00:00"],
        "bit" => &["00000000", "10000001", "11111111"],
        "bit varying" => &["", "1", "00000001"],
        "tsvector" => &["'cat':3A 'fat':2", ""],
        "tsquery" => &["fat & !rat", ""],
        "point" => &[
            "(1.5,-2)",
            "(NaN,Infinity)",
            "(-0,1e-308)",
            "(0.30000000000000004,1)",
        ],
        "oid" => &["0", "4294967295"],
        "pg_lsn" => &["0/0", "FFFFFFFF/FFFFFFFF"],
        "public.an_enum" => &["sad", "happy"],
        "public.a_composite" => &["(1)", "()"],
        "public.hstore" => &["\"a b\"=>NULL, x=>\"y\"", ""],
        "numeric" => &[
            "NaN",
            "Infinity",
            "-Infinity",
            "1.0",
            "1.00",
            "0",
            "-0.000",
            "1e40",
            "1e-40",
        ],
        _ => &[],
    }
}

fn numbers_of(engine: Engine, native: &str, base: &str, rng: &mut StdRng) -> Vec<String> {
    let bits = match base.trim_end_matches(" unsigned") {
        "tinyint" => 8,
        "smallint" => 16,
        "mediumint" => 24,
        "int" | "integer" if engine != Engine::Sqlite => 32,
        "integer" | "bigint" => 64,
        _ => return decimals(engine, native, rng),
    };
    let (min, max): (i128, i128) = match base.ends_with(" unsigned") {
        true => (0, (1 << bits) - 1),
        false => (-(1 << (bits - 1)), (1 << (bits - 1)) - 1),
    };
    let mut values = vec![min, min + 1, max, max - 1, 0, 1];
    values.extend((0..crate::round_trips::more()).map(|_| rng.random_range(min..=max)));
    values.iter().map(i128::to_string).collect()
}

fn decimals(engine: Engine, native: &str, rng: &mut StdRng) -> Vec<String> {
    let [precision, scale] = numbers(native)[..] else {
        // Numbers without digits, of which each engine has its own.
        let texts = ["0", "7", "-1.5", "12345678901234", "0.000001"];
        return texts.map(str::to_owned).to_vec();
    };
    let (whole, scale) = ((precision - scale) as usize, scale as usize);
    let digits = |rng: &mut StdRng, count: usize| -> String {
        (0..count)
            .map(|_| char::from(b'0' + rng.random_range(0..10)))
            .collect()
    };
    let most = format!("{}.{}", "9".repeat(whole), "9".repeat(scale));
    let least = format!("0.{}1", "0".repeat(scale.saturating_sub(1)));
    let mut values = vec![
        "0".to_owned(),
        "1".to_owned(),
        "10".to_owned(),
        "-0.10".to_owned(),
        format!("-{least}"),
        least,
        format!("-{most}"),
        most,
    ];
    for _ in 0..crate::round_trips::more() {
        let sign = if rng.random() { "-" } else { "" };
        // SQLite would round what has more digits than a float.
        let kept = rng.random_range(1..=whole);
        values.push(format!(
            "{sign}{}.{}",
            digits(rng, kept),
            digits(rng, scale)
        ));
    }
    if !engine.is_of_mysql() {
        values.push("NaN".to_owned());
    }
    values
}

fn floats(engine: Engine, is_single: bool, rng: &mut StdRng) -> Vec<String> {
    let edges: &[&str] = match is_single {
        true => &[
            "0",
            "1",
            "-0.5",
            "0.1",
            "3.4028234e38",
            "-1.1754944e-38",
            "16777217",
            "1e-45",
        ],
        false => &[
            "0",
            "1",
            "-0.5",
            "0.1",
            "1.7976931348623157e308",
            "-2.2250738585072014e-308",
            "5e-324",
            "9007199254740993",
            "1e15",
            "123456789.123456789",
        ],
    };
    let mut values: Vec<String> = edges.iter().map(|&it| it.to_owned()).collect();
    while values.len() < edges.len() + crate::round_trips::more() {
        let value = match is_single {
            true => f64::from(f32::from_bits(rng.random())),
            false => f64::from_bits(rng.random()),
        };
        if value.is_normal() {
            values.push(format!("{value:e}"));
        }
    }
    let special: &[&str] = match engine {
        Engine::Postgres => &["NaN", "Infinity", "-Infinity", "-0"],
        Engine::Sqlite => &["'NaN'", "'-zero'", "9e999", "-9e999"],
        Engine::Mysql | Engine::Mariadb => &["-0e0"],
    };
    values.extend(special.iter().map(|&it| it.to_owned()));
    match engine {
        Engine::Postgres => values.iter().map(|it| engine.quoted(it)).collect(),
        // Without an exponent it would be a decimal.
        _ => values
            .iter()
            .map(|it| match it.contains(['e', '\'']) {
                true => it.clone(),
                false => format!("{it}e0"),
            })
            .collect(),
    }
}

fn bytes(native: &str, rng: &mut StdRng) -> Vec<Vec<u8>> {
    let base = base(native);
    let max = match (base.as_str(), numbers(native).first()) {
        (_, Some(length)) => *length as usize,
        ("tinyblob", _) => 255,
        ("blob" | "mediumblob" | "longblob" | "bytea", _) => 40_000,
        _ => 300,
    };
    let all: Vec<u8> = (0..=255).collect();
    let mut values: Vec<Vec<u8>> = vec![
        vec![],
        vec![0],
        vec![0, 0xff],
        vec![0x20],
        vec![0x61, 0x20, 0x20],
        vec![0x61, 0, 0],
        b"\\x00\\N\n\t'".to_vec(),
        vec![0xff; max.min(255)],
        all,
        vec![0x5c; max],
    ];
    for _ in 0..crate::round_trips::more() {
        let length = rng.random_range(0..=max.min(40));
        values.push((0..length).map(|_| rng.random()).collect());
    }
    values.retain(|value| value.len() <= max);
    values
}

fn uuids(engine: Engine, rng: &mut StdRng) -> Vec<String> {
    let random = uuid::Builder::from_random_bytes(rng.random()).into_uuid();
    let mut values = vec![
        "00000000-0000-0000-0000-000000000000".to_owned(),
        "ffffffff-ffff-ffff-ffff-ffffffffffff".to_owned(),
        "00112233-4455-6677-8899-aabbccddeeff".to_owned(),
        "6f9619ff-8b86-d011-b42d-00c04fc964ff".to_owned(),
        random.hyphenated().to_string(),
    ];
    if engine != Engine::Mariadb {
        values.push("9478d3dc-7d41-b6e6-4c50-2402a85b9c38".to_owned());
    }
    values
}

fn dates(engine: Engine, rng: &mut StdRng) -> Vec<String> {
    let own: &[&str] = match engine {
        Engine::Postgres => &[
            "infinity",
            "-infinity",
            "4714-11-24 BC",
            "0001-12-31 BC",
            "0044-03-15 BC",
            "10000-01-01",
            "5874897-12-31",
        ],
        Engine::Sqlite => &[
            "infinity",
            "-infinity",
            "-4713-11-24",
            "-4714-01-01",
            "0000-02-29",
            "+10000-01-01",
        ],
        Engine::Mysql | Engine::Mariadb => &["0000-01-01"],
    };
    let mut values = owned(DATES, own);
    for _ in 0..crate::round_trips::more() {
        let day = NaiveDate::from_num_days_from_ce_opt(rng.random_range(1..=3_652_059));
        values.push(day.expect("a day of the years 1 to 9999").to_string());
    }
    values
}

fn spans(engine: Engine, rng: &mut StdRng) -> Vec<String> {
    let own: &[&str] = match engine {
        Engine::Mysql => &[
            "-838:59:59",
            "838:59:59",
            "-00:00:00.000001",
            "838:59:58.999999",
        ],
        Engine::Mariadb => &[
            "-838:59:59.999999",
            "838:59:59.999999",
            "-00:00:00.000001",
            "838:59:59",
        ],
        Engine::Postgres | Engine::Sqlite => &[],
    };
    let mut values = owned(SPANS, own);
    for _ in 0..crate::round_trips::more() {
        let mut part = |max| rng.random_range(0..max);
        let hours = part(if engine.is_of_mysql() { 838 } else { 24 });
        let sign = if engine.is_of_mysql() && part(2) == 0 {
            "-"
        } else {
            ""
        };
        values.push(format!(
            "{sign}{hours:02}:{:02}:{:02}.{:06}",
            part(60),
            part(60),
            part(1_000_000)
        ));
    }
    values
}

fn moments(engine: Engine, base: &str, class: Class, rng: &mut StdRng) -> Vec<String> {
    let is_timestamp = engine.is_of_mysql() && base == "timestamp";
    let own: &[&str] = match (engine, class) {
        (Engine::Postgres, Class::Local) => &[
            "infinity",
            "-infinity",
            "4714-11-24 00:00:00 BC",
            "0001-12-31 23:59:59.999999 BC",
            "10000-01-01 00:00:00",
            "294247-01-10 04:00:54.775806",
            "294247-01-10 04:00:54.775809",
            "294276-12-31 23:59:59.999999",
        ],
        (Engine::Postgres, _) => &[
            "infinity",
            "-infinity",
            "4714-11-24 00:00:00+00 BC",
            "10000-01-01 00:00:00+00",
            "294276-12-31 23:59:59.999999+00",
            "2024-10-27 00:30:00+00",
            "2024-10-27 01:30:00+00",
        ],
        (Engine::Sqlite, Class::Local) => &[
            "infinity",
            "-infinity",
            "2024-03-31T02:30",
            "-0044-03-15 12:00:00",
            "+10000-01-01 00:00:00",
            "-5000-01-01 00:00:00",
        ],
        (Engine::Sqlite, _) => &[
            "2024-10-27 02:30:00+02:00",
            "2024-10-27T02:30:00.5+01:00",
            "2024-10-27 01:30:00Z",
            "infinity",
            "-5000-01-01 00:00:00+00:00",
        ],
        _ if is_timestamp => &[
            "1970-01-01 00:00:01",
            "2038-01-19 03:14:07.999999",
            "2024-03-31 01:00:00",
            "2024-10-27 00:30:00",
            "2024-10-27 01:30:00.000001",
        ],
        _ => &["0000-01-01 00:00:00"],
    };
    let mut values = if is_timestamp {
        owned(&[], own)
    } else {
        owned(TIMES, own)
    };
    for _ in 0..crate::round_trips::more() {
        let (from, to) = match is_timestamp {
            true => (1_000_000, 2_147_483_647_000_000),
            false => (-62_135_596_800_000_000, 253_402_300_799_999_999),
        };
        let moment = DateTime::from_timestamp_micros(rng.random_range(from..=to));
        let moment = moment.expect("an instant of the years 1 to 9999");
        values.push(moment.format("%Y-%m-%d %H:%M:%S%.6f").to_string());
    }
    // PostgreSQL would take a text without a zone for local time.
    if engine == Engine::Postgres && class == Class::Instant {
        for value in &mut values {
            if !value.contains(['+', 'i']) {
                value.push_str("+00");
            }
        }
    }
    values
}

fn texts(engine: Engine, native: &str, base: &str, rng: &mut StdRng) -> Vec<String> {
    let chars_max = numbers(native)
        .first()
        .map_or(usize::MAX, |length| *length as usize);
    let bytes_max = match base {
        "name" => 63,
        "tinytext" => 255,
        "text" if engine.is_of_mysql() => 65_535,
        _ => 70_000,
    };
    let mut values = owned(TEXTS, &[]);
    if engine != Engine::Postgres {
        values.extend(owned(TEXTS_WITH_ZERO, &[]));
    }
    values.push("x".repeat(bytes_max.min(chars_max)));
    values.push("😀".repeat((bytes_max / 4).min(chars_max).min(5_000)));
    for _ in 0..crate::round_trips::more() {
        let length = rng.random_range(0..20_usize.min(chars_max));
        let character = |rng: &mut StdRng| match rng.random_range(0..4) {
            0 => char::from(rng.random_range(b' '..=b'~')),
            1 => char::from_u32(rng.random_range(0xa1..0x250)).unwrap_or('ß'),
            2 => char::from_u32(rng.random_range(0x4e00..0x9fa5)).unwrap_or('中'),
            _ => char::from_u32(rng.random_range(0x1_f600..0x1_f640)).unwrap_or('😀'),
        };
        values.push((0..length).map(|_| character(rng)).collect());
    }
    values.retain(|text| text.chars().count() <= chars_max && text.len() <= bytes_max);
    values
}

fn owned(all: &[&str], own: &[&str]) -> Vec<String> {
    all.iter().chain(own).map(|&it| it.to_owned()).collect()
}
