"""Titles by a model: one attempt after the first reply, which blocks nothing and is paid for."""

from decimal import Decimal

from django.test import SimpleTestCase, TransactionTestCase

from streaming_chat.chats import model_titles
from streaming_chat.chats.model_titles import title_in
from streaming_chat.models import Conversation, Message, ModelTitle, SearchEntry
from streaming_chat.privacy.redactions import redact
from streaming_chat.shortcuts import send_message
from streaming_chat.testing import Gate, Script, scripted_provider, wait_until_saved
from streaming_chat.usage.days import today
from streaming_chat.usage.reports import Report
from streaming_chat.usage.rollups import count_day
from tests.factories import make_staff, make_user
from tests.native import Api
from tests.servers import held, wait_until

PRICES = {"scripted:*": {"input": "1000", "output": "1000"}}
# 7 + 4 tokens at 0.1 cent.
ONE_CALL = Decimal("0.011")


class TitleInTests(SimpleTestCase):
    def test_the_first_line_with_words_without_decoration(self):
        for answer, title in {
            "Rain in Lisbon": "Rain in Lisbon",
            '\n\n**"Rain in Lisbon"**\nAnother': "Rain in Lisbon",
            "# Regen  in\tLissabon": "Regen in Lissabon",
            "„Regen“": "Regen",
            "": "",
            " \n***\n": "",
        }.items():
            with self.subTest(answer=answer):
                assert title_in(answer) == title

    def test_a_long_one_is_cut(self):
        assert len(title_in("word " * 50)) <= 60


class ModelTitleTestCase(TransactionTestCase):
    def setUp(self):
        settings = {"STREAMING_CHAT_TITLE_MODEL": "scripted:title", "STREAMING_CHAT_PRICES": PRICES}
        self.provider = self.enterContext(scripted_provider(**settings))
        self.user = make_user()
        model_titles.connect()
        self.addCleanup(model_titles.disconnect)
        self.addCleanup(wait_until_saved)

    def send(self, text="Will it rain?", *, title, **arguments):
        """Return the conversation once the call for its title is over. title: the script of that call."""
        self.provider.script(Script("It will."), title)
        reply = send_message(self.user, text, wait=True, **arguments)
        wait_until(lambda: len(self.provider.calls) >= 2 and self.provider.calls[1].ended)
        return reply.conversation

    def titled(self, conversation):
        """Return the row once the answer is saved."""
        return wait_until(lambda: ModelTitle.objects.exclude(output_tokens=None).filter(pk=conversation.pk).first())


class ModelTitleTests(ModelTitleTestCase):
    def test_the_title_is_the_models(self):
        conversation = self.send(title=Script('"Rain in Lisbon"'))
        row = self.titled(conversation)
        conversation.refresh_from_db()
        prompt = self.provider.calls[1].prompt

        assert conversation.title == "Rain in Lisbon"
        assert (row.model, row.is_in_use) == ("scripted:title", True)
        assert prompt.model == "title"
        assert "Will it rain?" in prompt.turns[0].text
        assert "It will." in prompt.turns[0].text

    def test_it_is_found_by_the_search(self):
        conversation = self.send(title=Script("Weather on Tuesday"))
        self.titled(conversation)
        found = Api(self.user).post("api/conversations/search", {"search": "tuesday"}).json()["results"]

        assert [item["id"] for item in found] == [str(conversation.pk)]
        assert SearchEntry.objects.filter(conversation=conversation, message=None).count() == 1

    def test_it_is_counted_in_the_conversation_and_on_its_day(self):
        conversation = self.send(title=Script("Rain"))
        row = self.titled(conversation)
        conversation.refresh_from_db()
        counted = {usage.model: usage for usage in count_day(today())}
        report = Report.of_last(1)

        assert (row.input_tokens, row.output_tokens, row.cost) == (7, 4, ONE_CALL)
        assert (conversation.input_tokens, conversation.output_tokens, conversation.cost) == (14, 8, 2 * ONE_CALL)
        assert (counted["scripted:title"].replies, counted["scripted:title"].cost) == (0, ONE_CALL)
        assert (report.total.replies, report.total.cost) == (1, 2 * ONE_CALL)
        assert {name for name, _totals in report.by_model} == {"scripted:model", "scripted:title"}

    def test_the_reply_does_not_wait_for_it(self):
        gate = Gate()
        with held(gate):
            self.provider.script(Script("It will."), Script("Rain", gates={0: gate}))
            reply = send_message(self.user, "Will it rain?", wait=True)
            gate.wait_reached()
            title = Conversation.objects.get().title
            second = send_message(self.user, "And now?", conversation=reply.conversation, wait=True)

            assert (reply.status, second.status, title) == ("completed", "completed", "Will it rain?")
        self.titled(reply.conversation)

    def test_only_the_first_reply_makes_one(self):
        conversation = self.send(title=Script("Rain"))
        self.titled(conversation)
        second = send_message(self.user, "And now?", conversation=conversation, wait=True)
        Api(self.user).post(f"api/messages/{conversation.messages.get(text='It will.').pk}/regenerate", {})
        wait_until_saved()
        model_titles.make_title(message=second.pk, status="completed")

        assert [call.prompt.model for call in self.provider.calls].count("title") == 1

    def test_one_attempt_also_of_two_processes(self):
        """Each would announce the ending if the first died after its commit."""
        conversation = self.send(title=Script("Rain"))
        self.titled(conversation)
        reply = Message.objects.get(role="assistant")
        Conversation.objects.update(title="Will it rain?")
        model_titles.make_title(message=reply.pk, status="completed")

        assert len(self.provider.calls) == 2

    def test_a_failure_is_logged_and_the_old_title_stays(self):
        with self.assertLogs("streaming_chat", "WARNING") as logs:
            conversation = self.send("secret words", title=Script("", error="provider_rejected"))
            wait_until(lambda: logs.output)
        conversation.refresh_from_db()

        assert conversation.title == "secret words"
        assert "provider_rejected" in logs.output[0]
        assert "secret" not in logs.output[0]
        assert (conversation.input_tokens, ModelTitle.objects.get().output_tokens) == (7, None)

    def test_an_answer_without_words_is_paid_for_and_not_used(self):
        conversation = self.send(title=Script("***"))
        row = self.titled(conversation)
        conversation.refresh_from_db()

        assert (conversation.title, row.is_in_use, conversation.cost) == ("Will it rain?", False, 2 * ONE_CALL)


