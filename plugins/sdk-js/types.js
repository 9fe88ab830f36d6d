/** Names of types, and the Arrow format strings that stand for them between host and plugin. */

export const FORMATS = {
  bool: "b",
  i8: "c",
  u8: "C",
  i16: "s",
  u16: "S",
  i32: "i",
  u32: "I",
  i64: "l",
  u64: "L",
  f32: "f",
  f64: "g",
  text: "u",
  bytes: "z",
  uuid: "w:16",
  date: "tdD",
  time: "ttu",
  timestamp: "tsu:",
  timestamptz: "tsu:UTC",
};

const DECIMAL_DIGITS_MAX = 38;
const NOT_NULL = " not null";
const NAMES = Object.fromEntries(Object.entries(FORMATS).map(([name, format]) => [format, name]));

/** The format string of a type such as `text` or `decimal(12,2)`. */
export function formatOf(name) {
  if (Object.hasOwn(FORMATS, name)) return FORMATS[name];
  const match = /^decimal\(\s*(\d+)\s*,\s*(\d+)\s*\)$/.exec(name);
  if (match === null) {
    const known = [...Object.keys(FORMATS), "decimal(P,S)"].join(", ");
    throw new TypeError(`unknown type \`${name}\`; there are ${known}`);
  }
  const [precision, scale] = [Number(match[1]), Number(match[2])];
  if (precision < 1 || precision > DECIMAL_DIGITS_MAX || scale > precision)
    throw new TypeError(`\`${name}\`: 1 <= P <= ${DECIMAL_DIGITS_MAX}, 0 <= S <= P`);
  return `d:${precision},${scale}`;
}

/** What authors call the type of a format string; the format itself if it is another one. */
export function nameOf(format) {
  if (format.startsWith("d:")) return `decimal(${format.slice(2)})`;
  return NAMES[format] ?? format;
}

/** The formats that a column which is read may have. An empty list is any type. */
export function patternsOf(names) {
  const list = Array.isArray(names) ? names : [names];
  if (list.includes("any")) return [];
  return list.map((name) => (name === "decimal" ? "d:*" : formatOf(name)));
}

/** The field of a column that is returned as `text`, or as `text not null`. */
export function returnedField(name, type) {
  const nullable = !type.endsWith(NOT_NULL);
  const plain = nullable ? type : type.slice(0, -NOT_NULL.length);
  return { name, format: formatOf(plain), nullable };
}
