"""The search page of the admin, and the search in its list of conversations."""

import re
from urllib.parse import urlencode

from django.db import connection, transaction
from django.test import Client, SimpleTestCase, TestCase, override_settings
from django.urls import reverse
from django.utils import timezone
from django.views.debug import ExceptionReporter

from streaming_chat.admin.kept_searches import SESSION_KEY
from streaming_chat.admin.snippets import marked_snippets
from streaming_chat.models import AccessRecord
from streaming_chat.search import entries, query
from streaming_chat.search.tokenizer import terms
from tests.admin.searching import keep, kept
from tests.factories import make_conversation, make_reply, make_staff
from tests.search.factories import HOSTILE, LIST, SEARCH, USING, add, added_by_rebuilding, made, said


class PageTestCase(TestCase):
    permissions = ("view_conversation", "view_transcript")

    def setUp(self):
        self.staff = make_staff("staff", *self.permissions)
        self.client.force_login(self.staff)

    def page(self, sought, **query):
        response = self.client.get(self.address(sought, **query))

        assert response.status_code == 200
        return response.content.decode()

    def address(self, sought, **query):
        """Send the words of a search, and return the address of its results."""
        location = self.client.post(SEARCH, {"q": sought})["Location"]
        return f"{location}{'&' if '?' in location else '?'}{urlencode(query)}"

    def records(self):
        return list(AccessRecord.objects.order_by("pk").values_list("kind", "by", "by_name", "terms"))


class SearchPageTests(PageTestCase):
    def test_a_hit_says_who_when_and_what_and_leads_to_the_message(self):
        reply = make_reply(make_conversation(), "It will **rain** <b>today</b>.")
        add(reply)
        page = self.page("RAIN today")

        assert "It will **<mark>rain</mark>** &lt;b&gt;<mark>today</mark>&lt;/b&gt;." in page
        assert "Assistant ·" in page
        assert "<bdi>ana</bdi>" in page

        link = re.search(r'href="([^"]+/change/\?[^"]+)"', page)[1]

        assert link == f"{LIST}{reply.conversation_id}/change/?message={reply.pk}#m-{reply.pk}"
        assert b"transcript-focus" in self.client.get(link).content

    def test_a_title_leads_to_its_conversation(self):
        conversation = make_conversation(title="Umbrellas", deleted_at=timezone.now())
        entries.replace_title(conversation.pk, conversation.title, USING)
        page = self.page("umbrellas")

        assert "Title ·" in page
        assert "(deleted)" in page
        assert f'href="{reverse("admin:streaming_chat_conversation_change", args=[conversation.pk])}"' in page

    def test_every_search_is_recorded_each_page_too(self):
        self.page("rain")
        self.page("rain", before="5", page="2")
        self.page("")
        self.page("…")

        assert self.records() == [("search", self.staff.pk, "staff", "rain")] * 2

    def test_nothing_is_sought_when_it_cannot_be_recorded(self):
        said("rain")
        address = self.address("rain")
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE streaming_chat_accessrecord RENAME TO elsewhere")
        self.client.raise_request_exception = False
        with self.assertLogs("django.request", "ERROR"), transaction.atomic():
            response = self.client.get(address)
            transaction.set_rollback(True)

        assert response.status_code == 500
        assert b"<mark>" not in response.content

    def test_hostile_terms_are_answered(self):
        said("a b c AND NOT words")
        for sought in HOSTILE:
            with self.subTest(ascii(sought)):
                page = self.page(sought.encode("utf-8", "replace").decode())

                assert "<script>" not in page.split('role="search"')[1]

    def test_wrong_numbers_count_as_none(self):
        said("rain")
        for wrong in ("x", "-1", "9" * 30, "1.5", "٣"):
            assert "<mark>rain</mark>" in self.page("rain", before=wrong, page=wrong)

    def test_more_results_and_older_ones_are_a_link_away(self):
        conversation = make_conversation()
        for n in range(query.PAGE_SIZE + 1):
            said(f"rain {n}", conversation, pk=made(1, n))
        said("rain of last year", conversation, pk=made(200))
        address = self.address("rain")
        first = self.client.get(address).content.decode()

        assert first.count("<mark>rain</mark>") == query.PAGE_SIZE
        assert "Search older" in first

        second = self.client.get(SEARCH + self.link(first, "More results")).content.decode()

        assert second.count("<mark>rain</mark>") == 1
        assert "More results" not in second

        older = self.client.get(SEARCH + self.link(second, "Search older")).content.decode()

        assert "<mark>rain</mark> of last year" in older
        assert "Search older" not in older

    def link(self, page, name):
        return re.search(rf'href="([^"]+)">{name}', page)[1].replace("&amp;", "&")

    def test_there_are_1000_at_most(self):
        conversation = make_conversation()
        for n in range(query.PAGE_SIZE + 1):
            said(f"rain {n}", conversation, pk=made(1, n))
        page = self.page("rain", page="50")

        assert "More results" not in page
        assert "These are the newest 1000." in page

    def test_nothing_found_is_said(self):
        assert "Nothing was found." in self.page("rain")
        assert "That contains no word" in self.page("…")

    def test_its_queries_do_not_grow(self):
        said("rain")
        address = self.address("rain")
        self.client.get(address)
        for _ in range(15):
            said("rain")

        with self.assertNumQueries(6):
            self.client.get(address)

    def test_nothing_is_inline(self):
        said("rain")
        page = self.page("rain")

        assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)|javascript:", page)

    def test_what_is_not_text_is_not_loaded(self):
        make_reply(make_conversation(system_prompt="secret prompt", metadata={"page": "secret"}), "rain")
        added_by_rebuilding()

        assert "secret" not in self.page("rain")


