//! The verbs around runs, with the state in each engine.

use super::pair::{Pair, changes};
use kit::{Engine, Kind, Project, SampleTable, text_row};

for_every_engine!(
    verbs_agree_about_what_became_of_runs,
    lock_keeps_others_out_until_it_is_taken_away,
);

fn table() -> SampleTable {
    SampleTable::new("t", &[("id", Kind::Int), ("v", Kind::Text)], &["id"])
}

/// A pair whose source is quick, since nothing here is about sources.
async fn pair_into(target: Engine) -> Pair {
    let pair = Pair::new(Engine::Sqlite, target).await;
    let rows = [["1", "one"], ["2", "two"]].map(text_row);
    pair.source.fill(&table(), &rows).await;
    pair.pipeline("  t: { capture: full, to: t }");
    pair
}

async fn verbs_agree_about_what_became_of_runs(target: Engine) {
    let pair = pair_into(target).await;

    let dry = pair.told("pipeline run p --dry-run").await;
    let never = pair.syncset("pipeline status p --max-age 1h").await;
    assert_eq!(changes(&dry), (2, 0));
    assert_eq!(never.code, 4, "{}", never.stdout);
    assert_eq!(pair.run().await, (2, 0));
    let fresh = pair.told("pipeline status p --max-age 1h").await;
    assert_eq!(fresh["runs"].as_array().map(Vec::len), Some(1), "{fresh}");
    pair.told("pipeline reset p").await;
    let planned = pair.syncset("pipeline plan p --detailed-exitcode").await;
    assert_eq!(planned.code, 4, "it is loaded again: {}", planned.stdout);
    let again = pair.told("pipeline run p").await;
    assert_eq!(changes(&again), (0, 0), "rows that are there stay");
    let history = pair.told("pipeline history p").await;
    assert_eq!(
        history["runs"].as_array().map(Vec::len),
        Some(2),
        "{history}"
    );
    assert_eq!(history["runs"][1]["rows_written"], 2);

    let pipelines = pair.project.path().join("pipelines");
    std::fs::rename(pipelines.join("p.yaml"), pipelines.join("q.yaml")).expect("a file is renamed");
    let taken = pair.syncset("pipeline run q").await;
    assert_eq!(taken.code, 8, "{}", taken.stdout);
    assert!(taken.stdout.contains("adopt"), "{}", taken.stdout);
    pair.told("pipeline adopt p q").await;
    pair.source
        .insert(&table(), &[text_row(["3", "three"])])
        .await;
    assert_eq!(changes(&pair.told("pipeline run q").await), (1, 0));

    let stranger = Project::new(&format!(
        "version: 1\nproject: other\nconnections:\n  source: \"{}\"\n  target: \"{}\"\n",
        pair.source.url(),
        pair.target.url()
    ));
    stranger.pipeline(
        "p",
        "version: 1\nsource: source\ntarget: target\ntables:\n  t: { to: t }\n",
    );
    let stranger = stranger
        .syncset(["pipeline", "run", "p", "--output", "json"])
        .await;
    assert_eq!(stranger.code, 8, "{}", stranger.stdout);
}

async fn lock_keeps_others_out_until_it_is_taken_away(target: Engine) {
    let pair = pair_into(target).await;
    // Between its units, where no engine holds a lock that nobody can take from a stopped process.
    let stop = [("SYNCSET_FAIL_POINT", "load.begun=stop")];
    let first = pair.project.spawn_with(["pipeline", "run", "p"], &stop);
    assert!(first.frozen().await, "{}", first.stderr_so_far());

    let refused = pair.syncset("pipeline run p").await;
    let skipped = pair.told("pipeline run p --on-lock skip").await;
    assert_eq!(refused.code, 7, "{}", refused.stdout);
    assert_eq!(skipped["skipped"], true);
    pair.told("pipeline unlock p").await;
    assert_eq!(pair.run().await, (2, 0));
    pair.source
        .update(&table(), ("v", Some("late")), ("id", "1"))
        .await;
    let before = pair.target.content(&table()).await;
    first.cont();
    let first = first.wait().await;

    assert_eq!(first.code, 7, "{}{}", first.stdout, first.stderr);
    assert_eq!(pair.target.content(&table()).await, before);
    assert_eq!(pair.run().await, (1, 0));
}
