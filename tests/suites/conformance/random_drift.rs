//! Cells and rows are changed at random on either side, behind the back of the capture, while rows
//! of the same tables are written and runs bring them over: a check finds exactly what was changed.
//!
//! `SYNCSET_DRIFT_CHECKS` says how many checks each pair does, `SYNCSET_TEST_SEED` which.

use super::pair::Pair;
use kit::{AnyDatabase, Engine, Kind, SampleTable, TextRow};
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, IteratorRandom};
use rand::{Rng, SeedableRng};
use serde_json::Value;
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};

for_every_pair!(what_was_changed_is_found_and_nothing_else);

/// Checks of each pair, unless the environment says otherwise: one by reading all rows, one by
/// hashes where the servers make them.
const CHECKS_DEFAULT: u64 = 2;

/// Checks after which what they found is repaired.
const CHECKS_UNREPAIRED: u64 = 6;

/// A moment that no overlap reaches.
const LONG_AGO: &str = "2024-05-01 10:00:00";

/// Rows of each table that nothing but drift changes: their numbers are up to [`HOT`].
const COLD_ROWS: u32 = 80;

/// The first number of the rows that are written all the time.
const HOT: u32 = 1_000_000;

const HOT_ROWS: u32 = 12;

/// What the servers hash alike.
const WIDE: [(&str, Kind); 11] = [
    ("id", Kind::BigInt),
    ("n", Kind::Int),
    ("big", Kind::BigInt),
    ("name", Kind::Text),
    ("amount", Kind::Decimal(12, 2)),
    ("is_open", Kind::Bool),
    ("day", Kind::Date),
    ("local", Kind::Local),
    ("at", Kind::Instant),
    ("picture", Kind::Bytes),
    ("code", Kind::Uuid),
];

/// A key of a text and a number, and floats.
const PARTS: [(&str, Kind); 4] = [
    ("code", Kind::Key(40)),
    ("id", Kind::BigInt),
    ("ratio", Kind::Float),
    ("name", Kind::Text),
];

const NUMBER: &str = "id";
const STAMP: &str = "updated_at";

/// How a row differs: kind, key, columns.
type Difference = (String, Vec<String>, BTreeSet<String>);

/// One table on both sides, and what its cold rows hold there, by their numbers.
struct Table {
    name: &'static str,
    columns: &'static [(&'static str, Kind)],
    key: &'static [&'static str],
    /// With the stamps of the capture.
    here: SampleTable,
    there: SampleTable,
    source: BTreeMap<u32, TextRow>,
    target: BTreeMap<u32, TextRow>,
    next: u32,
}

struct Lab {
    pair: Pair,
    tables: [Table; 2],
    random: StdRng,
    next_hot: Cell<u32>,
}

