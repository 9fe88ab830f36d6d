/** Rows as an author sees them: columns that are decoded when they are first looked at. */

import { TYPED, decode, encode, numbers, take, validity } from "./arrays.js";
import { PluginError, RowError, noteRow } from "./errors.js";
import { dateFromMicros } from "./time.js";
import { nameOf } from "./types.js";

/** All that a plugin may know of "where" and "now"; a repeated call is given the same. */
export class Context {
  constructor(pipeline, table, runTimeUs) {
    this.pipeline = pipeline;
    this.table = table;
    this.runTimeUs = BigInt(runTimeUs);
  }

  get runTime() {
    return dateFromMicros(this.runTimeUs);
  }
}

const originOf = (origins, row) =>
  origins === undefined || row === undefined ? row : origins[row];

/** The values of one column, null for NULL. They are decoded at the first look, once. */
export class Column {
  #array;
  #field;
  #origins;
  #constantRows;
  #given;
  #values;

  /**
   * With `constantRows` the only value stands for that many rows. A column that was set has no
   * `array`, but values that were `given`: they become buffers when they are asked for.
   */
  constructor(array, field, { origins, constantRows, given } = {}) {
    this.#array = array;
    this.#field = field;
    this.#origins = origins;
    this.#constantRows = constantRows;
    this.#given = given;
  }

  get name() {
    return this.#field.name;
  }

