/**
 * Runs a plugin as syncset would, without WebAssembly: for the author's own tests with
 * `node --test`.
 */

import { decode, encode, unpackBits } from "./arrays.js";
import { Context } from "./batch.js";
import { PluginError } from "./errors.js";
import { registry } from "./registry.js";
import { Runtime } from "./runtime.js";
import { formatOf } from "./types.js";

const CONTEXT = new Context("a_pipeline", "a_table", 1_700_000_000_000_000n);

/** The rows as they are after the transform: changed, with further columns, or fewer. */
export function transform(rows, config = {}, { columns = {}, context = CONTEXT } = {}) {
  const { runtime, arrays } = bound(rows, config, columns);
  const { batch, origins } = runtime.transform(context, rows.length, arrays);
  const kept = [...(origins ?? rows.keys())];
  if (kept.length !== batch.rows)
    throw new PluginError(`${batch.rows} rows came back, made from ${kept.length}`);
  const made = kept.map((row) => ({ ...rows[row] }));
  runtime.output.forEach(({ name, format }, at) => {
    decode(batch.arrays[at], format).forEach((value, row) => {
      made[row][name] = value;
    });
  });
  return made;
}

/** The rows that the filter keeps. */
export function keep(rows, config = {}, { columns = {}, context = CONTEXT } = {}) {
  const { runtime, arrays } = bound(rows, config, columns);
  const bits = unpackBits(runtime.keep(context, rows.length, arrays), rows.length);
  return rows.filter((_, row) => bits[row]);
}

/** What a function gives for columns of arguments. */
export function call(name, ...args) {
  const fn = registry.scalars.get(name);
  if (fn === undefined) throw new PluginError(`there is no function \`${name}\``);
  const passed = args.map((values, at) => ({
    isConstant: false,
    values: encode(values, fn.args[at]),
  }));
  return decode(new Runtime().call(name, args[0]?.length ?? 1, passed), fn.returns);
}

function bound(rows, config, columns) {
  const runtime = new Runtime();
  const read =
    runtime.configure(JSON.stringify(config)) ??
    Object.keys(columns).map((name) => ({ name, formats: [] }));
  const fields = read.map(({ name, formats }) => {
    const [format, ...others] = name in columns ? [formatOf(columns[name])] : formats;
    if (format === undefined || others.length > 0 || format.endsWith("*"))
      throw new TypeError(`\`${name}\` can be of several types: say which in \`columns\``);
    return { name, format, nullable: true };
  });
  runtime.bind(fields);
  const values = (name) => rows.map((row) => row[name]);
  return { runtime, arrays: fields.map(({ name, format }) => encode(values(name), format)) };
}
