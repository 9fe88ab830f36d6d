//! Every type of MySQL and MariaDB reaches PostgreSQL and SQLite as what the types say.

use crate::mysql_lab::{FLAVOURS, MysqlLab, said};
use crate::targets::Target;
use kit::Flavour;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// A column: its type, a literal of MySQL, and what PostgreSQL and SQLite show of it.
struct Case(&'static str, &'static str, &'static str, &'static str);

/// Values at the edges of types that both servers have.
const EDGES: &[Case] = &[
    Case("tinyint(1)", "1", "true", "1"),
    Case("tinyint(1)", "0", "false", "0"),
    Case("tinyint", "-128", "-128", "-128"),
    Case("tinyint unsigned", "255", "255", "255"),
    Case("smallint", "-32768", "-32768", "-32768"),
    Case("smallint unsigned", "65535", "65535", "65535"),
    Case("mediumint", "-8388608", "-8388608", "-8388608"),
    Case("mediumint unsigned", "16777215", "16777215", "16777215"),
    Case("int", "-2147483648", "-2147483648", "-2147483648"),
    Case("int unsigned", "4294967295", "4294967295", "4294967295"),
    Case("int(5) unsigned zerofill", "7", "7", "7"),
    Case(
        "bigint",
        "-9223372036854775808",
        "-9223372036854775808",
        "-9223372036854775808",
    ),
    Case(
        "bigint unsigned",
        "18446744073709551615",
        "18446744073709551615",
        "18446744073709551615",
    ),
    Case("decimal(5,2)", "-999.99", "-999.99", "-999.99"),
    Case("decimal(5,2)", "0.10", "0.10", "0.1"),
    Case(
        "decimal(38,10)",
        "-9999999999999999999999999999.9999999999",
        "-9999999999999999999999999999.9999999999",
        "-9999999999999999999999999999.9999999999",
    ),
    Case(
        "decimal(65,30)",
        "99999999999999999999999999999999999.999999999999999999999999999999",
        "99999999999999999999999999999999999.999999999999999999999999999999",
        "99999999999999999999999999999999999.999999999999999999999999999999",
    ),
    Case(
        "decimal(65,30)",
        "-0.000000000000000000000000000001",
        "-0.000000000000000000000000000001",
        "-0.000000000000000000000000000001",
    ),
    Case(
        "float",
        "1.1754944e-38",
        "1.1754944e-38",
        "1.1754943508222875e-38",
    ),
    Case(
        "double",
        "1.7976931348623157e308",
        "1.7976931348623157e308",
        "1.7976931348623157e308",
    ),
    Case("double", "-0.1", "-1e-1", "-1e-1"),
    Case("bit(1)", "b'1'", "true", "1"),
    Case("bit(9)", "b'100000001'", "100000001", "100000001"),
    Case(
        "bit(64)",
        "b'1000000000000000000000000000000000000000000000000000000000000001'",
        "1000000000000000000000000000000000000000000000000000000000000001",
        "1000000000000000000000000000000000000000000000000000000000000001",
    ),
    Case("year", "2155", "2155", "2155"),
    Case("year", "0", "0", "0"),
    Case("date", "'9999-12-31'", "9999-12-31", "9999-12-31"),
    Case("date", "'0001-01-01'", "0001-01-01", "0001-01-01"),
    Case(
        "datetime(6)",
        "'9999-12-31 23:59:59.999999'",
        "9999-12-31 23:59:59.999999",
        "9999-12-31 23:59:59.999999",
    ),
    Case(
        "datetime",
        "'1000-01-01 00:00:00'",
        "1000-01-01 00:00:00",
        "1000-01-01 00:00:00.000000",
    ),
    Case(
        "timestamp(6) NULL",
        "'2038-01-19 03:14:07.999999'",
        "2038-01-19 03:14:07.999999+00",
        "2038-01-19 03:14:07.999999+00:00",
    ),
    Case(
        "timestamp NULL",
        "'1970-01-01 00:00:01'",
        "1970-01-01 00:00:01+00",
        "1970-01-01 00:00:01.000000+00:00",
    ),
    Case(
        "time(6)",
        "'-838:59:59.000000'",
        "-838:59:59",
        "-838:59:59.000000",
    ),
    Case(
        "time(6)",
        "'838:59:58.999999'",
        "838:59:58.999999",
        "838:59:58.999999",
    ),
    Case(
        "time(1)",
        "'-00:00:00.5'",
        "-00:00:00.5",
        "-00:00:00.500000",
    ),
    Case("time", "'24:00:00'", "24:00:00", "24:00:00.000000"),
    Case("char(5)", "'a  '", "a", "a"),
    Case("varchar(9)", "'a  '", "a  ", "a  "),
    Case("varchar(9)", "''", "", ""),
    Case("varchar(9)", "'😀ß\\\\\\''", "😀ß\\'", "😀ß\\'"),
    Case(
        "varchar(9) CHARACTER SET latin1",
        "'café€'",
        "café€",
        "café€",
    ),
    Case("text CHARACTER SET utf8mb3", "'ÄÖ☃'", "ÄÖ☃", "ÄÖ☃"),
    Case("varchar(9) CHARACTER SET ucs2", "'ÄÖ☃'", "ÄÖ☃", "ÄÖ☃"),
    Case("varchar(9) CHARACTER SET utf16", "'😀'", "😀", "😀"),
    Case("longtext", "repeat('x', 70000)", "", ""),
    Case("binary(4)", "x'ff00'", "\\xff000000", "\\xff000000"),
    Case("varbinary(4)", "x'00ff'", "\\x00ff", "\\x00ff"),
    Case("blob", "''", "\\x", "\\x"),
    Case("enum('a,b','it''s','')", "'it''s'", "it's", "it's"),
    Case("set('a','b','c')", "'c,a'", "a,c", "a,c"),
    Case(
        "point",
        "ST_GeomFromText('POINT(1 2)')",
        "\\x000000000101000000000000000000f03f0000000000000040",
        "\\x000000000101000000000000000000f03f0000000000000040",
    ),
];

