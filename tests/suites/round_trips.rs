//! Values of every type go from every engine to every engine, and back, by pipelines that create
//! the tables themselves: by a first load, and by changes.
//!
//! The columns are those that the connectors list, so a new type is covered once it is listed.
//! Values that the target cannot hold must be refused, with their row and column.

mod drift;

use crate::mysql_lab::said;
use crate::round_trip_forms::{Class, Engine, Seen, canonical, fits, seen};
use crate::round_trip_policies::follow_policies;
use crate::round_trip_values::{Case, cases, preparation};
use crate::targets::Target;
use kit::Project;
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde_json::Value;
use std::collections::BTreeMap;

/// Random values of a type, beside its edges.
const MORE_DEFAULT: usize = 3;

/// Rows of a table at least: MySQL and MariaDB get so many by LOAD DATA, and fewer by INSERTs.
const ROWS_MIN: usize = 230;

/// Rows of one INSERT of ours.
const INSERT_ROWS: usize = 40;

/// Literals that are longer appear in a few rows only.
const LONG_BYTES: usize = 300;

/// Differences that a failure shows.
const SHOWN_MAX: usize = 30;

/// Random values of a type; `SYNCSET_ROUND_TRIP_VALUES` asks for more.
pub(crate) fn more() -> usize {
    let more = std::env::var("SYNCSET_ROUND_TRIP_VALUES").ok();
    more.map_or(MORE_DEFAULT, |text| {
        text.parse().expect("SYNCSET_ROUND_TRIP_VALUES is a number")
    })
}

/// A source, the target of its pipeline, and the target of a pipeline back.
pub(crate) struct Trip {
    pub(crate) from: Engine,
    pub(crate) to: Engine,
    pub(crate) start: Target,
    pub(crate) middle: Target,
    back: Target,
    pub(crate) project: Project,
    pub(crate) cases: Vec<Case>,
    /// What each column becomes in the middle.
    pub(crate) mapped: BTreeMap<usize, Mapped>,
    /// Of each column, the literals that fit everywhere.
    fitting: Vec<Vec<String>>,
    /// Column, literal and value of what does not fit on the way back, or even there.
    others: Vec<(usize, String, String)>,
}

/// What a column becomes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Mapped {
    /// Its type there.
    pub(crate) native: String,
    /// `exact`, `widened` or `lossy`.
    pub(crate) fidelity: String,
}

impl Trip {
    async fn new(from: Engine, to: Engine) -> Self {
        let seed = std::env::var("SYNCSET_TEST_SEED").ok();
        let seed = seed.and_then(|seed| seed.parse().ok());
        let seed: u64 = seed.unwrap_or_else(rand::random);
        println!("SYNCSET_TEST_SEED={seed}");
        let cases = cases(from, &mut StdRng::seed_from_u64(seed));
        let (start, middle, back) = (from.place().await, to.place().await, from.place().await);
        let connection = |place: &Target| {
            let url = place.place().url();
            let (kind, _) = url.split_once(':').expect("a URL has a scheme");
            format!("{{ type: {kind}, url: \"{url}\" }}")
        };
        let mut project = Project::new(&format!(
            "version: 1\nlease: {{ expires: 5s }}\nconnections:\n  start: {}\n  middle: {}\n  \
             back: {}\n",
            connection(&start),
            connection(&middle),
            connection(&back)
        ));
        // Nothing may depend on where it runs.
        project.set("TZ", "America/St_Johns");
        let mut trip = Self {
            from,
            to,
            start,
            middle,
            back,
            project,
            fitting: vec![Vec::new(); cases.len()],
            cases,
            mapped: BTreeMap::new(),
            others: Vec::new(),
        };
        trip.make_tables().await;
        trip.map_columns().await;
        trip.sort_values().await;
        trip
    }

