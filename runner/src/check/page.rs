//! A check as one page of HTML that needs nothing else: no script, no font, no network.
//!
//! Counts over the past checks are kept in the page itself, as data that nothing runs, and are read
//! from the page that is replaced.

use super::report::{CheckReport, CheckedTable, Verdict};
use crate::cli::quantity::{count, duration};
use serde::{Deserialize, Serialize};
use std::fmt::Write;
use std::time::Duration;

/// Cells of the map of a table; a key's cell is that of the first bits of its hash.
pub(crate) const CELLS: usize = 256;

/// Cells of one line of the map.
const CELLS_PER_LINE: usize = 16;

/// Checks that a page remembers.
const PAST_MAX: usize = 100;

const STYLE: &str = include_str!("page.css");

/// Where the past checks stand in a page.
const PAST_BEGIN: &str = "<script type=\"application/json\" id=\"syncset-past\">";
const PAST_END: &str = "</script>";

/// One cell of a map.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Cell {
    /// Rows of the source.
    pub(crate) source: u64,
    /// Rows of the target.
    pub(crate) target: u64,
    /// Rows that differ for certain.
    pub(crate) drifted: u64,
    /// Rows that differ and may be in flight.
    pub(crate) undecided: u64,
}

impl Cell {
    /// Adds the rows of another part of the table.
    pub(super) fn add(&mut self, other: Self) {
        self.source += other.source;
        self.target += other.target;
        self.drifted += other.drifted;
        self.undecided += other.undecided;
    }
}

/// The counts of one table of one check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct PastTable {
    table: String,
    rows: u64,
    different: u64,
    missing: u64,
    extra: u64,
    undecided: u64,
    verdict: String,
}

/// One check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PastCheck {
    at: String,
    tables: Vec<PastTable>,
}

/// What a page remembers.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Past {
    pipeline: String,
    checks: Vec<PastCheck>,
}

/// The past checks of a pipeline, oldest first, that a page holds; none if it is about another one
/// or no page of ours.
pub(crate) fn past_of(page: &str, pipeline: &str) -> Vec<PastCheck> {
    let text = page
        .split_once(PAST_BEGIN)
        .and_then(|(_, rest)| rest.split_once(PAST_END));
    let past = text.and_then(|(text, _)| serde_json::from_str::<Past>(text).ok());
    past.filter(|past| past.pipeline == pipeline)
        .map(|past| past.checks)
        .unwrap_or_default()
}

/// Whether a text is a page of ours, which another one may replace.
pub(crate) fn is_page(text: &str) -> bool {
    text.contains(PAST_BEGIN)
}

/// The page of a check that ended at this time (RFC 3339), after these checks.
pub(crate) fn page(report: &CheckReport, at: &str, mut past: Vec<PastCheck>) -> String {
    past.push(now(report, at));
    let surplus = past.len().saturating_sub(PAST_MAX);
    past.drain(..surplus);
    let title = escaped(&format!("syncset check {}", report.pipeline));
    let mut html = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n\
         <a class=\"skip\" href=\"#tables\">Skip to the tables</a>\n<header>\n<h1>{title}</h1>\n\
         <p>{} at <time datetime=\"{at}\">{at}</time>, {}.</p>\n</header>\n<main id=\"tables\">\n",
        escaped(&summary(report)),
        duration(Duration::from_millis(report.duration_ms)),
    );
    html.push_str(&overview(report));
    for (number, table) in report.tables.iter().enumerate() {
        html.push_str(&section(number, table, &past));
    }
    let remembered = Past {
        pipeline: report.pipeline.clone(),
        checks: past,
    };
    let json = serde_json::to_string(&remembered).expect("counts are plain JSON");
    // Nothing in it may end the element.
    let json = json.replace('<', "\\u003c");
    writeln!(
        html,
        "</main>\n{PAST_BEGIN}{json}{PAST_END}\n</body>\n</html>"
    )
    .expect(MEMORY);
    html
}

const MEMORY: &str = "writing into memory cannot fail";

fn now(report: &CheckReport, at: &str) -> PastCheck {
    let tables = report.tables.iter().map(|table| PastTable {
        table: table.table.clone(),
        rows: table.rows_source,
        different: table.different,
        missing: table.missing,
        extra: table.extra,
        undecided: table.undecided,
        verdict: verdict(table).to_owned(),
    });
    PastCheck {
        at: at.to_owned(),
        tables: tables.collect(),
    }
}

