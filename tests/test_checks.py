"""Each trap is found where it is, and not where it is not."""

import ast
import os
import re
import subprocess
import sys
from unittest.mock import patch

import pytest
from django import urls
from django.conf import settings
from django.conf.urls.i18n import i18n_patterns
from django.contrib.auth.middleware import AuthenticationMiddleware
from django.contrib.auth.views import LoginView
from django.core import checks as django_checks
from django.core.checks import Warning  # noqa: A004  (Django's own name)
from django.db import connection
from django.test import SimpleTestCase, TestCase, override_settings
from django.urls import set_script_prefix

from streaming_chat import checks
from streaming_chat.accounts.permissions import Permissions
from streaming_chat.providers.base import Provider
from streaming_chat.quotas import Quota

REDIS = "streaming_chat.notifiers.redis.RedisNotifier"
POSTGRES = "streaming_chat.notifiers.postgres.PostgresNotifier"
OPENAI = "streaming_chat.providers.openai.OpenAIProvider"
SETTINGS = "streaming_chat."


class OwnProvider(Provider):
    def __init__(self, alias, *, api_key, base_url=None):
        super().__init__(alias)

    def stream(self, prompt):
        raise NotImplementedError


class Careful(Quota):
    """A quota that reports about itself."""

    def check(self):
        return [Warning("There is no limit.", hint="Set one.", id="site.W001")]


class Leaky(Permissions):
    """Its constructor fails with a message that shows an option."""

    def __init__(self, *, token):
        raise RuntimeError(f"{token} was rejected")


class Translated:
    """URLs that begin with the language."""

    urlpatterns = i18n_patterns(urls.path("accounts/login/", LoginView.as_view(), name="login"))


class OwnAuthenticationMiddleware(AuthenticationMiddleware):
    pass


def hook(request, conversation, messages):
    return "", messages


def provider(**options):
    """Return the settings of one provider, `own`, and its model."""
    entry = {"BACKEND": f"{__name__}.OwnProvider", "OPTIONS": {"api_key": "secret-key", **options}}
    return {"STREAMING_CHAT_PROVIDERS": {"own": entry}, "STREAMING_CHAT_MODELS": ["own:model"]}


class ChecksTestCase(SimpleTestCase):
    databases = frozenset({"default"})

    def ids(self, check, **changed):
        """Return the ids of what a check finds with these settings, by the names that docs/checks.md has."""
        return [message.id.removeprefix(SETTINGS) for message in self.messages(check, **changed)]

    def messages(self, check, **changed):
        with override_settings(**changed):
            found = check()
        for message in found:
            assert message.hint

        return found


class NameTests(ChecksTestCase):
    def test_names_that_exist(self):
        assert self.ids(checks.check_names, STREAMING_CHAT_FLUSH_SECONDS=1) == []

    def test_a_name_that_is_nearly_one(self):
        [message] = self.messages(checks.check_names, STREAMING_CHAT_FLUSH_SECOND=1)

        assert message.id == "streaming_chat.W001"
        assert message.hint == "Did you mean STREAMING_CHAT_FLUSH_SECONDS?"

    def test_a_name_like_no_other(self):
        [message] = self.messages(checks.check_names, STREAMING_CHAT_COLOUR="a")

        assert message.hint == "Remove it: it has no effect."


