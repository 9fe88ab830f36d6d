// Upper-cases `note` and adds one to `quantity`.

import { plugin, scalar, transform } from "./sdk/syncset-plugin.js";

plugin({ name: "change", version: "0.1.0", doc: "For the bench." });

scalar("loud", { args: ["text"], returns: "text" }, (note) => note.toUpperCase());

transform({ reads: { note: "text", quantity: "i32" } }, (context, batch) => {
  batch.set("note", batch.column("note").map((note) => note.toUpperCase()));
  batch.set("quantity", batch.column("quantity").map((quantity) => quantity + 1));
  return batch;
});
