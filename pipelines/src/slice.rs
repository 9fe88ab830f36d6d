//! `--where`: which of the selected rows are read.

use crate::condition::predicate;
use crate::planner::{Planner, Rows};
use crate::problem::{Place, Problems};
use crate::spec::{Name, WherePushdown};
use crate::sql::{Resolved, movement, resolve};
use syncset_connector::{Filter, Predicate};

/// What every store evaluates alike.
const COMMON_FORMS: &str =
    "use =, <>, <, <=, >, >=, IN, IS NULL, AND, OR and NOT over plain columns";

impl Planner<'_> {
    /// Keeps the rows for which the condition of a slice is true. What the source does not
    /// evaluate beside its own SQL is evaluated here: those rows are selected anyway.
    pub(crate) fn sliced(
        &self,
        rows: Option<Rows>,
        text: &str,
        problems: &mut Problems,
    ) -> Option<Rows> {
        // It is no part of the file.
        let text = Name {
            text: text.to_owned(),
            place: Place::default(),
        };
        let stream = &self.selected.stream;
        let moves = movement(&text.text);
        if let Some(function) = moves.clock.or(moves.volatile) {
            problems.hinted(
                text.place,
                format!(
                    "`--where` of `{stream}` uses `{function}`, which answers differently each time"
                ),
                "write the value itself, such as `date '2025-01-01'`",
            );
            return None;
        }
        let slice = match resolve(&text.text, self.table) {
            Ok(slice) => slice,
            Err(errors) => {
                for error in errors {
                    self.sql_problem("`--where`", &text, error, problems);
                }
                return None;
            }
        };
        let Rows {
            filter, residual, ..
        } = rows?;
        let common = predicate(&slice.tree, self.table);
        let pushed = common.clone().and_then(|predicate| {
            self.push.can_push(self.table, &predicate)?;
            Ok(predicate)
        });
        let rows = |filter, residual| {
            Some(Rows {
                filter,
                residual,
                slice: common.ok(),
            })
        };
        let filter = match (filter, pushed) {
            (Filter::All, Ok(slice)) => Filter::Predicate(slice),
            (Filter::Predicate(selected), Ok(slice)) => {
                Filter::Predicate(Predicate::And(vec![selected, slice]))
            }
            (filter @ Filter::SourceSql(_), _) => {
                let residual = Some(both(residual, slice));
                return rows(filter, residual);
            }
            (filter, Err(_)) if self.settings.pushdown == WherePushdown::BestEffort => {
                let residual = Some(both(residual, slice));
                return rows(filter, residual);
            }
            (_, Err(reason)) => {
                problems.hinted(
                    text.place,
                    self.unpushed("`--where`", &reason),
                    format!(
                        "{COMMON_FORMS}; or set `where_pushdown: best_effort` in the pipeline's \
                         file to read more rows and drop them here"
                    ),
                );
                return None;
            }
        };
        rows(filter, residual)
    }

    /// Notes that the source cannot evaluate a condition exactly.
    pub(crate) fn not_pushed(
        &self,
        what: &str,
        place: Place,
        reason: &str,
        problems: &mut Problems,
    ) {
        problems.hinted(
            place,
            self.unpushed(what, reason),
            format!(
                "{COMMON_FORMS}; or write the source's own SQL as `where: {{ source_sql: \"...\" }}`; \
                 or set `where_pushdown: best_effort` to read more rows and drop them here"
            ),
        );
    }

    fn unpushed(&self, what: &str, reason: &str) -> String {
        let stream = &self.selected.stream;
        format!(
            "{what} of `{stream}` cannot be evaluated by the source with the same meaning: {reason}"
        )
    }
}

/// Both conditions, evaluated here.
fn both(first: Option<Resolved>, second: Resolved) -> Resolved {
    let Some(first) = first else { return second };
    let mut columns = first.columns;
    for column in second.columns {
        if !columns.contains(&column) {
            columns.push(column);
        }
    }
    Resolved {
        tree: second.tree,
        sql: format!("({}) AND ({})", first.sql, second.sql),
        columns,
        functions: &first.functions | &second.functions,
    }
}