class ValueTests(ChecksTestCase):
    def test_defaults(self):
        assert self.ids(checks.check_values) == []

    def test_right_values(self):
        for name, values in {
            "STREAMING_CHAT_MODELS": [["a:b"], ("a:b",)],
            "STREAMING_CHAT_PROMPT": ["a.b"],
            "STREAMING_CHAT_JOURNAL_DIR": [settings.BASE_DIR, "/var/spool"],
            "STREAMING_CHAT_DISCONNECT_GRACE_SECONDS": [None, 0, 1.5],
            "STREAMING_CHAT_DRAIN_SECONDS": [0, 1],
            "STREAMING_CHAT_REVIEW_SAMPLE_PERCENT": [0, 0.5, 100],
            "STREAMING_CHAT_REVIEW_LABELS": [[], ("wrong",)],
            "STREAMING_CHAT_REVIEW_REASONS": [[], ("stopped",), ["rated_bad", "failed", "interrupted", "stopped"]],
            "STREAMING_CHAT_FLUSH_SECONDS": [1, 0.1],
            "STREAMING_CHAT_MAX_READERS": [1],
            "STREAMING_CHAT_ALLOW_ANONYMOUS": [True],
        }.items():
            for value in values:
                with self.subTest(name, value=value):
                    assert self.ids(checks.check_values, **{name: value}) == []

    def test_wrong_values(self):
        for name, values in {
            "STREAMING_CHAT_MODELS": ["demo:demo", None, [1]],
            "STREAMING_CHAT_PROMPT": [hook],
            "STREAMING_CHAT_SYSTEM_PROMPT": [None, 1],
            "STREAMING_CHAT_DISCONNECT_GRACE_SECONDS": [-1, "1", True],
            "STREAMING_CHAT_DRAIN_SECONDS": [-1, None],
            "STREAMING_CHAT_REVIEW_SAMPLE_PERCENT": [-1, 101, None, True],
            "STREAMING_CHAT_REVIEW_LABELS": ["wrong", None, [1]],
            "STREAMING_CHAT_REVIEW_REASONS": ["stopped", None, ["completed"], [1], [["stopped"]]],
            "STREAMING_CHAT_FLUSH_SECONDS": [0, "0.5", None, float("nan"), float("inf"), True],
            "STREAMING_CHAT_HEARTBEAT_SECONDS": [0, -1],
            "STREAMING_CHAT_MAX_READERS": [0, 1.5, "1", True],
            "STREAMING_CHAT_ALLOW_ANONYMOUS": ["no", 0],
        }.items():
            for value in values:
                with self.subTest(name, value=value):
                    assert self.ids(checks.check_values, **{name: value}) == ["E001"]


class RedactionPatternTests(ChecksTestCase):
    def test_patterns(self):
        assert self.ids(checks.check_redaction_patterns) == []
        for patterns in ({"a": "("}, {"a": ""}, {"a": "x*"}, {"a": 1}, {"": "x"}, {1: "x"}, ["x"]):
            with self.subTest(patterns):
                assert self.ids(checks.check_redaction_patterns, STREAMING_CHAT_REDACTION_PATTERNS=patterns) == ["E013"]


class AlertTests(ChecksTestCase):
    secret = f"whsec_{'A' * 32}"

    def found(self, **changed):
        return self.ids(checks.check_alerts, **{f"STREAMING_CHAT_{name}": value for name, value in changed.items()})

    def test_what_can_be_sent(self):
        assert self.found() == []
        assert self.found(ALERT_WEBHOOK_URL="https://example.com/a", ALERT_WEBHOOK_SECRET=self.secret) == []
        assert self.found(ALERT_EMAILS=["ops@example.com"], ALERT_LABELS=["a"], REVIEW_LABELS=["a", "b"]) == []

    def test_a_webhook_that_cannot_be_sent(self):
        assert self.found(ALERT_WEBHOOK_URL="example.com", ALERT_WEBHOOK_SECRET=self.secret) == ["E014"]
        assert self.found(ALERT_WEBHOOK_URL="https://example.com") == ["E014"]
        assert self.found(ALERT_WEBHOOK_URL="https://a:b@example.com", ALERT_WEBHOOK_SECRET="x") == ["E014", "E014"]

    def test_what_is_no_email_address(self):
        assert self.found(ALERT_EMAILS=["ops@example.com", "ops"]) == ["E014"]

    def test_labels_that_nobody_can_give(self):
        assert self.found(ALERT_LABELS=["a", "b"], REVIEW_LABELS=["a"]) == ["W013"]

    def test_values_of_wrong_types_are_left_to_their_own_check(self):
        assert self.found(ALERT_EMAILS=5, ALERT_WEBHOOK_URL="x") == []


class IntervalTests(ChecksTestCase):
    def test_a_lease_that_a_late_flush_would_lose(self):
        [message] = self.messages(checks.check_intervals, STREAMING_CHAT_FLUSH_SECONDS=5)

        assert message.id == "streaming_chat.E002"
        assert "150" in message.hint
        assert self.ids(checks.check_intervals, STREAMING_CHAT_FLUSH_SECONDS=4.9) == []

    def test_a_heartbeat_that_proxies_do_not_wait_for(self):
        assert self.ids(checks.check_intervals, STREAMING_CHAT_HEARTBEAT_SECONDS=60) == ["W002"]
        assert self.ids(checks.check_intervals, STREAMING_CHAT_HEARTBEAT_SECONDS=30) == []

    def test_invalid_intervals_are_left_to_their_own_check(self):
        assert self.ids(checks.check_intervals, STREAMING_CHAT_FLUSH_SECONDS="5") == []


