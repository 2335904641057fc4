"""The shape of a conversation: paths, branches and siblings."""

from uuid import UUID

from django.test import SimpleTestCase, TestCase

from streaming_chat.chats.tree import Siblings, Tree, path_ids, path_messages
from tests.factories import make_conversation, make_message, make_reply

ROOT, ONE, TWO, LEAF, OTHER = (UUID(int=number) for number in range(5))


class TreeTests(SimpleTestCase):
    def setUp(self):
        self.tree = Tree([(ROOT, None), (ONE, ROOT), (TWO, ROOT), (LEAF, TWO)])

    def test_a_path_leads_from_the_root_to_a_message(self):
        assert self.tree.path_to(LEAF) == [ROOT, TWO, LEAF]
        assert self.tree.path_to(OTHER) == self.tree.path_to(None) == []

    def test_a_path_goes_on_by_the_newest(self):
        assert self.tree.path_through(ROOT) == [ROOT, TWO, LEAF]
        assert self.tree.path_through(ONE) == [ROOT, ONE]

    def test_siblings(self):
        assert self.tree.siblings(ONE) == Siblings(1, 2, None, TWO)
        assert self.tree.siblings(TWO) == Siblings(2, 2, ONE, None)
        assert self.tree.siblings(ROOT) == Siblings(1, 1, None, None)

    def test_the_newest(self):
        assert self.tree.newest() == LEAF
        assert Tree([]).newest() is None

    def test_messages_that_follow_each_other_in_a_circle_end_a_path(self):
        """No transaction of ours makes one; a page must not hang on one that somebody has made by hand."""
        assert Tree([(ROOT, ONE), (ONE, ROOT)]).path_to(ONE) == [ROOT, ONE]


class PathTests(TestCase):
    def test_from_the_root_to_the_leaf(self):
        conversation = make_conversation()
        first = make_reply(conversation)
        make_reply(conversation, "Other", parent=first.parent)
        last = make_message(conversation, parent=first)
        with self.assertNumQueries(2):
            path = path_messages(conversation, last.pk)

        assert path == [first.parent, first, last]
        assert path_ids(conversation, last.pk) == [message.pk for message in path]
        assert path_messages(conversation, None) == []
        assert path_messages(conversation, make_message(make_conversation()).pk) == []
