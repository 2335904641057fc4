"""The page of a user in the admin leads to what they said."""

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.test import TestCase, override_settings
from django.urls import reverse

from streaming_chat.privacy.audit import record
from tests.factories import make_conversation, make_staff, make_user


class UserPageTests(TestCase):
    @classmethod
    def setUpTestData(cls):
        cls.conversation = make_conversation()
        cls.user = cls.conversation.owner
        cls.page = reverse("admin:auth_user_change", args=[cls.user.pk])

    def sign_in(self, *permissions):
        staff = make_staff("staff", *permissions)
        staff.user_permissions.add(Permission.objects.get(codename="view_user"))
        self.client.force_login(staff)

    def link(self):
        return f"{reverse('admin:streaming_chat_conversation_changelist')}?owner_key=u:{self.user.pk}"

    def test_it_links_their_conversations(self):
        make_conversation(owner=make_user("another"))
        self.sign_in("view_conversation")

        self.assertContains(self.client.get(self.page), f'href="{self.link()}"', count=1)

        listed = self.client.get(self.link()).context["cl"].result_list

        assert [each.pk for each in listed] == [self.conversation.pk]

    def test_it_links_their_usage(self):
        self.sign_in("view_conversation")
        usage = reverse("admin:streaming_chat_conversation_owner", args=[f"u:{self.user.pk}"])

        self.assertContains(self.client.get(self.page), f'href="{usage}"', count=1)
        self.assertContains(self.client.get(usage), f'href="{self.page}"')

    @override_settings(USE_THOUSAND_SEPARATOR=True)
    def test_large_ids_are_not_grouped(self):
        self.user = get_user_model().objects.create(pk=1_234_567, username="late")
        self.sign_in("view_conversation")

        page = self.client.get(reverse("admin:auth_user_change", args=[self.user.pk]))

        self.assertContains(page, f'href="{self.link()}"')

    def test_it_links_who_read_them(self):
        link = f"{reverse('admin:streaming_chat_accessrecord_changelist')}?owner_key=u:{self.user.pk}"
        opened = record("open", make_user("rita"), conversation=self.conversation.pk)
        record("open", make_user("rita"), conversation=make_conversation(make_user("another")).pk)
        self.sign_in("view_accessrecord")
        page = self.client.get(self.page)

        self.assertContains(page, f'<a href="{link}">Who read their conversations</a>', html=True)
        self.assertNotContains(page, "streaming_chat/conversation")
        assert list(self.client.get(link).context["cl"].result_list) == [opened]

    def test_what_django_has_there_stays(self):
        self.sign_in("view_conversation")

        self.assertContains(self.client.get(self.page), 'class="historylink"')

    def test_there_is_no_link_that_would_be_refused(self):
        self.sign_in()
        page = self.client.get(self.page)

        self.assertNotContains(page, "streaming_chat/conversation")
        self.assertNotContains(page, "streaming_chat/accessrecord")
