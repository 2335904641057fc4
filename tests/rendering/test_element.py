"""`{% streaming_chat %}` in a site's templates: what it takes, what it refuses, and what a site may change."""

import re
import tempfile
from pathlib import Path

import pytest
from django.conf import settings
from django.contrib.auth.models import AnonymousUser
from django.template import Context, RequestContext, Template, TemplateSyntaxError, engines
from django.template.backends.django import DjangoTemplates
from django.test import RequestFactory, TestCase, override_settings
from django.utils import translation
from django.utils.translation import gettext_lazy

from tests.factories import make_conversation, make_user


class TagTestCase(TestCase):
    def setUp(self):
        self.request = RequestFactory().get("/somewhere/")
        self.request.user = make_user()

    def render(self, *tags: str, **values) -> str:
        source = "{% load streaming_chat %}" + "".join(tags)
        return Template(source).render(RequestContext(self.request, values))


class TagTests(TagTestCase):
    def test_the_first_of_a_page_brings_the_files(self):
        page = self.render("{% streaming_chat %}{% streaming_chat %}")

        assert page.count("chat.js") == page.count("chat.css") == 1
        assert page.index("chat.js") < page.index("<streaming-chat")

    def test_each_has_ids_of_its_own(self):
        ids = re.findall(
            r'\sid="([^"]*)"', self.render("{% streaming_chat %}{% streaming_chat %}{% streaming_chat 'corner' %}")
        )

        assert len(ids) == len(set(ids))

    def test_its_options_are_in_the_element(self):
        conversation = make_conversation(self.request.user)
        page = self.render(
            "{% streaming_chat conversation=id label='Help' heading='Ask us' level=3 name='help' %}", id=conversation.pk
        )

        assert f'conversation="{conversation.pk}"' in page
        assert 'name="help"' in page
        assert re.search(r"<h3[^>]*>Ask us</h3>", page)
        assert 'aria-label="Help"' in page

    def test_what_a_site_puts_in_is_escaped(self):
        page = self.render("{% streaming_chat label=text heading=text name='x' %}", text='"><script>')

        assert "<script>" not in page

    def test_whoever_is_not_signed_in_is_led_to_the_login(self):
        self.request.user = AnonymousUser()
        page = self.render("{% streaming_chat %}")

        assert 'href="/accounts/login/?next=/somewhere/"' in page
        assert "<form" not in page


class SuggestionTests(TagTestCase):
    FOUND = re.compile(r'data-suggestion="([^"]*)"( data-send)?>([^<]*)<')

    def found(self, tag: str = "{% streaming_chat %}", **values) -> list[tuple[str, bool, str]]:
        """Return the text of each suggestion, whether a click sends it, and what its button says."""
        page = self.render(tag, **values)
        return [(text, bool(sends), label) for text, sends, label in self.FOUND.findall(page)]

    def test_there_are_none_by_default(self):
        assert self.found() == []

    @override_settings(
        STREAMING_CHAT_SUGGESTIONS=[
            "When?",
            {"text": "Where <b>?"},
            {"text": "A book about ", "label": "Find a book", "send": False},
            gettext_lazy("New chat"),
        ]
    )
    def test_they_are_the_settings(self):
        expected = [
            ("When?", True, "When?"),
            ("Where &lt;b&gt;?", True, "Where &lt;b&gt;?"),
            ("A book about ", False, "Find a book"),
        ]

        assert self.found() == [*expected, ("New chat", True, "New chat")]
        with translation.override("de"):
            assert self.found()[-1] == ("Neuer Chat", True, "Neuer Chat")

    @override_settings(STREAMING_CHAT_SUGGESTIONS=["When?"])
    def test_a_page_has_its_own(self):
        tag = "{% streaming_chat suggestions=own %}"

        assert self.found(tag, own=["Which page is this?"]) == [("Which page is this?", True, "Which page is this?")]
        assert self.found(tag, own=[]) == []

    def test_what_is_no_suggestion_is_refused(self):
        for own in ("When?", [1], [{"label": "When?"}], [{"text": "When?", "sends": False}]):
            with self.subTest(own), pytest.raises(TemplateSyntaxError, match="suggestions must be a list of strings"):
                self.found("{% streaming_chat suggestions=own %}", own=own)


class RefusalTests(TagTestCase):
    def test_a_page_without_the_request_is_refused(self):
        with pytest.raises(TemplateSyntaxError, match="needs the request"):
            Template("{% load streaming_chat %}{% streaming_chat %}").render(Context())

    def test_a_layout_that_there_is_not_is_refused(self):
        with pytest.raises(TemplateSyntaxError, match="box, page, corner, got 'round'"):
            self.render("{% streaming_chat layout='round' %}")

    def test_an_option_that_there_is_not_is_refused(self):
        with pytest.raises(TemplateSyntaxError, match="colour"):
            self.render("{% streaming_chat colour='red' %}")

    def test_a_level_that_there_is_not_is_refused(self):
        """Messages have headings one level below."""
        for level in ("0", "6", "'two'"):
            with pytest.raises(TemplateSyntaxError, match="level must be 1 to 5"):
                self.render(f"{{% streaming_chat level={level} %}}")

    def test_a_name_that_is_no_id_is_refused(self):
        with pytest.raises(TemplateSyntaxError, match="name must"):
            self.render("{% streaming_chat name='two words' %}")

    def test_a_conversation_that_is_no_id_is_refused(self):
        with pytest.raises(TemplateSyntaxError, match="conversation must"):
            self.render("{% streaming_chat conversation='last' %}")


class OverrideTests(TagTestCase):
    def test_a_site_changes_a_block_and_keeps_the_rest(self):
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "streaming_chat" / "element.html"
            file.parent.mkdir()
            file.write_text(
                '{% extends "streaming_chat/element.html" %}{% block empty %}<p>Ask about rain.</p>{% endblock %}'
            )
            changed = [{**settings.TEMPLATES[0], "DIRS": [folder, *settings.TEMPLATES[0]["DIRS"]]}]
            with self.settings(TEMPLATES=changed):
                assert isinstance(engines["django"], DjangoTemplates)
                template = engines["django"].from_string("{% load streaming_chat %}{% streaming_chat %}")
                page = template.render({}, self.request)

        assert "<p>Ask about rain.</p>" in page
        assert "What would you like to talk about?" not in page
        assert 'data-part="composer"' in page
