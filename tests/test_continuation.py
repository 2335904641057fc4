"""Continuing a reply that was cut off: what the provider is asked, and the one text that a reader gets."""

from django.test import override_settings

from streaming_chat.models import Conversation, Message, ReplyEvent
from streaming_chat.providers import get_provider

from .provider_server import Gate, Script
from .servers import held, outcome, site
from .test_reply_life import Endings

HALF = ("Once upon a time ", "there was a qui")
REST = ("ck fox", ".\n\n", "It ran.")
WHOLE = "".join([*HALF, *REST])
# Of models that continue an assistant's turn, and that reject one.
OLD, NEW = "claude-opus-4-5", "claude-sonnet-4-6"


class Continuing(Endings):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        # The import of its SDK takes longer than a read may wait for, on a busy machine.
        get_provider("anthropic").prepare()

    def cut_off(self, model: str = f"anthropic:{OLD}", script: Script | None = None) -> Message:
        """Return a reply that was cut off at its greatest length."""
        finish = "max_tokens" if model.startswith("anthropic") else "length"
        self.provider.script(script or Script(HALF, finish=finish))
        return self.read(self.browser.send("A story, please", model=model))

    def go_on(self, message: Message, *scripts: Script, **body):
        """Continue a reply, and return its continuation."""
        self.provider.script(*scripts)
        return self.read(self.browser.post(f"api/messages/{message.pk}/continue", body))

    def asked(self) -> list[tuple[str, str]]:
        """Return the turns of the last request."""
        return [(turn["role"], turn["content"]) for turn in self.provider.calls[-1].body["messages"]]

    def prefilled(self, prefill: str):
        """Return a context in which the OpenAI-compatible server continues an assistant's turn so."""
        providers = site(self.provider)["STREAMING_CHAT_PROVIDERS"]
        providers["openai"]["OPTIONS"]["prefill"] = prefill
        return self.settings(STREAMING_CHAT_PROVIDERS=providers)


class PromptTests(Continuing):
    def test_an_anthropic_model_continues_the_turn(self):
        half = self.cut_off()
        message = self.go_on(half, Script(REST))

        assert self.asked() == [("user", "A story, please"), ("assistant", "".join(HALF))]
        assert message.text == WHOLE
        assert outcome(message) == ("completed", "stop", "")

    def test_white_space_at_the_end_is_not_sent_and_not_lost(self):
        """The API rejects it, and so does the provider of this test."""
        half = self.cut_off(script=Script(["One.\n\n"], finish="max_tokens"))
        message = self.go_on(half, Script(["\n\nTwo", "."]))

        assert self.asked()[-1] == ("assistant", "One.")
        assert message.text == "One.\n\nTwo."

    def test_a_newer_one_gets_an_instruction(self):
        half = self.cut_off(f"anthropic:{NEW}")
        message = self.go_on(half, Script(["a time there was", " a quick fox.\n\n", "It ran."]))

        assert [role for role, _text in self.asked()] == ["user", "assistant", "user"]
        assert self.asked()[1] == ("assistant", "".join(HALF))
        assert "Once upon a time there was a qui" in self.asked()[2][1]
        assert message.text == WHOLE

    def test_so_do_openais(self):
        half = self.cut_off("openai:any")
        message = self.go_on(half, Script(["Once upon a time there was a quick fox.\n\nIt ran."]))

        assert [role for role, _text in self.asked()] == ["user", "assistant", "user"]
        assert message.text == WHOLE
        assert Message.objects.filter(role="user").count() == 1

    def test_compatible_servers_continue_the_turn(self):
        extras = {"message": {}, "prefix": {}, "continue_final_message": {"continue_final_message": True}}
        for prefill, extra in extras.items():
            with self.subTest(prefill), self.prefilled(prefill):
                message = self.go_on(self.cut_off("openai:any"), Script(REST))
                body = self.provider.calls[-1].body

                assert message.text == WHOLE
                assert self.asked()[-1] == ("assistant", "".join(HALF))
                assert body["messages"][-1].get("prefix") == (True if prefill == "prefix" else None)
                assert {key: body.get(key) for key in extra} == extra
                assert body.get("add_generation_prompt") == (False if extra else None)

    def test_the_model_is_the_one_that_began(self):
        half = self.cut_off("openai:big")
        Conversation.objects.update(model="openai:small")
        self.go_on(half, Script(REST))

        assert self.provider.calls[-1].body["model"] == "big"

    def test_the_history_goes_along_but_not_what_came_after_the_cut(self):
        gate = Gate()
        with held(gate):
            self.provider.script(Script(HALF, gates={2: gate}))
            exchange = self.browser.send("A story, please", model=f"anthropic:{OLD}").until_text("".join(HALF))
            self.browser.stop(exchange.message_id, position=1 + len("Once upon"))
            half = self.read(exchange)
        message = self.go_on(half, Script([" a time"]))

        assert self.asked() == [("user", "A story, please"), ("assistant", "Once upon")]
        assert message.text == "Once upon a time"

    def test_a_continuation_is_continued(self):
        half = self.cut_off()
        more = self.go_on(half, Script(REST[:1], finish="max_tokens"))
        message = self.go_on(more, Script(REST[1:]))

        assert self.asked()[-1] == ("assistant", "".join([*HALF, *REST[:1]]))
        assert message.text == WHOLE
        assert [row.pk for row in Message.objects.filter(role="assistant").order_by("pk")] == [
            half.pk,
            more.pk,
            message.pk,
        ]