fn verdict(table: &CheckedTable) -> &'static str {
    match table.verdict {
        Verdict::Equal => "equal",
        Verdict::Different => "different",
        Verdict::Undecided => "undecided",
        Verdict::Failed => "failed",
        Verdict::Skipped => "skipped",
        Verdict::Unfinished => "unfinished",
    }
}

fn summary(report: &CheckReport) -> String {
    let of = |verdict| {
        let tables = report.tables.iter();
        tables.filter(|table| table.verdict == verdict).count()
    };
    let words = [
        (Verdict::Equal, "equal"),
        (Verdict::Different, "different"),
        (Verdict::Undecided, "undecided"),
        (Verdict::Failed, "not compared"),
        (Verdict::Skipped, "skipped"),
        (Verdict::Unfinished, "unfinished"),
    ];
    let parts = words.iter().map(|(verdict, word)| (of(*verdict), word));
    let parts = parts.filter(|(count, _)| *count > 0);
    let parts: Vec<_> = parts
        .map(|(count, word)| format!("{count} {word}"))
        .collect();
    match parts.is_empty() {
        true => "no table".to_owned(),
        false => format!("Tables: {}", parts.join(", ")),
    }
}

fn number_heads(html: &mut String, names: &[&str]) {
    for name in names {
        write!(html, "<th scope=\"col\" class=\"number\">{name}</th>").expect(MEMORY);
    }
}

fn number_cells(html: &mut String, numbers: &[u64]) {
    for number in numbers {
        write!(html, "<td class=\"number\">{}</td>", count(*number)).expect(MEMORY);
    }
}

fn overview(report: &CheckReport) -> String {
    let mut html = String::from(
        "<div class=\"wide\" tabindex=\"0\" role=\"region\" aria-label=\"All tables\">\n<table>\n\
         <caption>What differs, table by table</caption>\n<thead><tr><th scope=\"col\">Table</th>\
         <th scope=\"col\">Verdict</th>",
    );
    number_heads(
        &mut html,
        &[
            "Source rows",
            "Target rows",
            "Different",
            "Missing",
            "Extra",
            "Undecided",
        ],
    );
    html.push_str("</tr></thead>\n<tbody>\n");
    for (number, table) in report.tables.iter().enumerate() {
        let verdict = verdict(table);
        write!(
            html,
            "<tr><th scope=\"row\"><a href=\"#table-{number}\">{}</a></th>\
             <td class=\"{verdict}\">{verdict}</td>",
            escaped(&table.table)
        )
        .expect(MEMORY);
        number_cells(
            &mut html,
            &[
                table.rows_source,
                table.rows_target,
                table.different,
                table.missing,
                table.extra,
                table.undecided,
            ],
        );
        html.push_str("</tr>\n");
    }
    html.push_str("</tbody>\n</table>\n</div>\n");
    html
}

fn section(number: usize, table: &CheckedTable, past: &[PastCheck]) -> String {
    let verdict = verdict(table);
    let mut html = format!(
        "<section id=\"table-{number}\" aria-labelledby=\"name-{number}\">\n\
         <h2 id=\"name-{number}\">{} → {}: <span class=\"{verdict}\">{verdict}</span></h2>\n",
        escaped(&table.table),
        escaped(&table.target)
    );
    if let Some(failure) = &table.failure {
        writeln!(html, "<p>{}</p>", escaped(&failure.message)).expect(MEMORY);
        for text in failure.causes.iter().chain(&failure.hint) {
            writeln!(html, "<p>{}</p>", escaped(text)).expect(MEMORY);
        }
    }
    for note in &table.notes {
        writeln!(html, "<p>{}</p>", escaped(note)).expect(MEMORY);
    }
    if !table.map.is_empty() {
        html.push_str(&map(&table.map));
    }
    html.push_str(&samples(table));
    html.push_str(&history(&table.table, past));
    html.push_str("</section>\n");
    html
}

