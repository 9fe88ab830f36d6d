/** What a plugin throws to stop, and how an exception is told without telling any value. */

const FRAMES_MAX = 5;

/** The plugin cannot go on. The message is shown to the user, so it must not hold values. */
export class PluginError extends Error {
  constructor(message, { row, column } = {}) {
    super(message);
    this.name = "PluginError";
    this.row = row;
    this.column = column;
  }
}

/**
 * One row cannot be processed: `row` counts from zero in the batch that was passed in. In a
 * function of a row it is known: `throw new RowError(undefined, message)`.
 */
export class RowError extends PluginError {
  constructor(row, message, { column } = {}) {
    super(message, { row, column });
    this.name = "RowError";
  }
}

// Beside the exceptions, so that the author's own tests see them as they were thrown.
const places = new WeakMap();

/** Notes in which row and column something was thrown; the first note counts. */
export function noteRow(thrown, row, column) {
  if (typeof thrown === "object" && thrown !== null && !places.has(thrown))
    places.set(thrown, { row, column });
}

/** The row and column that were noted. */
export function notedRow(thrown) {
  return (typeof thrown === "object" && places.get(thrown)) || {};
}

// All of a plugin is one file when it runs: this SDK is told from the author by its functions.
const THROWN_BY = /^at (new )?(PluginError|RowError) /;
const CALLED_BY = /^at (eachRow|told|results) /;

/** The innermost places of a stack, without the message that some engines put before them. */
export function frames(thrown) {
  const places = String(thrown?.stack ?? "")
    .split("\n")
    .map((line) => line.trim())
    .filter((line) => line.startsWith("at ") && !THROWN_BY.test(line));
  const end = places.findIndex((line) => CALLED_BY.test(line));
  return places.slice(0, end < 0 ? undefined : end).slice(0, FRAMES_MAX);
}
