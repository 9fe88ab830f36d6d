//! Values of PostgreSQL's own types.

use super::owned;
use crate::round_trip_forms::{base, numbers as digits};
use crate::round_trips::more;
use chrono::{Days, NaiveDate};
use rand::Rng;
use rand::rngs::StdRng;

/// What must be there before the columns can be made. The target lacks what is `only_here`.
pub(super) const PREPARATION: &str = "CREATE TYPE an_enum AS ENUM ('sad', 'happy');
     CREATE TYPE \"Odd Labels\" AS ENUM ('', 'it''s', 'a,b', '😀 \\', ' x ');
     CREATE TYPE a_composite AS (a integer);
     CREATE DOMAIN a_domain AS varchar(5) CHECK (value <> 'never');
     CREATE TABLE only_here (a integer);
     CREATE SCHEMA only_here;
     CREATE COLLATION only_here FROM \"C\";
     CREATE TEXT SEARCH CONFIGURATION only_here (COPY = simple);
     CREATE TEXT SEARCH DICTIONARY only_here (TEMPLATE = simple);
     CREATE FUNCTION only_here() RETURNS integer LANGUAGE sql AS 'SELECT 1';
     CREATE OPERATOR |=| (LEFTARG = integer, RIGHTARG = integer, FUNCTION = int4eq);";

/// Texts of values of a type whose values nothing else is like; empty for other types.
pub(super) fn values(native: &str, rng: &mut StdRng) -> Vec<String> {
    let base = base(native);
    if base == "numeric" && !digits(native).is_empty() {
        return Vec::new();
    }
    let mut values = owned(edges(&base), &[]);
    if matches!(base.as_str(), "json" | "jsonb") {
        values.push(format!("{}{}", "[".repeat(40), "]".repeat(40)));
    }
    values.extend((0..more()).filter_map(|_| random(native, &base, rng)));
    values
}

fn edges(base: &str) -> &'static [&'static str] {
    match base {
        "json" => &[
            "{\"b\": 1,  \"a\": 2, \"a\": 3}",
            "[1e400, 123456789012345678901234567890.12]",
            "\"\\u0000 😀\"",
            "\"\\ud83d\\ude00\"",
            "\"\\ud83d\"",
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
        "interval year to month" => &["-1 years +2 mons", "178000000 years", "0"],
        "money" => &["-92233720368547758.08", "0", "0.01"],
        "xml" => &["<a>1</a>", "", "<?xml version=\"1.0\"?><ä b=\"c\"/>"],
        "jsonpath" => &["$", "strict $.\"a b\"[*] ? (@ > 1.50)", "$.\"😀\\n\""],
        "integer[]" => &["{}", "{1,NULL,-2}", "[2:3]={7,NULL}", "{{1,2},{3,4}}"],
        "text[]" => &[
            "{}",
            "{NULL,\"NULL\",\"\"}",
            "{\"a,b\",\"\\\"\",\"\\\\\"}",
            "{{ä,b},{c,d}}",
        ],
        "inet" => &[
            "10.0.0.1",
            "10.0.0.1/8",
            "::1",
            "2001:db8::/32",
            "0.0.0.0/0",
        ],
        "cidr" => &["10.0.0.0/8", "::/0", "1.2.3.4/32"],
        "macaddr" => &["08:00:2b:01:02:03", "00:00:00:00:00:00"],
        "macaddr8" => &["08:00:2b:01:02:03:04:05", "ff:ff:ff:ff:ff:ff:ff:ff"],
        "bit" => &["00000000", "10000001", "11111111"],
        "bit varying" => &["", "1", "00000001"],
        "tsvector" => &["'cat':3A 'fat':2", ""],
        "tsquery" => &["fat & !rat", ""],
        "public.an_enum" => &["sad", "happy"],
        "public.a_domain" => &["ab ", "", "😀"],
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
        _ if base.ends_with("range") => edges_of_ranges(base),
        _ => edges_of_shapes(base)
            .or_else(|| edges_of_numbers(base))
            .unwrap_or_default(),
    }
}

fn edges_of_ranges(base: &str) -> &'static [&'static str] {
    match base {
        "int4range" => &["[1,5)", "empty", "(,)"],
        "int8range" => &[
            "[-9223372036854775808,9223372036854775807)",
            "empty",
            "[7,)",
        ],
        "numrange" => &["[1.0,1.00]", "(,NaN]", "(-Infinity,0.10)", "empty"],
        "daterange" => &["[0044-03-15 BC,infinity)", "[2024-01-01,)", "empty"],
        "tsrange" => &[
            "[\"2024-03-31 02:30:00\",infinity]",
            "(,\"9999-12-31 23:59:59.999999\")",
            "empty",
        ],
        "tstzrange" => &[
            "[\"2024-10-27 00:30:00+00\",\"2024-10-27 01:30:00+00\")",
            "(-infinity,)",
            "empty",
        ],
        "int4multirange" => &["{[1,3),[7,9)}", "{}"],
        "int8multirange" => &["{(,-9223372036854775807),[7,)}", "{}"],
        "nummultirange" => &["{[1.0,1.00],(2,)}", "{}"],
        "datemultirange" => &["{[0044-03-15 BC,2024-02-29),[2024-03-01,infinity)}", "{}"],
        "tsmultirange" => &[
            "{[\"2024-03-31 02:30:00\",\"2024-03-31 02:30:00.1\")}",
            "{}",
        ],
        "tstzmultirange" => &["{[\"2024-10-27 00:30:00+00\",)}", "{}"],
        _ => &[],
    }
}

