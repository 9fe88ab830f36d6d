import datetime
import decimal
import json
import subprocess
import sys
import textwrap
import typing
import unittest

from syncset_plugin import Batch, PluginError, RowError, arrays, filter, lint, log, plugin, scalar
from syncset_plugin import testing, transform
from syncset_plugin.arrays import Array
from syncset_plugin.batch import Column, Field
from syncset_plugin.registry import registry
from syncset_plugin.runtime import Runtime

CONTEXT = testing.CONTEXT


class Plugin(unittest.TestCase):
    def setUp(self):
        registry.clear()
        self.said = []
        log.to(lambda level, message: self.said.append((level, message)))

    def tearDown(self):
        registry.clear()

    def refused(self, function, *args, **named) -> PluginError:
        with self.assertRaises(PluginError) as caught:
            function(*args, **named)
        return caught.exception


class Scalars(Plugin):
    def test_annotations_give_the_types(self):
        Cents = typing.Annotated[decimal.Decimal, "decimal(12,2)"]

        @scalar
        def price(a: str, b: int, c: float, d: bool, e: datetime.date) -> Cents:
            """What it costs."""

        made = registry.scalars["price"]
        self.assertEqual(made.args, ["u", "l", "g", "b", "tdD"])
        self.assertEqual((made.returns, made.strict, made.doc), ("d:12,2", True, "What it costs."))

    def test_argument_that_may_be_none_makes_it_not_strict(self):
        @scalar
        def shown(a: str | None, b: typing.Optional[int]) -> str:
            return f"{a} {b}"

        self.assertEqual(testing.call("shown", ["x", None], [None, 2]), ["x None", "None 2"])

    def test_annotations_that_say_too_little_are_refused(self):
        def wide(a: decimal.Decimal) -> int: ...
        def zone(a: datetime.datetime) -> int: ...
        def none(a) -> int: ...
        def open(a: int): ...
        def both(a: int | str) -> int: ...

        for function in (wide, zone, none, open, both):
            with self.subTest(function.__name__), self.assertRaises(TypeError):
                scalar(function)

    def test_strict_function_is_not_called_for_nulls(self):
        seen = []

        @scalar("double_it", args=["i64", "i64"], returns="i64")
        def double(a, b):
            seen.append(a)
            return a * 2

        self.assertEqual(testing.call("double_it", [1, None, 3], [1, 1, None]), [2, None, None])
        self.assertEqual(seen, [1])

    def test_decorated_function_stays_a_function(self):
        @scalar
        def one(a: int) -> int:
            return a + 1

        self.assertEqual(one(1), 2)

    def test_constant_stands_for_every_row(self):
        @scalar
        def add(a: int, b: int) -> int:
            return a + b

        for constant, expected in (([10], [11, 12]), ([None], [None, None])):
            args = [(False, arrays.encode([1, 2], "l")), (True, arrays.encode(constant, "l"))]
            made = Runtime().call("add", 2, args)
            self.assertEqual(arrays.decode(made, "l"), expected)

    def test_function_without_arguments_is_called_for_each_row(self):
        @scalar
        def seven() -> int:
            return 7

        self.assertEqual(arrays.decode(Runtime().call("seven", 3, []), "l"), [7, 7, 7])
        self.assertEqual(arrays.decode(Runtime().call("seven", 0, []), "l"), [])

    def test_vectorized_function_gets_whole_columns(self):
        from array import array

        @scalar(args=["f64", "f64"], returns="f64", vectorized=True)
        def times(a, b):
            return array("d", [x * y for x, y in zip(a.numbers, b.numbers)])

        args = [(False, arrays.encode([1.0, None, 3.0], "g")), (True, arrays.encode([2.0], "g"))]
        made = Runtime().call("times", 3, args)

        self.assertEqual(arrays.decode(made, "g"), [2.0, None, 6.0])

    def test_too_few_values_are_refused(self):
        @scalar(args=["i64"], returns="i64", vectorized=True)
        def short(a):
            return []

        for values in ([1], [None]):
            error = self.refused(testing.call, "short", values)
            self.assertIn("0 values for 1", error.message)

    def test_exception_names_its_row_and_keeps_its_text_to_debug(self):
        @scalar
        def parse(a: str) -> int:
            return int(a)

        error = self.refused(testing.call, "parse", ["1", "a secret"])

        self.assertEqual(error.row, 1)
        self.assertRegex(
            error.message, r"^function `parse`: ValueError at test_plugin.py:\d+ in parse$"
        )
        loud = [message for level, message in self.said if level != "debug"]
        self.assertRegex("".join(loud), r"test_plugin.py:\d+ in parse")
        self.assertNotIn("secret", "".join(loud))
        self.assertTrue(any(level == "debug" and "secret" in said for level, said in self.said))

    def test_row_error_in_a_function_is_given_its_row(self):
        @scalar
        def known(a: str) -> str:
            if a == "x":
                raise RowError(message="the country is not known")
            return a

        error = self.refused(testing.call, "known", ["a", "b", "x"])

        self.assertEqual((error.row, error.message), (2, "the country is not known"))

    def test_result_of_another_type_names_its_row(self):
        @scalar
        def wrong(a: int) -> str:
            return "x" if a < 2 else a

        self.assertEqual(self.refused(testing.call, "wrong", [1, 2]).row, 1)

    def test_module_that_is_missing_is_named(self):
        @scalar
        def late(a: int) -> int:
            import no_such_module

        self.assertIn("no_such_module", self.refused(testing.call, "late", [1]).message)

    def test_exit_is_an_error_too(self):
        @scalar
        def leave(a: int) -> int:
            sys.exit(3)

        self.assertIn("SystemExit", self.refused(testing.call, "leave", [1]).message)