impl Table {
    fn new(
        name: &'static str,
        columns: &'static [(&'static str, Kind)],
        key: &'static [&'static str],
    ) -> Self {
        let stamped = [columns, &[(STAMP, Kind::Stamp)]].concat();
        Self {
            name,
            columns,
            key,
            here: SampleTable::new(name, &stamped, key),
            there: SampleTable::new(name, columns, key),
            source: BTreeMap::new(),
            target: BTreeMap::new(),
            next: COLD_ROWS + 1,
        }
    }

    /// A row with this number and any values.
    fn row(&self, random: &mut StdRng, number: u32) -> TextRow {
        let cell = |(name, kind): &(&str, Kind)| match *name {
            NUMBER => Some(number.to_string()),
            name if self.key.contains(&name) => Some(edge(random, *kind)),
            _ => any_value(random, *kind),
        };
        self.columns.iter().map(cell).collect()
    }

    /// Rows with the stamp that no run sees.
    fn stamped(rows: impl Iterator<Item = TextRow>) -> Vec<TextRow> {
        let stamped = rows.map(|mut row| {
            row.push(Some(LONG_AGO.to_owned()));
            row
        });
        stamped.collect()
    }

    /// Writes cells of one row; the stamp of a row of the source stays where it was.
    fn update(&self, engine: Engine, number: u32, cells: &[(usize, Option<String>)]) -> String {
        let cell = |(place, value): &(usize, Option<String>)| {
            let (name, kind) = self.columns[*place];
            let value = engine.literal(kind, value.as_deref());
            format!("{} = {value}", engine.quoted(name))
        };
        let cells: Vec<_> = cells.iter().map(cell).collect();
        format!(
            "UPDATE {} SET {} WHERE {} = {number}",
            engine.quoted(self.name),
            cells.join(", "),
            engine.quoted(NUMBER)
        )
    }

    /// Other values for some cells of a row, none of which is the one that `other` has.
    fn changes(
        &self,
        random: &mut StdRng,
        row: &TextRow,
        other: Option<&TextRow>,
    ) -> Vec<(usize, Option<String>)> {
        let places = (0..self.columns.len()).filter(|place| {
            let (name, _) = self.columns[*place];
            name != NUMBER && !self.key.contains(&name)
        });
        let count = random.random_range(1..=3);
        let places = places.choose_multiple(random, count);
        let change = |place: usize| {
            let kind = self.columns[place].1;
            let taken = [Some(&row[place]), other.map(|other| &other[place])];
            let value = loop {
                let value = any_value(random, kind);
                if !taken.contains(&Some(&value)) {
                    break value;
                }
            };
            (place, value)
        };
        places.into_iter().map(change).collect()
    }

    fn key_of(&self, row: &TextRow) -> Vec<String> {
        let part = |key: &&str| {
            let place = self.columns.iter().position(|(name, _)| name == key);
            let part = &row[place.expect("a column of the key")];
            part.clone().expect("a key is not NULL")
        };
        self.key.iter().map(part).collect()
    }

    /// How the cold rows of both sides differ.
    fn differences(&self) -> BTreeSet<Difference> {
        let numbers = self.source.keys().chain(self.target.keys());
        let difference = |number: &u32| {
            let (kind, row, columns) = match (self.source.get(number), self.target.get(number)) {
                (Some(here), Some(there)) => {
                    let names = self.columns.iter().map(|(name, _)| (*name).to_owned());
                    let pairs = here.iter().zip(there).zip(names);
                    let columns = pairs.filter(|((here, there), _)| here != there);
                    let columns: BTreeSet<_> = columns.map(|(_, name)| name).collect();
                    if columns.is_empty() {
                        return None;
                    }
                    ("different", here, columns)
                }
                (Some(here), None) => ("missing", here, BTreeSet::new()),
                (None, Some(there)) => ("extra", there, BTreeSet::new()),
                (None, None) => return None,
            };
            Some((kind.to_owned(), self.key_of(row), columns))
        };
        numbers.filter_map(difference).collect()
    }

    /// Whether a key is that of a row that is written all the time.
    fn is_hot(&self, key: &[String]) -> bool {
        let place = self.key.iter().position(|name| *name == NUMBER);
        let number: u32 = key[place.expect("the number is in the key")]
            .parse()
            .expect("a number");
        number >= HOT
    }
}

impl Lab {
    /// Two filled tables that a run has brought over.
    async fn synced(pair: Pair, seed: u64) -> Self {
        let mut lab = Self {
            pair,
            tables: [
                Table::new("wide", &WIDE, &["id"]),
                Table::new("parts", &PARTS, &["code", "id"]),
            ],
            random: StdRng::seed_from_u64(seed),
            next_hot: Cell::new(HOT + HOT_ROWS),
        };
        let capture = lab.pair.capture_by(STAMP);
        let mut text = String::new();
        for table in &mut lab.tables {
            for number in 1..=COLD_ROWS {
                let row = table.row(&mut lab.random, number);
                table.source.insert(number, row);
            }
            table.target = table.source.clone();
            let cold = Table::stamped(table.source.values().cloned());
            lab.pair.source.fill(&table.here, &cold).await;
            let hot: Vec<_> = (HOT..HOT + HOT_ROWS)
                .map(|number| table.row(&mut lab.random, number))
                .collect();
            lab.pair.source.insert(&table.here, &hot).await;
            text.push_str(&format!(
                "  {name}: {{ to: {name}, columns: {{ exclude: [{STAMP}] }}, capture: {capture} }}\n",
                name = table.name
            ));
        }
        if let AnyDatabase::Sqlite(file, _) = &lab.pair.source {
            // Its readers make no writer wait then.
            file.execute("PRAGMA journal_mode = wal").await;
        }
        lab.pair.pipeline(&text);
        let rows = u64::from(COLD_ROWS + HOT_ROWS) * 2;
        assert_eq!(lab.pair.run().await, (rows, 0));
        lab
    }

