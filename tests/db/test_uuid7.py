"""Ids of version 7."""

import uuid

from django.test import SimpleTestCase

from streaming_chat.db.uuid7 import uuid7


class IdTests(SimpleTestCase):
    def test_ids_are_uuids_of_version_7_that_sort_by_time(self):
        made = [uuid7() for _ in range(2_000)]

        assert made == sorted(made)
        assert len(set(made)) == len(made)
        assert {(pk.version, pk.variant) for pk in made} == {(7, uuid.RFC_4122)}
