"""Conversations over the native API: list, make, read, change, delete, restore."""

import uuid
from datetime import timedelta
from itertools import chain

from django.db.models.functions import Now
from django.test import override_settings
from django.utils.dateparse import parse_datetime

from streaming_chat.accounts.permissions import Permissions
from streaming_chat.models import Conversation, LiveReply, Message
from tests.factories import make_conversation, make_live, make_message, make_reply, make_user
from tests.native import Api, ApiTestCase, error_of
from tests.search.factories import HOSTILE, said

KEYS = {
    "id",
    "title",
    "model",
    "head",
    "last_status",
    "message_count",
    "metadata",
    "created_at",
    "last_activity",
}


class OwnPrompts(Permissions):
    """Users may set the system prompt of their conversations."""

    def may_set_system_prompt(self, request, owner):
        return True


class ListTests(ApiTestCase):
    def ids(self, query=""):
        response = self.api.get(f"api/conversations{query}")

        assert response.status_code == 200, response.content
        return [item["id"] for item in response.json()["results"]]

    def pages(self, query):
        """Return every page from the first to the one without a next."""
        pages, cursor = [], ""
        while cursor is not None:
            body = self.api.get(f"api/conversations?{query}&before={cursor}").json()
            pages.append([item["id"] for item in body["results"]])
            cursor = body["next"]
        return pages

    def test_nobody_has_conversations_at_first(self):
        assert self.api.get("api/conversations").json() == {"results": [], "next": None}

    def test_a_conversation_shows_so_much(self):
        conversation = make_conversation(system_prompt="Secret rules.", metadata={"page": 7})
        reply = make_reply(conversation)
        (shown,) = self.api.get("api/conversations").json()["results"]

        assert set(shown) == KEYS
        assert shown["id"] == str(conversation.pk)
        assert shown["head"] == str(reply.pk)
        assert (shown["title"], shown["model"], shown["metadata"]) == ("Rain in Lisbon", "demo:demo", {"page": 7})
        assert (shown["message_count"], shown["last_status"]) == (2, "completed")
        assert parse_datetime(shown["created_at"]).tzinfo

    def test_the_system_prompt_is_nowhere(self):
        conversation = make_conversation(system_prompt="Secret rules.")
        make_reply(conversation)
        answers = [
            self.api.get("api/conversations"),
            self.api.get(f"api/conversations/{conversation.pk}"),
            self.api.get(f"api/conversations/{conversation.pk}/messages"),
            self.api.patch(f"api/conversations/{conversation.pk}", {"title": "New"}),
            self.api.post(f"api/conversations/{conversation.pk}/messages", {"content": "Hi", "stream": False}),
        ]

        assert [answer.status_code for answer in answers] == [200] * 5
        assert not any(b"Secret" in answer.content for answer in answers)

    def test_the_last_used_comes_first(self):
        first, second, third = (make_conversation() for _ in range(3))
        self.api.send(conversation=second)

        assert self.ids() == [str(second.pk), str(third.pk), str(first.pk)]

    def test_only_ones_own_that_are_not_deleted(self):
        make_conversation(make_user("bo"))
        make_conversation(deleted_at=Now())
        mine = make_conversation()

        assert self.ids() == [str(mine.pk)]

    def test_pages_hold_each_once(self):
        made = [str(make_conversation().pk) for _ in range(7)]
        pages = self.pages("limit=3")

        assert [len(page) for page in pages] == [3, 3, 1]
        assert list(chain(*pages)) == made[::-1]

    def test_ties_are_ordered_by_id(self):
        made = [str(make_conversation().pk) for _ in range(5)]
        Conversation.objects.update(last_activity=Now())

        assert list(chain(*self.pages("limit=2"))) == made[::-1]

    def test_a_last_page_that_is_full_has_no_next(self):
        for _ in range(4):
            make_conversation()

        assert [len(page) for page in self.pages("limit=2")] == [2, 2]

    def test_what_came_meanwhile_moves_no_page(self):
        made = [str(make_conversation().pk) for _ in range(4)]
        body = self.api.get("api/conversations?limit=2").json()
        make_conversation()
        rest = self.ids(f"?limit=2&before={body['next']}")

        assert rest == [made[1], made[0]]

    def test_limits_and_cursors_are_checked(self):
        for query, name in (
            ("limit=0", "limit"),
            ("limit=101", "limit"),
            ("limit=-1", "limit"),
            ("limit=x", "limit"),
            ("limit=1000000", "limit"),
            ("limit=0005999", "limit"),
            ("limit=%C2%B2", "limit"),
            ("status=lost", "status"),
            ("before=x", "before"),
            ("before=%F0%9F%8E%89", "before"),
            # 0001-01-01T00:00:00+23:59 and a UUID: there is no such moment in UTC.
            ("before=MDAwMS0wMS0wMVQwMDowMDowMCsyMzo1OSAwMDAwMDAwMC0wMDAwLTAwMDAtMDAwMC0wMDAwMDAwMDAwMDc", "before"),
        ):
            with self.subTest(query=query):
                response = self.api.get(f"api/conversations?{query}")

                assert response.status_code == 422, response.content
                assert list(error_of(response)["fields"]) == [name]

    def test_the_list_of_those_with_a_live_reply(self):
        """What a page asks for while one is being written, to notice the ending."""
        live = make_conversation()
        make_reply(live, status="streaming")
        make_reply(make_conversation())
        make_reply(make_conversation(make_user("other")), status="streaming")

        assert self.ids("?status=streaming") == [str(live.pk)]

    def test_its_cost_does_not_grow_with_the_page(self):
        for _ in range(3):
            said("It rains.")
        with self.assertNumQueries(3):
            self.ids()
        with self.assertNumQueries(5):
            self.api.post("api/conversations/search", {"search": "rain"})


