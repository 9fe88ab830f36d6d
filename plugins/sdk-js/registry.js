/** What a plugin provides: filled by the calls in the author's file when it is imported. */

import { formatOf } from "./types.js";

const VOLATILITIES = ["immutable", "stable", "volatile"];

const nothing = () => ({
  name: "",
  version: "",
  doc: "",
  configSchema: undefined,
  scalars: new Map(),
  transform: undefined,
  filter: undefined,
});

export const registry = nothing();

/** Forgets everything, for tests that make several plugins. */
export function clearRegistry() {
  Object.assign(registry, nothing());
}

/** Throws if no plugin can be made of it. */
export function checkRegistry() {
  if (!registry.name) throw new TypeError("plugin.js has no `plugin({ name, version })`");
  if (registry.scalars.size === 0 && !registry.transform && !registry.filter)
    throw new TypeError("plugin.js has no `scalar`, `transform` or `filter`");
}

/** Says what the plugin is called, and with `configSchema` (JSON Schema) how it is configured. */
export function plugin({ name, version, doc = "", configSchema }) {
  Object.assign(registry, { name, version, doc, configSchema });
}

/** Makes a function of SQL expressions; returns the JavaScript function as it is. */
export function scalar(name, options, call) {
  const { args, returns, strict = true, volatility = "immutable", vectorized = false } = options;
  if (!Array.isArray(args) || typeof returns !== "string" || typeof call !== "function")
    throw new TypeError(`\`${name}\` needs \`args\`, \`returns\` and a function`);
  if (!VOLATILITIES.includes(volatility))
    throw new TypeError(`volatility is one of ${VOLATILITIES.join(", ")}`);
  if (registry.scalars.has(name)) throw new TypeError(`there are two functions \`${name}\``);
  registry.scalars.set(name, {
    name,
    args: args.map(formatOf),
    returns: formatOf(returns),
    strict,
    volatility,
    vectorized,
    doc: options.doc ?? "",
    call,
  });
  return call;
}

/** Makes the transform of the plugin: `(context, batch, config)` -> the batch. */
export function transform({ reads, returns }, call) {
  if (registry.transform) throw new TypeError("a plugin has one `transform`");
  registry.transform = { reads, returns, call };
  return call;
}

/** Makes the filter of the plugin: `(context, batch, config)` -> a mask. */
export function filter({ reads }, call) {
  if (registry.filter) throw new TypeError("a plugin has one `filter`");
  registry.filter = { reads, call };
  return call;
}
