"""What a model, a user, the site or its staff may write to do harm, on every page of the admin: shown as text, and no more.

Each page is looked at twice: with texts that are harmless, which tells what its template makes of any text, then with those
that are not. The pages are those of the URL configuration: one that is new has to be named in `Tour`.
"""

import json
import math
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import StringIO
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.contrib.auth import get_user_model
from django.contrib.contenttypes.models import ContentType
from django.core.management import call_command
from django.urls import reverse
from django.utils.http import urlencode
from playwright.sync_api import Browser, BrowserContext, Page, Route, expect

import streaming_chat
from streaming_chat.events import Event
from streaming_chat.models import Conversation, Message, Review
from streaming_chat.staff.words import terms
from tests.database import database_url
from tests.factories import make_conversation, make_live, make_message, make_reply
from tests.hostile import HOSTILE
from tests.hostile_rows import Rows, make_rows
from tests.provider_server import Gate, ProviderServer, Script
from tests.servers import held
from tests.test_search import made

from .conftest import serve, sign_in, watched
from .policy import POLICY

TEXTS = list(HOSTILE.values())
# As many as there are of the others: pages of lists, of results and of a transcript.
HARMLESS = [f"harmless {number}" for number in range(len(TEXTS))]
NAME = "".join(HOSTILE[name] for name in ("script", "image handler", "svg handler"))
MARKUP = json.loads((Path(streaming_chat.__file__).parent / "markup.json").read_text())
# The shape of each element but those that are made of Markdown; what no page may have; and all that can be read.
LOOK = """(markup) => {
    const address = new RegExp(`^${markup.address}`, "i");
    const all = [...document.querySelectorAll("*")];
    const isRendered = (element) => element.parentElement?.closest(".transcript-text");
    const shape = ({ localName, attributes, parentElement }) =>
        `${parentElement?.localName} > ${localName} ${[...attributes].map(({ name }) => name).sort()}`;
    const isStray = ({ localName, attributes, namespaceURI }) => {
        const ours = { a: ["rel"], pre: ["dir"] }[localName];
        if (namespaceURI !== "http://www.w3.org/1999/xhtml" || !(localName in markup.attributes || ours)) return true;
        const known = [...(markup.attributes[localName] ?? []), ...(ours ?? [])];
        return [...attributes].some(({ name, value }) => !known.includes(name)
            || (name === "href" && !address.test(value)) || (name === "class" && !/^language-\\S+$/.test(value)));
    };
    const leads = ["href", "src", "srcset", "action", "formaction", "data", "poster", "background", "xlink:href"];
    const leadsAway = (element) => leads.some((name) => element.hasAttribute(name)
        && new URL(element.getAttribute(name), document.baseURI).origin !== location.origin);
    const rendered = all.filter(isRendered);
    const others = all.filter((element) => !isRendered(element));
    const texts = "bdi, option, textarea, title, mark, code, summary bdi, pre, h1, .breadcrumbs a";
    const made = others.filter((element) => element.parentElement?.matches(texts));
    const values = [...document.querySelectorAll("input, textarea, option")].map(({ value }) => value);
    return {
        shapes: [...new Set(others.map(shape))],
        strays: [...rendered.filter(isStray), ...others.filter(leadsAway), ...made].map(({ outerHTML }) => outerHTML),
        text: [document.documentElement.textContent, ...values].join("\\n"),
    };
}"""


def pages() -> list[str]:
    """Return the names of the app's pages in the admin, without its own."""

    def names(patterns: Any) -> Iterator[str]:
        for pattern in patterns:
            if hasattr(pattern, "url_patterns"):
                yield from names(pattern.url_patterns)
            else:
                yield pattern.name or ""

    prefix = "streaming_chat_"
    return sorted(name.removeprefix(prefix) for name in names(admin.site.urls[0]) if name.startswith(prefix))


def url(name: str, *args: Any, **query: Any) -> str:
    address = reverse(f"admin:streaming_chat_{name}", args=args)
    return f"{address}?{urlencode(query)}" if query else address


@pytest.fixture(scope="module")
def site(chromium: Browser, loopback: ProviderServer, django_db_blocker) -> Iterator[str]:
    with django_db_blocker.unblock():
        database = database_url()
    with serve(DATABASE_URL=database, PROVIDER_URL=loopback.openai_url, HOSTILE="1") as root:
        yield root