class SearchTests(ApiTestCase):
    def results(self, sought):
        response = self.api.post("api/conversations/search", {"search": sought})

        assert response.status_code == 200, response.content
        return response.json()["results"]

    def ids(self, sought):
        return {item["id"] for item in self.results(sought)}

    def test_its_words_are_not_in_an_address(self):
        """Servers log addresses."""
        response = self.api.get("api/conversations?search=crane")

        assert response.status_code == 422
        assert error_of(response)["fields"] == {"search": "Send the words with POST to api/conversations/search."}

    def test_it_is_paged_and_filtered_as_the_list_is(self):
        made = [said("A crane.").conversation for _ in range(5)]
        make_reply(made[0], status="streaming")
        asked, found = {"search": "crane", "limit": 2}, []
        while asked.get("before", "") is not None:
            page = self.api.post("api/conversations/search", asked).json()
            found.append([item["id"] for item in page["results"]])
            asked["before"] = page["next"]
        live = self.api.post("api/conversations/search", {"search": "crane", "status": "streaming"}).json()

        assert [len(page) for page in found] == [2, 2, 1]
        assert set(chain(*found)) == {str(conversation.pk) for conversation in made}
        assert [item["id"] for item in live["results"]] == [str(made[0].pk)]

    def test_without_words_it_is_the_list(self):
        made = make_conversation()

        assert self.results(" ") == self.api.get("api/conversations").json()["results"]
        assert self.ids("") == {str(made.pk)}

    def test_what_is_wrong_is_named(self):
        for body, name in (
            ({}, "search"),
            ({"search": 1}, "search"),
            ({"search": "x" * 201}, "search"),
            ({"search": "x", "limit": 0}, "limit"),
            ({"search": "x", "limit": True}, "limit"),
            ({"search": "x", "limit": 1.0}, "limit"),
            ({"search": "x", "status": ["streaming"]}, "status"),
            ({"search": "x", "before": 1}, "before"),
            ({"search": "x", "title": "x"}, "title"),
        ):
            with self.subTest(body=body):
                response = self.api.post("api/conversations/search", body)

                assert (response.status_code, list(error_of(response)["fields"])) == (422, [name])

    def test_a_search_for_what_cannot_be_written_finds_nothing(self):
        make_conversation(title="ab")

        assert self.ids("a\0b") == self.ids("ab")
        assert self.ids("\ud800") == set()

    def test_it_finds_titles_and_texts(self):
        titled = make_conversation(title="Über Kräne")
        spoken = said("A crane lifts 100% of it.").conversation
        make_conversation(title="Neither")

        assert self.ids("kräne") == self.ids("räne") == {str(titled.pk)}
        assert self.ids("CRANE") == self.ids("100%") == {str(spoken.pk)}
        assert self.ids("%") == self.ids("_") == self.ids("crane neither") == set()

    def test_it_finds_words_in_any_order_without_accents_and_while_they_are_typed(self):
        conversation = said("Ein Kran hebt schöne Häuser. 東京の雨").conversation

        for sought in ("hauser kran", "schon", "hä", '"kran hebt"', "東京", "京の雨"):
            with self.subTest(sought=sought):
                assert self.ids(sought) == {str(conversation.pk)}
        assert self.ids('"hebt kran"') == self.ids("ran") == set()

    def test_all_the_words_are_in_one_text(self):
        conversation = said("A crane.").conversation
        said("A house.", conversation)

        assert self.ids("crane house") == set()

    def test_a_result_shows_the_newest_text_with_its_words_marked(self):
        conversation = make_conversation(title="Birds")
        said("A crane is a bird.", conversation)
        newest = said(f"{'x ' * 50}and this crane is tall. {'y ' * 90}", conversation)
        (result,) = self.results("crane")
        snippet = result["match"]["snippet"]

        assert result["match"]["message"] == str(newest.pk)
        assert [piece["text"] for piece in snippet if piece["is_match"]] == ["crane"]
        assert "".join(piece["text"] for piece in snippet).startswith("… x x x")
        assert len("".join(piece["text"] for piece in snippet)) < 120

    def test_a_title_that_matches_is_the_snippet(self):
        make_reply(make_conversation(title="Cranes of Lisbon"))
        (result,) = self.results("cranes")

        assert result["match"] == {
            "message": None,
            "snippet": [{"text": "Cranes", "is_match": True}, {"text": " of Lisbon", "is_match": False}],
        }

    def test_only_the_owners_texts_are_found(self):
        said("A crane.", make_conversation(make_user("other"), title="Crane"))
        deleted = said("A crane.").conversation
        Conversation.objects.filter(pk=deleted.pk).update(deleted_at=Now())

        assert self.results("crane") == []

    def test_any_text_can_be_searched_for(self):
        said("A crane.")
        for sought in HOSTILE:
            with self.subTest(sought=sought):
                self.results(sought[:200])


