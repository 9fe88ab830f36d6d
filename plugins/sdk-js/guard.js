/**
 * Makes what a plugin cannot do an error that says so. Without this, asking for the time ends
 * the instance with `unreachable` and no word why, and random numbers are the same in each run.
 * While the component is built, everything works; from the first call on, nothing does.
 */

import { PluginError } from "./errors.js";
import { log } from "./log.js";
import { binaryOf, bytesOf, encoded, textOf } from "./utf8.js";

const NO_CLOCK = "a plugin has no clock: use `context.runTime`";
const NO_CHANCE = "a plugin has no random numbers";

let sealed = false;

/** From here on nothing of the world outside is there. */
export function seal() {
  sealed = true;
}

function refuse(why) {
  if (sealed) throw new PluginError(why);
}

const refused =
  (original, why) =>
  (...args) => {
    refuse(why);
    return original(...args);
  };

class Decoder {
  encoding = "utf-8";

  decode(bytes = new Uint8Array(0)) {
    return textOf(binaryOf(ArrayBuffer.isView(bytes) ? bytes : new Uint8Array(bytes)));
  }
}

class Encoder {
  encoding = "utf-8";

  encode(text = "") {
    return bytesOf(encoded(text.toWellFormed()));
  }
}

const shown = (value) => (typeof value === "object" ? JSON.stringify(value) : String(value));
const say =
  (level) =>
  (...values) =>
    level(values.map(shown).join(" "));

/** Puts checks in place, before the author's file takes what it needs. */
export function install() {
  globalThis.Date = new Proxy(Date, {
    construct(target, args) {
      if (args.length === 0) refuse(NO_CLOCK);
      return Reflect.construct(target, args);
    },
    apply(target) {
      refuse(NO_CLOCK);
      return target();
    },
    get(target, name) {
      return name === "now" ? refused(target.now, NO_CLOCK) : target[name];
    },
  });
  Date.prototype.constructor = Date;
  Math.random = refused(Math.random, NO_CHANCE);
  const clock = globalThis.performance;
  if (clock) globalThis.performance = { now: refused(() => clock.now(), NO_CLOCK) };
  const { trace, debug, info, warn, error } = log;
  globalThis.console = {
    trace: say(trace),
    debug: say(debug),
    log: say(info),
    info: say(info),
    warn: say(warn),
    error: say(error),
  };
  globalThis.TextDecoder ??= Decoder;
  globalThis.TextEncoder ??= Encoder;
}
