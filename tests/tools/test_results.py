"""What a tool returns, as text."""

import datetime as dt
from decimal import Decimal
from uuid import UUID

import pytest
from django.test import SimpleTestCase, TestCase
from django.utils.translation import gettext_lazy
from pydantic import BaseModel

from streaming_chat.models import Conversation
from streaming_chat.tools import result_text
from tests.factories import make_conversation, make_user

pytestmark = pytest.mark.once


class Order(BaseModel):
    total: Decimal


class TextTests(SimpleTestCase):
    def test_texts_are_as_they_are(self):
        assert result_text('a "b"') == 'a "b"'
        assert result_text(None) == ""

    def test_everything_else_is_json(self):
        day = dt.date(2026, 11, 30)
        for result, text in (
            (True, "true"),
            (12, "12"),
            ([{"total": Decimal("1.50"), "day": day}], '[{"total": "1.50", "day": "2026-11-30"}]'),
            (Order(total=Decimal("1.50")), '{"total": "1.50"}'),
            ([Order(total=Decimal(1))], '[{"total": "1"}]'),
            (
                {"name": gettext_lazy("Delete"), "id": UUID(int=1)},
                '{"name": "Delete", "id": "00000000-0000-0000-0000-000000000001"}',
            ),
            ({"ä"}, '["ä"]'),
        ):
            with self.subTest(text):
                assert result_text(result) == text

    def test_what_is_not_json(self):
        for result in (object(), {"a": object()}, Order):
            with self.assertRaises(TypeError):
                result_text(result)


class RowTests(TestCase):
    def test_rows(self):
        """A model may see what the site chose, never all columns of a row."""
        conversation = make_conversation(make_user())

        assert result_text(Conversation.objects.values("title")) == f'[{{"title": "{conversation.title}"}}]'
        for rows in (conversation, Conversation.objects.all()):
            with self.assertRaisesMessage(TypeError, "return the fields that the model may see"):
                result_text(rows)
