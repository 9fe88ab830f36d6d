/** What jco builds: the exports of the world `batch-plugin`, around the author's file. */

import "./prepare.js";
import "../plugin";
import { log as hostLog } from "syncset:plugin/host@0.1.0";

import { Context } from "./batch.js";
import { PluginError } from "./errors.js";
import { seal } from "./guard.js";
import { logTo } from "./log.js";
import { checkRegistry } from "./registry.js";
import { Runtime } from "./runtime.js";

checkRegistry();
const runtime = new Runtime();

/** Only a plain object becomes the error of the contract; anything else ends the instance. */
function answer(run) {
  seal();
  logTo(hostLog);
  try {
    return run();
  } catch (thrown) {
    if (!(thrown instanceof PluginError)) throw { message: String(thrown) };
    throw { message: thrown.message, row: thrown.row, column: thrown.column };
  }
}

const contextOf = ({ pipeline, table, runTimeUs }) => new Context(pipeline, table, runTimeUs);

export const plugin = {
  describe: () => answer(() => runtime.describe()),
  configure: (json) => answer(() => runtime.configure(json)),
  bind: (input) => answer(() => runtime.bind(input)),
};

export const transform = {
  transform: (context, { rows, arrays }) =>
    answer(() => runtime.transform(contextOf(context), rows, arrays)),
};

export const filter = {
  keep: (context, { rows, arrays }) => answer(() => runtime.keep(contextOf(context), rows, arrays)),
};

export const scalar = {
  call: (name, rows, args) => answer(() => runtime.call(name, rows, args)),
};