class BackendTests(ChecksTestCase):
    def test_what_can_be_made(self):
        assert self.ids(checks.check_backends, **provider()) == []
        assert self.ids(checks.check_backends, **provider(base_url="http://localhost")) == []

    def test_what_is_no_entry(self):
        for providers in (
            None,
            [],
            {"own": None},
            {"own": f"{__name__}.OwnProvider"},
            {"own": {}},
            {"own": {"BACKEND": 1}},
        ):
            with self.subTest(providers):
                assert self.ids(checks.check_backends, STREAMING_CHAT_PROVIDERS=providers) == ["E003"]

    def test_what_cannot_be_imported(self):
        for path in ("nowhere.Provider", f"{__name__}.Nothing", "Provider"):
            with self.subTest(path):
                found = self.ids(checks.check_backends, STREAMING_CHAT_PROVIDERS={"own": {"BACKEND": path}})

                assert found == ["E003"]
        for name in ("STREAMING_CHAT_NOTIFIER", "STREAMING_CHAT_PERMISSIONS"):
            with self.subTest(name):
                found = self.ids(checks.check_backends, **provider(), **{name: {"BACKEND": "nowhere.Tail"}})

                assert found == ["E003"]

    def test_a_prompt_hook(self):
        good, bad = f"{__name__}.hook", f"{__name__}.hock"

        assert self.ids(checks.check_backends, **provider(), STREAMING_CHAT_PROMPT=good) == []
        assert self.ids(checks.check_backends, **provider(), STREAMING_CHAT_PROMPT=bad) == ["E003"]

    def found(self, path, setting="STREAMING_CHAT_NOTIFIER", **options):
        """Return the error about a backend that cannot be created."""
        [message] = self.messages(checks.check_backends, **{setting: {"BACKEND": path, "OPTIONS": options}})

        assert message.id == "streaming_chat.E004"
        return message.msg

    def test_packages_that_are_not_installed(self):
        entry = {"BACKEND": OPENAI, "OPTIONS": {"api_key": "secret-key"}}
        for missing in ("openai", "aiohttp"):
            with self.subTest(missing), patch.dict(sys.modules, {missing: None}):
                [message] = self.messages(checks.check_backends, STREAMING_CHAT_PROVIDERS={"own": entry})

                assert message.id == "streaming_chat.E004"
                assert "pip install 'streaming-chat[openai]'" in message.msg

    def test_reasoning_that_the_api_does_not_return(self):
        def found(backend=OPENAI, name="own:gpt-6-luna", base_url=None, **options):
            entry = {"BACKEND": backend, "OPTIONS": {"api_key": "secret-key", "base_url": base_url}}
            table = {name: {"show_reasoning": True, **options}}
            return self.ids(
                checks.check_backends, STREAMING_CHAT_PROVIDERS={"own": entry}, STREAMING_CHAT_MODEL_OPTIONS=table
            )

        assert found() == found(name="own:*") == found(base_url="https://api.openai.com/v1") == ["W012"]
        assert found(base_url="http://localhost:8000/v1") == []
        assert found(name="other:gpt-6-luna") == []
        assert found(show_reasoning=False) == []
        assert found("streaming_chat.providers.openai_responses.OpenAIResponsesProvider") == []

    def test_an_address_that_redis_does_not_know(self):
        """The writer would fail at each attempt to create the notifier, and replies would not be saved."""
        assert "redis+tls" in self.found(REDIS, url="redis+tls://localhost")

    def test_notifications_without_psycopg_3(self):
        with patch.dict(sys.modules, {"psycopg": None}):
            assert "psycopg" in self.found(POSTGRES, listen_dsn="host=localhost password=secret-key")

    def test_provider_options_out_of_range(self):
        """A key that is None or empty is one that the environment does not have; a file leaves a line break."""
        for options in (
            {"api_key": None},
            {"api_key": ""},
            {"api_key": " "},
            {"api_key": "secret-key\n"},
            {"base_url": "localhost:8000/v1"},
            {"base_url": "https://me:secret-key@e.example/v1"},
            {"stall_timeout": 0},
            {"connect_timeout": "5"},
            {"first_event_timeout": None},
            {"max_output_tokens": 0},
            {"max_prompt_chars": 1.5},
        ):
            with self.subTest(options):
                entry = {"BACKEND": OPENAI, "OPTIONS": {"api_key": "secret-key", **options}}
                [message] = self.messages(checks.check_backends, STREAMING_CHAT_PROVIDERS={"own": entry})

                assert message.id == "streaming_chat.E004"
                assert next(iter(options)) in message.msg

    def test_a_class_of_another_kind(self):
        for setting, wanted in (
            ("STREAMING_CHAT_NOTIFIER", "Notifier"),
            ("STREAMING_CHAT_QUOTA", "Quota"),
            ("STREAMING_CHAT_PERMISSIONS", "Permissions"),
        ):
            with self.subTest(setting):
                [message] = self.messages(checks.check_backends, **{setting: {"BACKEND": "builtins.dict"}})

                assert message.id == "streaming_chat.E003"
                assert message.hint == f"It must be a subclass of {wanted}."

    def test_a_constructor_that_fails_shows_no_option(self):
        message = self.found(f"{__name__}.Leaky", "STREAMING_CHAT_PERMISSIONS", token="secret-key")

        assert "RuntimeError" in message
        assert "secret-key" not in message

    def test_what_a_backend_reports_itself(self):
        found = self.messages(checks.check_backends, STREAMING_CHAT_QUOTA={"BACKEND": f"{__name__}.Careful"})

        assert [message.id for message in found] == ["site.W001"]

    def test_options_that_do_not_fit(self):
        for options in ({"apikey": "secret-key"}, {"api_key": "secret-key", "timeout": 1}, {}, None, ["api_key"]):
            with self.subTest(options):
                entry = {"BACKEND": f"{__name__}.OwnProvider", "OPTIONS": options}
                [message] = self.messages(checks.check_backends, STREAMING_CHAT_PROVIDERS={"own": entry})

                assert message.id == "streaming_chat.E004"
                assert "secret-key" not in f"{message.msg} {message.hint}"

    @pytest.mark.slow
    def test_no_sdk_is_imported(self):
        """They take 0.5 to 2.8 s, and manage.py runs checks at every start."""
        environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "chatproject.settings", "DEBUG": "1"}
        keys = {"OPENAI_API_KEY": "key", "ANTHROPIC_API_KEY": "key"}
        code = """
import sys, django
from django.core.checks import run_checks
django.setup()
run_checks(tags=["streaming_chat"])
provider = "streaming_chat.providers.openai_responses"
print({"openai", "anthropic", "aiohttp", "redis"} & set(sys.modules), provider in sys.modules)
"""
        done = subprocess.run(
            [sys.executable, "-c", code], env=environment | keys, cwd=settings.BASE_DIR, capture_output=True, check=True
        )

        assert done.stdout == b"set() True\n"