    /// The table of all values, that of the trip, and that of values which do not fit.
    async fn make_tables(&self) {
        let cases = self.cases.iter().enumerate();
        let columns: Vec<_> = cases
            .map(|(number, case)| format!("c{number} {} NULL", case.native))
            .collect();
        let columns = columns.join(", ");
        let tables = ["v", "t", "others"].map(|name| {
            format!(
                "CREATE TABLE {name} (id integer NOT NULL PRIMARY KEY, seq integer NOT NULL, {columns});"
            )
        });
        let sql = format!("{}{}", preparation(self.from), tables.join("\n"));
        self.start.place().execute(&sql).await;
    }

    /// Writes the file of a pipeline of one table: its names at both ends, and its settings.
    pub(crate) fn pipeline(
        &self,
        name: &str,
        ends: [(&str, Engine); 2],
        (table, target_table, settings): (&str, &str, &str),
    ) {
        let [(source, from), (target, to)] = ends;
        self.project.pipeline(
            name,
            &format!(
                "version: 1\nsource: {source}\ntarget: {target}\nrejects: {{ max_rows: 0 }}\n\
                 tables:\n  \"{}\":\n    to: \"{}\"\n    {settings}\n",
                from.table(table),
                to.table(target_table)
            ),
        );
    }

    /// Learns what the columns become, from the plan, and that `types` says the same.
    async fn map_columns(&mut self) {
        // A small overlap, so that a window is not the whole table again.
        const CURSOR: &str = "capture: { mode: cursor, column: seq, overlap: 1 }";
        let there = [("start", self.from), ("middle", self.to)];
        self.pipeline("there", there, ("t", "t", CURSOR));
        let plan = ["pipeline", "plan", "there", "--output", "json"];
        let plan = self.project.syncset(plan).await.expect_success();
        let columns = plan.json()["tables"][0]["columns"].clone();
        let columns = columns.as_array().cloned().unwrap_or_default();
        assert_eq!(columns.len(), self.cases.len() + 2, "{}", said(&plan));
        let told = self.told_types().await;
        for column in &columns {
            let text = |key: &str| column[key].as_str().expect("a text").to_owned();
            let Some(number) = text("source")
                .strip_prefix('c')
                .and_then(|it| it.parse().ok())
            else {
                continue;
            };
            let mapped = Mapped {
                native: text("target_type"),
                fidelity: text("fidelity"),
            };
            let source = text("type");
            if let Some(told) = told.get(&source) {
                assert_eq!(*told, mapped, "`types` and the plan differ about {source}");
            }
            assert_ne!(mapped.fidelity, "refused", "{source}");
            self.mapped.insert(number, mapped);
        }
    }

    /// What `syncset types` says of each type that it knows.
    async fn told_types(&self) -> BTreeMap<String, Mapped> {
        let types = [
            "types",
            self.from.kind(),
            self.to.kind(),
            "--output",
            "json",
        ];
        let types = self.project.syncset(types).await.expect_success().json();
        let types = types["types"].as_array().expect("a list of types").clone();
        let told = types.iter().map(|row| {
            let text = |value: &Value| value.as_str().expect("a text").to_owned();
            let mapped = Mapped {
                native: text(&row["to"]["native"]),
                fidelity: text(&row["to"]["exactness"]),
            };
            (text(&row["from"]), mapped)
        });
        told.collect()
    }

