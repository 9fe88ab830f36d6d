/**
 * Plugins for syncset in JavaScript: transforms, filters and functions for SQL expressions.
 * The types of all this are in `syncset-plugin.d.ts`.
 */
export { PluginError, RowError } from "./errors.js";
export { log } from "./log.js";
export { filter, plugin, scalar, transform } from "./registry.js";
export * as testing from "./testing.js";
export {
  DATE_INFINITY,
  DATE_NEGATIVE_INFINITY,
  TIMESTAMP_INFINITY,
  TIMESTAMP_NEGATIVE_INFINITY,
  dateFromMicros,
  daysFromIso,
  isoFromDays,
  isoFromMicros,
  microsFromDate,
  microsFromIso,
} from "./time.js";
