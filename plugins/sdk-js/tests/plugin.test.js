import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { beforeEach, test } from "node:test";

import { decode, encode } from "../arrays.js";
import { Column } from "../batch.js";
import { checkRegistry, clearRegistry } from "../registry.js";
import { Runtime } from "../runtime.js";
import * as sdk from "../syncset-plugin.js";
import { logTo } from "../log.js";

const { PluginError, RowError, filter, plugin, scalar, testing, transform } = sdk;

let said = [];

beforeEach(() => {
  clearRegistry();
  said = [];
  logTo((level, message) => said.push([level, message]));
});

function refused(run) {
  let error;
  assert.throws(run, (thrown) => {
    error = thrown;
    return thrown instanceof PluginError;
  });
  return error;
}

test("a strict function is not called for nulls", () => {
  const seen = [];
  scalar("double_it", { args: ["i64", "i64"], returns: "i64" }, (a) => {
    seen.push(a);
    return a * 2n;
  });

  assert.deepEqual(testing.call("double_it", [1, null, 3], [1, 1, null]), [2n, null, null]);
  assert.deepEqual(seen, [1n]);
});

test("a function that is not strict sees nulls", () => {
  scalar("shown", { args: ["text"], returns: "text", strict: false }, (a) => `${a}`);

  assert.deepEqual(testing.call("shown", ["x", null]), ["x", "null"]);
});

test("a constant stands for every row", () => {
  scalar("add", { args: ["i64", "i64"], returns: "i64" }, (a, b) => a + b);
  for (const [constant, expected] of [
    [10, [11n, 12n]],
    [null, [null, null]],
  ]) {
    const args = [
      { isConstant: false, values: encode([1, 2], "l") },
      { isConstant: true, values: encode([constant], "l") },
    ];
    assert.deepEqual(decode(new Runtime().call("add", 2, args), "l"), expected);
  }
});

test("a function without arguments is called for each row", () => {
  scalar("seven", { args: [], returns: "i32" }, () => 7);

  assert.deepEqual(decode(new Runtime().call("seven", 3, []), "i"), [7, 7, 7]);
  assert.deepEqual(decode(new Runtime().call("seven", 0, []), "i"), []);
});

test("a vectorized function gets whole columns", () => {
  const options = { args: ["f64", "f64"], returns: "f64", vectorized: true };
  scalar("times", options, (a, b) => a.numbers.map((value, row) => value * b.numbers[row]));
  const args = [
    { isConstant: false, values: encode([1, null, 3], "g") },
    { isConstant: true, values: encode([2], "g") },
  ];

  assert.deepEqual(decode(new Runtime().call("times", 3, args), "g"), [2, null, 6]);
});

test("too few values, and a promise, are refused", () => {
  scalar("short", { args: ["i64"], returns: "i64", vectorized: true }, () => []);
  scalar("later", { args: ["i64"], returns: "i64", vectorized: true }, async () => []);

  assert.match(refused(() => testing.call("short", [1])).message, /0 values for 1/);
  assert.match(refused(() => testing.call("later", [1])).message, /promise/);
});

test("an exception names its row and keeps its text to debug", () => {
  scalar("parse", { args: ["text"], returns: "i64" }, function parse(text) {
    return BigInt(text);
  });

  const error = refused(() => testing.call("parse", ["1", "a secret"]));

  assert.equal(error.row, 1);
  assert.match(error.message, /^function `parse`: SyntaxError at /);
  assert.doesNotMatch(error.message, /secret/);
  const loud = said.filter(([level]) => level !== "debug").join("\n");
  assert.match(loud, /plugin\.test\.js:\d+/);
  assert.doesNotMatch(loud, /secret|eachRow/);
  assert.ok(said.some(([level, message]) => level === "debug" && message.includes("secret")));
});

test("a variable that is missing is named", () => {
  scalar("wrong", { args: ["i64"], returns: "i64" }, () => noSuchThing());

  assert.match(refused(() => testing.call("wrong", [1])).message, /noSuchThing/);
});