/// What only one of them has.
fn own_edges(flavour: Flavour) -> &'static [Case] {
    match flavour {
        Flavour::Mysql => &[
            Case(
                "json",
                "'{\"b\": [1, 2.50, \"\\\\u0000\"], \"a\": null}'",
                "{\"a\": null, \"b\": [1, 2.5, \"\\u0000\"]}",
                "{\"a\": null, \"b\": [1, 2.5, \"\\u0000\"]}",
            ),
            Case(
                "varchar(9) COLLATE utf8mb4_0900_ai_ci INVISIBLE",
                "'x'",
                "x",
                "x",
            ),
        ],
        Flavour::Mariadb => &[
            Case(
                "json",
                "'{\"b\":  1.50}'",
                "{\"b\":  1.50}",
                "{\"b\":  1.50}",
            ),
            Case(
                "uuid",
                "'00112233-4455-6677-8899-AABBCCDDEEFF'",
                "00112233-4455-6677-8899-aabbccddeeff",
                "00112233-4455-6677-8899-aabbccddeeff",
            ),
            Case(
                "inet6",
                "'2001:DB8::ff00:42'",
                "2001:db8::ff00:42/128",
                "2001:db8::ff00:42",
            ),
            Case("varchar(9) INVISIBLE", "'x'", "x", "x"),
        ],
    }
}

async fn edges_survive(flavour: Flavour, target: Target) {
    let cases: Vec<&Case> = EDGES.iter().chain(own_edges(flavour)).collect();
    let columns: Vec<_> = cases
        .iter()
        .enumerate()
        .map(|(number, case)| format!("c{number} {}", case.0))
        .collect();
    let names: Vec<_> = (0..cases.len())
        .map(|number| format!("c{number}"))
        .collect();
    let names = names.join(", ");
    let values: Vec<_> = cases.iter().map(|case| case.1).collect();
    let setup = format!(
        "SET sql_mode = 'STRICT_ALL_TABLES,NO_AUTO_VALUE_ON_ZERO';
         CREATE TABLE t (id int PRIMARY KEY, {});
         INSERT INTO t (id, {names}) VALUES (1, {});
         INSERT INTO t (id) VALUES (2)",
        columns.join(", "),
        values.join(", "),
    );
    let lab = MysqlLab::new(flavour, target, &setup).await;
    lab.pipeline("  t: { capture: full }");

    lab.run().await.expect_success();

    let casts: Vec<_> = (0..cases.len())
        .map(|number| {
            lab.target
                .pick("c{}::text", "c{}")
                .replace("{}", &number.to_string())
        })
        .collect();
    let select = format!("SELECT {} FROM t ORDER BY id", casts.join(", "));
    let rows = lab.at_target(&select).await;
    for (number, case) in cases.iter().enumerate() {
        let mut shown = rows[0][number].clone();
        if matches!(case.0, "float" | "double") {
            // Each store spells a float in its own way.
            let value = shown.and_then(|text| text.parse::<f64>().ok());
            shown = value.map(|value| format!("{value:e}"));
        }
        let expected = match case.1 {
            "repeat('x', 70000)" => "x".repeat(70_000),
            _ => lab.target.pick(case.2, case.3).to_owned(),
        };
        assert_eq!(
            shown.as_deref(),
            Some(expected.as_str()),
            "{flavour:?} {} {}",
            case.0,
            case.1
        );
        assert_eq!(rows[1][number], None, "{flavour:?} {} NULL", case.0);
    }
    // A second run compares every value with what the first one wrote.
    let again = lab.synced().await;
    assert_eq!(again["rows_written"], 0, "{again}");
}

