//! What random tables of a source are, and how they change next: the statements, and the same
//! changes in what is known of them.

use kit::Engine;
use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::{IndexedMutRandom, IndexedRandom, IteratorRandom};
use std::collections::BTreeSet;

/// Names of columns: few, so that names come again.
const NAMES: [&str; 7] = ["a", "b", "c", "d", "e", "f", "g"];

/// Longest text that a column grows to.
const CHARACTERS_MAX: u16 = 70;

/// Most digits: SQLite keeps decimals as floats.
const DIGITS_MAX: u8 = 12;

/// How changed rows are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Capture {
    Cursor,
    Full,
    Xmin,
}

impl Capture {
    pub(crate) fn setting(self) -> &'static str {
        match self {
            Self::Cursor => "{ mode: cursor, column: rev, overlap: 5 }",
            Self::Full => "full",
            Self::Xmin => "xmin",
        }
    }
}

/// What the file says about changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Policy {
    Additive,
    Evolve,
    Clearing,
    ByName,
    Asking,
}

impl Policy {
    const ALL: [Self; 5] = [
        Self::Additive,
        Self::Evolve,
        Self::Clearing,
        Self::ByName,
        Self::Asking,
    ];

    pub(crate) fn setting(self) -> &'static str {
        match self {
            Self::Additive => "additive",
            Self::Evolve => "evolve",
            Self::Clearing => "{ dropped_column: null }",
            Self::ByName => "{ preset: evolve, renamed_column: add }",
            Self::Asking => {
                "{ new_column: approve, dropped_column: approve, renamed_column: approve, \
                 type_change: approve, nullable_column: approve }"
            }
        }
    }

    /// Whether the target keeps no column that the source has no longer.
    pub(crate) fn drops(self) -> bool {
        matches!(self, Self::Evolve | Self::ByName | Self::Asking)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text(u16),
    Integer,
    LargeInteger,
    Decimal(u8, u8),
    /// One of so many labels, of the type of this number.
    Label(u32, u8),
}

#[derive(Debug, Clone)]
struct Column {
    name: &'static str,
    kind: Kind,
    refuses_null: bool,
}

/// A table of the source, as it is after all statements that it gave.
#[derive(Debug, Clone)]
pub(crate) struct Table {
    pub(crate) name: String,
    pub(crate) capture: Capture,
    pub(crate) policy: Policy,
    columns: Vec<Column>,
    /// Names that something else had before, or that changed hands.
    used: BTreeSet<&'static str>,
    next_id: u32,
    types: u32,
}

/// A kind of change.
#[derive(Debug, Clone, Copy)]
enum Change {
    Add,
    Drop,
    Rename,
    Swap,
    Widen,
    SetNotNull,
    DropNotNull,
    Replace,
    Remake,
    Insert,
    Update,
    Delete,
}

/// Each change with how often it comes.
const CHANGES: [(Change, u32); 12] = [
    (Change::Add, 6),
    (Change::Drop, 3),
    (Change::Rename, 4),
    (Change::Swap, 1),
    (Change::Widen, 5),
    (Change::SetNotNull, 2),
    (Change::DropNotNull, 3),
    (Change::Replace, 2),
    (Change::Remake, 1),
    (Change::Insert, 4),
    (Change::Update, 5),
    (Change::Delete, 2),
];

impl Table {
    /// A table with a few columns.
    pub(crate) fn new(name: &str, engine: Engine, random: &mut StdRng) -> Self {
        let captures: &[Capture] = match engine {
            Engine::Postgres => &[
                Capture::Cursor,
                Capture::Cursor,
                Capture::Full,
                Capture::Xmin,
            ],
            _ => &[Capture::Cursor, Capture::Full],
        };
        let mut table = Self {
            name: name.to_owned(),
            capture: *captures.choose(random).expect("some"),
            policy: *Policy::ALL.choose(random).expect("some"),
            columns: Vec::new(),
            used: BTreeSet::new(),
            next_id: 1,
            types: 0,
        };
        for name in &NAMES[..3] {
            let kind = table.some_kind(engine, random);
            let refuses_null = random.random_bool(0.5);
            table.columns.push(Column {
                name,
                kind,
                refuses_null,
            });
        }
        table
    }