class Transforms(Plugin):
    def test_columns_that_are_read_are_returned_by_default(self):
        @transform(reads={"a": "i64", "b": "text"})
        def same(context, batch, config): ...

        rows = [{"a": 1, "b": "x", "c": 0}, {"a": None, "b": None, "c": 0}]
        self.assertEqual(testing.transform(rows), rows)

    def test_column_that_is_not_looked_at_keeps_its_buffers(self):
        @transform
        def same(context, batch, config):
            return batch

        runtime = Runtime()
        self.assertIsNone(runtime.configure("{}"))
        runtime.bind([Field("a", "x:unknown", True)])
        given = Array(1, 0, [b"", b"anything"])

        self.assertIs(runtime.transform(CONTEXT, 1, [given])[1][0], given)

    def test_columns_are_changed_added_and_dropped_with_rows(self):
        @transform(
            reads=lambda config: {config["column"]: "text"},
            returns=lambda config, read: {
                config["column"]: read[config["column"]],
                "size": "i32 not null",
            },
        )
        def change(context, batch, config):
            batch = batch.keep([value != "drop" for value in batch["t"]])
            batch["t"] = batch["t"].map(str.upper)
            batch["size"] = [len(value or "") for value in batch["t"]]
            return batch

        rows = [{"t": "a", "k": 1}, {"t": "drop", "k": 2}, {"t": None, "k": 3}]

        made = testing.transform(rows, {"column": "t"})

        self.assertEqual(made, [{"t": "A", "k": 1, "size": 1}, {"t": None, "k": 3, "size": 0}])

    def test_column_that_was_set_is_a_column_too(self):
        @transform(reads={"a": "text"}, returns={"a": "i64"})
        def change(context, batch, config):
            batch["a"] = (None if value is None else len(value) for value in batch["a"])
            batch = batch.keep([0, 2])
            self.assertEqual((batch["a"].type, batch["a"].null_count), ("i64", 1))
            batch["a"] = batch["a"].map(lambda value: value + 1)
            return batch

        made = testing.transform([{"a": "xy"}, {"a": ""}, {"a": None}])

        self.assertEqual(made, [{"a": 3}, {"a": None}])

    def test_value_that_is_read_as_another_type_than_returned_is_converted(self):
        @transform(reads={"a": "i32"}, returns={"a": "f64"})
        def change(context, batch, config): ...

        self.assertEqual(testing.transform([{"a": 1}, {"a": None}]), [{"a": 1.0}, {"a": None}])

    def test_row_of_an_error_after_keep_is_that_of_the_input(self):
        @transform(reads={"a": "text"}, returns={"a": "i64 not null"})
        def change(context, batch, config):
            batch = batch.keep([1, 2]).keep([False, True])
            if config["how"] == "map":
                batch["a"] = batch["a"].map(int)
            elif config["how"] == "rows":
                batch["a"] = batch.map(int, "a")
            else:
                batch["a"] = [None if config["how"] == "null" else "x"]
            return batch

        for how in ("map", "rows", "null", "wrong"):
            with self.subTest(how):
                rows = [{"a": "1"}, {"a": "2"}, {"a": "x"}]
                self.assertEqual(self.refused(testing.transform, rows, {"how": how}).row, 2)

    def test_misuse_is_told(self):
        @transform(reads={"a": "i64"}, returns={"a": "i64", "b": "i64"})
        def change(context, batch, config):
            exec(config["code"], {"batch": batch, "RowError": RowError})
            return {} if config["code"] == "0" else batch

        for code, told in {
            "batch['b'] = [1, 2]": "2 values for 1 rows",
            "batch['c'] = [1]": "not in `returns`",
            "batch['c']": "not among those that are read",
            "batch.keep([True, False])": "mask of 2",
            "batch.keep([0, 0])": "rising order",
            "1": "was not set",
            "0": "something else than a batch",
            "raise RowError(0, 'not today')": "not today",
        }.items():
            with self.subTest(code):
                self.assertIn(
                    told, self.refused(testing.transform, [{"a": 1}], {"code": code}).message
                )

    def test_empty_batch_stays_empty(self):
        @transform(reads={"a": "text"}, returns={"a": "text", "b": "bool"})
        def change(context, batch, config):
            batch = batch.keep([])
            batch["b"] = []
            return batch

        self.assertEqual(testing.transform([]), [])
        self.assertEqual(testing.transform([{"a": "x"}]), [])

    def test_context_has_the_time_of_the_run(self):
        @transform(reads={"a": "i64"}, returns={"a": "timestamptz"})
        def stamp(context, batch, config):
            batch["a"] = [context.run_time] * len(batch)

        made = testing.transform([{"a": 1}])

        self.assertEqual(made[0]["a"].timestamp(), 1_700_000_000)

    def test_type_of_an_open_column_is_given_by_the_test(self):
        @transform(reads={"a": "decimal"})
        def same(context, batch, config): ...

        self.assertEqual(Runtime().configure("{}"), {"a": ["d:*"]})
        with self.assertRaises(TypeError):
            testing.transform([{"a": 1}])
        rows = [{"a": decimal.Decimal("1.50")}]
        self.assertEqual(testing.transform(rows, columns={"a": "decimal(5,2)"}), rows)


