"""Makes the site's tables and users, and prints who is signed in: a JSON object of user name -> session key.

python -m tests.chaos.site 12
"""

import json
import os
import sys

import django


def make(count: int) -> dict[str, str]:
    """Return the sessions of so many users."""
    from django.core.management import call_command

    from tests.factories import make_user
    from tests.servers import _session

    call_command("migrate", verbosity=0)
    return {name: _session(make_user(name)) for name in (f"user{number}" for number in range(count))}


if __name__ == "__main__":
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.chaos.settings"
    django.setup()
    sys.stdout.write(json.dumps(make(int(sys.argv[1]))))
