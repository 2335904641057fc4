"""Markdown as it arrives, in Chromium, under a policy with Trusted Types: the same however it came, and harmless."""

import json
import subprocess
from collections.abc import Iterator
from functools import cache

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from streaming_chat.rendering.markdown_html import _MARKUP, markdown
from tests.hostile import HOSTILE

from .bundles import FRONTEND, bundle, node
from .conftest import watched
from .pages import serve_pages

WORDS = {
    "copy": "Copy",
    "copied": "Copied",
    "code": "Code",
    "table": "Table",
    "image": "[Image: {alt} {address}]",
    "done": "Completed task",
    "not_done": "Open task",
    "format": "Format this text",
    "not_formatted": "This text is too complex to format.",
}
# What is ours around the text's own: frames of code and tables, and where a link opens.
FRAMES = {"div", "button", "span"}
PAGE = (
    b"<!doctype html><meta charset=utf-8><title>t</title><link rel=stylesheet href=/markdown.css>"
    b"<main id=here></main><script type=module src=/page.js></script>"
)
SCRIPT = b"""
import { MarkdownDocument } from "/document.js";
const texts = WORDS;
window.open_ = (highlighter = "", typesetter = "") => {
  const element = document.createElement("div");
  document.querySelector("#here").replaceChildren(element);
  window.shown = new MarkdownDocument(element, { texts, highlighter, typesetter });
  return element;
};
window.arrive = (pieces) => {
  const element = window.open_();
  let text = "";
  for (const piece of pieces) window.shown.draw(text += piece);
  window.shown.draw(text, { isComplete: true });
  finish();
  return element.innerHTML;
};
// What is not shown yet because the page has to react in between.
const finish = () => window.shown.html;
// What the server shows, in the same form: without our frames, and without the white space between blocks.
window.compare = async (text, path) => {
  const served = await load(path);
  const element = window.open_();
  window.shown.draw(text, { isComplete: true });
  finish();
  for (const bar of element.querySelectorAll(".sc-code-bar")) bar.remove();
  for (const outer of element.querySelectorAll(".sc-code, .sc-table")) outer.replaceWith(...outer.childNodes);
  for (const pre of element.querySelectorAll("pre")) {
    while (pre.attributes.length) pre.removeAttribute(pre.attributes[0].name);
  }
  for (const link of element.querySelectorAll("a")) link.removeAttribute("target");
  return [flat(element), flat(served.body)];
};
// The policy lets nobody write HTML, not even a test: the browser reads the server's as a page.
const load = (path) => new Promise((resolve) => {
  const request = new XMLHttpRequest();
  request.open("GET", path);
  request.responseType = "document";
  request.onload = () => resolve(request.response);
  request.send();
});
const flat = (element) => element.innerHTML.replace(/\\[Image: (.*?) <a [^>]*>(.*?)<.a>\\]/g, "[Image: $1 $2]")
  .replace(/\\s*(<[^>]*>)\\s*/g, "$1").replace(/ rel="[^"]*"/g, "").replace(/fn-[0-9a-f]+-/g, "fn-");
document.body.dataset.ready = "yes";
"""

TEXT = """# Rain

It **will** rain, see [the page](https://e.example/rain).

- one
- two

```python
if x < 1:
    print("&amp;")
```

| a | b |
|---|--:|
| 1 | 2 |

The end.
"""


@cache
def texts() -> dict[str, str]:
    """Return the texts of the script's own tests, and the hostile ones."""
    corpus = FRONTEND / "tests" / "corpus.mjs"
    script = f"import({json.dumps(corpus.as_uri())}).then(({{ TEXTS }}) => console.log(JSON.stringify(TEXTS)))"
    run = subprocess.run([node(), "-e", script], capture_output=True, check=True)
    return {**json.loads(run.stdout), **HOSTILE}


