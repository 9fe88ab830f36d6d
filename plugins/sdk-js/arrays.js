/** Arrow buffers to JavaScript values and back. Knows one column at a time, and no host. */

import { PluginError } from "./errors.js";
import { nameOf } from "./types.js";
import { binaryOf, bytesOf, encoded, isAscii, textOf } from "./utf8.js";

const EMPTY = new Uint8Array(0);

/** The typed array of each format whose values are numbers where they are. */
export const TYPED = {
  c: Int8Array,
  C: Uint8Array,
  s: Int16Array,
  S: Uint16Array,
  i: Int32Array,
  I: Uint32Array,
  l: BigInt64Array,
  L: BigUint64Array,
  f: Float32Array,
  g: Float64Array,
  tdD: Int32Array,
  ttu: BigInt64Array,
  "tsu:": BigInt64Array,
  "tsu:UTC": BigInt64Array,
};

// What syncset carries in place of NaN, which a decimal of Arrow cannot be.
const DECIMAL_NAN = -(1n << 127n);
const DAY_US = 86_400_000_000n;
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;
const DECIMAL = /^([+-]?)(\d+)(?:\.(\d+))?$/;

/** A bitmap, least significant bit first, of truth values. */
export function packBits(bits) {
  const bitmap = new Uint8Array((bits.length + 7) >> 3);
  for (let row = 0; row < bits.length; row++) if (bits[row]) bitmap[row >> 3] |= 1 << (row & 7);
  return bitmap;
}

/** One byte, 0 or 1, for each of the first `length` bits. */
export function unpackBits(bitmap, length) {
  const bits = new Uint8Array(length);
  for (let row = 0; row < length; row++) bits[row] = (bitmap[row >> 3] >> (row & 7)) & 1;
  return bits;
}

/** One byte for each value, 0 for NULL; null if no value is NULL. */
export function validity(array) {
  if (array.nullCount === 0 || array.buffers[0].length === 0) return null;
  return unpackBits(array.buffers[0], array.length);
}

function view(Type, bytes, length) {
  // A view needs its values to start where their size divides.
  const fits = bytes.byteOffset % Type.BYTES_PER_ELEMENT === 0;
  const from = fits ? bytes : bytes.slice();
  return new Type(from.buffer, from.byteOffset, length);
}

const bytesIn = (typed) => new Uint8Array(typed.buffer, typed.byteOffset, typed.byteLength);

/** The values of a column of numbers or times where they are; what is NULL has any value. */
export function numbers(array, format) {
  return array.length === 0
    ? new TYPED[format](0)
    : view(TYPED[format], array.buffers[1], array.length);
}

/** The values of a column, null for NULL. */
export function decode(array, format) {
  if (array.length === 0) return [];
  const values = decodeValues(array, format);
  const valid = validity(array);
  if (valid !== null)
    for (let row = 0; row < array.length; row++) if (!valid[row]) values[row] = null;
  return values;
}

function decodeValues(array, format) {
  if (format in TYPED) return Array.from(numbers(array, format));
  if (format === "b")
    return Array.from(unpackBits(array.buffers[1], array.length), (bit) => bit === 1);
  if (format === "u") return decodeTexts(array);
  if (format === "z") return cut(array);
  if (format === "w:16") return decodeUuids(array);
  if (format.startsWith("d:")) return decodeDecimals(array, format);
  throw new PluginError(`this SDK does not read columns of type \`${format}\``);
}

const offsetsOf = (array) => view(Int32Array, array.buffers[1], array.length + 1);

function decodeTexts(array) {
  const offsets = offsetsOf(array);
  // Brought to a string once, then cut: one byte is one character of it.
  const binary = binaryOf(array.buffers[2]);
  const plain = isAscii(binary);
  const values = new Array(array.length);
  for (let row = 0, start = offsets[0]; row < array.length; row++) {
    const end = offsets[row + 1];
    const value = binary.substring(start, end);
    values[row] = plain ? value : textOf(value);
    start = end;
  }
  return values;
}

/** The bytes of each value of a column of texts or bytes. */
function cut(array) {
  const offsets = offsetsOf(array);
  const values = new Array(array.length);
  for (let row = 0; row < array.length; row++)
    values[row] = array.buffers[2].subarray(offsets[row], offsets[row + 1]);
  return values;
}