    /// Names of its columns, but for the two that never change.
    pub(crate) fn names(&self) -> Vec<&'static str> {
        self.columns.iter().map(|column| column.name).collect()
    }

    /// Whether something else had this name before.
    pub(crate) fn was_used(&self, name: &str) -> bool {
        self.used.contains(name)
    }

    /// The statements that make it, with the types of its columns.
    pub(crate) fn creation(&self, engine: Engine) -> Vec<String> {
        let types = self.columns.iter();
        let types = types.filter_map(|column| self.type_creation(engine, column.kind));
        types.chain([self.definition(engine, &self.name)]).collect()
    }

    fn definition(&self, engine: Engine, name: &str) -> String {
        let columns = self.columns.iter();
        let columns = columns.map(|column| self.column(engine, column));
        let columns: Vec<_> = columns.collect();
        format!(
            "CREATE TABLE {name} (id int NOT NULL PRIMARY KEY, rev bigint NOT NULL, {})",
            columns.join(", ")
        )
    }

    fn column(&self, engine: Engine, column: &Column) -> String {
        let not_null = if column.refuses_null { " NOT NULL" } else { "" };
        format!(
            "{} {}{not_null}",
            column.name,
            self.native(engine, column.kind)
        )
    }

    fn native(&self, engine: Engine, kind: Kind) -> String {
        match kind {
            Kind::Text(length) => format!("varchar({length})"),
            Kind::Integer => "int".to_owned(),
            Kind::LargeInteger => "bigint".to_owned(),
            Kind::Decimal(digits, scale) => format!("decimal({digits},{scale})"),
            Kind::Label(number, _) if engine == Engine::Postgres => {
                format!("{}_labels_{number}", self.name)
            }
            Kind::Label(_, count) => format!("enum({})", labels(count)),
        }
    }

    fn type_creation(&self, engine: Engine, kind: Kind) -> Option<String> {
        match kind {
            Kind::Label(_, count) if engine == Engine::Postgres => Some(format!(
                "CREATE TYPE {} AS ENUM ({})",
                self.native(engine, kind),
                labels(count)
            )),
            _ => None,
        }
    }

    fn some_kind(&mut self, engine: Engine, random: &mut StdRng) -> Kind {
        match random.random_range(0..6) {
            0 | 1 => Kind::Text(random.random_range(5..30)),
            2 => Kind::Integer,
            3 => Kind::LargeInteger,
            4 if engine != Engine::Sqlite => {
                self.types += 1;
                Kind::Label(self.types, 2)
            }
            _ => {
                let scale = random.random_range(0..4);
                Kind::Decimal(scale + random.random_range(2..5), scale)
            }
        }
    }

    /// The next change, as statements that are committed one by one.
    pub(crate) fn change(&mut self, engine: Engine, rev: u64, random: &mut StdRng) -> Vec<String> {
        let picked = CHANGES.choose_weighted(random, |(_, weight)| *weight);
        let change = picked.expect("all weights are positive").0;
        let done = match change {
            Change::Add => self.add(engine, random),
            Change::Drop => self.drop_column(random),
            Change::Rename => self.rename(random),
            Change::Swap => self.swap(random),
            Change::Widen => self.widen(engine, random),
            Change::SetNotNull => self.set_not_null(engine, rev, random),
            Change::DropNotNull => self.drop_not_null(engine, random),
            Change::Replace => self.replace(engine, random),
            Change::Remake => Some(self.remake(engine, rev, random)),
            Change::Insert => {
                let count = random.random_range(1..5);
                Some(vec![self.insertion(count, rev, random)])
            }
            Change::Update => self.update(rev, random),
            Change::Delete => self.delete(random),
        };
        // What cannot be done to the table as it is gives way to rows.
        done.unwrap_or_else(|| vec![self.insertion(2, rev, random)])
    }

    fn free_name(&self, random: &mut StdRng) -> Option<&'static str> {
        let free = NAMES.iter();
        let free = free.filter(|name| !self.names().contains(name));
        free.copied().choose(random)
    }

    fn add(&mut self, engine: Engine, random: &mut StdRng) -> Option<Vec<String>> {
        let name = self.free_name(random)?;
        Some(self.add_as(name, engine, random))
    }

    fn add_as(&mut self, name: &'static str, engine: Engine, random: &mut StdRng) -> Vec<String> {
        let kind = self.some_kind(engine, random);
        let (has_default, refuses_null) = (random.random_bool(0.6), random.random_bool(0.5));
        let column = Column {
            name,
            kind,
            refuses_null: has_default && refuses_null,
        };
        let default = value(kind, random);
        let mut sql = format!("ALTER TABLE {} ADD COLUMN {name} ", self.name);
        sql.push_str(&self.native(engine, kind));
        if has_default {
            sql.push_str(&format!(" DEFAULT {default}"));
        }
        if column.refuses_null {
            sql.push_str(" NOT NULL");
        }
        let creation = self.type_creation(engine, kind);
        // Rows that have no newer stamp because of it.
        let filled = random.random_bool(0.7).then(|| {
            format!(
                "UPDATE {} SET {name} = {} WHERE id % 3 = 1",
                self.name,
                value(kind, random)
            )
        });
        self.columns.push(column);
        creation.into_iter().chain([sql]).chain(filled).collect()
    }

    fn drop_column(&mut self, random: &mut StdRng) -> Option<Vec<String>> {
        self.drop_some(random).map(|(_, sql)| vec![sql])
    }

    /// The name of a column that goes, and the statement.
    fn drop_some(&mut self, random: &mut StdRng) -> Option<(&'static str, String)> {
        if self.columns.len() < 2 {
            return None;
        }
        let place = random.random_range(0..self.columns.len());
        let name = self.columns.remove(place).name;
        self.used.insert(name);
        Some((
            name,
            format!("ALTER TABLE {} DROP COLUMN {name}", self.name),
        ))
    }

    fn rename(&mut self, random: &mut StdRng) -> Option<Vec<String>> {
        let to = self.free_name(random)?;
        let name = self.name.clone();
        let column = self.columns.choose_mut(random)?;
        let from = std::mem::replace(&mut column.name, to);
        self.used.insert(from);
        Some(vec![format!(
            "ALTER TABLE {name} RENAME COLUMN {from} TO {to}"
        )])
    }

    fn swap(&mut self, random: &mut StdRng) -> Option<Vec<String>> {
        let places = (0..self.columns.len()).choose_multiple(random, 2);
        let [first, second] = places.as_slice() else {
            return None;
        };
        let (left, right) = (self.columns[*first].name, self.columns[*second].name);
        self.columns[*first].name = right;
        self.columns[*second].name = left;
        self.used.extend([left, right]);
        let rename = |from: &str, to: &str| {
            format!("ALTER TABLE {} RENAME COLUMN {from} TO {to}", self.name)
        };
        Some(vec![
            rename(left, "spare"),
            rename(right, left),
            rename("spare", right),
        ])
    }

    fn widen(&mut self, engine: Engine, random: &mut StdRng) -> Option<Vec<String>> {
        let place = random.random_range(0..self.columns.len());
        let before = self.columns[place].kind;
        let kind = match before {
            Kind::Text(length) => Kind::Text(length + random.random_range(1..15)),
            Kind::Integer => Kind::LargeInteger,
            Kind::LargeInteger => return None,
            Kind::Decimal(digits, scale) => {
                let more = random.random_range(0..2);
                Kind::Decimal(digits + more + random.random_range(1..3), scale + more)
            }
            Kind::Label(number, count) => Kind::Label(number, count + 1),
        };
        match kind {
            Kind::Text(length) if length > CHARACTERS_MAX => return None,
            Kind::Decimal(digits, _) if digits > DIGITS_MAX => return None,
            _ => {}
        }
        self.columns[place].kind = kind;
        let column = self.columns[place].clone();
        if let (Kind::Label(_, count), Engine::Postgres) = (kind, engine) {
            let native = self.native(engine, kind);
            return Some(vec![format!(
                "ALTER TYPE {native} ADD VALUE 'label {}'",
                count - 1
            )]);
        }
        let action = format!(
            "ALTER COLUMN {} TYPE {}",
            column.name,
            self.native(engine, kind)
        );
        Some(self.redefine(engine, &column, &action))
    }

    /// Makes a column what it is by now.
    fn redefine(&self, engine: Engine, column: &Column, postgres: &str) -> Vec<String> {
        let name = &self.name;
        match engine {
            Engine::Postgres => vec![format!("ALTER TABLE {name} {postgres}")],
            Engine::Mysql | Engine::Mariadb => vec![format!(
                "ALTER TABLE {name} MODIFY COLUMN {}",
                self.column(engine, column)
            )],
            Engine::Sqlite => {
                let columns = self.names().join(", ");
                vec![format!(
                    "BEGIN IMMEDIATE; {}; INSERT INTO anew (id, rev, {columns}) \
                     SELECT id, rev, {columns} FROM {name}; DROP TABLE {name}; \
                     ALTER TABLE anew RENAME TO {name}; COMMIT",
                    self.definition(engine, "anew")
                )]
            }
        }
    }

    fn set_not_null(
        &mut self,
        engine: Engine,
        rev: u64,
        random: &mut StdRng,
    ) -> Option<Vec<String>> {
        let mut columns = self.columns.iter_mut();
        let column = columns.find(|column| !column.refuses_null)?;
        column.refuses_null = true;
        let column = column.clone();
        let filled = format!(
            "UPDATE {} SET {} = {}, rev = {rev} WHERE {} IS NULL",
            self.name,
            column.name,
            value(column.kind, random),
            column.name
        );
        let action = format!("ALTER COLUMN {} SET NOT NULL", column.name);
        let altered = self.redefine(engine, &column, &action);
        Some([filled].into_iter().chain(altered).collect())
    }

    fn drop_not_null(&mut self, engine: Engine, random: &mut StdRng) -> Option<Vec<String>> {
        let refusing = self.columns.iter_mut().filter(|it| it.refuses_null);
        let column = refusing.choose(random)?;
        column.refuses_null = false;
        let column = column.clone();
        let action = format!("ALTER COLUMN {} DROP NOT NULL", column.name);
        Some(self.redefine(engine, &column, &action))
    }

    fn replace(&mut self, engine: Engine, random: &mut StdRng) -> Option<Vec<String>> {
        let (name, sql) = self.drop_some(random)?;
        let added = self.add_as(name, engine, random);
        Some([sql].into_iter().chain(added).collect())
    }

    fn remake(&mut self, engine: Engine, rev: u64, random: &mut StdRng) -> Vec<String> {
        self.used.extend(self.names());
        self.next_id = 1;
        let count = random.random_range(5..40);
        vec![
            format!("DROP TABLE {}", self.name),
            self.definition(engine, &self.name),
            self.insertion(count, rev, random),
        ]
    }

    /// Some rows more.
    pub(crate) fn insertion(&mut self, count: u32, rev: u64, random: &mut StdRng) -> String {
        let ids = self.next_id..self.next_id + count;
        self.next_id += count;
        let rows = ids.map(|id| {
            let values = self.columns.iter().map(|column| some_value(column, random));
            let values: Vec<_> = values.collect();
            format!("({id}, {rev}, {})", values.join(", "))
        });
        let rows: Vec<_> = rows.collect();
        format!(
            "INSERT INTO {} (id, rev, {}) VALUES {}",
            self.name,
            self.names().join(", "),
            rows.join(", ")
        )
    }

    fn update(&self, rev: u64, random: &mut StdRng) -> Option<Vec<String>> {
        let column = self.columns.choose(random)?;
        Some(vec![format!(
            "UPDATE {} SET {} = {}, rev = {rev} WHERE id % 4 = {}",
            self.name,
            column.name,
            some_value(column, random),
            random.random_range(0..4)
        )])
    }

    fn delete(&self, random: &mut StdRng) -> Option<Vec<String>> {
        let sees_it = self.capture == Capture::Full;
        sees_it.then(|| {
            let rest = random.random_range(0..7);
            vec![format!("DELETE FROM {} WHERE id % 7 = {rest}", self.name)]
        })
    }
}