class StreamTests(Continuing):
    def test_it_is_a_sibling_that_begins_with_the_text_so_far(self):
        half = self.cut_off(script=Script(HALF, reasoning=("Hm.",), finish="length"))
        message = self.go_on(half, Script(REST, usage=(20, 5)))

        assert (message.parent_id, message.continues_id) == (half.parent_id, half.pk)
        assert message.continued_at == half.position == 1 + len("Hm.") + len("".join(HALF))
        assert message.parts == [{"kind": "reasoning", "text": "Hm."}, {"kind": "text", "text": WHOLE}]
        assert (message.input_tokens, message.output_tokens) == (20, 5)
        half.refresh_from_db()
        assert half.text == "".join(HALF)
        assert half.conversation.head_id == message.pk
        assert not ReplyEvent.objects.exists()

    def test_the_next_message_follows_the_joined_text(self):
        message = self.go_on(self.cut_off(), Script(REST))
        self.read(self.browser.post(f"api/conversations/{message.conversation_id}/messages", {"content": "And?"}))

        assert self.asked() == [("user", "A story, please"), ("assistant", WHOLE), ("user", "And?")]

    def test_a_reader_can_resume_it_anywhere(self):
        message = self.go_on(self.cut_off(), Script(REST))
        for position in (0, 1, 5, len("".join(HALF)) + 1, len("".join(HALF)) + 3):
            with self.subTest(position):
                exchange = self.browser.follow(message.pk, f"{message.pk}/{position}")
                exchange.rest()

                assert exchange.text == WHOLE[max(position - 1, 0) :]

    def test_all_of_it_is_there_while_it_is_written(self):
        half, gate = self.cut_off(), Gate()
        with held(gate):
            self.provider.script(Script(REST, gates={1: gate}))
            exchange = self.browser.post(f"api/messages/{half.pk}/continue").until_text("".join([*HALF, "ck fox"]))
            shown = self.browser.get(f"api/messages/{exchange.message_id}").json()
            gate.open()
            self.read(exchange)

        assert shown["text"] == "".join([*HALF, "ck fox"])
        assert shown["continues"] == str(half.pk)

    def test_a_repeated_request_finds_it(self):
        half = self.cut_off()
        first = self.go_on(half, Script(REST), client_id="again")
        second = self.go_on(half, Script(REST), client_id="again")

        assert (first.pk, len(self.provider.calls)) == (second.pk, 2)
        refused = self.browser.post(f"api/messages/{half.pk}/regenerate", {"client_id": "again"})
        assert (refused.status, refused.json()["error"]["code"]) == (422, "idempotency_mismatch")

    @override_settings(STREAMING_CHAT_MAX_REPLY_CHARS=10)
    def test_the_greatest_length_is_that_of_what_is_new(self):
        half = self.cut_off()
        message = self.go_on(half, Script(["0123456789abc"]))

        assert outcome(half) == outcome(message) == ("completed", "length_cap", "")
        assert message.text == "Once upon 0123456789"

    @override_settings(STREAMING_CHAT_MAX_REPLY_CHARS=10)
    def test_a_chain_of_them_has_an_end(self):
        """Each stores all of the text again."""
        message = self.cut_off()
        for more in ("0123456789x", "abcdefghijx", "ABCDEFGHIJx"):
            message = self.go_on(message, Script([more]))
        refused = self.browser.post(f"api/messages/{message.pk}/continue", {})

        assert len(message.text) == 40
        assert (refused.status, refused.json()["error"]["code"]) == (422, "invalid")

    def test_the_tokens_are_estimated_of_what_is_new(self):
        message = self.go_on(self.cut_off("openai:any"), Script(["ck fox"], usage=None))

        assert (message.tokens_estimated, message.output_tokens) == (True, 2)


