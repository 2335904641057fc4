"""Users and transcripts to look at, for the demo."""

import html
import re
from io import StringIO
from pathlib import Path

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.core.management import call_command
from django.core.management.base import BaseCommand
from django.utils.crypto import salted_hmac
from django.utils.html import strip_tags
from django.utils.text import slugify

from chatproject.models import Passage
from chatproject.samples import create_samples

ARTICLE = Path(__file__).parents[3] / "templates" / "article.html"
PERMISSIONS = ["view_conversation", "view_transcript", "review_conversation"]


def password_of(username: str) -> str:
    """Return the demo's password of this user: the same at every start, another for every SECRET_KEY."""
    return salted_hmac("chatproject.seeddemo", username, algorithm="sha256").hexdigest()[:12]


class Command(BaseCommand):
    """Make the demo's users, and its transcripts where the demo user has none. May run as often as you like."""

    help = "Make users with printed passwords, and some transcripts to look at. Not for production."

    def handle(self, *args, **options):
        """Make what is missing and print who may sign in."""
        self._user("staff", "sees everything in the admin", is_staff=True, is_superuser=True)
        reviewer = self._user("reviewer", "reads and judges transcripts in the admin, nothing else", is_staff=True)
        reviewer.user_permissions.set(
            Permission.objects.filter(content_type__app_label="streaming_chat", codename__in=PERMISSIONS)
        )
        self._make_passages()
        owner = self._user("demo", "chats; has sample conversations")
        if not owner.streaming_chat_conversations.exists():
            create_samples(owner)
            # Written past the app, as by an import: what the app keeps up by itself is made up for.
            call_command("rebuildsearch", stdout=StringIO())
            call_command("rollup", stdout=StringIO())

    def _make_passages(self):
        """Make what the chat can look up of the article: its sections."""
        for title, text in re.findall(r"<h2>(.*?)</h2>(.*?)(?=<h2>|</article>)", ARTICLE.read_text(), re.DOTALL):
            columns = {"title": html.unescape(title), "text": html.unescape(strip_tags(text)).strip()}
            Passage.objects.update_or_create(slug=slugify(title), defaults=columns)

    def _user(self, username: str, description: str, **flags):
        user, _ = get_user_model().objects.update_or_create(username=username, defaults=flags)
        password = password_of(username)
        if not user.check_password(password):
            user.set_password(password)
            user.save(update_fields=["password"])
        self.stdout.write(f"{username:<9} password {password}   {description}")
        return user
