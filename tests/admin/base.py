"""What tests of the admin's pages of conversations share."""

import re

from django.test import TestCase
from django.urls import reverse

from streaming_chat.models import Feedback
from tests.factories import make_conversation, make_reply, make_staff

LIST = "/admin/streaming_chat/conversation/"


READER = ("view_conversation", "view_transcript")


def transcript_url(conversation, **query):
    return reverse("admin:streaming_chat_conversation_change", args=[conversation.pk], query=query)


def make_full_conversation():
    """Return a conversation with a text of its own in every place that has one."""
    conversation = make_conversation(
        system_prompt="You are a careful forecaster.", metadata={"page": "/weather"}, input_tokens=312
    )
    parts = [{"kind": "reasoning", "text": "pondering"}, {"kind": "text", "text": "Yes, **today**."}]
    reply = make_reply(conversation, parts=parts, request_id="req_1", ref="8f3ac21b", first_event_ms=412)
    Feedback.objects.create(message=reply, value=1, comment="Exactly right", by=conversation.owner)
    return conversation


class AdminTestCase(TestCase):
    permissions = READER

    def setUp(self):
        self.client.force_login(make_staff("staff", *self.permissions))

    def text_of(self, url):
        """Return what the page says, without its markup and with single spaces."""
        html = self.client.get(url).content.decode()
        return " ".join(re.sub(r"<[^>]+>", " ", html).split())

    def assert_queries(self, count, url):
        with self.assertNumQueries(count):
            assert self.client.get(url).status_code == 200
