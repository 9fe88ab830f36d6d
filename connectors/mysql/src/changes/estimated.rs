//! Cuts of a table whose key is one number, from the rows that the server estimates in spans of it:
//! a look at a few pages each, where counting would read the table.
//!
//! Estimates only decide how even chunks are. Every row is in one of them, wherever the cuts are.

use super::shape::Shape;
use crate::connect::{MysqlStore, Session, TextRow};
use crate::error;
use crate::types::Flavour;
use syncset_connector::{KeyBound, Result};

/// Spans that a key is divided into at first, for each chunk that is wanted.
const SPANS_PER_CHUNK: u64 = 4;

/// Parts that a span is divided into that holds more than a chunk should.
const PARTS: u64 = 16;

/// How often spans are divided: enough for all rows in one of 2^60 numbers.
const ROUNDS_MAX: u32 = 16;

/// Statements of one message.
const STATEMENTS_MAX: usize = 500;

/// Numbers above `after`, up to `last`, and the rows that are estimated there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Span {
    after: i128,
    last: i128,
    rows: u64,
}

/// Keys that cut a table into about so many chunks.
pub(super) async fn cuts(store: &MysqlStore, shape: &Shape, chunks: u64) -> Result<Vec<KeyBound>> {
    let name = &shape.key[0].sql;
    let flavour = store.facts().flavour;
    let mut session = store.control().await?;
    let sql = format!("SELECT MIN({name}), MAX({name}) FROM {}", shape.from);
    let rows = session.rows(&sql).await?;
    let Some(row) = rows.first().filter(|row| row.text(0).is_some()) else {
        return Ok(Vec::new());
    };
    let (first, last): (i128, i128) = (row.parse(0)?, row.parse(1)?);
    let mut spans = divided(first - 1, last, chunks.saturating_mul(SPANS_PER_CHUNK));
    estimate(&mut session, shape, flavour, &mut spans).await?;
    // Estimates of few rows are better than those of many, so the step is found again each time.
    let mut step = step_of(&spans, chunks);
    for _ in 0..ROUNDS_MAX {
        let is_large = |span: &Span| span.rows > step && span.last - span.after > 1;
        if !spans.iter().any(is_large) {
            break;
        }
        let mut next = Vec::with_capacity(spans.len());
        for span in spans {
            if is_large(&span) {
                let mut parts = divided(span.after, span.last, PARTS);
                estimate(&mut session, shape, flavour, &mut parts).await?;
                next.append(&mut parts);
            } else {
                next.push(span);
            }
        }
        spans = next;
        step = step_of(&spans, chunks);
    }
    let cuts = chosen(&spans, step).into_iter();
    Ok(cuts.map(|cut| KeyBound(vec![cut.to_string()])).collect())
}

/// Rows of a chunk.
fn step_of(spans: &[Span], chunks: u64) -> u64 {
    let total: u64 = spans.iter().map(|span| span.rows).sum();
    (total / chunks.max(1)).max(1)
}

/// Spans of equal width, as many or fewer, that hold all numbers above `after` up to `last`.
fn divided(after: i128, last: i128, count: u64) -> Vec<Span> {
    let width = ((last - after) / i128::from(count.max(1))).max(1);
    let mut spans = Vec::new();
    let mut from = after;
    while from < last {
        let is_rest = last - from < 2 * width;
        let to = if is_rest { last } else { from + width };
        spans.push(Span {
            after: from,
            last: to,
            rows: 0,
        });
        from = to;
    }
    spans
}

/// The ends of chunks of at least `step` rows. What follows the last one is a chunk, too.
fn chosen(spans: &[Span], step: u64) -> Vec<i128> {
    let (mut cuts, mut rows) = (Vec::new(), 0_u64);
    let Some((_, before_last)) = spans.split_last() else {
        return cuts;
    };
    for span in before_last {
        rows = rows.saturating_add(span.rows);
        if rows >= step {
            cuts.push(span.last);
            rows = 0;
        }
    }
    cuts
}

/// Fills in the rows of spans.
async fn estimate(
    session: &mut Session,
    shape: &Shape,
    flavour: Flavour,
    spans: &mut [Span],
) -> Result<()> {
    let name = &shape.key[0].sql;
    // The plan as a row of columns, whatever form of it the server prefers.
    let (explain, column) = match flavour {
        Flavour::MySql => ("EXPLAIN FORMAT=TRADITIONAL", 9),
        Flavour::MariaDb => ("EXPLAIN", 8),
    };
    for some in spans.chunks_mut(STATEMENTS_MAX) {
        let statements: Vec<_> = some
            .iter()
            .map(|span| {
                format!(
                    "{explain} SELECT {name} FROM {} WHERE {name} > {} AND {name} <= {}",
                    shape.from, span.after, span.last
                )
            })
            .collect();
        let plans = session.result_sets(&statements.join("; ")).await?;
        if plans.len() != some.len() {
            return Err(error::unexpected("the server left out an estimate"));
        }
        for (span, plan) in some.iter_mut().zip(plans) {
            let rows = plan.first().map(|row: &TextRow| row.parse_some(column));
            // None where the server knows that no row is there.
            span.rows = rows.transpose()?.flatten().unwrap_or(0);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spans(rows: &[(i128, u64)]) -> Vec<Span> {
        let mut after = 0;
        let span = |(last, rows): &(i128, u64)| Span {
            after: std::mem::replace(&mut after, *last),
            last: *last,
            rows: *rows,
        };
        rows.iter().map(span).collect()
    }

    #[test]
    fn divided_spans_hold_every_number_once() {
        for (after, last, count) in [
            (-1, 99, 7),
            (5, 6, 4),
            (-3, 4, 100),
            (0, i128::from(u64::MAX), 256),
        ] {
            let parts = divided(after, last, count);

            assert_eq!(parts.first().map(|span| span.after), Some(after));
            assert_eq!(parts.last().map(|span| span.last), Some(last));
            assert!(parts.windows(2).all(|pair| pair[0].last == pair[1].after));
            assert!(parts.iter().all(|span| span.after < span.last));
            assert!(parts.len() as u64 <= count, "{} parts", parts.len());
        }
    }

    #[test]
    fn chunks_end_where_enough_rows_have_come_together() {
        let spans = spans(&[(10, 4), (20, 7), (30, 0), (40, 12), (50, 3)]);

        assert_eq!(chosen(&spans, 10), [20, 40]);
        assert_eq!(chosen(&spans, 100), []);
        assert_eq!(chosen(&[], 1), []);
    }
}
