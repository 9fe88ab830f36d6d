// Phone numbers in the form +491712345678 (E.164), so that equal ones are equal.

import { plugin, scalar, transform } from "./sdk/syncset-plugin.js";

plugin({
  name: "{{name}}",
  version: "0.1.0",
  doc: "Brings phone numbers to the form +491712345678.",
  configSchema: {
    type: "object",
    properties: { column: { type: "string", description: "the column with the numbers" } },
    required: ["column"],
    additionalProperties: false,
  },
});

const CALLING_CODES = { AT: "43", CH: "41", DE: "49", FR: "33", GB: "44", US: "1" };
const DIGITS_MIN = 7;
const DIGITS_MAX = 15;

/** The number with its calling code; null if it is no number or the country is not known. */
export const normalisePhone = scalar(
  "normalise_phone",
  { args: ["text", "text"], returns: "text", doc: "The number with its calling code, or NULL." },
  (phone, country) => {
    let number = phone.replace(/[^0-9]/g, "");
    if (number.startsWith("00") && !phone.trim().startsWith("+")) {
      number = number.slice(2);
    } else if (!phone.trim().startsWith("+")) {
      const code = CALLING_CODES[country.toUpperCase()];
      if (code === undefined) return null;
      number = code + number.replace(/^0/, "");
    }
    return number.length >= DIGITS_MIN && number.length <= DIGITS_MAX ? `+${number}` : null;
  },
);

/** Normalises one column, by the country that the column `country` names. */
transform(
  {
    reads: (config) => ({ [config.column]: "text", country: "text" }),
    returns: (config) => ({ [config.column]: "text" }),
  },
  (context, batch, { column }) => {
    batch.set(column, batch.map(normalisePhone, column, "country"));
    return batch;
  },
);