@pytest.fixture(scope="module")
def root() -> Iterator[str]:
    modules = FRONTEND / "src" / "markdown"
    pages = {
        "/": ("text/html", PAGE),
        "/page.js": ("text/javascript", SCRIPT.replace(b"WORDS", json.dumps(WORDS).encode())),
        "/document.js": ("text/javascript", bundle(modules / "document.js")),
        "/highlighter.js": ("text/javascript", bundle(modules / "highlighter.js")),
        "/markdown.css": ("text/css", (modules / "markdown.css").read_bytes()),
        "/typesetter.js": ("text/javascript", bundle(modules / "typesetter.js")),
        "/favicon.ico": ("image/x-icon", b" "),
    }
    for index, text in enumerate(texts().values()):
        pages[f"/served/{index}"] = ("text/html; charset=utf-8", markdown(text).encode())
    with serve_pages(pages) as root:
        yield root


@pytest.fixture
def context(chromium: Browser, root: str) -> Iterator[BrowserContext]:
    """Return a context of which every request goes to the test's own server."""
    asked: list[str] = []
    with watched(chromium, base_url=root) as context:
        context.on("request", lambda request: asked.append(request.url))
        context.on("dialog", lambda dialog: pytest.fail(dialog.message))
        yield context

    assert [url for url in asked if not url.startswith(root)] == []


@pytest.fixture
def page(context: BrowserContext) -> Page:
    page = context.new_page()
    page.goto("/")
    expect(page.locator("body[data-ready]")).to_be_attached()
    return page


def assert_harmless(page: Page) -> None:
    """Nothing is off the allow-list but the frames that are ours."""
    elements = page.evaluate(
        """() => [...document.querySelectorAll("#here > div *")].map((element) => ({
            tag: element.localName,
            ours: Boolean(element.closest(".sc-code-bar") || element.matches(".sc-code, .sc-table, .sc-plain, button, pre")),
            names: [...element.attributes].map(({name}) => name),
            href: element.getAttribute("href"),
        }))"""
    )
    for element in elements:
        if element["ours"]:
            assert element["tag"] in FRAMES | {"pre"}
            assert set(element["names"]) <= {"class", "type", "tabindex", "role", "aria-label", "dir"}
            continue
        allowed = set(_MARKUP["attributes"][element["tag"]]) | ({"rel", "target"} if element["tag"] == "a" else set())

        assert set(element["names"]) <= allowed
        assert (element["href"] or "https://").lower().startswith(("http://", "https://", "mailto:", "#fn-"))


def test_however_it_arrives_it_ends_the_same(page: Page):
    whole = page.evaluate("(text) => window.arrive([text])", TEXT)
    for size in (1, 2, 3, 7, 50):
        pieces = [TEXT[at : at + size] for at in range(0, len(TEXT), size)]

        assert page.evaluate("(pieces) => window.arrive(pieces)", pieces) == whole


def test_the_browser_shows_what_the_server_shows(page: Page):
    for index, (name, text) in enumerate(texts().items()):
        shown, served = page.evaluate("([text, path]) => window.compare(text, path)", [text, f"/served/{index}"])

        assert shown == served, name


def test_hostile_text_does_nothing(page: Page):
    for text in HOSTILE.values():
        for whole in (text, f"> - {text}", f"**{text}", f"| a |\n|---|\n| {text} |"):
            page.evaluate("(text) => window.arrive([text])", whole)
            assert_harmless(page)


def test_hostile_text_does_nothing_wherever_it_is_split(page: Page):
    for text in HOSTILE.values():
        whole = page.evaluate("(text) => window.arrive([text])", text)
        for at in range(1, len(text)):
            assert page.evaluate("(pieces) => window.arrive(pieces)", [text[:at], text[at:]]) == whole
        page.evaluate("(pieces) => window.arrive(pieces)", list(text))
        assert_harmless(page)


def test_links_open_elsewhere_and_give_no_rank(page: Page):
    page.evaluate("window.arrive(['[x](https://e.example) [y](/admin/) <mailto:a@e.example>'])")
    links = page.locator("#here a")

    expect(links).to_have_count(2)
    expect(links.first).to_have_attribute("rel", "noopener nofollow ugc")
    expect(links.first).to_have_attribute("target", "_blank")


