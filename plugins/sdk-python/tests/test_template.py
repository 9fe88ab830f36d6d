import json
import pathlib
import sys
import unittest

from syncset_plugin import testing
from syncset_plugin.registry import registry

TEMPLATE = pathlib.Path(__file__).parent.parent / "template"


class Template(unittest.TestCase):
    def tearDown(self):
        registry.clear()

    def test_cases_come_out_as_expected(self):
        registry.clear()
        sys.path.insert(0, str(TEMPLATE))
        self.addCleanup(sys.path.remove, str(TEMPLATE))
        sys.modules.pop("plugin", None)
        import plugin  # noqa: F401

        registry.check()
        for given in [TEMPLATE / "cases" / "phones.jsonl"]:
            rows = [json.loads(line) for line in given.read_text().splitlines()]
            expected = given.with_suffix(".expected.jsonl").read_text().splitlines()
            made = testing.transform(rows, {"column": "phone"})
            self.assertEqual(made, [json.loads(line) for line in expected])
            self.assertGreater(len(made), 0)
            derived = testing.call(
                "normalise_phone", *([row[name] for row in rows] for name in ("phone", "country"))
            )
            self.assertEqual(derived, [row["phone"] for row in made])


if __name__ == "__main__":
    unittest.main()