    /// Changes some cells and rows of both tables on either side.
    async fn drift(&mut self) {
        for place in 0..self.tables.len() {
            for _ in 0..self.random.random_range(1..=4) {
                self.drift_once(place).await;
            }
        }
    }

    async fn drift_once(&mut self, place: usize) {
        let (table, random) = (&mut self.tables[place], &mut self.random);
        let at_source = random.random_bool(0.4);
        let database = match at_source {
            true => &self.pair.source,
            false => &self.pair.target,
        };
        let engine = database.engine();
        let (mut rows, others) = match at_source {
            true => (std::mem::take(&mut table.source), &table.target),
            false => (std::mem::take(&mut table.target), &table.source),
        };
        let number = *rows.keys().choose(random).expect("rows are left");
        match random.random_range(0..10) {
            0..=5 => {
                let row = &rows[&number];
                let mut cells = table.changes(random, row, others.get(&number));
                let mut sql = table.update(engine, number, &cells);
                if at_source {
                    let stamp = engine.literal(Kind::Stamp, Some(LONG_AGO));
                    let stamp = format!(" SET {} = {stamp}, ", engine.quoted(STAMP));
                    sql = sql.replacen(" SET ", &stamp, 1);
                }
                database.execute(&sql).await;
                let row = rows.get_mut(&number).expect("it was chosen among them");
                for (place, value) in cells.drain(..) {
                    row[place] = value;
                }
            }
            6..=7 => {
                let sample = &table.there;
                database.delete(sample, (NUMBER, &number.to_string())).await;
                rows.remove(&number);
            }
            _ => {
                let number = table.next;
                table.next += 1;
                let row = table.row(random, number);
                match at_source {
                    true => {
                        let stamped = Table::stamped(std::iter::once(row.clone()));
                        database.insert(&table.here, &stamped).await;
                    }
                    false => {
                        database
                            .insert(&table.there, std::slice::from_ref(&row))
                            .await
                    }
                }
                rows.insert(number, row);
            }
        }
        match at_source {
            true => table.source = rows,
            false => table.target = rows,
        }
    }

    /// Does something while rows are written and runs bring them over, one after another.
    async fn meanwhile<T>(&self, seed: u64, work: impl Future<Output = T>) -> T {
        let mut random = StdRng::seed_from_u64(seed);
        let is_done = Cell::new(false);
        let working = async {
            let result = work.await;
            is_done.set(true);
            result
        };
        let writing = async {
            while !is_done.get() {
                tokio::join!(self.write(&mut random), self.pair.run());
            }
        };
        tokio::join!(working, writing).0
    }

    /// Changes hot rows, and adds one.
    async fn write(&self, random: &mut StdRng) {
        for table in &self.tables {
            for _ in 0..3 {
                let number = random.random_range(HOT..self.next_hot.get()).to_string();
                let value = any_value(random, Kind::Text);
                let set = ("name", value.as_deref());
                self.pair
                    .source
                    .update(&table.here, set, (NUMBER, &number))
                    .await;
            }
            let row = table.row(random, self.next_hot.get());
            self.pair.source.insert(&table.here, &[row]).await;
        }
        self.next_hot.set(self.next_hot.get() + 1);
    }

