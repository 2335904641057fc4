"""What a model wrote is shown, and does nothing."""

import re
from html.parser import HTMLParser

from django.test import SimpleTestCase
from django.utils.safestring import SafeString
from hypothesis import given
from hypothesis import strategies as st

from streaming_chat.rendering.markdown_html import (
    _ATTRIBUTES,
    _TAGS,
    PAGE_COST,
    MarkdownBudget,
    clean,
    markdown,
    plain,
)
from tests.hostile import HOSTILE

TEXT = """## Rain

It **will** rain, see [the page](https://e.example/rain), and `rain()` says so.

- one, which is *longer*
- two

| a | b |
|---|--:|
| 1 | $x^2$ |

```python
if x < 1:
    print("&amp;")
```

"""


class Elements(HTMLParser):
    """Collects the elements and attributes of a page, as a browser would see them."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))

    @property
    def tags(self):
        return {tag for tag, _attributes in self.found}


def assert_harmless(html: str) -> None:
    for tag, attributes in Elements(html).found:
        allowed = _ATTRIBUTES.get(tag, set()) | ({"rel"} if tag == "a" else set())

        assert tag in _TAGS | {"pre"}
        assert set(attributes) <= allowed | ({"dir"} if tag == "pre" else set())
        assert (attributes.get("href") or "https://").startswith(("http://", "https://", "mailto:", "#fn-"))
        assert "on" not in {name[:2] for name in attributes}


class MarkdownTests(SimpleTestCase):
    def test_what_models_write_is_formatted(self):
        html = markdown("# Rain\n\nIt **will** ~~not~~ rain:\n\n- `a`\n\n```python\nx < 1\n```\n\n> so")

        assert Elements(html).tags == {"h1", "p", "strong", "s", "ul", "li", "code", "pre", "blockquote"}
        assert '<code class="language-python">x &lt; 1\n</code>' in html
        assert isinstance(html, SafeString)

    def test_tables_keep_their_alignment_without_style(self):
        """A strict policy blocks style attributes."""
        html = markdown("| a | b |\n|:--|--:|\n| 1 | 2 |")

        assert '<td align="right">2</td>' in html
        assert "style" not in html

    def test_each_outer_block_has_a_direction_of_its_own(self):
        html = markdown("שלום\n\nhello\n\n- שלום")

        assert html.count('<p dir="auto">') == 2
        assert '<ul dir="auto">\n<li>' in html

    def test_lines_stay_lines(self):
        assert markdown("a\nb") == '<p dir="auto">a<br>\nb</p>\n'

    def test_links_leave_no_trace_and_gain_no_rank(self):
        html = markdown("[x](https://e.example/a?b=1&c=2) <mailto:a@e.example>")

        assert html == (
            '<p dir="auto"><a href="https://e.example/a?b=1&amp;c=2" rel="noopener nofollow ugc">x</a> '
            '<a href="mailto:a@e.example" rel="noopener nofollow ugc">mailto:a@e.example</a></p>\n'
        )

    def test_addresses_of_this_site_are_no_links(self):
        """Staff who follow a model's link must not land on a page of their own admin."""
        for address in ("/admin/logout/", "//evil.example", "?delete=1", "admin/", "#content"):
            with self.subTest(address):
                assert "<a" not in markdown(f"[click]({address})")

    def test_images_are_described_and_not_fetched(self):
        html = markdown('![A *grey* cloud](https://e.example/i.png "t")')

        assert html == '<p dir="auto">[Image: A grey cloud https://e.example/i.png]</p>\n'

    def test_html_stays_text(self):
        assert markdown("<b>hi</b>") == '<p dir="auto">&lt;b&gt;hi&lt;/b&gt;</p>\n'

    def test_hostile_text_does_nothing(self):
        for name, text in HOSTILE.items():
            with self.subTest(name):
                assert_harmless(markdown(text))
                assert_harmless(markdown(f"> - {text}"))

    def test_the_allow_list_has_the_last_word(self):
        """Should the Markdown library let something through, it ends here."""
        for name, text in HOSTILE.items():
            with self.subTest(name):
                cleaned = clean(text)

                assert_harmless(cleaned)
                assert clean(cleaned) == cleaned

    @given(
        st.lists(st.sampled_from([*HOSTILE.values(), "*", "_", "`", "[", "](", ")", "\n", "\n\n", "> ", "|", "<", "&"]))
    )
    def test_no_mixture_does_anything(self, pieces):
        assert_harmless(markdown("".join(pieces)))

    @given(st.text(st.characters(exclude_categories=())))
    def test_any_text_is_rendered(self, text):
        assert_harmless(markdown(text))

    def test_text_that_cannot_be_encoded_is_made_so(self):
        assert "\ufffd" in markdown("a\ud800b")


