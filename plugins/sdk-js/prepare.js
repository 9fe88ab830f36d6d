/** Imported before the author's file: see `guard.js`. */
import { install } from "./guard.js";

install();
