"""Whether this process may judge others by their leases."""

from django.test import SimpleTestCase, override_settings

from streaming_chat.steadiness import Steadiness


@override_settings(STREAMING_CHAT_LEASE_SECONDS=15)
class SteadinessTests(SimpleTestCase):
    def setUp(self):
        self.now = 100.0
        self.steadiness = Steadiness(clock=lambda: self.now)

    def work(self, *times):
        for self.now in times:
            self.steadiness.worked()

    def test_nothing_known_is_not_steady(self):
        assert not self.steadiness.holds

    def test_a_lease_without_failure_is_steady(self):
        self.work(100, 110, 115)

        assert self.steadiness.holds

    def test_less_than_a_lease_is_not(self):
        self.work(100, 110, 114.9)

        assert not self.steadiness.holds

    def test_a_failure_begins_it_anew(self):
        self.work(100, 110, 120)
        self.steadiness.broke()
        self.work(121, 130)

        assert not self.steadiness.holds

        self.work(136)

        assert self.steadiness.holds

    def test_a_silence_of_a_lease_begins_it_anew(self):
        """Who has not asked for so long does not know that the database has just come back."""
        self.work(100, 110, 120, 136)

        assert not self.steadiness.holds

    def test_what_was_long_ago_does_not_count(self):
        self.work(100, 110, 120)
        self.now = 140

        assert not self.steadiness.holds