class MakeTests(ApiTestCase):
    def test_nothing_has_to_be_said(self):
        response = self.api.post("api/conversations")
        made = response.json()

        assert response.status_code == 201
        assert set(made) == KEYS
        assert (made["title"], made["model"], made["head"], made["metadata"]) == ("", "scripted:model", None, {})
        assert (made["message_count"], made["last_status"]) == (0, "")
        assert Conversation.objects.get(pk=made["id"]).owner == self.user

    @override_settings(STREAMING_CHAT_MODELS=["scripted:model", "scripted:*"])
    def test_everything_can_be_said(self):
        made = self.api.post(
            "api/conversations", {"title": "T", "model": "scripted:a:b", "metadata": {"a": [1]}}
        ).json()

        assert (made["title"], made["model"], made["metadata"]) == ("T", "scripted:a:b", {"a": [1]})

    @override_settings(STREAMING_CHAT_SYSTEM_PROMPT="Be brief.")
    def test_the_sites_system_prompt_is_copied(self):
        made = self.api.post("api/conversations").json()
        with override_settings(STREAMING_CHAT_SYSTEM_PROMPT="Be long."):
            self.api.send(conversation=Conversation.objects.get(pk=made["id"]))

        assert self.provider.calls[0].prompt.system == "Be brief."

    def test_a_system_prompt_of_ones_own_only_where_the_site_allows_it(self):
        refused = self.api.post("api/conversations", {"system": "Be rude."})
        with override_settings(STREAMING_CHAT_PERMISSIONS={"BACKEND": f"{__name__}.OwnPrompts"}):
            made = self.api.post("api/conversations", {"system": "Be kind."})
        self.api.send(conversation=Conversation.objects.get())

        assert (refused.status_code, list(error_of(refused)["fields"])) == (422, ["system"])
        assert made.status_code == 201
        assert "system" not in made.json()
        assert self.provider.calls[0].prompt.system == "Be kind."

    def test_what_is_wrong_is_named(self):
        for body, name in (
            ({"title": "x" * 201}, "title"),
            ({"model": "other:model"}, "model"),
            ({"model": "scripted:*"}, "model"),
            ({"metadata": []}, "metadata"),
            ({"metadata": {"a": "x" * 5_000}}, "metadata"),
            ({"owner": 1}, "owner"),
        ):
            with self.subTest(body=name):
                response = self.api.post("api/conversations", body)

                assert (response.status_code, list(error_of(response)["fields"])) == (422, [name])
        assert not Conversation.objects.exists()

    def test_the_first_message_gives_a_title(self):
        conversation = Conversation.objects.get(pk=self.api.post("api/conversations").json()["id"])
        self.api.send("Will it\n rain " + "x" * 100, conversation)
        conversation.refresh_from_db()

        assert conversation.title == "Will it rain " + "x" * 46 + "…"

    def test_a_title_of_ones_own_stays(self):
        made = self.api.post("api/conversations", {"title": "Mine"}).json()
        self.api.send("Will it rain?", Conversation.objects.get(pk=made["id"]))

        assert Conversation.objects.get().title == "Mine"


