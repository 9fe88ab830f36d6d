"""Phone numbers in the form +491712345678 (E.164), so that equal ones are equal."""

from syncset_plugin import Batch, Context, plugin, scalar, transform

plugin(
    name="{{name}}",
    version="0.1.0",
    doc="Brings phone numbers to the form +491712345678.",
    config_schema={
        "type": "object",
        "properties": {"column": {"type": "string", "description": "the column with the numbers"}},
        "required": ["column"],
        "additionalProperties": False,
    },
)

CALLING_CODES = {"AT": "43", "CH": "41", "DE": "49", "FR": "33", "GB": "44", "US": "1"}
DIGITS_MIN, DIGITS_MAX = 7, 15


@scalar
def normalise_phone(phone: str, country: str) -> str | None:
    """The number with its calling code; NULL if it is no number or the country is not known."""
    digits = "".join(one for one in phone if one in "0123456789")
    if phone.strip().startswith("+"):
        number = digits
    elif digits.startswith("00"):
        number = digits[2:]
    else:
        code = CALLING_CODES.get(country.upper())
        if code is None:
            return None
        number = code + digits.removeprefix("0")
    return "+" + number if DIGITS_MIN <= len(number) <= DIGITS_MAX else None


@transform(
    reads=lambda config: {config["column"]: "text", "country": "text"},
    returns=lambda config, read: {config["column"]: "text"},
)
def normalise(context: Context, batch: Batch, config: dict) -> Batch:
    """Normalises one column, by the country that the column `country` names."""
    column = config["column"]
    batch[column] = batch.map(normalise_phone, column, "country")
    return batch