    /// Has the source say what each literal is, and finds out where that fits.
    async fn sort_values(&mut self) {
        let count = self.cases.iter().map(|case| case.values.len()).max();
        let rows = (0..count.unwrap_or(0)).map(|row| {
            let values = self.cases.iter().map(|case| case.values.get(row).cloned());
            values.collect()
        });
        self.insert("v", 1, rows.collect()).await;
        let all = seen(self.from, &self.start, "v").await;
        let mut wrong = Vec::new();
        for (number, case) in self.cases.iter().enumerate() {
            let mapped = &self.mapped[&number];
            let mut fit_there = 0;
            for (literal, row) in case.values.iter().zip(&all.rows) {
                let shown = row[number + 1].as_deref();
                let shown = shown.unwrap_or_else(|| panic!("{literal} is NULL: {}", case.native));
                let value = canonical(case.class, self.from, &all.columns[number].1, shown);
                let fits_there = fits(self.to, &mapped.native, case.class, &value);
                fit_there += usize::from(fits_there);
                if fits_there && fits(self.from, &case.native, case.class, &value) {
                    self.fitting[number].push(literal.clone());
                } else {
                    self.others.push((number, literal.clone(), value));
                }
            }
            // Roles belong to the server, which both ends share.
            let may_lose = mapped.fidelity == "lossy";
            let loses = fit_there < case.values.len();
            if may_lose != loses && case.native != "regrole" {
                wrong.push(format!(
                    "`{}` is {} as `{}`, where {fit_there} of {} values fit",
                    case.native,
                    mapped.fidelity,
                    mapped.native,
                    case.values.len()
                ));
            }
        }
        assert!(wrong.is_empty(), "false claims:\n{}", wrong.join("\n"));
    }

    /// Inserts rows of literals, `None` for NULL; ids and cursors count from the first.
    async fn insert(&self, table: &str, first: usize, rows: Vec<Vec<Option<String>>>) {
        let tuples = rows.into_iter().enumerate().map(|(place, row)| {
            let id = first + place;
            let values = row
                .into_iter()
                .map(|it| it.unwrap_or_else(|| "NULL".to_owned()));
            format!("({id}, {id}, {})", values.collect::<Vec<_>>().join(", "))
        });
        let tuples: Vec<_> = tuples.collect();
        for tuples in tuples.chunks(INSERT_ROWS) {
            let sql = format!("INSERT INTO {table} VALUES {}", tuples.join(", "));
            self.start.place().execute(&sql).await;
        }
    }

    /// A row of the trip: the values of each column take turns, long ones once.
    fn row(&self, place: usize) -> Vec<Option<String>> {
        let turn = |values: &Vec<String>| {
            let value = values.get(place.checked_rem(values.len())?)?;
            let is_repeated = place >= 2 * values.len();
            match is_repeated && value.len() > LONG_BYTES {
                true => values.first().cloned(),
                false => Some(value.clone()),
            }
        };
        self.fitting.iter().map(turn).collect()
    }

    pub(crate) async fn run(&self, pipeline: &str) -> kit::Output {
        let run = ["pipeline", "run", pipeline, "--output", "json"];
        self.project.syncset(run).await
    }

    /// Runs both pipelines; how many rows each of them wrote.
    async fn there_and_back(&self) -> [u64; 2] {
        let mut written = [0; 2];
        for (place, pipeline) in ["there", "back"].into_iter().enumerate() {
            let report = self.run(pipeline).await.expect_success().json();
            let rows = &report["tables"][0]["rows_written"];
            written[place] = rows.as_u64().expect("a report counts rows");
        }
        written
    }

    async fn assert_equal(&self, when: &str) {
        for pipeline in ["there", "back"] {
            let check = ["pipeline", "check", pipeline, "--output", "json"];
            let check = self.project.syncset(check).await;
            assert_eq!(check.code, 0, "{when}, {pipeline}: {}", said(&check));
        }
        let start = seen(self.from, &self.start, "t").await;
        let middle = seen(self.to, &self.middle, "t").await;
        let back = seen(self.from, &self.back, "t").await;
        let mut found = self.differences(&start, &middle);
        let there = found.len();
        found.extend(self.differences(&start, &back));
        let shown: Vec<_> = found.iter().take(SHOWN_MAX).cloned().collect();
        assert!(
            found.is_empty(),
            "{when}, {:?} to {:?}: {there} differences there, {} after the way back\n{}",
            self.from,
            self.to,
            found.len() - there,
            shown.join("\n")
        );
    }

