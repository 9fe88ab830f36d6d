//! `on_lossy` on the round trips: the table of all values goes to the target under each policy, and
//! what does not fit becomes what the policy says. What fits stays as it is.

use crate::round_trip_forms::{Class, Engine, Seen, canonical, fits, seen};
use crate::round_trips::Trip;
use serde_json::{Map, Value, json};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Policy {
    Warn,
    Null,
    Text,
}

impl Policy {
    fn name(self) -> &'static str {
        match self {
            Self::Warn => "warn",
            Self::Null => "null",
            Self::Text => "text",
        }
    }
}

/// Runs the table `v` under each policy, and looks at every value of every column.
pub(crate) async fn follow_policies(trip: &Trip) {
    let start = seen(trip.from, &trip.start, "v").await;
    for policy in [Policy::Warn, Policy::Null, Policy::Text] {
        let name = format!("v_{}", policy.name());
        make_pipeline(trip, policy, &name);

        let report = trip.run(&name).await.expect_success().json();
        if policy == Policy::Warn {
            let again = trip.run(&name).await.expect_success().json();
            assert_eq!(again["tables"][0]["rows_written"], 0, "{policy:?}");
        }

        let expected = Expected::of(trip, &start, policy);
        let middle = seen(trip.to, &trip.middle, &name).await;
        expected.assert_like(trip, &middle);
        let table = &report["tables"][0];
        assert_eq!(table["values_lost"], expected.lost, "{policy:?}");
        assert_eq!(table["rows_rejected"], 0, "{policy:?}");
    }
}

fn make_pipeline(trip: &Trip, policy: Policy, name: &str) {
    let others = trip.mapped.keys().filter_map(|number| {
        let own = policy_of(trip, *number, policy);
        (own != policy).then(|| format!("c{number}: {}", own.name()))
    });
    let others: Vec<_> = others.collect();
    let ends = [("start", trip.from), ("middle", trip.to)];
    let settings = format!(
        "capture: full\n    on_lossy: {{ default: {}, columns: {{ {} }} }}",
        policy.name(),
        others.join(", ")
    );
    trip.pipeline(name, ends, ("v", name, &settings));
}

/// The policy of a column. Some leave a row refused, so that another stands in.
fn policy_of(trip: &Trip, number: usize, policy: Policy) -> Policy {
    let mapped = &trip.mapped[&number];
    let is_text = mapped.fidelity == "lossy" && mapped.native == "text";
    match policy {
        // A text is a text already.
        Policy::Text if is_text => Policy::Null,
        // Only the target knows the names that it has.
        Policy::Warn | Policy::Null if mapped.native.starts_with("reg") => Policy::Text,
        _ => policy,
    }
}

/// What is to arrive.
struct Expected {
    /// Of each row and column, its value in a form of its class.
    rows: Vec<Vec<Option<String>>>,
    /// What the report says.
    lost: Value,
}

impl Expected {
    fn of(trip: &Trip, start: &Seen, policy: Policy) -> Self {
        let mut rows = vec![Vec::new(); start.rows.len()];
        let mut lost = Map::new();
        for (number, native) in &start.columns {
            let (mut changed, mut nulled) = (0, 0);
            let class = trip.cases[*number].class;
            let there = &trip.mapped[number];
            let own = policy_of(trip, *number, policy);
            for (row, to) in start.rows.iter().zip(&mut rows) {
                let Some(text) = row[number + 1].as_deref() else {
                    to.push(None);
                    continue;
                };
                let value = canonical(class, trip.from, native, text);
                let is_kept = own == Policy::Text || fits(trip.to, &there.native, class, &value);
                to.push(if is_kept {
                    trip.value(class, trip.from, native, Some(text))
                } else if own == Policy::Warn && there.native == "text" {
                    changed += 1;
                    Some(value.replace('\0', ""))
                } else {
                    nulled += 1;
                    None
                });
            }
            if changed + nulled > 0 {
                let counts = json!({ "changed": changed, "nulled": nulled });
                lost.insert(format!("c{number}"), counts);
            }
        }
        let lost = Value::Object(lost);
        Self { rows, lost }
    }

    fn assert_like(&self, trip: &Trip, there: &Seen) {
        assert_eq!(self.rows.len(), there.rows.len());
        let mut wrong = Vec::new();
        for (expected, row) in self.rows.iter().zip(&there.rows) {
            for (place, (number, native)) in there.columns.iter().enumerate() {
                let class = trip.cases[*number].class;
                let text = row[place + 1].as_deref();
                let value = match is_text(native) {
                    true => value_of_form(trip, class, text),
                    false => trip.value(class, trip.to, native, text),
                };
                let from = &trip.cases[*number].native;
                if value != expected[place] {
                    let wanted = &expected[place];
                    wrong.push(format!(
                        "c{number} {from} -> {native}: {text:?} is {value:?}, not {wanted:?}"
                    ));
                }
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
}

fn is_text(native: &str) -> bool {
    native.contains("text")
}

/// The value that a text form stands for: they are those of PostgreSQL.
fn value_of_form(trip: &Trip, class: Class, text: Option<&str>) -> Option<String> {
    let native = match class {
        Class::Single => "real",
        _ => "",
    };
    trip.value(class, Engine::Postgres, native, text)
}
