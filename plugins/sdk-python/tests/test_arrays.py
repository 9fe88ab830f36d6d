import datetime
import decimal
import math
import struct
import unittest
import uuid
from array import array

from syncset_plugin import PluginError, arrays
from syncset_plugin.arrays import Array
from syncset_plugin.types import FORMATS, format_of

UTC = datetime.timezone.utc
UUID = uuid.UUID("00112233-4455-6677-8899-aabbccddeeff")

# Two values of each type with their buffers after the validity, as Arrow has them.
VALUES = {
    "bool": ([True, False], [b"\x01"]),
    "i8": ([-128, 127], [b"\x80\x7f"]),
    "u8": ([0, 255], [b"\x00\xff"]),
    "i16": ([-1, 2**15 - 1], [b"\xff\xff\xff\x7f"]),
    "u16": ([1, 2**16 - 1], [b"\x01\x00\xff\xff"]),
    "i32": ([-1, 2**31 - 1], [b"\xff\xff\xff\xff\xff\xff\xff\x7f"]),
    "u32": ([1, 2**32 - 1], [b"\x01\x00\x00\x00\xff\xff\xff\xff"]),
    "i64": ([-(2**63), 2**63 - 1], [struct.pack("<qq", -(2**63), 2**63 - 1)]),
    "u64": ([0, 2**64 - 1], [struct.pack("<QQ", 0, 2**64 - 1)]),
    "f32": ([0.5, -math.inf], [struct.pack("<ff", 0.5, -math.inf)]),
    "f64": ([0.1, -0.0], [struct.pack("<dd", 0.1, -0.0)]),
    "text": (["zwölf", ""], [struct.pack("<iii", 0, 6, 6), "zwölf".encode()]),
    "bytes": ([b"", b"\x00\xff"], [struct.pack("<iii", 0, 0, 2), b"\x00\xff"]),
    "uuid": ([UUID, uuid.UUID(int=0)], [UUID.bytes + bytes(16)]),
    "date": (
        [datetime.date(1970, 1, 2), datetime.date(1969, 12, 31)],
        [struct.pack("<ii", 1, -1)],
    ),
    "time": (
        [datetime.time(0, 0, 1, 5), datetime.time(23, 59, 59, 999999)],
        [struct.pack("<qq", 1_000_005, 86_399_999_999)],
    ),
    "timestamp": (
        [
            datetime.datetime(1970, 1, 1, 0, 0, 1),
            datetime.datetime(1969, 12, 31, 23, 59, 59, 999999),
        ],
        [struct.pack("<qq", 1_000_000, -1)],
    ),
    "timestamptz": (
        [
            datetime.datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC),
            datetime.datetime.max.replace(tzinfo=UTC),
        ],
        [struct.pack("<qq", 1_000_000, 253_402_300_799_999_999)],
    ),
    "decimal(38,2)": (
        [decimal.Decimal("-0.01"), decimal.Decimal("123456789012345678901234567890123456.78")],
        [
            (-1).to_bytes(16, "little", signed=True)
            + (12345678901234567890123456789012345678).to_bytes(16, "little", signed=True)
        ],
    ),
}

WRONG = {
    "bool": 1,
    "i8": 128,
    "u8": -1,
    "i16": "1",
    "u16": 70000,
    "i32": 1.5,
    "u32": -1,
    "i64": 2**63,
    "u64": -1,
    "f32": "1",
    "f64": "1",
    "text": b"x",
    "bytes": "x",
    "uuid": str(UUID),
    "date": datetime.datetime(2020, 1, 1),
    "time": "10:00",
    "timestamp": datetime.datetime(2020, 1, 1, tzinfo=UTC),
    "timestamptz": datetime.datetime(2020, 1, 1),
    "decimal(38,2)": decimal.Decimal("0.001"),
}


