"""The admin's page of usage: who sees it, what it shows, and that it needs no inline script or style."""

import re
from datetime import timedelta
from decimal import Decimal
from html.parser import HTMLParser

from django.db import connection
from django.test import TestCase
from django.test.utils import CaptureQueriesContext
from django.utils import timezone, translation

from streaming_chat.models import AccessRecord, Message
from streaming_chat.usage.rollups import roll_up
from tests.factories import make_staff
from tests.hostile import CANARY, HOSTILE
from tests.usage.factories import add_reply, ago, judge

LIST = "/admin/streaming_chat/conversation/"


NUMBERS = f"{LIST}numbers/"


class Elements(HTMLParser):
    """Collects what a page could do: elements that the admin has none of, handlers, styles, and addresses elsewhere."""

    def __init__(self):
        super().__init__()
        self.harm = []

    def handle_starttag(self, tag, attrs):
        said = dict(attrs)
        if tag in {"style", "img", "iframe", "object", "embed", "base", "math", "template", "video", "picture"}:
            self.harm.append(tag)
        if tag == "script" and "src" not in said:
            self.harm.append(tag)
        for name, value in said.items():
            if name.startswith("on") or name in {"style", "srcset", "srcdoc", "background", "formaction"}:
                self.harm.append((tag, name))
            if name in {"href", "src", "action", "xlink:href"} and not re.match(r"[/?#]", value):
                self.harm.append((tag, name, value))


def harm_in(page):
    elements = Elements()
    elements.feed(page)
    elements.close()
    return elements.harm


class DashboardTestCase(TestCase):
    def setUp(self):
        self.client.force_login(make_staff("staff", "view_conversation"))

    def page(self, **query):
        response = self.client.get(NUMBERS, query)

        assert response.status_code == 200
        return response.content.decode()

    def text(self, **query):
        """Return what the page says, without its markup and with single spaces."""
        return " ".join(re.sub(r"<[^>]+>", " ", self.page(**query)).split())


