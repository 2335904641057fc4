"""A module of a site whose tool cannot be declared."""

from streaming_chat.tools import Toolbox

tools = Toolbox()


@tools.tool
def find(context, words):
    """Find something."""