  get type() {
    return nameOf(this.#field.format);
  }

  get format() {
    return this.#field.format;
  }

  get array() {
    this.#array ??= this.#encoded();
    return this.#array;
  }

  get length() {
    return this.#constantRows ?? (this.#given ?? this.#array).length;
  }

  get nullCount() {
    return this.array.nullCount * (this.#constantRows ?? 1);
  }

  get values() {
    if (this.#given !== undefined) this.#values ??= Array.from(this.#given);
    if (this.#values === undefined) {
      const values = decode(this.#array, this.#field.format);
      this.#values =
        this.#constantRows === undefined ? values : new Array(this.#constantRows).fill(values[0]);
    }
    return this.#values;
  }

  get numbers() {
    if (!(this.format in TYPED))
      throw new PluginError(`\`${this.name}\` is a column of ${this.type}, not of numbers`);
    const own = numbers(this.array, this.format);
    if (this.#constantRows === undefined) return own;
    return new own.constructor(this.#constantRows).fill(own[0]);
  }

  get valid() {
    if (this.#constantRows === undefined) return validity(this.array);
    return this.array.nullCount === 0 ? null : new Uint8Array(this.#constantRows);
  }

  get(row) {
    return this.values[row];
  }

  map(make, { nulls = false } = {}) {
    return eachRow(make, [this], { nulls, origins: this.#origins, column: this.name });
  }

  [Symbol.iterator]() {
    return this.values[Symbol.iterator]();
  }

  // No values: a column is easily printed, and what is printed is logged.
  toString() {
    return `<Column ${this.name} ${this.type}, ${this.length} values, ${this.nullCount} NULL>`;
  }

  toJSON() {
    return this.toString();
  }

  /** The column of some rows only. */
  taken(rows, origins) {
    if (this.#given !== undefined) {
      const given = rows.map((row) => this.#given[row]);
      return new Column(undefined, this.#field, { origins, given });
    }
    return new Column(take(this.#array, this.format, rows), this.#field, { origins });
  }

  #encoded() {
    try {
      return encode(this.#given, this.format);
    } catch (thrown) {
      if (!(thrown instanceof PluginError)) throw thrown;
      const row = originOf(this.#origins, thrown.row);
      throw new PluginError(thrown.message, { row, column: this.name });
    }
  }
}

/** Calls `make` with the values of each row. What it throws names the row. */
export function eachRow(make, columns, { nulls, origins, column }) {
  const lists = columns.map((one) => (Array.isArray(one) ? one : one.values));
  const rows = lists[0].length;
  const made = new Array(rows);
  let row = 0;
  try {
    if (lists.length === 1) {
      const [values] = lists;
      for (; row < rows; row++)
        made[row] = values[row] === null && !nulls ? null : make(values[row]);
    } else {
      for (; row < rows; row++) {
        const values = lists.map((list) => list[row]);
        made[row] = !nulls && values.includes(null) ? null : make(...values);
      }
    }
  } catch (thrown) {
    const at = originOf(origins, row);
    if (thrown instanceof PluginError)
      throw new RowError(thrown.row ?? at, thrown.message, { column: thrown.column ?? column });
    noteRow(thrown, at, column);
    throw thrown;
  }
  return made;
}

/** Some rows of a table: the columns that the plugin reads, and those that it sets. */
export class Batch {
  #columns = new Map();
  #output;
  #origins;

  constructor(schema, arrays, rows, { output = [], origins } = {}) {
    this.length = rows;
    this.#output = new Map(output.map((field) => [field.name, field]));
    this.#origins = origins;
    schema.forEach((field, at) => {
      this.#columns.set(field.name, new Column(arrays[at], field, { origins }));
    });
  }

  get names() {
    return [...this.#columns.keys()];
  }

  get origins() {
    return this.#origins;
  }

  has(name) {
    return this.#columns.has(name);
  }

  /** The column of a name, as it was passed or set. */
  column(name) {
    const column = this.#columns.get(name);
    if (column === undefined)
      throw new PluginError(`column \`${name}\` is not among those that are read`);
    return column;
  }

  set(name, values) {
    if (!this.#output.has(name))
      throw new PluginError(`column \`${name}\` is set, but not in \`returns\``);
    const given = ArrayBuffer.isView(values) ? values : [...values];
    if (given.length !== this.length)
      throw new PluginError(`${given.length} values for ${this.length} rows`, { column: name });
    const column = new Column(undefined, this.#output.get(name), { origins: this.#origins, given });
    this.#columns.set(name, column);
    return this;
  }

  map(make, ...names) {
    const { nulls = false } = typeof names.at(-1) === "object" ? names.pop() : {};
    if (names.length === 0) throw new PluginError("`batch.map` needs the name of a column");
    const columns = names.map((name) => this.column(name));
    return eachRow(make, columns, { nulls, origins: this.#origins });
  }

  /** Each row as an object. Comfortable, and several times slower than columns. */
  *rows() {
    const lists = this.names.map((name) => [name, this.column(name).values]);
    for (let row = 0; row < this.length; row++)
      yield Object.fromEntries(lists.map(([name, values]) => [name, values[row]]));
  }

  keep(which) {
    const rows = this.#numbersOf([...which]);
    const origins = rows.map((row) => originOf(this.#origins, row));
    const kept = new Batch([], [], rows.length, { output: [...this.#output.values()], origins });
    for (const [name, column] of this.#columns)
      kept.#columns.set(name, column.taken(rows, origins));
    return kept;
  }

  /** The buffers of the columns that are returned, in the order of `returns`. */
  arrays() {
    return [...this.#output.values()].map((field) => this.#array(field));
  }

  #numbersOf(which) {
    if (which.length > 0 && which.every((one) => typeof one === "boolean" || one === null)) {
      if (which.length !== this.length)
        throw new PluginError(`\`keep\` has a mask of ${which.length} for ${this.length} rows`);
      return which.flatMap((stays, row) => (stays ? [row] : []));
    }
    let last = -1;
    for (const row of which) {
      if (!Number.isInteger(row) || row <= last || row >= this.length)
        throw new PluginError("`keep` takes a mask, or numbers of rows in rising order");
      last = row;
    }
    return which;
  }

  #array(field) {
    const at = (row) => ({ row: originOf(this.#origins, row), column: field.name });
    let column = this.#columns.get(field.name);
    if (column === undefined) throw new PluginError("it is in `returns`, but was not set", at());
    if (column.format !== field.format)
      column = new Column(undefined, field, { origins: this.#origins, given: column.values });
    const { array } = column;
    if (array.nullCount > 0 && !field.nullable)
      throw new PluginError("NULL in a column that cannot have it", at(validity(array).indexOf(0)));
    return array;
  }
}