class ReadTests(ApiTestCase):
    def test_the_path_in_view(self):
        conversation = make_conversation()
        question = make_message(conversation)
        first = make_reply(conversation, "One.", parent=question)
        second = make_reply(conversation, "Two.", parent=question)
        shown = self.api.get(f"api/conversations/{conversation.pk}").json()

        assert set(shown) == KEYS | {"messages", "earlier"}
        assert [message["id"] for message in shown["messages"]] == [str(question.pk), str(second.pk)]
        assert shown["messages"][1]["siblings"] == {"index": 2, "count": 2, "previous": str(first.pk), "next": None}

        shown = self.api.patch(f"api/conversations/{conversation.pk}", {"head": str(first.pk)}).json()

        assert [message["id"] for message in shown["messages"]] == [str(question.pk), str(first.pk)]
        assert shown["messages"][1]["siblings"] == {"index": 1, "count": 2, "previous": None, "next": str(second.pk)}

    def test_all_messages_are_a_tree(self):
        conversation = make_conversation()
        first = make_reply(conversation)
        second = make_message(conversation, parent=None)
        shown = self.api.get(f"api/conversations/{conversation.pk}/messages").json()["results"]
        parents = {message["id"]: message["parent"] for message in shown}

        assert parents == {str(first.parent_id): None, str(first.pk): str(first.parent_id), str(second.pk): None}
        assert shown[0]["siblings"] == {"index": 1, "count": 2, "previous": None, "next": str(second.pk)}

    def test_a_conversation_without_messages(self):
        conversation = make_conversation()

        assert self.api.get(f"api/conversations/{conversation.pk}").json()["messages"] == []
        assert self.api.get(f"api/conversations/{conversation.pk}/messages").json() == {"results": [], "next": None}

    def test_its_cost_does_not_grow_with_its_length(self):
        conversation = make_conversation()
        for _ in range(3):
            make_reply(make_message(conversation).conversation)
        # Session, user, conversation, branch, siblings, feedback.
        with self.assertNumQueries(6):
            self.api.get(f"api/conversations/{conversation.pk}")


class PageTests(ApiTestCase):
    def setUp(self):
        super().setUp()
        self.conversation = make_conversation()
        for number in range(3):
            make_reply(self.conversation, str(number))
        self.ids = [str(pk) for pk in Message.objects.order_by("created_at", "id").values_list("pk", flat=True)]
        self.path = f"api/conversations/{self.conversation.pk}"

    def ids_of(self, messages):
        return [message["id"] for message in messages]

    def test_the_newest_messages_and_the_way_to_the_earlier_ones(self):
        shown = self.api.get(f"{self.path}?limit=4").json()
        earlier = self.api.get(f"{self.path}/messages?limit=4&before={shown['earlier']}").json()

        assert self.ids_of(shown["messages"]) == self.ids[2:]
        assert self.ids_of(earlier["results"]) == self.ids[:2]
        assert earlier["earlier"] is None
        assert self.api.get(self.path).json()["earlier"] is None

    def test_the_tree_from_its_oldest_message(self):
        first = self.api.get(f"{self.path}/messages?limit=4").json()
        second = self.api.get(f"{self.path}/messages?limit=4&after={first['next']}").json()

        assert self.ids_of(first["results"]) == self.ids[:4]
        assert self.ids_of(second["results"]) == self.ids[4:]
        assert second["next"] is None

    def test_what_changes_a_conversation_answers_with_a_page(self):
        changed = self.api.patch(f"{self.path}?limit=1", {"title": "New"}).json()
        restored = self.api.post(f"{self.path}/restore?limit=1").json()

        assert self.ids_of(changed["messages"]) == self.ids_of(restored["messages"]) == self.ids[5:]

    def test_wrong_places_and_limits(self):
        other = make_reply(make_conversation()).pk
        for query in ("before=x", f"before={other}", "after=x", f"after={other}", "limit=0", "limit=51", "limit=x"):
            with self.subTest(query):
                response = self.api.get(f"{self.path}/messages?{query}")

                assert (response.status_code, list(error_of(response)["fields"])) == (422, [query.split("=")[0]])
        assert self.api.get(f"{self.path}?limit=51").status_code == 422