class ListSearchTests(PageTestCase):
    def titles(self, sought):
        response = self.client.get(LIST, kept(self.client, {"q": sought}))

        assert response.status_code == 200
        return sorted(conversation.title for conversation in response.context["cl"].result_list)

    def test_conversations_are_found_by_their_texts(self):
        said("Will it rain?", make_conversation(title="a"))
        said("Will it snow?", make_conversation(title="b"))

        assert self.titles("rain") == ["a"]
        assert self.records() == [("search", self.staff.pk, "staff", "rain")]

    def test_an_id_is_not_sought_in_texts(self):
        conversation = make_conversation(title="a")

        assert self.titles(str(conversation.pk)) == ["a"]
        assert [kind for kind, *_rest in self.records()] == ["list"]

    def test_hostile_terms_are_answered(self):
        said("a b c")
        for sought in HOSTILE:
            with self.subTest(ascii(sought)):
                self.titles(sought.encode("utf-8", "replace").decode())

    def test_it_leads_to_the_page_with_the_passages(self):
        key = keep(self.client, "rain & snow")
        page = self.client.get(LIST, {"q": key}).content.decode()

        assert f'href="{SEARCH}?q={key}"' in page
        assert 'value="rain &amp; snow"' in self.client.get(f"{SEARCH}?q={key}").content.decode()

    def test_its_queries_do_not_grow(self):
        said("rain", make_conversation())
        query = kept(self.client, {"q": "rain"})
        self.client.get(LIST, query)
        with self.assertNumQueries(10):
            self.client.get(LIST, query)
        for _ in range(15):
            said("rain", make_conversation())

        with self.assertNumQueries(10):
            self.client.get(LIST, query)