def test_a_footnote_is_shown_without_leaving_the_page(page: Page):
    page.evaluate("(text) => window.arrive([text])", "a[^n]" + "\n\ntext" * 200 + "\n\n[^n]: the note")
    page.locator("#here a").click()

    expect(page.locator("#here sup").last).to_be_focused()
    expect(page.get_by_text("the note")).to_be_in_viewport()
    assert "#" not in page.url


def test_a_selection_stays_while_a_list_grows(page: Page):
    page.evaluate(
        """() => {
            const element = window.open_();
            window.shown.draw("- one\\n- two");
            getSelection().selectAllChildren(element.querySelector("li"));
        }"""
    )
    for grown in ("- one\n- two thr", "- one\n- two three\n- four", "- one\n- two three\n- four\n\ntext\n"):
        page.evaluate("(text) => window.shown.draw(text, { isComplete: true })", grown)

        assert page.evaluate("getSelection().toString()") == "one"


def test_a_table_gains_rows_and_keeps_those_that_were_there(page: Page):
    head = "| a | b |\n|---|:-:|\n"
    steps = [
        ("| 1 | **2**", [["1", "2"]]),
        ("| 1 | **2** |\n| 3", [["1", "2"], ["3", ""]]),
        ("| 1 | **2** |\n| 3 | <b> |\n| <tr> | 6 |", [["1", "2"], ["3", "<b>"], ["<tr>", "6"]]),
        ("| 1 | **2** |\n", [["1", "2"]]),
    ]
    page.evaluate("window.open_()")
    for number, (body, rows) in enumerate(steps):
        page.evaluate("(text) => window.shown.draw(text, { isComplete: true })", head + body)
        # A busy browser draws in its next frame.
        page.wait_for_function(
            """(rows) => {
                const cells = (row) => [...row.cells].map((cell) => cell.textContent);
                return JSON.stringify([...document.querySelectorAll("tbody tr")].map(cells)) === JSON.stringify(rows);
            }""",
            arg=rows,
        )
        if number == 0:
            page.evaluate("window.kept = document.querySelector('tbody tr')")

        assert page.evaluate("window.kept === document.querySelector('tbody tr')")
        assert page.locator("td").nth(1).get_attribute("align") == "center"
        assert page.locator("td strong").count() == 1


def test_code_that_is_open_only_gains_text(page: Page):
    page.evaluate("window.open_(); window.shown.draw('text\\n\\n```py\\na')")
    page.evaluate("window.kept = document.querySelector('code').firstChild")
    page.evaluate("window.shown.draw('text\\n\\n```py\\na = 1\\nb')")

    expect(page.locator("code")).to_have_text("a = 1\nb")
    assert page.evaluate("window.kept.isConnected && window.kept.data") == "a = 1\nb"


def test_copy_gives_the_code_and_keeps_the_focus(page: Page):
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.evaluate("(text) => window.arrive([text])", TEXT)
    button = page.get_by_role("button", name="Copy")
    button.focus()
    page.keyboard.press("Enter")

    expect(page.get_by_role("button", name="Copied")).to_be_focused()
    assert page.evaluate("navigator.clipboard.readText()") == 'if x < 1:\n    print("&amp;")'
    expect(page.get_by_role("button", name="Copy", exact=True)).to_be_focused()


FORMULAS = r"""A \(a_1 \in \mathbb{R}\), $b*c*d$ and

$$
\begin{aligned} x &= \boxed{1} \\ y &= \frac{1}{2} \end{aligned}
$$

| a |
|---|
| \(|z|\) |

$$
a &= b \\
c &= d
$$

Not \(\nonsense{\) and `\(code\)` and $5 or $10.
"""


def open_with_typesetter(page: Page, text: str, *, is_complete: bool = True) -> None:
    page.evaluate(
        "([text, isComplete]) => { window.open_('', '/typesetter.js'); window.shown.draw(text, { isComplete }) }",
        [text, is_complete],
    )