    fn differences(&self, start: &Seen, here: &Seen) -> Vec<String> {
        let ids = |seen: &Seen| -> Vec<_> { seen.rows.iter().map(|row| row[0].clone()).collect() };
        assert_eq!(ids(start), ids(here), "rows of {:?}", here.engine);
        let numbers: Vec<_> = here.columns.iter().map(|(number, _)| *number).collect();
        assert!(
            numbers.iter().eq(self.mapped.keys()),
            "columns of {:?}",
            here.engine
        );
        let mut found = Vec::new();
        for (place, (number, native)) in here.columns.iter().enumerate() {
            let case = &self.cases[*number];
            let start_native = &start.columns[*number].1;
            let is_same_type = start.engine == here.engine && start_native == native;
            for (before, after) in start.rows.iter().zip(&here.rows) {
                let (old, new) = (before[number + 1].as_deref(), after[place + 1].as_deref());
                let is_exact = self.mapped[number].fidelity == "exact";
                let is_back = start.engine == here.engine && is_exact;
                let has_bytes = is_same_type || is_back;
                let is_kept = if has_bytes && is_spelled_once(start.engine, case) {
                    self.folded(case.class, old) == self.folded(case.class, new)
                } else {
                    self.value(case.class, start.engine, start_native, old)
                        == self.value(case.class, here.engine, native, new)
                };
                if !is_kept {
                    let id = before[0].as_deref().unwrap_or_default();
                    found.push(format!(
                        "  c{number} {start_native} -> {native}, row {id}: {} became {}",
                        short(old),
                        short(new)
                    ));
                }
            }
        }
        found
    }

    pub(crate) fn value(
        &self,
        class: Class,
        engine: Engine,
        native: &str,
        text: Option<&str>,
    ) -> Option<String> {
        let value = self.without_zeros(class, canonical(class, engine, native, text?));
        let is_zero = match class {
            Class::Double => value == "8000000000000000",
            Class::Single => value == "80000000",
            _ => false,
        };
        // MariaDB makes zero of minus zero.
        let folds = [self.from, self.to].contains(&Engine::Mariadb);
        Some(match is_zero && folds {
            true => value.replace('8', "0"),
            false => value,
        })
    }

    /// A text without what the way may change of it.
    fn folded(&self, class: Class, text: Option<&str>) -> Option<String> {
        let folds = [self.from, self.to].contains(&Engine::Mariadb);
        let text = text?;
        Some(match class {
            Class::Double | Class::Single if folds && matches!(text, "-0" | "-zero") => "0".into(),
            // A column may have more digits behind the second than it is filled with.
            Class::Span | Class::Local | Class::Instant if text.contains('.') => {
                text.trim_end_matches('0').trim_end_matches('.').to_owned()
            }
            _ => self.without_zeros(class, text.to_owned()),
        })
    }

    /// MySQL's JSON has no zeros at the end of a fraction once it was a text.
    fn without_zeros(&self, class: Class, text: String) -> String {
        match class {
            Class::Text if self.to == Engine::Mysql && text == "[-1.50]" => "[-1.5]".to_owned(),
            _ => text,
        }
    }