class AddressTests(PageTestCase):
    """Servers log addresses, and browsers keep them: none has a word of a search."""

    def addresses(self, page):
        return re.findall(r'(?:href|action)="([^"]*)"', page)

    def test_no_address_of_the_list_has_the_words(self):
        conversation = make_conversation()
        for _ in range(51):
            said("canary", make_conversation())
        location = self.client.post(f"{LIST}find/?live=0&p=2", {"q": "canary"})["Location"]
        listed = self.client.get(location).content.decode()
        transcript = self.client.get(f"{LIST}{conversation.pk}/change/?_changelist_filters={location.split('?')[1]}")
        addresses = [location, *self.addresses(listed), *self.addresses(transcript.content.decode())]

        assert "canary" in listed
        assert len([address for address in addresses if "q=" in address or "q%3D" in address]) > 50
        assert [address for address in addresses if "canary" in address] == []

    def test_no_address_of_the_results_has_the_words(self):
        conversation = make_conversation()
        for n in range(query.PAGE_SIZE + 1):
            said(f"canary {n}", conversation, pk=made(1, n))
        location = self.client.post(SEARCH, {"q": "canary"})["Location"]
        addresses = [location, *self.addresses(self.client.get(location).content.decode())]

        assert len([address for address in addresses if "q=" in address]) == 3
        assert [address for address in addresses if "canary" in address] == []

    def test_another_search_keeps_the_filters(self):
        listed = self.client.get(f"{LIST}?owned_by=user&p=2&q={keep(self.client, 'rain')}").content.decode()
        action = re.search(r'<form id="changelist-search"[^>]* action="([^"]*)"', listed)[1]
        location = self.client.post(action, {"q": "snow"})["Location"]

        assert action == f"{LIST}find/?owned_by=user"
        assert re.fullmatch(rf"{LIST}\?owned_by=user&q=[\w-]+", location)
        assert self.client.post(action, {"q": " "})["Location"] == f"{LIST}?owned_by=user"

    def test_words_in_an_address_find_nothing(self):
        said("rain", make_conversation(title="rain"))
        gone = "This search is no longer available."
        listed = self.client.get(LIST, {"q": "rain"})

        assert list(listed.context["cl"].result_list) == []
        assert gone in listed.content.decode()
        assert gone in self.client.get(SEARCH, {"q": "rain"}).content.decode()
        assert self.records() == []

    def test_a_search_is_for_the_session_that_made_it(self):
        make_conversation()
        key = keep(self.client, "ana")
        other = Client()
        other.force_login(make_staff("other", *self.permissions))

        assert self.client.get(LIST, {"q": key}).context["cl"].result_count == 1
        assert other.get(LIST, {"q": key}).context["cl"].result_count == 0

    def test_a_session_keeps_the_newest(self):
        """A session in a cookie has room for 4 KB."""
        first, *_others, last = (keep(self.client, f"{number} {'x' * 600}") for number in range(3))
        for number in range(20):
            keep(self.client, str(number))
        kept_now = self.client.session[SESSION_KEY]

        assert first not in kept_now
        assert last not in kept_now
        assert list(kept_now.values()) == [str(number) for number in range(20)]
        long = keep(self.client, "x" * 600)
        assert self.client.session[SESSION_KEY][long] == "x" * 500

    def test_an_error_mail_does_not_have_the_words(self):
        self.client.raise_request_exception = False
        with (
            override_settings(ADMINS=[("Root", "root@example.com")], DEBUG=False),
            connection.execute_wrapper(fail_to_save_sessions),
            self.assertLogs("django.request", "ERROR"),
        ):
            for address in (f"{LIST}find/", SEARCH):
                response = self.client.post(address, {"q": "canary"})

                assert response.status_code == 500
                assert "canary" not in reported(response)


def fail_to_save_sessions(execute, sql, params, many, context):
    if "django_session" in sql and not sql.startswith("SELECT"):
        raise RuntimeError("no session is saved")
    return execute(sql, params, many, context)


def reported(response):
    """Return the text of the report that Django mails after an error."""
    reporter = ExceptionReporter(response.wsgi_request, *response.exc_info)
    return reporter.get_traceback_text()


class WithoutTranscriptPermissionTests(PageTestCase):
    permissions = ("view_conversation",)

    def test_texts_are_not_searched_nor_is_that_offered(self):
        said("Will it rain?", make_conversation(title="a"))

        assert self.client.post(SEARCH, {"q": "rain"}).status_code == 403
        key = keep(self.client, "rain")
        assert self.client.get(SEARCH, {"q": key}).status_code == 403
        assert self.client.get(LIST, {"q": key}).context["cl"].result_count == 0
        assert SEARCH not in self.client.get(LIST).content.decode()
        assert self.records() == []


class SnippetTests(SimpleTestCase):
    def test_what_was_found_is_marked_and_the_rest_escaped(self):
        assert marked_snippets("<b>Rain</b> & snow", terms("rain")) == [
            "&lt;b&gt;<mark>Rain</mark>&lt;/b&gt; &amp; snow"
        ]

    def test_a_long_text_is_shown_in_pieces(self):
        text = f"{'before ' * 50}rain {'between ' * 50}rain {'after ' * 50}"
        first, second = marked_snippets(text, terms("rain"))

        assert "<mark>rain</mark>" in first
        assert "<mark>rain</mark>" in second
        assert first.startswith("… ")
        assert first.endswith(" …")
        assert len(first) < 260

    def test_there_are_three_at_most(self):
        assert len(marked_snippets(("rain " + "x " * 300) * 20, terms("rain"))) == 3

    def test_a_text_shows_its_beginning_where_nothing_is_to_be_marked(self):
        assert marked_snippets("Rain " * 5, terms("snow")) == ["Rain " * 5]