class EndingTests(Continuing):
    def test_a_refusal_keeps_the_text_so_far_and_says_why(self):
        half = self.cut_off()
        message = self.go_on(half, Script(status=401))

        assert outcome(message) == ("interrupted", "provider_error", "provider_auth")
        assert message.text == "".join(HALF)
        assert self.browser.get(f"api/messages/{message.pk}").json()["can_continue"]

    def test_a_fault_before_the_first_event_is_tried_again(self):
        busy = Script(status=529, headers={"retry-after": "0"}, body={})
        message = self.go_on(self.cut_off(), busy, Script(REST))

        assert message.text == WHOLE

    def test_a_model_may_have_nothing_to_add(self):
        message = self.go_on(self.cut_off(), Script(()))

        assert outcome(message) == ("completed", "stop", "")
        assert message.text == "".join(HALF)

    def test_the_reply_of_a_dead_worker_keeps_the_text_so_far(self):
        """It is saved with the reply, before its worker can save anything."""
        half, gate = self.cut_off(), Gate()
        with held(gate):
            self.provider.script(Script(REST, gates={0: gate}))
            exchange = self.browser.post(f"api/messages/{half.pk}/continue")
            exchange.until(lambda: exchange.frames)
            rows = list(ReplyEvent.objects.filter(message_id=exchange.message_id).values_list("position", "payload"))
            gate.open()
            self.read(exchange)

        assert rows == [(1, "".join(HALF))]

    def test_every_cut_can_be_continued(self):
        scripts = {
            "length": Script(HALF, finish="length"),
            "cut": Script([*HALF, "x"], fault="cut", after=2),
            "error": Script([*HALF, "x"], fault="error", after=2),
        }
        for name, script in scripts.items():
            with self.subTest(name):
                half = self.cut_off(script=script)
                shape = self.browser.get(f"api/messages/{half.pk}").json()

                assert shape["can_continue"]
                assert self.go_on(half, Script(REST)).text == WHOLE

    def test_others_cannot(self):
        scripts = {
            "finished": Script(HALF),
            "filtered": Script(HALF, finish="content_filter"),
            "blank": Script([" \n"], finish="length"),
            "failed": Script(status=401),
        }
        for name, script in scripts.items():
            with self.subTest(name):
                reply = self.cut_off(script=script)
                calls = len(self.provider.calls)
                refused = self.browser.post(f"api/messages/{reply.pk}/continue")

                assert not self.browser.get(f"api/messages/{reply.pk}").json()["can_continue"]
                assert (refused.status, refused.json()["error"]["code"]) == (422, "invalid")
                assert len(self.provider.calls) == calls
                assert Message.objects.filter(conversation_id=reply.conversation_id).count() == 2

    def test_the_stream_says_whether_it_can(self):
        exchange = self.browser.send("A story, please")
        self.read(exchange)
        assert exchange.endings[0].data["can_continue"] is False
        self.provider.script(Script(HALF, finish="length"))
        exchange = self.browser.send("A story, please")
        self.read(exchange)
        assert exchange.endings[0].data["can_continue"] is True