class PageTests(DashboardTestCase):
    def test_the_list_of_conversations_leads_to_it(self):
        assert f'href="{NUMBERS}"' in self.client.get(LIST).content.decode()

    def test_an_empty_database_has_a_page(self):
        text = self.text()

        assert "Replies 0" in text
        assert "There are no replies in this period." in text

    def test_it_says_how_many_and_how_they_ended(self):
        for _ in range(3):
            add_reply(ago(2))
        add_reply(ago(0), status="failed", error_code="provider_rate_limited")
        list(roll_up())
        text = self.text()

        assert "Replies 4 Completed 75.0 % Interrupted or failed 25.0 % 1" in text
        assert "provider_rate_limited The model is busy. Try again in a moment. demo 1 25.0 %" in text

    def test_times_cost_and_feedback(self):
        judge(add_reply(ago(0), cost=Decimal("12.345"), first_event_ms=800, duration_ms=2_800, output_tokens=80), 1)
        add_reply(ago(0))
        text = self.text()

        assert re.search(r"Time to first token about 0\.[6-9]\d s p95: about \d", text)
        assert re.search(r"Tokens per second about (3\d|4\d) p5: about \d", text)
        assert "Cost $12.35 1 reply has no known cost." in text or "Cost $12.34 1 reply has no known cost." in text
        assert "Good feedback 100.0 % of 1 rated" in text

    def test_how_much_of_the_input_came_from_the_cache(self):
        add_reply(ago(2), input_tokens=3_000, cached_input_tokens=2_000, cache_write_tokens=900)
        add_reply(ago(0), input_tokens=1_000, cached_input_tokens=960, cache_write_tokens=400)
        add_reply(ago(0), model="own:model", provider="own", input_tokens=1_000)
        list(roll_up())

        assert "Cache hit rate 59.2 % 1,300 tokens written" in self.text()
        assert "Cache hit rate 74.0 % 1,300 tokens written" in self.text(model="demo:demo")
        assert "Cache hit rate 0.0 % Good" in self.text(model="own:model")

    def test_today_and_yesterday_are_counted_without_a_roll_up(self):
        add_reply(ago(1))
        add_reply(ago(0))
        add_reply(ago(5))
        text = self.text(days=7)

        assert "Replies 2" in text
        assert "5 days have not been counted yet. Run manage.py rollup every night." in text

    def test_a_day_that_is_kept_is_not_counted_again(self):
        add_reply(ago(1))
        list(roll_up())
        Message.objects.filter(created_at__lt=timezone.now() - timedelta(hours=12)).delete()
        Message.objects.all().delete()

        assert "Replies 1" in self.text()

    def test_ranges(self):
        for days in (80, 20, 3):
            add_reply(ago(days))
        list(roll_up())
        for days, replies in {"7": 1, "28": 2, "90": 3, "": 2, "1000000000": 2, "x": 2}.items():
            with self.subTest(days):
                assert f"Replies {replies} " in self.text(days=days)

    def test_one_model(self):
        add_reply(ago(0), model="own:model", provider="own", status="interrupted", error_code="provider_stall")
        add_reply(ago(0))
        text = self.text(model="demo:demo")

        assert "Replies 1 " in text
        assert "provider_stall" not in text
        assert "own:model" in text  # Still a choice.
        assert 'href="?days=7&amp;model=demo%3Ademo"' in self.page(model="demo:demo")

    def test_the_days_are_in_a_table_behind_each_picture(self):
        judge(add_reply(ago(0), cost=1, first_event_ms=800, duration_ms=2_800, input_tokens=9, output_tokens=80), 1)

        page = self.page(days=7)
        assert page.count("<figure") == page.count("<details>") == page.count("</svg>\n      <div") == 6
        assert len(re.findall(r"<details>.*?</details>", page, re.DOTALL)[0].split("<tr>")) == 1 + 1 + 7

    def test_no_one_has_read_anything(self):
        """It shows numbers, so it leaves no record of access."""
        add_reply(ago(0))
        self.page()

        assert not AccessRecord.objects.exists()

    def test_it_shows_no_text(self):
        add_reply(ago(0), "A secret answer")

        page = self.page()
        assert not [text for text in ("secret answer", "Rain in Lisbon", "Will it rain", "ana") if f">{text}" in page]

    def test_the_same_queries_for_any_number_of_replies_and_days(self):
        counts = []
        for _ in range(2):
            for days in (1, 0, 30):
                add_reply(ago(days), model=f"own:{len(counts)}")
            with CaptureQueriesContext(connection) as queries:
                self.page(days=90)
            counts.append(len(queries))

        assert counts[0] == counts[1] <= 11

    def test_german_numbers_stay_out_of_the_pictures(self):
        add_reply(ago(0), cost=Decimal("1.5"))
        with translation.override("de"):
            page = self.client.get(NUMBERS, headers={"accept-language": "de"}).content.decode()

        drawn = "".join(re.findall(r"<figure.*?</figure>", page, re.DOTALL))
        for points in re.findall(r' d="(M[^"]+)"', drawn):
            assert re.fullmatch(r"[MHhvz0-9. -]+", points), points


class PolicyTests(DashboardTestCase):
    def test_nothing_is_inline(self):
        add_reply(ago(0), cost=1, first_event_ms=800, duration_ms=2_800, output_tokens=80)
        page = self.page()

        assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)|javascript:", page)
        assert harm_in(page) == []

    def test_names_of_models_are_text(self):
        """A site with a wildcard lets people send any name, and a provider may be called anything."""
        for number, payload in enumerate(HOSTILE.values()):
            add_reply(
                ago(0), model=f"own:{payload}"[:255], provider=f"{number}", status="failed", error_code=payload[:64]
            )
        page = self.page()

        assert CANARY in page
        assert harm_in(page) == []

    def test_a_model_that_is_asked_for_is_text(self):
        for name, payload in HOSTILE.items():
            with self.subTest(name):
                assert harm_in(self.page(model=payload)) == []
