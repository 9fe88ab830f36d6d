//! What a window starts with: rows of the overlap, which the run before has read already. They are
//! read again only if something of them may have changed.
//!
//! Their count, the last stamp and the sum of the stamps are asked for with every window, which
//! costs little. Where they are those of the run before, there are two ways to be certain.
//!
//! **By time.** When the run before looked at the server, nobody had a statement in progress or a
//! transaction open. So whatever has been committed since began after that look, and the server
//! stamped it with a later time. No row of the window has such a stamp: none has changed. This
//! wants stamps that the server sets itself, of microseconds, so that a clock that is put back
//! gives no row the stamp that it has already.
//!
//! **By value.** The server makes a digest of the rows, over every value that is read. It is stored
//! with the watermark, in the transaction that commits the rows; where the next snapshot has the
//! same one, none of them has changed, come or gone. Stamps alone would not do: a row may be
//! changed twice within the digits of its stamp. Two different sets of rows have the same digest
//! with a probability of 2^-120.

use super::bound::Activity;
use super::cursor::CursorKind;
use super::position::Identity;
use super::shape::{Cursor, Shape};
use super::window::WindowPlan;
use crate::civil;
use crate::connect::TextRow;
use crate::sql::identifier;
use crate::types::Parsed;
use chrono::DateTime;
use serde::{Deserialize, Serialize};
use syncset_connector::{Column, Result, TableKind, TableRead, WrittenBy};

/// Rows that are hashed at most: what a longer overlap holds is read.
const ROWS_MAX: u64 = 100_000;

/// Longer texts are hashed by themselves first, so that no row becomes longer than a packet.
const BYTES_MAX: u32 = 1_024;

/// Names how rows are hashed: digests that were made in another way are never equal.
const FORM: &str = "sha256-sums-1";

/// Digits of a second that a stamp needs to tell two changes of a row.
const STAMP_DIGITS: u16 = 6;

/// Some rows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Seen {
    /// How many they are.
    rows: u64,
    /// The greatest cursor among them, as text.
    last: Option<String>,
    /// The sum of their stamps; `None` if the server does not set these itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    stamps: Option<String>,
    /// Whatever is committed after these rows were seen has this stamp or a later one, in the form
    /// of `last`; `None` if somebody may have begun before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    settled: Option<String>,
    /// What they are; `None` if they were not hashed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    digest: Option<String>,
}

/// The rows of a window, and those among them that the next window will start with.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) window: Seen,
    pub(crate) next: Seen,
}

impl Seen {
    /// Whether other rows, found later, may be these: their count and stamps are the same.
    pub(crate) fn may_be(&self, others: &Self) -> bool {
        self.rows > 0
            && self.rows == others.rows
            && self.last == others.last
            && self.stamps == others.stamps
    }

    /// Whether such rows are these for certain, since a change would have a later stamp.
    pub(crate) fn is_settled(&self) -> bool {
        match (&self.stamps, &self.last, &self.settled) {
            // Both have the same form, with all digits, so texts order as times do.
            (Some(_), Some(last), Some(settled)) => last.len() == settled.len() && last < settled,
            _ => false,
        }
    }

    /// Whether other rows are these for certain, since every value is the same.
    pub(crate) fn is(&self, others: &Self) -> bool {
        self.digest.is_some() && self.digest == others.digest && self.may_be(others)
    }

    /// Takes over what an earlier look has proved, where its own look proves nothing.
    pub(crate) fn settled_as(mut self, before: Option<&Self>) -> Self {
        let earlier = before.and_then(|before| before.settled.clone());
        self.settled = self.settled.or(earlier);
        self
    }

    /// Whether the rows are few enough to be hashed.
    fn can_be_hashed(&self) -> bool {
        self.rows <= ROWS_MAX
    }
}

/// True if every change of a row has a stamp of its own, which the server sets, and whoever may
/// still commit one is seen.
fn is_stamped(read: &TableRead, shape: &Shape, identity: &Identity) -> bool {
    // Conditions of the user's own may look at more than the row; so do views.
    let is_table = matches!(
        read.description.kind,
        TableKind::Table | TableKind::Partitioned
    );
    let Some(cursor) = shape.cursor.as_ref() else {
        return false;
    };
    let kind = CursorKind::Instant {
        digits: STAMP_DIGITS,
    };
    is_table
        && !shape.filter_is_foreign
        && cursor.kind == kind
        && cursor.spec.written_by == Some(WrittenBy::Database)
        && !cursor.column.column.nullable
        // Of other engines no transaction is listed.
        && identity.storage.is_some()
}

