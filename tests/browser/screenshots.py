"""The pictures that the documents keep: `python -m tests.browser.screenshots docs/screenshots`.

With `endings`, `list` or `staff` as a second argument, it takes only those of how a reply ends, of the list, or of the
admin. It takes them of the demo, as `make demo` serves it, in a process and a database of its own. Needs Chromium on PATH.
"""

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Browser, Page, Route, expect, sync_playwright

from tests.demo import ROOT, demo, manage, passwords_in, read_until_address

from .chat import ChatPage
from .chromium import CHROMIUM_ARGS, chromium_path
from .server import Server
from .staff_screenshots import STAFF_SHOTS, UNFOLD_SHOTS

DESKTOP = {"viewport": {"width": 1100, "height": 760}}
PHONE = {"viewport": {"width": 390, "height": 800}, "has_touch": True, "is_mobile": True}
DARK = {"color_scheme": "dark"}
ARABIC = {"locale": "ar"}
# What a picture in a document may weigh.
MOST_BYTES = 160_000


def home(page: Page) -> None:
    page.goto("/")


def empty(page: Page) -> None:
    ChatPage(page).open()


def new_chat(page: Page) -> None:
    """A first reply while it is being written, its text there in part."""
    chat = ChatPage(page).open()
    chat.say("Hello! What are you?")
    expect(chat.reply()).to_contain_text("it is saved")


def queued(page: Page) -> None:
    """A message that waits for the end of the reply, and another one that is being written."""
    chat = ChatPage(page).open()
    chat.text.fill("Write something long.")
    chat.send_button.click()
    expect(chat.reply()).to_contain_text("and")
    chat.text.fill("Then summarise it in one sentence, please.")
    chat.send_button.click()
    expect(page.locator("[data-part=queue]")).to_be_visible()
    chat.text.fill("And translate")


def plain(page: Page) -> None:
    """The page without JavaScript."""
    page.goto("/chat/")
    link = page.locator(".sc-conversation", has_text="A name for our reading group")
    link.wait_for(state="attached")
    page.goto(f"{link.get_attribute('href')}?view=plain")


def gone(page: Page) -> None:
    page.goto("/chat/c/01a2292c-febf-77a7-b14e-88a49dec8ca7")


def markdown(page: Page) -> None:
    _open(page, "How do we get 4,000")
    page.locator(".sc-prose table").evaluate("(table) => table.scrollIntoView({ block: 'start' })")
    page.locator(".hljs-keyword").first.wait_for()


def branches(page: Page) -> None:
    _open(page, "A name for our reading group")
    expect(page.locator(".sc-reply").get_by_text("2 of 3")).to_be_visible()


def failed(page: Page) -> None:
    _open(page, "Is the reading room open")
    expect(page.locator(".sc-outcome")).to_be_visible()


def reasoning(page: Page) -> None:
    _open(page, "How do we get 4,000")
    page.locator(".sc-reasoning > summary").click()
    page.locator(".sc-scroll").evaluate("(area) => area.scrollTo(0, 0)")


def models(page: Page) -> None:
    ChatPage(page).open().model.click()


def sources(page: Page) -> None:
    chat = ChatPage(page).open()
    chat.choose_model("Demo with sources")
    chat.say("Why do replies stream?")
    chat.expect_end()


def tool_call(page: Page) -> None:
    """The question whether a tool may run, beside a call that has run."""
    page.goto("/chat/")
    page.locator("[data-part=text]").first.fill("Call find_passages, and change_name to the first name I told you.")
    page.locator("[data-part=send]").click()
    page.locator(".sc-answer").wait_for()


def corner(page: Page) -> None:
    page.goto("/article/")
    page.locator("[data-part=launcher]").click()
    chat = ChatPage(page)
    page.locator("[data-part=text]").first.fill("A table, please: how can a reply end?")
    chat.send_button.click()
    expect(chat.replies.last).to_have_attribute("data-status", "completed")


