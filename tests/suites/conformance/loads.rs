//! First loads of rows that are many, wide and large, cut short in every way there is.

use super::pair::{Pair, RUN, changes};
use kit::{Kind, SampleTable, TextRow, text_row};

for_every_pair!(load_goes_on_however_it_ended, large_and_wide_rows_arrive);

/// Rows of a table of several chunks, each of which has [`TEXT_BYTES`].
const ROW_COUNT: u32 = 6_000;

/// Short enough that no store compresses it, so that sizes in catalogues mean something.
const TEXT_BYTES: usize = 1_700;

/// Which row the target refuses; it lies in the last chunk.
const BAD_ROW: u32 = 5_900;

async fn load_goes_on_however_it_ended(pair: Pair) {
    let columns = [
        ("id", Kind::BigInt),
        ("state", Kind::Text),
        ("v", Kind::Text),
        ("updated_at", Kind::Stamp),
    ];
    let table = SampleTable::new("t", &columns, &["id"]);
    let row = |id: u32, state: &str| {
        text_row([
            &id.to_string(),
            state,
            &format!("{id:08}").repeat(TEXT_BYTES / 8),
        ])
    };
    let stamped = |id: u32| -> TextRow {
        let state = if id == BAD_ROW { "bad" } else { "good" };
        let mut row = row(id, state);
        // Too old for any window: chunks alone bring them.
        row.push(Some("2024-01-01 00:00:00".to_owned()));
        row
    };
    let rows: Vec<_> = (1..=ROW_COUNT).map(stamped).collect();
    pair.source.fill(&table, &rows).await;
    pair.source.analyze(&table).await;
    pair.target.create(&table_of_target(&columns)).await;
    pair.pipeline(&format!(
        "  t: {{ to: t, columns: [id, state, v], capture: {} }}",
        pair.capture_by("updated_at")
    ));

    pair.killed_at("chunk.batch:3").await;
    let chunks = pair.target.state_rows("chunk").await;
    assert!(
        chunks.parse::<u32>().is_ok_and(|it| it > 1),
        "{chunks} chunks"
    );
    let stop = [("SYNCSET_FAIL_POINT", "unit.before_commit=stop")];
    let asked = pair.project.spawn_with(RUN.split(' '), &stop);
    assert!(asked.frozen().await, "{}", asked.stderr_so_far());
    asked.terminate();
    asked.cont();
    let asked = asked.wait().await;
    assert_eq!(asked.code, 143, "{}", asked.stderr);
    let refused = pair.syncset(RUN).await;
    assert_eq!(refused.code, 1, "{}", refused.stdout);
    assert!(
        refused.stdout.contains(&BAD_ROW.to_string()),
        "{}",
        refused.stdout
    );

    // What changes meanwhile, the window after the load brings, and what is gone is looked for.
    let done = pair.target.count(&table).await;
    assert!(done > 0 && done < u64::from(ROW_COUNT), "{done} rows");
    let mend = ("state", Some("good"));
    pair.source
        .update(&table, mend, ("id", &BAD_ROW.to_string()))
        .await;
    pair.source
        .update(&table, ("state", Some("new")), ("id", "1"))
        .await;
    pair.source.delete(&table, ("id", "2")).await;
    let rest = pair.run().await;

    let missing = u64::from(ROW_COUNT) - done;
    assert_eq!(rest, (missing + 1, 1), "what was recorded is done");
    let mut rows: Vec<_> = (1..=ROW_COUNT).map(|id| row(id, "good")).collect();
    rows[0][1] = Some("new".to_owned());
    rows.remove(1);
    pair.holds(&table, &rows).await;
    assert_eq!(pair.run().await, (0, 0));
}

/// The table as somebody else made it.
fn table_of_target(columns: &[(&str, Kind)]) -> SampleTable {
    SampleTable::new("t", &columns[..3], &["id"]).with_check("state <> 'bad'")
}

/// Columns of the widest table.
const COLUMN_COUNT: usize = 400;

/// Bytes of the largest text: more than a batch of `--memory 4MiB` holds.
const LARGE_TEXT: usize = 2 << 20;

async fn large_and_wide_rows_arrive(pair: Pair) {
    let names: Vec<_> = (0..COLUMN_COUNT).map(|at| format!("c{at}")).collect();
    let columns: Vec<_> = names
        .iter()
        .map(|name| (name.as_str(), Kind::Int))
        .collect();
    let wide = SampleTable::new("wide", &columns, &["c0"]);
    let line =
        |at: usize| (0..COLUMN_COUNT).map(move |column| Some((at * column + at).to_string()));
    let mut wide_rows: Vec<TextRow> = (1..=40).map(|at| line(at).collect()).collect();
    wide_rows[7][1..].fill(None);
    let columns = [("id", Kind::Int), ("v", Kind::Text), ("b", Kind::Bytes)];
    let large = SampleTable::new("large", &columns, &["id"]);
    let row = |id: usize| {
        text_row([
            &id.to_string(),
            &"xä\n".repeat(LARGE_TEXT / id / 4),
            &"00ff".repeat(LARGE_TEXT / id / 16),
        ])
    };
    let mut large_rows: Vec<_> = (1..=3).map(row).collect();
    large_rows.push(text_row(["4", "", ""]));
    pair.source.fill(&wide, &wide_rows).await;
    pair.source.fill(&large, &large_rows).await;
    pair.pipeline("  wide: { capture: full, to: wide }\n  large: { capture: full, to: large }");

    let first = changes(&pair.told("pipeline run p --memory 4MiB").await);
    let second = pair.run().await;

    assert_eq!(first, (44, 0));
    assert_eq!(second, (0, 0));
    pair.holds(&wide, &wide_rows).await;
    pair.holds(&large, &large_rows).await;
}