/// Asks how many rows a window has, and how many of them the next one will start with. The answer
/// is one row: whether there is any, `largest`, and what [`counted`] takes. `None` if nothing could
/// be made of it.
pub(super) fn count_sql(
    read: &TableRead,
    shape: &Shape,
    plan: &WindowPlan,
    largest: &str,
) -> Option<String> {
    let cursor = &shape.cursor.as_ref()?.column.sql;
    let next = plan.overlap.as_deref()?;
    let sums = if is_stamped(read, shape, &plan.next.identity) {
        let stamp = format!("UNIX_TIMESTAMP({cursor})");
        format!("SUM({stamp}), SUM(CASE WHEN {next} THEN {stamp} END)")
    } else {
        row_hash(read, shape)?;
        "NULL, NULL".to_owned()
    };
    Some(format!(
        "SELECT COUNT(*) > 0, {largest}, COUNT(*), CAST(MAX({cursor}) AS CHAR), \
         COUNT(CASE WHEN {next} THEN 1 END), {sums} FROM {} WHERE {}",
        shape.from, plan.condition
    ))
}

/// Reads the answer to [`count_sql`], if it was asked.
///
/// # Errors
/// `Store` for an answer that is not ours.
pub(super) fn counted(row: &TextRow, settled: Option<String>) -> Result<Option<Found>> {
    let Some(rows) = row.parse_some::<u64>(2)? else {
        return Ok(None);
    };
    let seen = |rows: u64, sum: usize| Seen {
        rows,
        last: row.text(3).filter(|_| rows > 0).map(str::to_owned),
        stamps: row.text(sum).map(str::to_owned),
        settled: None,
        digest: None,
    };
    let mut next = seen(row.parse(4)?, 6);
    next.settled = settled;
    Ok(Some(Found {
        window: seen(rows, 5),
        next,
    }))
}

/// The stamp that everything has, or a later one, that is committed after a look; `None` if the
/// look does not prove that.
pub(super) fn settled(activity: &Activity) -> Option<String> {
    let clock = activity.quiet_since()?;
    let clock = DateTime::from_timestamp_micros(clock)?.naive_utc();
    civil::naive_text(clock)
}

/// Asks for the digests of rows that were counted: what [`Found::hashed`] takes. `None` if they
/// cannot be made.
pub(super) fn hash_sql(
    read: &TableRead,
    shape: &Shape,
    plan: &WindowPlan,
    found: &Found,
) -> Option<String> {
    if !found.window.can_be_hashed() {
        return None;
    }
    let (window, next) = (&plan.condition, plan.overlap.as_deref()?);
    let hash = row_hash(read, shape)?;
    // As integers, since a sum of floats would hide a row.
    let part = |from: u32| {
        format!("COALESCE(SUM(CAST(CONV(SUBSTR(w.h, {from}, 15), 16, 10) AS UNSIGNED)), 0)")
    };
    // The limit keeps the server from hashing a row for each of the sums.
    Some(format!(
        "SELECT w.n, COUNT(*), COUNT(w.h), {}, {} \
         FROM (SELECT {hash} AS h, ({next}) IS TRUE AS n FROM {} WHERE {window} LIMIT {}) w \
         GROUP BY w.n",
        part(1),
        part(16),
        shape.from,
        ROWS_MAX + 1
    ))
}

/// Sums of two parts of the hashes of some rows.
#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    rows: u64,
    parts: [u128; 2],
}

impl Sums {
    fn and(self, other: Self) -> Self {
        Self {
            rows: self.rows + other.rows,
            parts: [
                self.parts[0] + other.parts[0],
                self.parts[1] + other.parts[1],
            ],
        }
    }

    /// The digest of rows that were counted; `None` if these are others.
    fn digest(self, counted: &Seen) -> Option<String> {
        let [first, second] = self.parts;
        (self.rows == counted.rows).then(|| format!("{FORM}:{first}:{second}"))
    }
}

impl Found {
    /// Adds the answer to [`hash_sql`]. Without a hash of every row, nothing.
    ///
    /// # Errors
    /// `Store` for an answer that is not ours.
    pub(super) fn hashed(mut self, groups: &[TextRow]) -> Result<Self> {
        let (mut all, mut next) = (Sums::default(), Sums::default());
        for group in groups {
            let (rows, hashes): (u64, u64) = (group.parse(1)?, group.parse(2)?);
            if hashes != rows {
                return Ok(self);
            }
            let sums = Sums {
                rows,
                parts: [group.parse(3)?, group.parse(4)?],
            };
            all = all.and(sums);
            if group.is_true(0) {
                next = sums;
            }
        }
        self.window.digest = all.digest(&self.window);
        self.next.digest = next.digest(&self.next);
        Ok(self)
    }
}

/// One hash of everything that is read of a row, and of whether it is selected. `None` if none may be
/// stored, or a value has no text that tells it from all others.
fn row_hash(read: &TableRead, shape: &Shape) -> Option<String> {
    // It is stored at the target, where values that are not written must not be guessed from it.
    if !read.all_written {
        return None;
    }
    let mut columns = read.read_columns();
    if let Some(Cursor { column, .. }) = &shape.cursor
        && columns.iter().all(|it| it.name != column.column.name)
    {
        columns.push(&column.column);
    }
    let all = images(&columns)?;
    let Some(filter) = &shape.filter else {
        return Some(format!("SHA2(CONCAT({all}), 256)"));
    };
    // Of rows that are not selected nothing but cursor and key leaves the source.
    let order: Vec<&Column> = shape.order().into_iter().map(|it| &it.column).collect();
    Some(format!(
        "SHA2(IF(({filter}) IS TRUE, CONCAT('in,', {all}), CONCAT('out,', {})), 256)",
        images(&order)?
    ))
}