def conversations(page: Page) -> None:
    """The list of conversations, which a phone lays over the messages."""
    _open(page, "A name for our reading group")
    page.locator("[data-part=menu]").click()
    expect(page.locator(".sc-new")).to_be_visible()


def unread(page: Page) -> None:
    """The list after a reply has ended that nobody has seen."""
    chat = ChatPage(page).open()
    chat.say("Hello! What are you?")
    page.locator(".sc-conversation[aria-current]").wait_for()
    page.locator("[data-part=new]").click()
    page.locator(".sc-mark.sc-unread").wait_for()


def search(page: Page) -> None:
    """A message that a search has found, and its words."""
    ChatPage(page).open()
    page.get_by_label("Search conversations").fill("thousand cards")
    page.locator(".sc-conversation mark").first.wait_for()
    page.locator(".sc-conversation", has=page.locator(".sc-snippet mark")).first.click()
    page.wait_for_function("() => CSS.highlights.has('sc-found')")


def row_menu(page: Page) -> None:
    ChatPage(page).open()
    page.locator(".sc-row").nth(1).get_by_role("button").click()
    page.get_by_role("menuitem").first.wait_for()


def shortcuts(page: Page) -> None:
    ChatPage(page).open()
    page.locator("[data-part=shortcuts-button]").click()


def signed_out(page: Page) -> None:
    """The corner of a site without visitors: a link to the login."""
    page.goto("/article/")
    page.locator(".sc-launcher").wait_for()


def from_the_right(page: Page) -> None:
    page.goto("/chat/")
    page.locator("[data-part=text]").first.fill("مرحبا! كيف يمكن أن ينتهي الرد؟ أريد جدولًا (table).")
    page.get_by_role("button", name="إرسال").click()
    expect(page.locator(".sc-reply").last).to_have_attribute("data-status", "completed")


FORMULAS = r"""The roots of \(ax^2 + bx + c = 0\) with $a \neq 0$ are

$$
x_{1,2} = \frac{-b \pm \sqrt{b^2 - 4ac}}{2a}
$$

| case | discriminant | roots in $\mathbb{R}$ |
|---|---|---|
| one | \(b^2 - 4ac = 0\) | \(\left\{-\frac{b}{2a}\right\}\) |
| none | \(b^2 - 4ac < 0\) | \(\emptyset\) |

\[
\begin{aligned}
\int_0^\infty e^{-x^2}\,dx &= \frac{\sqrt{\pi}}{2} \\
\sum_{n=1}^{\infty} \frac{1}{n^2} &= \boxed{\frac{\pi^2}{6}}
\end{aligned}
\]

- [x] A ticket costs $5 or $10, and a formula that is not valid stays as it is: \(\frac{1\)
- [ ] これは**「重要」**な点。See https://example.org/path.
"""


def formulas(page: Page) -> None:
    _show_formulas(page)
    expect(page.locator(".sc-prose math").first).to_be_visible()


def formulas_as_written(page: Page) -> None:
    """As on a page that cannot load the typesetter, and as in the admin."""
    page.route("**/typesetter.js", lambda route: route.abort())
    _show_formulas(page)


def _show_formulas(page: Page) -> None:
    def replace_text(route: Route) -> None:
        response = route.fetch()
        conversation = response.json()
        conversation["messages"][-1]["text"] = FORMULAS
        route.fulfill(response=response, json=conversation)

    page.route("**/api/conversations/*", replace_text)
    _open(page, "How do we get 4,000")
    page.locator(".sc-prose table").evaluate("(table) => table.scrollIntoView({ block: 'center' })")


def ending(word: str) -> Callable[[Page], None]:
    """Return what shows how the demo's reply to this word ends."""

    def show(page: Page) -> None:
        chat = ChatPage(page).open()
        chat.text.fill(f"Show me: {word}")
        # On a phone, Enter starts a new line.
        chat.send_button.click()
        expect(chat.replies.last.locator(".sc-outcome")).to_be_visible()

    return show


