"""Settings of a server in a process of its own: the suite's, and what the test that starts it says in the environment."""

import json
import os

from .settings import *  # noqa: F403  (they are the suite's)

globals().update(json.loads(os.environ["STREAMING_CHAT_TEST_SETTINGS"]))