class Filters(Plugin):
    def test_rows_without_a_true_value_are_dropped(self):
        @filter(reads={"a": "i64"})
        def odd(context, batch, config):
            return batch["a"].map(lambda value: value % 2 == 1)

        rows = [{"a": 1}, {"a": 2}, {"a": None}, {"a": 3}]
        self.assertEqual(testing.keep(rows), [{"a": 1}, {"a": 3}])

    def test_mask_of_another_length_is_refused(self):
        @filter(reads={"a": "i64"})
        def none(context, batch, config):
            return []

        self.assertIn("0 values for 1", self.refused(testing.keep, [{"a": 1}]).message)

    def test_transform_and_filter_read_the_columns_of_both(self):
        @transform(reads={"a": "any", "b": "text"})
        def change(context, batch, config): ...

        @filter(reads={"a": ["text", "bytes"]})
        def every(context, batch, config):
            return [True] * len(batch)

        runtime = Runtime()
        self.assertEqual(runtime.configure("{}"), {"a": ["u", "z"], "b": ["u"]})


class Configuration(Plugin):
    def test_key_that_is_required_is_asked_for(self):
        plugin("p", "1", config_schema={"required": ["column"]})

        self.assertIn("`column`", self.refused(Runtime().configure, "{}").message)

    def test_mistakes_are_told_in_full(self):
        @transform(reads=lambda config: {config["colunm"]: "text"})
        def change(context, batch, config): ...

        self.assertIn("KeyError", self.refused(Runtime().configure, "{}").message)
        self.assertIn("JSONDecodeError", self.refused(Runtime().configure, "{").message)

    def test_plugin_without_name_or_content_is_refused(self):
        with self.assertRaises(TypeError):
            registry.check()
        plugin("p", "1")
        with self.assertRaises(TypeError):
            registry.check()

    def test_second_of_what_there_is_once_is_refused(self):
        transform(lambda context, batch, config: batch)
        filter(lambda context, batch, config: [])
        scalar("f", args=[], returns="i64")(lambda: 1)
        for again in (transform, filter, scalar("f", args=[], returns="i64")):
            with self.assertRaises(TypeError):
                again(lambda: 1)

    def test_unknown_type_is_refused_with_those_that_there_are(self):
        for name in ("int", "decimal(39,2)", "decimal(2,3)", "u"):
            with self.assertRaises(TypeError):
                scalar("f", args=[name], returns="i64")(lambda a: 1)


