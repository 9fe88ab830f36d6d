//! Every type of PostgreSQL, read from one database and written into another.

use crate::postgres_lab::{lease_of, load_plan, open, open_ready, state};
use futures::StreamExt;
use kit::{Database, postgres};
use std::sync::Arc;
use syncset_connector::{
    Capture, Digest, Filter, KeyRange, LoadPlan, MadeTable, Marks, SnapshotRequest, Store,
    TableName, TableRead, TargetColumn, TargetTable, UnitStart, UnitStep,
};

/// Types and tables of the source. Each row holds an edge of its types.
const SOURCE: &str = r#"
CREATE EXTENSION hstore; CREATE EXTENSION citext; CREATE SCHEMA "My.Types";
CREATE TYPE "My.Types"."Mood" AS ENUM ('ok', 'so so', 'it''s');
CREATE DOMAIN code AS varchar(5) CHECK (value <> 'never');
CREATE DOMAIN outer_code AS code;
CREATE TYPE pair AS (a integer, "B" "My.Types"."Mood");
CREATE TABLE t (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  "B.ool" boolean, i2 smallint, i4 integer, i8 bigint, o oid, f4 real, f8 double precision,
  n numeric, n122 numeric(12,2), n500 numeric(50,10), neg numeric(5,-2), m money,
  te text, vc varchar(10), ch char(5), q "char", na name, ct citext,
  by bytea, u uuid, js json, jb jsonb, x xml, jp jsonpath,
  d date, ti time, tz timetz, ts timestamp, tsz timestamptz, ts3 timestamp(3), iv interval,
  bi bit(3), vb varbit(9), ip inet, ci cidr, mac macaddr,
  p point, po polygon, tv tsvector, tq tsquery, h hstore,
  e "My.Types"."Mood", ea "My.Types"."Mood"[], c code, oc outer_code, pr pair, pra pair[],
  r int4range, rd daterange, mr int4multirange, ia integer[], ta text[], na2 numeric(6,2)[],
  g integer GENERATED ALWAYS AS (i2 * 2) STORED);