    /// A table in which each row holds one value that does not fit there, or not on the way back.
    async fn values_that_do_not_fit(&self) {
        if self.others.is_empty() {
            return;
        }
        let row = |(number, literal, _): &(usize, String, String)| {
            let mut row = vec![None; self.cases.len()];
            row[*number] = Some(literal.clone());
            row
        };
        self.insert("others", 1, self.others.iter().map(row).collect())
            .await;
        let ends = [("start", self.from), ("middle", self.to)];
        let settings = "capture: full\n    rejects: { max_rows: 1000 }";
        self.pipeline("others", ends, ("others", "others", settings));
        let names = self.columns_of_names();
        if !names.is_empty() {
            let stopped = self.run("others").await;
            assert_eq!(stopped.code, 1, "{}", said(&stopped));
            assert!(
                said(&stopped).contains("does not exist"),
                "{}",
                said(&stopped)
            );
            let exclude = names.iter().map(|number| format!("c{number}"));
            let exclude = exclude.collect::<Vec<_>>().join(", ");
            let settings = format!("{settings}\n    columns: {{ exclude: [{exclude}] }}");
            self.pipeline("others", ends, ("others", "others", &settings));
        }

        self.run("others").await.expect_success();

        let list = ["rejected", "list", "others", "--output", "json"];
        let list = self.project.syncset(list).await.expect_success().json();
        let list = list["rejected"].as_array().expect("a list of rows").clone();
        let mut reasons: BTreeMap<usize, Value> = list
            .iter()
            .map(|row| (key_of(row), row["reason"].clone()))
            .collect();
        let start = seen(self.from, &self.start, "others").await;
        let arrived = seen(self.to, &self.middle, "others").await;
        for (place, (number, literal, value)) in self.others.iter().enumerate() {
            if names.contains(number) {
                continue;
            }
            let (id, case) = (place + 1, &self.cases[*number]);
            let mapped = &self.mapped[number].native;
            let what = format!("{literal} of c{number} {} -> {mapped}", case.native);
            let name = id.to_string();
            let row = arrived
                .rows
                .iter()
                .find(|row| row[0].as_deref() == Some(&name));
            if !fits(self.to, mapped, case.class, value) {
                let reason = reasons.remove(&id);
                assert!(row.is_none(), "{what} became {row:?}");
                let reason = reason.unwrap_or_else(|| panic!("{what} is not listed"));
                let reason = reason.as_str().expect("a reason is a text");
                assert!(reason.contains(&format!("`c{number}`")), "{what}: {reason}");
                continue;
            }
            let row = row.unwrap_or_else(|| panic!("{what} is missing: {:?}", reasons.get(&id)));
            let column = arrived.columns.iter().position(|(it, _)| it == number);
            let column = column.expect("the column is there");
            let native = &arrived.columns[column].1;
            let there = self.value(case.class, self.to, native, row[column + 1].as_deref());
            let shown = start.rows[place][number + 1].as_deref();
            let here = self.value(case.class, self.from, &start.columns[*number].1, shown);
            assert_eq!(there, here, "{what}");
        }
        assert!(reasons.is_empty(), "refused for nothing: {reasons:?}");
    }

    /// Columns of names, of which one that the target lacks stops the table.
    fn columns_of_names(&self) -> Vec<usize> {
        let names = self.mapped.iter();
        let names = names.filter(|(_, mapped)| mapped.native.starts_with("reg"));
        names.map(|(number, _)| *number).collect()
    }

    /// Whether any column may lose values.
    pub(crate) fn may_lose(&self) -> bool {
        self.mapped
            .values()
            .any(|mapped| mapped.fidelity == "lossy")
    }
}

fn key_of(row: &Value) -> usize {
    let key = row["key"][0].as_str().expect("a key");
    key.parse().expect("keys are numbers")
}

/// Whether the values of a type have one spelling at their own engine, so that equal values have
/// equal bytes. SQLite keeps what it is given.
fn is_spelled_once(engine: Engine, case: &Case) -> bool {
    let by_class = matches!(case.class, Class::Text | Class::Bytes | Class::Double);
    // How wide a number is shown is no part of it.
    (engine != Engine::Sqlite || by_class) && !case.native.contains("zerofill")
}

fn short(text: Option<&str>) -> String {
    match text {
        None => "NULL".to_owned(),
        Some(text) if text.chars().count() > 120 => {
            let begin: String = text.chars().take(120).collect();
            format!("{begin:?}... of {} bytes", text.len())
        }
        Some(text) => format!("{text:?}"),
    }
}