class EveryType(unittest.TestCase):
    def test_table_has_every_type(self):
        self.assertEqual(set(VALUES), set(FORMATS) | {"decimal(38,2)"})
        self.assertEqual(set(VALUES), set(WRONG))

    def test_values_have_the_buffers_of_arrow(self):
        for name, (values, buffers) in VALUES.items():
            with self.subTest(name):
                made = arrays.encode(values, format_of(name))

                self.assertEqual(made, Array(2, 0, [b"", *buffers]))
                self.assertEqual(arrays.decode(made, format_of(name)), values)

    def test_nulls_come_back_as_none(self):
        for name, (values, _) in VALUES.items():
            with self.subTest(name):
                nulls = [None, values[0], None, None, None, values[1], None, None, None, values[0]]

                made = arrays.encode(nulls, format_of(name))

                self.assertEqual(made.null_count, 7)
                self.assertEqual(made.buffers[0], b"\x22\x02")
                self.assertEqual(arrays.decode(made, format_of(name)), nulls)

    def test_only_nulls_and_no_rows_come_back(self):
        for name in VALUES:
            with self.subTest(name):
                for values in ([], [None], [None] * 9):
                    made = arrays.encode(values, format_of(name))
                    self.assertEqual(arrays.decode(made, format_of(name)), values)

    def test_no_rows_need_no_buffers(self):
        for name in VALUES:
            with self.subTest(name):
                self.assertEqual(arrays.decode(Array(0, 0, [b"", b"", b""]), format_of(name)), [])

    def test_wrong_value_names_its_row_and_not_itself(self):
        for name, (values, _) in VALUES.items():
            with self.subTest(name):
                with self.assertRaises(PluginError) as caught:
                    arrays.encode([values[0], None, WRONG[name]], format_of(name))

                self.assertEqual(caught.exception.row, 2)
                self.assertIn(name, caught.exception.message)

    def test_wrong_value_is_not_told(self):
        for name in ("i32", "bytes", "date", "uuid", "decimal(5,2)"):
            with self.assertRaises(PluginError) as caught:
                arrays.encode(["a secret"], format_of(name))

            self.assertNotIn("secret", caught.exception.message)

    def test_rows_are_taken_without_decoding(self):
        for name, (values, _) in VALUES.items():
            with self.subTest(name):
                given = arrays.encode([values[0], None, values[1], values[0]], format_of(name))

                taken = arrays.take(given, format_of(name), [1, 2])

                self.assertEqual(arrays.decode(taken, format_of(name)), [None, values[1]])
                none = arrays.take(given, format_of(name), [])
                self.assertEqual(arrays.decode(none, format_of(name)), [])


class SpecialValues(unittest.TestCase):
    def test_nan_of_a_decimal_is_carried_as_the_smallest_number(self):
        made = arrays.encode([decimal.Decimal("NaN")], "d:5,2")

        self.assertEqual(made.buffers[1], (-(1 << 127)).to_bytes(16, "little", signed=True))
        self.assertTrue(arrays.decode(made, "d:5,2")[0].is_nan())

    def test_infinities_of_times_are_floats(self):
        for name, edges in {
            "date": ("i", 2**31),
            "timestamp": ("q", 2**63),
            "timestamptz": ("q", 2**63),
        }.items():
            with self.subTest(name):
                made = arrays.encode([math.inf, -math.inf], format_of(name))

                self.assertEqual(
                    made.buffers[1], struct.pack(f"<2{edges[0]}", edges[1] - 1, -edges[1])
                )
                self.assertEqual(arrays.decode(made, format_of(name)), [math.inf, -math.inf])

    def test_time_that_python_has_not_names_its_row(self):
        given = arrays.encode([0, 86_400_000_000], "l")

        with self.assertRaises(PluginError) as caught:
            arrays.decode(given, "ttu")

        self.assertEqual(caught.exception.row, 1)

    def test_what_stands_under_a_null_is_not_looked_at(self):
        given = Array(2, 1, [b"\x02", struct.pack("<qq", 2**62, 0)])

        self.assertEqual(arrays.decode(given, "tsu:"), [None, datetime.datetime(1970, 1, 1)])

    def test_decimal_with_too_many_digits_is_refused(self):
        with self.assertRaisesRegex(PluginError, "more than 3 digits"):
            arrays.encode([decimal.Decimal("10.00")], "d:3,2")
        with self.assertRaisesRegex(PluginError, "does not fit"):
            arrays.encode([decimal.Decimal("Infinity")], "d:3,2")

    def test_half_of_a_surrogate_pair_names_its_row(self):
        with self.assertRaises(PluginError) as caught:
            arrays.encode(["a", "\ud800"], "u")

        self.assertEqual(caught.exception.row, 1)

    def test_packed_numbers_are_taken_as_they_are(self):
        made = arrays.encode(array("d", [1.0, 2.0]), "g")

        self.assertEqual(made.buffers, [b"", struct.pack("<dd", 1.0, 2.0)])
        with self.assertRaises(PluginError):
            arrays.encode(array("f", [1.0]), "g")

    def test_values_after_the_last_row_are_not_read(self):
        given = Array(1, 1, [b"\xfe", b"\xff" * 8])

        self.assertEqual(arrays.decode(given, "i"), [None])


if __name__ == "__main__":
    unittest.main()
