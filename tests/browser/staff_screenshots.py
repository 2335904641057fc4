"""What the pictures of the admin show, and in which windows: see screenshots.py."""

from collections.abc import Callable

from playwright.sync_api import Page, expect

WIDE = {"viewport": {"width": 1280, "height": 820}}
NARROW = {"viewport": {"width": 1000, "height": 760}}
PHONE = {"viewport": {"width": 375, "height": 800}, "has_touch": True, "is_mobile": True}
DARK = {"color_scheme": "dark"}
GERMAN = {"locale": "de"}
ADMIN = "/admin/streaming_chat/conversation/"


def seek(page: Page, field: str, words: str) -> None:
    """Search for words as staff do."""
    page.locator(field).fill(words)
    with page.expect_navigation():
        page.locator(field).press("Enter")


def conversation_list(page: Page) -> None:
    page.goto(ADMIN)


def transcript(page: Page) -> None:
    """A transcript in which something is pointed out."""
    page.goto(ADMIN)
    seek(page, "#searchbar", "reading room")
    page.locator("#result_list tbody th a").first.click()
    page.locator(".transcript-messages").wait_for()


def redaction(page: Page) -> None:
    """The passages that would be removed."""
    transcript(page)
    page.get_by_text("Redact passages").first.click()
    form = page.locator("form[action$='/redact/']").filter(has=page.locator("[name=text]")).first
    form.locator("[name=text]").fill("reading room")
    with page.expect_navigation():
        form.locator("[type=submit]").first.click()


def search(page: Page) -> None:
    page.goto(f"{ADMIN}search/")
    seek(page, "#search-terms", "invoice")


def tool_call(page: Page) -> None:
    """The page on which a call is answered. Staff may use the chat, too."""
    page.goto("/chat/")
    page.locator("[data-part=text]").first.fill("Call change_name.")
    page.locator("[data-part=send]").click()
    page.locator(".sc-answer").wait_for()
    page.goto("/admin/streaming_chat/toolcall/")
    page.get_by_role("link", name="Answer…").last.click()
    page.locator(".answer-call").wait_for()


def feedback(page: Page) -> None:
    page.goto("/admin/streaming_chat/feedback/")


def records(page: Page) -> None:
    """Who read one person's conversations, of which two were opened."""
    transcript(page)
    page.get_by_role("link", name="all conversations").click()
    page.locator("#result_list tbody th a").last.click()
    page.get_by_role("link", name="who read this owner’s conversations").click()
    page.locator(".list-readers").wait_for()


def numbers(page: Page) -> None:
    page.goto(f"{ADMIN}numbers/?days=28")


def review_numbers(page: Page) -> None:
    page.goto(f"{ADMIN}review/numbers/?days=28")


def owners(page: Page) -> None:
    page.goto(f"{ADMIN}owners/?days=28")


def owner(page: Page) -> None:
    owners(page)
    page.locator("#content table a").first.click()
    expect(page.locator(".owner-key")).to_be_visible()


STAFF_SHOTS: dict[str, tuple[Callable[[Page], None], dict]] = {
    "staff-list": (conversation_list, WIDE),
    "staff-list-dark": (conversation_list, WIDE | DARK),
    "staff-list-german": (conversation_list, NARROW | GERMAN),
    "staff-list-phone": (conversation_list, PHONE),
    "staff-transcript": (transcript, WIDE),
    "staff-transcript-dark": (transcript, WIDE | DARK),
    "staff-transcript-german": (transcript, NARROW | GERMAN),
    "staff-transcript-phone": (transcript, PHONE),
    "staff-redaction": (redaction, WIDE),
    "staff-search": (search, WIDE),
    "staff-tool-call": (tool_call, WIDE),
    "staff-feedback": (feedback, WIDE),
    "staff-feedback-phone": (feedback, PHONE),
    "staff-records": (records, WIDE),
    "staff-numbers": (numbers, WIDE),
    "staff-numbers-dark": (numbers, WIDE | DARK),
    "staff-numbers-phone": (numbers, PHONE),
    "staff-reviews": (review_numbers, WIDE),
    "staff-owners": (owners, WIDE),
    "staff-owner": (owner, WIDE),
    "staff-owner-phone": (owner, PHONE),
}
# Of the same rows, in a site with django-unfold.
UNFOLD_SHOTS: dict[str, tuple[Callable[[Page], None], dict]] = {
    "unfold-list": (conversation_list, WIDE),
    "unfold-list-phone": (conversation_list, PHONE),
    "unfold-transcript-dark": (transcript, WIDE | DARK),
    "unfold-transcript-phone": (transcript, PHONE),
}