def stopped(page: Page) -> None:
    chat = ChatPage(page).open()
    chat.say("A long one, please")
    expect(chat.reply()).to_contain_text("stop it in the middle")
    chat.stop.click()
    chat.expect_end("stopped")


def continued(page: Page) -> None:
    """A reply that was cut off at its maximum length, and went on."""
    chat = ChatPage(page).open()
    chat.say("Show me: cut")
    chat.button("Continue").click()
    expect(chat.reply()).to_contain_text("the rest of the sentence")
    chat.expect_end()
    expect(chat.replies.last.get_by_text("2 of 2")).to_be_visible()


def plain_ending(page: Page) -> None:
    ending("cut")(page)
    page.goto(f"{page.url}?view=plain")


SHOTS: dict[str, tuple[Callable[[Page], None], dict]] = {
    "home": (home, DESKTOP),
    "chat-empty": (empty, DESKTOP),
    "chat-new": (new_chat, DESKTOP),
    "chat-markdown": (markdown, DESKTOP),
    "chat-formulas": (formulas, DESKTOP),
    "chat-formulas-source": (formulas_as_written, DESKTOP),
    "chat-branches": (branches, DESKTOP),
    "chat-error": (failed, DESKTOP),
    "chat-queue": (queued, DESKTOP),
    "chat-queue-phone": (queued, PHONE),
    "chat-gone": (gone, DESKTOP),
    "plain": (plain, DESKTOP),
    "plain-phone": (plain, PHONE),
    "chat-reasoning": (reasoning, DESKTOP),
    "chat-models": (models, DESKTOP),
    "chat-sources": (sources, DESKTOP),
    "chat-tool-call": (tool_call, DESKTOP),
    "chat-tool-call-phone": (tool_call, PHONE | DARK),
    "corner": (corner, DESKTOP),
    "chat-markdown-dark": (markdown, DESKTOP | DARK),
    "corner-dark": (corner, DESKTOP | DARK),
    "chat-phone": (markdown, PHONE),
    "conversations-phone-dark": (conversations, PHONE | DARK),
    "corner-phone": (corner, PHONE),
    "chat-rtl": (from_the_right, DESKTOP | ARABIC),
    "chat-rtl-phone": (from_the_right, PHONE | ARABIC),
}
ENDING_SHOTS: dict[str, tuple[Callable[[Page], None], dict]] = {
    "ending-length": (ending("cut"), DESKTOP),
    "ending-length-phone": (ending("cut"), PHONE),
    "ending-continued": (continued, DESKTOP),
    "ending-filter": (ending("filter"), DESKTOP),
    "ending-reasoning-only": (ending("budget"), DESKTOP),
    "ending-blank": (ending("blank"), DESKTOP),
    "ending-interrupted": (ending("error"), DESKTOP),
    "ending-stopped": (stopped, DESKTOP),
    "ending-plain": (plain_ending, DESKTOP),
}
LIST_SHOTS: dict[str, tuple[Callable[[Page], None], dict]] = {
    "list-unread": (unread, DESKTOP),
    "list-search": (search, DESKTOP),
    "list-menu": (row_menu, DESKTOP),
    "shortcuts": (shortcuts, DESKTOP),
}
# These are a visitor's; the others are of the user with the samples.
SIGNED_OUT = {"home", "corner", "corner-dark", "corner-phone"}