    /// Checks while rows are written.
    async fn check(&mut self, mode: &str) {
        let seed = self.random.random();
        let words = format!("pipeline check p --samples 10000 --mode {mode}");
        let output = self.meanwhile(seed, self.pair.syncset(&words)).await;
        let report = output.json();

        let mut drifted = 0;
        for table in &self.tables {
            let expected = table.differences();
            drifted += expected.len();
            let found = of_table(&report, table.name);
            self.expect(table, found, &expected);
            // The servers' hashes are given up where it is faster to read all rows.
            let many_differ = found["mode_reason"] == "so many rows differ that all are read";
            if mode == "hash" && table.name == "wide" && !many_differ {
                assert_eq!(found["mode"], "hash", "{found}");
            }
        }
        match drifted {
            0 => assert!(matches!(output.code, 0 | 9), "{report}"),
            _ => assert_eq!(output.code, 4, "{report}"),
        }
    }

    /// Exactly these rows differ for certain, and rows that are written may differ.
    fn expect(&self, table: &Table, found: &Value, expected: &BTreeSet<Difference>) {
        let (mut drift, mut undecided) = (BTreeSet::new(), 0);
        for sample in found["samples"].as_array().expect("rows are named") {
            let texts = |value: &Value| -> Vec<String> {
                let texts = value.as_array().into_iter().flatten();
                texts
                    .map(|text| text.as_str().expect("a text").to_owned())
                    .collect()
            };
            let key = texts(&sample["key"]);
            if sample["undecided"] == true {
                assert!(table.is_hot(&key), "{sample} is no row in flight");
                undecided += 1;
                continue;
            }
            let kind = sample["kind"].as_str().expect("a kind").to_owned();
            drift.insert((kind, key, texts(&sample["columns"]).into_iter().collect()));
        }
        assert_eq!(&drift, expected, "{found}");
        for kind in ["different", "missing", "extra"] {
            let count = expected.iter().filter(|(it, ..)| it == kind).count();
            assert_eq!(found[kind], count, "{kind}: {found}");
        }
        assert_eq!(found["undecided"], undecided, "{found}");
        assert_eq!(found["complete"], true, "{found}");
    }

    /// Repairs while rows are written.
    async fn repair(&mut self) {
        let seed = self.random.random();
        let words = "pipeline repair p --max-percent 100 --on-lock wait=120s";
        let output = self.meanwhile(seed, self.pair.syncset(words)).await;
        assert!(matches!(output.code, 0 | 9), "{}", output.stdout);
        for table in &mut self.tables {
            table.target = table.source.clone();
            let is_cold = |row: &TextRow| !table.is_hot(&table.key_of(row));
            let found = self.pair.target.content(&table.there).await;
            let found = found.into_iter().filter(is_cold).collect();
            let expected = table.source.values().cloned().collect();
            let comparison = kit::Comparison::of(expected, found, table.columns.len());
            assert!(comparison.is_equal(), "{}: {comparison}", table.name);
        }
    }
}

fn of_table<'a>(report: &'a Value, name: &str) -> &'a Value {
    let tables = report["tables"].as_array();
    let tables = tables.unwrap_or_else(|| panic!("no report: {report}"));
    let is_it = |table: &&Value| {
        let stream = table["table"].as_str().unwrap_or_default();
        stream.rsplit('.').next() == Some(name)
    };
    tables
        .iter()
        .find(is_it)
        .expect("the table is in the report")
}

/// A value, or none.
fn any_value(random: &mut StdRng, kind: Kind) -> Option<String> {
    (!random.random_ratio(1, 6)).then(|| edge(random, kind))
}

