"""`manage.py clearconversations`."""

import threading
from datetime import timedelta
from io import StringIO
from typing import Any

from django.core.management import CommandError, call_command
from django.db import connections, transaction
from django.db.models.functions import Now
from django.test import TestCase, TransactionTestCase

from streaming_chat.models import Conversation, Feedback, LiveReply, Message, ReplyEvent, ToolList
from streaming_chat.privacy import deletion
from streaming_chat.protocol.events import Event
from tests.factories import make_conversation, make_live, make_reply, make_user


def make_visitors(days: float, **fields: Any) -> Conversation:
    """Return a visitor's conversation with a reply, and no activity for so long."""
    conversation = Conversation.objects.create(owner_key="v:1", title="Rain in Lisbon", **fields)
    make_reply(conversation)
    return age(conversation, days)


def age(conversation: Conversation, days: float) -> Conversation:
    Conversation.objects.filter(pk=conversation.pk).update(last_activity=Now() - timedelta(days=days))
    return conversation


def run_command(*arguments: str) -> list[str]:
    out = StringIO()
    call_command("clearconversations", *arguments, stdout=out)
    return out.getvalue().splitlines()


class AnonymousTests(TestCase):
    def test_visitors_old_conversations_go_with_all_that_is_theirs(self):
        old, new, users = make_visitors(31), make_visitors(29), age(make_conversation(), 400)
        reply = Message.objects.get(conversation=old, role="assistant")
        Feedback.objects.create(message=reply, value=1, owner_key="v:1")

        assert run_command("--anonymous", "--older-than", "30") == ["1 of visitors removed."]
        assert set(Conversation.objects.all()) == {new, users}
        assert set(Message.objects.values_list("conversation", flat=True)) == {new.pk}
        assert not Feedback.objects.exists()

    def test_what_servers_of_tools_offered_to_them_alone_goes(self):
        lists = [ToolList.objects.create(server=name, digest=name, definitions="[]") for name in ("a", "b")]
        for conversation, tools in ((make_visitors(31), lists), (make_visitors(29), lists[:1])):
            conversation.tool_lists.add(*tools)
        run_command("--anonymous", "--older-than", "30")

        assert [*ToolList.objects.all()] == lists[:1]

    def test_erased_ones_are_no_visitors(self):
        erased = age(Conversation.objects.create(owner_key="", erased_at=Now()), 400)
        run_command("--anonymous", "--older-than", "30")

        assert Conversation.objects.get() == erased

    def test_none_with_a_live_reply(self):
        """Also not that of a worker that died: it is recovered first, and has been active then."""
        for expires in (60, -60):
            age(make_live(make_visitors(0), Event("text", "Hel"), expires=expires).conversation, 400)

        assert run_command("--anonymous", "--older-than", "30") == ["0 of visitors removed."]
        assert LiveReply.objects.count() == ReplyEvent.objects.count() == 2

    def test_more_than_one_transaction_takes(self):
        for _number in range(7):
            make_visitors(31)
        before, deletion._PAGE_SIZE = deletion._PAGE_SIZE, 3
        try:
            counts = list(deletion.remove(deletion.of_visitors(timedelta(days=30))))
        finally:
            deletion._PAGE_SIZE = before

        assert counts == [3, 3, 1]
        assert not Conversation.objects.exists()

    def test_a_dry_run_removes_none(self):
        make_visitors(31)

        assert run_command("--anonymous", "--older-than", "30", "--dry-run") == ["1 of visitors to remove."]
        assert Conversation.objects.count() == 1


class DeletedTests(TestCase):
    def setUp(self) -> None:
        ago = {days: Now() - timedelta(days=days) for days in (5, 31)}
        self.long_ago = age(make_conversation(deleted_at=ago[31]), 32)
        self.lately = age(make_conversation(make_user("bo"), deleted_at=ago[5]), 32)
        self.visitors = make_visitors(31, deleted_at=ago[31])
        self.kept = age(make_conversation(), 400)

    def test_what_was_deleted_so_long_ago_goes_too(self):
        """From the deletion on: what was untouched for a year and deleted today may have been a mistake."""
        arguments = "--anonymous", "--deleted", "--older-than", "30"
        tried, printed = run_command(*arguments, "--dry-run"), run_command(*arguments)

        assert tried == ["1 of visitors to remove.", "1 deleted by their owners to remove."]
        assert printed == ["1 of visitors removed.", "1 deleted by their owners removed."]
        assert set(Conversation.objects.all()) == {self.lately, self.kept}

    def test_by_itself(self):
        assert run_command("--deleted", "--older-than", "30") == ["2 deleted by their owners removed."]

    def test_and_only_where_it_is_asked_for(self):
        run_command("--anonymous", "--older-than", "30")

        assert set(Conversation.objects.all()) == {self.long_ago, self.lately, self.kept}


class EmptyTests(TestCase):
    def test_old_ones_without_a_message(self):
        new, with_reply = make_conversation(), make_reply(make_conversation()).conversation
        age(make_conversation(), 31)
        age(with_reply, 31)

        assert run_command("--empty", "--older-than", "30") == ["1 without a message removed."]
        assert set(Conversation.objects.all()) == {new, with_reply}

    def test_each_is_counted_once(self):
        age(make_conversation(deleted_at=Now() - timedelta(days=31)), 32)
        age(make_conversation(), 31)
        arguments = "--deleted", "--empty", "--older-than", "30"
        tried, printed = run_command(*arguments, "--dry-run"), run_command(*arguments)

        assert tried == ["1 deleted by their owners to remove.", "1 without a message to remove."]
        assert printed == ["1 deleted by their owners removed.", "1 without a message removed."]


class AllTests(TestCase):
    def test_whosever_they_are(self):
        kept, live = make_conversation(), age(make_live(make_conversation()).conversation, 400)
        for old in (make_visitors(0), make_conversation(), Conversation.objects.create(owner_key="", erased_at=Now())):
            age(old, 31)
        tried = run_command("--all", "--older-than", "30", "--dry-run")

        assert tried == ["3 in total to remove."]
        assert run_command("--all", "--anonymous", "--older-than", "30") == ["3 in total removed."]
        assert set(Conversation.objects.all()) == {kept, live}


class ArgumentTests(TestCase):
    def test_which_and_how_old_must_be_said(self):
        for arguments in (
            ["--older-than", "30"],
            ["--anonymous"],
            *(["--anonymous", "--older-than", x] for x in ("-1", "0", "0.9", "x")),
        ):
            with self.subTest(arguments), self.assertRaises(CommandError):
                run_command(*arguments)


class ClaimedMeanwhileTests(TransactionTestCase):
    def test_what_was_claimed_after_it_was_chosen_stays(self):
        user, conversation = make_user(), make_visitors(31)
        chosen = deletion.of_visitors(timedelta(days=30))
        counts: list[int] = []

        def remove() -> None:
            # As `remove` does, with ids of before.
            counts.append(deletion._remove(chosen, [conversation.pk]))
            connections.close_all()

        with transaction.atomic():
            Conversation.objects.filter(pk=conversation.pk).update(owner=user, owner_key=f"u:{user.pk}")
            remover = threading.Thread(target=remove)
            remover.start()
        remover.join(20)

        assert counts == [0]
        assert Conversation.objects.get().owner == user
