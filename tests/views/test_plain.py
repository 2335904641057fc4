"""The chat without JavaScript: a form that posts, and pages that the server renders."""

import re
import threading
from html.parser import HTMLParser
from typing import Any
from unittest import mock
from urllib.parse import urlencode

import pytest
from django.conf import settings
from django.db import OperationalError, connections
from django.templatetags.static import static
from django.test import AsyncClient, Client, TestCase, TransactionTestCase, override_settings

from streaming_chat.accounts.permissions import Permissions
from streaming_chat.chats.deletion import delete_for_owner
from streaming_chat.engine.runner import runner
from streaming_chat.exceptions import APIError
from streaming_chat.models import Conversation, LiveReply, Message
from streaming_chat.protocol.events import REASONING, TEXT, Event
from streaming_chat.rendering.markdown_html import PAGE_COST, cost
from streaming_chat.testing import Gate, Script, scripted_provider, wait_until_saved
from streaming_chat.views import plain
from tests.factories import make_conversation, make_live, make_message, make_reply, make_user
from tests.provider_server import Gate as ServerGate
from tests.provider_server import ProviderServer
from tests.provider_server import Script as ServerScript
from tests.servers import Browser, Exchange, GunicornServer, ServerTestCase, held, site, wait_until
from tests.test_csrf_matrix import without_middleware

from .test_pages import LOGIN_REQUIRED

FORM = "application/x-www-form-urlencoded"
# What a page may be made of; everything else would be somebody's text.
ELEMENTS = {
    *(
        "html",
        "head",
        "meta",
        "title",
        "link",
        "body",
        "main",
        "header",
        "nav",
        "div",
        "h1",
        "h2",
        "p",
        "a",
        "bdi",
        "span",
        "img",
    ),
    *(
        "ol",
        "ul",
        "li",
        "details",
        "summary",
        "form",
        "input",
        "label",
        "textarea",
        "select",
        "option",
        "button",
        "pre",
    ),
    *("code", "em", "strong"),
}
HOSTILE = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "</textarea><svg onload=alert(1)>",
    "</title><style>*{}</style>",
    "</noscript><iframe src=//evil.example>",
    "</pre></details><form action=//evil.example><input name=q>",
    '"><meta http-equiv=refresh content=0;url=//evil.example>',
    "[a](javascript:alert(1)) ![b](https://evil.example/b.png)",
    "<math><mtext><base href=//evil.example>",
    "&lt;script&gt; &#60;object&#62;",
]


class Element:
    """One element of a page. text: all that is inside."""

    def __init__(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tag = tag
        self.attrs = dict(attrs)
        self.text = ""


class Page(HTMLParser):
    """A page as a browser sees it."""

    VOID = {"meta", "link", "input", "img", "br", "hr", "base"}

    def __init__(self, content: bytes) -> None:
        super().__init__()
        self.elements: list[Element] = []
        self._open: list[Element] = []
        self.feed(content.decode())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag, attrs)
        self.elements.append(element)
        if tag not in self.VOID:
            self._open.append(element)

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop().tag != tag:
            pass

    def handle_data(self, data: str) -> None:
        for element in self._open:
            element.text += data

    def all(self, tag: str, **attrs: str) -> list[Element]:
        wanted = {name.rstrip("_").replace("_", "-"): value for name, value in attrs.items()}
        return [element for element in self.elements if element.tag == tag and wanted.items() <= element.attrs.items()]

    def one(self, tag: str, **attrs: str) -> Element:
        (found,) = self.all(tag, **attrs)
        return found

    @property
    def written(self) -> str:
        """What the form's text holds: the first line break is not part of it."""
        return self.one("textarea", name="content").text.removeprefix("\n")

    @property
    def form(self) -> dict[str, str]:
        """What the form would send."""
        hidden = {element.attrs["name"]: element.attrs["value"] for element in self.all("input", type="hidden")}
        names = ("csrfmiddlewaretoken", "client_id", "parent")
        return {name: hidden[name] for name in names if name in hidden} | {"content": self.written}

    @property
    def alert(self) -> str:
        """What is said to be wrong."""
        return " ".join(self.one("div", role="alert").text.split())

    @property
    def turns(self) -> list[str]:
        """The messages, as text."""
        return [
            " ".join(element.text.split()) for element in self.all("li") if "scp-turn" in element.attrs.get("class", "")
        ]