class BeyondCommonMarkTests(SimpleTestCase):
    """What models write besides. frontend/tests/corpus.mjs has more of each; the browser tests compare both renderers."""

    def assert_shows(self, text, html):
        """Compare inside a paragraph, and without what every link has."""
        assert markdown(text).replace(' rel="noopener nofollow ugc"', "") == f'<p dir="auto">{html}</p>\n'

    def assert_formula(self, text, formula):
        assert f'<span class="math" dir="ltr">{formula}</span>' in markdown(text)

    def test_formulas_stay_as_they_were_written(self):
        for formula in (r"\(a_1 \\ b*c*d\)", r"\[ x = \frac{1}{2} \]", "$$y_1_2$$", "$a*b*c$", r"$5 \cdot x$", "$n$"):
            with self.subTest(formula):
                self.assert_formula(f"A *formula* {formula}, said.", formula)

    def test_a_formula_may_have_lines_that_look_like_a_list_or_a_heading(self):
        self.assert_formula("text\n$$\nx_1\n=\n- y_2\n$$\nmore", "$$\nx_1\n=\n- y_2\n$$")
        self.assert_formula("1. first\n   \\[\n   x\n   + y\n   \\]", "\\[\nx\n+ y\n\\]")

    def test_a_formula_in_a_table_keeps_its_pipes(self):
        html = markdown("| a | b |\n|---|---|\n| \\(|x|\\) | $$ |\n| $$ | $$ |")

        assert '<td><span class="math" dir="ltr">\\(|x|\\)</span></td>' in html
        assert html.count("<td>$$</td>") == 3

    def test_code_holds_no_formula(self):
        assert "math" not in markdown("`\\(a\\)` ``$b$``\n\n```\n$$\nc\n$$\n```\n\n    \\[d\\]")

    def test_prices_are_no_formulas(self):
        for text in (
            "$5 and $10",
            "5$ to 6$",
            "US$5-$6",
            "$5 and 10$",
            "$$ to $$$",
            "$$ or $$",
            "$20k/$30k",
            "$HOME/$USER",
        ):
            with self.subTest(text):
                self.assert_shows(text, text)

    def test_a_tag_breaks_a_line(self):
        self.assert_shows("a<br>b<BR />c", "a<br>\nb<br>\nc")

    def test_bold_next_to_cjk_punctuation_is_bold(self):
        self.assert_shows("これは**「重要」**な", "これは<strong>「重要」</strong>な")
        self.assert_shows("**注意：**正文", "<strong>注意：</strong>正文")
        self.assert_shows(
            '**한국어(Korean)**은 **"이것"**을', '<strong>한국어(Korean)</strong>은 <strong>"이것"</strong>을'
        )

    def test_a_bare_address_is_a_link_without_the_punctuation_behind_it(self):
        for address, rest in (
            ("https://e.example/a_(b)", "), x"),
            ("http://e.example/?q=_a_b", "_."),
            ("https://e.example/x", "；于"),
        ):
            with self.subTest(address):
                self.assert_shows(f"({address}{rest}", f'(<a href="{address}">{address}</a>{rest}')
        self.assert_shows("www.e.example!", '<a href="https://www.e.example">www.e.example</a>!')

    def test_a_task_list_has_boxes(self):
        html = markdown("- [x] *one*\n- [ ] two\n- [y] three")

        assert (
            '<li><input type="checkbox" disabled="" aria-label="Completed task" checked=""> <em>one</em></li>' in html
        )
        assert '<li><input type="checkbox" disabled="" aria-label="Open task"> two</li>' in html
        assert "<li>[y] three</li>" in html

    def test_a_footnote_is_linked_to_its_mark(self):
        marked, note = Elements(markdown("a[^n] b[^none]\n\n[^n]: *note*")).found[2], markdown("a[^n]\n\n[^n]: *note*")

        assert marked[0] == "a"
        assert re.fullmatch("#fn-[0-9a-f]{8}-n", marked[1]["href"])
        assert re.search('<p dir="auto"><sup id="fn-[0-9a-f]{8}-n">n</sup> <em>note</em></p>', note)
        assert "[^none]" in markdown("a[^n] b[^none]\n\n[^n]: *note*")

    def test_a_number_marks_a_footnote_that_is_missing(self):
        self.assert_shows("a[^1] [^0-9]", "a<sup>1</sup> [^0-9]")