/// The map, and the same as words and as a table.
fn map(cells: &[Cell]) -> String {
    let hit: Vec<_> = cells
        .iter()
        .enumerate()
        .filter(|(_, it)| it.drifted > 0)
        .collect();
    let open = cells
        .iter()
        .filter(|it| it.drifted == 0 && it.undecided > 0)
        .count();
    let label = format!(
        "Map of {} partitions by key hash: {} with drift, {open} with undecided rows",
        cells.len(),
        hit.len()
    );
    let lines = cells.len().div_ceil(CELLS_PER_LINE);
    let mut html = format!(
        "<h3>Partitions</h3>\n<p>{label}.</p>\n<svg class=\"map\" role=\"img\" \
         aria-label=\"{label}\" viewBox=\"0 0 {CELLS_PER_LINE} {lines}\">\n"
    );
    for (number, cell) in cells.iter().enumerate() {
        let (x, y) = (number % CELLS_PER_LINE, number / CELLS_PER_LINE);
        let class = match cell {
            Cell { drifted: 1.., .. } => "cell hit",
            Cell { undecided: 1.., .. } => "cell open",
            Cell {
                source: 0,
                target: 0,
                ..
            } => "cell none",
            _ => "cell",
        };
        write!(
            html,
            "<rect class=\"{class}\" x=\"{x}.06\" y=\"{y}.06\" width=\".88\" height=\".88\"/>"
        )
        .expect(MEMORY);
        // Not by colour alone.
        if cell.drifted > 0 {
            write!(
                html,
                "<circle class=\"mark\" cx=\"{x}.5\" cy=\"{y}.5\" r=\".22\"/>"
            )
            .expect(MEMORY);
        }
    }
    html.push_str("\n</svg>\n");
    if hit.is_empty() {
        return html;
    }
    html.push_str(
        "<details><summary>Partitions with drift</summary>\n<div class=\"wide\" tabindex=\"0\" \
         role=\"region\" aria-label=\"Partitions\">\n<table aria-label=\"Partitions with drift\">\n<thead><tr>\
         <th scope=\"col\" class=\"number\">Partition</th><th scope=\"col\" class=\"number\">Source rows</th>\
         <th scope=\"col\" class=\"number\">Target rows</th><th scope=\"col\" class=\"number\">Drift</th>\
         <th scope=\"col\" class=\"number\">Undecided</th></tr></thead>\n<tbody>\n",
    );
    for (number, cell) in hit {
        write!(html, "<tr><th scope=\"row\" class=\"number\">{number}</th>").expect(MEMORY);
        // Where servers hash the rows, nobody has counted those of a partition.
        let is_counted = cell.source + cell.target > 0;
        for rows in [cell.source, cell.target] {
            let rows = match is_counted {
                true => count(rows),
                false => "–".to_owned(),
            };
            write!(html, "<td class=\"number\">{rows}</td>").expect(MEMORY);
        }
        number_cells(&mut html, &[cell.drifted, cell.undecided]);
        html.push_str("</tr>\n");
    }
    html.push_str("</tbody>\n</table>\n</div>\n</details>\n");
    html
}

fn samples(table: &CheckedTable) -> String {
    if table.samples.is_empty() {
        return String::new();
    }
    let mut html = String::from(
        "<h3>Some of the rows</h3>\n<div class=\"wide\" tabindex=\"0\" role=\"region\" \
         aria-label=\"Rows\">\n<table aria-label=\"Rows that differ\">\n<thead><tr><th scope=\"col\">How</th>\
         <th scope=\"col\">Key</th><th scope=\"col\">Columns</th></tr></thead>\n<tbody>\n",
    );
    for sample in &table.samples {
        let undecided = if sample.undecided { " (undecided)" } else { "" };
        writeln!(
            html,
            "<tr><td>{}{undecided}</td><td><code>{}</code></td><td>{}</td></tr>",
            sample.kind.name(),
            escaped(&sample.key_text()),
            escaped(&sample.columns.join(", "))
        )
        .expect(MEMORY);
    }
    html.push_str("</tbody>\n</table>\n</div>\n");
    html
}

