/**
 * Messages in syncset's own log. They must not hold values of private columns. Outside of
 * WebAssembly they go to standard error.
 */

let sink = (level, message) => process.stderr.write(`${level}: ${message}\n`);

/** Sends messages to `to(level, message)` from here on. */
export function logTo(to) {
  sink = to;
}

const say = (level) => (message) => sink(level, String(message));

export const log = {
  trace: say("trace"),
  debug: say("debug"),
  info: say("info"),
  warn: say("warn"),
  error: say("error"),
};
