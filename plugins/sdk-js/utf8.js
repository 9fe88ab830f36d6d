/**
 * UTF-8 with what QuickJS has in native code; it has no TextDecoder. A "binary" string has one
 * character for each byte.
 */

const CHUNK = 8192;
const NOT_ASCII = /[^\x00-\x7f]/;

/** Whether text has no characters but those of ASCII. */
export function isAscii(text) {
  return !NOT_ASCII.test(text);
}

/** The bytes as a binary string. */
export function binaryOf(bytes) {
  if (bytes.toBase64) return atob(bytes.toBase64());
  let text = "";
  for (let at = 0; at < bytes.length; at += CHUNK)
    text += String.fromCharCode.apply(null, bytes.subarray(at, at + CHUNK));
  return text;
}

/** The bytes of a binary string. */
export function bytesOf(binary) {
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(btoa(binary));
  const bytes = new Uint8Array(binary.length);
  for (let at = 0; at < bytes.length; at++) bytes[at] = binary.charCodeAt(at);
  return bytes;
}

/** The text of a binary string of UTF-8. */
export function textOf(binary) {
  return isAscii(binary) ? binary : decodeURIComponent(escape(binary));
}

/** Text as a binary string of UTF-8. Half of a surrogate pair is a `URIError`. */
export function encoded(text) {
  return isAscii(text) ? text : unescape(encodeURIComponent(text));
}
