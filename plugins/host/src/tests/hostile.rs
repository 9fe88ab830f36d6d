//! Guests that do harm: each ends in a sentence within its limit, and the next call works.

use super::wat::{LOG, Load, Wat, identity, load_stoppable, words};
use crate::lines::hold;
use crate::{Config, Interrupt, Limits, PluginError, PluginTransform, Scope, Wasi};
use arrow_array::{Int64Array, RecordBatch};
use arrow_schema::{DataType, Field, Schema};
use std::sync::Arc;
use std::time::{Duration, Instant};

const LOOP: &str = "(loop $again (br $again)) (unreachable)";

fn limits() -> Limits {
    Limits {
        memory_bytes: 16 * 1024 * 1024,
        batch_timeout: Duration::from_millis(200),
        fuel: None,
    }
}

fn rows(values: Vec<i64>) -> RecordBatch {
    let schema = Schema::new(vec![Field::new("n", DataType::Int64, true)]);
    let column = Arc::new(Int64Array::from(values));
    RecordBatch::try_new(Arc::new(schema), vec![column]).expect("one column")
}

fn bound(guest: &Wat, limits: Limits) -> PluginTransform {
    let plugin = guest.load_with(limits).expect("it can be loaded");
    let schema = rows(vec![]).schema();
    PluginTransform::bind(&plugin, &Config::default(), &schema, Scope::default())
        .expect("it can be bound")
}

fn failure(transform: &PluginTransform, rows: &RecordBatch) -> (String, Option<usize>) {
    match transform.apply(rows).expect_err("it fails") {
        PluginError::Failed { fault, .. } => (fault.to_string(), fault.row),
        other => panic!("{other}"),
    }
}

#[test]
fn endless_loops_end_when_their_time_is_up() {
    for function in ["describe", "configure", "bind", "transform"] {
        let mut guest = Wat::transform();
        guest.replace(function, LOOP.to_owned());
        let began = Instant::now();

        let said = match guest.load_with(limits()) {
            Err(error) => error.to_string(),
            Ok(plugin) => {
                let one = rows(vec![1]);
                let scope = Scope::default();
                match PluginTransform::bind(&plugin, &Config::default(), &one.schema(), scope) {
                    Err(error) => error.to_string(),
                    Ok(transform) => failure(&transform, &one).0,
                }
            }
        };

        assert!(said.contains("a call took longer than 200ms"), "{said}");
        assert!(began.elapsed() < Duration::from_secs(20), "{function}");
    }
}

#[test]
fn fuel_ends_a_call_at_the_same_place_each_time() {
    let mut guest = Wat::transform();
    guest.replace("transform", LOOP.to_owned());
    let fuel = Limits {
        fuel: Some(100_000),
        batch_timeout: Duration::from_secs(60),
        ..limits()
    };

    let (said, row) = failure(&bound(&guest, fuel), &rows(vec![1]));

    assert!(said.contains("more than 100000 units of fuel"), "{said}");
    assert_eq!(row, Some(0));
}

#[test]
fn memory_beyond_the_limit_is_refused_with_its_size() {
    let mut guest = Wat::transform();
    // 10 GB, in pages; no guest of 32 bits has so much, and this one asks all the same.
    let grow = format!("(drop (memory.grow (i32.const 60000))) {}", identity());
    guest.replace("transform", grow);

    let (said, _) = failure(&bound(&guest, limits()), &rows(vec![1]));

    assert!(said.contains("more than 16 MiB of memory"), "{said}");
}

#[test]
fn one_buffer_returned_a_thousand_times_is_not_copied_a_thousand_times() {
    let mut guest = Wat::transform();
    let page = guest.put(&[0; 65536]);
    let buffers: Vec<usize> = (0..4000).flat_map(|_| [page, 65536]).collect();
    let buffers = guest.put_words(&buffers);
    let array = guest.put_words(&[1, 0, buffers, 4000]);
    guest.replace("transform", words(&[0, 1, array, 1, 0]));

    let (said, _) = failure(&bound(&guest, limits()), &rows(vec![1]));

    assert!(said.contains("it returned more than the 16 MiB"), "{said}");
}

#[test]
fn deep_recursion_ends() {
    let mut guest = Wat::transform();
    guest.imports = "(func $deep (result i32) (i32.add (call $deep) (i32.const 1)))".to_owned();
    guest.replace("transform", "(call $deep)".to_owned());

    let (said, _) = failure(&bound(&guest, limits()), &rows(vec![1]));

    assert!(said.contains("deeper than its stack"), "{said}");
}

/// Stops at each value of 13.
fn superstitious() -> Wat {
    let mut guest = Wat::transform();
    let look = format!(
        "(local $at i32) (local $left i32)
         (local.set $at (i32.load offset=8 (i32.add (i32.load offset=8 (local.get 6)) (i32.const 0))))
         (local.set $left (local.get 5))
         (block $done (loop $next
           (br_if $done (i32.eqz (local.get $left)))
           (if (i64.eq (i64.load (local.get $at)) (i64.const 13)) (then (unreachable)))
           (local.set $at (i32.add (local.get $at) (i32.const 8)))
           (local.set $left (i32.sub (local.get $left) (i32.const 1)))
           (br $next)))
         {}",
        identity()
    );
    guest.replace("transform", look);
    guest
}

