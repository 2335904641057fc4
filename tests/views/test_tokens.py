"""The page of access tokens: people create and revoke their own."""

import re
from urllib.parse import urlencode

from django.test import Client, TestCase, override_settings
from django.utils import timezone, translation

from streaming_chat.accounts.access_tokens import MAX_TOKENS
from streaming_chat.accounts.permissions import Permissions
from streaming_chat.models import AccessToken
from tests.factories import make_token, make_user
from tests.native import make_client
from tests.test_csrf_matrix import without_middleware

PAGE = "/chat/tokens"
FORM = {"name": "My phone", "scope": "read", "days": "30"}
FORM_TYPE = "application/x-www-form-urlencoded"
SHOWN = re.compile(r'<code class="scp-token" dir="ltr">(sc_\w{8}_\w{32})</code>')


def post(client, form, **options):
    """Post as a browser's form does."""
    return client.post(PAGE, urlencode(form), content_type=FORM_TYPE, **options)


class Forbidding(Permissions):
    """Lets nobody create tokens."""

    def may_create_tokens(self, request, owner):
        return False


class TokensPageTests(TestCase):
    def setUp(self):
        self.user = make_user()
        self.client = make_client()
        self.client.force_login(self.user)

    def test_a_new_token_is_shown_once_and_works(self):
        created = post(self.client, FORM)
        token = SHOWN.search(created.text)[1]
        again = self.client.get(PAGE)
        used = Client().get("/chat/api/conversations", headers={"Authorization": f"Bearer {token}"})

        assert created.headers["Cache-Control"] == again.headers["Cache-Control"] == "no-store"
        assert used.status_code == 200
        assert token not in again.text
        assert all(text in again.text for text in (token[:11], "My phone", "read only", "valid until"))

    def test_it_is_the_users_own_with_what_the_form_says(self):
        post(self.client, {**FORM, "owner": make_user("bo").pk})
        [token] = AccessToken.objects.all()

        assert (token.owner, token.name, token.scope) == (self.user, "My phone", "read")
        assert (token.expires_at - timezone.now()).days == 29

    def test_one_that_does_not_expire(self):
        post(self.client, {**FORM, "days": ""})

        assert AccessToken.objects.get().expires_at is None

    def test_a_form_with_errors_creates_nothing(self):
        for wrong in ({"name": ""}, {"name": "a" * 101}, {"scope": "all"}, {"days": "1000"}):
            with self.subTest(wrong):
                response = post(self.client, {**FORM, **wrong})

                assert 'role="alert"' in response.text
                assert 'aria-invalid="true"' in response.text
        assert not AccessToken.objects.exists()

    def test_there_is_a_limit(self):
        for _number in range(MAX_TOKENS):
            make_token()
        response = post(self.client, FORM)

        assert f"You have {MAX_TOKENS} access tokens." in response.text
        assert AccessToken.objects.count() == MAX_TOKENS

    def test_a_token_is_revoked(self):
        make_token()
        response = post(self.client, {"revoke": str(AccessToken.objects.get().pk)})

        assert (response.status_code, response["Location"]) == (303, PAGE)
        assert not AccessToken.objects.exists()

    def test_those_of_others_are_neither_shown_nor_revoked(self):
        theirs = make_token(make_user("bo"))
        pk = AccessToken.objects.get().pk
        answers = {post(self.client, {"revoke": text}).status_code for text in (str(pk), str(self.user.pk), "x")}

        assert answers == {303}
        assert AccessToken.objects.filter(pk=pk).exists()
        assert theirs[:11] not in self.client.get(PAGE).text

    def test_a_name_is_text(self):
        make_token(name="<b>\u202ex")

        assert '<h2 class="scp-token-name" dir="auto">&lt;b&gt;\u202ex</h2>' in self.client.get(PAGE).text

    def test_the_chat_leads_to_it(self):
        for address in ("/chat/", "/chat/?view=plain"):
            assert f'href="{PAGE}"' in self.client.get(address).text

    def test_nobody_else_may(self):
        stranger = Client()
        for response in (stranger.get(PAGE), post(stranger, FORM)):
            assert (response.status_code, response["Location"]) == (302, f"/accounts/login/?next={PAGE}")
        with override_settings(STREAMING_CHAT_ALLOW_ANONYMOUS=True):
            assert stranger.get(PAGE).status_code == 302
            assert PAGE not in stranger.get("/chat/").text
        with override_settings(STREAMING_CHAT_PERMISSIONS={"BACKEND": f"{__name__}.Forbidding"}):
            assert self.client.get(PAGE).status_code == post(self.client, FORM).status_code == 403
            for address in ("/chat/", "/chat/?view=plain"):
                assert PAGE not in self.client.get(address).text
        assert not AccessToken.objects.exists()

    def test_a_token_creates_no_other(self):
        headers = {"Authorization": f"Bearer {make_token()}"}
        for response in (Client().get(PAGE, headers=headers), post(Client(), FORM, headers=headers)):
            assert response.status_code == 403
        assert AccessToken.objects.count() == 1

    def test_the_form_needs_its_csrf_token(self):
        for middleware in (override_settings(), without_middleware()):
            with middleware:
                strict = Client(enforce_csrf_checks=True)
                strict.force_login(self.user)
                page = strict.get(PAGE).text
                token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page)[1]

                assert post(strict, FORM).status_code == 403
                assert not AccessToken.objects.exists()
                assert post(strict, {**FORM, "csrfmiddlewaretoken": token}).status_code == 200
                AccessToken.objects.all().delete()

    def test_only_its_own_form_is_read(self):
        assert self.client.post(PAGE, FORM, content_type="application/json").status_code == 415
        assert self.client.put(PAGE).status_code == 405

    def test_it_has_no_script_and_no_style_of_its_own(self):
        make_token()
        page = post(self.client, FORM).text

        assert not re.search(r"<script|<style|\sstyle=|\son\w+=", page)

    def test_in_arabic_it_is_right_to_left(self):
        with (
            translation.override("en"),
            self.modify_settings(MIDDLEWARE={"append": "django.middleware.locale.LocaleMiddleware"}),
        ):
            page = self.client.get(PAGE, headers={"Accept-Language": "ar"}).text

        assert '<html lang="ar" dir="rtl">' in page
        assert "رموز الوصول" in page

    def test_the_plain_page_links_to_it(self):
        assert f'href="{PAGE}"' in self.client.get("/chat/?view=plain").text
