"""Whether this process may judge others by their leases."""

from django.test import SimpleTestCase, override_settings

from streaming_chat.db.leases import LeaseJudge


@override_settings(STREAMING_CHAT_LEASE_SECONDS=15)
class SteadinessTests(SimpleTestCase):
    def setUp(self):
        self.now = 100.0
        self.lease_judge = LeaseJudge(clock=lambda: self.now)

    def work(self, *times):
        for self.now in times:
            self.lease_judge.database_answered()

    def test_nothing_known_is_not_steady(self):
        assert not self.lease_judge.may_expire_others

    def test_a_lease_without_failure_is_steady(self):
        self.work(100, 110, 115)

        assert self.lease_judge.may_expire_others

    def test_less_than_a_lease_is_not(self):
        self.work(100, 110, 114.9)

        assert not self.lease_judge.may_expire_others

    def test_a_failure_begins_it_anew(self):
        self.work(100, 110, 120)
        self.lease_judge.database_failed()
        self.work(121, 130)

        assert not self.lease_judge.may_expire_others

        self.work(136)

        assert self.lease_judge.may_expire_others

    def test_a_silence_of_a_lease_begins_it_anew(self):
        """Who has not asked for so long does not know that the database has just come back."""
        self.work(100, 110, 120, 136)

        assert not self.lease_judge.may_expire_others

    def test_what_was_long_ago_does_not_count(self):
        self.work(100, 110, 120)
        self.now = 140

        assert not self.lease_judge.may_expire_others
