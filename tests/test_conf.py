"""Settings: what their declarations give."""

from django.conf import UserSettingsHolder, settings
from django.test import SimpleTestCase, override_settings
from django.utils.translation import gettext_lazy

from streaming_chat import conf as declarations
from streaming_chat.conf import SETTINGS, conf


class SettingTests(SimpleTestCase):
    def test_the_default_applies_until_the_site_sets_it(self):
        assert conf.STREAMING_CHAT_DRAIN_SECONDS == 10.0
        with override_settings(STREAMING_CHAT_DRAIN_SECONDS=3):
            assert conf.STREAMING_CHAT_DRAIN_SECONDS == 3
        assert conf.STREAMING_CHAT_DRAIN_SECONDS == 10.0

    def test_a_setting_that_a_test_assigns_or_deletes(self):
        """Django sends no signal for either; neither does pytest-django for a deletion."""
        with override_settings():
            assert conf.STREAMING_CHAT_DRAIN_SECONDS == 10.0
            settings.STREAMING_CHAT_DRAIN_SECONDS = 3
            assert conf.STREAMING_CHAT_DRAIN_SECONDS == 3
            del settings.STREAMING_CHAT_DRAIN_SECONDS
            assert conf.STREAMING_CHAT_DRAIN_SECONDS == 10.0
        with override_settings(STREAMING_CHAT_DRAIN_SECONDS=3), override_settings():
            assert conf.STREAMING_CHAT_DRAIN_SECONDS == 3
            del settings.STREAMING_CHAT_DRAIN_SECONDS
            assert conf.STREAMING_CHAT_DRAIN_SECONDS == 10.0

    def test_a_setting_that_the_site_has_not_set_is_looked_for_once(self):
        """To look for it costs 2 µs, and a send reads 28 of them."""
        looked_for = []

        class Holder(UserSettingsHolder):
            def __getattr__(self, name):
                looked_for.append(name)
                return super().__getattr__(name)

        with override_settings():
            settings._wrapped = Holder(settings._wrapped)
            for _ in range(3):
                assert conf.STREAMING_CHAT_DRAIN_SECONDS == 10.0

        assert looked_for == ["STREAMING_CHAT_DRAIN_SECONDS"]

    def test_every_default_is_valid(self):
        assert [name for name, setting in SETTINGS.items() if not setting.kind.accepts(setting.default)] == []

    def test_every_setting_has_its_prefix_and_a_meaning(self):
        for name, setting in SETTINGS.items():
            with self.subTest(name):
                assert name.startswith("STREAMING_CHAT_")
                assert setting.meaning.endswith((".", ")."))


class KindTests(SimpleTestCase):
    def check(self, kind, wanted, valid, invalid):
        assert kind.wanted == wanted
        assert [value for value in valid if not kind.accepts(value)] == []
        assert [value for value in invalid if kind.accepts(value)] == []

    def test_numbers(self):
        no_numbers = [None, "1", True, float("nan"), float("inf")]

        self.check(declarations.SECONDS, "seconds, 0 or more", [0, 0.5, 60], [*no_numbers, -1])
        self.check(declarations.POSITIVE_SECONDS, "seconds, more than 0", [0.5, 60], [*no_numbers, 0])
        self.check(declarations.number("percent", 0, 100), "percent, 0 to 100", [0, 100], [*no_numbers, 100.1])

    def test_suggestions(self):
        wanted = "a list of strings, or of dicts with `text` and optionally `label` and `send`"
        whole = {"text": "When?", "label": gettext_lazy("Time"), "send": False}
        invalid = [
            "When?",
            [""],
            [None],
            [{}],
            [{**whole, "send": 1}],
            [{**whole, "label": ""}],
            [{**whole, "icon": "x"}],
        ]

        self.check(
            declarations.SUGGESTIONS, wanted, [[], ["When?", gettext_lazy("Chat")], [{"text": "When?"}, whole]], invalid
        )

    def test_whole_numbers(self):
        kind = declarations.whole_number("replies")

        self.check(kind, "a whole number of replies, 1 or more", [1, 10_000], [0, 1.5, True, "1", None])

    def test_choices(self):
        self.check(
            declarations.some_of("a", "b"), "a list of some of `a`, `b`", [[], ["b"], ("a", "b")], ["a", ["c"], None]
        )

    def test_optional_values(self):
        kind = declarations.optional(declarations.PATH)

        self.check(kind, "None or a path", [None, "/var"], [1, b"/var"])
