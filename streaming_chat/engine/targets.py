"""A model that a run may ask, and what it is asked."""

from __future__ import annotations

from typing import Any, NamedTuple

from streaming_chat.providers.base import Prompt, Provider, Tools
from streaming_chat.providers.context import Context, with_context


class Target(NamedTuple):
    """A model that a run may ask. quote: as in `Joint`, of a continuation."""

    provider: Provider
    prompt: Prompt
    quote: str = ""

    @property
    def name(self) -> str:
        """The model, as `alias:model`."""
        return f"{self.provider.alias}:{self.prompt.model}"

    @property
    def columns(self) -> dict[str, Any]:
        """The columns of a message that say which model answered."""
        return {"provider": self.provider.alias, "model": self.name, "effort": self.prompt.options.effort or ""}

    def with_context(self, context: Context) -> Target:
        """Return the same with what the site has looked up."""
        return self._replace(prompt=with_context(self.prompt, context))

    def with_tools(self, tools: Tools) -> Target:
        """Return the same with tools of the site, if the provider can be given any."""
        return self._replace(prompt=self.prompt.replace(tools=tools)) if self.provider.takes_tools else self

    def __repr__(self) -> str:
        return "Target()"
