//! "Did you mean": the known name nearest to a mistyped one.

use syncset_connector::TableDescription;

/// Names less alike than this are no suggestion.
const SIMILARITY_MIN: f64 = 0.7;

/// Names listed in a hint at most; a schema of a thousand tables must not fill the screen.
const LISTED_MAX: usize = 12;

/// The candidate most like `name`, if one is like it at all.
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    candidates
        .into_iter()
        .map(|candidate| (similarity(name, candidate), candidate))
        .filter(|(score, _)| *score >= SIMILARITY_MIN)
        .max_by(|left, right| left.0.total_cmp(&right.0))
        .map(|(_, candidate)| candidate)
}

/// All candidates for a hint, the nearest first, the list cut to a readable length.
pub fn listed<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    let mut scored: Vec<_> = candidates
        .into_iter()
        .map(|candidate| (similarity(name, candidate), candidate))
        .collect();
    scored.sort_by(|left, right| right.0.total_cmp(&left.0));
    let shown: Vec<_> = scored
        .iter()
        .take(LISTED_MAX)
        .map(|(_, candidate)| format!("`{candidate}`"))
        .collect();
    match scored.len().saturating_sub(LISTED_MAX) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

/// The columns that a table has or shows, for the hint about one that it does not.
pub(crate) fn columns_of(table: &TableDescription, name: &str) -> String {
    let names = listed(
        name,
        table.columns.iter().map(|column| column.name.as_str()),
    );
    match &table.grant {
        None => format!("the columns are {names}"),
        Some(grant) => format!("this user is shown the columns {names}; to see others: {grant}"),
    }
}

fn similarity(left: &str, right: &str) -> f64 {
    strsim::jaro_winkler(&left.to_lowercase(), &right.to_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names_are_suggested_and_far_ones_are_not() {
        assert_eq!(nearest("soruce", ["source", "target"]), Some("source"));
        assert_eq!(nearest("NAME", ["name", "id"]), Some("name"));
        assert_eq!(nearest("xyz", ["source", "target"]), None);
    }
}