def post(client: Any, path: str, form: dict[str, str], **options: Any) -> Any:
    return client.post(path, urlencode(form), content_type=FORM, **options)


def plain_path(conversation: Conversation) -> str:
    return f"/chat/c/{conversation.pk}?view=plain"


class PlainTestCase(TestCase):
    def setUp(self) -> None:
        self.user = make_user()
        self.client = Client(enforce_csrf_checks=True)
        self.client.force_login(self.user)

    def page(self, path: str = "/chat/?view=plain") -> Page:
        response = self.client.get(path)

        assert response.status_code == 200
        return Page(response.content)

    def post(self, path: str = "/chat/", **changes: str) -> Any:
        """Send the form of the page at a path, filled in."""
        return post(self.client, path, self.page(f"{path}?view=plain").form | changes)

    def live(self, conversation: Conversation) -> LiveReply:
        # Its worker is nobody; and nobody settles it, since its lease holds.
        return make_live(conversation, Event(REASONING, "Hm. "), Event(TEXT, "It will"))


class Closed(Permissions):
    def may_send(self, request, owner, conversation):
        return False


class Metered(Permissions):
    def may_send(self, request, owner, conversation):
        raise APIError(429, "quota_exceeded", retry_after=3600)


def backend(cls):
    return override_settings(STREAMING_CHAT_PERMISSIONS={"BACKEND": f"{__name__}.{cls.__name__}"})


class SendTests(PlainTestCase):
    @scripted_provider(Script("It **rains**.", reasoning=["Clouds."]))
    def test_a_form_sends_and_leads_to_the_finished_reply(self, provider):
        sent = self.post(content="Will it rain?")
        reply = Message.objects.get(role="assistant")
        page = self.page(sent.headers["Location"])

        assert sent.status_code == 303
        assert sent.headers["Location"] == f"{plain_path(reply.conversation)}#m-{reply.pk}"
        assert "no-store" in sent.headers["Cache-Control"]
        assert reply.status == "completed"
        assert page.turns == ["You Will it rain?", "Reply scripted:model Reasoning Clouds. It rains."]
        assert page.one("strong").text == "rains"
        assert page.one("li", id=f"m-{reply.pk}")
        assert not page.all("meta", http_equiv="refresh")

    @scripted_provider()
    def test_the_next_form_goes_on(self, provider):
        first = self.post(content="Hi")
        self.post(first.headers["Location"].partition("?")[0], content="Ho")
        conversation = Conversation.objects.get()

        assert [turn.text for turn in provider.calls[1].prompt.turns] == ["Hi", "Hello, world", "Ho"]
        assert len(self.page(plain_path(conversation)).turns) == 4

    @scripted_provider()
    def test_the_form_of_the_page_with_javascript_does_the_same(self, provider):
        token = Page(self.client.get("/chat/").content).all("input", name="csrfmiddlewaretoken")[0].attrs["value"]
        sent = post(self.client, "/chat/", {"csrfmiddlewaretoken": token, "content": "Hi"})

        assert sent.status_code == 303
        assert Message.objects.filter(role="assistant", status="completed").count() == 1

    @scripted_provider()
    def test_the_same_form_twice_sends_once(self, provider):
        form = self.page().form | {"content": "Hi"}
        first, second = (post(self.client, "/chat/", form) for _ in range(2))

        assert first.headers["Location"] == second.headers["Location"]
        assert len(provider.calls) == 1

    @scripted_provider()
    def test_each_page_has_a_form_of_its_own(self, provider):
        assert self.page().form["client_id"] != self.page().form["client_id"]

    @scripted_provider()
    def test_a_browser_says_lines_in_its_own_way(self, provider):
        self.post(content="one\r\ntwo")

        assert Message.objects.get(role="user").text == "one\ntwo"

    @scripted_provider(STREAMING_CHAT_MODELS=["scripted:one", "scripted:two", "scripted:*"])
    def test_a_model_can_be_chosen(self, provider):
        chosen = self.page().all("option")
        self.post(content="Hi", model="scripted:two")
        reply = Message.objects.get(role="assistant")

        assert [option.text for option in chosen] == ["scripted:one", "scripted:two"]
        assert reply.model == "scripted:two"
        assert self.page(plain_path(reply.conversation)).one("option", selected=None).text == "scripted:two"

    @scripted_provider()
    def test_a_parent_makes_a_branch(self, provider):
        self.post(content="Hi")
        first = Message.objects.get(role="assistant")
        path = f"/chat/c/{first.conversation_id}"
        self.post(path, content="Ho")
        self.post(path, content="Ha", parent=str(first.pk))

        assert [turn.partition(" ")[2] for turn in self.page(f"{path}?view=plain").turns if turn.startswith("You")] == [
            "Hi",
            "Ha",
        ]

    @scripted_provider(Script([], error="provider_rejected"))
    def test_a_reply_that_failed_says_so(self, provider):
        sent = self.post(content="Hi")

        assert "No reply was received. The model refused this request." in self.page(sent.headers["Location"]).turns[1]

    @scripted_provider()
    async def test_under_asgi(self, provider):
        client = AsyncClient()
        await client.aforce_login(self.user)
        sent = await client.post("/chat/", "content=Hi", content_type=FORM)
        page = Page((await client.get(sent.headers["Location"])).content)

        assert sent.status_code == 303
        assert "Hello, world" in page.turns[1]

    @scripted_provider()
    def test_where_requests_are_transactions_and_a_login_is_demanded(self, provider):
        with (
            mock.patch.dict(connections["default"].settings_dict, ATOMIC_REQUESTS=True),
            self.modify_settings(MIDDLEWARE={"append": LOGIN_REQUIRED}),
        ):
            assert self.post(content="Hi").status_code == 303


