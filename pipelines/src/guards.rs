//! `guards:`: what a run may delete before a person is asked.

use crate::fields::{Fields, choice, count};
use crate::problem::Problems;
use crate::schema::Section;
use crate::yaml::{Node, Value};

/// Deletes of one run, in percent of a table's rows, that need no person. A selection that shrinks
/// by more in one interval was more often a mistake than meant.
const MAX_DELETE_PERCENT_DEFAULT: f64 = 5.0;

/// Deletes that need no person whatever the table holds, so that small tables do not stop at each
/// row.
const ROWS_ALWAYS_ALLOWED_DEFAULT: u64 = 50;

const EXAMPLE: &str = "guards: { max_delete_percent: 5 }";

/// What a run may delete from one table without a person's word.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Guards {
    /// Rows that may be deleted, in percent of those at the target. 100: all of them.
    pub max_delete_percent: f64,
    /// Rows that may be deleted whatever the table holds.
    pub max_delete_rows_always_allowed: u64,
    /// What becomes of a target table with rows when the source selects none.
    pub empty_source: EmptySource,
}

impl Default for Guards {
    fn default() -> Self {
        Self {
            max_delete_percent: MAX_DELETE_PERCENT_DEFAULT,
            max_delete_rows_always_allowed: ROWS_ALWAYS_ALLOWED_DEFAULT,
            empty_source: EmptySource::Stop,
        }
    }
}

/// What becomes of a target table with rows when the source selects none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EmptySource {
    /// The run stops for the table.
    Stop,
    /// Its rows count as any others.
    Allow,
}

/// Reads `guards:`; what is absent has its default.
pub(crate) fn read(node: &Node, problems: &mut Problems) -> Guards {
    let mut guards = Guards::default();
    let what = ("`guards`", EXAMPLE);
    let Some(fields) = Fields::of(node, Section::Guards, what, problems) else {
        return guards;
    };
    if let Some(node) = fields.value("max_delete_percent")
        && let Some(number) = percent(node, problems)
    {
        guards.max_delete_percent = number;
    }
    if let Some(node) = fields.value("max_delete_rows_always_allowed") {
        let example = "guards: { max_delete_rows_always_allowed: 50 }";
        let what = "`max_delete_rows_always_allowed`";
        if let Some(number) = count(node, what, example, problems) {
            guards.max_delete_rows_always_allowed = number;
        }
    }
    if let Some(node) = fields.value("empty_source") {
        let options = [("stop", EmptySource::Stop), ("allow", EmptySource::Allow)];
        let chosen = choice(node, Section::Guards, "empty_source", &options, problems);
        guards.empty_source = chosen.unwrap_or(guards.empty_source);
    }
    guards
}

fn percent(node: &Node, problems: &mut Problems) -> Option<f64> {
    if let Value::Scalar {
        text,
        quoted: false,
    } = &node.value
        && let Ok(number) = text.parse::<f64>()
        && (0.0..=100.0).contains(&number)
    {
        return Some(number);
    }
    problems.hinted(
        node.place,
        "`max_delete_percent` must be a number from 0 to 100",
        format!("for example `{EXAMPLE}`; 100 lets every delete pass"),
    );
    None
}
