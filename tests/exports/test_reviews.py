"""What reviewers recorded, in the exported files: complete, exact, and only if the export has reviews."""

import csv
import io
import json

from django.db import connection
from django.test import TestCase
from django.test.utils import CaptureQueriesContext
from markdown_it import MarkdownIt

from streaming_chat.exports.markdown import export_markdown
from streaming_chat.exports.transcripts import FORMATS, export
from streaming_chat.models import Conversation, Review, Verdict
from streaming_chat.review import reviews
from streaming_chat.review.verdicts import VerdictChange
from tests.factories import make_reply
from tests.hostile import HOSTILE
from tests.rendering.test_markdown import Elements
from tests.review.factories import LABELS, finish, make_reviewer, make_waiting


def written(form, *, has_reviews=True):
    made = FORMATS[form](has_reviews=has_reviews)
    return b"".join(chunk.data for chunk in export(Conversation.objects.all(), made)).decode()


def lines():
    return [json.loads(line) for line in written("jsonl").splitlines()]


def rows():
    return list(csv.DictReader(io.StringIO(written("csv").removeprefix("\ufeff"), newline="")))


def markdown(conversation, *, has_reviews=True):
    return b"".join(chunk.data for chunk in export_markdown(conversation.pk, has_reviews=has_reviews)).decode()


@LABELS
class ReviewedTestCase(TestCase):
    def setUp(self):
        self.rita, self.bo = make_reviewer(), make_reviewer("bo")
        self.conversation = make_waiting()
        self.reply = reviews.newest_message(self.conversation.pk)
        verdicts = {None: VerdictChange("unclear"), self.reply: VerdictChange("bad", ["wrong", "rude"])}
        change = VerdictChange("", ["rude"], "Yes, at noon.")
        reviews.save_verdicts(self.conversation.pk, self.bo, {self.reply: change})
        finish(self.conversation, self.rita, notes="=1\nSaw it.", verdicts=verdicts)


class JsonlTests(ReviewedTestCase):
    def test_a_conversation_has_its_review_and_each_message_its_verdicts(self):
        (line,) = lines()
        review = line["review"]

        assert (review["state"], review["done_by"], review["notes"]) == ("done", "rita", "=1\nSaw it.")
        assert review["done_at"] == Review.objects.get().done_at.isoformat()
        assert (review["reviewer"], review["through"]) == (None, str(self.reply))
        assert [(one["by"], one["value"], one["labels"]) for one in line["verdicts"]] == [("rita", "unclear", [])]
        asked, answered = line["messages"]
        assert asked["verdicts"] == []
        assert [(one["by"], one["value"], one["labels"]) for one in answered["verdicts"]] == [
            ("bo", "", ["rude"]),
            ("rita", "bad", ["wrong", "rude"]),
        ]
        assert [one["correction"] for one in answered["verdicts"]] == ["Yes, at noon.", ""]

    def test_a_conversation_that_nobody_reviewed(self):
        Conversation.objects.all().delete()
        make_waiting()
        (line,) = lines()

        assert (line["review"]["state"], line["review"]["done_by"], line["review"]["notes"]) == ("unreviewed", None, "")
        assert line["verdicts"] == []

    def test_all_versions_of_the_notes(self):
        finish(self.conversation, self.bo, notes="Saw it, too.")
        history = lines()[0]["review"]["notes_history"]

        assert [(one["by"], one["text"]) for one in history] == [("rita", "=1\nSaw it."), ("bo", "Saw it, too.")]
        assert history[0]["created_at"] < history[1]["created_at"]

    def test_a_reviewer_whose_account_was_deleted(self):
        self.rita.delete()
        (line,) = lines()

        assert (line["review"]["state"], line["review"]["done_by"]) == ("done", None)
        assert [one["by"] for one in line["messages"][1]["verdicts"]] == ["bo", None]


class CsvTests(ReviewedTestCase):
    def test_each_reviewer_has_a_line_in_the_cells_of_verdicts(self):
        asked, answered = rows()

        assert (answered["verdicts"], answered["labels"]) == ("none\nbad", "rude\nwrong, rude")
        assert answered["verdicts_by"] == "bo\nrita"
        assert (asked["verdicts"], asked["labels"], asked["verdicts_by"]) == ("", "", "")
        for row in (asked, answered):
            assert (row["conversation_verdicts"], row["conversation_labels"]) == ("unclear", "none")
            assert (row["review_state"], row["reviewed_by"]) == ("done", "rita")

    def test_the_newest_correction(self):
        assert [(row["correction"], row["corrected_by"]) for row in rows()] == [("", ""), ("Yes, at noon.", "bo")]
        change = VerdictChange(correction="=Yes, at one.")
        reviews.save_verdicts(self.conversation.pk, self.rita, {self.reply: change})

        assert (rows()[1]["correction"], rows()[1]["corrected_by"]) == ("'=Yes, at one.", "rita")

    def test_notes_are_no_formula(self):
        assert [row["notes"] for row in rows()] == ["'=1\nSaw it."] * 2


class MarkdownTests(ReviewedTestCase):
    def test_it_says_what_was_judged_before_each_text(self):
        page = markdown(self.conversation)

        order = ["Review: `done`", "Reviewed by: `rita`", "rita: unclear", "Notes:", "Saw it.", "Will it rain?"]
        order += [
            "bo: rude, corrected; rita: bad, wrong, rude",
            "Yes, **today**.",
            "Corrected by `bo`:",
            "Yes, at noon.",
        ]
        assert [page.index(text) for text in order] == sorted(page.index(text) for text in order)

    def test_nothing_of_it_is_rendered(self):
        for text in HOSTILE.values():
            Review.objects.update(notes=text)
            Verdict.objects.update(labels=[text], correction=text)
            html = MarkdownIt("commonmark", {"html": True}).render(markdown(self.conversation))

            assert Elements(html).tags <= {"h1", "h2", "ul", "li", "p", "code", "pre"}


class WithoutReviewsTests(ReviewedTestCase):
    def test_no_file_has_anything_of_it(self):
        files = [written(form, has_reviews=False) for form in FORMATS]
        for file in [*files, markdown(self.conversation, has_reviews=False)]:
            for text in ("rita", "Saw it", "noon", "rude", "unclear", "review", "verdict", "Review"):
                assert text not in file


class QueriesTests(ReviewedTestCase):
    def test_a_page_takes_three_queries_more(self):
        for _number in range(5):
            conversation = make_waiting()
            make_reply(conversation)
            finish(conversation, self.rita, verdicts={None: VerdictChange("good", ["rude"])})
        counts = []
        for has_reviews in (False, True):
            with CaptureQueriesContext(connection) as queries:
                written("jsonl", has_reviews=has_reviews)
            counts.append(len(queries))

        assert counts[1] == counts[0] + 3
