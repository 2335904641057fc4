"""Say in plain words whether replies stream through whatever stands before the app."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator
from importlib import import_module
from typing import Any

from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY, get_user_model
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import models
from django.middleware.csrf import CSRF_SESSION_KEY
from django.utils.crypto import get_random_string
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from streaming_chat.doctor.examination import Examination
from streaming_chat.doctor.findings import FAIL, OK, Finding
from streaming_chat.doctor.probe import Probe

_CSRF_CHARS = 32


class Command(BaseCommand):
    """Opens replies as a browser would, measures, leaves, resumes, stops; deletes what it made. Exit status 1: a FAIL."""

    help = (
        "Opens replies at URL, where the app is mounted, as a browser would: says whether they stream, and what is wrong. "
        "Run it where the app runs, with the app's environment. It asks the demo, which is free, unless --model says else."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Take the URL and who asks what."""
        parser.add_argument("url", metavar="URL", help="Where the app is mounted: https://chat.example.com/chat/")
        parser.add_argument("--user", help="Ask as this user. Without it a user is made, and deleted afterwards.")
        parser.add_argument("--model", default="", help="Ask this model, as alias:model. It costs what it costs.")
        parser.add_argument("--insecure", action="store_true", help="Take any certificate.")
        parser.add_argument("--quick", action="store_true", help="Do not wait for a heartbeat.")

    def handle(
        self, *args: Any, url: str, user: str | None, model: str, insecure: bool, quick: bool, **options: Any
    ) -> None:
        """Print one line for each finding. Raises CommandError where something fails."""
        with _user(user) as found, _session(found) as headers:
            try:
                probe = Probe(url, headers, is_insecure=insecure)
            except ValueError as error:
                raise CommandError(str(error)) from error
            examination = Examination(probe, model, is_quick=quick)
            try:
                failed = [finding for finding in examination.run() if self._show(finding)]
            finally:
                examination.clean_up()
        if failed:
            text = ngettext("%d check failed.", "%d checks failed.", len(failed)) % len(failed)
            raise CommandError(text, returncode=1)

    def _show(self, finding: Finding) -> bool:
        """Print a finding; True where it is a failure."""
        style = {OK: self.style.SUCCESS, FAIL: self.style.ERROR}.get(finding.level, self.style.WARNING)
        self.stdout.write(f"{style(f'{finding.level:<4}')}  {finding.check}: {finding.text}")
        return finding.level == FAIL


@contextlib.contextmanager
def _user(name: str | None) -> Iterator[Any]:
    """Give the user of this name, or one for as long as the block lasts. Raises CommandError."""
    model = get_user_model()
    users = model._default_manager
    if name is not None:
        try:
            yield users.get_by_natural_key(name)
        except model.DoesNotExist as error:
            raise CommandError(_("There is no user %r.") % name) from error
        return
    field = model._meta.get_field(model.USERNAME_FIELD)
    made = f"chatdoctor-{uuid.uuid4().hex[:8]}"
    user = model(
        **{model.USERNAME_FIELD: f"{made}@localhost.invalid" if isinstance(field, models.EmailField) else made}
    )
    user.set_unusable_password()
    try:
        user.save()
    # Whatever a site's own user demands.
    except Exception as error:
        told = _("No user could be made (%s). Is this the app's database (DATABASE_URL)? Then name a user by --user.")
        raise CommandError(told % type(error).__name__) from error
    try:
        yield user
    finally:
        user.delete()


@contextlib.contextmanager
def _session(user: Any) -> Iterator[dict[str, str]]:
    """Give the headers of a browser that this user is signed in with, for as long as the block lasts."""
    store = import_module(settings.SESSION_ENGINE).SessionStore()
    token = get_random_string(_CSRF_CHARS)
    store[SESSION_KEY] = str(user.pk)
    store[BACKEND_SESSION_KEY] = settings.AUTHENTICATION_BACKENDS[0]
    store[HASH_SESSION_KEY] = user.get_session_auth_hash()
    if settings.CSRF_USE_SESSIONS:
        store[CSRF_SESSION_KEY] = token
    store.save()
    cookies = f"{settings.SESSION_COOKIE_NAME}={store.session_key}; {settings.CSRF_COOKIE_NAME}={token}"
    try:
        yield {"Cookie": cookies, settings.CSRF_HEADER_NAME.removeprefix("HTTP_").replace("_", "-"): token}
    finally:
        store.delete()
