/**
 * Dates are days since 1970-01-01 as numbers, times microseconds as BigInt: a `Date` knows only
 * milliseconds. Here is how to change from one to the other, always in UTC.
 */

/** `infinity` of PostgreSQL in a column of dates, of timestamps, and their negatives. */
export const DATE_INFINITY = 2147483647;
export const DATE_NEGATIVE_INFINITY = -2147483648;
export const TIMESTAMP_INFINITY = 9223372036854775807n;
export const TIMESTAMP_NEGATIVE_INFINITY = -9223372036854775808n;

const DAY_MS = 86_400_000;
const ISO = /^(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d:\d\d)(?:\.(\d{1,6}))?Z?)?$/;

function valid(date, what) {
  if (Number.isNaN(date.getTime())) throw new RangeError(`not a ${what}`);
  return date;
}

/** A `Date` of microseconds since 1970; what is below a millisecond is cut towards the past. */
export function dateFromMicros(micros) {
  const millis = micros >= 0n ? micros / 1000n : (micros - 999n) / 1000n;
  return valid(new Date(Number(millis)), "time that a Date can hold");
}

/** Microseconds since 1970 of a `Date`. */
export function microsFromDate(date) {
  return BigInt(valid(date, "date").getTime()) * 1000n;
}

/** `2024-02-29` of days since 1970. */
export function isoFromDays(days) {
  const iso = valid(new Date(days * DAY_MS), "date that a Date can hold").toISOString();
  return iso.slice(0, iso.indexOf("T"));
}

/** Days since 1970 of `2024-02-29`. */
export function daysFromIso(text) {
  return Number(microsFromIso(text) / 86_400_000_000n);
}

/** `2024-02-29T12:00:00.000001` of microseconds since 1970, without a zone. */
export function isoFromMicros(micros) {
  const date = dateFromMicros(micros);
  const below = ((micros % 1000n) + 1000n) % 1000n;
  return date.toISOString().slice(0, -1) + String(below).padStart(3, "0");
}

/** Microseconds since 1970 of `2024-02-29`, `2024-02-29T12:00:00` or `... .000001Z`. */
export function microsFromIso(text) {
  const match = ISO.exec(text);
  if (match === null) throw new RangeError("not a time of ISO 8601 without a zone");
  const date = valid(new Date(`${match[1]}T${match[2] ?? "00:00:00"}Z`), "time");
  // `new Date` takes the 30th of February for the 1st of March in some engines.
  if (!date.toISOString().startsWith(match[1])) throw new RangeError("not a time");
  return microsFromDate(date) + BigInt((match[3] ?? "").padEnd(6, "0"));
}
