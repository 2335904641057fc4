"""One branch of a conversation, a part at a time, and the messages beside it."""

from django.test import TestCase

from streaming_chat.chats.branches import (
    PAGE_CHARS,
    branch,
    branch_page,
    is_in_view,
    newest_leaf,
    siblings_of,
    tree_page,
)
from streaming_chat.chats.tree import Siblings
from streaming_chat.models import Conversation, Message
from tests.factories import make_conversation, make_message, make_reply


class BranchTests(TestCase):
    def setUp(self):
        self.conversation = make_conversation()
        self.first = make_reply(self.conversation, "One")
        self.other = make_reply(self.conversation, "Other", parent=self.first.parent)
        self.question = make_message(self.conversation, "And?", parent=self.first)
        self.last = make_reply(self.conversation, "Two")
        self.path = [self.first.parent, self.first, self.question, self.last]

    def test_from_the_root_to_the_leaf_in_one_query(self):
        with self.assertNumQueries(1):
            found = branch(self.conversation, self.last.pk)

        assert found == self.path
        assert branch(self.conversation, self.other.pk) == [self.first.parent, self.other]
        assert branch(self.conversation, None) == []

    def test_a_message_of_another_conversation_is_unknown(self):
        assert branch(self.conversation, make_message(make_conversation()).pk) == []

    def test_the_newest_messages(self):
        assert branch(self.conversation, self.last.pk, most=3) == self.path[1:]

    def test_the_newest_messages_up_to_a_size(self):
        sizes = [len(message.text) for message in self.path]
        for size, count in ((0, 1), (sizes[3] + sizes[2], 2), (sum(sizes[1:]), 3), (sum(sizes), 4)):
            with self.subTest(size=size):
                found = branch(self.conversation, self.last.pk, max_chars=size, without=["parts"])

                assert found == self.path[-count:]

    def test_parts_count_if_they_are_loaded(self):
        """Reasoning and tool calls are in them alone."""
        Message.objects.filter(pk=self.first.pk).update(parts=[{"kind": "reasoning", "text": "m" * 1_000}])

        assert branch(self.conversation, self.last.pk, max_chars=500) == self.path[2:]
        assert branch(self.conversation, self.last.pk, max_chars=500, without=["parts"]) == self.path

    def test_messages_that_follow_each_other_in_a_circle(self):
        """The app never makes one, but a page must not hang if one was made by hand."""
        Message.objects.filter(pk=self.first.parent_id).update(parent=self.last)
        Message.objects.filter(pk=self.other.pk).delete()
        self.conversation.refresh_from_db()

        assert [message.pk for message in branch(self.conversation, self.last.pk)] == [row.pk for row in self.path]
        assert newest_leaf(self.conversation, self.first.pk) == self.first.pk
        assert is_in_view(self.conversation, self.first.pk)
        assert not is_in_view(self.conversation, make_message(make_conversation()).pk)


class PageTests(TestCase):
    def setUp(self):
        self.conversation = make_conversation()
        for number in range(4):
            make_reply(self.conversation, str(number))
        self.path = list(Message.objects.order_by("created_at", "id"))

    def test_a_branch_backwards(self):
        newest = branch_page(self.conversation, most=3)
        middle = branch_page(self.conversation, before=newest.following, most=3)
        oldest = branch_page(self.conversation, before=middle.following, most=3)

        assert [*oldest.messages, *middle.messages, *newest.messages] == self.path
        assert [len(page.messages) for page in (newest, middle, oldest)] == [3, 3, 2]
        assert oldest.following is None

    def test_a_branch_that_is_not_in_view(self):
        other = make_reply(self.conversation, "Other", parent=self.path[2])
        Conversation.objects.update(head=self.path[-1])

        assert branch_page(self.conversation, before=other.pk).messages == self.path[:3]

    def test_a_tree_forwards(self):
        self.path.append(make_reply(self.conversation, "Other", parent=self.path[0]))
        first = tree_page(self.conversation, most=5)
        second = tree_page(self.conversation, after=first.following, most=5)

        assert [*first.messages, *second.messages] == self.path
        assert (first.following, second.following) == (self.path[4].pk, None)
        assert tree_page(self.conversation, after=self.path[-1].pk) == ([], None)

    def test_messages_of_one_time_are_in_the_order_of_their_ids(self):
        Message.objects.update(created_at=self.path[0].created_at)
        first = tree_page(self.conversation, most=5)

        assert [*first.messages, *tree_page(self.conversation, after=first.following).messages] == self.path

    def test_a_page_ends_with_the_message_that_fills_it(self):
        Message.objects.filter(pk__in=[row.pk for row in self.path[2:6]]).update(text="m" * (PAGE_CHARS // 2 - 100))

        assert branch_page(self.conversation).messages == self.path[4:]
        assert tree_page(self.conversation).messages == self.path[:4]

    def test_a_page_has_a_message_of_any_size(self):
        Message.objects.update(text="m" * (PAGE_CHARS + 1))

        assert branch_page(self.conversation).messages == self.path[-1:]
        assert tree_page(self.conversation).messages == self.path[:1]

    def test_an_empty_conversation(self):
        empty = make_conversation()

        assert branch_page(empty) == tree_page(empty) == ([], None)

    def test_a_message_of_another_conversation(self):
        foreign = make_message(make_conversation()).pk
        with self.assertRaises(Message.DoesNotExist):
            branch_page(self.conversation, before=foreign)
        with self.assertRaises(Message.DoesNotExist):
            tree_page(self.conversation, after=foreign)


class LeafTests(TestCase):
    def test_the_newest_message_at_each_fork(self):
        conversation = make_conversation()
        first = make_reply(conversation)
        old = make_reply(conversation, "Old")
        new = make_reply(conversation, "New", parent=old.parent)
        make_reply(conversation, "Other", parent=first.parent)

        assert newest_leaf(conversation, first.pk) == new.pk
        assert newest_leaf(conversation, old.pk) == old.pk

    def test_what_is_in_view(self):
        conversation = make_conversation()
        first = make_reply(conversation)
        old = make_reply(conversation, "Old")
        make_reply(conversation, "New", parent=old.parent)

        assert is_in_view(conversation, first.pk)
        assert not is_in_view(conversation, old.pk)
        assert not is_in_view(make_conversation(), old.pk)


class SiblingTests(TestCase):
    def test_in_one_query(self):
        conversation = make_conversation()
        question = make_message(conversation)
        one, two, three = (make_reply(conversation, str(number), parent=question) for number in range(3))
        another = make_message(conversation, "Another beginning", parent=None)
        make_message(make_conversation())
        messages = list(Message.objects.filter(pk__in=[question.pk, one.pk, two.pk, another.pk]))
        with self.assertNumQueries(1):
            found = siblings_of(messages)

        assert found == {
            question.pk: Siblings(1, 2, None, another.pk),
            another.pk: Siblings(2, 2, question.pk, None),
            one.pk: Siblings(1, 3, None, two.pk),
            two.pk: Siblings(2, 3, one.pk, three.pk),
        }
        assert siblings_of([]) == {}