/// The counts of one table over the checks, as bars and as a table, newest first.
fn history(name: &str, past: &[PastCheck]) -> String {
    let of = |check: &PastCheck| check.tables.iter().find(|it| it.table == name).cloned();
    let checks: Vec<_> = past
        .iter()
        .filter_map(|check| Some((&check.at, of(check)?)))
        .collect();
    if checks.len() < 2 {
        return String::new();
    }
    let drift = |table: &PastTable| table.different + table.missing + table.extra;
    let most = checks
        .iter()
        .map(|(_, table)| drift(table))
        .max()
        .unwrap_or(0)
        .max(1);
    let label = format!(
        "Drift over the last {} checks, at most {most} rows",
        checks.len()
    );
    let mut html = format!(
        "<h3>Past checks</h3>\n<svg class=\"past\" role=\"img\" aria-label=\"{label}\" \
         viewBox=\"0 0 {} 20\">\n",
        checks.len() * 4
    );
    for (number, (_, table)) in checks.iter().enumerate() {
        let part = drift(table) as f64 / most as f64;
        let (class, height) = match drift(table) {
            0 => ("bar zero", 1.0),
            _ => ("bar", (part * 20.0).max(2.0)),
        };
        write!(
            html,
            "<rect class=\"{class}\" x=\"{}\" y=\"{:.1}\" width=\"3\" height=\"{height:.1}\"/>",
            number * 4,
            20.0 - height
        )
        .expect(MEMORY);
    }
    html.push_str(
        "\n</svg>\n<details><summary>Counts of the past checks</summary>\n<div class=\"wide\" \
         tabindex=\"0\" role=\"region\" aria-label=\"Past checks\">\n\
         <table aria-label=\"Counts of the past checks\">\n<thead><tr>\
         <th scope=\"col\">Checked at</th><th scope=\"col\">Verdict</th>",
    );
    number_heads(
        &mut html,
        &["Rows", "Different", "Missing", "Extra", "Undecided"],
    );
    html.push_str("</tr></thead>\n<tbody>\n");
    for (at, table) in checks.iter().rev() {
        let verdict = escaped(&table.verdict);
        write!(
            html,
            "<tr><th scope=\"row\">{}</th><td class=\"{verdict}\">{verdict}</td>",
            escaped(at)
        )
        .expect(MEMORY);
        number_cells(
            &mut html,
            &[
                table.rows,
                table.different,
                table.missing,
                table.extra,
                table.undecided,
            ],
        );
        html.push_str("</tr>\n");
    }
    html.push_str("</tbody>\n</table>\n</div>\n</details>\n");
    html
}

/// A text within HTML, also within an attribute in double quotes.
fn escaped(text: &str) -> String {
    let text = text
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;");
    text.replace('"', "&quot;").replace('\0', "\u{fffd}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::report::{Kind, Sample};

    fn report(different: u64) -> CheckReport {
        let mut table = CheckedTable::new("public.\"a</script><b>\"", "t");
        table.different = different;
        table.rows_source = 1_200;
        table.map = vec![
            Cell {
                source: 4,
                target: 4,
                ..Cell::default()
            };
            CELLS
        ];
        table.map[17].drifted = different;
        table.samples.push(Sample {
            kind: Kind::Different,
            key: vec![Some("</script><script>alert(1)</script>".into())],
            columns: vec!["a&b".into()],
            undecided: false,
        });
        table.settle();
        CheckReport {
            pipeline: "crm".into(),
            exit_code: 4,
            duration_ms: 12,
            tables: vec![table],
        }
    }

    #[test]
    fn page_remembers_the_checks_of_the_page_it_replaces() {
        let first = page(&report(3), "2026-01-01T00:00:00Z", Vec::new());
        let past = past_of(&first, "crm");
        let second = page(&report(0), "2026-01-02T00:00:00Z", past);

        let past = past_of(&second, "crm");
        let drift: Vec<_> = past
            .iter()
            .map(|it| (it.at.as_str(), it.tables[0].different))
            .collect();
        assert_eq!(
            drift,
            [("2026-01-01T00:00:00Z", 3), ("2026-01-02T00:00:00Z", 0)]
        );
        assert!(second.contains("Drift over the last 2 checks, at most 3 rows"));
        assert_eq!(past_of(&second, "other"), []);
        assert_eq!(past_of("<html>", "crm"), []);
    }

    #[test]
    fn page_remembers_no_more_than_it_may() {
        let mut past = Vec::new();
        for number in 0..PAST_MAX + 5 {
            past = past_of(&page(&report(1), &format!("t{number}"), past), "crm");
        }

        assert_eq!(past.len(), PAST_MAX);
        assert_eq!(past[0].at, "t5");
    }

    #[test]
    fn nothing_that_is_shown_is_taken_for_markup() {
        let html = page(&report(3), "2026-01-01T00:00:00Z", Vec::new());

        assert_eq!(
            html.matches("<script").count(),
            1,
            "the data of the past checks"
        );
        assert_eq!(html.matches("</script>").count(), 1);
        assert!(html.contains("&lt;/script&gt;&lt;script&gt;alert(1)"));
        assert!(!html.contains("http://") && !html.contains("https://") && !html.contains("src="));
        assert_eq!(html.matches("class=\"cell hit\"").count(), 1);
    }
}
