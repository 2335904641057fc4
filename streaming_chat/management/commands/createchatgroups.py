"""Create two groups of staff with the app's permissions."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import Group, Permission
from django.core.management.base import BaseCommand, CommandError

_REVIEWER = ("view_conversation", "view_transcript", "review_conversation")


class Command(BaseCommand):
    """Running it again changes nothing, except that it adds permissions that a group lacks. It removes none."""

    help = (
        "Creates the groups “Chat reviewers”, whose members read and review conversations, and “Chat managers”, whose "
        "members have all permissions of the chat. Members must also have staff status. You can rename and change both."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        """Print the permissions that were added to each group. Raises CommandError if the database has not been migrated."""
        everything = Permission.objects.filter(content_type__app_label="streaming_chat").order_by("codename")
        if not everything:
            raise CommandError("the permissions do not exist yet. Run `manage.py migrate` first.")
        self._add("Chat reviewers", [each for each in everything if each.codename in _REVIEWER])
        self._add("Chat managers", list(everything))

    def _add(self, name: str, permissions: list[Permission]) -> None:
        group, _is_new = Group.objects.get_or_create(name=name)
        known = set(group.permissions.values_list("pk", flat=True))
        added = [permission for permission in permissions if permission.pk not in known]
        group.permissions.add(*added)
        self.stdout.write(f"{name}: {', '.join(each.codename for each in added) or 'has all of its permissions'}.")
