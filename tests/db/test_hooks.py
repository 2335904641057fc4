"""Hooks: lower layers call them, and do not know who listens."""

from django.test import SimpleTestCase

from streaming_chat.db.hooks import Hook, columns_on_change, conversation_changed


class HookTests(SimpleTestCase):
    def test_receivers_are_called_in_order_and_what_they_return_is_returned(self):
        hook = Hook()
        hook.register(lambda number: number + 1)
        hook.register(lambda number: number * 2)

        assert hook(5) == [6, 10]

    def test_a_receiver_is_registered_once(self):
        """`apps.ready` may run twice."""
        hook = Hook()
        for _time in range(2):
            hook.register(str)

        assert hook(5) == ["5"]

    def test_an_error_of_a_receiver_reaches_the_caller(self):
        """It undoes the caller's transaction."""
        hook = Hook()
        hook.register(int)
        with self.assertRaises(ValueError):
            hook("five")


class ColumnsTests(SimpleTestCase):
    def test_the_columns_of_all_receivers_are_set_in_one_update(self):
        before = columns_on_change(needs_attention=True)
        receiver = {"title": "Snow"}.copy

        def add_title(_needs_attention):
            return receiver()

        conversation_changed.register(add_title)
        self.addCleanup(conversation_changed._receivers.remove, add_title)

        assert columns_on_change(needs_attention=True) == {**before, "title": "Snow"}
