//! Windows of changes by a cursor column: what each one reads, and what its end stores.
//!
//! SQLite has one writer at a time, so a snapshot holds every transaction that began before any
//! it does not hold. What a window must repeat is therefore only what writers stamp late, which
//! the overlap covers.

use crate::cell::{Cell, OwnedCell, bind, cell, fetched};
use crate::connect::{Session, arguments};
use crate::cursor::{Bound, Cursor, CursorKind, CursorPosition, Lower, capped};
use crate::digest::Hasher;
use crate::disjoint;
use crate::read::{cursor_of, selection};
use crate::sql::{identifier, identifiers, placeholders, table};
use futures::stream::StreamExt;
use sqlx::AssertSqlSafe;
use sqlx::sqlite::SqliteArguments;
use syncset_connector::{
    Capture, ConnectorError, ErrorClass, NullCursor, Result, SnapshotRequest, TableRead,
    WindowState,
};

/// Rows of an overlap that are hashed to see whether anything changed.
const OVERLAP_ROWS_MAX: usize = 10_000;

/// Bytes of an overlap that are hashed.
const OVERLAP_BYTES_MAX: usize = 32 << 20;

/// One window, fixed when its snapshot was opened.
#[derive(Debug, Clone)]
pub(crate) struct WindowPlan {
    pub(crate) state: WindowState,
    pub(crate) from: Option<Bound>,
    /// What the end of the window stores.
    pub(crate) end: CursorPosition,
    pub(crate) cursor: Cursor,
    /// Where the window was cut.
    pub(crate) after: Option<Vec<OwnedCell>>,
}

impl WindowPlan {
    /// True for the rest of a window that was cut.
    pub(crate) fn continues(&self) -> bool {
        self.after.is_some()
    }

    /// The statement that reads the window.
    pub(crate) fn query(&self, read: &TableRead) -> Result<WindowQuery> {
        window_query(read, &self.cursor, self.from, self.after.as_deref())
    }
}

fn null_cursor(read: &TableRead) -> NullCursor {
    match &read.capture {
        Capture::Cursor(spec) => spec.null_cursor,
        _ => NullCursor::default(),
    }
}

/// The largest cursor of a table. Also refuses values of another class than the column declares:
/// they sort before or after all others, so a window would never see them.
pub(crate) async fn largest(
    session: &mut Session,
    read: &TableRead,
    cursor: &Cursor,
) -> Result<Option<Bound>> {
    let (name, from) = (identifier(&cursor.column), table(&read.description.name));
    let place = format!("reading the cursor of `{}`", read.description.name);
    // Two sub-queries, because SQLite answers each from an index, but not both at once.
    let sql = format!("SELECT (SELECT max({name}) FROM {from}), (SELECT min({name}) FROM {from})");
    let rows = session.rows(sql, arguments![], &place).await?;
    let Some(row) = rows.first() else {
        return Ok(None);
    };
    let label = read.description.name.to_string();
    cursor.bound(cell(row, 1), &label)?;
    let largest = cursor.bound(cell(row, 0), &label)?;
    if null_cursor(read) == NullCursor::Error {
        refuse_nulls(session, read, cursor).await?;
    }
    Ok(largest)
}

async fn refuse_nulls(session: &mut Session, read: &TableRead, cursor: &Cursor) -> Result<()> {
    let column = read.description.column(&cursor.column);
    if column.is_some_and(|column| !column.nullable) {
        return Ok(());
    }
    let selected =
        selection(read)?.map_or_else(String::new, |condition| format!(" AND {condition}"));
    let sql = format!(
        "SELECT 1 FROM {} WHERE {} IS NULL{selected} LIMIT 1",
        table(&read.description.name),
        identifier(&cursor.column)
    );
    let rows = session
        .rows(sql, arguments![], "looking for rows without a cursor")
        .await?;
    if rows.is_empty() {
        return Ok(());
    }
    Err(ConnectorError::new(
        ErrorClass::Config,
        format!(
            "a selected row of `{}` has no value in its cursor `{}`",
            read.description.name, cursor.column
        ),
    )
    .with_hint("say `null_cursor: read` to read such rows in each run, or `null_cursor: ignore`"))
}

