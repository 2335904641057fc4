"""`manage.py clearaccesses`: for how long it is kept who read what, and what they sought."""

from datetime import timedelta
from io import StringIO
from typing import Any

from django.core.management import CommandError, call_command
from django.db import connection
from django.db.models.functions import Now
from django.test import TestCase, TransactionTestCase
from django.test.utils import CaptureQueriesContext

from streaming_chat.models import AccessedOwner, AccessRecord, Conversation
from streaming_chat.privacy import audit
from streaming_chat.privacy.audit import record
from tests.copies import leave_what_is_deleted, places
from tests.factories import make_conversation, make_staff

# Another word than that of the tests whose rows were deleted before, past the app.
CANARY = "tulip9c2e41d"


def make_record(days: float, terms: str = "", **fields: Any) -> AccessRecord:
    """Return a record that was made so long ago."""
    made = record(fields.pop("kind", "search" if terms else "open"), "root", terms=terms, **fields)
    AccessRecord.objects.filter(pk=made.pk).update(at=Now() - timedelta(days=days))
    return made


def run_command(*arguments: str) -> str:
    out = StringIO()
    call_command("clearaccesses", *arguments, stdout=out)
    return out.getvalue().strip()


class RecordTests(TestCase):
    def test_old_ones_go_of_whatever_kind(self):
        for kind in AccessRecord.Kind.values:
            make_record(31, kind=kind)
        new = make_record(29)

        assert run_command("--older-than", "30") == f"{len(AccessRecord.Kind)} access records removed."
        assert AccessRecord.objects.get() == new

    def test_the_owners_of_what_they_are_about_go_with_them_and_are_not_counted(self):
        make_record(31, owner_keys=["u:1", "u:2"])
        new = make_record(29, owner_keys=["u:1"])

        assert run_command("--older-than", "30") == "1 access records removed."
        assert list(AccessedOwner.objects.values_list("record", "owner_key")) == [(new.pk, "u:1")]

    def test_a_dry_run_removes_none(self):
        make_record(31, "refund")

        assert run_command("--older-than", "30", "--dry-run") == "1 access records to remove."
        assert run_command("--older-than", "30", "--dry-run", "--terms") == "1 search terms to remove."
        assert AccessRecord.objects.get().terms == "refund"

    def test_what_was_read_stays(self):
        make_record(31, conversation=make_conversation().pk)
        run_command("--older-than", "30")

        assert Conversation.objects.exists()

    def test_again(self):
        make_record(31)
        run_command("--older-than", "30")

        assert run_command("--older-than", "30") == "0 access records removed."


class TermsTests(TestCase):
    def test_what_was_sought_goes_and_who_sought_it_and_when_stay(self):
        old, new = make_record(91, "refund", count=3), make_record(89, "refund")
        at = AccessRecord.objects.get(pk=old.pk).at

        assert run_command("--older-than", "90", "--terms") == "1 search terms removed."

        old.refresh_from_db()
        new.refresh_from_db()
        assert (old.terms, old.by_name, old.kind, old.count, old.at) == ("", "root", "search", 3, at)
        assert new.terms == "refund"

    def test_again(self):
        make_record(91, "refund")
        run_command("--older-than", "90", "--terms")

        assert run_command("--older-than", "90", "--terms") == "0 search terms removed."


class BatchTests(TestCase):
    def setUp(self):
        self.addCleanup(setattr, audit, "_PAGE_SIZE", audit._PAGE_SIZE)
        audit._PAGE_SIZE = 3
        self.kept = [make_record(1), *(make_record(31) for _ in range(7)), make_record(1)]

    def test_so_many_in_a_statement(self):
        """Not in the order of their times: those that were imported, or whose clock was wrong."""
        with CaptureQueriesContext(connection) as queries:
            counts = list(audit.remove(audit.records(timedelta(days=30))))
        statements = [query["sql"] for query in queries if query["sql"].startswith("DELETE")]
        deletions = [sql for sql in statements if '"streaming_chat_accessrecord"' in sql]

        assert counts == [3, 3, 1]
        # With each, a statement that deletes the owners of its records.
        assert (len(deletions), len(statements)) == (3, 6)
        assert AccessRecord.objects.count() == 2

    def test_what_was_broken_off_goes_on(self):
        removing = audit.remove(audit.records(timedelta(days=30)))
        first = next(removing)
        removing.close()

        assert (first, run_command("--older-than", "30")) == (3, "4 access records removed.")


class ArgumentTests(TestCase):
    def test_how_old_must_be_said_and_make_sense(self):
        """Less than a day would be all of them, and with them what they prove."""
        make_record(400)
        for age in ("x", "-1", "0", "0.5", "nan", "inf", "1e9", ""):
            with self.subTest(age), self.assertRaises(CommandError) as raised:
                run_command("--older-than", age)

            assert f"must be a number of days, 1 to 36500, got {age!r}." in str(raised.exception)
        with self.assertRaises(CommandError):
            run_command()
        assert AccessRecord.objects.exists()


class DeletedReaderTests(TestCase):
    def test_who_it_was_stays_by_name_and_goes_by_age(self):
        """An account that is gone has read all the same."""
        staff = make_staff("curious")
        made = record("open", staff, conversation=make_conversation().pk)
        staff.delete()
        made.refresh_from_db()

        assert (made.by, made.by_name) == (None, "curious")

        AccessRecord.objects.update(at=Now() - timedelta(days=400))

        assert run_command("--older-than", "365") == "1 access records removed."


class CanaryTests(TransactionTestCase):
    """What was sought is text: nothing of it is left, in no table and in no byte of SQLite's file."""

    def test_records(self):
        self.assert_gone("--older-than", "90")

        assert not AccessRecord.objects.exists()

    def test_terms(self):
        self.assert_gone("--older-than", "90", "--terms")

        assert AccessRecord.objects.count() == 50

    def assert_gone(self, *arguments: str) -> None:
        for number in range(50):
            make_record(91, f"{number} {'x' * 400} {CANARY}")
        before = places(CANARY)
        leave_what_is_deleted()
        run_command(*arguments)

        assert "streaming_chat_accessrecord" in before
        assert places(CANARY) == []