/// A value as [`Kind`] spells it, of those that are easily taken for another.
fn edge(random: &mut StdRng, kind: Kind) -> String {
    const TEXTS: &[&str] = &[
        "", " ", "a", "A", "a ", " a", "ä", "a\u{308}", "😀", "~", "#", "1:a", "NULL", "null", "0",
        "\\", "'", "\\'", "\"", "%_", "a\nb", "a\tb", "2:a~",
    ];
    const NUMBERS: &[&str] = &["0", "1", "-1", "10", "2147483647", "-2147483648", "65536"];
    const LARGE: &[&str] = &[
        "0",
        "1",
        "4294967296",
        "-4294967297",
        "9223372036854775807",
        "-9223372036854775808",
    ];
    const DECIMALS: &[&str] = &[
        "0",
        "0.01",
        "-0.01",
        "1",
        "-1",
        "1.5",
        "10",
        "100",
        "0.1",
        "9999999999.99",
        "-9999999999.99",
    ];
    const DAYS: &[&str] = &[
        "0001-01-01",
        "1970-01-01",
        "1969-12-31",
        "2024-02-29",
        "2024-03-01",
        "9999-12-31",
    ];
    const LOCALS: &[&str] = &[
        "1000-01-01 00:00:00",
        "1969-12-31 23:59:59.999999",
        "2024-03-31 02:30:00",
        "2024-10-27 02:30:00",
        "2024-10-27 02:30:00.1",
        "9999-12-31 23:59:59.999999",
    ];
    const INSTANTS: &[&str] = &[
        "1970-01-01 00:00:01",
        "2024-03-31 01:30:00",
        "2024-03-31 00:30:00",
        "2024-10-27 00:30:00",
        "2024-10-27 01:30:00",
        "2024-10-27 01:30:00.000001",
        "2038-01-19 03:14:07",
    ];
    const BLOBS: &[&str] = &["", "00", "0000", "00ff27", "5c", "7e", "c3a4", "e4"];
    const FLOATS: &[&str] = &[
        "0.0",
        "1.0",
        "-1.0",
        "0.1",
        "0.2",
        "-2.25",
        "1e100",
        "123456.789",
    ];
    let texts = match kind {
        Kind::Text if random.random_ratio(1, 8) => {
            // Around the length from which a text is hashed alone.
            return "x".repeat(random.random_range(1_020..1_030));
        }
        Kind::Uuid => {
            let bytes = random.random::<[u8; 16]>();
            return uuid::Builder::from_random_bytes(bytes)
                .into_uuid()
                .to_string();
        }
        Kind::Bool => &["true", "false"],
        Kind::Text | Kind::Key(_) => TEXTS,
        Kind::Int => NUMBERS,
        Kind::BigInt => LARGE,
        Kind::Decimal(..) => DECIMALS,
        Kind::Date => DAYS,
        Kind::Local => LOCALS,
        Kind::Instant => INSTANTS,
        Kind::Bytes => BLOBS,
        Kind::Float => FLOATS,
        Kind::Json | Kind::Stamp => unreachable!("no table here has it"),
    };
    (*texts.choose(random).expect("there are some")).to_owned()
}

async fn what_was_changed_is_found_and_nothing_else(pair: Pair) {
    let number = |name: &str| -> Option<u64> { std::env::var(name).ok()?.parse().ok() };
    let seed = number("SYNCSET_TEST_SEED").unwrap_or_else(rand::random);
    println!("SYNCSET_TEST_SEED={seed}");
    let checks = number("SYNCSET_DRIFT_CHECKS").unwrap_or(CHECKS_DEFAULT);
    let engines = [pair.source.engine(), pair.target.engine()];
    let by_server = match engines.contains(&Engine::Sqlite) {
        true => "auto",
        false => "hash",
    };
    let mut lab = Lab::synced(pair, seed).await;

    for round in 1..=checks {
        lab.drift().await;
        let mode = match round % 2 {
            1 => by_server,
            _ => "stream",
        };
        lab.check(mode).await;
        if round % CHECKS_UNREPAIRED == 0 {
            lab.repair().await;
        }
    }
    lab.repair().await;
    // Nothing was changed: nothing is found.
    lab.check(by_server).await;
}
