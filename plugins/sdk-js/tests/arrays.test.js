import assert from "node:assert/strict";
import { test } from "node:test";

import { decode, encode, take, unpackBits } from "../arrays.js";
import { PluginError } from "../errors.js";
import { FORMATS, formatOf } from "../types.js";

const bytesOf = (typed) => [...new Uint8Array(typed.buffer)];
const zero = new Array(16).fill(0);
const UUID = "00112233-4455-6677-8899-aabbccddeeff";

// Two values of each type with their buffers after the validity, as Arrow has them.
const VALUES = {
  bool: [[true, false], [[1]]],
  i8: [[-128, 127], [[0x80, 0x7f]]],
  u8: [[0, 255], [[0, 255]]],
  i16: [[-1, 32767], [[255, 255, 255, 127]]],
  u16: [[1, 65535], [[1, 0, 255, 255]]],
  i32: [[-1, 2147483647], [[255, 255, 255, 255, 255, 255, 255, 127]]],
  u32: [[1, 4294967295], [[1, 0, 0, 0, 255, 255, 255, 255]]],
  i64: [
    [-(2n ** 63n), 2n ** 63n - 1n],
    [[0, 0, 0, 0, 0, 0, 0, 128, 255, 255, 255, 255, 255, 255, 255, 127]],
  ],
  u64: [[0n, 2n ** 64n - 1n], [[...new Array(8).fill(0), ...new Array(8).fill(255)]]],
  f32: [[0.5, -Infinity], [bytesOf(new Float32Array([0.5, -Infinity]))]],
  f64: [[0.1, -0], [bytesOf(new Float64Array([0.1, -0]))]],
  text: [
    ["zwölf 🙂", ""],
    [bytesOf(new Int32Array([0, 11, 11])), [...Buffer.from("zwölf 🙂")]],
  ],
  bytes: [
    [new Uint8Array([]), new Uint8Array([0, 255])],
    [bytesOf(new Int32Array([0, 0, 2])), [0, 255]],
  ],
  uuid: [
    [UUID, "00000000-0000-0000-0000-000000000000"],
    [[...Array.from({ length: 16 }, (_, at) => at * 17), ...zero]],
  ],
  date: [[1, -1], [bytesOf(new Int32Array([1, -1]))]],
  time: [
    [1_000_005n, 86_399_999_999n],
    [bytesOf(new BigInt64Array([1_000_005n, 86_399_999_999n]))],
  ],
  timestamp: [[1n, -1n], [bytesOf(new BigInt64Array([1n, -1n]))]],
  timestamptz: [
    [1n, 253_402_300_799_999_999n],
    [bytesOf(new BigInt64Array([1n, 253_402_300_799_999_999n]))],
  ],
  "decimal(38,2)": [
    ["-0.01", "123456789012345678901234567890123456.78"],
    [
      bytesOf(
        new BigInt64Array([
          -1n,
          -1n,
          BigInt.asIntN(64, 12345678901234567890123456789012345678n),
          12345678901234567890123456789012345678n >> 64n,
        ]),
      ),
    ],
  ],
};

const WRONG = {
  bool: 1,
  i8: 128,
  u8: -1,
  i16: "1",
  u16: 70000,
  i32: 1.5,
  u32: NaN,
  i64: 2n ** 63n,
  u64: -1,
  f32: "1",
  f64: 1n,
  text: 1,
  bytes: "x",
  uuid: "00112233",
  date: new Date(0),
  time: 86_400_000_001n,
  timestamp: 0.5,
  timestamptz: new Date(0),
  "decimal(38,2)": "0.001",
};

const plain = ({ length, nullCount, buffers }) => [
  length,
  nullCount,
  buffers.map((one) => [...one]),
];

test("the table has every type", () => {
  const names = [...Object.keys(FORMATS), "decimal(38,2)"].sort();
  assert.deepEqual(Object.keys(VALUES).sort(), names);
  assert.deepEqual(Object.keys(WRONG).sort(), names);
});

