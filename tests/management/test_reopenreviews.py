"""`manage.py reopenreviews`."""

from datetime import timedelta
from io import StringIO

from django.core.management import CommandError, call_command
from django.db.models.functions import Now
from django.test import TestCase
from django.utils import timezone

from streaming_chat.models import Review
from tests.review.factories import finish, make_reviewer, make_waiting, needs_attention, state


def run(*arguments: str) -> str:
    out = StringIO()
    call_command("reopenreviews", *arguments, stdout=out)
    return out.getvalue()


class ReopenReviewsTests(TestCase):
    def setUp(self):
        self.rita, self.bo = make_reviewer(), make_reviewer("bo")
        self.old, self.new, self.other = (make_waiting(needs_attention=True) for _ in range(3))
        for conversation, by in ((self.old, self.rita), (self.new, self.rita), (self.other, self.bo)):
            finish(conversation, by)
        Review.objects.filter(pk=self.old.pk).update(done_at=Now() - timedelta(days=2))

    def states(self):
        return [state(row) for row in (self.old, self.new, self.other)]

    def test_those_of_a_reviewer_and_a_time(self):
        day = (timezone.now() - timedelta(days=1)).isoformat()

        assert run("--by", "rita", "--since", day) == "1 reviews reopened.\n"
        assert self.states() == ["done", "unreviewed", "done"]
        assert needs_attention(self.new)
        assert Review.objects.get(pk=self.new.pk).changed_by is None
        assert run("--until", day) == "1 reviews reopened.\n"
        assert self.states() == ["unreviewed", "unreviewed", "done"]

    def test_named_ones(self):
        unreviewed = make_waiting()

        assert run(str(self.other.pk), str(unreviewed.pk)) == "1 reviews reopened.\n"
        assert self.states() == ["done", "done", "unreviewed"]

    def test_named_ones_of_another_reviewer_stay(self):
        assert run(str(self.other.pk), "--by", "rita") == "0 reviews reopened.\n"
        assert self.states() == ["done"] * 3

    def test_a_dry_run_changes_nothing(self):
        assert run("--by", "rita", "--dry-run") == "2 reviews to reopen.\n"
        assert self.states() == ["done"] * 3

    def test_nothing_is_reopened_without_a_condition(self):
        for arguments in ((), ("--by", "nobody"), ("x",), ("--since", "soon")):
            with self.subTest(arguments), self.assertRaises(CommandError):
                run(*arguments)

        assert self.states() == ["done"] * 3