#[test]
fn row_that_stops_a_guest_is_found_and_the_next_batch_works() {
    let transform = bound(&superstitious(), limits());
    let mut values: Vec<i64> = (100..200).collect();
    values[71] = 13;

    let (said, row) = failure(&transform, &rows(values));

    assert_eq!(row, Some(71), "{said}");
    assert!(said.contains("it stopped: "), "{said}");
    assert!(said.contains("transform"), "no backtrace: {said}");
    let fine = rows(vec![1, 2, 3]);
    let returned = transform.apply(&fine).expect("a fresh instance works");
    assert_eq!(returned.columns, fine.columns());
}

#[test]
fn instance_that_stopped_is_not_used_again() {
    // The first call of an instance works, the second one finds its mark and stops for good.
    let mut guest = Wat::transform();
    let mark = format!(
        "(if (i32.load (i32.const 32)) (then (unreachable)))
         (i32.store (i32.const 32) (i32.const 1)) {}",
        identity()
    );
    guest.replace("transform", mark);
    let transform = bound(&guest, limits());
    let one = rows(vec![1]);

    transform.apply(&one).expect("a fresh instance works");
    let (_, row) = failure(&transform, &one);

    // The row works with a fresh one, so it is not to blame.
    assert_eq!(row, Some(0));
    transform.apply(&one).expect("so does the next fresh one");
}

#[test]
fn calls_end_soon_when_everything_is_to_end() {
    let mut guest = Wat::transform();
    guest.replace("transform", LOOP.to_owned());
    let interrupt = Interrupt::default();
    let patient = Limits {
        batch_timeout: Duration::from_secs(600),
        ..limits()
    };
    let plugin = load_stoppable(guest.text().as_bytes(), (patient, Wasi::None), &interrupt)
        .expect("it can be loaded");
    let one = rows(vec![1]);
    let transform =
        PluginTransform::bind(&plugin, &Config::default(), &one.schema(), Scope::default())
            .expect("it can be bound");
    let began = Instant::now();

    interrupt.request();
    let error = transform.apply(&one).expect_err("it goes on for ever");

    let PluginError::Failed { fault, .. } = &error else {
        panic!("{error}");
    };
    assert!(fault.stopped, "{error}");
    assert_eq!(fault.row, None);
    assert!(began.elapsed() < Duration::from_secs(60));
}

#[test]
fn instance_that_returned_an_error_goes_on() {
    // The first call of an instance says that row 0 is bad, all others return what they are given.
    let mut guest = Wat::transform();
    let at = guest.put(b"no");
    let refused = words(&[1, at, 2, 1, 0, 0]);
    let once = format!(
        "(if (i32.eqz (i32.load (i32.const 32)))
           (then (i32.store (i32.const 32) (i32.const 1)) (return (block (result i32) {refused}))))
         {}",
        identity()
    );
    guest.replace("transform", once);
    let transform = bound(&guest, limits());
    let one = rows(vec![1]);

    let (said, row) = failure(&transform, &one);

    assert_eq!((said.as_str(), row), ("no", Some(0)));
    transform.apply(&one).expect("the same instance goes on");
}

#[test]
fn lines_of_calls_that_only_looked_for_a_row_are_not_told() {
    // Says how many rows it is given, and stops at each value of 13.
    let mut guest = superstitious();
    let digit = guest.put(b"0123456789");
    guest.imports = LOG.to_owned();
    let body = format!(
        "(local $at i32) (local $left i32)
         (call $log (i32.const 4) (i32.add (i32.const {digit}) (local.get 5)) (i32.const 1))
         (local.set $at (i32.load offset=8 (i32.load offset=8 (local.get 6))))
         (local.set $left (local.get 5))
         (block $done (loop $next
           (br_if $done (i32.eqz (local.get $left)))
           (if (i64.eq (i64.load (local.get $at)) (i64.const 13)) (then (unreachable)))
           (local.set $at (i32.add (local.get $at) (i32.const 8)))
           (local.set $left (i32.sub (local.get $left) (i32.const 1)))
           (br $next)))
         {}",
        identity()
    );
    guest.replace("transform", body);
    let transform = bound(&guest, limits());

    let (failed, lines) = hold(|| failure(&transform, &rows(vec![1, 2, 3, 4, 13, 6, 7, 8])));
    let (done, fine) = hold(|| transform.apply(&rows(vec![1, 2])).map(drop));

    assert_eq!(failed.1, Some(4));
    assert_eq!(lines.messages(), ["1"]);
    done.expect("no row is bad");
    assert_eq!(fine.messages(), ["2"]);
}
