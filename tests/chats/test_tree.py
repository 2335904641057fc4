"""The shape of a conversation: paths, branches and siblings."""

from uuid import UUID

from django.test import SimpleTestCase

from streaming_chat.chats.tree import Siblings, Tree

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
        """The app never makes one, but a page must not hang if one was made by hand."""
        assert Tree([(ROOT, ONE), (ONE, ROOT)]).path_to(ONE) == [ROOT, ONE]
