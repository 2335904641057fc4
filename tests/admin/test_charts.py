"""Charts as SVG: their scale, bars and lines."""

from decimal import Decimal

from django.test import SimpleTestCase

from streaming_chat.admin.charts import Series, ceiling, make_chart
from streaming_chat.admin.dashboard import money


class ChartTests(SimpleTestCase):
    def test_the_top_is_round_and_so_is_its_half(self):
        for highest, top in {
            0: 2,
            1: 1,
            2: 2,
            3: 4,
            5: 6,
            7: 8,
            9: 10,
            11: 20,
            0.3: 0.4,
            0.02: 0.02,
            12_345: 20_000,
        }.items():
            with self.subTest(highest):
                assert ceiling(highest) == top

    def test_bars_stand_on_each_other(self):
        made = make_chart("x", "X", ["a", "b"], [Series("one", "1", [1, 0]), Series("two", "2", [1, 2])], str)

        assert [[bar.path for bar in column.bars] for column in made.columns] == [
            ["M220 100h60v100h-60z", "M220 0h60v100h-60z"],
            ["M720 0h60v200h-60z"],
        ]
        assert made.columns[0].title == "a, 1: 1, 2: 1"

    def test_a_line_is_broken_where_nothing_is_known(self):
        made = make_chart("x", "X", list("abcd"), [Series("one", "1", [1.0, 2.0, None, 1.0])], str, lines=True)

        assert [line.points for line in made.lines] == ["125,100 375,0", "875,100"]
        assert [bool(line.x) for line in made.lines] == [False, True]
        assert made.rows[2] == ("c", ["–"])

    def test_money(self):
        for amount, text in {
            None: "–",
            0: "$0.00",
            Decimal("12.345678"): "$12.35",
            Decimal("1234567.8"): "$1,234,567.80",
            Decimal("0.25"): "$0.25",
            Decimal("0.00123"): "$0.0012",
            Decimal("0.00000001"): "$0.00000001",
        }.items():
            with self.subTest(text):
                assert money(amount) == text
