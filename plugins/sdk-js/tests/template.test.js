import assert from "node:assert/strict";
import { cpSync, mkdtempSync, readFileSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { test } from "node:test";

const SDK = fileURLToPath(new URL("..", import.meta.url));

test("cases of the template come out as expected", async (context) => {
  const folder = mkdtempSync(join(tmpdir(), "plugin-"));
  context.after(() => rmSync(folder, { recursive: true }));
  cpSync(join(SDK, "template"), folder, { recursive: true });
  for (const name of readdirSync(SDK).filter((one) => /\.(js|json)$/.test(one)))
    cpSync(join(SDK, name), join(folder, "sdk", name));
  const { normalisePhone } = await import(pathToFileURL(join(folder, "plugin.js")));
  const { testing } = await import(pathToFileURL(join(folder, "sdk", "syncset-plugin.js")));
  const read = (name) =>
    readFileSync(join(folder, "cases", name), "utf8")
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line));
  const rows = read("phones.jsonl");

  const made = testing.transform(rows, { column: "phone" });

  assert.ok(made.length > 0);
  assert.deepEqual(made, read("phones.expected.jsonl"));
  const columns = ["phone", "country"].map((name) => rows.map((row) => row[name]));
  assert.deepEqual(
    testing.call("normalise_phone", ...columns),
    made.map(({ phone }) => phone),
  );
  assert.equal(normalisePhone("0171 2345678", "DE"), "+491712345678");
});