test("a row error in a function is given its row", () => {
  scalar("known", { args: ["text"], returns: "text" }, (a) => {
    if (a === "x") throw new RowError(undefined, "the country is not known");
    return a;
  });

  const error = refused(() => testing.call("known", ["a", "b", "x"]));

  assert.deepEqual([error.row, error.message], [2, "the country is not known"]);
});

test("what is no exception is told too", () => {
  scalar("odd", { args: ["i64"], returns: "i64" }, () => {
    throw "a secret";
  });

  assert.equal(refused(() => testing.call("odd", [1])).message, "function `odd`: string");
});

test("a result of another type names its row", () => {
  scalar("wrong", { args: ["i64"], returns: "text" }, (a) => (a < 2n ? "x" : a));

  assert.equal(refused(() => testing.call("wrong", [1, 2])).row, 1);
});

test("columns that are read are returned by default", () => {
  transform({ reads: { a: "i64", b: "text" } }, () => {});

  const rows = [
    { a: 1n, b: "x", c: 0 },
    { a: null, b: null, c: 0 },
  ];
  assert.deepEqual(testing.transform(rows), rows);
});

test("a column that is not looked at keeps its buffers", () => {
  transform({}, (context, batch) => batch);
  const runtime = new Runtime();
  assert.equal(runtime.configure("{}"), undefined);
  runtime.bind([{ name: "a", format: "x:unknown", nullable: true }]);
  const given = { length: 1, nullCount: 0, buffers: [new Uint8Array(0), new Uint8Array(9)] };

  assert.equal(runtime.transform(undefined, 1, [given]).batch.arrays[0], given);
});

test("columns are changed, added and dropped with rows", () => {
  transform(
    {
      reads: ({ column }) => ({ [column]: "text" }),
      returns: ({ column }, read) => ({ [column]: read[column], size: "i32 not null" }),
    },
    (context, batch, { column }) => {
      const kept = batch.keep(
        batch.column(column).map((value) => value !== "drop", { nulls: true }),
      );
      kept.set(
        column,
        kept.map((value) => value.toUpperCase(), column),
      );
      kept.set(
        "size",
        kept.map((value) => value?.length ?? 0, column, { nulls: true }),
      );
      return kept;
    },
  );

  const made = testing.transform(
    [
      { t: "a", k: 1 },
      { t: "drop", k: 2 },
      { t: null, k: 3 },
    ],
    { column: "t" },
  );

  assert.deepEqual(made, [
    { t: "A", k: 1, size: 1 },
    { t: null, k: 3, size: 0 },
  ]);
});

test("a column that was set is a column too", () => {
  transform({ reads: { a: "text" }, returns: { a: "i64" } }, (context, batch) => {
    batch.set(
      "a",
      batch.column("a").map((text) => text.length),
    );
    const kept = batch.keep([0, 2]);
    assert.deepEqual([kept.column("a").type, kept.column("a").nullCount], ["i64", 1]);
    return kept.set(
      "a",
      kept.column("a").map((size) => size + 1),
    );
  });

  const made = testing.transform([{ a: "xy" }, { a: "" }, { a: null }]);

  assert.deepEqual(made, [{ a: 3n }, { a: null }]);
});

test("a column that is read as another type than returned is converted", () => {
  transform({ reads: { a: "i32" }, returns: { a: "f64" } }, () => {});

  assert.deepEqual(testing.transform([{ a: 1 }, { a: null }]), [{ a: 1 }, { a: null }]);
});

test("a typed array can be set and kept", () => {
  transform({ reads: { a: "f64" } }, (context, batch) => {
    batch.set(
      "a",
      batch.column("a").numbers.map((value) => value * 2),
    );
    return batch.keep([1]);
  });

  assert.deepEqual(testing.transform([{ a: 1 }, { a: 2 }]), [{ a: 4 }]);
});

test("the row of an error after keep is that of the input", () => {
  transform({ reads: { a: "text" }, returns: { a: "i64 not null" } }, (context, batch, { how }) => {
    const kept = batch.keep([1, 2]).keep([false, true]);
    if (how === "map") kept.set("a", kept.column("a").map(BigInt));
    else if (how === "rows") kept.set("a", kept.map(BigInt, "a"));
    else kept.set("a", [how === "null" ? null : "x"]);
    return kept;
  });

  for (const how of ["map", "rows", "null", "wrong"]) {
    const rows = [{ a: "1" }, { a: "2" }, { a: "x" }];
    assert.equal(refused(() => testing.transform(rows, { how })).row, 2, how);
  }
});