INSERT INTO t ("B.ool", i2, i4, i8, o, f4, f8, n, n122, n500, neg, m, te, vc, ch, q, na, ct, by, u,
  js, jb, x, jp, d, ti, tz, ts, tsz, ts3, iv, bi, vb, ip, ci, mac, p, po, tv, tq, h, e, ea, c, oc,
  pr, pra, r, rd, mr, ia, ta, na2) VALUES
 (true, -32768, 2147483647, -9223372036854775808, 4294967295, 'NaN', '-Infinity', 'NaN', 'NaN',
  123456789012345678901234567890.0123456789, 12345, '-92233720368547758.08', E'ä\t\\N"''😀', 'ab ',
  'ab', 'x', 'name', 'MiXed', '\x00ff', '6f9619ff-8b86-d011-b42d-00c04fc964ff',
  '{"b": 1,  "a": 2, "a": 3}', '{"b": 1.50, "a": null}', '<a>1</a>', '$.a[*] ? (@ > 1)',
  'infinity', '24:00:00', '23:59:59.999999+14', 'infinity', '-infinity', '2026-01-01 00:00:00.123',
  '-1 mons +2 days -03:04:05.678', B'101', B'', '10.0.0.1/8', '10.0.0.0/8', '08:00:2b:01:02:03',
  '(1.5,-2)', '((0,0),(1,1),(1,0))', '''cat'':3A ''fat'':2', 'fat & !rat', '"a b"=>NULL, x=>"y"',
  'it''s', '{ok,"so so"}', 'abc', 'xyz', '(1,"it''s")', ARRAY['(,ok)'::pair], '[1,5)', 'empty',
  '{[1,3),[7,9)}', '[2:3]={7,NULL}', '{"NULL",NULL,"a,b","\"",""}', '{1.50,NaN}'),
 (false, 32767, -2147483648, 9223372036854775807, 0, '-0', '1e-308', '-Infinity', -9999999999.99,
  0, -100, '0', '', '', '', '', '', '', '', '00000000-0000-0000-0000-000000000000', 'null',
  '"\u00e4"', '', '$', '4713-01-01 BC', '00:00:00', '00:00:00-14', '4713-01-01 00:00:00 BC',
  '294276-12-31 23:59:59.999999+00', 'infinity', '178000000 years', B'000', B'111111111', '::1',
  '::/0', '00:00:00:00:00:00', '(NaN,Infinity)', '((0,0))', '', '', '', 'ok', '{}', '', '', '(,)',
  '{}', '(,)', '[2026-01-01,)', '{}', '{}', '{{a,b},{c,d}}', '{}'),
 (NULL, NULL, NULL, NULL, NULL, NULL, NULL, 0.000000000000000000000000000000000000000000000001,
  0.00, 99, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
  '5874897-12-31', NULL, NULL, '294276-12-31 23:59:59.999999', '4713-01-01 00:00:00+00 BC', NULL,
  NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
  NULL, NULL, NULL, NULL, NULL, NULL, NULL)"#;

async fn read_of(store: &dyn Store) -> TableRead {
    let described = store
        .describe(&[TableName::in_schema("public", "t")])
        .await
        .expect("the table can be described");
    let description = described
        .into_iter()
        .next()
        .flatten()
        .expect("the table exists");
    TableRead {
        columns: description
            .columns
            .iter()
            .map(|column| column.name.clone())
            .collect(),
        key: vec!["id".into()],
        description: Arc::new(description),
        filter: Filter::All,
        capture: Capture::Full,
        selection: "all".into(),
        all_written: true,
        batch_bytes: 1 << 20,
    }
}

fn target_of(read: &TableRead) -> TargetTable {
    TargetTable {
        name: TableName::in_schema("copied", "T"),
        columns: read
            .read_columns()
            .into_iter()
            .map(|column| TargetColumn::of(column, &column.name))
            .collect(),
        key: read.key.clone(),
        marks: Marks::default(),
    }
}

/// Text form of every row, which tells apart all images of these types.
async fn rows(database: &Database, table: &str) -> Vec<Vec<Option<String>>> {
    database
        .rows(&format!(
            "SET TimeZone = 'UTC'; SET extra_float_digits = 3;
             SELECT * FROM {table} ORDER BY id"
        ))
        .await
}

#[tokio::test]
async fn every_type_arrives_as_it_was_in_a_table_we_create() {
    let from = postgres().await.database("types_from").await;
    from.execute(SOURCE).await;
    let to = postgres().await.database("types_to").await;
    to.execute("CREATE EXTENSION hstore; CREATE EXTENSION citext")
        .await;
    let source = open(&from.url()).await;
    let read = Arc::new(read_of(&*source).await);
    let table = target_of(&read);
    let store = open_ready(&to.url()).await;
    let target = store.target().expect("PostgreSQL is written");
    let lease = lease_of(&*store, "a test").await;
    target
        .create(&lease, &[(&table, MadeTable::default())])
        .await
        .expect("the table is created");
    let load = LoadPlan {
        target: table.name.clone(),
        boundaries: Vec::new(),
        ..load_plan("public.t", "t")
    };
    state(&*store)
        .begin_load(&lease, &[load])
        .await
        .expect("a load begins");

    let request = SnapshotRequest {
        read: Arc::clone(&read),
        from: None,
    };
    let mut snapshot = source
        .source()
        .expect("PostgreSQL is read")
        .open_snapshot(&[request], None)
        .await
        .expect("a snapshot");
    let start = UnitStart {
        lease,
        step: UnitStep::Chunk {
            stream: "public.t".into(),
            index: 0,
            version: 1,
        },
        into_empty: true,
        careful: false,
    };
    let mut unit = target.begin(start).await.expect("the unit is ours");
    let mut batches = snapshot
        .read_chunk(0, &KeyRange::all())
        .await
        .expect("rows are read");
    while let Some(batch) = batches.next().await {
        let batch = batch.expect("rows are read");
        unit.upsert(&table, batch).await.expect("rows are written");
    }
    drop(batches);
    let source_keys = snapshot
        .key_digest(0, Digest::Hash)
        .await
        .expect("a digest");
    unit.commit(None).await.expect("the unit commits");

    let status = target
        .status(std::slice::from_ref(&table))
        .await
        .expect("a status");
    assert_eq!(status[0].differences, []);
    let there = rows(&from, "t").await;
    let here = rows(&to, "copied.\"T\"").await;
    for (row, (there, here)) in there.iter().zip(&here).enumerate() {
        for (column, (there, here)) in table.columns.iter().zip(there.iter().zip(here)) {
            assert_eq!(here, there, "row {row}, column {}", column.name);
        }
    }
    assert_eq!((there.len(), here.len()), (3, 3));
    let target_keys = target
        .key_digest(&table, Digest::Hash)
        .await
        .expect("a digest");
    assert_eq!(target_keys, source_keys);
}
