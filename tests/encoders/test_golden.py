"""The bytes of each format, as its clients have read them so far."""

from django.test import SimpleTestCase
from django.utils import translation

from .formats import FORMATS
from .golden import FOLDER, encoded, replies


class GoldenTests(SimpleTestCase):
    def test_the_bytes_are_the_same(self):
        """If a change is meant, run `python -m tests.encoders.golden`, and read what it has written."""
        for name in FORMATS:
            for case, reply in replies().items():
                with self.subTest(format=name, reply=case), translation.override("en"):
                    assert encoded(name, reply) == (FOLDER / name / f"{case}.txt").read_bytes()
