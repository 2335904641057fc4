"""What the package says about itself."""

import re
import tomllib
from pathlib import Path

import pytest
from django.test import SimpleTestCase

import streaming_chat

pytestmark = pytest.mark.once

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def name_of(requirement: str) -> str:
    """Return a requirement's or a pin's name as PyPI compares it."""
    return re.sub(r"[-_.]+", "-", re.match(r"[\w.-]+", requirement)[0]).lower()


class ConstraintsTests(SimpleTestCase):
    pins = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]

    def test_everything_that_is_asked_for_is_pinned(self):
        extras = PROJECT["project"]["optional-dependencies"].values()
        groups = PROJECT["dependency-groups"].values()
        lists = [PROJECT["project"]["dependencies"], PROJECT["build-system"]["requires"], *extras, *groups]
        asked = {name_of(item) for entries in lists for item in entries if isinstance(item, str)}

        assert asked - {"streaming-chat"} <= {name_of(pin) for pin in self.pins}

    def test_a_pin_is_a_name_and_a_version_and_no_address(self):
        for pin in self.pins:
            assert re.fullmatch(r'[\w.-]+==[\w.]+(; python_version (<|>=) "3\.\d+")?', pin), pin


class ImportTests(SimpleTestCase):
    def test_the_version_is_the_packages_own(self):
        assert PROJECT["tool"]["hatch"]["version"]["path"] == "streaming_chat/__init__.py"
        assert re.fullmatch(r"\d+\.\d+\.\d+", streaming_chat.__version__)