class RefusedTests(PlainTestCase):
    """Whatever is wrong, the text is still there, with a form that works."""

    def check(self, response: Any, status: int, words: str, text: str = "Précis <b>") -> Page:
        page = Page(response.content)

        assert response.status_code == status
        assert words in page.alert
        assert page.written == text
        # A long conversation is above it.
        assert "autofocus" in page.one("textarea").attrs
        assert "no-store" in response.headers["Cache-Control"]
        return page

    def check_it_works(self, page: Page, path: str = "/chat/") -> None:
        with scripted_provider():
            assert post(self.client, path, page.form).status_code == 303

    def test_a_form_in_another_encoding(self):
        """Nothing is on record as an error of the app's."""
        form = urlencode(self.page().form | {"content": "Hi"})
        with self.assertNoLogs("streaming_chat"):
            for charset in ("utf-16", "latin-1"):
                response = self.client.post("/chat/", form, content_type=f"{FORM}; charset={charset}")

                assert response.status_code == 415
        assert not Message.objects.exists()

    def test_an_empty_text(self):
        self.check(self.post(content=" \r\n"), 422, "Write a message", " \n")

    @override_settings(STREAMING_CHAT_MAX_MESSAGE_CHARS=12)
    def test_a_text_that_is_too_long(self):
        self.check(
            self.post(content="Précis <b> and more"),
            422,
            "it has 19 characters, and the limit is 12",
            "Précis <b> and more",
        )

    def test_a_token_that_has_expired(self):
        for storage in ({}, {"CSRF_USE_SESSIONS": True}, {"CSRF_COOKIE_HTTPONLY": True}):
            with self.subTest(storage=storage), override_settings(**storage):
                self.client = Client(enforce_csrf_checks=True)
                self.client.force_login(self.user)
                response = self.post(content="Précis <b>", csrfmiddlewaretoken="a" * 64)

                self.check_it_works(self.check(response, 403, "expired"))

    def test_no_token_and_no_middleware(self):
        with without_middleware():
            response = post(self.client, "/chat/", {"content": "Précis <b>"})

            self.check_it_works(self.check(response, 403, "expired"))

    def test_a_site_that_is_not_ours_gets_nothing_sent(self):
        form = self.page().form | {"content": "Précis <b>"}
        response = post(self.client, "/chat/", form, headers={"Origin": "https://evil.example"})

        self.check(response, 403, "expired")
        assert not Message.objects.exists()

    def test_a_session_that_has_ended(self):
        form = self.page().form | {"content": "Précis <b>"}
        self.client.logout()
        page = self.check(post(self.client, "/chat/", form), 401, "Please sign in.")

        assert page.one("a", target="_blank").attrs["href"] == "/accounts/login/?next=/chat/"
        assert not page.turns

    def test_a_reply_that_is_still_being_written(self):
        """The page does not look for more by itself: that would take the text away."""
        conversation = make_conversation()
        form = self.page(plain_path(conversation)).form | {"content": "Précis <b>"}
        self.live(conversation)
        page = self.check(post(self.client, f"/chat/c/{conversation.pk}", form), 409, "still being written")

        assert len(page.turns) == 2
        assert not page.all("meta", http_equiv="refresh")

    def test_limits_say_when_to_try_again(self):
        with backend(Metered):
            response = self.post(content="Précis <b>")

        self.check_it_works(self.check(response, 429, "reached your limit"))
        assert response.headers["Retry-After"] == "3600"

    def test_a_server_that_restarts(self):
        form = self.page().form | {"content": "Précis <b>"}
        runner.is_draining = True
        try:
            page = self.check(post(self.client, "/chat/", form), 503, "restarting")
        finally:
            runner.is_draining = False

        assert page.form["client_id"] == form["client_id"]
        self.check_it_works(page)

    def test_a_database_that_is_away(self):
        class Away(Exception):
            pass

        with (
            mock.patch.object(Permissions, "may_send", side_effect=OperationalError("gone")),
            self.assertLogs("streaming_chat"),
        ):
            response = self.post(content="Précis <b>")

        self.check(response, 503, "cannot save messages")

    def test_whoever_may_not_send(self):
        with backend(Closed):
            self.check(self.post(content="Précis <b>"), 403, "permission")

    @scripted_provider()
    def test_a_model_that_is_not_offered(self, provider):
        self.check_it_works(self.check(self.post(content="Précis <b>", model="gone:model"), 422, "not available"))

    @scripted_provider()
    def test_a_form_that_was_sent_with_another_text(self, provider):
        form = self.page().form
        post(self.client, "/chat/", form | {"content": "Hi"})
        page = self.check(post(self.client, "/chat/", form | {"content": "Précis <b>"}), 422, "already sent")

        self.check_it_works(page)

    @scripted_provider()
    def test_a_conversation_that_is_gone(self, provider):
        conversation = make_conversation()
        form = self.page(plain_path(conversation)).form | {"content": "Précis <b>"}
        delete_for_owner(conversation.pk)
        page = self.check(post(self.client, f"/chat/c/{conversation.pk}", form), 404, "could not be found")

        assert page.one("form", method="post", class_="scp-form").attrs["action"] == "/chat/"
        self.check_it_works(page)

    def test_what_is_too_large_is_not_read(self):
        self.check(self.post(content="x" * 1_048_576), 413, "Go back", "")

    @override_settings(DATA_UPLOAD_MAX_MEMORY_SIZE=200)
    def test_what_is_too_large_for_django_is_not_read(self):
        self.check(self.post(content="x" * 300), 413, "Go back", "")

    def test_only_a_form_is_one(self):
        response = self.client.post("/chat/", {"content": "Hi"}, content_type="application/json")

        self.check(response, 415, "its own form", "")