fn labels(count: u8) -> String {
    let labels: Vec<_> = (0..count).map(|it| format!("'label {it}'")).collect();
    labels.join(", ")
}

fn some_value(column: &Column, random: &mut StdRng) -> String {
    if !column.refuses_null && random.random_bool(0.2) {
        return "NULL".to_owned();
    }
    value(column.kind, random)
}

/// A literal.
fn value(kind: Kind, random: &mut StdRng) -> String {
    match kind {
        Kind::Text(length) => {
            let length = random.random_range(0..=length);
            let letters = (0..length).map(|_| char::from(random.random_range(b'a'..=b'z')));
            format!("'{}'", letters.collect::<String>())
        }
        Kind::Integer => random
            .random_range(-2_000_000_000_i64..2_000_000_000)
            .to_string(),
        Kind::LargeInteger => random
            .random_range(-10_i64.pow(12)..10_i64.pow(12))
            .to_string(),
        Kind::Decimal(digits, scale) => {
            let whole = 10_i64.pow(u32::from(digits - scale));
            let part = 10_i64.pow(u32::from(scale));
            let whole = random.random_range(0..whole);
            match scale {
                0 => whole.to_string(),
                _ => format!(
                    "{whole}.{:0width$}",
                    random.random_range(0..part),
                    width = usize::from(scale)
                ),
            }
        }
        Kind::Label(_, count) => format!("'label {}'", random.random_range(0..count)),
    }
}
