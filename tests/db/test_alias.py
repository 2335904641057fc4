"""The database that replies are written to."""

from django.test import SimpleTestCase, override_settings

from streaming_chat.db.alias import live_database


class OtherDatabase:
    """A site's router that keeps the chat elsewhere."""

    def db_for_write(self, model, **hints):
        return "chat" if model._meta.app_label == "streaming_chat" else None


class AliasTests(SimpleTestCase):
    def test_the_default(self):
        assert live_database() == "default"

    @override_settings(DATABASE_ROUTERS=["tests.db.test_alias.OtherDatabase"])
    def test_a_router_of_the_site_names_another(self):
        assert live_database() == "chat"
