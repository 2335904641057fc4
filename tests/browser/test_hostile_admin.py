"""What a model, a user, the site or its staff may write to do harm, on every page of the admin: shown as text, and no more.

Each page is looked at twice: with texts that are harmless, which tells what its template makes of any text, then with those
that are not. The pages are those of the URL configuration: one that is new has to be named in `Tour`.
"""

import contextlib
import json
import math
import re
import secrets
from collections import defaultdict
from collections.abc import Iterator, Sequence
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
from playwright.sync_api import Browser, BrowserContext, Error, Locator, Page, Route, expect

import streaming_chat
from streaming_chat.models import AccessToken, BlockedOwner, Conversation, Feedback, Message, Review, ToolCall
from streaming_chat.protocol.events import Event
from streaming_chat.rendering.shown_json import shown_json
from streaming_chat.search.tokenizer import terms
from tests.database import database_url
from tests.factories import make_call, make_conversation, make_live, make_message, make_reply, make_user, make_waiting
from tests.hostile import HOSTILE
from tests.hostile_rows import Rows, make_rows
from tests.provider_server import Gate, ProviderServer, Script
from tests.search.factories import made
from tests.servers import held

from .chat import ChatPage
from .conftest import serve, sign_in, watched
from .policy import POLICY
from .test_hostile import STRAY

