"""The chat page as HTML; what its script does is in tests/browser."""

import re
import uuid
from pathlib import Path

from django.contrib.auth.models import User
from django.test import Client, TestCase, override_settings
from django.urls import set_script_prefix

from streaming_chat.accounts.permissions import Permissions
from streaming_chat.chats.deletion import delete_for_owner
from streaming_chat.models import ToolCall
from streaming_chat.providers.model_options import EFFORTS
from streaming_chat.rendering.element import WORDS
from tests.factories import make_conversation, make_user

SCRIPTS = Path(__file__).resolve().parent.parent.parent / "frontend" / "src"
LOGIN_REQUIRED = "django.contrib.auth.middleware.LoginRequiredMiddleware"


def without_tokens(response) -> str:
    """Return a page without its CSRF tokens, which differ each time."""
    return re.sub(r'(csrfmiddlewaretoken" value=)"\w+"', r"\1", response.content.decode())


class NobodyReads(Permissions):
    def may_read(self, request, owner):
        return False


class PageTests(TestCase):
    def setUp(self):
        self.user = make_user()
        self.client.force_login(self.user)

    def test_a_new_chat_knows_no_conversation(self):
        response = self.client.get("/chat/")

        self.assertContains(response, 'root="/chat/" layout="page" name="sc-page-1" conversation=""')
        self.assertTemplateUsed(response, "streaming_chat/base.html")

    def test_a_conversation_is_named_in_its_page(self):
        conversation = make_conversation(self.user)
        response = self.client.get(f"/chat/c/{conversation.pk}")

        self.assertContains(response, f' conversation="{conversation.pk}"')

    def test_no_page_is_kept_by_caches(self):
        assert "no-store" in self.client.get("/chat/").headers["Cache-Control"]

    def test_nothing_is_inline(self):
        """A Content-Security-Policy of 'self' refuses inline scripts and styles; JSON is data."""
        page = self.client.get("/chat/").content.decode()
        scripts = re.findall(r"<script[^>]*>", page)

        assert all("src=" in script or 'type="application/json"' in script for script in scripts)
        assert not re.search(r"<style|\sstyle=|\son[a-z]+=|javascript:", page)

    def test_below_a_prefix_every_address_has_it(self):
        # A server does this for each request by SCRIPT_NAME; the test client does not.
        self.addCleanup(set_script_prefix, "/")
        set_script_prefix("/sub/")
        response = self.client.get("/chat/", SCRIPT_NAME="/sub")

        self.assertContains(response, 'root="/sub/chat/"')
        self.assertContains(response, 'href="/sub/chat/"')

    @override_settings(CSRF_USE_SESSIONS=True)
    def test_the_token_is_in_the_page_where_no_cookie_has_it(self):
        client = Client(enforce_csrf_checks=True)
        client.force_login(self.user)
        page = client.get("/chat/").content.decode()
        composer = page[page.index('class="sc-composer"') :]
        token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', composer).group(1)
        sent = client.post(
            "/chat/api/conversations", {}, content_type="application/json", headers={"X-CSRFToken": token}
        )

        assert "csrftoken" not in client.cookies
        assert sent.status_code == 201

    def test_numbers_in_attributes_are_not_localized(self):
        """A German page would else say 35,0 seconds, which no script can read."""
        response = self.client.get("/chat/", headers={"Accept-Language": "de"})

        self.assertContains(response, 'data-silence="35.0"')

    def test_the_scripts_words_are_those_of_the_page(self):
        scripts = "".join(script.read_text() for script in SCRIPTS.rglob("*.js"))
        named = set(re.findall(r'"(\w+)"', scripts)) | set(re.findall(r"\btexts\.(\w+)", scripts))

        assert set(re.findall(r'\bsay\("(\w+)"', scripts)) <= set(WORDS)
        # These are looked up by the status of a reply or a call, and by an effort.
        assert set(WORDS) - named <= {
            "interrupted",
            "failed",
            "effort_default",
            *(f"effort_{name}" for name in EFFORTS),
            *(f"call_{status}" for status in ToolCall.State.values),
        }


class AccessTests(TestCase):
    def test_whoever_is_not_signed_in_is_led_to_the_login(self):
        conversation = make_conversation()
        for path in ("/chat/", f"/chat/c/{conversation.pk}", f"/chat/c/{uuid.uuid4()}"):
            response = self.client.get(path)

            self.assertRedirects(response, f"/accounts/login/?next={path}")

    def test_a_foreign_conversation_looks_like_an_unknown_one(self):
        self.client.force_login(make_user("bea"))
        foreign = self.client.get(f"/chat/c/{make_conversation(make_user()).pk}")
        unknown = self.client.get(f"/chat/c/{uuid.uuid4()}")

        assert foreign.status_code == unknown.status_code == 404
        assert without_tokens(foreign) == without_tokens(unknown)

    def test_a_conversation_that_is_gone_leads_back_to_the_chat(self):
        """In the site's frame, as any other of its pages."""
        self.client.force_login(make_user())
        for query, back in (("", "/chat/"), ("?view=plain", "/chat/?view=plain")):
            response = self.client.get(f"/chat/c/{uuid.uuid4()}{query}")

            self.assertTemplateUsed(response, "streaming_chat/base.html")
            self.assertContains(response, "This conversation no longer exists.", status_code=404)
            self.assertContains(response, f'href="{back}">Go to your chats', status_code=404)

    def test_a_deleted_conversation_is_not_there(self):
        user = make_user()
        conversation = make_conversation(user)
        delete_for_owner(conversation.pk)
        self.client.force_login(user)

        assert self.client.get(f"/chat/c/{conversation.pk}").status_code == 404

    def test_the_sites_permissions_decide(self):
        self.client.force_login(make_user())
        with override_settings(STREAMING_CHAT_PERMISSIONS={"BACKEND": f"{__name__}.NobodyReads"}):
            response = self.client.get("/chat/")

        assert response.status_code == 403

    def test_a_page_takes_its_form_and_nothing_else(self):
        self.client.force_login(make_user())
        response = self.client.put("/chat/")

        assert (response.status_code, response.headers["Allow"]) == (405, "GET, HEAD, POST")

    def test_sites_that_demand_a_login_everywhere_get_the_same(self):
        with self.modify_settings(MIDDLEWARE={"append": LOGIN_REQUIRED}):
            self.assertRedirects(self.client.get("/chat/"), "/accounts/login/?next=/chat/")
            self.client.force_login(make_user())

            assert self.client.get("/chat/").status_code == 200

    async def test_pages_work_under_asgi(self):
        user = await User.objects.acreate(username="cleo")
        await self.async_client.aforce_login(user)

        assert (await self.async_client.get("/chat/")).status_code == 200
