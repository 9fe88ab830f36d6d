/** Plugins for syncset in JavaScript and TypeScript. The guide is plugins/sdk-js/README.md of syncset. */

/**
 * A type between host and plugin, and what it is in JavaScript:
 * `i64`, `u64`, `time`, `timestamp`, `timestamptz`: bigint (times in microseconds);
 * `date`: number of days; `decimal(P,S)`, `text`, `uuid`: string; `bytes`: Uint8Array.
 */
export type Type =
  | "bool"
  | "i8"
  | "u8"
  | "i16"
  | "u16"
  | "i32"
  | "u32"
  | "i64"
  | "u64"
  | "f32"
  | "f64"
  | "text"
  | "bytes"
  | "uuid"
  | "date"
  | "time"
  | "timestamp"
  | "timestamptz"
  | `decimal(${number},${number})`;

/** The types that a column which is read may have. */
export type Reads = Record<string, Type | "decimal" | "any" | Array<Type | "decimal">>;

/** The types of the columns that are returned. */
export type Returns = Record<string, Type | `${Type} not null`>;

export type Value = boolean | number | bigint | string | Uint8Array | null;
export type Numbers =
  | Int8Array
  | Uint8Array
  | Int16Array
  | Uint16Array
  | Int32Array
  | Uint32Array
  | BigInt64Array
  | BigUint64Array
  | Float32Array
  | Float64Array;

/** The configuration, as the author's JSON Schema describes it. */
export type Config = any;

/** All that a plugin may know of "where" and "now"; a repeated call is given the same values. */
export interface Context {
  readonly pipeline: string;
  readonly table: string;
  /** When the run began, in microseconds since 1970. */
  readonly runTimeUs: bigint;
  /** The same, cut to milliseconds: what a plugin has in place of a clock. */
  readonly runTime: Date;
}

/** The values of one column, decoded at the first look. */
export interface Column<V extends Value = Value> extends Iterable<V | null> {
  readonly name: string;
  readonly type: string;
  readonly length: number;
  readonly nullCount: number;
  /** All values, `null` for NULL. */
  readonly values: Array<V | null>;
  /**
   * The values of a column of numbers or times, not copied. Where `valid` has a 0, anything.
   * @throws PluginError for columns of other types.
   */
  readonly numbers: Numbers;
  /** One byte for each value, 0 for NULL; `null` if no value is NULL. */
  readonly valid: Uint8Array | null;
  get(row: number): V | null;
  /** What `make` gives for each value. NULL stays NULL, unless `make` wants to see `nulls`. */
  map<R>(make: (value: V) => R): Array<R | null>;
  map<R>(make: (value: V | null) => R, options: { nulls: true }): R[];
}

/** Some rows: the columns that the plugin reads, and those that it sets. */
export interface Batch {
  /** How many rows there are. */
  readonly length: number;
  readonly names: string[];
  has(name: string): boolean;
  column<V extends Value = Value>(name: string): Column<V>;
  /** Sets a column of `returns`: as many values as there are rows. */
  set(name: string, values: Iterable<Value>): Batch;
  /** What `make` gives for the values of some columns, row by row; a NULL among them gives null. */
  map<R>(
    make: (...values: any[]) => R,
    ...names: Array<string | { nulls: boolean }>
  ): Array<R | null>;
  /** Each row as an object: comfortable, and slower than columns. */
  rows(): IterableIterator<Record<string, Value>>;
  /** The rows that stay: a mask, or the numbers of the rows in rising order. */
  keep(which: Iterable<boolean | null> | Iterable<number>): Batch;
}

export interface ScalarOptions {
  args: Type[];
  returns: Type;
  /** Not called for rows with a NULL among the arguments, they are NULL. Default: true. */
  strict?: boolean;
  /** Default: "immutable". */
  volatility?: "immutable" | "stable" | "volatile";
  /** Called with whole columns, and returns an array or a typed array. Default: false. */
  vectorized?: boolean;
  doc?: string;
}

/** Says what the plugin is called, and with a JSON Schema how it is configured. */
export function plugin(description: {
  name: string;
  version: string;
  doc?: string;
  configSchema?: object;
}): void;

/** Makes a function of SQL expressions; returns the JavaScript function as it is. */
export function scalar<F extends (...args: any[]) => unknown>(
  name: string,
  options: ScalarOptions,
  call: F,
): F;

export type Transform = (
  context: Context,
  batch: Batch,
  config: Config,
) => Batch | undefined | void;

/** Makes the transform of the plugin. Without `reads` it is passed all columns. */
export function transform(
  options: {
    reads?: Reads | ((config: Config) => Reads);
    /** Without it the columns that are read are returned, with their types. */
    returns?: Returns | ((config: Config, read: Record<string, string>) => Returns);
  },
  call: Transform,
): Transform;

export type Filter = (
  context: Context,
  batch: Batch,
  config: Config,
) => ArrayLike<unknown> | Column;

/** Makes the filter of the plugin: rows without a true value in the mask are dropped. */
export function filter(
  options: { reads?: Reads | ((config: Config) => Reads) },
  call: Filter,
): Filter;

/** The plugin cannot go on. The message is shown to the user: no values of private columns. */
export class PluginError extends Error {
  constructor(message: string, place?: { row?: number; column?: string });
  readonly row?: number;
  readonly column?: string;
}

/** One row, counted from zero, cannot be processed; in a function of a row it is known. */
export class RowError extends PluginError {
  constructor(row: number | undefined, message: string, place?: { column?: string });
}

/** Messages in syncset's own log: no values of private columns. */
export const log: Record<"trace" | "debug" | "info" | "warn" | "error", (message: unknown) => void>;

export const DATE_INFINITY: number;
export const DATE_NEGATIVE_INFINITY: number;
export const TIMESTAMP_INFINITY: bigint;
export const TIMESTAMP_NEGATIVE_INFINITY: bigint;
/** @throws RangeError for the infinities. */
export function dateFromMicros(micros: bigint): Date;
export function microsFromDate(date: Date): bigint;
/** @throws RangeError for the infinities. */
export function isoFromDays(days: number): string;
export function daysFromIso(text: string): number;
/** @throws RangeError for the infinities. */
export function isoFromMicros(micros: bigint): string;
export function microsFromIso(text: string): bigint;

/** Runs the plugin as syncset would, without WebAssembly. */
export namespace testing {
  interface Options {
    /** The types of columns that `reads` leaves open. */
    columns?: Record<string, Type>;
    context?: Context;
  }
  type Row = Record<string, Value>;
  /** The rows as they are after the transform. */
  function transform(rows: Row[], config?: Config, options?: Options): Row[];
  /** The rows that the filter keeps. */
  function keep(rows: Row[], config?: Config, options?: Options): Row[];
  /** What a function gives for columns of arguments. */
  function call(name: string, ...args: Value[][]): Value[];
}
