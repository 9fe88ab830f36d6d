//! Literals of MySQL's and MariaDB's own types.

use crate::round_trip_forms::{Engine, base, numbers as digits};
use crate::round_trips::more;
use rand::Rng;
use rand::rngs::StdRng;

/// Literals of a type whose values nothing else is like; empty for other types.
pub(super) fn literals(engine: Engine, native: &str, rng: &mut StdRng) -> Vec<String> {
    let base = base(native);
    let texts: &[&str] = match (engine, base.as_str()) {
        (_, "bit") => return bits(native, rng),
        (Engine::Mysql, "json") => return documents(),
        (Engine::Mysql, "vector") => {
            return ["[0,0,0]", "[1,-2.5,3e38]"]
                .map(|it| format!("STRING_TO_VECTOR('{it}')"))
                .to_vec();
        }
        (_, "year") => &["0", "1901", "1970", "2155"],
        (_, "enum") => &["a", "b"],
        (_, "set") => &["", "a", "b", "a,b"],
        (Engine::Mariadb, "json") => &[
            "{\"b\":  1.50, \"a\": 1, \"a\": 2}",
            "[1e400, 123456789012345678901234567890.12]",
            "\"\\u0000 😀\"",
            "null",
            " [ ] ",
            "1.",
            "\"\\x\"",
        ],
        (Engine::Mariadb, "inet4") => &["0.0.0.0", "10.1.2.3", "255.255.255.255"],
        (Engine::Mariadb, "inet6") => &["::", "2001:DB8::ff00:42", "::ffff:1.2.3.4", "::1"],
        _ => return shapes(&base, rng),
    };
    texts.iter().map(|text| engine.quoted(text)).collect()
}

fn bits(native: &str, rng: &mut StdRng) -> Vec<String> {
    let count = digits(native).first().copied().unwrap_or(1);
    let max = u64::MAX >> (64 - count);
    let mut values = vec![0, 1, max, max / 2 + 1];
    values.extend((0..more()).map(|_| rng.random_range(0..=max)));
    values.iter().map(|value| format!("b'{value:b}'")).collect()
}

fn documents() -> Vec<String> {
    let texts = [
        "{\"b\": [1, 2.50, \"\\u0000\"], \"a\": null}",
        "[18446744073709551615, -9223372036854775808, 1.7976931348623157e308]",
        "\"😀\"",
        "null",
        "[]",
    ];
    let mut values: Vec<_> = texts.iter().map(|it| Engine::Mysql.quoted(it)).collect();
    let deep = format!("{}{}", "[".repeat(40), "]".repeat(40));
    values.push(Engine::Mysql.quoted(&deep));
    // Only a function makes numbers that are no floats.
    values.push("JSON_ARRAY(CAST('-1.50' AS DECIMAL(5,2)))".to_owned());
    values
        .push("JSON_ARRAY(CAST('123456789012345678901234567890.12' AS DECIMAL(40,2)))".to_owned());
    values.push("JSON_ARRAY(CAST('2024-02-29' AS DATE), CAST('-10:00' AS TIME))".to_owned());
    values
}

fn shapes(base: &str, rng: &mut StdRng) -> Vec<String> {
    let edges: &[&str] = match base {
        "geometry" => &[
            "'POINT(1 2)'",
            "'LINESTRING(0 0,1 1)'",
            "'POLYGON((0 0,1 0,1 1,0 0))', 4326",
            "'GEOMETRYCOLLECTION(POINT(1 2))'",
        ],
        "point" => &[
            "'POINT(1 2)'",
            "'POINT(-0.5 1e300)', 0",
            "'POINT(1 2)', 4326",
        ],
        "linestring" => &["'LINESTRING(0 0,1 1)'", "'LINESTRING(-0.5 1e300,2 2,3 3)'"],
        "polygon" => &[
            "'POLYGON((0 0,1 0,1 1,0 0))', 4326",
            "'POLYGON((0 0,9 0,9 9,0 9,0 0),(1 1,2 1,2 2,1 1))'",
        ],
        "multipoint" => &["'MULTIPOINT(0 0,1 1)'"],
        "multilinestring" => &["'MULTILINESTRING((0 0,1 1),(2 2,3 3.5))'"],
        "multipolygon" => &["'MULTIPOLYGON(((0 0,1 0,1 1,0 0)),((5 5,6 5,6 6,5 5)))'"],
        "geometrycollection" => &["'GEOMETRYCOLLECTION(POINT(1 2),LINESTRING(0 0,1 1))', 4326"],
        _ => return Vec::new(),
    };
    let mut values: Vec<_> = edges.iter().map(|it| (*it).to_owned()).collect();
    for _ in 0..more() {
        let mut at = || -> f64 { rng.random_range(-1e6..1e6) };
        let [a, b, c, d] = [at(), at(), at(), at()];
        let text = match base {
            "geometry" | "point" => format!("POINT({a} {b})"),
            "linestring" => format!("LINESTRING({a} {b},{c} {d})"),
            "polygon" => format!("POLYGON(({a} {b},{c} {b},{c} {d},{a} {b}))"),
            "multipoint" => format!("MULTIPOINT({a} {b},{c} {d})"),
            "multilinestring" => format!("MULTILINESTRING(({a} {b},{c} {d}))"),
            "multipolygon" => format!("MULTIPOLYGON((({a} {b},{c} {b},{c} {d},{a} {b})))"),
            _ => format!("GEOMETRYCOLLECTION(POINT({a} {b}))"),
        };
        values.push(format!("'{text}'"));
    }
    values
        .iter()
        .map(|it| format!("ST_GeomFromText({it})"))
        .collect()
}