function decodeUuids(array) {
  const hex = Array.from(array.buffers[1], (byte) => (byte < 16 ? "0" : "") + byte.toString(16));
  const part = (from, to) => hex.slice(from, to).join("");
  return Array.from({ length: array.length }, (_, row) => {
    const at = row * 16;
    const [a, b, c] = [part(at, at + 4), part(at + 4, at + 6), part(at + 6, at + 8)];
    return `${a}-${b}-${c}-${part(at + 8, at + 10)}-${part(at + 10, at + 16)}`;
  });
}

function decodeDecimals(array, format) {
  const scale = Number(format.split(",")[1]);
  const low = view(BigUint64Array, array.buffers[1], array.length * 2);
  const high = view(BigInt64Array, array.buffers[1], array.length * 2);
  return Array.from({ length: array.length }, (_, row) =>
    decimalText((high[2 * row + 1] << 64n) | low[2 * row], scale),
  );
}

function decimalText(number, scale) {
  if (number === DECIMAL_NAN) return "NaN";
  const sign = number < 0n ? "-" : "";
  const digits = String(number < 0n ? -number : number).padStart(scale + 1, "0");
  const whole = digits.slice(0, digits.length - scale);
  return sign + whole + (scale === 0 ? "" : `.${digits.slice(-scale)}`);
}

/** The buffers of a column. A value of another type is a `PluginError` with its row. */
export function encode(given, format) {
  if (ArrayBuffer.isView(given) && format in TYPED) {
    if (given.constructor !== TYPED[format])
      throw new PluginError(`expected a ${TYPED[format].name}, got a ${given.constructor.name}`);
    return { length: given.length, nullCount: 0, buffers: [EMPTY, bytesIn(given)] };
  }
  const values = Array.isArray(given) ? given : Array.from(given);
  const known = new Uint8Array(values.length);
  let nullCount = 0;
  for (let row = 0; row < values.length; row++) {
    if (values[row] === null) nullCount += 1;
    else known[row] = 1;
  }
  const valid = nullCount === 0 ? EMPTY : packBits(known);
  return { length: values.length, nullCount, buffers: [valid, ...encodeValues(values, format)] };
}

function encodeValues(values, format) {
  if (format === "u") return encodeTexts(values);
  if (format === "z") return encodeBytes(values);
  if (format === "b") {
    each(values, format, (value) => typeof value === "boolean");
    return [packBits(values)];
  }
  if (format === "w:16") return [encodeUuids(values)];
  if (format.startsWith("d:")) return [encodeDecimals(values, format)];
  if (format in TYPED) return [bytesIn(encodeNumbers(values, format))];
  throw new PluginError(`this SDK does not write columns of type \`${format}\``);
}

function misfit(value, format, row, why = "") {
  const kind = value instanceof Object ? value.constructor.name : typeof value;
  const hint = value === undefined ? "; NULL is `null`" : why && `: ${why}`;
  const message = `a value does not fit ${nameOf(format)} (it is of JavaScript's type ${kind})`;
  return new PluginError(message + hint, { row });
}

function each(values, format, fits) {
  for (let row = 0; row < values.length; row++) {
    const value = values[row];
    if (value !== null && !fits(value)) throw misfit(value, format, row);
  }
}

function encodeNumbers(values, format) {
  const Type = TYPED[format];
  if (Type === BigInt64Array || Type === BigUint64Array) return encodeBig(values, format);
  each(values, format, (value) => typeof value === "number");
  const made = new Type(values);
  if (Type === Float32Array || Type === Float64Array) return made;
  for (let row = 0; row < values.length; row++)
    // What does not fit has become another number; NULL has become 0.
    if (made[row] !== values[row] && values[row] !== null)
      throw misfit(values[row], format, row, "out of range, or not whole");
  return made;
}

function encodeBig(values, format) {
  const made = new TYPED[format](values.length);
  for (let row = 0; row < values.length; row++) {
    let value = values[row];
    if (value === null) continue;
    if (Number.isSafeInteger(value)) value = BigInt(value);
    if (typeof value !== "bigint") throw misfit(value, format, row);
    made[row] = value;
    if (made[row] !== value) throw misfit(value, format, row, "out of range");
    if (format === "ttu" && (value < 0n || value > DAY_US))
      throw misfit(value, format, row, "outside of a day");
  }
  return made;
}