class ChangeTests(ApiTestCase):
    def setUp(self):
        super().setUp()
        self.conversation = make_conversation()
        self.reply = make_reply(self.conversation)
        self.path = f"api/conversations/{self.conversation.pk}"

    def test_title_and_model(self):
        changed = self.api.patch(self.path, {"title": "New", "model": "scripted:model"}).json()

        assert (changed["title"], changed["model"]) == ("New", "scripted:model")
        assert len(changed["messages"]) == 2

    def test_nothing(self):
        assert self.api.patch(self.path, {}).json()["title"] == "Rain in Lisbon"

    def test_a_head_of_another_conversation_is_refused(self):
        other = make_reply(make_conversation())
        for head in (str(other.pk), str(uuid.uuid4()), "x", 1):
            with self.subTest(head=head):
                response = self.api.patch(self.path, {"head": head})

                assert (response.status_code, list(error_of(response)["fields"])) == (422, ["head"])

    def test_a_branch_ends_with_its_newest_message(self):
        old = make_reply(self.conversation, "Old")
        new = make_reply(self.conversation, "New", parent=old.parent)
        make_reply(self.conversation, "Other", parent=self.reply.parent)
        changed = self.api.patch(self.path, {"branch": str(self.reply.pk)}).json()

        assert changed["head"] == str(new.pk)

    def test_a_branch_that_is_in_view_stays_as_it_is(self):
        make_reply(self.conversation, "New", parent=self.reply.parent)
        Conversation.objects.update(head=self.reply)
        changed = self.api.patch(self.path, {"branch": str(self.reply.parent_id)}).json()

        assert changed["head"] == str(self.reply.pk)

    def test_a_branch_of_another_conversation_is_refused(self):
        other = make_reply(make_conversation())
        for branch in (str(other.pk), str(uuid.uuid4()), "x", None):
            with self.subTest(branch=branch):
                response = self.api.patch(self.path, {"branch": branch})

                assert (response.status_code, list(error_of(response)["fields"])) == (422, ["branch"])

    def test_the_head_may_be_nothing(self):
        assert self.api.patch(self.path, {"head": None}).json()["messages"] == []

    def test_what_is_not_to_be_changed(self):
        for name in ("system", "metadata", "owner", "id"):
            response = self.api.patch(self.path, {name: "x"})

            assert (response.status_code, list(error_of(response)["fields"])) == (422, [name])

    def test_a_foreign_one_is_not_found_before_its_model_is_looked_at(self):
        response = Api(make_user("bo")).patch(self.path, {"model": "scripted:model"})

        assert response.status_code == 404


class DeleteTests(ApiTestCase):
    def setUp(self):
        super().setUp()
        self.conversation = make_conversation()
        self.path = f"api/conversations/{self.conversation.pk}"

    def deleted(self, **ago):
        Conversation.objects.filter(pk=self.conversation.pk).update(deleted_at=Now() - timedelta(**ago))

    def test_it_is_marked(self):
        make_reply(self.conversation)
        response = self.api.delete(self.path)

        assert (response.status_code, response.content) == (204, b"")
        assert self.api.get(self.path).status_code == 404
        assert self.api.delete(self.path).status_code == 404
        assert Message.objects.count() == 2

    def test_its_live_reply_is_stopped_first(self):
        live = make_live(self.conversation)
        self.api.delete(self.path)

        assert LiveReply.objects.get(pk=live.pk).stop == "user"

    def test_restored_within_a_minute(self):
        self.deleted(seconds=55)
        response = self.api.post(f"{self.path}/restore")

        assert response.status_code == 200
        assert response.json()["messages"] == []
        assert self.api.get(self.path).status_code == 200

    def test_not_restored_later(self):
        self.deleted(seconds=65)

        assert self.api.post(f"{self.path}/restore").status_code == 404
        assert Conversation.objects.get().deleted_at

    def test_restoring_what_is_there_changes_nothing(self):
        assert self.api.post(f"{self.path}/restore").status_code == 200
        assert self.api.post(f"{self.path}/restore", {"really": True}).status_code == 422

    def test_nobody_else_restores_it(self):
        self.deleted(seconds=1)

        assert Api(make_user("bo")).post(f"{self.path}/restore").status_code == 404
