"""Requests that write what another session has locked: each is answered, and the server goes on with the others."""

from typing import Any

from django.db.models.functions import Now
from django.test import Client, override_settings
from django.urls import reverse

from streaming_chat.asgi import get_asgi_application
from streaming_chat.db.leases import lease_judge
from streaming_chat.exceptions import error_text
from streaming_chat.models import Conversation, Feedback, LiveReply
from streaming_chat.testing import scripted_provider

from .factories import make_conversation, make_live, make_reply, make_steady, make_user
from .held_rows import HeldRowsCase
from .native import Api, error_of
from .servers import Browser, ThreadServer, wait_until


@scripted_provider()
class ApiTests(HeldRowsCase):
    """On the old code each of these waited until the other session ended."""

    def setUp(self):
        self.api = Api(make_user())
        self.conversation = make_conversation()
        self.reply = make_reply(self.conversation)
        self.path = f"api/conversations/{self.conversation.pk}"
        self.message_path = f"api/messages/{self.reply.pk}"

    def check_away(self, response: Any) -> None:
        assert response.status_code == 503
        assert error_of(response)["code"] == "database_away"
        assert error_of(response)["retryable"]
        assert response.headers["Retry-After"] == "2"

    def test_send(self):
        with self.held(self.conversation), self.assertLogs("streaming_chat", "ERROR"):
            self.check_away(self.api.post(f"{self.path}/messages", {"content": "Hi"}))

        assert Conversation.objects.get().message_count == 2
        assert self.api.send("Hi", self.conversation).text == "Hello, world"

    def test_a_lock_says_nothing_of_the_database(self):
        """One locked conversation would keep this process from ending the replies of workers that died."""
        self.addCleanup(lease_judge.reset)
        make_steady()
        with self.held(self.conversation), self.assertLogs("streaming_chat", "ERROR"):
            self.check_away(self.api.patch(self.path, {"title": "Snow"}))

        assert lease_judge.may_expire_others

    def test_regenerate(self):
        with self.held(self.conversation), self.assertLogs("streaming_chat", "ERROR"):
            self.check_away(self.api.post(f"{self.message_path}/regenerate"))

    def test_change(self):
        with self.held(self.conversation), self.assertLogs("streaming_chat", "ERROR"):
            self.check_away(self.api.patch(self.path, {"title": "Snow"}))

        assert Conversation.objects.get().title == "Rain in Lisbon"

    def test_delete(self):
        with self.held(self.conversation), self.assertLogs("streaming_chat", "ERROR"):
            self.check_away(self.api.delete(self.path))

        assert Conversation.objects.get().deleted_at is None

    def test_restore(self):
        Conversation.objects.update(deleted_at=Now())
        with self.held(self.conversation), self.assertLogs("streaming_chat", "ERROR"):
            self.check_away(self.api.post(f"{self.path}/restore"))

        assert Conversation.objects.get().deleted_at is not None

    def test_stop_in_another_process(self):
        live = make_live(self.conversation)
        with self.held(live), self.assertLogs("streaming_chat", "ERROR"):
            self.check_away(self.api.post(f"api/messages/{live.pk}/stop"))

        assert LiveReply.objects.get().stop is None

    def test_first_bad_feedback(self):
        with self.held(self.conversation), self.assertLogs("streaming_chat", "ERROR"):
            self.check_away(self.api.put(f"{self.message_path}/feedback", {"value": -1}))

        assert not Feedback.objects.exists()

    def test_changed_feedback(self):
        self.api.put(f"{self.message_path}/feedback", {"value": 1})
        with self.held(Feedback.objects.get()), self.assertLogs("streaming_chat", "ERROR"):
            self.check_away(self.api.put(f"{self.message_path}/feedback", {"value": 1, "comment": "Thanks"}))

        assert Feedback.objects.get().comment == ""

    def test_deleted_feedback(self):
        self.api.put(f"{self.message_path}/feedback", {"value": 1})
        with self.held(Feedback.objects.get()), self.assertLogs("streaming_chat", "ERROR"):
            self.check_away(self.api.delete(f"{self.message_path}/feedback"))

        assert Feedback.objects.exists()

    @override_settings(STREAMING_CHAT_ALLOW_ANONYMOUS=True)
    def test_claim(self):
        visitor = Api()
        visitor.send("Hi")
        visitor.client.force_login(make_user())
        written = Conversation.objects.get(owner=None)
        with self.held(written), self.assertLogs("streaming_chat", "ERROR"):
            self.check_away(visitor.post("api/claim"))

        assert Conversation.objects.filter(owner=None).exists()

    def test_the_plain_page_keeps_the_text(self):
        client = Client()
        client.force_login(make_user())
        address = reverse("streaming_chat:conversation", args=[self.conversation.pk])
        with self.held(self.conversation), self.assertLogs("streaming_chat", "ERROR"):
            response = client.post(address, "content=Will+it+snow%3F", content_type="application/x-www-form-urlencoded")
        page = response.content.decode()

        assert response.status_code == 503
        assert response.headers["Retry-After"] == "2"
        assert "Will it snow?</textarea>" in page
        assert error_text("database_away") in page


class SharedThreadsTests(HeldRowsCase):
    def test_others_are_served_while_two_wait(self):
        """Two such requests stopped the whole worker for as long as the row was held."""
        conversation = make_conversation()
        with self.held(conversation), ThreadServer(get_asgi_application()) as server:
            browser = Browser(server.port)
            self.addCleanup(browser.close)
            waiting = [
                browser.request("PATCH", f"api/conversations/{conversation.pk}", {"title": "Snow"}) for _ in "ab"
            ]
            wait_until(lambda: self.waiting() == 2)
            served = [browser.get("health").status, browser.get("api/conversations").status]

            assert served == [200, 200]
            assert [exchange.status for exchange in waiting] == [503, 503]