test("misuse is told", () => {
  const misuses = [
    [(batch) => batch.set("b", [1, 2]), /2 values for 1 rows/],
    [(batch) => batch.set("c", [1]), /not in `returns`/],
    [(batch) => batch.column("c"), /not among those that are read/],
    [(batch) => batch.map(() => 1), /name of a column/],
    [(batch) => batch.keep([true, false]), /mask of 2/],
    [(batch) => batch.keep([0, 0]), /rising order/],
    [() => undefined, /was not set/],
    [() => ({}), /a Object instead of a batch/],
    [async () => undefined, /promise/],
  ];
  for (const [misuse, told] of misuses) {
    clearRegistry();
    transform({ reads: { a: "i64" }, returns: { a: "i64", b: "i64" } }, (_, batch) =>
      misuse(batch),
    );
    assert.match(refused(() => testing.transform([{ a: 1 }])).message, told);
  }
});

test("an empty batch stays empty", () => {
  transform({ reads: { a: "text" }, returns: { a: "text", b: "bool" } }, (context, batch) =>
    batch.keep([]).set("b", []),
  );

  assert.deepEqual(testing.transform([]), []);
  assert.deepEqual(testing.transform([{ a: "x" }]), []);
});

test("the context has the time of the run", () => {
  transform({ reads: { a: "text" }, returns: { a: "timestamptz" } }, (context, batch) => {
    assert.equal(context.runTime.toISOString(), "2023-11-14T22:13:20.000Z");
    batch.set("a", [context.runTimeUs]);
  });

  assert.deepEqual(testing.transform([{ a: "" }]), [{ a: 1_700_000_000_000_000n }]);
});

test("the type of an open column is given by the test", () => {
  transform({ reads: { a: "decimal" } }, () => {});

  assert.deepEqual(new Runtime().configure("{}"), [{ name: "a", formats: ["d:*"] }]);
  assert.throws(() => testing.transform([{ a: "1" }]), TypeError);
  const rows = [{ a: "1.50" }];
  assert.deepEqual(testing.transform(rows, {}, { columns: { a: "decimal(5,2)" } }), rows);
});

test("rows without a true value are dropped by a filter", () => {
  filter({ reads: { a: "i64" } }, (context, batch) => batch.column("a").map((a) => a % 2n === 1n));

  assert.deepEqual(testing.keep([{ a: 1n }, { a: 2n }, { a: null }, { a: 3n }]), [
    { a: 1n },
    { a: 3n },
  ]);
});

test("a mask of another length is refused", () => {
  filter({ reads: { a: "i64" } }, () => []);

  assert.match(refused(() => testing.keep([{ a: 1 }])).message, /0 values for 1/);
});

test("transform and filter read the columns of both", () => {
  transform({ reads: { a: "any", b: "text" } }, () => {});
  filter({ reads: { a: ["text", "bytes"] } }, () => []);

  assert.deepEqual(new Runtime().configure("{}"), [
    { name: "a", formats: ["u", "z"] },
    { name: "b", formats: ["u"] },
  ]);
});

test("mistakes in the configuration are told in full", () => {
  plugin({ name: "p", version: "1", configSchema: { required: ["column"] } });

  assert.match(refused(() => new Runtime().configure("{}")).message, /`column`/);
  assert.match(refused(() => new Runtime().configure("{")).message, /SyntaxError/);
});

test("a plugin without name or content is refused", () => {
  assert.throws(checkRegistry, TypeError);
  plugin({ name: "p", version: "1" });
  assert.throws(checkRegistry, TypeError);
});

test("a second of what there is once is refused", () => {
  const one = () => {
    transform({}, () => {});
  };
  one();
  assert.throws(one, TypeError);
  filter({}, () => []);
  assert.throws(() => filter({}, () => []), TypeError);
  scalar("f", { args: [], returns: "i64" }, () => 1);
  assert.throws(() => scalar("f", { args: [], returns: "i64" }, () => 1), TypeError);
});

