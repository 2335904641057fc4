"""Writes streaming_chat/openapi.json: run `make openapi` after a change of the API.

It is the document that a site with the default settings serves at api/openapi.json. tests/test_openapi.py fails while the
file is not up to date.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

FILE = Path(__file__).parent.parent / "streaming_chat" / "openapi.json"


def render() -> str:
    """Return what the file should contain."""
    from streaming_chat.views.api.openapi import document

    return json.dumps(document(), indent=1) + "\n"


if __name__ == "__main__":
    import django

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    django.setup()
    FILE.write_text(render())