def main(folder: Path, shots: dict, staff_shots: dict) -> None:
    """Take these pictures. Raises SystemExit where one is too heavy."""
    expect.set_options(timeout=15_000)
    with tempfile.TemporaryDirectory() as data, demo(data) as process, sync_playwright() as playwright:
        address, printed = read_until_address(process)
        browser = playwright.chromium.launch(executable_path=chromium_path(), args=CHROMIUM_ARGS)
        passwords = passwords_in(printed)
        states = {name: _signed_in(browser, address, name, passwords[name]) for name in ("demo", "staff")}

        def take(name: str, show: Callable[[Page], None], options: dict, session: dict | None) -> None:
            context = browser.new_context(base_url=address, storage_state=session, reduced_motion="reduce", **options)
            page = context.new_page()
            show(page)
            _take(page, folder / f"{name}.png")
            context.close()

        for name, (show, options) in shots.items():
            take(name, show, options, None if name in SIGNED_OUT else states["demo"])
        for command in staff_shots and (["seedtranscripts", "--conversations", "1500"], ["rebuildsearch"], ["rollup"]):
            manage(data, *command)
        for name, (show, options) in staff_shots.items():
            take(name, show, options, states["staff"])
        if staff_shots:
            with Server(UNFOLD="1", DATABASE_URL=f"sqlite:///{data}/demo.sqlite3") as unfold:
                address = unfold.root
                session = _signed_in_to_admin(browser, address, data)
                for name, (show, options) in UNFOLD_SHOTS.items():
                    take(name, show, options, session)
        # Of another site.
        if LIST_SHOTS.keys() & shots.keys():
            with tempfile.TemporaryDirectory() as other, demo(other, STREAMING_CHAT_ALLOW_ANONYMOUS="0") as closed:
                address, _printed = read_until_address(closed)
                take("corner-signed-out", signed_out, DESKTOP, None)
        browser.close()


def _signed_in(browser: Browser, address: str, name: str, password: str) -> dict:
    page = browser.new_page(base_url=address)
    page.goto("/accounts/login/")
    page.get_by_label("Username").fill(name)
    page.get_by_label("Password").fill(password)
    page.get_by_role("main").get_by_role("button", name="Sign in").click()
    page.get_by_role("button", name="Sign out").wait_for()
    state = page.context.storage_state()
    page.context.close()
    return state


def _signed_in_to_admin(browser: Browser, address: str, data: str) -> dict:
    # A user of its own: the settings of the tests have another password hasher than the demo.
    name, password = "pictures", "a password for the pictures"
    command = [sys.executable, "-m", "django", "createsuperuser", "--noinput"]
    user = {"DJANGO_SUPERUSER_USERNAME": name, "DJANGO_SUPERUSER_PASSWORD": password, "DJANGO_SUPERUSER_EMAIL": ""}
    settings = {"DJANGO_SETTINGS_MODULE": "tests.browser.settings", "DATABASE_URL": f"sqlite:///{data}/demo.sqlite3"}
    subprocess.run(command, cwd=ROOT, env={**os.environ, **user, **settings}, check=True, stdout=subprocess.DEVNULL)
    page = browser.new_page(base_url=address)
    page.goto("/admin/login/")
    page.locator("[name=username]").fill(name)
    page.locator("[name=password]").fill(password)
    page.locator("[name=password]").press("Enter")
    page.locator("#content").wait_for()
    state = page.context.storage_state()
    page.context.close()
    return state


def _open(page: Page, title: str) -> None:
    """Open the sample conversation whose title begins so."""
    page.goto("/chat/")
    link = page.locator(".sc-conversation", has_text=re.compile(re.escape(title)))
    link.wait_for(state="attached")
    page.goto(link.get_attribute("href"))
    page.locator(".sc-reply .sc-actions").last.wait_for()


def _take(page: Page, path: Path) -> None:
    page.screenshot(path=path, animations="disabled")
    size = path.stat().st_size
    sys.stdout.write(f"{path.name}: {size:,} bytes\n")
    if size > MOST_BYTES:
        raise SystemExit(f"{path} may be {MOST_BYTES:,} bytes, got {size:,}.")


if __name__ == "__main__":
    groups = {
        "": (SHOTS | ENDING_SHOTS | LIST_SHOTS, STAFF_SHOTS),
        "endings": (ENDING_SHOTS, {}),
        "list": (LIST_SHOTS, {}),
        "staff": ({}, STAFF_SHOTS),
    }
    if len(sys.argv) not in (2, 3) or "".join(sys.argv[2:]) not in groups:
        raise SystemExit("usage: python -m tests.browser.screenshots FOLDER [endings|list|staff]")
    main(Path(sys.argv[1]), *groups["".join(sys.argv[2:])])
