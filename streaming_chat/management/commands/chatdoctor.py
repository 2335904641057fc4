"""Check whether replies stream through the proxies in front of the app."""

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

from streaming_chat.doctor.checkup import Checkup
from streaming_chat.doctor.findings import FAIL, OK, Finding
from streaming_chat.doctor.probe import Probe

_CSRF_CHARS = 32


class Command(BaseCommand):
    """Opens, resumes and stops replies as a browser does, and deletes them afterwards. Exit status 1 if a check fails."""

    help = (
        "Opens replies at the URL where the app is mounted, as a browser does, and reports whether they stream and what is "
        "wrong. Run it on the app's host, with its environment. By default it uses the demo model, which is free."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the URL and the options."""
        parser.add_argument("url", metavar="URL", help="Where the app is mounted: https://chat.example.com/chat/")
        parser.add_argument("--user", help="Username. By default, a user is created, and deleted afterwards.")
        parser.add_argument(
            "--model", default="", help="Model to use, as alias:model. Its provider charges for the replies."
        )
        parser.add_argument("--insecure", action="store_true", help="Accept any certificate.")
        parser.add_argument("--quick", action="store_true", help="Do not wait for a heartbeat.")

    def handle(
        self, *args: Any, url: str, user: str | None, model: str, insecure: bool, quick: bool, **options: Any
    ) -> None:
        """Print a line for each finding. Raises CommandError if a check fails."""
        with _user(user) as asking, _session(asking) as headers:
            try:
                probe = Probe(url, headers, is_insecure=insecure)
            except ValueError as error:
                raise CommandError(str(error)) from error
            checkup = Checkup(probe, model, is_quick=quick)
            try:
                failed = [finding for finding in checkup.run() if self._show(finding)]
            finally:
                checkup.clean_up()
        if failed:
            text = ngettext("%d check failed.", "%d checks failed.", len(failed)) % len(failed)
            raise CommandError(text, returncode=1)

    def _show(self, finding: Finding) -> bool:
        """Print a finding; True if it is a failure."""
        style = {OK: self.style.SUCCESS, FAIL: self.style.ERROR}.get(finding.level, self.style.WARNING)
        self.stdout.write(f"{style(f'{finding.level:<4}')}  {finding.check}: {finding.text}")
        return finding.level == FAIL


@contextlib.contextmanager
def _user(name: str | None) -> Iterator[Any]:
    """Yield the user with this name, or a temporary user. Raises CommandError."""
    model = get_user_model()
    users = model._default_manager
    if name is not None:
        try:
            yield users.get_by_natural_key(name)
        except model.DoesNotExist as error:
            raise CommandError(_("There is no user %r.") % name) from error
        return
    field = model._meta.get_field(model.USERNAME_FIELD)
    name = f"chatdoctor-{uuid.uuid4().hex[:8]}"
    user = model(
        **{model.USERNAME_FIELD: f"{name}@localhost.invalid" if isinstance(field, models.EmailField) else name}
    )
    user.set_unusable_password()
    try:
        user.save()
    # The site's own user model may require anything.
    except Exception as error:
        text = _(
            "No user could be created (%s). Is this the app's database (DATABASE_URL)? If it is, "
            "choose a user with --user."
        )
        raise CommandError(text % type(error).__name__) from error
    try:
        yield user
    finally:
        user.delete()


@contextlib.contextmanager
def _session(user: Any) -> Iterator[dict[str, str]]:
    """Yield the headers of a browser in which this user is signed in. The session ends with the block."""
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
