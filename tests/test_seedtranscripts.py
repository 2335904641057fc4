"""`manage.py seedtranscripts`: conversations that look like a site's own."""

from io import StringIO

from django.core.management import CommandError, call_command
from django.db.models import Count
from django.test import TestCase

from chatproject import seeds
from streaming_chat.chats.branches import branch
from streaming_chat.models import Conversation, Feedback, Message
from tests.factories import make_conversation


def seed(*args: str) -> str:
    out = StringIO()
    call_command("seedtranscripts", *args, stdout=out)
    return out.getvalue()


class SeedTests(TestCase):
    def test_it_adds_whole_conversations_and_says_how_many(self):
        kept = make_conversation()
        said = seed("--conversations", "60")
        added = Conversation.objects.exclude(pk=kept.pk)
        messages = Message.objects.exclude(conversation=kept)

        assert f"60 conversations with {messages.count()} messages added." in said
        assert added.count() == 60
        for conversation in added.annotate(count=Count("messages")):
            path = branch(conversation, conversation.head_id, most=conversation.message_count)
            assert len(path) == conversation.count == conversation.message_count
            assert [message.role for message in path] == ["user", "assistant"] * (len(path) // 2)
            assert path[-1].status == conversation.last_status
        assert {conversation.owner is None for conversation in added} == {True, False}

    def test_it_has_what_staff_look_for(self):
        seed("--conversations", "300")

        assert set(Message.objects.values_list("status", flat=True)) == {
            "completed", "stopped", "interrupted", "failed",
        }  # fmt: skip
        assert set(Feedback.objects.values_list("value", flat=True)) == {1, -1}
        assert Message.objects.filter(text__contains="図書館").exists()

    def test_the_same_number_gives_the_same_texts(self):
        seed("--conversations", "3", "--seed", "7")
        first = list(Message.objects.values_list("text", flat=True))
        Conversation.objects.all().delete()
        seed("--conversations", "3", "--seed", "7")

        assert list(Message.objects.values_list("text", flat=True)) == first

    def test_nobody_can_sign_in_as_one_of_its_users(self):
        seed("--conversations", "1")
        user = seeds.get_user_model().objects.first()

        assert not user.has_usable_password()

    def test_a_number_is_wanted(self):
        for wrong in ("0", "-1", "many"):
            with self.subTest(wrong), self.assertRaisesMessage(CommandError, "1 to 10000000 was wanted"):
                seed("--conversations", wrong)
