"""The app's configuration."""

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class StreamingChatConfig(AppConfig):
    """Chat with language models."""

    name = "streaming_chat"
    verbose_name = _("Chat")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register the system checks."""
        from . import checks  # noqa: F401  (registers; models are not loaded before)
