"""An owner's downloads: what is in them, and what never is."""

import io
import json
import re
import zipfile

from django.db.models.functions import Now
from django.test import override_settings
from markdown_it import MarkdownIt

from streaming_chat.chats.deletion import delete_for_owner
from streaming_chat.exports.owner_files import file_stem
from streaming_chat.models import Conversation, Feedback, ProviderState
from streaming_chat.protocol.events import Event
from tests.factories import make_conversation, make_live, make_message, make_reply, make_user
from tests.hostile import HOSTILE
from tests.native import Api, ApiTestCase, error_of
from tests.rendering.test_markdown import Elements

SECRET = "Rosebud"
PARTS = [{"kind": "reasoning", "text": "It is autumn."}, {"kind": "text", "text": "Yes, <b>today</b>."}]


class ExportTestCase(ApiTestCase):
    def setUp(self):
        super().setUp()
        self.conversation = make_conversation(system_prompt=SECRET, title="Rain in Lisbon")

    def export(self, query="", conversation=None):
        return self.api.get(f"api/conversations/{(conversation or self.conversation).pk}/export{query}")

    def text(self, query="", conversation=None):
        response = self.export(query, conversation)

        assert response.status_code == 200
        return response.getvalue().decode()


class JsonTests(ExportTestCase):
    def test_it_has_all_branches_as_the_api_has_them(self):
        asked = make_message(self.conversation, "Will it rain?")
        reply = make_reply(self.conversation, parts=PARTS, parent=asked)
        make_reply(self.conversation, "No.", parent=asked)
        Feedback.objects.create(message=reply, value=-1, comment="It did", owner_key=self.conversation.owner_key)
        found = json.loads(self.text())
        messages = self.api.get(f"api/conversations/{self.conversation.pk}/messages").json()["results"]

        assert found["messages"] == messages
        assert [message["text"] for message in messages] == ["Will it rain?", "Yes, <b>today</b>.", "No."]
        assert messages[1]["feedback"] == {"value": -1, "comment": "It did"}
        assert set(found["conversation"]) == set(self.api.get("api/conversations").json()["results"][0])

    def test_it_has_every_page_of_a_long_conversation(self):
        for number in range(60):
            make_reply(self.conversation, f"Reply {number}")

        assert [message["text"] for message in json.loads(self.text())["messages"]][-1] == "Reply 59"
        assert len(json.loads(self.text())["messages"]) == 120

    def test_it_has_what_a_live_reply_has_so_far(self):
        make_live(self.conversation, Event("text", "Half a rep"))
        message = json.loads(self.text())["messages"][-1]

        assert (message["status"], message["text"]) == ("streaming", "Half a rep")
        assert "Half a rep" in self.text("?format=md")


class MarkdownTests(ExportTestCase):
    def test_it_has_the_branch_in_view(self):
        asked = make_message(self.conversation, "Will it rain?")
        make_reply(self.conversation, "Another branch", parent=asked)
        make_reply(self.conversation, parts=PARTS, parent=asked, model="openai:gpt-5")
        text = self.text("?format=md")

        assert text.startswith(f"# Conversation {self.conversation.pk}\n\n- Title: `Rain in Lisbon`\n")
        assert "## User, 20" in text
        assert "\n```text\nWill it rain?\n```\n" in text
        assert "\nReasoning:\n\n```text\nIt is autumn.\n```\n\n```text\nYes, <b>today</b>.\n```\n" in text
        assert "- Model: `openai:gpt-5`\n" in text
        assert "Another branch" not in text

    def test_a_long_branch_is_in_order(self):
        for number in range(60):
            make_reply(self.conversation, f"Reply {number}.")
        found = re.findall(r"Reply (\d+)\.", self.text("?format=md"))

        assert found == [str(number) for number in range(60)]

    def test_nothing_beyond_the_cut_is_in_it(self):
        make_reply(self.conversation, "Seen, and unseen", cut_position=5, status="stopped", end_reason="user")

        for query in ("?format=md", "?format=json", "?format=openai"):
            assert "Seen" in self.text(query)
            assert "unseen" not in self.text(query)
        assert "- Ending: `stopped / user`\n" in self.text("?format=md")

    def test_nothing_in_it_is_html_or_a_link(self):
        """Of what a model, a user or a title may say."""
        for text in HOSTILE.values():
            conversation = make_conversation(title=text[:200])
            make_message(conversation, text)
            make_reply(conversation, text)
            elements = Elements(MarkdownIt("commonmark").render(self.text("?format=md", conversation)))

            with self.subTest(text):
                assert elements.tags <= {"h1", "h2", "p", "pre", "code", "ul", "li"}, elements.tags