class ModelTests(ChecksTestCase):
    def found(self, *models):
        return self.ids(checks.check_models, **{**provider(), "STREAMING_CHAT_MODELS": list(models)})

    def test_models_of_configured_providers(self):
        assert self.found("own:model", "own:*", "own:a:b") == []

    def test_no_models(self):
        assert self.found() == ["E006"]

    def test_models_without_a_provider(self):
        assert self.found("own:model", "other:model") == ["E006"]
        assert self.found("own:model", "other:*") == ["E006"]

    def test_what_is_no_model(self):
        for model in ("own", "own:", ":model", ""):
            with self.subTest(model):
                assert self.found("own:model", model) == ["E006"]

    def test_wildcards_only(self):
        assert self.found("own:*") == ["W003"]

    def test_values_of_wrong_types_are_left_to_their_own_check(self):
        assert self.ids(checks.check_models, STREAMING_CHAT_MODELS="own:model") == []
        assert self.ids(checks.check_models, STREAMING_CHAT_PROVIDERS=None) == []


class Apart:
    """A router that writes feedback elsewhere."""

    def db_for_write(self, model, **hints):
        return "elsewhere" if model.__name__ == "Feedback" else "default"


class Together:
    """A router that reads elsewhere, as the app expects of replicas."""

    def db_for_read(self, model, **hints):
        return "replica"

    def db_for_write(self, model, **hints):
        return "default"


