"""The documents name what there is."""

import re
from pathlib import Path

from django.test import SimpleTestCase

from streaming_chat.conf import DEFAULTS
from streaming_chat.exceptions import ERRORS
from streaming_chat.testing import __all__ as public

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


class DocsTests(SimpleTestCase):
    def test_every_setting_is_described(self):
        described = re.findall(r"^\| ([A-Z_]+) \|", (ROOT / "docs" / "settings.md").read_text(), re.MULTILINE)

        assert sorted(f"STREAMING_CHAT_{name}" for name in described) == sorted(DEFAULTS)

    def test_every_error_is_in_the_contract(self):
        contract = (ROOT / "docs" / "http-api.md").read_text()

        assert [code for code in ERRORS if code not in contract] == []

    def test_every_public_helper_of_tests_is_described(self):
        described = (ROOT / "docs" / "testing.md").read_text()
        # What other helpers return or are made of is described with them.
        parts = {"Frame", "ScriptedProvider", "Streamed", "Turn"}

        assert [name for name in public if name not in described and name not in parts] == []

    def test_every_link_and_every_test_that_is_named_is_there(self):
        for page in PAGES:
            text = page.read_text()
            links = re.findall(r"\]\((?!https?:)([^)#]+)", text)
            tests = [name for name in re.findall(r"tests/test_\w+\.py", text) if "*" not in name]
            missing = [name for name in links if not (page.parent / name).exists()]

            assert [name for name in tests if not (ROOT / name).exists()] == [], page
            assert missing == [], page
