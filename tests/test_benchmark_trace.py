"""The clocks of benchmarks/trace.py are put around functions by their names, which a change of the app can take away."""

import pytest
from django.test import SimpleTestCase

from benchmarks.trace import STAGES, STATEMENTS, find

pytestmark = pytest.mark.any_database


class StageTests(SimpleTestCase):
    def test_every_function_is_where_the_clocks_look_for_it(self):
        for path in (*STAGES, *STATEMENTS):
            with self.subTest(path):
                owner, name = find(path)

                assert callable(getattr(owner, name))