@contextmanager
def quiet(browser: Browser, site: str, name: str) -> Iterator[BrowserContext]:
    """Yield a context of a superuser called so, that may open no dialog or window, and ask nobody but the site."""
    faults: list[str] = []
    with watched(browser, base_url=site) as context:
        context.on("dialog", lambda dialog: (faults.append(dialog.message), dialog.dismiss()))
        context.on("request", lambda request: request.url.startswith(site) or faults.append(request.url))
        context.route("**/admin/auth/**", without_trusted_types)
        context.on("weberror", lambda error: print(error.page.url[:150], str(error.error)[:90], (error.error.stack or "")[-200:]))
        user, _made = get_user_model().objects.get_or_create(username=name, is_staff=True, is_superuser=True)
        sign_in(context, site, user)
        yield context

        assert len(context.pages) <= 1
    assert faults == []


def without_trusted_types(route: Route) -> None:
    """Let Django's own pages have their jQuery, which does not run where a policy requires trusted types."""
    response = route.fetch()
    policy = POLICY.partition("; require-trusted-types-for")[0]
    route.fulfill(response=response, headers={**response.headers, "content-security-policy": policy})


class Tour:
    """Goes through the pages: each method is the page of that name.

    known: the shapes of the elements of each page. is_first: whether these are learnt, from texts that are harmless.
    """

    def __init__(self, page: Page, rows: Sequence[Rows], known: dict[str, set[str]], *, is_first: bool) -> None:
        self.page = page
        self.rows = rows
        self.known = known
        self.is_first = is_first
        self.texts = [each.text for each in rows]
        self.name = ""
        self.read = ""
        self.long = make_long(self.texts)

    def visit(self, names: Sequence[str]) -> None:
        for self.name in names:
            getattr(self, self.name)()

    def go(self, address: str) -> None:
        self.page.goto(address)
        self.look()

    def look(self) -> None:
        """Look at the page, with all that is folded open."""
        self.page.evaluate("document.querySelectorAll('details').forEach((details) => { details.open = true; })")
        found = self.page.evaluate(LOOK, MARKUP)
        self.read += found["text"]
        if self.is_first:
            self.known[self.name] |= set(found["shapes"])

        assert found["strays"] == [], self.page.url
        assert set(found["shapes"]) <= self.known[self.name], self.page.url

    def press(self, name: str, role: Any = "button") -> None:
        """Press a button or link that leads on."""
        with self.page.expect_navigation():
            # A key may follow the name.
            self.page.get_by_role(role, name=re.compile(rf"^{name}( \w)?$")).first.click()
        self.look()

    def save(self, name: str) -> str:
        """Press a button that downloads; return the name that the file gets."""
        with self.page.expect_download() as caught:
            self.page.get_by_role("button", name=name, exact=True).first.click()
        return caught.value.suggested_filename

    def expect_read(self, texts: Sequence[str]) -> None:
        """See that each of these was shown as it is since the last time."""
        read, self.read = self.read, ""

        assert [text for text in texts if text not in read] == []

    def some(self) -> Sequence[str]:
        """Return the texts that a page is asked with one by one."""
        return self.texts[:1] if self.is_first else self.texts

    def conversation_changelist(self) -> None:
        for number in range(math.ceil(2 * len(self.rows) / 50)):
            self.go(url(self.name, p=number + 1))
        self.expect_read([each.conversation.title for each in self.rows])
        self.go(url(self.name))
        self.expect_read([f"loopback:{text}" for text in TEXTS])
        names = ("q", "model", "error", "owner_key", "review", "live", "feedback", "owned_by", "last_status__exact")
        self.ask(names)

    def ask(self, names: Sequence[str]) -> None:
        """Ask for each text under all of these names: what it finds, or that it finds nothing."""
        for text in self.some():
            self.go(url(self.name, q=text))
            self.go(url(self.name, **dict.fromkeys(names, text)))
        self.expect_read(self.some())

    def message_changelist(self) -> None:
        for number in range(math.ceil(4 * len(self.rows) / 50)):
            self.go(url(self.name, p=number + 1))
        self.expect_read([*(each.owner.username for each in self.rows), *(text[:64] for text in self.texts)])
        self.ask(("q", "model", "error", "reason", "status", "days", "live", "feedback"))

    def accessrecord_changelist(self) -> None:
        for number in range(math.ceil(3 * len(self.rows) / 100)):
            self.go(url(self.name, p=number + 1))
        self.expect_read([*self.texts, *(each.visitors.owner_key for each in self.rows)])
        self.ask(("q", "kind__exact", "at__gte"))

    def conversation_change(self) -> None:
        for each in self.rows if not self.is_first else self.rows[:2]:
            # Sought so, it is the reply that failed, by its request's id.
            asked = {"_changelist_filters": f"q={quote(each.text)}", "queue": each.text, "page": each.text}
            self.go(url(self.name, each.conversation.pk, **asked))
            self.expect_read([each.conversation.title, each.text[:32], each.text[:64]])
            self.go(url(self.name, each.conversation.pk, message=each.reply.pk))
            self.expect_read([each.conversation.title, each.judge.username, each.text[:64], each.text])
            shown = self.page.locator(".transcript-text pre, details pre").all_text_contents()

            # The question, the system prompt, reasoning, arguments; and the notes are in their field.
            assert shown.count(each.text) >= 4, shown
            assert self.page.locator("textarea[name=notes]").input_value() == each.text
            self.go(url(self.name, each.visitors.pk))
        self.go(url(self.name, self.long.pk, message=self.long.head_id))
        self.press("Earlier messages", "link")
        self.expect_read(self.texts)

    def conversation_history(self) -> None:
        log(self.long, self.texts, self.rows[0].judge)
        self.go(url(self.name, self.long.pk))
        self.expect_read([*self.texts, self.rows[0].judge.username])

    def conversation_add(self) -> None:
        self.go(url(self.name))

    def conversation_delete(self) -> None:
        self.go(url(self.name, self.long.pk))

    def conversation_numbers(self) -> None:
        self.go(url(self.name))
        self.expect_read([*self.texts, *(text[:64] for text in self.texts)])
        for text in self.some():
            self.go(url(self.name, model=text, days=text))
        self.expect_read(self.some())

    def conversation_search(self) -> None:
        for text in ["harmless", *self.some()] if self.is_first else self.texts:
            self.go(url(self.name, q=text))
            if terms(text):
                assert self.page.locator("mark").count() > 0, text
                assert self.page.locator(".search-passage", has_text=terms(text)[0].words[0]).count() > 0
            if self.page.get_by_role("link", name="Search older").count():
                self.press("Search older", "link")

                assert self.page.locator("mark").count() > 0, text
        self.go(url(self.name, q="nothing has this"))
        self.go(url(self.name, q="!"))
        self.expect_read(self.some())

    def conversation_review(self) -> None:
        """Saved, then refused since another one was faster: both notes are there."""
        notes, chosen = "\n".join(self.texts), self.rows[1].conversation
        Review.objects.filter(pk=chosen.pk).update(notes=notes)
        self.page.goto(url("conversation_change", chosen.pk))
        self.page.locator("textarea[name=notes]").fill(f"{notes} mine")
        self.page.locator("input[name=labels]").first.check()
        self.press("Save")

        assert Review.objects.get(pk=chosen.pk).notes == f"{notes} mine"

        Review.objects.filter(pk=chosen.pk).update(version=99, changed_by=self.rows[0].judge)
        self.page.locator("textarea[name=notes]").fill(f"{notes} again")
        self.press("Save")
        expect(self.page.locator("#review-theirs")).to_have_text(f"{notes} mine")
        expect(self.page.locator("#review-mine")).to_have_value(f"{notes} again")
        self.expect_read([notes, self.rows[0].judge.username])

    def conversation_review_next(self) -> None:
        Conversation.objects.exclude(pk=self.rows[0].conversation.pk).update(needs_attention=False)
        Conversation.objects.filter(pk=self.rows[0].conversation.pk).update(
            review_state="unreviewed", needs_attention=True
        )
        self.page.goto(url("conversation_changelist"))
        self.press("Review the next one")
        self.expect_read(self.texts[:1])
        self.press("Done and next")
        expect(self.page.locator(".messagelist")).to_contain_text("This is the end of the queue")

    def conversation_redact(self) -> None:
        chosen = self.rows[2].conversation
        self.page.goto(url("conversation_change", chosen.pk))
        self.press("Redact…")
        self.press("Redact")
        expect(self.page.locator(".messagelist")).to_contain_text("The message is redacted.")

    def conversation_follow(self) -> None:
        """What was saved of a reply, as it is followed; and the same address as a page of its own."""
        live = self.make_live()
        self.page.goto(url("conversation_change", live.conversation_id))
        expect(self.page.locator("[data-live=text]")).to_have_text("\n".join(self.texts), use_inner_text=False)
        expect(self.page.locator("[data-live=reasoning] pre")).to_have_text("\n".join(self.texts), use_inner_text=False)
        self.look()
        ended = self.rows[3]
        self.open_as_page(url(self.name, ended.conversation.pk, ended.reply.pk))

    def make_live(self) -> Any:
        everything = "\n".join(self.texts)
        events = [Event("reasoning", everything), Event("text", everything)]
        return make_live(make_conversation(title=self.texts[0][:200]), *events)

    def open_as_page(self, address: str) -> None:
        """Go where no page is: it is shown as text, or saved."""
        response = self.page.request.get(address)

        assert response.headers["x-content-type-options"] == "nosniff"
        assert not response.headers["content-type"].startswith("text/html")
        self.page.evaluate("(address) => { location.href = address; }", address)
        self.page.wait_for_timeout(300)

        assert self.page.evaluate("document.querySelectorAll('script, img, svg, iframe, form').length") == 0 or (
            address not in self.page.url
        )

    def conversation_stop(self) -> None:
        live = self.make_live()
        self.page.goto(url("conversation_change", live.conversation_id))
        self.press("Stop this reply")
        expect(self.page.locator(".messagelist")).to_contain_text("The reply is being stopped.")

    def conversation_export(self) -> None:
        for each in self.rows[:1] if self.is_first else self.rows[::8]:
            self.page.goto(url("conversation_change", each.conversation.pk))
            name = f"conversation-{each.conversation.pk}"

            assert self.save("Export this branch as Markdown") == f"{name}.md"
            assert self.save("Export all branches as JSONL") == f"{name}.jsonl"
        for form in ("markdown", "jsonl", "csv"):
            assert self.page.request.get(url(self.name, self.long.pk, form)).status == 405

    def conversation_export_list(self) -> None:
        for form in ("JSONL", "CSV"):
            self.page.goto(url("conversation_changelist", q=self.texts[0]))

            assert self.save(f"Export this list as {form}").startswith("transcripts-")
            self.page.locator("#action-toggle").check()
            self.page.locator("select[name=action]").select_option(f"export_{form.lower()}")
            assert self.save("Go").endswith(f".{form.lower()}")
            assert self.page.request.get(url(self.name, form.lower())).status == 405