/// Fixes the window of a request; `None` where none is wanted.
pub(crate) async fn plan_window(
    session: &mut Session,
    request: &SnapshotRequest,
    now_micros: i64,
) -> Result<Option<WindowPlan>> {
    let read = &request.read;
    let (Some(from), Some(cursor)) = (&request.from, cursor_of(read)?) else {
        return Ok(None);
    };
    let largest = largest(session, read, &cursor).await?;
    if cursor.is_disjoint() {
        let from = CursorPosition::parse(from);
        let plan = disjoint::plan_window(read, cursor, from, (largest, now_micros));
        return Ok(Some(plan));
    }
    let bound = capped(largest, now_micros);
    let reload = |reason: &str, cursor: Cursor| WindowPlan {
        state: WindowState::Reload {
            reason: reason.into(),
        },
        cursor,
        from: None,
        after: None,
        end: CursorPosition::at(read, bound, None),
    };
    let Some(from) = CursorPosition::parse(from) else {
        return Ok(Some(reload(
            "the stored position is not one of a cursor",
            cursor,
        )));
    };
    if from.is_of_another_table(read) {
        let reason = "the table was altered or made anew since the last run, or is in another file";
        return Ok(Some(reload(reason, cursor)));
    }
    if went_back(from.bound, largest) {
        let reason = "the largest cursor is below the stored watermark: rows were deleted, or the \
                      file was restored";
        return Ok(Some(reload(reason, cursor)));
    }
    if let Some(pending) = &from.pending {
        let Some(after) = pending.after_row(read) else {
            return Ok(Some(reload("the stored position cannot be read", cursor)));
        };
        return Ok(Some(WindowPlan {
            state: WindowState::Changed,
            from: from.bound,
            after: Some(after),
            // The pending bound, not today's: rows before `after` may have changed since.
            end: CursorPosition::at(read, pending.bound, None),
            cursor,
        }));
    }
    let mut end = CursorPosition::at(read, bound, None);
    let seen = overlap_rows(session, read, &cursor, from.bound).await?;
    let unchanged = seen.is_some() && seen == from.overlap_rows && bound == from.bound;
    end.overlap_rows = if bound == from.bound {
        seen
    } else {
        overlap_rows(session, read, &cursor, bound).await?
    };
    Ok(Some(WindowPlan {
        state: if unchanged {
            WindowState::Unchanged(end.store())
        } else {
            WindowState::Changed
        },
        cursor,
        from: from.bound,
        after: None,
        end,
    }))
}

fn went_back(stored: Option<Bound>, largest: Option<Bound>) -> bool {
    match (stored, largest) {
        (None, _) => false,
        (Some(_), None) => true,
        (Some(Bound::Integer(stored)), Some(Bound::Integer(largest)))
        | (Some(Bound::Micros(stored)), Some(Bound::Micros(largest))) => largest < stored,
        // The column counts something else than it did.
        (Some(_), Some(_)) => true,
    }
}

/// The statement of a window: the columns, the cursor, and whether the row is selected.
pub(crate) struct WindowQuery {
    pub(crate) sql: String,
    pub(crate) arguments: SqliteArguments,
}

fn window_query(
    read: &TableRead,
    cursor: &Cursor,
    from: Option<Bound>,
    after: Option<&[OwnedCell]>,
) -> Result<WindowQuery> {
    let name = identifier(&cursor.column);
    let mut arguments = arguments![];
    let mut conditions = Vec::new();
    let at_least = match from.and_then(|bound| cursor.lower(bound)) {
        Some(lower) => at_least(&name, &lower, &mut arguments)?,
        None => format!("{name} IS NOT NULL"),
    };
    conditions.push(match null_cursor(read) {
        NullCursor::Read => format!("({at_least} OR {name} IS NULL)"),
        NullCursor::Ignore | NullCursor::Error => at_least,
    });
    // Bytes order rows, whatever the columns' collations say: rows that are equal under one
    // would be skipped where a window is cut between them.
    let binary = |name: &String| format!("{} COLLATE BINARY", identifier(name));
    let key: Vec<String> = read.key.iter().map(binary).collect();
    if let Some([cursor_after, key_after @ ..]) = after {
        let marks = placeholders(1, key_after.len());
        if *cursor_after == OwnedCell::Null {
            conditions.push(format!(
                "({name} IS NOT NULL OR ({}) > {marks})",
                key.join(", ")
            ));
        } else {
            bind(&mut arguments, cursor_after.as_cell())?;
            conditions.push(format!(
                "({}, {}) > {}",
                binary(&cursor.column),
                key.join(", "),
                placeholders(1, key_after.len() + 1)
            ));
        }
        for part in key_after {
            bind(&mut arguments, part.as_cell())?;
        }
    }
    let member = selection(read)?.map_or_else(
        || "1".to_owned(),
        |condition| format!("{condition} IS TRUE"),
    );
    let sql = format!(
        "SELECT {}, {name}, {member} FROM {} WHERE {} ORDER BY {}",
        identifiers(&read.columns),
        table(&read.description.name),
        conditions.join(" AND "),
        [vec![binary(&cursor.column)], key].concat().join(", ")
    );
    Ok(WindowQuery { sql, arguments })
}

