"""The tools of a model: STREAMING_CHAT_TOOLS names the toolboxes, and the options of the model choose among them."""

from __future__ import annotations

from django.utils.module_loading import import_string

from streaming_chat.conf import conf
from streaming_chat.logs import logger
from streaming_chat.providers.model_options import ModelOptions, options_of

from .context import ToolContext
from .tool import Tool
from .toolbox import Toolbox


def toolbox_named(name: str) -> Toolbox:
    """Return a toolbox of STREAMING_CHAT_TOOLS. Raises KeyError, ImportError, TypeError, and what its module raises."""
    found = import_string(conf.STREAMING_CHAT_TOOLS[name])
    if not isinstance(found, Toolbox):
        raise TypeError(f"expected a streaming_chat.tools.Toolbox, got {type(found).__name__}.")
    return found


def tools_of_model(options: ModelOptions) -> dict[str, Toolbox]:
    """Return the toolboxes of a model by name, in their order. Raises what check_tools reports."""
    return {name: toolbox_named(name) for name in options.tools}


async def tools_for(model: str, context: ToolContext) -> dict[str, Tool]:
    """Return the tools of `alias:model` in a conversation, by name. Raises what check_tools reports.

    Of two with one name, the first is taken: a server cannot replace a tool of a toolbox before it.
    """
    found: dict[str, Tool] = {}
    for toolbox_name, toolbox in tools_of_model(options_of(model)).items():
        for tool in await toolbox.tools(context):
            if found.setdefault(tool.name, tool) is not tool:
                logger.warning("%s has two tools named %s: that of %s is left out.", model, tool.name, toolbox_name)
    return found
