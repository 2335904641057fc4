"""A module of a site that uses an attribute that does not exist, before its toolbox."""

import decimal

from streaming_chat.tools import Toolbox

LIMIT = decimal.Desimal(100)  # type: ignore[attr-defined]  # what is tested
tools = Toolbox()
