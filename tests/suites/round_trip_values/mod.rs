//! Values of every type that a connector lists, as literals of its engine: the edges of the type
//! first, then random ones.

mod further;
mod moments;
mod mysql;
mod numbers;
mod postgres;
mod texts;

use crate::round_trip_forms::{Class, Engine, base, numbers as digits};
use arrow_schema::DataType;
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

/// What must be there before the columns can be made.
pub(crate) fn preparation(engine: Engine) -> &'static str {
    match engine {
        Engine::Postgres => postgres::PREPARATION,
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
    cases.extend(further::columns(engine));
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
        _ if base.starts_with("numeric") && digits(&native).len() == 2 => Class::Number,
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
    let quoted =
        |texts: Vec<String>| -> Vec<String> { texts.iter().map(|it| engine.quoted(it)).collect() };
    let own = match engine {
        Engine::Postgres => quoted(postgres::values(&native, rng)),
        Engine::Mysql | Engine::Mariadb => mysql::literals(engine, &native, rng),
        Engine::Sqlite => quoted(documents_of_sqlite(&base)),
    };
    let values = if !own.is_empty() {
        own
    } else {
        match class {
            Class::Boolean if engine == Engine::Postgres => quoted(vec!["t".into(), "f".into()]),
            Class::Boolean => vec!["0".into(), "1".into()],
            Class::Number => quoted(numbers::numbers_of(engine, &native, &base, rng)),
            Class::Single => numbers::floats(engine, &native, rng),
            Class::Double => numbers::floats(engine, &native, rng),
            Class::Bytes => texts::bytes(&native, rng)
                .iter()
                .map(|it| engine.bytes(it))
                .collect(),
            Class::Uuid => quoted(texts::uuids(engine, rng)),
            Class::Date => quoted(moments::dates(engine, rng)),
            Class::Span => quoted(moments::spans(engine, &native, rng)),
            Class::Local | Class::Instant => quoted(moments::moments(engine, &native, class, rng)),
            Class::Text => quoted(texts::texts(engine, &native, &base, rng)),
            Class::Network => panic!("no values for {engine:?} `{native}`"),
        }
    };
    Case {
        native,
        class,
        values,
    }
}

/// Documents of SQLite, which takes any text for one.
fn documents_of_sqlite(base: &str) -> Vec<String> {
    let texts: &[&str] = match base {
        "json" => &[
            "{\"b\":  1.50, \"a\": 1, \"a\": 2}",
            "[1e400, 123456789012345678901234567890.12]",
            "\"\\u0000 😀\"",
            "null",
            " [ ] ",
            "a\0b",
        ],
        _ => &[],
    };
    owned(texts, &[])
}

fn owned(all: &[&str], own: &[&str]) -> Vec<String> {
    all.iter().chain(own).map(|&it| it.to_owned()).collect()
}
