"""System checks, each with an id and a hint. They create the configured backends, and use neither network nor database.

Importing a module registers its checks. The table of ids is in docs/checks.md.
"""

from .alerts import check_alerts
from .backends import check_backends
from .databases import check_databases
from .language_models import check_model_options, check_models, check_prices
from .reply_formats import check_encoders, check_outputs
from .site import check_login, check_server, check_site
from .tag import TAG
from .tools import check_tools
from .values import check_intervals, check_names, check_redaction_patterns, check_telemetry, check_values
from .visitors import check_visitors

__all__ = [
    "TAG",
    "check_alerts",
    "check_backends",
    "check_databases",
    "check_encoders",
    "check_intervals",
    "check_login",
    "check_model_options",
    "check_models",
    "check_names",
    "check_outputs",
    "check_prices",
    "check_redaction_patterns",
    "check_server",
    "check_site",
    "check_telemetry",
    "check_tools",
    "check_values",
    "check_visitors",
]
