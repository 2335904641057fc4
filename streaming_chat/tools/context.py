"""For whom a tool is called: the first argument of its function."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any

from django.contrib.auth import get_user_model


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class ToolContext:
    """The owner of the conversation, on whose behalf a tool acts, and the call. It never refers to the request.

    user_id: the primary key of the user, None for a visitor. owner_key: as in `Conversation.owner_key`: also known for a
    visitor. conversation_id, message_id: None where nothing is saved. call_id: the provider's id of the call. key: the same
    for every attempt of this call, for a tool with `idempotent=True`; otherwise "".
    """

    user_id: Any = None
    owner_key: str = ""
    conversation_id: uuid.UUID | None = None
    message_id: uuid.UUID | None = None
    call_id: str = ""
    key: str = ""

    def user(self) -> Any:
        """Return the owner as saved now; None for a visitor, and for a user who was deleted or deactivated. Blocking."""
        user = self.user_id and get_user_model()._default_manager.filter(pk=self.user_id).first()
        return user if user and user.is_active else None

    async def auser(self) -> Any:
        """Return what `user` returns, for asynchronous tools."""
        user = self.user_id and await get_user_model()._default_manager.filter(pk=self.user_id).afirst()
        return user if user and user.is_active else None

    def __repr__(self) -> str:
        return "ToolContext()"
