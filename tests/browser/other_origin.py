"""Settings of a site whose API the pages of another origin call: the first RECIPES blocks of docs/client.md, for ORIGIN."""

import os
import re
from pathlib import Path

from tests.browser.settings import *  # noqa: F403  (these settings are those of the browser tests and a recipe)

_PAGE = (Path(__file__).resolve().parent.parent.parent / "docs" / "client.md").read_text()

for _recipe in re.findall(r"```python\n(.*?)```", _PAGE, re.DOTALL)[: int(os.environ["RECIPES"])]:
    exec(_recipe.replace("https://www.example.com", os.environ["ORIGIN"]))  # noqa: S102  (the page's own example)

STREAMING_CHAT_MAX_LIVE_REPLIES_PER_OWNER = 1