test("an unknown type is refused", () => {
  for (const name of ["int", "decimal(39,2)", "decimal(2,3)", "u"])
    assert.throws(() => scalar("f", { args: [name], returns: "i64" }, () => 1), TypeError);
});

test("the description has the names of the contract", () => {
  plugin({ name: "p", version: "1", configSchema: { type: "object" } });
  scalar(
    "f",
    { args: ["text"], returns: "decimal(5,2)", volatility: "stable", doc: "d" },
    () => "1",
  );

  assert.deepEqual(new Runtime().describe(), {
    name: "p",
    version: "1",
    sdk: "syncset-plugin-js 0.1.0",
    doc: "",
    provides: { transform: false, filter: false, scalar: true, resolver: false },
    configSchema: '{"type":"object"}',
    functions: [
      { name: "f", args: ["u"], returns: "d:5,2", volatility: "stable", strict: true, doc: "d" },
    ],
  });
});

test("a column shows no values", () => {
  const column = new Column(encode(["a secret", null], "u"), { name: "t", format: "u" });

  assert.deepEqual(
    [column.length, column.get(0), [...column]],
    [2, "a secret", ["a secret", null]],
  );
  assert.deepEqual([column.nullCount, [...column.valid], column.type], [1, [1, 0], "text"]);
  assert.doesNotMatch(`${column}${JSON.stringify(column)}`, /secret/);
  assert.throws(() => column.numbers, PluginError);
});

test("times are changed from one form to the other", () => {
  const { dateFromMicros, daysFromIso, isoFromDays, isoFromMicros, microsFromDate, microsFromIso } =
    sdk;

  assert.equal(isoFromMicros(-1n), "1969-12-31T23:59:59.999999");
  assert.equal(microsFromIso("1969-12-31T23:59:59.999999"), -1n);
  assert.equal(microsFromIso("2024-02-29 12:00:00.5Z"), 1_709_208_000_500_000n);
  assert.equal(dateFromMicros(-1n).getTime(), -1);
  assert.equal(microsFromDate(new Date(5)), 5000n);
  assert.equal(isoFromDays(-1), "1969-12-31");
  assert.equal(daysFromIso("2024-02-29"), 19_782);
  for (const wrong of ["2023-02-30", "2024-13-01", "2024-02-29T12:00:00+01:00", "today"])
    assert.throws(() => microsFromIso(wrong), RangeError, wrong);
  assert.throws(() => dateFromMicros(sdk.TIMESTAMP_INFINITY), RangeError);
  assert.throws(() => isoFromDays(sdk.DATE_INFINITY), RangeError);
});

test("what a plugin has not is an error after the first call", () => {
  const script = `
    const write = process.stdout.write.bind(process.stdout);
    const { install, seal } = await import(${JSON.stringify(new URL("../guard.js", import.meta.url))});
    const { logTo } = await import(${JSON.stringify(new URL("../log.js", import.meta.url))});
    install();
    Date.now(); Math.random(); new Date();
    const said = [];
    logTo((level, message) => said.push([level, message]));
    seal();
    const told = {};
    const tries = { now: () => Date.now(), date: () => new Date(), call: () => Date(),
                    random: () => Math.random(), performance: () => performance.now() };
    for (const [name, run] of Object.entries(tries))
      try { run(); } catch (error) { told[name] = error.message; }
    console.log("a", 1, { b: 2 });
    console.error("c");
    const date = new Date(5);
    write(JSON.stringify([told, said, date instanceof Date, date.getTime(), Date.UTC(1970, 0, 2),
                          new date.constructor(6).getTime()]));`;

  const made = execFileSync(process.execPath, ["--input-type=module", "-e", script]);

  const [told, logged, ...dates] = JSON.parse(made);
  assert.deepEqual(Object.keys(told), ["now", "date", "call", "random", "performance"]);
  for (const message of Object.values(told)) assert.match(message, /^a plugin has no /);
  assert.deepEqual(logged, [
    ["info", 'a 1 {"b":2}'],
    ["error", "c"],
  ]);
  assert.deepEqual(dates, [true, 5, 86_400_000, 6]);
});
