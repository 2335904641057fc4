"""The app's configuration."""

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class StreamingChatConfig(AppConfig):
    """Chat with language models."""

    name = "streaming_chat"
    verbose_name = _("Chat")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register the system checks, and listen to deletions."""
        # Here, since models are not loaded before.
        from . import checks, deletions  # noqa: F401  (importing the checks registers them)

        deletions.connect()
