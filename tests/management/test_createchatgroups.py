"""`manage.py createchatgroups`."""

from io import StringIO

import pytest
from django.contrib.auth.models import Group, Permission
from django.core.management import CommandError, call_command
from django.test import TestCase

from tests.factories import make_staff

REVIEWER = {"view_conversation", "view_transcript", "review_conversation"}


def run() -> list[str]:
    out = StringIO()
    call_command("createchatgroups", stdout=out)
    return out.getvalue().splitlines()


def held(name: str) -> set[str]:
    return set(Group.objects.get(name=name).permissions.values_list("codename", flat=True))


class CreateChatGroupsTests(TestCase):
    def test_reviewers_review_and_managers_do_everything(self):
        run()
        everything = Permission.objects.filter(content_type__app_label="streaming_chat")

        assert held("Chat reviewers") == REVIEWER
        assert held("Chat managers") == set(everything.values_list("codename", flat=True))

    def test_a_member_can_review(self):
        run()
        staff = make_staff("rita")
        staff.groups.add(Group.objects.get(name="Chat reviewers"))
        self.client.force_login(staff)

        assert "Review the next one" in self.client.get("/admin/streaming_chat/conversation/").text

    def test_running_it_again_changes_nothing(self):
        first = run()

        assert first[0] == "Chat reviewers: review_conversation, view_conversation, view_transcript."
        assert run() == [f"{name}: has all of its permissions." for name in ("Chat reviewers", "Chat managers")]
        assert Group.objects.count() == 2

    def test_a_group_keeps_what_a_site_has_added_and_gets_what_it_lacks(self):
        run()
        group = Group.objects.get(name="Chat reviewers")
        group.permissions.add(Permission.objects.get(codename="export_transcript"))
        group.permissions.remove(Permission.objects.get(codename="view_transcript"))

        assert run()[0] == "Chat reviewers: view_transcript."
        assert held("Chat reviewers") == REVIEWER | {"export_transcript"}

    def test_a_database_that_is_not_migrated(self):
        Permission.objects.filter(content_type__app_label="streaming_chat").delete()

        with pytest.raises(CommandError, match=r"Run `manage\.py migrate` first"):
            run()

        assert not Group.objects.exists()
