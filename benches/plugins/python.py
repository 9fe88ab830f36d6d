"""Upper-cases `note` and adds one to `quantity`."""

from syncset_plugin import Batch, plugin, scalar, transform

plugin(name="change", version="0.1.0", doc="For the bench.")


@scalar
def loud(note: str) -> str:
    return note.upper()


@transform(reads={"note": "text", "quantity": "i32"})
def change(context, batch: Batch, config) -> Batch:
    batch["note"] = [None if note is None else note.upper() for note in batch["note"]]
    batch["quantity"] = [None if it is None else it + 1 for it in batch["quantity"]]
    return batch