class BudgetTests(SimpleTestCase):
    """Work is bounded for a page. tests/limits/test_server_markdown.py shows that the bound is one."""

    def test_a_text_that_costs_more_than_a_page_may_is_shown_as_written(self):
        text = "*a* " * PAGE_COST

        assert MarkdownBudget().format(text) == (plain(text), False)

    def test_what_the_texts_before_have_left_is_what_a_text_may_cost(self):
        budget = MarkdownBudget()
        text = "*a* " * (PAGE_COST // 40)

        assert budget.format(text) == (markdown(text), False)
        assert budget.format(text) == (markdown(text), False)
        assert budget.format(text) == (plain(text), True)
        assert budget.format("*a*") == (markdown("*a*"), False)

    def test_long_texts_are_formatted(self):
        assert "<em>a</em>" in MarkdownBudget().format(f"{TEXT * 600}*a*").html

    def test_an_ordinary_page_is_formatted(self):
        budget = MarkdownBudget()

        assert not any(budget.format(TEXT * 13).is_unformatted for _reply in range(50))


class BoundsTests(SimpleTestCase):
    def test_a_table_ends_where_most_of_its_cells_would_be_missing(self):
        html = markdown("|a" * 200 + "|\n" + "|-" * 200 + "|\n" + "|a|\n" * 100)

        assert html.count("<th>a</th>") == 200
        assert 0 < html.count("<tr>") - 1 < 10
        assert html.count("|a|") > 90

    def test_a_table_may_have_short_rows(self):
        assert markdown("| a | b | c |\n|---|---|---|\n| 1 |\n| 2 |\n\n").count("<td>") == 6

    def test_a_formula_begins_at_the_last_beginning(self):
        assert '\\( a <span class="math" dir="ltr">\\( b \\)</span>'[1:] in markdown("\\( a \\( b \\)")
        assert '<span class="math" dir="ltr">\\[\nb\n\\]</span>' in markdown("\\[\na\n\\[\nb\n\\]")

    def test_code_in_a_row_hides_formulas(self):
        html = markdown("| a | b |\n|---|---|\n| `$x` | ``y$`` |\n| \\$1 | $|x|$ |")

        assert "<td><code>$x</code></td>\n<td><code>y$</code></td>" in html
        assert '<span class="math" dir="ltr">$|x|$</span>' in html

    def test_deep_nesting_ends(self):
        for text in (">" * 30_000, "- " * 15_000, "".join("  " * depth + "- a\n" for depth in range(150))):
            with self.subTest(text[:4]):
                depth = markdown(text).count("<blockquote") + markdown(text).count("<ul")

                assert depth < 100

    def test_what_is_nested_too_deeply_is_text(self):
        """markdown-it would leave it out."""
        for text in ("> " * 30 + "the end", "- " * 30 + "the end"):
            with self.subTest(text[:2]):
                assert "the end" in markdown(text)

    def test_text_as_written_is_escaped(self):
        assert plain("<b>&'\"") == '<pre dir="auto">&lt;b&gt;&amp;&#x27;&quot;</pre>'