def test_formulas_are_typeset_where_they_are_valid(page: Page):
    """The policy of the page allows no style attributes and no fonts."""
    open_with_typesetter(page, FORMULAS)
    math = page.locator("#here math")

    expect(math).to_have_count(5)
    assert "ℝ" in (math.first.text_content() or "")
    expect(page.locator("#here math[display=block]")).to_have_count(2)
    expect(page.locator("#here td math")).to_have_count(1)
    expect(page.locator("#here")).to_contain_text(r"Not \(\nonsense{\) and \(code\) and $5 or $10.")


def test_formulas_stay_as_they_were_written_without_the_typesetter(page: Page):
    page.evaluate(
        "(text) => { window.open_('', '/missing.js'); window.shown.draw(text, { isComplete: true }) }", FORMULAS
    )
    with page.expect_response("**/missing.js"):
        pass

    expect(page.locator("#here .math").first).to_have_text(r"\(a_1 \in \mathbb{R}\)")


def test_a_selection_copies_no_labels_and_formulas_as_they_were_written(page: Page):
    """The page of this test has no style sheet but the one that the chat has for Markdown."""
    open_with_typesetter(page, "a $x_1$ b\n\n```py\nc\n```\n\nd")
    expect(page.locator("#here math")).to_have_count(1)
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.keyboard.press("Control+A")
    page.keyboard.press("Control+C")
    copied = page.evaluate("navigator.clipboard.readText()")

    assert copied.split() == ["a", "$x_1$", "b", "c", "d"]


def test_html_for_other_programs_has_neither_frames_nor_buttons(page: Page):
    open_with_typesetter(page, "- [x] $x_1$\n\n```py\nc\n```\n\n| a[^1] |\n|---|\n| b |\n\n[^1]: d")
    expect(page.locator("#here math")).to_have_count(1)

    assert page.evaluate("window.shown.html") == (
        '<ul dir="auto"><li>☑ $x_1$</li></ul><pre dir="ltr"><code>c\n</code></pre>'
        '<table dir="auto"><thead><tr><th>a<sup>1</sup></th></tr></thead><tbody><tr><td>b</td></tr></tbody></table>'
        '<p dir="auto"><sup>1</sup> d</p>'
    )


def test_a_formula_stays_typeset_while_its_paragraph_grows(page: Page):
    open_with_typesetter(page, r"a \(x_1\) b", is_complete=False)
    expect(page.locator("#here math")).to_have_count(1)
    page.evaluate("window.kept = document.querySelector('#here math')")
    page.evaluate(r"window.shown.draw('a \\(x_1\\) b and \\(y', { isComplete: false })")

    expect(page.locator("#here p")).to_contain_text("b and")
    assert page.evaluate("window.kept.isConnected && document.querySelectorAll('#here math').length") == 1


def test_a_long_text_is_shown_in_slices(page: Page):
    """The page can react in between; all of it is shown in the end."""
    words = " It has some more words, as many as a paragraph has, so that an element is worth its while." * 2
    text = "\n\n".join(f"## Step {n}\n\nA *paragraph* {n}.{words}\n\n- a\n- b" for n in range(3_000))
    at_once = page.evaluate(
        """(text) => {
            const element = window.open_();
            window.shown.draw(text, { isComplete: true });
            return element.children.length;
        }""",
        text,
    )

    assert at_once < 9_000
    expect(page.locator("#here > div > *")).to_have_count(9_000)
    expect(page.locator("#here ul").last).to_have_text("a\nb", use_inner_text=True)


def test_a_slice_has_a_limited_number_of_elements(page: Page):
    """Each block of code has a frame; their style and layout take longer than making them."""
    first = page.evaluate(
        """(text) => {
            const element = window.open_();
            window.shown.draw(text, { isComplete: true });
            return element.querySelectorAll(".sc-code").length;
        }""",
        "```js\na\n```\n" * 500,
    )

    assert first < 100
    expect(page.locator("#here .sc-code")).to_have_count(500)