class DatabaseTests(ChecksTestCase):
    def found(self, vendor="postgresql", **database):
        with patch.object(connection, "vendor", vendor), patch.dict(connection.settings_dict, database):
            return self.ids(checks.check_databases)

    def test_what_the_example_site_has(self):
        options = {"transaction_mode": "IMMEDIATE"}

        assert self.found("sqlite", OPTIONS=options, CONN_MAX_AGE=0) == []
        assert self.found("postgresql", OPTIONS={}, CONN_MAX_AGE=0) == []

    def test_sqlite_that_reads_first(self):
        for options in ({}, {"transaction_mode": None}, {"transaction_mode": "DEFERRED"}):
            with self.subTest(options):
                assert self.found("sqlite", OPTIONS=options) == ["W004"]
        assert self.found("sqlite", OPTIONS={"transaction_mode": "exclusive"}) == []

    def test_connections_that_are_kept(self):
        assert self.found(CONN_MAX_AGE=60) == ["W005"]
        assert self.found(CONN_MAX_AGE=None) == ["W005"]

    def test_tables_in_several_databases(self):
        with override_settings(DATABASE_ROUTERS=[f"{__name__}.Apart"]):
            [message] = [found for found in self.messages(checks.check_databases) if found.id.endswith("E007")]

        assert "default, elsewhere" in message.msg

    def test_replicas(self):
        with override_settings(DATABASE_ROUTERS=[f"{__name__}.Together"]):
            assert "E007" not in self.ids(checks.check_databases)


class SiteTests(ChecksTestCase):
    def without(self, name):
        return [path for path in settings.MIDDLEWARE if not path.endswith(f".{name}")]

    def test_what_the_example_site_has(self):
        assert self.ids(checks.check_site) == []

    def test_nobody_can_be_signed_in(self):
        for name in ("SessionMiddleware", "AuthenticationMiddleware"):
            with self.subTest(name):
                assert self.ids(checks.check_site, MIDDLEWARE=self.without(name)) == ["W006"]

    def test_middleware_of_the_site_s_own(self):
        own = [
            *self.without("AuthenticationMiddleware"),
            "django.utils.deprecation.MiddlewareMixin",
            "tests.nowhere.Middleware",
            "django.views.decorators.http.require_safe",
            f"{__name__}.OwnAuthenticationMiddleware",
        ]

        assert self.ids(checks.check_site, MIDDLEWARE=own) == []

    def test_permissions_of_the_site_s_own(self):
        """They may know who asks by a token."""
        own = {"BACKEND": f"{__name__}.OwnProvider"}

        assert self.ids(checks.check_site, MIDDLEWARE=[], STREAMING_CHAT_PERMISSIONS=own) == []

    def test_clocks_that_jump(self):
        assert self.ids(checks.check_site, USE_TZ=False) == ["W007"]

    def test_a_login_that_leads_nowhere(self):
        """`/accounts/login/` is Django's default, and a new project has no such page."""
        patterns = {"ROOT_URLCONF": "streaming_chat.urls"}

        for login_url in ("/accounts/login/", "login", "admin:login"):
            with self.subTest(login_url):
                assert self.ids(checks.check_login, **patterns, LOGIN_URL=login_url) == ["W011"]
        assert self.ids(checks.check_login, LOGIN_URL="/signin/") == ["W011"]

    def test_a_login_that_is_there(self):
        for login_url in (
            "login",
            "/accounts/login/",
            "/accounts/login/?from=chat",
            "admin:login",
            "https://id.example.com/",
        ):
            with self.subTest(login_url):
                assert self.ids(checks.check_login, LOGIN_URL=login_url) == []

    def test_a_login_whose_address_begins_with_the_language(self):
        assert self.ids(checks.check_login, ROOT_URLCONF=Translated, LOGIN_URL="/accounts/login/") == []

    def test_a_login_below_a_prefix(self):
        self.addCleanup(set_script_prefix, "/")
        set_script_prefix("/sub/")

        for login_url in ("login", "/sub/accounts/login/"):
            with self.subTest(login_url):
                assert self.ids(checks.check_login, LOGIN_URL=login_url) == []

    def test_a_login_that_nobody_needs(self):
        missing = {"LOGIN_URL": "/signin/"}

        assert self.ids(checks.check_login, **missing, STREAMING_CHAT_ALLOW_ANONYMOUS=True) == []
        own = {"BACKEND": f"{__name__}.OwnProvider"}
        assert self.ids(checks.check_login, **missing, STREAMING_CHAT_PERMISSIONS=own) == []

    def test_visitors(self):
        assert self.ids(checks.check_visitors) == []
        assert self.ids(checks.check_visitors, STREAMING_CHAT_ALLOW_ANONYMOUS=True) == []
        assert self.ids(checks.check_visitors, STREAMING_CHAT_QUOTA=None) == []
        both = {"STREAMING_CHAT_ALLOW_ANONYMOUS": True, "STREAMING_CHAT_QUOTA": None}
        assert self.ids(checks.check_visitors, **both) == ["W008"]

    def test_visitors_without_sessions(self):
        middleware = [name for name in settings.MIDDLEWARE if "Session" not in name]
        quota = {"BACKEND": "streaming_chat.quotas.base.Quota"}
        named = {"MIDDLEWARE": middleware, "STREAMING_CHAT_QUOTA": quota}

        assert self.ids(checks.check_visitors, **named) == []
        assert self.ids(checks.check_visitors, **named, STREAMING_CHAT_ALLOW_ANONYMOUS=True) == ["E008"]

    def test_any_model_for_anybody(self):
        models = {"STREAMING_CHAT_MODELS": ["demo:demo", "demo:*"]}

        assert self.ids(checks.check_visitors, **models) == ["W008"]
        assert self.ids(checks.check_visitors, **models, STREAMING_CHAT_QUOTA={"BACKEND": "x"}) == []

    def test_the_hint_about_spending_fits_the_setting(self):
        """A limit for visitors does not help a site that has none."""
        for named, wanted, unwanted in (
            ({"STREAMING_CHAT_ALLOW_ANONYMOUS": True, "STREAMING_CHAT_QUOTA": None}, "visitors", "owner_tokens"),
            ({"STREAMING_CHAT_MODELS": ["demo:demo", "demo:*"]}, "owner_tokens", "visitors"),
        ):
            with self.subTest(wanted), override_settings(**named):
                [message] = checks.check_visitors()

                assert wanted in message.hint
                assert unwanted not in message.hint

    def test_the_quota_that_is_proposed_is_accepted(self):
        named = {"STREAMING_CHAT_MODELS": ["demo:demo", "demo:*"]}
        with override_settings(**named):
            [message] = checks.check_visitors()
        proposed = ast.literal_eval(re.search(r"STREAMING_CHAT_QUOTA = (\{.*\}\})", message.hint)[1])
        with override_settings(**named, STREAMING_CHAT_QUOTA=proposed):
            assert checks.check_visitors() + checks.check_backends() == []

    def test_a_quota_that_cannot_be_made(self):
        database = "streaming_chat.quotas.database.DatabaseQuota"
        for entry, found in (
            (None, []),
            ({"BACKEND": database}, []),
            ({"BACKEND": database, "OPTIONS": {"visitor_replies": 5, "address": "tests.native.error_of"}}, []),
            ({"BACKEND": f"{database}s"}, ["E003"]),
            ("DatabaseQuota", ["E003"]),
            ({"BACKEND": database, "OPTIONS": {"replies": 5}}, ["E004"]),
            ({"BACKEND": database, "OPTIONS": {"visitor_replies": "5"}}, ["E004"]),
            ({"BACKEND": database, "OPTIONS": {"visitor_replies": -1}}, ["E004"]),
            ({"BACKEND": database, "OPTIONS": {"address": "tests.native.nothing"}}, ["E004"]),
        ):
            with self.subTest(entry):
                assert self.ids(checks.check_backends, STREAMING_CHAT_QUOTA=entry) == found


