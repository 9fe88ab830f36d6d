//! Integers, decimals and floats: the edges of their types first, then random ones.

use crate::round_trip_forms::{Engine, base, numbers};
use rand::Rng;
use rand::rngs::StdRng;

pub(super) fn numbers_of(
    engine: Engine,
    native: &str,
    base: &str,
    rng: &mut StdRng,
) -> Vec<String> {
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
    if scale == 0 {
        let most = "9".repeat(whole);
        let random = (0..crate::round_trips::more()).map(|_| digits(rng, whole));
        let mut values: Vec<_> = random.collect();
        values.extend(["0", "1", "-10"].map(str::to_owned));
        values.extend([format!("-{most}"), most]);
        return values;
    }
    let most = format!("{}.{}", "9".repeat(whole), "9".repeat(scale));
    let least = format!("0.{}1", "0".repeat(scale - 1));
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

pub(super) fn floats(engine: Engine, native: &str, rng: &mut StdRng) -> Vec<String> {
    if let [digits, scale] = numbers(native)[..] {
        return rounded_floats(digits - scale, rng);
    }
    let is_single = matches!(base(native).as_str(), "real" | "float") && engine != Engine::Sqlite;
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

/// Floats of so many digits before the point; what is behind it the server rounds.
fn rounded_floats(whole: u32, rng: &mut StdRng) -> Vec<String> {
    let most = 10_f64.powi(i32::try_from(whole).expect("few digits")) - 0.001;
    let mut values = vec![0.0, 1.0, -0.5, 0.1, most, -most];
    values.extend((0..crate::round_trips::more()).map(|_| rng.random_range(-most..most)));
    values.iter().map(|value| format!("{value:e}")).collect()
}