async fn values_survive(from: Engine, to: Engine) {
    let trip = Trip::new(from, to).await;
    let count = trip.fitting.iter().map(Vec::len).max().unwrap_or(0);
    let total = count.max(ROWS_MIN);
    let mut rows: Vec<_> = (0..total).map(|place| trip.row(place)).collect();
    rows.push(vec![None; trip.cases.len()]);
    trip.insert("t", 1, rows).await;
    let ends = [("middle", to), ("back", from)];
    trip.pipeline("back", ends, ("t", "t", "capture: full"));

    let loaded = trip.there_and_back().await;
    assert_eq!(loaded, [total as u64 + 1; 2]);
    trip.assert_equal("after the load").await;

    let changed = change_some(&trip, count, total).await;
    assert_eq!(trip.there_and_back().await, [changed; 2]);
    trip.assert_equal("after changes").await;

    // What is equal is seen to be equal, in either way of comparing.
    assert_eq!(trip.there_and_back().await, [0, 0]);

    trip.drift_is_found().await;
    trip.drift_is_repaired_and_reverted().await;

    trip.values_that_do_not_fit().await;
    if trip.may_lose() {
        follow_policies(&trip).await;
    }
}

/// Gives the first rows the values of their neighbours, empties one, fills the empty one and adds
/// some; how many rows that are.
async fn change_some(trip: &Trip, count: usize, total: usize) -> u64 {
    let mut changed: Vec<_> = (1..=count).map(|id| (id, trip.row(id))).collect();
    changed[2].1 = vec![None; trip.cases.len()];
    changed.push((total + 1, trip.row(0)));
    for (id, values) in &changed {
        let assigned = values.iter().enumerate().map(|(number, value)| {
            let value = value.as_deref().unwrap_or("NULL");
            format!("c{number} = {value}")
        });
        let assigned: Vec<_> = assigned.collect();
        let seq = 2 * total + id;
        let sql = format!(
            "UPDATE t SET seq = {seq}, {} WHERE id = {id}",
            assigned.join(", ")
        );
        trip.start.place().execute(&sql).await;
    }
    let added: Vec<_> = (0..3).map(|place| trip.row(place + 2)).collect();
    let all = changed.len() + added.len();
    trip.insert("t", 4 * total, added).await;
    all as u64
}

/// A test for each pair of engines.
macro_rules! pairs {
    ($($name:ident: $from:ident, $to:ident;)*) => {
        $(
            #[tokio::test]
            async fn $name() {
                values_survive(Engine::$from, Engine::$to).await;
            }
        )*
    };
}

pairs! {
    every_type_goes_from_postgres_to_postgres_and_back: Postgres, Postgres;
    every_type_goes_from_postgres_to_mysql_and_back: Postgres, Mysql;
    every_type_goes_from_postgres_to_mariadb_and_back: Postgres, Mariadb;
    every_type_goes_from_postgres_to_sqlite_and_back: Postgres, Sqlite;
    every_type_goes_from_mysql_to_postgres_and_back: Mysql, Postgres;
    every_type_goes_from_mysql_to_mysql_and_back: Mysql, Mysql;
    every_type_goes_from_mysql_to_mariadb_and_back: Mysql, Mariadb;
    every_type_goes_from_mysql_to_sqlite_and_back: Mysql, Sqlite;
    every_type_goes_from_mariadb_to_postgres_and_back: Mariadb, Postgres;
    every_type_goes_from_mariadb_to_mysql_and_back: Mariadb, Mysql;
    every_type_goes_from_mariadb_to_mariadb_and_back: Mariadb, Mariadb;
    every_type_goes_from_mariadb_to_sqlite_and_back: Mariadb, Sqlite;
    every_type_goes_from_sqlite_to_postgres_and_back: Sqlite, Postgres;
    every_type_goes_from_sqlite_to_mysql_and_back: Sqlite, Mysql;
    every_type_goes_from_sqlite_to_mariadb_and_back: Sqlite, Mariadb;
    every_type_goes_from_sqlite_to_sqlite_and_back: Sqlite, Sqlite;
}
