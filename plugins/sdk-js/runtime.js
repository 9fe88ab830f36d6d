/** Answers the calls of the host with what the author registered. Knows nothing of WebAssembly. */

import { encode, packBits } from "./arrays.js";
import { Batch, Column, eachRow } from "./batch.js";
import { PluginError, frames, notedRow } from "./errors.js";
import { log } from "./log.js";
import { registry } from "./registry.js";
import { nameOf, patternsOf, returnedField } from "./types.js";

export const SDK = "syncset-plugin-js 0.1.0";

/** One instance of a plugin: `configure` once, then `bind`, then the calls with rows. */
export class Runtime {
  #config = {};
  #input = [];
  #output = [];

  /** The columns that `transform` returns, once it is bound. */
  get output() {
    return this.#output;
  }

  /** What the plugin is and has, as the contract has it. */
  describe() {
    const { name, version, doc, configSchema, scalars } = registry;
    const functions = [...scalars.values()].map((one) => ({
      name: one.name,
      args: one.args,
      returns: one.returns,
      volatility: one.volatility,
      strict: one.strict,
      doc: one.doc,
    }));
    const provides = {
      transform: registry.transform !== undefined,
      filter: registry.filter !== undefined,
      scalar: scalars.size > 0,
      resolver: false,
    };
    const schema = configSchema === undefined ? "" : JSON.stringify(configSchema);
    return { name, version, sdk: SDK, doc, provides, configSchema: schema, functions };
  }

  /** The columns that are read with the formats that they may have; undefined: all columns. */
  configure(text) {
    return told("configuration", { isPrivate: false }, () => {
      const config = JSON.parse(text || "{}");
      for (const key of registry.configSchema?.required ?? [])
        if (!Object.hasOwn(config, key))
          throw new PluginError(`the configuration has no \`${key}\``);
      this.#config = config;
      const read = new Map();
      for (const step of [registry.transform, registry.filter].filter(Boolean)) {
        const columns = readsOf(step, config);
        if (columns === undefined) return undefined;
        for (const [name, formats] of columns) read.set(name, both(name, read.get(name), formats));
      }
      return [...read].map(([name, formats]) => ({ name, formats }));
    });
  }

  /** The columns that `transform` returns for those that it is passed. */
  bind(input) {
    return told("columns", { isPrivate: false }, () => {
      this.#input = input;
      this.#output = registry.transform ? this.#returned(registry.transform) : [];
      return this.#output;
    });
  }

  /** The batch that is returned, and the rows that it was made from. */
  transform(context, rows, arrays) {
    return told("transform", {}, () => {
      const step = provided(registry.transform, "transform");
      const batch = new Batch(this.#input, arrays, rows, { output: this.#output });
      const made = step.call(context, batch, this.#config) ?? batch;
      if (!(made instanceof Batch))
        throw new PluginError(`the transform returned ${kindOf(made)} instead of a batch`);
      return { batch: { rows: made.length, arrays: made.arrays() }, origins: made.origins };
    });
  }

  /** A bitmap of the rows that stay. */
  keep(context, rows, arrays) {
    return told("filter", {}, () => {
      const step = provided(registry.filter, "filter");
      const batch = new Batch(this.#input, arrays, rows);
      const mask = listOf(step.call(context, batch, this.#config), "filter");
      if (mask.length !== rows)
        throw new PluginError(`the filter returned ${mask.length} values for ${rows} rows`);
      return packBits(mask);
    });
  }

  /** What a function makes of its arguments, each with `isConstant` and `values`. */
  call(name, rows, args) {
    return told(`function \`${name}\``, {}, () => {
      const fn = registry.scalars.get(name);
      if (fn === undefined) throw new PluginError(`there is no function \`${name}\``);
      if (args.length !== fn.args.length)
        throw new PluginError(`${args.length} arguments for the ${fn.args.length} of \`${name}\``);
      const columns = args.map(({ isConstant, values }, at) => {
        const field = { name: String(at + 1), format: fn.args[at], nullable: true };
        return new Column(values, field, isConstant ? { constantRows: rows } : {});
      });
      return encode(results(fn, rows, columns), fn.returns);
    });
  }

  #returned({ reads, returns }) {
    const read = readsOf({ reads }, this.#config);
    const own = this.#input.filter(({ name }) => read === undefined || read.has(name));
    if (returns === undefined) return own;
    const types = Object.fromEntries(own.map(({ name, format }) => [name, nameOf(format)]));
    const made = typeof returns === "function" ? returns(this.#config, types) : returns;
    return Object.entries(made).map(([name, type]) => returnedField(name, type));
  }
}

function readsOf({ reads }, config) {
  const read = typeof reads === "function" ? reads(config) : reads;
  if (read === undefined) return undefined;
  return new Map(Object.entries(read).map(([name, type]) => [name, patternsOf(type)]));
}

/** The formats that transform and filter both take; an empty list is any. */
function both(name, left, right) {
  if (!left?.length || !right.length) return left?.length ? left : right;
  const common = left.filter((one) => right.includes(one));
  if (common.length === 0)
    throw new PluginError("transform and filter read it with different types", { column: name });
  return common;
}

function provided(step, kind) {
  if (step === undefined) throw new PluginError(`the plugin has no ${kind}`);
  return step;
}

function kindOf(value) {
  if (value instanceof Promise) return "a promise (plugins are not asynchronous)";
  return value === null || value === undefined ? String(value) : `a ${value.constructor.name}`;
}

function listOf(values, what) {
  if (Array.isArray(values) || ArrayBuffer.isView(values)) return values;
  if (values instanceof Column) return values.values;
  throw new PluginError(`the ${what} returned ${kindOf(values)} instead of an array`);
}

function results(fn, rows, columns) {
  if (!fn.vectorized) {
    if (columns.length > 0) return eachRow(fn.call, columns, { nulls: !fn.strict });
    return eachRow(() => fn.call(), [new Array(rows).fill(0)], { nulls: true });
  }
  const made = listOf(fn.call(...columns), "function");
  if (made.length !== rows)
    throw new PluginError(`\`${fn.name}\` returned ${made.length} values for ${rows} rows`);
  if (!fn.strict || columns.every(({ nullCount }) => nullCount === 0)) return made;
  const bits = columns.map(({ valid }) => valid).filter((valid) => valid !== null);
  return Array.from(made, (value, row) => (bits.every((valid) => valid[row]) ? value : null));
}

/**
 * Turns whatever is thrown into a `PluginError`. The text of an exception that the author did
 * not write may hold a value: where there are rows, it goes to the log of level debug only.
 */
function told(what, { isPrivate = true }, run) {
  try {
    return run();
  } catch (thrown) {
    const places = frames(thrown);
    if (thrown instanceof PluginError) {
      places.forEach(log.debug);
      throw thrown;
    }
    const kind = thrown instanceof Error ? thrown.name : typeof thrown;
    const text = thrown instanceof Error ? thrown.message : String(thrown);
    places.forEach(log.error);
    // The name of a variable is no value, and what to do is known from it alone.
    const isShown = !isPrivate || thrown instanceof ReferenceError;
    if (!isShown) log.debug(`${kind}: ${text}`);
    const place = places.length > 0 ? ` ${places[0]}` : "";
    const message = `${what}: ${kind}${place}${isShown ? `: ${text}` : ""}`;
    throw new PluginError(message, notedRow(thrown));
  }
}
