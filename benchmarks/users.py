"""Makes the tables, and users who are signed in; prints their sessions as a JSON list.

python -m benchmarks.users 100
"""

import json
import os
import sys
from datetime import timedelta

import django

# Of the first user.
SESSION = f"benchmark{0:023}"


def make(count: int) -> list[str]:
    """Return the sessions of so many new users."""
    from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY, get_user_model
    from django.contrib.sessions.backends.db import SessionStore
    from django.contrib.sessions.models import Session
    from django.core.management import call_command
    from django.utils.timezone import now

    call_command("migrate", verbosity=0)
    model = get_user_model()
    users = model.objects.bulk_create(model(username=f"user{number}") for number in range(count))
    store = SessionStore()
    sessions = [
        Session(
            session_key=f"benchmark{number:023}",
            session_data=store.encode(
                {
                    SESSION_KEY: str(user.pk),
                    BACKEND_SESSION_KEY: "django.contrib.auth.backends.ModelBackend",
                    HASH_SESSION_KEY: user.get_session_auth_hash(),
                }
            ),
            expire_date=now() + timedelta(days=1),
        )
        for number, user in enumerate(users)
    ]
    Session.objects.bulk_create(sessions)
    return [session.session_key for session in sessions]


if __name__ == "__main__":
    os.environ["DJANGO_SETTINGS_MODULE"] = "benchmarks.settings"
    django.setup()
    sys.stdout.write(json.dumps(make(int(sys.argv[1]))))