#[tokio::test]
async fn edge_values_reach_postgres_from_both() {
    for flavour in FLAVOURS {
        edges_survive(flavour, Target::postgres().await).await;
    }
}

#[tokio::test]
async fn edge_values_reach_sqlite_from_both() {
    for flavour in FLAVOURS {
        edges_survive(flavour, Target::sqlite()).await;
    }
}

/// A random value of each column of the table below, as a literal.
fn random_row(rng: &mut StdRng) -> Vec<String> {
    let digits = |rng: &mut StdRng, count: usize| -> String {
        (0..count)
            .map(|_| char::from(b'0' + rng.random_range(0..10)))
            .collect()
    };
    let sign = if rng.random_bool(0.5) { "-" } else { "" };
    let text: String = (0..rng.random_range(0..20))
        .map(|_| match rng.random_range(0..4) {
            0 => char::from(rng.random_range(b' '..=b'~')),
            1 => char::from_u32(rng.random_range(0xa1..0x250)).unwrap_or('ß'),
            2 => char::from_u32(rng.random_range(0x4e00..0x9fa5)).unwrap_or('中'),
            _ => char::from_u32(rng.random_range(0x1f600..0x1f640)).unwrap_or('😀'),
        })
        .collect();
    let bytes: String = (0..rng.random_range(0..12))
        .map(|_| format!("{:02x}", rng.random::<u8>()))
        .collect();
    let hours = rng.random_range(0..838);
    vec![
        rng.random::<i64>().to_string(),
        rng.random::<u64>().to_string(),
        format!("{sign}{}.{}", digits(rng, 20), digits(rng, 10)),
        format!("{sign}{}.{}", digits(rng, 35), digits(rng, 30)),
        format!("'{}'", text.replace('\\', "\\\\").replace('\'', "''")),
        format!("x'{bytes}'"),
        format!("from_days(366 + {})", rng.random_range(0..3_000_000)),
        format!(
            "'1970-01-02' + INTERVAL {} MICROSECOND",
            rng.random_range(0..2_000_000_000_000_000_i64)
        ),
        format!(
            "'{sign}{hours}:{:02}:{:02}.{:06}'",
            rng.random_range(0..60),
            rng.random_range(0..60),
            rng.random_range(0..1_000_000)
        ),
        format!("{:e}", f64::from_bits(rng.random::<u64>() & !(1 << 62))),
        rng.random_range(0..4096).to_string(),
    ]
}

const GENERATED: &str = "CREATE TABLE t (id int AUTO_INCREMENT PRIMARY KEY, i bigint, \
    u bigint unsigned, d decimal(30,10), w decimal(65,30), s varchar(40), b varbinary(12), \
    day date, at timestamp(6) NULL, span time(6), f double, bits bit(12))";