class ShownTests(PlainTestCase):
    def test_a_reply_that_is_being_written_is_shown_and_looked_for_again(self):
        conversation = make_conversation()
        live = self.live(conversation)
        page = self.page(plain_path(conversation))

        refresh = page.one("meta", http_equiv="refresh").attrs["content"]
        again = self.page(refresh.partition("url=")[2])

        assert refresh == f"3;url={plain_path(conversation)}&look=1#m-{live.pk}"
        assert again.one("meta", http_equiv="refresh").attrs["content"] == refresh.replace("look=1", "look=2")
        assert page.turns[1] == "Reply demo:demo Reasoning Hm. It will Being written…"
        assert not page.all("textarea")

        live.refresh_from_db()

        assert live.followed_until is not None

    def test_fifty_messages_and_a_way_to_the_earlier_ones(self):
        conversation = make_conversation()
        for number in range(60):
            make_message(conversation, f"Number {number}.")
        page = self.page(plain_path(conversation))
        (earlier,) = [link.attrs["href"] for link in page.all("a") if "before=" in link.attrs["href"]]
        before = self.page(earlier)

        assert [turn.split()[-1] for turn in page.turns] == [f"{number}." for number in range(10, 60)]
        assert [turn.split()[-1] for turn in before.turns] == [f"{number}." for number in range(10)]
        assert "before=" not in str([link.attrs["href"] for link in before.all("a")])

    def test_a_message_for_which_the_page_has_no_budget_can_be_formatted_alone(self):
        """The newest are formatted first; the page of the link begins with the message that it names."""
        conversation = make_conversation()
        # Line breaks cost the most, so few elements are enough.
        text = "*a* " * 1_000 + "word\n" * 4_000
        replies = [make_reply(conversation, text) for _ in range(PAGE_COST // cost(text) + 1)]
        address = f"{plain_path(conversation)}&format={replies[0].pk}#m-{replies[0].pk}"

        page = self.page(plain_path(conversation))
        alone = self.page(address.partition("#")[0])

        assert [link.attrs["href"] for link in page.all("a") if "&format=" in link.attrs["href"]] == [address]
        assert len(page.all("em")) == 1_000 * (len(replies) - 1)
        assert len(alone.all("em")) == 1_000 * (len(replies) - 1)
        assert address not in [link.attrs["href"] for link in alone.all("a")]

    def test_the_path_in_view_is_shown(self):
        conversation = make_conversation()
        make_reply(conversation, "Left out.")
        make_reply(conversation, "In view.", parent=conversation.head.parent)

        assert [turn.rpartition(":demo ")[2] for turn in self.page(plain_path(conversation)).turns[1:]] == ["In view."]

    def test_how_a_reply_ended_is_said(self):
        for ending, words in (
            ({"status": "stopped", "end_reason": "user"}, "Stopped"),
            (
                {"status": "interrupted", "end_reason": "shutdown", "error_code": "shutdown"},
                "was interrupted. The server",
            ),
            ({"end_reason": "length"}, "the maximum length"),
        ):
            with self.subTest(ending=ending):
                conversation = make_conversation()
                make_reply(conversation, "It", **ending)

                assert words in self.page(plain_path(conversation)).turns[1]

    def test_what_its_owner_cut_is_not_shown(self):
        conversation = make_conversation()
        make_reply(conversation, "Seen. Unseen.", status="stopped", end_reason="user", cut_position=6)

        assert "Unseen" not in self.page(plain_path(conversation)).turns[1]

    def test_the_newest_twenty_conversations_are_linked(self):
        conversations = [make_conversation(title=f"Talk {number}") for number in range(22)]
        make_conversation(make_user("bo"), title="Foreign")
        links = [
            link for link in self.page(plain_path(conversations[-1])).all("a") if link.text.startswith(("Talk", "For"))
        ]

        assert len(links) == 20
        assert [link.text for link in links if link.attrs.get("aria-current")] == ["Talk 21"]

    def test_a_foreign_conversation_is_not_there(self):
        assert self.client.get(plain_path(make_conversation(make_user("bo")))).status_code == 404

    def test_keyboard_and_screen_reader(self):
        conversation = make_conversation()
        make_reply(conversation)
        page = self.page(plain_path(conversation))
        named = {label.attrs["for"] for label in page.all("label")}

        assert page.one("html").attrs["lang"].startswith("en")
        assert page.one("html").attrs["dir"] == "ltr"
        assert page.one("h1").text == "Rain in Lisbon"
        assert page.one("h1").attrs["dir"] == "auto"
        assert page.one("textarea").attrs["id"] in named
        assert page.one("textarea").attrs["dir"] == "auto"
        assert all(
            element.attrs["dir"] == "auto" for element in page.all("div") if element.attrs["class"] == "scp-text"
        )

    def test_nothing_is_inline_and_nothing_is_for_browsers_without_scripts_only(self):
        conversation = make_conversation()
        make_reply(conversation)
        content = self.client.get(plain_path(conversation)).content.decode()

        assert not re.search(r"<style|<script|<noscript|\sstyle=|\son[a-z]+=|javascript:", content)

    def test_no_text_makes_an_element_of_its_own(self):
        for text in HOSTILE:
            with self.subTest(text=text):
                conversation = make_conversation(title=text, model=text)
                make_message(conversation, text)
                parts = [{"kind": "reasoning", "text": text}, {"kind": "text", "text": text}]
                parts.append({"kind": "tool_call", "id": text, "name": text, "arguments": text, "complete": True})
                parts.append({"kind": "tool_result", "id": text, "status": text, "output": text, "ms": 1})
                make_reply(conversation, parts=parts, model=text)
                shown = self.page(plain_path(conversation))
                with backend(Closed):
                    refused = Page(
                        self.post(f"/chat/c/{conversation.pk}", content=text, model=text, parent=text).content
                    )

                assert refused.written == text
                for page in (shown, refused):
                    assert {element.tag for element in page.elements} <= ELEMENTS
                    assert not [name for element in page.elements for name in element.attrs if name.startswith("on")]
                    assert not page.all("meta", http_equiv="refresh")
                    assert {image.attrs["src"] for image in page.all("img")} <= {static("chatproject/icon.svg")}
                    links = [element.attrs["href"] for element in page.all("a")]
                    assert all(link.startswith(("/", "#content")) for link in links), links


class ElementTests(TestCase):
    def test_the_form_of_the_element_sends_once_however_often_it_is_pressed(self):
        client = Client()
        client.force_login(make_user())
        client_id = Page(client.get("/chat/").content).one("input", name="client_id").attrs["value"]
        form = urlencode({"client_id": client_id, "content": "Hi"})
        with scripted_provider(Script(["Hello"])) as provider:
            for _press in range(2):
                assert client.post("/chat/", form, content_type=FORM).status_code == 303

        assert len(provider.calls) == 1
        assert Message.objects.filter(role="user").count() == 1


class WaitingTests(TransactionTestCase):
    """Outside a transaction, where the writer saves."""

    def test_a_reply_that_takes_longer_is_shown_as_it_is(self):
        client = Client()
        client.force_login(make_user())
        gate = Gate()
        with (
            scripted_provider(Script(["It ", "rains"], gates={1: gate})),
            mock.patch.object(plain, "_ENDING_TIMEOUT", 0.3),
        ):
            sent = post(client, "/chat/", {"content": "Hi"})
            half = Page(client.get(sent.headers["Location"]).content)
            gate.open()
            wait_until_saved()
        whole = Page(client.get(sent.headers["Location"]).content)

        assert "It Being written…" in half.turns[1]
        assert half.all("meta", http_equiv="refresh")
        assert whole.turns[1].endswith("It rains")
        assert not whole.all("meta", http_equiv="refresh")


def post_form(browser: Browser, path: str, content: str) -> Exchange:
    """Send the form from a browser."""
    form = urlencode({"content": content, "csrfmiddlewaretoken": "a" * 32}).encode()
    cookies = f"{settings.SESSION_COOKIE_NAME}={browser.session}; {settings.CSRF_COOKIE_NAME}={'a' * 32}"
    exchange = Exchange(browser.port, "POST", f"/chat/{path}", {"Cookie": cookies, "Content-Type": FORM}, form)
    browser.exchanges.append(exchange)
    return exchange


class AsgiTests(ServerTestCase):
    def test_a_form_leads_to_the_finished_reply(self):
        self.provider.script(ServerScript(["It ", "rains"]))
        exchange = post_form(self.browser, "", "Hi")
        reply = self.reply_to("Hi")

        assert exchange.status == 303
        assert exchange.headers["location"] == f"{plain_path(reply.conversation)}#m-{reply.pk}"
        assert reply.text == "It rains"

    @override_settings(STREAMING_CHAT_DISCONNECT_GRACE_SECONDS=0)
    def test_a_reply_that_takes_longer_goes_on_for_who_looks_again(self):
        gate = ServerGate()
        self.provider.script(ServerScript(["It ", "rains"], gates={1: gate}))
        with held(gate), mock.patch.object(plain, "_ENDING_TIMEOUT", 0.3):
            exchange = post_form(self.browser, "", "Hi")
            status = exchange.status
            # Were it deserted, the writer would have stopped it within one of its flushes, of 0.1 s.
            threading.Event().wait(0.5)
        reply = self.reply_to("Hi")

        assert status == 303
        assert (reply.status, reply.text) == ("completed", "It rains")


@pytest.mark.any_database
class WsgiTests(TransactionTestCase):
    """gunicorn with one worker that serves one request at a time: a wait that needed another would never end."""

    def test_a_form_leads_to_the_finished_reply(self):
        with ProviderServer() as provider:
            provider.default = ServerScript(["It ", "rains"])
            arguments = ("--worker-class", "sync", "--workers", "1")
            with GunicornServer(site(provider), *arguments) as server:
                wait_until(lambda: server.workers)
                browser = Browser(server.port)
                self.addCleanup(browser.close)
                exchange = post_form(browser, "", "Hi")
                status = exchange.status
                reply = Message.objects.get(role="assistant")

        assert status == 303
        assert (reply.status, reply.text) == ("completed", "It rains")