def test_a_text_over_the_budget_is_plain_until_the_user_wants_it_formatted(page: Page):
    """By keyboard; the focus stays in the text, although the button goes."""
    text = "- a\n" * 8_000
    page.evaluate("(text) => { window.open_(); window.shown.draw(text, { isComplete: true }) }", text)
    button = page.get_by_role("button", name="Format this text")

    expect(page.locator("#here li")).to_have_count(0)
    page.wait_for_function(
        "(text) => [...document.querySelectorAll('.sc-plain p')].map((p) => p.textContent).join('\\n') === text",
        arg=text,
    )
    assert page.evaluate("window.shown.html") == f"<pre>{text}</pre>"
    button.focus()
    page.keyboard.press("Enter")
    expect(page.locator("#here li")).to_have_count(8_000)
    expect(button).to_have_count(0)
    expect(page.locator("#here .sc-markdown")).to_be_focused()


def test_the_button_says_when_a_text_is_too_complex(page: Page):
    """A table of 50,000 cells without text."""
    text = "|a" * 50 + "|\n" + "|-" * 50 + "|\n" + ("|" * 51 + "\n") * 1_000
    page.evaluate("(text) => { window.open_(); window.shown.draw(text, { isComplete: true }) }", text)
    page.get_by_role("button", name="Format this text").click()
    button = page.get_by_role("button", name="This text is too complex to format.")

    expect(button).to_have_attribute("aria-disabled", "true")
    expect(page.locator("#here")).to_contain_text("|a|a|")


def test_plain_text_only_grows(page: Page):
    page.evaluate("(text) => { window.open_(); window.shown.draw(text) }", "- a\n" * 8_000)
    expect(page.locator(".sc-plain p").last).to_be_attached()
    page.evaluate("window.kept = document.querySelector('.sc-plain p')")
    page.evaluate("(text) => window.shown.draw(text)", "- a\n" * 8_000 + "- b")

    expect(page.locator(".sc-plain p").last).to_contain_text("- b")
    assert page.evaluate("window.kept.isConnected")


def test_the_direction_of_a_block_follows_its_text_as_it_grows(page: Page):
    page.evaluate("(text) => { window.open_(); window.shown.draw(text) }", "...")
    before = page.locator("#here p").evaluate("(p) => getComputedStyle(p).direction")
    page.evaluate("(text) => window.shown.draw(text, { isComplete: true })", "... שלום")

    assert before == "ltr"
    assert page.locator("#here p").evaluate("(p) => getComputedStyle(p).direction") == "rtl"


def test_many_short_texts_share_the_time_of_a_task(page: Page):
    """As when a conversation of thirty replies is opened."""
    first, count = page.evaluate(
        """(text) => {
            const here = document.querySelector("#here");
            window.open_();
            const { constructor } = window.shown;
            for (let reply = 0; reply < 30; reply += 1) {
                const element = here.appendChild(document.createElement("div"));
                new constructor(element, { texts: {} }).draw(text, { isComplete: true });
            }
            return [here.querySelectorAll("p").length, text.split("\\n\\n").length - 1];
        }""",
        "A *paragraph* of a few **words**.\n\n" * 230,
    )

    assert first < 30 * count
    expect(page.locator("#here p")).to_have_count(30 * count)


def test_code_is_coloured_when_its_block_is_whole(page: Page):
    page.evaluate("(text) => { window.open_('/highlighter.js'); window.shown.draw(text) }", TEXT)
    code = page.locator("code.language-python")

    expect(code.locator(".hljs-keyword")).to_have_text(["if"])
    expect(code).to_have_text('if x < 1:\n    print("&amp;")\n')


def test_code_stays_plain_without_its_highlighter(page: Page):
    page.evaluate("(text) => { window.open_('/missing.js'); window.shown.draw(text, { isComplete: true }) }", TEXT)
    with page.expect_response("**/missing.js"):
        pass

    expect(page.locator("code.language-python")).to_contain_text("if x < 1:")


def test_what_recurses_or_multiplies_is_shown(page: Page):
    wide = "|a" * 200 + "|\n" + "|-" * 200 + "|\n" + "|a|\n" * 100
    for text in (">" * 30_000, "- " * 15_000 + "a", "[" * 30_000, "*a _b " * 5_000, "<a " * 10_000, wide):
        page.evaluate("(text) => window.arrive([text])", text)
        assert_harmless(page)
        assert page.evaluate("document.querySelector('#here').textContent.trim().length > 0")
