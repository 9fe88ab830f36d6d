//! What became of tables, states and clocks since the last run.

use crate::mistakes_lab::Lab;
use crate::told::Told;
use kit::Project;

#[tokio::test]
async fn what_changed_behind_our_back_is_told_and_loses_nothing() {
    let lab = Lab::new("behind").await;
    let mut told = Told::default();
    let run = "pipeline run p";
    lab.tables("public.orders: { columns: [id, status, amount], capture: xmin }");
    lab.project.syncset(run.split(' ')).await.expect_success();

    lab.target
        .execute("ALTER TABLE orders ALTER status TYPE int USING 1")
        .await;
    lab.said(&mut told, "type changed at the target", run).await;
    lab.target
        .execute("ALTER TABLE orders ALTER status TYPE text")
        .await;
    lab.source
        .execute("ALTER TABLE orders RENAME status TO state")
        .await;
    lab.said(&mut told, "column renamed at the source", run)
        .await;
    lab.source
        .execute("ALTER TABLE orders RENAME state TO status; ALTER TABLE orders RENAME TO bills")
        .await;
    lab.said(&mut told, "table renamed at the source", run)
        .await;
    lab.source
        .execute("ALTER TABLE bills RENAME TO orders")
        .await;
    lab.project.pipeline(
        "second",
        "version: 1\nsource: source\ntarget: target\ntables: { public.orders: { columns: [id, status, amount] } }\n",
    );
    lab.said(
        &mut told,
        "target table of another pipeline",
        "pipeline run second",
    )
    .await;
    std::fs::remove_file(lab.project.path().join("pipelines/p.yaml")).unwrap();
    lab.said(
        &mut told,
        "target table of a pipeline that was deleted",
        "pipeline run second",
    )
    .await;
    lab.tables("public.orders: { columns: [id, status, amount], capture: xmin }");
    let stop = [("SYNCSET_FAIL_POINT", "load.begun=stop")];
    let words = ["pipeline", "run", "p", "--full-refresh"];
    let frozen = lab.project.spawn_with(words, &stop);
    assert!(frozen.frozen().await);
    lab.said(&mut told, "run while another one runs", run).await;
    lab.said(&mut told, "reset while a run runs", "pipeline reset p")
        .await;
    frozen.kill9();
    drop(frozen);
    lab.target
        .execute("UPDATE _syncset.meta SET version = 99")
        .await;
    lab.said(&mut told, "state of a newer syncset", run).await;
    lab.said(
        &mut told,
        "look at the state of a newer syncset",
        "pipeline status p",
    )
    .await;
    lab.target.execute("DELETE FROM _syncset.meta").await;
    lab.said(&mut told, "state damaged by hand", run).await;
    lab.target.execute("DROP SCHEMA _syncset CASCADE").await;
    lab.said(&mut told, "state dropped by hand", run).await;
    lab.said(&mut told, "history that is gone", "pipeline history p")
        .await;
    lab.said(
        &mut told,
        "table that was never loaded",
        "pipeline reset p --tables public.orders",
    )
    .await;

    insta::assert_snapshot!(told.text(), @r#"
    # type changed at the target
      exit 5
    stdout:
    public.orders  failed      0 read, 0 written, 0 deleted, [time]
    p: failed after [time], exit code 5
    error: table `public.orders`: column `status` of `public.orders` is integer at the target and needs to be text
    hint: at the target: ALTER TABLE "public"."orders" ALTER COLUMN "status" TYPE text
    # column renamed at the source
      exit 5
    stdout:
    public.orders  failed      0 read, 0 written, 0 deleted, [time]
    p: failed after [time], exit code 5
    error: table `public.orders`: the source renamed column `status` to `state`, and `columns` names it (pipelines/p.yaml:5:34)
    hint: write `state` there
    # table renamed at the source
      exit 5
    error: table `public.orders`: the source renamed it to `public.bills` (pipelines/p.yaml:5:3)
    hint: write `public.bills: { to: "public.orders" }` there, with the settings that it has; its rows are compared and stay
    # target table of another pipeline
      exit 8
    stdout:
    public.orders  failed      0 read, 0 written, 0 deleted, [time]
    second: failed after [time], exit code 8
    error: table `public.orders`: target table `public.orders` belongs to pipeline `default/p`
    hint: write to another table with `to:`; two pipelines never write one table
    # target table of a pipeline that was deleted
      exit 8
    stdout:
    public.orders  failed      0 read, 0 written, 0 deleted, [time]
    second: failed after [time], exit code 8
    error: table `public.orders`: target table `public.orders` belongs to pipeline `default/p`
    hint: `pipelines/p.yaml` is gone: if it was renamed, or this one takes its place, `syncset pipeline adopt p second`; otherwise write to another table with `to:`
    # run while another one runs
      exit 7
    error: pipeline `default/p` is being run by [host] pid [pid] (run [run])
    hint: its lease lasts [time] unless it is renewed; wait with `--on-lock wait=5m`, or end it with `pipeline unlock`
    # reset while a run runs
      exit 7
    error: pipeline `default/p` is being run by [host] pid [pid] (run [run])
    hint: its lease lasts [time] unless it is renewed; wait with `--on-lock wait=5m`, or end it with `pipeline unlock`
    # state of a newer syncset
      exit 2
    error: the state in schema `_syncset` has version 99, this syncset knows [version]
    hint: use the newest syncset that ever wrote to this database, or a later one
    # look at the state of a newer syncset
      exit 2
    error: the state in schema `_syncset` has version 99, this syncset knows [version]
    hint: use the newest syncset that ever wrote to this database, or a later one
    # state damaged by hand
      exit 1
    error: table `_syncset.meta` does not hold one version number
    hint: restore the schema `_syncset` from a backup, or drop it: the next runs load every table again
    # state dropped by hand
      exit 8
    stdout:
    public.orders  failed      0 read, 0 written, 0 deleted, [time]
    p: failed after [time], exit code 8
    error: table `public.orders`: target table `public.orders` holds rows that syncset did not write
    hint: write to another table with `to:`, or empty this one; nothing was changed
    # history that is gone
      exit 0
    stdout:
    run [run] of [instant]: exit 8 in [time], 0 rows written, 0 deleted
      error: table `public.orders`: target table `public.orders` holds rows that syncset did not write
    # table that was never loaded
      exit 2
    error: nothing is stored of table `public.orders`
    hint: no table of this pipeline was ever loaded into this target
    "#);
    assert_eq!(lab.target.value("SELECT count(*) FROM orders").await, "20");
}

#[tokio::test]
async fn copies_of_a_project_cannot_spoil_each_other() {
    let lab = Lab::new("copies").await;
    let other = Lab::new("copies_other").await;
    let run = ["pipeline", "run", "p"];
    let xmin = "version: 1\nsource: source\ntarget: target\ntables: { public.orders: { capture: xmin } }\n";
    lab.project.pipeline("p", xmin);
    lab.project.syncset(run).await.expect_success();
    // The same folder once more, and once with another target.
    let twin = Project::between(&lab.source.url(), &lab.target.url());
    twin.pipeline("p", xmin);
    let elsewhere = Project::between(&lab.source.url(), &other.target.url());
    elsewhere.pipeline("p", xmin);

    let again = twin.syncset(run).await;
    let independent = elsewhere.syncset(run).await;

    again.expect_success();
    independent.expect_success();
    assert_eq!(lab.target.value("SELECT count(*) FROM orders").await, "20");
    assert_eq!(
        other.target.value("SELECT count(*) FROM orders").await,
        "20"
    );
}

#[tokio::test]
async fn clock_that_went_back_reads_again_and_says_so() {
    let lab = Lab::new("clock").await;
    lab.tables(
        "public.orders: { capture: { mode: cursor, column: updated_at, written_by: database } }",
    );
    let run = ["pipeline", "run", "p"];
    lab.project.syncset(run).await.expect_success();
    let later = "UPDATE _syncset.watermark SET position = jsonb_set(position::jsonb, '{bound,cursor}', \
         to_jsonb((position::jsonb #>> '{bound,cursor}')::bigint + 86400000000))::json";
    lab.target.execute(later).await;
    lab.source
        .execute("INSERT INTO orders (id, status) VALUES (21, 'late')")
        .await;

    let output = lab.project.syncset(run).await;

    assert!(output.stderr.contains("clock"), "{}", output.stderr);
    output.expect_success();
    assert_eq!(lab.target.value("SELECT count(*) FROM orders").await, "21");
}
