"""The example site reads its settings from the environment; each test starts a process with one of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.test import SimpleTestCase

from streaming_chat.conf import DEFAULT_QUOTA

pytestmark = [pytest.mark.any_database, pytest.mark.slow]

ROOT = Path(__file__).resolve().parent.parent
PRODUCTION = {
    "SECRET_KEY": "a-long-random-value-0123456789-abcdefghijklmnopqrstuvwxyz",
    "ALLOWED_HOSTS": "chat.example.com",
    "CSRF_TRUSTED_ORIGINS": "https://chat.example.com",
    "DATABASE_URL": "sqlite:///:memory:",
}
PRINT = """
import json
from django.conf import settings
print(json.dumps([getattr(settings, name, "unset") for name in %r]))
"""


def run_with(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess:
    """Run Python in the project's folder with nothing but this environment."""
    base = {"PATH": os.environ["PATH"], "DJANGO_SETTINGS_MODULE": "chatproject.settings"}
    return subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, env={**base, **environment}, capture_output=True, text=True, check=False
    )


def settings_with(environment: dict[str, str], *names: str) -> list:
    """Return what these settings are with this environment on top of the production one."""
    done = run_with({**PRODUCTION, **environment}, "-c", PRINT % (list(names),))
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


class SecurityTests(SimpleTestCase):
    def test_check_deploy_is_clean(self):
        done = run_with(PRODUCTION, "manage.py", "check", "--deploy", "--fail-level", "WARNING")

        assert done.returncode == 0, done.stderr

    def test_a_secret_key_is_required(self):
        done = run_with({**PRODUCTION, "SECRET_KEY": ""}, "manage.py", "check")

        assert "SECRET_KEY" in done.stderr
        assert done.returncode != 0

    def test_what_cannot_be_read_is_named(self):
        for name, value in {"DATABASE_URL": "nonsense", "STREAMING_CHAT_FLUSH_SECONDS": "abc"}.items():
            with self.subTest(name):
                done = run_with({**PRODUCTION, name: value}, "manage.py", "check")

                assert f"ImproperlyConfigured: {name}" in done.stderr
                assert "must be" in done.stderr

    def test_https_is_demanded(self):
        names = ["SECURE_SSL_REDIRECT", "SESSION_COOKIE_SECURE", "CSRF_COOKIE_SECURE"]

        assert settings_with({}, *names) == [True, True, True]

    def test_plain_http_must_be_asked_for(self):
        names = ["SECURE_SSL_REDIRECT", "SESSION_COOKIE_SECURE", "CSRF_COOKIE_SECURE", "SECURE_HSTS_SECONDS", "DEBUG"]

        assert settings_with({"INSECURE_HTTP": "1"}, *names) == [False, False, False, 0, False]

    def test_every_page_has_the_policy(self):
        script = (
            "import django; django.setup()\n"
            "from django.test import Client\n"
            "print(Client().get('/accounts/login/', secure=True, HTTP_HOST='chat.example.com')['Content-Security-Policy'])"
        )
        done = run_with({**PRODUCTION}, "-c", script)

        assert "script-src 'self'; style-src 'self'" in done.stdout


class ScalarTests(SimpleTestCase):
    def test_numbers_booleans_lists_and_texts(self):
        environment = {
            "STREAMING_CHAT_FLUSH_SECONDS": "2.5",
            "STREAMING_CHAT_MAX_LIVE_REPLIES": "7",
            "STREAMING_CHAT_ALLOW_ANONYMOUS": "yes",
            "STREAMING_CHAT_MODELS": "demo:demo,openai:*",
            "STREAMING_CHAT_SYSTEM_PROMPT": "Answer, briefly.",
        }

        assert settings_with(environment, *environment) == [2.5, 7, True, ["demo:demo", "openai:*"], "Answer, briefly."]

    def test_none_is_a_word(self):
        environment = {
            "STREAMING_CHAT_DISCONNECT_GRACE_SECONDS": "none",
            "STREAMING_CHAT_REVIEW_SAMPLE_PERCENT": "3",
        }

        assert settings_with(environment, *environment) == [None, 3.0]

    def test_what_the_environment_lacks_stays_the_apps_default(self):
        assert settings_with({}, "STREAMING_CHAT_FLUSH_SECONDS") == ["unset"]