function encodeTexts(values) {
  const offsets = new Int32Array(values.length + 1);
  let end = 0;
  for (let row = 0; row < values.length; row++) {
    const value = values[row];
    if (value !== null) {
      if (typeof value !== "string") throw misfit(value, "u", row);
      end += value.length;
    }
    offsets[row + 1] = end;
  }
  // `join` takes null for nothing. Asked once for all: most columns have nothing but ASCII.
  let text = values.join("");
  if (!isAscii(text)) {
    const parts = values.map(encodedAt);
    for (let row = 0; row < values.length; row++)
      offsets[row + 1] = offsets[row] + parts[row].length;
    text = parts.join("");
  }
  return [bytesIn(offsets), bytesOf(text)];
}

function encodedAt(value, row) {
  try {
    return value === null ? "" : encoded(value);
  } catch {
    throw misfit(value, "u", row, "it has half of a surrogate pair");
  }
}

function encodeBytes(values) {
  each(values, "z", (value) => value instanceof Uint8Array);
  return joined(values.map((value) => value ?? EMPTY));
}

function joined(parts) {
  const offsets = new Int32Array(parts.length + 1);
  for (let row = 0; row < parts.length; row++) offsets[row + 1] = offsets[row] + parts[row].length;
  const bytes = new Uint8Array(offsets[parts.length]);
  for (let row = 0; row < parts.length; row++) bytes.set(parts[row], offsets[row]);
  return [bytesIn(offsets), bytes];
}

function encodeUuids(values) {
  each(values, "w:16", (value) => typeof value === "string" && UUID.test(value));
  const bytes = new Uint8Array(values.length * 16);
  values.forEach((value, row) => {
    if (value === null) return;
    const hex = value.replaceAll("-", "");
    for (let at = 0; at < 16; at++)
      bytes[row * 16 + at] = Number.parseInt(hex.slice(2 * at, 2 * at + 2), 16);
  });
  return bytes;
}

function encodeDecimals(values, format) {
  const [precision, scale] = format.slice(2).split(",").map(Number);
  const limit = 10n ** BigInt(precision);
  const halves = new BigInt64Array(values.length * 2);
  for (let row = 0; row < values.length; row++) {
    if (values[row] === null) continue;
    const number = decimalNumber(values[row], format, scale, row);
    if (number !== DECIMAL_NAN && (number >= limit || number <= -limit))
      throw misfit(values[row], format, row, `more than ${precision} digits`);
    halves[2 * row] = BigInt.asIntN(64, number);
    halves[2 * row + 1] = number >> 64n;
  }
  return bytesIn(halves);
}

function decimalNumber(value, format, scale, row) {
  if (value === "NaN") return DECIMAL_NAN;
  const match = typeof value === "string" && DECIMAL.exec(value);
  if (!match) throw misfit(value, format, row, "not a decimal number as a string");
  const fraction = (match[3] ?? "").replace(/0+$/, "");
  if (fraction.length > scale)
    throw misfit(value, format, row, `more than ${scale} digits after the point`);
  const number = BigInt(match[2] + fraction.padEnd(scale, "0"));
  return match[1] === "-" ? -number : number;
}

/** The values of some rows, without looking at what they are. */
export function take(array, format, rows) {
  const valid = validity(array);
  let [bitmap, nullCount] = [EMPTY, 0];
  if (valid !== null) {
    const kept = Uint8Array.from(rows, (row) => valid[row]);
    bitmap = packBits(kept);
    nullCount = kept.reduce((count, bit) => count + (1 - bit), 0);
  }
  const made = (...buffers) => ({ length: rows.length, nullCount, buffers: [bitmap, ...buffers] });
  if (format === "b") {
    const bits = unpackBits(array.buffers[1], array.length);
    return made(packBits(rows.map((row) => bits[row])));
  }
  if (format === "u" || format === "z") {
    const parts = array.length === 0 ? [] : cut(array);
    return made(...joined(rows.map((row) => parts[row])));
  }
  const width = widthOf(format);
  const bytes = new Uint8Array(rows.length * width);
  rows.forEach((row, at) => {
    bytes.set(array.buffers[1].subarray(row * width, (row + 1) * width), at * width);
  });
  return made(bytes);
}

function widthOf(format) {
  if (format in TYPED) return TYPED[format].BYTES_PER_ELEMENT;
  if (format === "w:16" || format.startsWith("d:")) return 16;
  throw new PluginError(`this SDK does not know columns of type \`${format}\``);
}