#[tokio::test]
async fn generated_values_are_equal_at_the_target() {
    let seed: u64 = rand::rng().random();
    println!("seed {seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let rows: Vec<String> = (0..300)
        .map(|_| format!("({})", random_row(&mut rng).join(", ")))
        .collect();
    let setup = format!(
        "{GENERATED}; INSERT INTO t (i, u, d, w, s, b, day, at, span, f, bits) VALUES {}",
        rows.join(", ")
    );
    for flavour in FLAVOURS {
        let lab = MysqlLab::postgres(flavour, &setup).await;
        lab.pipeline("  t: { capture: full }");

        lab.run().await.expect_success();

        // Both servers are asked for one form that loses nothing.
        let ours = "SELECT id, i, u, d, w, hex(convert(s using utf8mb4)), hex(b), day,
            date_format(at, '%Y-%m-%d %H:%i:%s.%f'), span, f, lpad(bin(bits), 12, '0')
            FROM t ORDER BY id";
        let theirs = "SELECT id, i, u, d, w, upper(encode(convert_to(s, 'UTF8'), 'hex')),
            upper(encode(b, 'hex')), day, to_char(at, 'YYYY-MM-DD HH24:MI:SS.US'),
            (extract(epoch FROM span) * 1000000)::bigint, f, bits FROM t ORDER BY id";
        let source = lab.source.rows(ours).await;
        let target = lab.at_target(theirs).await;
        assert_eq!(source.len(), 300);
        for (left, right) in source.iter().zip(&target) {
            for (column, (left, right)) in left.iter().zip(right).enumerate() {
                let float = |text: &Option<String>| {
                    text.as_ref()
                        .and_then(|text| text.parse::<f64>().ok())
                        .map(f64::to_bits)
                };
                let same = match column {
                    10 => float(left) == float(right),
                    9 => {
                        left.as_deref().map(micros)
                            == right.as_deref().map(|text| text.parse().ok())
                    }
                    _ => left == right,
                };
                assert!(same, "{flavour:?} column {column}: {left:?} is {right:?}");
            }
        }
    }
}

/// Microseconds of `-838:59:59.000000`.
fn micros(text: &str) -> Option<i64> {
    let (sign, text) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text),
    };
    let (time, fraction) = text.split_once('.')?;
    let seconds = time
        .split(':')
        .try_fold(0, |sum, part| Some(sum * 60 + part.parse::<i64>().ok()?))?;
    Some(sign * (seconds * 1_000_000 + fraction.parse::<i64>().ok()?))
}

#[tokio::test]
async fn values_that_fit_nowhere_stop_their_table_and_name_the_row() {
    let zero_dates = "SET sql_mode = ''; CREATE TABLE t (id int PRIMARY KEY, c date); \
                      INSERT INTO t VALUES (7, '0000-00-00'), (8, '2024-02-00'), (9, '2024-02-29')";
    let numbers = "CREATE TABLE t (id int PRIMARY KEY, c tinyint(1)); \
                   INSERT INTO t VALUES (7, 2), (8, 1)";
    for flavour in FLAVOURS {
        for (setup, word) in [
            (zero_dates, "zero_dates: null"),
            (numbers, "tinyint1: integer"),
        ] {
            let lab = MysqlLab::postgres(flavour, setup).await;
            lab.pipeline("  t: { capture: full }");

            let output = lab.run().await.expect_code(1);

            assert!(
                said(&output).contains("column `c` of `t`"),
                "{}",
                said(&output)
            );
            assert!(said(&output).contains("`id` = 7"), "{}", said(&output));
            assert!(said(&output).contains(word), "{}", said(&output));
        }
    }
}

#[tokio::test]
async fn settings_read_what_would_be_refused() {
    let setup = "SET sql_mode = ''; CREATE TABLE t (id int PRIMARY KEY, c date NOT NULL, n tinyint(1)); \
                 INSERT INTO t VALUES (7, '0000-00-00', 2), (9, '2024-02-29', -128)";
    for (value, first) in [("null", None), ("text", Some("0000-00-00"))] {
        let lab = MysqlLab::postgres(Flavour::Mariadb, setup).await;
        lab.project.file(
            "syncset.yaml",
            &format!(
                "version: 1\nconnections:\n  source: {{ type: mysql, url: \"{}\", zero_dates: \"{value}\", tinyint1: integer }}\n  target: {{ type: postgres, url: \"{}\" }}\n",
                lab.source.url().replacen("mariadb:", "mysql:", 1),
                lab.target.place().url()
            ),
        );
        lab.pipeline("  t: { capture: full }");

        lab.run().await.expect_success();

        let rows = lab.at_target("SELECT c::text, n FROM t ORDER BY id").await;
        assert_eq!(rows[0], [first.map(str::to_owned), Some("2".to_owned())]);
        assert_eq!(
            rows[1],
            [Some("2024-02-29".to_owned()), Some("-128".to_owned())]
        );
    }
}
