//! A check as a JUnit report: one test case for each table, for tools that show tests.

use super::report::{CheckReport, CheckedTable, Sample, Verdict};
use std::fmt::Write;

/// The report as an XML document.
pub(crate) fn junit(report: &CheckReport) -> String {
    let count = |verdicts: &[Verdict]| {
        let tables = report.tables.iter();
        tables
            .filter(|table| verdicts.contains(&table.verdict))
            .count()
    };
    let counts = format!(
        "tests=\"{}\" failures=\"{}\" errors=\"{}\" skipped=\"{}\" time=\"{}\"",
        report.tables.len(),
        count(&[Verdict::Different]),
        count(&[Verdict::Undecided, Verdict::Failed]),
        count(&[Verdict::Skipped]),
        seconds(report.duration_ms)
    );
    let name = escaped(&report.pipeline);
    let mut xml = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"syncset check\" {counts}>\n  \
         <testsuite name=\"{name}\" {counts}>\n"
    );
    for table in &report.tables {
        xml.push_str(&case(&name, table));
    }
    xml.push_str("  </testsuite>\n</testsuites>\n");
    xml
}

fn case(suite: &str, table: &CheckedTable) -> String {
    let mut xml = format!(
        "    <testcase classname=\"{suite}\" name=\"{}\" time=\"{}\">\n",
        escaped(&table.table),
        seconds(table.duration_ms)
    );
    let message = escaped(&message(table));
    let (tag, kind) = match table.verdict {
        Verdict::Equal => ("", ""),
        Verdict::Different => ("failure", "different"),
        Verdict::Undecided => ("error", "undecided"),
        Verdict::Failed => ("error", "failed"),
        Verdict::Skipped => ("skipped", ""),
        Verdict::Unfinished => ("error", "unfinished"),
    };
    match (tag, kind) {
        ("", _) => {}
        ("skipped", _) => writeln!(xml, "      <skipped message=\"{message}\"/>").expect(MEMORY),
        (tag, kind) => {
            let body = escaped(&body(table));
            let element = format!("<{tag} type=\"{kind}\" message=\"{message}\">{body}</{tag}>");
            writeln!(xml, "      {element}").expect(MEMORY);
        }
    }
    let notes = table.notes.join("\n");
    if !notes.is_empty() && table.verdict != Verdict::Skipped {
        writeln!(xml, "      <system-out>{}</system-out>", escaped(&notes)).expect(MEMORY);
    }
    xml.push_str("    </testcase>\n");
    xml
}

const MEMORY: &str = "writing into memory cannot fail";

fn message(table: &CheckedTable) -> String {
    if let Some(failure) = &table.failure {
        return failure.message.clone();
    }
    if table.verdict == Verdict::Skipped {
        return table.notes.join("; ");
    }
    let least = if table.complete { "" } else { "at least " };
    format!(
        "{least}{} different, {} missing at the target, {} only at the target, {} undecided \
         ({} rows at the source, {} at the target)",
        table.different,
        table.missing,
        table.extra,
        table.undecided,
        table.rows_source,
        table.rows_target
    )
}

fn body(table: &CheckedTable) -> String {
    if let Some(failure) = &table.failure {
        let causes = failure
            .causes
            .iter()
            .map(|cause| format!("cause: {cause}\n"));
        let hint = failure.hint.iter().map(|hint| format!("hint: {hint}\n"));
        return causes.chain(hint).collect();
    }
    let samples = table.samples.iter().map(Sample::line);
    samples.collect::<Vec<_>>().join("\n")
}

fn seconds(millis: u64) -> String {
    format!("{}.{:03}", millis / 1_000, millis % 1_000)
}

/// A text within XML 1.0, which has no name for most control characters.
fn escaped(text: &str) -> String {
    let mut xml = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => xml.push_str("&amp;"),
            '<' => xml.push_str("&lt;"),
            '>' => xml.push_str("&gt;"),
            '"' => xml.push_str("&quot;"),
            '\n' => xml.push_str("&#10;"),
            '\t' => xml.push_str("&#9;"),
            '\r' => xml.push_str("&#13;"),
            '\u{fffe}' | '\u{ffff}' => xml.push('\u{fffd}'),
            character if character < ' ' => xml.push('\u{fffd}'),
            character => xml.push(character),
        }
    }
    xml
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::report::Kind;
    use crate::exit_code;
    use crate::failure::Failure;

    #[test]
    fn each_table_is_a_case_with_its_counts() {
        let mut different = CheckedTable::new("public.\"a<b>\"", "t");
        (different.different, different.missing) = (2, 1);
        (different.rows_source, different.rows_target) = (120, 119);
        different.duration_ms = 1_002;
        different.notes.push("1 delete waits for the guard".into());
        different.samples.push(Sample {
            kind: Kind::Different,
            key: vec![Some("a\u{1}\n".into()), None],
            columns: vec!["amount".into()],
            undecided: false,
        });
        different.settle();
        let mut undecided = CheckedTable::new("u", "u");
        undecided.undecided = 3;
        undecided.settle();
        let mut failed = CheckedTable::new("f", "f");
        failed.fail(Failure::new(exit_code::RETRY, "it was never loaded").with_hint("run it"));
        let mut skipped = CheckedTable::new("s", "s");
        skipped.skip("it is appended to");
        let report = CheckReport {
            pipeline: "crm & co".into(),
            exit_code: 4,
            duration_ms: 12_345,
            tables: vec![
                CheckedTable::new("e", "e"),
                different,
                undecided,
                failed,
                skipped,
            ],
        };

        insta::assert_snapshot!(junit(&report), @r#"
        <?xml version="1.0" encoding="UTF-8"?>
        <testsuites name="syncset check" tests="5" failures="1" errors="2" skipped="1" time="12.345">
          <testsuite name="crm &amp; co" tests="5" failures="1" errors="2" skipped="1" time="12.345">
            <testcase classname="crm &amp; co" name="e" time="0.000">
            </testcase>
            <testcase classname="crm &amp; co" name="public.&quot;a&lt;b&gt;&quot;" time="1.002">
              <failure type="different" message="2 different, 1 missing at the target, 0 only at the target, 0 undecided (120 rows at the source, 119 at the target)">different [&quot;a\u{1}\n&quot;, null]: amount</failure>
              <system-out>1 delete waits for the guard</system-out>
            </testcase>
            <testcase classname="crm &amp; co" name="u" time="0.000">
              <error type="undecided" message="0 different, 0 missing at the target, 0 only at the target, 3 undecided (0 rows at the source, 0 at the target)"></error>
            </testcase>
            <testcase classname="crm &amp; co" name="f" time="0.000">
              <error type="failed" message="it was never loaded">hint: run it&#10;</error>
            </testcase>
            <testcase classname="crm &amp; co" name="s" time="0.000">
              <skipped message="it is appended to"/>
            </testcase>
          </testsuite>
        </testsuites>
        "#);
    }
}
