"""The example site's pages as HTML: their frame, and the policy they are served with."""

import re

from django.conf import settings
from django.test import TestCase, override_settings
from django.utils import translation

from chatproject.middleware import POLICY, TRUSTED_TYPES
from chatproject.urls import urlpatterns

from .factories import make_conversation, make_staff, make_user

PAGES = ["/", "/article/", "/accounts/login/", "/chat/", "/chat/?view=plain"]
TABS = {"/": "Home", "/article/": "Article", "/chat/": "Chat"}


@override_settings(
    ROOT_URLCONF="chatproject.urls",
    MIDDLEWARE=["chatproject.middleware.content_security_policy", *settings.MIDDLEWARE],
    STREAMING_CHAT_ALLOW_ANONYMOUS=True,
)
class ExampleSiteTests(TestCase):
    def policy_of(self, path: str) -> str:
        return self.client.get(path).headers["Content-Security-Policy"]

    def page(self, path: str) -> str:
        response = self.client.get(path)
        assert response.status_code == 200, path
        return response.content.decode()

    def test_every_page_of_the_site_is_named_here(self):
        own = {f"/{pattern.pattern}" for pattern in urlpatterns} - {"/favicon.ico", "/accounts/logout/", "/admin/"}

        assert own <= set(PAGES)

    def test_every_page_has_the_policy_and_demands_trusted_types(self):
        user = make_user()
        for path in [*PAGES, "/chat/api/models", "/nowhere/", "/favicon.ico"]:
            assert self.policy_of(path) == f"{POLICY}; {TRUSTED_TYPES}", path
        self.client.force_login(user)
        for path in [*PAGES, f"/chat/c/{make_conversation(user).pk}"]:
            assert self.policy_of(path) == f"{POLICY}; {TRUSTED_TYPES}", path

    def test_the_admin_has_the_policy_without_trusted_types(self):
        """Its jQuery makes HTML of text, so that its date pickers would not open."""
        assert self.policy_of("/admin/login/") == POLICY
        self.client.force_login(make_staff("eva", "view_conversation"))

        assert self.policy_of("/admin/") == POLICY
        assert self.policy_of("/admin/streaming_chat/conversation/") == POLICY

    async def test_the_policy_is_there_under_asgi(self):
        response = await self.async_client.get("/article/")

        assert response.headers["Content-Security-Policy"] == f"{POLICY}; {TRUSTED_TYPES}"

    def test_nothing_in_a_page_is_inline(self):
        for path in PAGES:
            page = self.page(path)
            scripts = re.findall(r"<script[^>]*>", page)

            assert all("src=" in script or 'type="application/json"' in script for script in scripts), path
            assert not re.search(r"<style|\sstyle=|\son[a-z]+=|javascript:", page), path

    def test_a_page_has_one_first_heading_and_its_landmarks(self):
        for path in PAGES:
            page = self.page(path)

            assert page.count("<h1") == page.count("<main") == 1, path
            assert '<a class="site-skip" href="#content">' in page, path
            assert 'id="content"' in page, path

    def test_navigation_leads_everywhere_and_says_where_one_is(self):
        for path in PAGES:
            header = re.search(r"<header.*?</header>", self.page(path), re.DOTALL)[0]
            current = re.findall(r'aria-current="page">([^<]+)<', header)

            assert current == [TABS.get(path.partition("?")[0], "Sign in")], path
            assert {"/", "/chat/", "/article/"} <= set(re.findall(r'href="([^"]+)"', header)), path
            assert 'href="/accounts/login/' in header, path

    def test_the_login_leads_back_to_the_page_one_came_from(self):
        assert 'href="/accounts/login/?next=/article/"' in self.page("/article/")

    def test_a_page_is_laid_out_from_the_right_where_its_language_is(self):
        with translation.override("ar"):
            page = self.page("/article/")

        assert '<html lang="ar" dir="rtl">' in page

    def test_the_article_has_the_chat_in_its_corner_and_nothing_else_of_it(self):
        page = self.page("/article/")
        article = re.search(r"<article.*?</article>", page, re.DOTALL)[0]

        assert re.findall(r'<streaming-chat[^>]* layout="(\w+)"', page) == ["corner"]
        assert "streaming" not in article
        assert len(re.sub(r"<[^>]+>", " ", article).split()) > 400
        assert article.count("<h2") == 3
        assert "<ul>" in article

    @override_settings(STREAMING_CHAT_ALLOW_ANONYMOUS=False)
    def test_where_visitors_may_not_chat_the_corner_leads_to_the_login(self):
        assert 'href="/accounts/login/?next=/article/"' in self.page("/article/").partition("<streaming-chat")[2]