TEXTS = list(HOSTILE.values())
# As many as there are of the others: pages of lists, of results and of a transcript.
HARMLESS = [f"harmless {number}" for number in range(len(TEXTS))]
# Of a title, of what is sought, and of a filter: so many texts at once that a few pages have them all.
TITLE_CHARS, SOUGHT_CHARS, FILTER_CHARS = 200, 450, 1_000
# The button beside the actions, which each Django names otherwise.
ACTION = "index"
NAME = "".join(HOSTILE[name] for name in ("script", "image handler", "svg handler"))
MARKUP = json.loads((Path(streaming_chat.__file__).parent / "rendering/allowed_html.json").read_text())
# The shape of each element but those that are made of Markdown; what no page may have; and all that can be read.
LOOK = """(markup) => {
    const address = new RegExp(`^${markup.address}`, "i");
    const all = [...document.querySelectorAll("*")];
    // What the browser renders has frames and buttons; STRAY knows them.
    const isLive = (element) => element.parentElement?.closest(".sc-markdown");
    const isRendered = (element) => element.parentElement?.closest(".transcript-text") && !isLive(element);
    // What a script or a reader has folded or hidden is no other shape.
    const names = (attributes) => [...attributes].map(({ name }) => name).filter((name) => !/^(hidden|open)$/.test(name));
    const shape = ({ localName, attributes, parentElement }) =>
        `${parentElement?.localName} > ${localName} ${names(attributes).sort()}`;
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
    // Scripts of the admin say on the root what the theme is, and how high a bar.
    const others = all.filter((each) => each !== document.documentElement && !isRendered(each) && !isLive(each));
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


def joined(texts: Sequence[str], chars: int) -> list[str]:
    """Return the texts, as many together as are no longer than this."""
    found = [""]
    for text in texts:
        if len(found[-1]) + 1 + len(text) > chars:
            found.append("")
        found[-1] = f"{found[-1]} {text}".strip()
    return found


def url(name: str, *args: Any, **query: Any) -> str:
    address = reverse(f"admin:streaming_chat_{name}", args=args)
    return f"{address}?{urlencode(query)}" if query else address


@pytest.fixture(scope="module")
def site(chromium: Browser, loopback: ProviderServer, django_db_blocker) -> Iterator[str]:
    with django_db_blocker.unblock():
        database = database_url()
    with serve(DATABASE_URL=database, PROVIDER_URL=loopback.openai_url, HOSTILE="1") as root:
        yield root


@contextlib.contextmanager
def quiet(browser: Browser, site: str, name: str) -> Iterator[BrowserContext]:
    """Yield a context of a superuser called so, that may open no dialog or window, and ask nobody but the site."""
    faults: list[str] = []
    with watched(browser, base_url=site) as context:
        context.on("dialog", lambda dialog: (faults.append(dialog.message), dialog.dismiss()))
        context.on("request", lambda request: request.url.startswith(site) or faults.append(request.url))
        context.route("**/admin/auth/**", without_trusted_types)
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

    def __init__(self, page: Page, texts: Sequence[str], known: dict[str, set[str]], *, is_first: bool) -> None:
        first = 0 if is_first else 1_000
        self.page = page
        self.known = known
        self.is_first = is_first
        self.texts = texts
        self.rows = [make_rows(text, number) for number, text in enumerate(texts, first)]
        self.long_rows = [
            make_rows(text, number) for number, text in enumerate(joined(texts, TITLE_CHARS), first + 500)
        ]
        self.long = make_long(self.rows)
        self.name = ""
        self.read = ""

    @property
    def staff(self) -> Any:
        return get_user_model().objects.get(username="rita" if self.is_first else NAME)

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

        assert found["strays"] + self.page.evaluate(STRAY, MARKUP) == [], self.page.url
        assert set(found["shapes"]) <= self.known[self.name], self.page.url

    def press(self, name: str, role: Any = "button") -> None:
        """Press a button or link that leads on."""
        with self.page.expect_navigation():
            self.find(name, role).click()
        self.look()

    def save(self, name: str) -> str:
        """Press a button that downloads; return the name that the file gets."""
        with self.page.expect_download() as caught:
            self.find(name).click()
        return caught.value.suggested_filename

    def find(self, name: str, role: Any = "button") -> Locator:
        if name == ACTION:
            return self.page.locator("button[name=index]")
        # A key may follow the name.
        return self.page.get_by_role(role, name=re.compile(rf"^{name}( \w)?$")).first

    def expect_read(self, texts: Sequence[str]) -> None:
        """See that each of these was shown as it is since the last time."""
        read, self.read = self.read, ""

        assert [text for text in texts if text not in read] == []

    def ask(self, names: Sequence[str], *, is_shown: bool = True) -> None:
        """Ask for the texts under all of these names: what it finds, or that it finds nothing."""
        for text in joined(self.texts, FILTER_CHARS)[: 1 if self.is_first else None]:
            self.go(url(self.name, **dict.fromkeys(names, text)))
            self.expect_read([text] if is_shown else [])

    def seek_each(self) -> None:
        """Search the list for the texts, which its box then has."""
        self.go(url(self.name))
        for text in joined(self.texts, SOUGHT_CHARS)[: 1 if self.is_first else None]:
            self.seek(text)

            assert self.page.locator("#searchbar").input_value() == " ".join(text.splitlines())

    def seek(self, words: str) -> None:
        """Search the page for words, which are in one line."""
        field = self.page.locator("#searchbar, #search-terms")
        field.fill(" ".join(words.splitlines()))
        with self.page.expect_navigation():
            field.press("Enter")
        self.look()

    def conversation_changelist(self) -> None:
        for number in range(math.ceil(2 * len(self.rows + self.long_rows) / 50)):
            self.go(url(self.name, p=number + 1))
        self.expect_read([each.conversation.title for each in self.rows])
        self.seek_each()
        self.expect_read([f"loopback:{''.join(' '.join(TEXTS).splitlines())}"])
        self.ask(
            ("model", "tool", "error", "owner_key", "review", "live", "feedback", "owned_by", "last_status__exact")
        )

    def message_changelist(self) -> None:
        for number in range(math.ceil(4 * len(self.rows) / 50)):
            self.go(url(self.name, p=number + 1))
        self.expect_read([text[:64] for text in self.texts])
        self.ask(("model", "tool", "error", "reason", "status", "days", "live", "feedback"), is_shown=False)
        self.seek_each()

    def accessrecord_changelist(self) -> None:
        for number in range(math.ceil(3 * len(self.rows + self.long_rows) / 100)):
            self.go(url(self.name, p=number + 1))
        self.expect_read([*self.texts, *(each.visitors.owner_key for each in self.rows)])
        self.go(url(self.name, at__gte=self.texts[0]))
        self.go(url(self.name, kind__exact=self.texts[0]))
        self.seek_each()

    def conversation_change(self) -> None:
        for each in self.long_rows[: 1 if self.is_first else None]:
            text = each.text
            asked = {"_changelist_filters": f"q={quote(text)}", "queue": text, "page": text}
            self.go(url(self.name, each.conversation.pk, message=each.reply.pk, **asked))
            self.expect_read([each.conversation.title, each.judge.username, each.owner.username, text])
            shown = self.page.locator(".transcript-text pre, details pre").all_text_contents()

            # The question, the system prompt, reasoning, arguments; and the notes are in their field.
            assert shown.count(text) >= 4, shown
            assert self.page.locator("textarea[name=notes]").input_value() == text
        self.go(url(self.name, self.long_rows[0].conversation.pk, message=self.long_rows[0].failed.pk))
        self.go(url(self.name, self.rows[0].visitors.pk))
        self.go(url(self.name, self.long.pk, message=self.long.head_id))
        while self.page.get_by_role("link", name="Earlier messages").count():
            self.press("Earlier messages", "link")
        self.expect_read(
            [*self.texts, *(text[:32] for text in self.texts), *(each.judge.username for each in self.rows)]
        )

    def conversation_find(self) -> None:
        """Takes the words of a search; see the list."""
        assert self.page.request.get(url(self.name), max_redirects=0).status == 302

    def message_find(self) -> None:
        """The same of the list of replies."""
        assert self.page.request.get(url(self.name), max_redirects=0).status == 302

    def accessrecord_find(self) -> None:
        """The same of the list of access records."""
        assert self.page.request.get(url(self.name), max_redirects=0).status == 302

    def accessrecord_export(self) -> None:
        for form in ("JSONL", "CSV"):
            self.go(url("accessrecord_changelist", owner_key=self.rows[0].visitors.owner_key))

            assert self.save(f"Export these records as {form}").startswith("access-records-")
            assert self.page.request.get(url(self.name, form.lower()), max_redirects=0).status == 302

    def feedback_changelist(self) -> None:
        for number in range(math.ceil(Feedback.objects.count() / 50)):
            self.go(url(self.name, p=number + 1))
        self.expect_read([text[:400] for text in self.texts])
        self.ask(("model", "feedback", "commented", "owned_by"), is_shown=False)
        self.go(url(self.name, updated_at__gte=self.texts[0]))
        self.seek_each()

    def feedback_find(self) -> None:
        """Takes the words of a search; see the list."""
        assert self.page.request.get(url(self.name), max_redirects=0).status == 302

    def accesstoken_changelist(self) -> None:
        # So that there is a second page with either texts.
        more = [AccessToken(owner=self.staff, prefix=secrets.token_hex(4)) for _row in range(100)]
        AccessToken.objects.bulk_create(more)
        for number in range(math.ceil(AccessToken.objects.count() / 100)):
            self.go(url(self.name, p=number + 1))
        self.expect_read([each.owner.username for each in self.rows])
        self.go(url(self.name, q=self.texts[0]))

    def accesstoken_add(self) -> None:
        for text in joined(self.texts, 100)[: 1 if self.is_first else None]:
            self.page.goto(url(self.name))
            self.page.locator("#id_name").fill(" ".join(text.splitlines()))
            self.press("Save")

    def accesstoken_delete(self) -> None:
        self.go(url(self.name, AccessToken.objects.filter(owner=self.rows[0].owner).get().pk))
        self.press("Revoke this token")

    def sharelink_changelist(self) -> None:
        for number in range(math.ceil(len(self.rows + self.long_rows) / 50)):
            self.go(url(self.name, p=number + 1))
        self.expect_read([each.owner.username for each in self.rows])
        self.seek_each()

    def sharelink_find(self) -> None:
        """The same of the list of shared links."""
        assert self.page.request.get(url(self.name), max_redirects=0).status == 302

    def sharelink_revoke(self) -> None:
        self.page.goto(url("sharelink_changelist"))
        self.press("Revoke")
        expect(self.page.locator(".messagelist")).to_contain_text("The link is revoked.")

    def toollist_changelist(self) -> None:
        for number in range(math.ceil(len(self.rows + self.long_rows) / 10)):
            self.go(url(self.name, p=number + 1))
        self.expect_read(self.texts)
        self.seek_each()

    def toollist_find(self) -> None:
        """The same of the lists of tools."""
        assert self.page.request.get(url(self.name), max_redirects=0).status == 302

    def toolcall_changelist(self) -> None:
        for text in self.texts:
            self.make_waiting(text)
        # The oldest are first.
        for number in range(math.ceil(ToolCall.objects.filter(status="waiting").count() / 50)):
            self.go(url(self.name, p=number + 1))
        self.expect_read([text[:255] for text in self.texts])
        self.seek_each()

    def make_waiting(self, text: str) -> Any:
        """Return a call that waits. Its tool is called so, and its arguments are the text."""
        (call,) = make_waiting(make_conversation(self.rows[0].owner), text[:255], arguments=text, editable=True)
        return call

    def toolcall_find(self) -> None:
        """The same of the tool calls that wait."""
        assert self.page.request.get(url(self.name), max_redirects=0).status == 302

    def toolcall_answer(self) -> None:
        for text in joined(self.texts, 1_000)[: 1 if self.is_first else None]:
            call = self.make_waiting(text)
            self.go(url(self.name, call.pk))

            assert self.page.locator("textarea[name=arguments]").input_value() == shown_json(text)
            self.expect_read([shown_json(text), self.rows[0].owner.username])
        call = self.make_waiting("Refused")
        # The reply goes on waiting: it has another one.
        make_call(call.message, status="waiting", call_id="other")
        self.go(url(self.name, call.pk))
        self.page.locator("#reason").fill(" ".join(self.texts[0].splitlines()))
        self.press("Deny")
        expect(self.page.locator(".messagelist")).to_contain_text("The answer is saved.")

    def conversation_history(self) -> None:
        log(self.long, self.texts, self.rows[0].judge)
        self.go(url(self.name, self.long.pk))
        # Django makes elements of line breaks.
        self.expect_read([*(line for text in self.texts for line in text.split("\n")), self.rows[0].judge.username])

    def conversation_add(self) -> None:
        self.go(url(self.name))

    def conversation_delete(self) -> None:
        self.go(url(self.name, self.long.pk))

    def conversation_numbers(self) -> None:
        self.go(url(self.name))
        self.expect_read([*self.texts, *(text[:64] for text in self.texts)])
        self.ask(("model", "days"))

    def conversation_search(self) -> None:
        self.go(url(self.name))
        for number, text in enumerate(joined(self.texts, SOUGHT_CHARS)):
            self.seek(text)
            passages = self.page.locator(".search-passage").all_text_contents()

            assert self.page.locator("#search-terms").input_value() == " ".join(text.splitlines())
            assert self.page.locator(".search-passage mark").count() >= min(len(terms(text)), 3), text
            assert len([passage for passage in passages if passage.strip("… ") in text]) >= 2
            if number % 5 == 0 and self.page.get_by_role("link", name="Search older").count():
                self.press("Search older", "link")
        for sought in ("nothing has this", "!"):
            self.seek(sought)
        self.seek("harmless" if self.is_first else "alert")
        for _page in range(6):
            self.press("More results", "link")

            assert self.page.locator(".search-passage mark").count() >= 20
        owners = [each.owner.username for each in (*self.rows, *self.long_rows)]

        assert sum(owner in self.read for owner in owners) > 10

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

    def conversation_review_notes(self) -> None:
        for each in self.rows[6:]:
            self.go(url(self.name, each.conversation.pk))
            self.expect_read([each.text, each.judge.username])

    def conversation_review_numbers(self) -> None:
        self.go(url(self.name))
        self.expect_read([*self.texts, *(each.judge.username for each in self.rows)])
        self.ask(("days",), is_shown=False)

    def conversation_review_undo(self) -> None:
        chosen = self.rows[4].conversation
        self.page.goto(url("conversation_change", chosen.pk))
        self.press("Done and next")
        self.press("Undo")
        expect(self.page.locator(".messagelist")).to_contain_text("The review is reopened")
        self.expect_read([self.rows[4].conversation.title])

    def conversation_owner(self) -> None:
        for each in self.rows:
            self.go(url(self.name, f"u:{each.owner.pk}"))
            self.expect_read([each.owner.username])
        for each in self.long_rows:
            self.go(url(self.name, each.visitors.owner_key))
            self.expect_read([each.visitors.owner_key])

    def conversation_owner_block(self) -> None:
        for text in joined(self.texts, 1_000):
            self.go(url("conversation_owner", self.long_rows[0].visitors.owner_key))
            self.page.get_by_label("Reason, for other staff").fill(text)
            self.press("Block")
            self.expect_read([text])
            self.press("Unblock")

    def conversation_owner_unblock(self) -> None:
        """See the block."""

    def conversation_owner_export(self) -> None:
        owner = make_user(f"{self.texts[0]} export {self.is_first}")
        make_reply(make_conversation(owner, title=self.texts[0]), self.texts[0])
        self.go(url("conversation_owner", f"u:{owner.pk}"))
        self.page.locator("#owner-export").fill(owner.username)

        assert self.save("Export").endswith(".json")

    def conversation_owner_erase(self) -> None:
        """Refused for another name, and done."""
        owner = make_user(f"{self.texts[0]} erase {self.is_first}")
        make_reply(make_conversation(owner, title=self.texts[0]), self.texts[0])
        for name, said in (
            (self.texts[1], owner.username),
            (owner.username, f"Everything that {owner.username} wrote"),
        ):
            self.go(url("conversation_owner", f"u:{owner.pk}"))
            self.page.locator("#owner-erase").fill(" ".join(name.splitlines()))
            self.press("Erase")
            self.expect_read([said])

    def conversation_owners(self) -> None:
        for each in self.rows:
            BlockedOwner.objects.create(owner_key=f"u:{each.owner.pk}", reason=each.text[:200], by_name=each.text[:150])
        self.go(url(self.name))
        self.expect_read([*(each.text[:150] for each in self.rows), *(each.owner.username for each in self.rows)])
        self.ask(("days",), is_shown=False)
        BlockedOwner.objects.all().delete()

    def conversation_redact(self) -> None:
        chosen = self.rows[2].conversation
        self.page.goto(url("conversation_change", chosen.pk))
        self.press("Redact…")
        self.press("Redact")
        expect(self.page.locator(".messagelist")).to_contain_text("The message is redacted.")

    def conversation_redact_passages(self) -> None:
        chosen = self.rows[5]
        self.page.goto(url("conversation_change", chosen.conversation.pk))
        self.press("Redact passages…")
        self.page.locator("textarea[name=text]").fill(chosen.text)
        self.press("Preview")
        expect(self.page.locator(".redact-preview mark").first).to_be_visible()
        self.page.get_by_label("Reason").fill(chosen.text[:255])
        self.press("Redact")
        expect(self.page.locator(".messagelist")).to_contain_text("Redacted in")

    def conversation_follow(self) -> None:
        """What was saved of a reply, as it is followed; and the same address as a page of its own."""
        live = self.make_live()
        self.page.goto(url("conversation_change", live.conversation_id))
        expect(self.page.locator("[data-live=text].sc-markdown")).to_contain_text(self.texts[0])
        expect(self.page.locator("[data-live=reasoning] pre")).to_have_text("\n".join(self.texts), use_inner_text=False)
        self.look()
        ended = self.rows[3]
        response = self.page.goto(url(self.name, ended.conversation.pk, ended.reply.pk))

        assert response.headers["x-content-type-options"] == "nosniff"
        assert self.page.locator("body *").count() == self.page.locator("body > pre").count() == 1

    def make_live(self) -> Any:
        everything = "\n".join(self.texts)
        events = [Event("reasoning", everything), Event("text", everything)]
        return make_live(make_conversation(title=self.texts[0][:200]), *events)

    def conversation_stop(self) -> None:
        live = self.make_live()
        self.page.goto(url("conversation_change", live.conversation_id))
        self.press("Stop this reply")
        expect(self.page.locator(".messagelist")).to_contain_text("The reply is being stopped.")

    def conversation_export(self) -> None:
        for each in self.long_rows[:2]:
            self.page.goto(url("conversation_change", each.conversation.pk))
            name = f"conversation-{each.conversation.pk}"

            assert self.save("Export this branch as Markdown") == f"{name}.md"
            assert self.save("Export all branches as JSONL") == f"{name}.jsonl"
        for form in ("markdown", "jsonl", "csv"):
            assert self.page.request.get(url(self.name, self.long.pk, form), max_redirects=0).status == 302

    def conversation_export_list(self) -> None:
        for form in ("JSONL", "CSV"):
            self.page.goto(url("conversation_changelist"))
            self.seek(self.texts[0])

            assert self.save(f"Export this list as {form}").startswith("transcripts-")
            self.page.locator("#action-toggle").check()
            self.page.locator("select[name=action]").select_option(f"export_{form.lower()}")
            assert self.save(ACTION).endswith(f".{form.lower()}")
            assert self.page.request.get(url(self.name, form.lower()), max_redirects=0).status == 302


def make_long(rows: Sequence[Rows]) -> Conversation:
    """Return a conversation of more than a page, half of it from before the last 90 days."""
    conversation = make_conversation(title="Long")
    for sought in joined([each.text for each in rows], SOUGHT_CHARS):
        make_message(conversation, sought)
    for number, each in enumerate(rows):
        text = each.text
        make_message(conversation, text, pk=made(200, Message.objects.count() + number))
        said = {"provider": text[:64], "model": text, "request_id": text, "ref": text[:32], "finish_reason": text[:64]}
        reply = make_reply(conversation, parts=each.reply.parts, **said)
        Feedback.objects.create(message=reply, value=-1, comment=text, by=each.judge, owner_key=f"v:{number}")
    return conversation


def log(about: Any, texts: Sequence[str], user: Any) -> None:
    """Write texts where Django writes what staff did."""
    kind = ContentType.objects.get_for_model(about)
    LogEntry.objects.bulk_create(
        LogEntry(
            user=user,
            content_type=kind,
            object_id=str(about.pk),
            object_repr=text[:200],
            action_flag=2,
            change_message=text,
        )
        for text in texts
    )


class SitesTour(Tour):
    """Goes through pages of Django's own that name what is the app's."""

    def index(self) -> None:
        """What one did last, ten things at a time."""
        all_of_them = joined(self.texts, TITLE_CHARS)
        for first in range(0, len(all_of_them), 10):
            texts = all_of_them[first : first + 10]
            LogEntry.objects.all().delete()
            log(self.long, texts, self.staff)
            self.go(reverse("admin:index"))
            self.expect_read([part for text in texts for part in text.split()])
        self.go(reverse("admin:app_list", args=["streaming_chat"]))

    def user(self) -> None:
        """A user who owns such conversations: history, deletion, and what is said of it."""
        owner = self.rows[0].owner
        log(owner, self.texts, self.rows[0].judge)
        self.go(reverse("admin:auth_user_change", args=[owner.pk]))
        self.expect_read([owner.username])
        self.go(reverse("admin:auth_user_history", args=[owner.pk]))
        self.expect_read([line for text in self.texts for line in text.split("\n")])
        self.go(reverse("admin:auth_user_delete", args=[owner.pk]))
        self.expect_read([owner.username])
        self.press("Yes, I’m sure")
        self.expect_read([f"“{owner.username}” was deleted"])

        assert not Conversation.objects.filter(pk=self.rows[0].conversation.pk).exists()

    def users(self) -> None:
        """All of them at once."""
        owners = [each.owner for each in self.rows[1:]]
        self.page.goto(f"{reverse('admin:auth_user_changelist')}?q=owner+{'' if self.is_first else 10}")
        self.page.locator("#action-toggle").check()
        self.page.locator("select[name=action]").select_option("delete_selected")
        self.press(ACTION)
        self.expect_read([owner.username for owner in owners])


class TestEveryPage:
    @pytest.mark.parametrize(
        ("kind", "names"),
        # Several tours, since one of all pages would take longer than a test may.
        [*((Tour, pages()[first::6]) for first in range(6)), (SitesTour, ["index", "user", "users"])],
    )
    def test_texts_are_shown_and_do_nothing(
        self, chromium: Browser, site: str, user: Any, kind: type[Tour], names: list[str]
    ) -> None:
        known: dict[str, set[str]] = defaultdict(set)
        for name, texts, is_first in (("rita", HARMLESS, True), (NAME, TEXTS, False)):
            # The numbers name no more than a hundred models.
            Conversation.objects.all().delete()
            AccessToken.objects.all().delete()
            with quiet(chromium, site, name) as context:
                tour = kind(context.new_page(), texts, known, is_first=is_first)
                call_command("rebuildsearch", stdout=StringIO(), stderr=StringIO())
                tour.visit(names)


class TestFiles:
    def test_a_file_that_is_opened_in_a_browser_does_nothing(
        self, chromium: Browser, site: str, user: Any, tmp_path: Path
    ) -> None:
        """It is shown as text, or not at all."""
        rows = [make_rows(text, number) for number, text in enumerate(TEXTS)]
        long = make_long(rows)
        with quiet(chromium, site, NAME) as context:
            page = context.new_page()
            page.goto(url("conversation_change", long.pk))
            files = [self.save(page, name, tmp_path) for name in ("this branch as Markdown", "all branches as JSONL")]
            page.goto(url("conversation_changelist"))
            files += [self.save(page, f"this list as {form}", tmp_path) for form in ("JSONL", "CSV")]
        faults: list[str] = []
        with watched(chromium) as context:
            context.on("request", lambda request: request.url.startswith("file:") or faults.append(request.url))
            page = context.new_page()
            page.on("dialog", lambda dialog: (faults.append(dialog.message), dialog.dismiss()))
            for file in files:
                with contextlib.suppress(Error):
                    # "Download is starting"
                    page.goto(file.as_uri())

                assert page.locator("body *").count() == page.locator("body > pre").count()
        assert faults == []
        assert {file.suffix for file in files} == {".md", ".jsonl", ".csv"}
        assert all(HOSTILE["image handler"] in file.read_text() for file in files)

    def save(self, page: Page, name: str, folder: Path) -> Path:
        with page.expect_download() as caught:
            page.get_by_role("button", name=f"Export {name}").click()
        path = folder / caught.value.suggested_filename
        caught.value.save_as(path)
        return path


class TestLive:
    def test_texts_that_are_being_written_do_nothing(
        self, chromium: Browser, site: str, page: Page, provider: ProviderServer
    ) -> None:
        """In pieces of three characters, so that each is half there for a moment."""
        text, gate = "\n".join(TEXTS), Gate()
        pieces = [text[start : start + 3] for start in range(0, len(text), 3)]
        calls = [(each, json.dumps({each: each})) for each in TEXTS]
        provider.script(Script(pieces, reasoning=pieces, tool_calls=calls, gates={5: gate}))
        with held(gate), quiet(chromium, site, NAME) as context:
            chat = ChatPage(page).open()
            chat.say(text)
            expect(chat.reply()).to_have_text(re.compile("<scr"))
            staff = context.new_page()
            staff.goto(url("conversation_change", chat.conversation_id))
            shown = staff.locator("[data-live=text]")
            expect(shown).to_have_text("".join(pieces[:5]), use_inner_text=False)
            gate.open()
            expect(staff.get_by_role("link", name="Show the saved reply")).to_be_visible()

            # A long text is drawn in slices.
            expect(shown).to_contain_text("\u2066<img src=x onerror=alert(1)>", timeout=60_000)

            assert HOSTILE["script"] in shown.text_content()
            assert staff.evaluate(STRAY, MARKUP) == []
            assert staff.locator("[data-live=reasoning] pre").text_content() == text
            assert staff.locator("[data-live=reasoning] pre *").count() == 0
            staff.get_by_role("link", name="Show the saved reply").click()
            expect(staff.locator("details[data-kind=tool_call]")).to_have_count(len(TEXTS))
            assert staff.evaluate(LOOK, MARKUP)["strays"] == []
