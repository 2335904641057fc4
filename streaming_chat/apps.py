"""The app's configuration."""

import uuid

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class StreamingChatConfig(AppConfig):
    """Chat with language models."""

    name = "streaming_chat"
    verbose_name = _("Chat")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register the system checks, and what search, review and privacy do inside other transactions."""
        # Here, because models are not loaded before.
        from . import checks  # noqa: F401  (importing the checks registers them)
        from .alerts import sender
        from .chats import model_titles
        from .conf import conf
        from .db import hooks
        from .privacy import deletion
        from .providers import preparation
        from .review import queues
        from .search import entries

        hooks.texts_saved.register(entries.add)
        hooks.conversation_changed.register(queues.columns_on_change)
        hooks.reply_parked.register(_go_on)
        deletion.connect()
        sender.connect()
        preparation.prepare_with_first_request()
        # A receiver costs each ending a thread's turn, also if it does nothing.
        if conf.STREAMING_CHAT_TITLE_MODEL:
            model_titles.connect()


def _go_on(message_id: uuid.UUID) -> None:
    # Not imported before a worker has died while tools ran.
    from .chats.call_answers import go_on

    go_on(message_id)
