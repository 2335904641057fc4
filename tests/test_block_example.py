"""docs/examples/block_spenders.py: an owner who spends too much in a day is blocked once, and staff see why."""

import runpy
from decimal import Decimal

from django.conf import settings
from django.test import TestCase

from streaming_chat.models import AccessRecord, BlockedOwner, Conversation
from streaming_chat.privacy.blocking import unblock

from .factories import make_user
from .usage.factories import add_reply, ago

EXAMPLE = settings.BASE_DIR / "docs" / "examples" / "block_spenders.py"


def spend(name: str, dollars: str | None, days: int = 0) -> str:
    """Add a reply to a user. Returns the owner key."""
    user = make_user(name)
    reply = add_reply(ago(days), cost=dollars and Decimal(dollars))
    Conversation.objects.filter(pk=reply.conversation_id).update(owner=user, owner_key=f"u:{user.pk}")
    return f"u:{user.pk}"


class BlockSpendersTests(TestCase):
    def setUp(self) -> None:
        self.block_spenders = runpy.run_path(str(EXAMPLE))["block_spenders"]

    def test_who_has_spent_more_today_is_blocked_with_the_reason(self):
        spend("bo", "5")
        spend("cy", None)
        spend("di", "9", days=1)
        spend("ana", "3")
        ana = spend("ana", "2.5")

        assert self.block_spenders(5) == [ana]

        blocked = BlockedOwner.objects.get()

        assert (blocked.owner_key, blocked.reason, blocked.by_name) == (
            ana,
            "Spent $5.50 in one day.",
            "block_spenders",
        )

    def test_again_it_blocks_nobody_twice(self):
        ana = spend("ana", "6")
        self.block_spenders(5)

        assert self.block_spenders(5) == []
        assert AccessRecord.objects.count() == 1

        unblock(ana, make_user("staff"))

        assert self.block_spenders(5) == [ana]
