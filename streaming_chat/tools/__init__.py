"""Tools of the site: Python functions that a model may call while it writes a reply.

A site declares them in a `Toolbox`, names it in STREAMING_CHAT_TOOLS, and lists that name in the `tools` of a model's
options. Nothing here runs a reply: the engine asks `tools_for` which tools a model has, and calls them. pydantic, of the
extra `tools`, is imported at the first declaration.
"""

from .context import ToolContext
from .mcp_toolbox import McpToolbox
from .registry import tools_for, tools_of_model
from .results import result_text
from .tool import InvalidArguments, Tool, ToolError
from .toolbox import Toolbox

__all__ = [
    "InvalidArguments",
    "McpToolbox",
    "Tool",
    "ToolContext",
    "ToolError",
    "Toolbox",
    "result_text",
    "tools_for",
    "tools_of_model",
]