class AllChecksTests(TestCase):
    def test_this_site_has_no_trap(self):
        assert django_checks.run_checks(tags=[checks.TAG]) == []

    def test_no_check_asks_the_database(self):
        with self.assertNumQueries(0):
            django_checks.run_checks(tags=[checks.TAG])

    def test_ids_are_documented(self):
        documented = (settings.BASE_DIR / "docs" / "checks.md").read_text(encoding="utf-8")
        modules = (settings.BASE_DIR / "streaming_chat").rglob("*.py")
        source = "".join(path.read_text(encoding="utf-8") for path in modules)

        assert re.findall(r"`streaming_chat\.([EW]\d+)`", documented) == sorted(
            set(re.findall(r"\.([EW]\d{3})", source))
        )


class ServerTests(ChecksTestCase):
    def test_a_site_for_asgi_servers(self):
        both = {"WSGI_APPLICATION": "mysite.wsgi.application", "ASGI_APPLICATION": "mysite.asgi.application"}

        assert self.ids(checks.check_server) == []
        assert self.ids(checks.check_server, **both) == []

    def test_a_site_for_wsgi_servers_only(self):
        wsgi = {"WSGI_APPLICATION": "mysite.wsgi.application", "ASGI_APPLICATION": None}

        assert self.ids(checks.check_server, **wsgi) == ["W009"]
        assert "streaming_chat.W009" not in [message.id for message in django_checks.run_checks(tags=[checks.TAG])]