class OpenAITests(ExportTestCase):
    def test_it_has_the_texts_of_the_branch_in_view(self):
        make_reply(self.conversation, parts=PARTS)
        make_message(self.conversation, "Tomorrow?\u2028")
        make_reply(self.conversation, "", status="failed", error_code="empty")
        text = self.text("?format=openai")

        assert json.loads(text) == {
            "messages": [
                {"role": "user", "content": "Will it rain?"},
                {"role": "assistant", "content": "Yes, <b>today</b>."},
                {"role": "user", "content": "Tomorrow?\u2028"},
            ]
        }

    def test_of_no_messages(self):
        assert json.loads(self.text("?format=openai")) == {"messages": []}


class ResponseTests(ExportTestCase):
    def test_the_default_is_json(self):
        response = self.export()

        assert response.headers["Content-Type"] == "application/json"
        assert response.headers["Cache-Control"] == "no-store"
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert response.headers["Content-Disposition"] == f'attachment; filename="{file_stem(self.conversation)}.json"'
        response.getvalue()

    def test_an_unknown_format(self):
        error = error_of(self.export("?format=pdf"))

        assert (error["code"], error["fields"]) == ("invalid", {"format": "Must be one of: json, md, openai."})

    def test_a_deleted_conversation_is_unknown(self):
        delete_for_owner(self.conversation.pk)

        assert error_of(self.export())["code"] == "not_found"

    def test_head_makes_nothing(self):
        response = self.api.client.head(f"/chat/api/conversations/{self.conversation.pk}/export")

        assert response.status_code == 200
        assert response.getvalue() == b""


class FileNameTests(ExportTestCase):
    def test_it_is_of_letters_digits_and_hyphens(self):
        titles = ("../../etc/passwd", "CON", "-rf", ".", "a\r\nSet-Cookie: x", "\u202egpj.exe", "雨" * 200)
        titles = (*HOSTILE.values(), *titles)
        for title in titles:
            stem = file_stem(make_conversation(title=title[:200]))
            with self.subTest(title):
                assert re.fullmatch(r"20\d\d-\d\d-\d\d-[\w-]*[0-9a-f]{12}", stem), stem
                assert len(f"{stem}.openai.json".encode()) < 255

    def test_a_title_in_another_script(self):
        conversation = make_conversation(title="雨 in Lisboa")
        response = self.export(conversation=conversation)

        assert response.headers["Content-Disposition"].startswith("attachment; filename*=utf-8''20")
        assert "%E9%9B%A8-in-lisboa-" in response.headers["Content-Disposition"]
        response.getvalue()


class ArchiveTests(ExportTestCase):
    def archive(self):
        response = self.api.get("api/export")

        assert response.status_code == 200
        assert response.headers["Content-Type"] == "application/zip"
        assert re.fullmatch(r'attachment; filename="chats-[\d-]{10}\.zip"', response.headers["Content-Disposition"])
        return zipfile.ZipFile(io.BytesIO(response.getvalue()))

    def test_it_has_each_conversation_as_markdown_and_as_json(self):
        make_reply(self.conversation, parts=PARTS)
        another = make_conversation(title="雨")
        made = self.archive()

        stems = [file_stem(self.conversation), file_stem(another)]
        assert made.namelist() == [f"{stem}.{suffix}" for stem in stems for suffix in ("md", "json")]
        assert made.read(f"{stems[0]}.md").decode() == self.text("?format=md")
        assert made.read(f"{stems[0]}.json").decode() == self.text()
        assert made.testzip() is None

    def test_it_has_nothing_of_others_and_nothing_deleted_or_erased(self):
        make_message(make_conversation(make_user("bo"), title="Theirs"), SECRET)
        delete_for_owner(make_conversation(title="Deleted").pk)
        make_message(Conversation.objects.create(owner=None, owner_key="", erased_at=Now(), title="Erased"), SECRET)

        assert self.archive().namelist() == [f"{file_stem(self.conversation)}.{suffix}" for suffix in ("md", "json")]

    def test_of_nothing(self):
        self.conversation.delete()

        assert self.archive().namelist() == []

    @override_settings(STREAMING_CHAT_ALLOW_ANONYMOUS=True)
    def test_of_a_visitor(self):
        visitor = Api()
        visitor.send("Hello")
        made = zipfile.ZipFile(io.BytesIO(visitor.get("api/export").getvalue()))

        assert len(made.namelist()) == 2
        assert zipfile.ZipFile(io.BytesIO(Api().get("api/export").getvalue())).namelist() == []


class SecretTests(ExportTestCase):
    def test_neither_the_system_prompt_nor_a_providers_state_is_in_any_file(self):
        reply = make_reply(self.conversation)
        ProviderState.objects.create(message=reply, state=SECRET)
        found = [self.text(f"?format={name}") for name in ("md", "json", "openai")]
        made = zipfile.ZipFile(io.BytesIO(self.api.get("api/export").getvalue()))
        found += [made.read(name).decode() for name in made.namelist()]

        assert len(found) == 5
        assert not [text for text in found if SECRET in text]
