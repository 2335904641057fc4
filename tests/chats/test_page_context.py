"""The context of a page: signed into it, verified with each message, given to PROMPT, shown to the staff."""

import time
from unittest import mock

from django.core import signing
from django.test import override_settings
from django.urls import reverse

from streaming_chat.accounts.owners import Owner, user_key
from streaming_chat.chats import page_context
from streaming_chat.models import Conversation, Message
from streaming_chat.rendering.element import render_element
from tests.factories import make_staff, make_user
from tests.native import ApiTestCase, error_of

DAY_SECONDS = 86_400


def name_the_product(request, conversation, messages):
    """A site's hook that reads the page."""
    context = messages[-1].page_context or {}
    return f"The product is {context.get('metadata', {}).get('product')}.", messages


class PageContextTests(ApiTestCase):
    def setUp(self):
        super().setUp()
        self.owner = Owner(self.user, user_key(self.user))
        self.context = page_context.sign(self.owner, {"product": "a lamp"}, "Do you like it?")

    def refused(self, context):
        response = self.api.post("api/messages", {"content": "Hi", "context": context})

        assert not Message.objects.exists()
        return response.status_code, error_of(response)["code"]

    def test_it_is_kept_with_the_message(self):
        reply = self.api.reply(context=self.context)

        assert reply.parent.page_context == {"metadata": {"product": "a lamp"}, "greeting": "Do you like it?"}
        assert reply.page_context is None

    @override_settings(STREAMING_CHAT_PROMPT=f"{__name__}.name_the_product")
    def test_prompt_reads_it_also_for_another_reply(self):
        reply = self.api.reply(context=self.context)
        self.api.post(f"api/messages/{reply.pk}/regenerate").getvalue()

        assert [call.prompt.system for call in self.provider.calls] == ["The product is a lamp."] * 2

    def test_the_model_knows_what_the_greeting_said(self):
        reply = self.api.reply("Yes", context=self.context)
        self.api.send("Why?", reply.conversation)

        assert all(call.prompt.system.endswith(": Do you like it?") for call in self.provider.calls)

    def test_one_that_was_changed_is_refused(self):
        assert self.refused(f"{self.context}x") == (422, "context_invalid")
        assert self.refused(signing.dumps({"for": self.owner.key, "context": {}})) == (422, "context_invalid")

    def test_one_of_another_user_is_refused(self):
        """As after signing in as someone else in another tab."""
        other = make_user("other")

        assert self.refused(page_context.sign(Owner(other, user_key(other)), {"a": 1})) == (422, "context_expired")

    def test_one_of_yesterday_is_refused(self):
        with mock.patch("django.core.signing.time.time", return_value=time.time() - DAY_SECONDS - 60):
            old = page_context.sign(self.owner, {"a": 1})

        assert self.refused(old) == (422, "context_expired")

    def test_a_repeated_message_may_have_a_newer_signature(self):
        first = self.api.reply(client_id="once", context=self.context)
        newer = page_context.sign(self.owner, {"product": "a lamp"}, "Do you like it?")
        again = self.api.reply(client_id="once", context=newer)

        assert again == first

    def test_too_much_of_it_is_an_error_of_the_page(self):
        for metadata in ({"a": "x" * 5_000}, {"a": object()}, ["a"]):
            with self.subTest(metadata=str(metadata)[:20]), self.assertRaises(ValueError):
                page_context.sign(self.owner, metadata)

    def test_the_transcript_shows_it_to_those_who_may_read(self):
        self.api.reply(context=self.context)
        url = reverse("admin:streaming_chat_conversation_change", args=[Conversation.objects.get().pk])
        self.client.force_login(make_staff("reader", "view_conversation", "view_transcript"))
        read = self.client.get(url)
        self.client.force_login(make_staff("counter", "view_conversation"))
        counted = self.client.get(url)

        self.assertContains(read, "a lamp")
        self.assertNotContains(counted, "a lamp")


class ElementTests(ApiTestCase):
    def page(self, **options):
        request = self.client.get("/").wsgi_request
        return render_element(request, **options)

    def test_the_page_has_the_signature_and_the_greeting(self):
        self.client.force_login(self.user)
        html = self.page(metadata={"product": 17}, greeting="Do you <like> it?")

        assert 'data-context="' in html
        assert "Do you &lt;like&gt; it?" in html
        assert "What would you like to talk about?" not in html

    def test_a_page_without_them_has_none(self):
        self.client.force_login(self.user)

        assert "data-context" not in self.page()

    def test_people_who_may_not_chat_get_no_signature(self):
        assert "data-context" not in self.page(metadata={"product": 17})
