//! The rows of a table that are compared at a time: all that are selected, those of `--where`, or
//! those of a range of keys.

use crate::exit_code;
use crate::failure::Failure;
use crate::planned::PlannedTable;
use std::sync::Arc;
use syncset_connector::{
    Capture, Comparison, Filter, Literal, Predicate, Source, TableDescription, TableRead,
};
use syncset_pipeline::OutputValue;

/// Bytes of a range of keys, about: read in a few tenths of a second.
const RANGE_BYTES: u64 = 8 << 20;

/// Some of the selected rows of a table.
pub(super) struct Part {
    /// How they are read at the source: where they are not all, without a window.
    pub(super) planned: Arc<PlannedTable>,
    /// Which rows of the target they are; `None`: all.
    pub(super) target: Option<Predicate>,
    /// The condition of these rows and of those that come after them, for `--where`; `None` if no
    /// rows come before them.
    pub(super) from_here: Option<String>,
}

/// Whether a table can be cut into ranges of keys.
pub(super) enum Pieces {
    /// It is small.
    NotNeeded,
    /// Nothing cuts it.
    Impossible,
    /// The last keys of all ranges but the last one.
    Ends(Vec<i64>),
}

impl Part {
    /// All selected rows.
    pub(super) fn whole(planned: &Arc<PlannedTable>) -> Self {
        Self {
            planned: planned.clone(),
            target: None,
            from_here: None,
        }
    }

    /// Whether it is all selected rows.
    pub(super) fn is_whole(&self) -> bool {
        self.target.is_none()
    }

    /// The rows of `--where`. `sliced`: the table as it is planned with that condition.
    ///
    /// # Errors
    /// If the target cannot tell which of its rows they are.
    pub(super) fn sliced(
        sliced: &PlannedTable,
        there: &TableDescription,
        reader: &dyn Source,
    ) -> Result<Self, Failure> {
        let at_target = sliced
            .plan
            .slice
            .as_ref()
            .ok_or_else(|| "it is more than comparisons of columns with constants".to_owned())
            .and_then(|slice| renamed(slice, sliced))
            .and_then(|slice| reader.can_push(there, &slice).map(|()| slice));
        let at_target = at_target.map_err(|why| {
            let message = format!(
                "`--where` cannot be evaluated at the target of `{}` alike: {why}",
                sliced.stream()
            );
            Failure::new(exit_code::CONFIG, message).with_hint(
                "compare columns that the target holds as they are at the source with constants, \
                 or check without `--where`",
            )
        })?;
        Ok(Self {
            planned: Arc::new(read_by(sliced, sliced.plan.read.filter.clone())),
            target: Some(at_target),
            from_here: None,
        })
    }

    /// How its rows are read at the source without a window of changes.
    pub(super) fn without_window(&self) -> Arc<PlannedTable> {
        let filter = self.planned.plan.read.filter.clone();
        Arc::new(read_by(&self.planned, filter))
    }

    /// Where ranges of keys end that are compared one after another.
    pub(super) async fn pieces(
        &self,
        source: &dyn Source,
        there: &TableDescription,
    ) -> Result<Pieces, Failure> {
        let read = &self.planned.plan.read;
        let bytes = self.planned.byte_estimate;
        if bytes.is_some_and(|bytes| bytes <= RANGE_BYTES) {
            return Ok(Pieces::NotNeeded);
        }
        let is_sql = matches!(read.filter, Filter::SourceSql(_));
        if is_sql || key_number(&self.planned, there).is_none() {
            return Ok(Pieces::Impossible);
        }
        let bounds = source.boundaries(read, RANGE_BYTES).await?;
        let ends = bounds.iter().map(|bound| source.bound_number(bound));
        Ok(match ends.collect::<Option<Vec<_>>>() {
            None => Pieces::Impossible,
            Some(ends) if ends.is_empty() => Pieces::NotNeeded,
            Some(ends) => Pieces::Ends(ends),
        })
    }

    /// Its ranges of keys, in their order. `condition`: that of `--where`.
    pub(super) fn cut(
        &self,
        ends: &[i64],
        there: &TableDescription,
        condition: Option<&str>,
    ) -> Vec<Self> {
        let Some((here, key)) = key_number(&self.planned, there) else {
            return vec![Self {
                planned: self.planned.clone(),
                target: self.target.clone(),
                from_here: None,
            }];
        };
        let befores = std::iter::once(None).chain(ends.iter().copied().map(Some));
        let lasts = ends.iter().copied().map(Some).chain(std::iter::once(None));
        let piece = |(before, last)| {
            let range = |column: &str| -> Vec<Predicate> {
                let bound = |end: Option<i64>, comparison| {
                    Some(Predicate::Compare {
                        column: column.to_owned(),
                        comparison,
                        literal: Literal::Number(end?.to_string()),
                    })
                };
                let bounds = [
                    bound(before, Comparison::Greater),
                    bound(last, Comparison::LessOrEqual),
                ];
                bounds.into_iter().flatten().collect()
            };
            let filter = self.planned.plan.read.filter.clone();
            let target = self.target.iter().cloned().chain(range(key));
            Self {
                planned: Arc::new(read_by(&self.planned, both(filter, range(here)))),
                target: Some(Predicate::And(target.collect())),
                from_here: before.map(|before| rest(here, before, condition)),
            }
        };
        befores.zip(lasts).map(piece).collect()
    }