class PersonsTitleTests(ModelTitleTestCase):
    """What a person gave is never replaced."""

    def rename(self, conversation, title):
        response = Api(self.user).patch(f"api/conversations/{conversation.pk}", {"title": title})

        assert response.status_code == 200

    def test_before_the_first_reply(self):
        created = Api(self.user).post("api/conversations", {"title": "Mine"}).json()
        conversation = Conversation.objects.get(pk=created["id"])
        send_message(self.user, "Hi", conversation=conversation, wait=True)
        model_titles.make_title(message=Message.objects.get(role="assistant").pk, status="completed")

        assert Conversation.objects.get().title == "Mine"
        assert len(self.provider.calls) == 1

    def test_while_the_model_is_asked(self):
        """Also if it is the one that the conversation had."""
        for text, given in (("Will it rain?", "Mine"), ("And now?", "And now?")):
            with self.subTest(given=given):
                gate = Gate()
                self.provider.script(Script("It will."), Script("Rain", gates={0: gate}))
                with held(gate):
                    conversation = send_message(self.user, text, wait=True).conversation
                    gate.wait_reached()
                    self.rename(conversation, given)
                    gate.open()
                row = self.titled(conversation)
                conversation.refresh_from_db()

                assert (conversation.title, row.is_in_use) == (given, False)

    def test_afterwards(self):
        conversation = self.send(title=Script("Rain"))
        self.titled(conversation)
        self.rename(conversation, "Mine")

        assert ModelTitle.objects.get().is_in_use is False
        assert SearchEntry.objects.filter(conversation=conversation, message=None).count() == 1


class RedactedTitleTests(ModelTitleTestCase):
    """A model's title may tell what the message said."""

    def test_redacting_the_message_or_the_reply_removes_it(self):
        for role in ("user", "assistant"):
            with self.subTest(role=role):
                self.provider.script(Script("It will."), Script("Rain on Tuesday"))
                conversation = send_message(self.user, "Will it rain?", wait=True).conversation
                self.titled(conversation)
                redact(conversation.messages.get(role=role).pk, make_staff("staff"))
                conversation.refresh_from_db()

                assert conversation.title == ""
                assert not SearchEntry.objects.filter(conversation=conversation, message=None).exists()

    def test_redacting_while_the_model_is_asked(self):
        gate = Gate()
        self.provider.script(Script("It will."), Script("Rain on Tuesday", gates={0: gate}))
        with held(gate):
            conversation = send_message(self.user, "Will it rain?", wait=True).conversation
            gate.wait_reached()
            redact(conversation.messages.get(role="assistant").pk, make_staff("staff"))
            gate.open()
        self.titled(conversation)
        conversation.refresh_from_db()

        assert conversation.title == "Will it rain?"

    def test_a_persons_title_stays(self):
        conversation = self.send(title=Script("Rain"))
        self.titled(conversation)
        Api(self.user).patch(f"api/conversations/{conversation.pk}", {"title": "Mine"})
        redact(conversation.messages.get(role="user").pk, make_staff("staff"))
        conversation.refresh_from_db()

        assert conversation.title == "Mine"