/// Rows at or above the start of a window.
fn at_least(name: &str, lower: &Lower, arguments: &mut SqliteArguments) -> Result<String> {
    let Some(with_offset) = &lower.with_offset else {
        return at_least_value(name, &lower.value, arguments);
    };
    bind(arguments, Cell::Text(with_offset))?;
    let exact = at_least_value(name, &lower.value, arguments)?;
    let in_utc = format!(
        "{name} GLOB '*Z' OR {name} GLOB '*+00:00' OR {name} GLOB '????-??-??[ T]??:??:??'"
    );
    Ok(format!("({name} >= ? AND ({exact} OR NOT ({in_utc})))"))
}

fn at_least_value(
    name: &str,
    lower: &OwnedCell,
    arguments: &mut SqliteArguments,
) -> Result<String> {
    bind(arguments, lower.as_cell())?;
    let OwnedCell::Text(text) = lower else {
        return Ok(format!("{name} >= ?"));
    };
    let Some((day, time)) = text.split_once(' ') else {
        return Ok(format!("{name} >= ?"));
    };
    // `T` sorts after the space, so the hours before are cut out of the day once more.
    let gap = [format!("{day}T"), format!("{day}T{time}")];
    for edge in &gap {
        bind(arguments, Cell::Text(edge))?;
    }
    Ok(format!(
        "({name} >= ? AND NOT ({name} >= ? AND {name} < ?))"
    ))
}

/// The statement as `plan` shows it.
pub(crate) fn shown_statement(read: &TableRead, cursor: &Cursor) -> Result<String> {
    let from = match cursor.kind {
        CursorKind::Integer => Bound::Integer(0),
        _ => Bound::Micros(0),
    };
    Ok(window_query(read, cursor, Some(from), None)?.sql)
}

/// Hash of everything that a window from this bound would read; `None` if that is too much.
///
/// All selected columns are hashed: a row that changed twice within one tick of the cursor has
/// the same cursor and another content.
async fn overlap_rows(
    session: &mut Session,
    read: &TableRead,
    cursor: &Cursor,
    from: Option<Bound>,
) -> Result<Option<String>> {
    let query = window_query(read, cursor, from, None)?;
    let path = session.path().to_owned();
    let place = format!("reading the overlap of `{}`", read.description.name);
    let sql = format!("{} LIMIT {}", query.sql, OVERLAP_ROWS_MAX + 1);
    let mut rows =
        sqlx::query_with(AssertSqlSafe(sql), query.arguments).fetch(session.connection());
    let mut hasher = Hasher::new();
    hasher.feed(read.selection.as_bytes());
    let (mut row_count, mut bytes) = (0, 0);
    while let Some(row) = rows.next().await {
        let row = fetched(row, &path, &place)?;
        for index in 0..sqlx::Row::len(&row) {
            let value = cell(&row, index);
            bytes += value.size();
            feed(&mut hasher, value);
        }
        row_count += 1;
        if row_count > OVERLAP_ROWS_MAX || bytes > OVERLAP_BYTES_MAX {
            return Ok(None);
        }
    }
    Ok(Some(format!("{:032x}", hasher.value())))
}

fn feed(hasher: &mut Hasher, value: Cell<'_>) {
    match value {
        Cell::Null => hasher.feed(b"n"),
        Cell::Integer(value) => hasher.feed(&[b"i".as_slice(), &value.to_le_bytes()].concat()),
        Cell::Real(value) => {
            hasher.feed(&[b"r".as_slice(), &value.to_bits().to_le_bytes()].concat())
        }
        Cell::Text(value) => {
            hasher.feed(b"t");
            hasher.feed(value.as_bytes());
        }
        Cell::Blob(value) => {
            hasher.feed(b"b");
            hasher.feed(value);
        }
        Cell::BadText => hasher.feed(b"x"),
    }
}
