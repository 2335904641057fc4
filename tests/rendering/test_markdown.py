"""What a model wrote is shown, and does nothing."""

from html.parser import HTMLParser

from django.test import SimpleTestCase
from django.utils.safestring import SafeString
from hypothesis import given
from hypothesis import strategies as st

from streaming_chat.rendering.markdown import _ATTRIBUTES, _TAGS, MAX_BRACKETS, MAX_CHARS, clean, markdown, plain
from tests.hostile import HOSTILE


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
        assert (attributes.get("href") or "https://").startswith(("http://", "https://", "mailto:"))
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


class BoundsTests(SimpleTestCase):
    """Work is bounded by size and shape, so that no message can make a page slow."""

    def assert_as_written(self, text):
        assert markdown(text) == plain(text)

    def test_what_is_too_long_is_shown_as_written(self):
        self.assert_as_written("*a* " * (MAX_CHARS // 4) + "b")

    def test_what_is_just_not_too_long_is_formatted(self):
        assert "<em>a</em>" in markdown("*a* " * (MAX_CHARS // 4))

    def test_a_pile_of_brackets_is_shown_as_written(self):
        self.assert_as_written("[" * (MAX_BRACKETS + 1))

    def test_a_table_that_would_grow_is_shown_as_written(self):
        self.assert_as_written("|a" * 200 + "|\n" + "|-" * 200 + "|\n" + "|a|\n" * 100)

    def test_deep_nesting_ends(self):
        for text in (">" * 30_000, "- " * 15_000, "".join("  " * depth + "- a\n" for depth in range(150))):
            with self.subTest(text[:4]):
                depth = markdown(text).count("<blockquote") + markdown(text).count("<ul")

                assert depth < 100

    def test_text_as_written_is_escaped(self):
        assert plain("<b>&'\"") == '<pre dir="auto">&lt;b&gt;&amp;&#x27;&quot;</pre>'
