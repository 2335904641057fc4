"""`manage.py seedtranscripts`: conversations that look like a site's own."""

from io import StringIO
from operator import attrgetter

from django.core.management import CommandError, call_command
from django.db.models import Count, F, Q
from django.test import TestCase

from chatproject import seeds
from streaming_chat.chats.branches import branch
from streaming_chat.models import Conversation, Feedback, Message, Review, Verdict
from tests.factories import make_conversation


def seed(*args: str) -> str:
    out = StringIO()
    call_command("seedtranscripts", *args, stdout=out)
    return out.getvalue()


def assert_rules_of_the_app() -> None:
    """What engine/completion.py, measurements.py and pricing.py make sure of for each reply and each conversation."""
    for conversation in Conversation.objects.prefetch_related("messages"):
        replies = [message for message in conversation.messages.all() if message.is_reply]
        costs = [reply.cost for reply in replies if reply.cost is not None]

        assert conversation.cost == (sum(costs) if costs else None)
        assert conversation.input_tokens == sum(reply.input_tokens or 0 for reply in replies)
        assert conversation.output_tokens == sum(reply.output_tokens or 0 for reply in replies)
        assert conversation.last_status == max(replies, key=attrgetter("ended_at")).status
        assert conversation.last_activity >= max(reply.ended_at for reply in replies)
        for reply in replies:
            assert_rules_of_a_reply(reply)


def assert_rules_of_a_reply(reply: Message) -> None:
    usage = (reply.input_tokens, reply.output_tokens, reply.cost)
    if reply.status == "failed":
        assert (reply.text, reply.first_event_ms, *usage) == ("", None, None, None, None)
        assert (reply.position, bool(reply.error_code), reply.finish_reason) == (1, True, "")
    if reply.end_reason == "lease_expired":
        assert (reply.first_event_ms, reply.duration_ms, reply.request_id, *usage) == (None, None, "", None, None, None)
    elif reply.text:
        assert None not in (reply.first_event_ms, reply.input_tokens, reply.output_tokens)
    if reply.status in ("stopped", "interrupted"):
        assert (reply.finish_reason, reply.cost) == ("", None)
    if reply.tokens_estimated:
        assert reply.cost is None
    if reply.cost is not None:
        assert None not in (reply.input_tokens, reply.output_tokens)
    assert bool(reply.ref) <= bool(reply.error_code)
    assert reply.provider == reply.model.split(":")[0]


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

    def test_it_keeps_the_rules_of_the_app(self):
        seed("--conversations", "400")

        assert_rules_of_the_app()
        assert Conversation.objects.filter(cost=None).exists()
        assert Conversation.objects.filter(cost__gt=0).exists()
        assert Message.objects.filter(tokens_estimated=True).exists()
        assert Message.objects.filter(end_reason="lease_expired").exists()

    def test_so_do_the_samples_of_the_demo(self):
        call_command("seeddemo", stdout=StringIO())

        assert_rules_of_the_app()
        assert set(Conversation.objects.values_list("last_status", flat=True)) == {
            "completed", "stopped", "interrupted", "failed",
        }  # fmt: skip

    def test_it_has_what_staff_look_for(self):
        seed("--conversations", "300")

        assert set(Message.objects.values_list("status", flat=True)) == {
            "completed", "stopped", "interrupted", "failed",
        }  # fmt: skip
        assert set(Feedback.objects.values_list("value", flat=True)) == {1, -1}
        assert Message.objects.filter(text__contains="図書館").exists()
        assert Conversation.objects.exclude(deleted_at=None).exists()
        assert Message.objects.exclude(model="").exclude(model=F("conversation__model")).exists()

    def test_a_reply_that_was_stopped_needs_no_attention(self):
        """As long as "stopped" is not in STREAMING_CHAT_REVIEW_REASONS."""
        seed("--conversations", "300")
        stopped = Conversation.objects.filter(messages__status="stopped", review_state="unreviewed")
        others = Message.objects.filter(Q(status__in=["failed", "interrupted"]) | Q(feedback__value=-1))
        found = stopped.exclude(pk__in=others.values("conversation")).values_list("needs_attention", flat=True)

        assert set(found) == {False}

    def test_some_are_reviewed_as_the_app_would_have_saved_it(self):
        seed("--conversations", "300")
        done = Conversation.objects.filter(review_state="done")

        assert 10 <= done.count() <= 60
        assert set(done.values_list("needs_attention", flat=True)) == {False}
        assert {review.conversation_id for review in Review.objects.all()} == set(done.values_list("pk", flat=True))
        for review in Review.objects.select_related("conversation"):
            assert review.through_id == review.conversation.head_id
            assert [version.text for version in review.conversation.review_notes.all()] == [review.notes]
        assert {verdict.message.role for verdict in Verdict.objects.select_related("message")} == {"assistant"}
        assert Verdict.objects.exclude(correction="").exclude(labels=[]).exists()

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
            with (
                self.subTest(wrong),
                self.assertRaisesMessage(CommandError, "Must be a whole number from 1 to 10000000"),
            ):
                seed("--conversations", wrong)