def make_long(texts: Sequence[str]) -> Conversation:
    """Return a conversation of more than a page, with messages from before the last 90 days."""
    conversation = make_conversation(title="Long")
    for number, text in enumerate(texts):
        make_message(conversation, text, pk=made(200, Message.objects.count() + number))
        make_reply(conversation, text, provider=text[:64], model=text, request_id=text)
    return conversation


def log(conversation: Conversation, texts: Sequence[str], user: Any) -> None:
    """Write texts where Django writes what staff did."""
    kind = ContentType.objects.get_for_model(Conversation)
    LogEntry.objects.bulk_create(
        LogEntry(
            user=user,
            content_type=kind,
            object_id=str(conversation.pk),
            object_repr=text[:200],
            action_flag=2,
            change_message=text,
        )
        for text in texts
    )


def make_all(texts: Sequence[str], first: int) -> list[Rows]:
    return [make_rows(text, number) for number, text in enumerate(texts, first)]


class TestEveryPage:
    def test_texts_are_shown_and_do_nothing(self, chromium: Browser, site: str, user: Any) -> None:
        known: dict[str, set[str]] = defaultdict(set)
        for name, texts, is_first in (("rita", HARMLESS, True), (NAME, TEXTS, False)):
            rows = make_all(texts, 0 if is_first else len(HARMLESS))
            with quiet(chromium, site, name) as context:
                tour = Tour(context.new_page(), rows, known, is_first=is_first)
                call_command("rebuildsearch", stdout=StringIO(), stderr=StringIO())
                tour.visit(pages())