for (const [name, [values, buffers]] of Object.entries(VALUES)) {
  const format = formatOf(name);

  test(`${name}: values have the buffers of Arrow`, () => {
    const made = encode(values, format);

    assert.deepEqual(plain(made), [2, 0, [[], ...buffers]]);
    assert.deepEqual(decode(made, format), values);
  });

  test(`${name}: nulls come back as null`, () => {
    const given = [null, values[0], null, null, null, values[1], null, null, null, values[0]];

    const made = encode(given, format);

    assert.equal(made.nullCount, 7);
    assert.deepEqual([...made.buffers[0]], [0x22, 0x02]);
    assert.deepEqual(decode(made, format), given);
  });

  test(`${name}: only nulls and no rows come back`, () => {
    for (const given of [[], [null], new Array(9).fill(null)])
      assert.deepEqual(decode(encode(given, format), format), given);
    const none = new Uint8Array(0);
    assert.deepEqual(decode({ length: 0, nullCount: 0, buffers: [none, none, none] }, format), []);
  });

  test(`${name}: a wrong value names its row and not itself`, () => {
    assert.throws(
      () => encode([values[0], null, WRONG[name]], format),
      (error) => error instanceof PluginError && error.row === 2 && error.message.includes(name),
    );
    assert.throws(
      () => encode([values[0], undefined], format),
      (error) => error.row === 1 && error.message.includes("NULL is `null`"),
    );
  });

  test(`${name}: rows are taken without decoding`, () => {
    const given = encode([values[0], null, values[1], values[0]], format);

    assert.deepEqual(decode(take(given, format, [1, 2]), format), [null, values[1]]);
    assert.deepEqual(decode(take(given, format, []), format), []);
  });
}

test("a buffer may start anywhere", () => {
  const all = new Uint8Array(17);
  all.set(new Uint8Array(new BigInt64Array([5n, 6n]).buffer), 1);

  const array = { length: 2, nullCount: 0, buffers: [new Uint8Array(0), all.subarray(1)] };

  assert.deepEqual(decode(array, "l"), [5n, 6n]);
});

test("typed arrays are taken as they are", () => {
  const made = encode(new Float64Array([1, 2]), "g");

  assert.deepEqual(decode(made, "g"), [1, 2]);
  assert.throws(() => encode(new Float32Array([1]), "g"), PluginError);
});

test("long texts come back", () => {
  const values = Array.from({ length: 3000 }, (_, row) => (row % 2 ? "x" : "ü").repeat(row % 50));

  assert.deepEqual(decode(encode(values, "u"), "u"), values);
});

test("small whole numbers may stand for big ones", () => {
  assert.deepEqual(decode(encode([1, -2n], "l"), "l"), [1n, -2n]);
  assert.throws(() => encode([2 ** 60], "l"), PluginError);
});

test("NaN of a decimal is carried as the smallest number", () => {
  const made = encode(["NaN"], "d:5,2");

  assert.deepEqual([...made.buffers[1]], [...zero.slice(1), 0x80]);
  assert.deepEqual(decode(made, "d:5,2"), ["NaN"]);
});

test("decimals are whole, signed and short", () => {
  assert.deepEqual(decode(encode(["7", "-7", "+1.50"], "d:5,2"), "d:5,2"), [
    "7.00",
    "-7.00",
    "1.50",
  ]);
  assert.deepEqual(decode(encode(["7"], "d:5,0"), "d:5,0"), ["7"]);
  for (const wrong of ["10.00", "1e3", "", ".5", "1,5", 1])
    assert.throws(() => encode([wrong], "d:3,2"), PluginError, String(wrong));
});

test("half of a surrogate pair names its row", () => {
  assert.throws(() => encode(["a", "\ud800"], "u"), { row: 1 });
});

test("values after the last row are not read", () => {
  assert.deepEqual([...unpackBits(new Uint8Array([0xff]), 3)], [1, 1, 1]);
  const array = { length: 1, nullCount: 1, buffers: [new Uint8Array([0xfe]), new Uint8Array(8)] };
  assert.deepEqual(decode(array, "i"), [null]);
});
