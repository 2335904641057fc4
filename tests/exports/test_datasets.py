"""Data sets of judged replies: what is in them, and that a training file follows the rules that OpenAI documents."""

import importlib.util
import json
from types import ModuleType

import pytest
from django.conf import settings
from django.test import TestCase

from streaming_chat.exports.datasets import DATASETS, export_dataset
from streaming_chat.exports.transcripts import FORMATS, export
from streaming_chat.models import Conversation, Message, Review, ReviewNotes, Verdict
from streaming_chat.privacy.redactions import redact
from streaming_chat.review.verdicts import VerdictChange, save_verdicts
from tests.factories import make_conversation, make_message, make_reply, make_user
from tests.hostile import HOSTILE
from tests.review.factories import LABELS, finish, make_reviewer

CHECKER = settings.BASE_DIR / "docs" / "examples" / "check_training_file.py"


def checker() -> ModuleType:
    spec = importlib.util.spec_from_file_location("check_training_file", CHECKER)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def written(kind):
    chunks = export_dataset(Conversation.objects.all(), DATASETS[kind])
    return b"".join(chunk.data for chunk in chunks).decode()


def lines(kind):
    return [json.loads(line) for line in written(kind).split("\n") if line]


def said(line):
    return [(message["role"], message["content"]) for message in line["messages"]]


@LABELS
class DatasetTestCase(TestCase):
    def setUp(self):
        self.rita, self.bo = make_reviewer(), make_reviewer("bo")
        self.conversation = make_conversation(system_prompt="You are careful.")
        self.asked = make_message(self.conversation, "Will it rain?")
        self.reply = make_reply(self.conversation, "Yes.", parent=self.asked)

    def judge(self, value="", by=None, reply=None, **more):
        reply = reply or self.reply
        save_verdicts(reply.conversation_id, by or self.rita, {reply.pk: VerdictChange(value, **more)})


class TrainingTests(DatasetTestCase):
    def test_a_good_reply_is_an_example(self):
        self.judge("good")
        (line,) = lines("training")

        assert line == {
            "messages": [
                {"role": "system", "content": "You are careful."},
                {"role": "user", "content": "Will it rain?"},
                {"role": "assistant", "content": "Yes.", "weight": 1},
            ]
        }

    def test_a_correction_takes_the_place_of_the_reply(self):
        self.judge("bad", correction="No.")
        self.judge("unsafe", self.bo, correction="Nobody knows.")

        assert said(lines("training")[0])[-1] == ("assistant", "Nobody knows.")

    def test_others_are_no_examples(self):
        for value in ("bad", "unclear", "unsafe", ""):
            with self.subTest(value):
                self.judge(value, labels=["rude"])

                assert lines("training") == []

    def test_reviewers_who_do_not_agree_give_no_example(self):
        self.judge("good")
        self.judge("bad", self.bo)

        assert lines("training") == []

    def test_a_reply_that_was_cut_off_is_good_only_if_corrected(self):
        cut = make_reply(self.conversation, "It", status="stopped", end_reason="user", parent=self.asked)
        self.judge("good", reply=cut)
        assert lines("training") == []
        self.judge("good", reply=cut, correction="It will not.")

        assert said(lines("training")[0])[-1] == ("assistant", "It will not.")

    def test_a_reply_that_failed_can_be_corrected(self):
        failed = make_reply(self.conversation, "", status="failed", error_code="empty", parent=self.asked)
        self.judge("bad", reply=failed, correction="No.")

        assert said(lines("training")[0])[1:] == [("user", "Will it rain?"), ("assistant", "No.")]

    def test_only_the_last_answer_is_learned(self):
        make_message(self.conversation, "And tomorrow?", parent=self.reply)
        later = make_reply(self.conversation, "No.")
        self.judge("good", reply=later)
        (line,) = lines("training")

        assert said(line)[1:] == [
            ("user", "Will it rain?"), ("assistant", "Yes."), ("user", "And tomorrow?"), ("assistant", "No."),
        ]  # fmt: skip
        assert [message.get("weight") for message in line["messages"]] == [None, None, 0, None, 1]

    def test_each_branch_has_its_own_history(self):
        other = make_reply(self.conversation, "Maybe.", parent=self.asked)
        follow = make_message(self.conversation, "Sure?", parent=other)
        last = make_reply(self.conversation, "No.", parent=follow)
        for reply in (self.reply, last):
            self.judge("good", reply=reply)

        assert [said(line)[-2:] for line in lines("training")] == [
            [("user", "Will it rain?"), ("assistant", "Yes.")],
            [("user", "Sure?"), ("assistant", "No.")],
        ]

    def test_messages_without_text_are_left_out_and_roles_alternate(self):
        failed = make_reply(self.conversation, "", status="failed", error_code="empty", parent=self.asked)
        again = make_message(self.conversation, "Hello?", parent=failed)
        answer = make_reply(self.conversation, "Yes.", parent=again)
        self.judge("good", reply=answer)

        assert said(lines("training")[0])[1:] == [("user", "Will it rain?\n\nHello?"), ("assistant", "Yes.")]

    def test_what_was_redacted_is_in_no_example(self):
        make_message(self.conversation, "And tomorrow?", parent=self.reply)
        later = make_reply(self.conversation, "No.")
        for reply in (self.reply, later):
            self.judge("good", reply=reply)
        redact(self.reply.pk, self.rita)

        assert lines("training") == lines("evaluation") == []

    def test_verdicts_on_users_messages_and_conversations_are_no_examples(self):
        changes = {None: VerdictChange("good"), self.asked.pk: VerdictChange("good")}
        save_verdicts(self.conversation.pk, self.rita, changes)

        assert lines("training") == lines("evaluation") == []

    def test_without_a_system_prompt(self):
        Conversation.objects.update(system_prompt=" \n")
        self.judge("good")

        assert [role for role, _content in said(lines("training")[0])] == ["user", "assistant"]


