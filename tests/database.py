"""The database that a test is using, for servers that it starts in processes of their own."""

from django.db import connection


def database_url() -> str:
    """Return the test database as a DATABASE_URL; SQLite and PostgreSQL only."""
    settings = connection.settings_dict
    if connection.vendor == "sqlite":
        return f"sqlite:///{settings['NAME']}"
    return "postgres://{USER}:{PASSWORD}@{HOST}:{PORT}/{NAME}".format(**settings)