fn edges_of_shapes(base: &str) -> Option<&'static [&'static str]> {
    Some(match base {
        "point" => &[
            "(1.5,-2)",
            "(NaN,Infinity)",
            "(-0,1e-308)",
            "(0.30000000000000004,1)",
        ],
        "line" => &["{1,-2,3.5}", "{0,-1,1e300}"],
        "lseg" => &["[(0,0),(1,1)]", "[(-0,1e-308),(NaN,Infinity)]"],
        "box" => &["(1,1),(0,0)", "(1e300,2),(-0.5,-2)"],
        "path" => &["((0,0),(1,1),(2,0))", "[(0,0)]"],
        "polygon" => &["((0,0),(1.5,1),(1,-0))", "((0,0))"],
        "circle" => &["<(0,0),1.5>", "<(-1e300,0.1),0>"],
        _ => return None,
    })
}

fn edges_of_numbers(base: &str) -> Option<&'static [&'static str]> {
    Some(match base {
        "oid" | "xid" => &["0", "4294967295"],
        "xid8" => &["0", "18446744073709551615"],
        "tid" => &["(0,0)", "(4294967295,65535)"],
        "\"char\"" => &["x", ""],
        "pg_lsn" => &["0/0", "FFFFFFFF/FFFFFFFF"],
        "pg_snapshot" | "txid_snapshot" => &["1:1:", "10:20:10,14,15"],
        "regclass" => &["pg_class", "-", "only_here"],
        "regcollation" => &["\"C\"", "only_here"],
        "regconfig" => &["english", "only_here"],
        "regdictionary" => &["simple", "only_here"],
        "regnamespace" => &["pg_catalog", "only_here"],
        "regoper" => &["||/", "|=|"],
        "regoperator" => &["+(integer,integer)", "|=|(integer,integer)"],
        "regproc" => &["pg_backend_pid", "only_here"],
        "regprocedure" => &["lower(text)", "only_here()"],
        "regrole" => &["pg_monitor", "-"],
        "regtype" => &["integer", "text[]", "only_here"],
        _ => return None,
    })
}

