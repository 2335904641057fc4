"""A site that was there before the app adds the README's five lines, and chats."""

import tempfile
from pathlib import Path

import pytest
from django.test import SimpleTestCase

from .existing import ROOT, SETTINGS_LINE, URLS_LINE, ExistingSite

pytestmark = [pytest.mark.any_database, pytest.mark.slow]


class ExistingSiteTests(SimpleTestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        folder = cls.enterClassContext(tempfile.TemporaryDirectory(prefix="streaming_chat_site_"))
        cls.site = ExistingSite(Path(folder), path=ROOT)

    def test_the_lines_are_the_readmes(self):
        readme = (ROOT / "README.md").read_text()

        assert SETTINGS_LINE in readme
        assert URLS_LINE in readme

    def test_it_has_nothing_to_complain_of_but_its_database(self):
        """SQLite without IMMEDIATE, which the README has a line for."""
        said = self.site.manage("check", "--fail-level", "ERROR")

        assert "no issues" in said or "W004" in said
        assert self.site.manage("makemigrations", "--check", "--dry-run").startswith("No changes")

    def test_it_chats_under_uvicorn(self):
        self.site.check_chat("uvicorn")

    def test_it_chats_under_runserver(self):
        self.site.check_chat("runserver")