class EvaluationTests(DatasetTestCase):
    def test_a_judged_reply_is_as_it_was_written_with_what_was_said_of_it(self):
        self.judge("bad", labels=["rude"], correction="No.")
        self.judge("bad", self.bo, labels=["wrong", "rude"])
        (line,) = lines("evaluation")

        assert said(line)[-1] == ("assistant", "Yes.")
        assert (line["verdict"], line["labels"], line["correction"]) == ("bad", ["rude", "wrong"], "No.")
        assert [(one["by"], one["value"]) for one in line["verdicts"]] == [("rita", "bad"), ("bo", "bad")]
        assert (line["conversation"], line["message"]) == (str(self.conversation.pk), str(self.reply.pk))
        assert line["model"] == "demo:demo"

    def test_reviewers_who_do_not_agree_have_no_common_verdict(self):
        self.judge("good")
        self.judge("bad", self.bo)

        assert lines("evaluation")[0]["verdict"] is None

    def test_a_reply_without_text_is_left_out(self):
        failed = make_reply(self.conversation, "", status="failed", error_code="empty", parent=self.asked)
        self.judge("bad", reply=failed, correction="No.")

        assert lines("evaluation") == []


class RulesTests(DatasetTestCase):
    def test_every_text_follows_the_rules(self):
        """System prompts, questions, replies and corrections of all kinds, also blank ones."""
        for text in [*HOSTILE.values(), " ", "\u200b", "\u2028", "\x85", "x" * 30_000]:
            conversation = make_conversation(system_prompt=text)
            make_reply(conversation, text, parent=make_message(conversation, text))
            make_message(conversation, text)
            reply = make_reply(conversation, text)
            self.judge("good", reply=reply)
            self.judge("", self.bo, reply=reply, correction=text[:20_000])
        check = checker()
        for kind in DATASETS:
            file = written(kind)
            found = [line for line in file.split("\n") if line]

            assert len(found) >= len(HOSTILE)
            assert file.splitlines() == found
            assert [error for line in found for error in check.errors_in(line)] == []


@pytest.mark.slow
@LABELS
class ThousandTests(TestCase):
    def test_a_thousand_reviewed_conversations(self):
        """The files have what the database has: verdicts, labels, corrections and notes."""
        owner, reviewers = make_user(), [make_reviewer(), make_reviewer("bo")]
        values = ["good", "bad", "unclear", "unsafe"]
        for number in range(1_000):
            conversation = make_conversation(owner, title=f"Chat {number}")
            reply = make_reply(conversation, f"Reply {number}.")
            change = VerdictChange(
                values[number % 4], ["rude"][: number % 2], f"Correction {number}." if number % 3 == 0 else ""
            )
            by = reviewers[number % 2]
            finish(conversation, by, notes=f"Note {number}", verdicts={reply.pk: change})
        chunks = export(Conversation.objects.all(), FORMATS["jsonl"](has_reviews=True))
        exported = [json.loads(line) for line in b"".join(chunk.data for chunk in chunks).splitlines()]

        assert {line["id"]: line["review"]["notes"] for line in exported} == {
            str(pk): notes for pk, notes in Review.objects.values_list("pk", "notes")
        }
        assert sum(len(line["review"]["notes_history"]) for line in exported) == ReviewNotes.objects.count() == 1_000
        rows = Verdict.objects.values_list("message_id", "by__username", "value", "labels", "correction")
        assert sorted(
            (message["id"], one["by"], one["value"], one["labels"], one["correction"])
            for line in exported
            for message in line["messages"]
            for one in message["verdicts"]
        ) == sorted((str(pk), *rest) for pk, *rest in rows)

        judged = lines("evaluation")
        assert {(line["message"], line["verdict"], line["correction"] or "") for line in judged} == {
            (str(pk), value, correction) for pk, _by, value, _labels, correction in rows
        }
        texts = dict(Message.objects.values_list("pk", "text"))
        learned = {line["messages"][-1]["content"] for line in lines("training")}
        assert learned == {
            correction or texts[pk] for pk, _by, value, _labels, correction in rows if correction or value == "good"
        }
        check = checker()
        assert [error for line in written("training").splitlines() for error in check.errors_in(line)] == []