fn images(columns: &[&Column]) -> Option<String> {
    let images: Option<Vec<_>> = columns.iter().map(|column| image(column)).collect();
    Some(images?.join(", ',', "))
}

/// The value of a column as a text that no other value has, and that says where it ends. `None`
/// for types that are not known to have one.
fn image(column: &Column) -> Option<String> {
    let name = identifier(&column.name);
    // NULL only where the value is: a text that the server cannot make leaves the row unhashed.
    let plain = |text: String| format!("IF({name} IS NULL, '-', {text})");
    let printed = plain(format!("CAST({name} AS CHAR)"));
    let hashed = |text: String| plain(format!("SHA2({text}, 256)"));
    Some(match Parsed::of(&column.native.name).base.as_str() {
        "tinyint" | "smallint" | "mediumint" | "int" | "integer" | "bigint" | "year"
        | "decimal" | "numeric" | "date" | "datetime" | "timestamp" | "time" | "uuid" | "inet4"
        | "inet6" => printed,
        "bit" => plain(format!("CAST({name} + 0 AS CHAR)")),
        // Its own text has the sign of zero, the sum every digit.
        "float" | "double" | "real" => {
            let digits = plain(format!("CAST({name} + 0e0 AS CHAR)"));
            format!("{printed}, '/', {digits}")
        }
        "char" | "varchar" | "tinytext" | "text" | "mediumtext" | "longtext" | "enum" | "set"
        | "binary" | "varbinary" | "tinyblob" | "blob" | "mediumblob" | "longblob" => format!(
            "COALESCE(LENGTH({name}), '-'), ':', IF({name} IS NULL, '', \
             IF(LENGTH({name}) > {BYTES_MAX}, SHA2({name}, 256), CAST({name} AS BINARY)))"
        ),
        "json" => hashed(format!("CAST({name} AS CHAR)")),
        "geometry" | "point" | "linestring" | "polygon" | "multipoint" | "multilinestring"
        | "multipolygon" | "geometrycollection" | "geomcollection" | "vector" => {
            hashed(format!("HEX({name})"))
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(values: &[&str]) -> TextRow {
        let values = values
            .iter()
            .map(|value| (*value != "NULL").then(|| value.as_bytes().to_vec()));
        TextRow(values.collect())
    }

    fn found(values: &[&str]) -> Option<Found> {
        counted(&row(values), None).expect("the answer has its form")
    }

    fn three_rows() -> Found {
        found(&["1", "NULL", "3", "b", "1", "NULL", "NULL"]).expect("it was asked")
    }

    #[test]
    fn digests_tell_rows_of_the_window_from_those_of_the_next() {
        let before = three_rows();

        let groups = [
            row(&["0", "2", "2", "50", "7"]),
            row(&["1", "1", "1", "20", "8"]),
        ];
        let found = three_rows().hashed(&groups);
        let found = found.expect("the answer has its form");

        assert_eq!(found.window.digest.as_deref(), Some("sha256-sums-1:70:15"));
        assert_eq!(found.next.digest.as_deref(), Some("sha256-sums-1:20:8"));
        assert!(found.window.is(&found.window.clone()));
        assert!(before.window.may_be(&found.window) && !before.window.is(&found.window));
    }

    #[test]
    fn rows_that_are_not_all_hashed_are_not_known() {
        assert_eq!(found(&["1", "NULL"]), None);
        // One without a hash; one more than were counted.
        for group in [
            row(&["0", "3", "2", "50", "7"]),
            row(&["0", "4", "4", "50", "7"]),
        ] {
            let hashed = three_rows().hashed(&[group]);
            let hashed = hashed.expect("the answer has its form");
            assert_eq!(hashed.window.digest, None);
        }
        let too_many = Seen {
            rows: ROWS_MAX + 1,
            ..Seen::default()
        };
        assert!(!too_many.can_be_hashed());
    }

    #[test]
    fn sums_that_are_floats_are_refused() {
        let group = row(&["1", "3", "3", "7e20", "1"]);

        assert!(three_rows().hashed(&[group]).is_err());
    }

    #[test]
    fn rows_are_settled_only_below_the_clock_of_a_quiet_look() {
        let clock = "2026-01-01 00:00:07.000001";
        let seen = |last: &str, settled: Option<&str>| Seen {
            rows: 1,
            last: Some(last.into()),
            stamps: Some("7.0".into()),
            settled: settled.map(str::to_owned),
            digest: None,
        };

        assert!(seen("2026-01-01 00:00:07.000000", Some(clock)).is_settled());
        assert!(!seen("2026-01-01 00:00:07.000001", Some(clock)).is_settled());
        assert!(!seen("2026-01-01 00:00:07.000000", None).is_settled());
        // Of fewer digits.
        assert!(!seen("2026-01-01 00:00:06", Some(clock)).is_settled());
        let mut unstamped = seen("2026-01-01 00:00:07.000000", Some(clock));
        unstamped.stamps = None;
        assert!(!unstamped.is_settled());
    }
}
