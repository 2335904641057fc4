"""What a docstring says of a function and of its parameters."""

import pytest
from django.test import SimpleTestCase

from streaming_chat.tools.docstrings import docstring_of

pytestmark = pytest.mark.once


def all_of_it(context, status, limit):
    """Find orders.

    Only those of the person.

    Args:
        context: For whom.
        status: One of
            several words: such as "open".
        limit (int, optional): How many.

    Returns:
        The newest first.
    """


def bare(context): ...


def one_line(context):
    """Args are not described here: none."""


class DocstringTests(SimpleTestCase):
    def test_the_section_of_the_parameters_is_taken_out(self):
        found = docstring_of(all_of_it)

        assert found.description == ("Find orders.\n\nOnly those of the person.\n\nReturns:\n    The newest first.")
        assert found.parameters == {
            "context": "For whom.",
            "status": 'One of several words: such as "open".',
            "limit": "How many.",
        }

    def test_a_function_without_it(self):
        assert docstring_of(bare) == ("", {})
        assert docstring_of(one_line) == ("Args are not described here: none.", {})