class Columns(unittest.TestCase):
    def test_column_is_a_sequence_that_shows_no_values(self):
        column = Column(arrays.encode(["a secret", None], "u"), Field("t", "u", True))

        self.assertEqual(
            (len(column), column[0], list(column)), (2, "a secret", ["a secret", None])
        )
        self.assertEqual((column.null_count, list(column.valid)), (1, [1, 0]))
        self.assertNotIn("secret", repr(column))

    def test_numbers_are_where_they_are(self):
        column = Column(arrays.encode([1, 2], "i"), Field("n", "i", True))

        self.assertEqual((column.numbers.format, column.numbers.tolist()), ("i", [1, 2]))
        with self.assertRaises(PluginError):
            Column(arrays.encode(["x"], "u"), Field("t", "u", True)).numbers

    def test_rows_are_dicts(self):
        fields = [Field("a", "l", True), Field("b", "u", True)]
        batch = Batch(fields, [arrays.encode([1, 2], "l"), arrays.encode(["x", None], "u")], 2)

        self.assertEqual(list(batch.rows()), [{"a": 1, "b": "x"}, {"a": 2, "b": None}])


class Guard(unittest.TestCase):
    def test_what_a_plugin_has_not_is_an_error_after_the_first_call(self):
        script = """
            from syncset_plugin import guard, log
            guard.install()
            import json, os, random, sys, time, uuid
            time.time(), random.random(), os.urandom(1)
            said = []
            log.to(lambda level, message: said.append([level, message]))
            out = sys.stdout
            guard.seal()
            told = {}
            for name, function in {
                "time": time.time,
                "localtime": time.localtime,
                "random": lambda: random.randint(1, 2),
                "uuid4": uuid.uuid4,
                "system": lambda: random.SystemRandom().random(),
                "open": lambda: open("x"),
                "sleep": lambda: time.sleep(1),
                "import": lambda: __import__("colorsys"),
            }.items():
                try:
                    function()
                except Exception as error:
                    told[name] = f"{type(error).__name__}: {error}"
            print("a", 1)
            print("b", file=sys.stderr)
            random.Random(1).random(), time.gmtime(0), "x".encode("cp1252")
            out.write(json.dumps([told, said]))
        """
        made = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(script)],
            capture_output=True,
            text=True,
            check=True,
        )
        told, said = json.loads(made.stdout)

        self.assertEqual(said, [["info", "a 1"], ["warn", "b"]])
        self.assertIn("ModuleNotFoundError", told.pop("import"))
        self.assertEqual(
            set(told), {"time", "localtime", "random", "uuid4", "system", "open", "sleep"}
        )
        for name, text in told.items():
            self.assertIn("PluginError: a plugin has no", text, name)

    def test_clocks_of_datetime_are_found(self):
        source = "from datetime import *\nx = datetime.now()\ny = date.today()\nz = batch.now()\n"

        self.assertEqual(lint.clocks(source), [2, 3])
        self.assertEqual(lint.clocks("import datetime\ndatetime.datetime.utcnow()"), [2])


if __name__ == "__main__":
    unittest.main()
