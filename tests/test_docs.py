"""The documents name what there is."""

import re
from pathlib import Path

from django.test import SimpleTestCase

from docs import tables
from streaming_chat.conf import SETTINGS
from streaming_chat.exceptions import ERRORS
from streaming_chat.testing import __all__ as public

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
# What a page calls by path: tests, modules and folders of the package, and of the browser's source.
PATH = re.compile(r"`((?:tests|streaming_chat|frontend|benchmarks|chatproject)/[\w./-]+)`|(?<![\w/])(tests/[\w/]+\.py)")


class DocsTests(SimpleTestCase):
    def test_the_tables_of_settings_are_up_to_date(self):
        """If this fails, run `python -m docs.tables`."""
        assert tables.render(tables.PAGE.read_text()) == tables.PAGE.read_text()

    def test_every_setting_is_described(self):
        described = re.findall(r"^\| ([A-Z_]+) \|", tables.PAGE.read_text(), re.MULTILINE)

        assert sorted(f"STREAMING_CHAT_{name}" for name in described) == sorted(SETTINGS)

    def test_every_error_is_in_the_contract(self):
        contract = (ROOT / "docs" / "http-api.md").read_text()

        assert [code for code in ERRORS if code not in contract] == []

    def test_every_public_helper_of_tests_is_described(self):
        described = (ROOT / "docs" / "testing.md").read_text()
        # What other helpers return or are made of is described with them.
        parts = {"Exchange", "Frame", "ScriptedProvider", "Streamed", "Turn"}

        assert [name for name in public if name not in described and name not in parts] == []

    def test_every_link_leads_somewhere(self):
        for page in PAGES:
            links = re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text())

            assert [name for name in links if not (page.parent / name).exists()] == [], page

    def test_every_path_that_is_named_is_there(self):
        for page in PAGES:
            named = {quoted or bare for quoted, bare in PATH.findall(page.read_text())}

            assert [name for name in sorted(named) if not (ROOT / name).exists()] == [], page