    /// How the target's rows are read. `read`: how all of them are.
    pub(super) fn of_target(&self, read: TableRead) -> TableRead {
        let filter = both(read.filter, self.target.iter().cloned().collect());
        TableRead { filter, ..read }
    }
}

/// The condition of all rows whose keys are greater, as text.
fn rest(key: &str, before: i64, condition: Option<&str>) -> String {
    let is_plain = key
        .bytes()
        .all(|it| it.is_ascii_lowercase() || it.is_ascii_digit() || it == b'_')
        && !key.starts_with(|first: char| first.is_ascii_digit());
    let key = match is_plain {
        true => key.to_owned(),
        false => format!("\"{}\"", key.replace('"', "\"\"")),
    };
    match condition {
        Some(condition) => format!("({condition}) and {key} > {before}"),
        None => format!("{key} > {before}"),
    }
}

/// The names of the key at the source and at the target, if it is one whole number on both sides.
fn key_number<'a>(
    planned: &'a PlannedTable,
    there: &TableDescription,
) -> Option<(&'a str, &'a str)> {
    let ([here], [key]) = (
        planned.plan.read.key.as_slice(),
        planned.target.key.as_slice(),
    ) else {
        return None;
    };
    let output = planned.plan.outputs.iter().find(|it| it.name == *key)?;
    let is_same = matches!(&output.value, OutputValue::Column(name) if name == here);
    let columns = [
        planned.plan.read.description.column(here)?,
        there.column(key)?,
    ];
    let are_numbers = columns
        .iter()
        .all(|column| column.data_type.is_integer() && !column.native.as_text);
    (is_same && are_numbers).then_some((here, key))
}

/// A table of which other rows are read, and no window of changes.
fn read_by(planned: &PlannedTable, filter: Filter) -> PlannedTable {
    let mut planned = planned.clone();
    planned.plan.read = Arc::new(TableRead {
        filter,
        capture: Capture::Full,
        ..planned.plan.read.as_ref().clone()
    });
    planned
}

fn both(filter: Filter, further: Vec<Predicate>) -> Filter {
    let conditions = match filter {
        Filter::All => further,
        Filter::Predicate(condition) => std::iter::once(condition).chain(further).collect(),
        sql @ Filter::SourceSql(_) => return sql,
    };
    match conditions.len() {
        0 => Filter::All,
        _ => Filter::Predicate(Predicate::And(conditions)),
    }
}

/// A condition over the source's columns as one over the target's.
///
/// # Errors
/// Which column the target does not hold.
fn renamed(condition: &Predicate, planned: &PlannedTable) -> Result<Predicate, String> {
    let name = |column: &str| {
        let mut outputs = planned.plan.outputs.iter();
        let is_it =
            |value: &OutputValue| matches!(value, OutputValue::Column(name) if name == column);
        let output = outputs.find(|output| is_it(&output.value));
        let output = output.map(|output| output.name.clone());
        output.ok_or_else(|| format!("it does not hold column `{column}` as it is at the source"))
    };
    let all = |parts: &[Predicate]| -> Result<Vec<Predicate>, String> {
        parts.iter().map(|part| renamed(part, planned)).collect()
    };
    Ok(match condition {
        Predicate::Compare {
            column,
            comparison,
            literal,
        } => Predicate::Compare {
            column: name(column)?,
            comparison: *comparison,
            literal: literal.clone(),
        },
        Predicate::In {
            column,
            literals,
            negated,
        } => Predicate::In {
            column: name(column)?,
            literals: literals.clone(),
            negated: *negated,
        },
        Predicate::IsNull { column, negated } => Predicate::IsNull {
            column: name(column)?,
            negated: *negated,
        },
        Predicate::Column(column) => Predicate::Column(name(column)?),
        Predicate::And(parts) => Predicate::And(all(parts)?),
        Predicate::Or(parts) => Predicate::Or(all(parts)?),
        Predicate::Not(part) => Predicate::Not(Box::new(renamed(part, planned)?)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rest_of_a_table_is_a_condition_for_the_next_check() {
        assert_eq!(rest("id", -5, None), "id > -5");
        assert_eq!(rest("Id", 5, None), "\"Id\" > 5");
        let rest = rest("id", 7, Some("a = 1 or b = 2"));
        assert_eq!(rest, "(a = 1 or b = 2) and id > 7");
    }
}