class ProviderTests(SimpleTestCase):
    def test_without_a_key_there_is_the_demo_only(self):
        providers, models = settings_with({}, "STREAMING_CHAT_PROVIDERS", "STREAMING_CHAT_MODELS")

        assert list(providers) == ["demo"]
        assert models == ["demo:demo", "demo:thinker", "demo:librarian"]

    def test_a_key_configures_its_provider_and_the_demo_is_last(self):
        environment = {"OPENAI_API_KEY": "k1", "OPENAI_BASE_URL": "http://127.0.0.1:1/v1", "ANTHROPIC_API_KEY": "k2"}
        providers, models = settings_with(environment, "STREAMING_CHAT_PROVIDERS", "STREAMING_CHAT_MODELS")

        assert providers["openai"]["OPTIONS"] == {"api_key": "k1", "base_url": "http://127.0.0.1:1/v1"}
        assert providers["anthropic"]["OPTIONS"] == {"api_key": "k2", "base_url": None}
        assert [model.split(":")[0] for model in models] == ["openai", "anthropic", "demo"]

    def test_openai_itself_is_asked_by_its_newer_api_and_a_compatible_server_by_the_one_that_all_know(self):
        for address, backend in (("", "OpenAIResponsesProvider"), ("http://127.0.0.1:1/v1", "OpenAIProvider")):
            with self.subTest(address):
                environment = {"OPENAI_API_KEY": "k1", "OPENAI_BASE_URL": address}
                [providers] = settings_with(environment, "STREAMING_CHAT_PROVIDERS")

                assert providers["openai"]["BACKEND"].rpartition(".")[2] == backend

    def test_every_provider_that_can_be_configured_can_be_made(self):
        environment = {"OPENAI_API_KEY": "k1", "ANTHROPIC_API_KEY": "k2"}
        script = (
            "import django; django.setup()\n"
            "from streaming_chat.providers import get_provider\n"
            "print(*[get_provider(alias).alias for alias in ('openai', 'anthropic', 'demo')])"
        )
        done = run_with({**PRODUCTION, **environment}, "-c", script)

        assert done.stdout == "openai anthropic demo\n", done.stderr


class QuotaTests(SimpleTestCase):
    def quota(self, **environment: str) -> dict:
        [quota] = settings_with(environment, "STREAMING_CHAT_QUOTA")
        return quota

    def test_it_is_the_apps_own_unless_a_variable_is_set(self):
        assert self.quota() == DEFAULT_QUOTA
        assert self.quota(QUOTA_OWNER_REPLIES="") == DEFAULT_QUOTA

    def test_each_variable_sets_a_limit(self):
        quota = self.quota(QUOTA_VISITOR_REPLIES="3", QUOTA_ADDRESS_TOKENS="none")

        assert quota == {**DEFAULT_QUOTA, "OPTIONS": {"visitor_replies": 3, "address_tokens": None}}

    def test_a_site_with_visitors_is_clean(self):
        environment = {**PRODUCTION, "STREAMING_CHAT_ALLOW_ANONYMOUS": "1"}
        done = run_with(environment, "manage.py", "check", "--deploy", "--fail-level", "WARNING")

        assert done.returncode == 0, done.stderr

    def test_a_limit_is_a_number(self):
        done = run_with({**PRODUCTION, "QUOTA_OWNER_REPLIES": "many"}, "manage.py", "check")

        assert "ImproperlyConfigured: QUOTA_OWNER_REPLIES" in done.stderr