/// A random value; `None` for types of which only the edges are taken.
fn random(native: &str, base: &str, rng: &mut StdRng) -> Option<String> {
    if base.ends_with("range") {
        return Some(range(base, rng));
    }
    let mut below = |max: u64| rng.random_range(0..max);
    Some(match base {
        "json" => format!("{{\"k\" : {}.{}0}}", below(1 << 40), below(100)),
        "jsonb" => format!("{{\"k\": [{}.{}0]}}", below(1 << 40), below(100)),
        "time with time zone" => format!(
            "{:02}:{:02}:{:02}.{:06}{:+03}",
            below(24),
            below(60),
            below(60),
            below(1_000_000),
            i64::try_from(below(29)).expect("a small number") - 14
        ),
        "interval" => format!(
            "{} mons -{} days {}:{:02}:{:02}.{:06}",
            below(100_000),
            below(100_000),
            below(100_000),
            below(60),
            below(60),
            below(1_000_000)
        ),
        "interval year to month" => format!("{} mons", below(100_000)),
        "money" => format!("-{}.{:02}", below(1 << 50), below(100)),
        "xml" => format!("<a b=\"{}\"/>", below(1 << 40)),
        "jsonpath" => format!("$.\"k\"[{}]", below(1 << 30)),
        "integer[]" => format!("{{{},-{},NULL}}", below(1 << 31), below(1 << 31)),
        "text[]" => format!("{{\"{}\",\"a \\\\ {}\"}}", below(1 << 31), below(1 << 31)),
        "inet" => format!(
            "10.{}.{}.{}/{}",
            below(256),
            below(256),
            below(256),
            below(33)
        ),
        "cidr" => format!("10.{}.0.0/{}", below(256), 16 + below(17)),
        "macaddr" => hexadecimal(6, &mut below),
        "macaddr8" => hexadecimal(8, &mut below),
        "bit" => format!("{:08b}", below(256)),
        "bit varying" => {
            let bits = format!("{:064b}", below(u64::MAX));
            let max = digits(native).first().map_or(64, |max| u64::from(*max));
            let length = usize::try_from(below(max + 1)).expect("some bits");
            bits[64 - length..].to_owned()
        }
        "tsvector" => format!("'w{}':{}B", below(1_000), 1 + below(1_000)),
        "tsquery" => format!("w{} & !x{}:*", below(1_000), below(1_000)),
        "oid" | "xid" => below(1 << 32).to_string(),
        "xid8" => below(u64::MAX).to_string(),
        "tid" => format!("({},{})", below(1 << 32), below(1 << 16)),
        "pg_lsn" => format!("{:X}/{:X}", below(1 << 32), below(1 << 32)),
        "pg_snapshot" | "txid_snapshot" => {
            let first = 3 + below(1 << 40);
            format!("{first}:{}:{first}", first + 1 + below(1_000))
        }
        "public.hstore" => format!("\"k{}\"=>\"{}\"", below(1_000), below(1_000)),
        "public.a_composite" => format!("({})", below(1 << 31)),
        "public.a_domain" => below(100_000).to_string(),
        "numeric" => format!("-{}.{}0", below(u64::MAX), below(u64::MAX)),
        _ => return shape(base, rng),
    })
}

fn hexadecimal(bytes: usize, below: &mut impl FnMut(u64) -> u64) -> String {
    let pairs: Vec<_> = (0..bytes).map(|_| format!("{:02x}", below(256))).collect();
    pairs.join(":")
}

/// A range, or a multirange of one.
fn range(base: &str, rng: &mut StdRng) -> String {
    let from: i32 = rng.random_range(-700_000..2_000_000);
    let length: i32 = rng.random_range(1..900_000);
    let fraction: u32 = rng.random_range(0..1_000_000);
    let day = |days: i32| {
        let days = Days::new(u64::try_from(days + 700_000).expect("a day of our era"));
        let first = NaiveDate::from_ymd_opt(1, 1, 1).expect("the first day");
        first + days
    };
    let [lower, upper] = [from, from + length].map(|bound| match base {
        "numrange" | "nummultirange" => format!("{bound}.{fraction:06}0"),
        "daterange" | "datemultirange" => day(bound).to_string(),
        "tsrange" | "tsmultirange" => format!("\"{} 02:30:00.{fraction:06}\"", day(bound)),
        "tstzrange" | "tstzmultirange" => format!("\"{} 02:30:00.{fraction:06}+00\"", day(bound)),
        _ => bound.to_string(),
    });
    match base.contains("multi") {
        true => format!("{{[{lower},{upper})}}"),
        false => format!("[{lower},{upper})"),
    }
}

fn shape(base: &str, rng: &mut StdRng) -> Option<String> {
    let mut at = || -> f64 { rng.random_range(-1e6..1e6) };
    let [a, b, c, d] = [at(), at(), at(), at()];
    Some(match base {
        "point" => format!("({a},{b})"),
        "line" => format!("{{{a},{b},{c}}}"),
        "lseg" => format!("[({a},{b}),({c},{d})]"),
        "box" => format!("({a},{b}),({c},{d})"),
        "path" => format!("[({a},{b}),({c},{d}),({d},{a})]"),
        "polygon" => format!("(({a},{b}),({c},{d}),({d},{a}))"),
        "circle" => format!("<({a},{b}),{}>", c.abs()),
        _ => return None,
    })
}
