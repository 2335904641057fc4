"""What a model wrote is shown, and does nothing."""

from html.parser import HTMLParser

from django.test import SimpleTestCase
from django.utils.safestring import SafeString
from hypothesis import given
from hypothesis import strategies as st

from streaming_chat import rendering
from streaming_chat.rendering import markdown, plain

HOSTILE = [
    "<script>alert(1)</script>",
    "<scr<script>ipt>alert(1)</scr</script>ipt>",
    "<img src=x onerror=alert(1)>",
    '<p onclick="alert(1)" style="position:fixed">x</p>',
    "<svg onload=alert(1)><use href='data:image/svg+xml;base64,AAAA'/></svg>",
    '<svg></p><style><g title="</style><img src onerror=alert(1)>">',
    '<math><mtext><table><mglyph><style><!--</style><img title="--&gt;&lt;img src=1 onerror=alert(1)&gt;">',
    '<noscript><p title="</noscript><img src=x onerror=alert(1)>">',
    "<template><script>alert(1)</script></template>",
    "<iframe srcdoc='<script>alert(1)</script>'></iframe>",
    "<object data=x></object><embed src=x><form action=/x><input name=a autofocus onfocus=alert(1)></form>",
    "<base href=//evil.example><meta http-equiv=refresh content=0;url=//evil.example><link rel=stylesheet href=//e>",
    "<style>*{background:url(//evil.example)}</style>",
    "<!--><img src=x onerror=alert(1)>-->",
    "[x](javascript:alert(1))",
    "[x](JaVaScRiPt:alert(1))",
    "[x](java&#10;script:alert(1))",
    "[x](&#106;avascript:alert(1))",
    "[x](\x01javascript:alert(1))",
    "[x](data:text/html;base64,PHNjcmlwdD4=)",
    "[x](vbscript:x) [y](file:///etc/passwd) [z](blob:x)",
    "<javascript:alert(1)> <data:text/html,x>",
    "[x][r]\n\n[r]: javascript:alert(1)",
    '[x](https://e.example "a\\" onmouseover=\\"alert(1)")',
    "[x](https://e.example'onmouseover='alert(1))",
    '```"><script>alert(1)</script>\ncode\n```',
    '```x" onmouseover="alert(1)\ncode\n```',
    "![x](javascript:alert(1))",
    "![x](data:image/png;base64,AAAA)",
    '![" onerror="alert(1)](https://e.example/i.png)',
    "![<img src=x onerror=alert(1)>](https://e.example/i.png)",
    "![{address.__class__}](https://e.example/{alt})",
    "[![a](https://e.example/i.png)](javascript:alert(1))",
    "| <script>alert(1)</script> |\n|---|\n| <img src=x onerror=alert(1)> |",
    "`<script>alert(1)</script>`",
    "&lt;script&gt;alert(1)&lt;/script&gt;",
    "\\<script>alert(1)\\</script>",
    "</div></li></ol><h1>Not ours</h1>",
]


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
        allowed = rendering._ATTRIBUTES.get(tag, set()) | ({"rel"} if tag == "a" else set())

        assert tag in rendering._TAGS | {"pre"}
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
        for text in HOSTILE:
            with self.subTest(text):
                assert_harmless(markdown(text))
                assert_harmless(markdown(f"> - {text}"))

    def test_the_allow_list_has_the_last_word(self):
        """Should the Markdown library let something through, it ends here."""
        for text in HOSTILE:
            with self.subTest(text):
                cleaned = rendering.clean(text)

                assert_harmless(cleaned)
                assert rendering.clean(cleaned) == cleaned

    @given(st.lists(st.sampled_from([*HOSTILE, "*", "_", "`", "[", "](", ")", "\n", "\n\n", "> ", "|", "<", "&"])))
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
        self.assert_as_written("*a* " * (rendering.MAX_CHARS // 4) + "b")

    def test_what_is_just_not_too_long_is_formatted(self):
        assert "<em>a</em>" in markdown("*a* " * (rendering.MAX_CHARS // 4))

    def test_a_pile_of_brackets_is_shown_as_written(self):
        self.assert_as_written("[" * (rendering.MAX_BRACKETS + 1))

    def test_a_table_that_would_grow_is_shown_as_written(self):
        self.assert_as_written("|a" * 200 + "|\n" + "|-" * 200 + "|\n" + "|a|\n" * 100)

    def test_deep_nesting_ends(self):
        for text in (">" * 30_000, "- " * 15_000, "".join("  " * depth + "- a\n" for depth in range(150))):
            with self.subTest(text[:4]):
                depth = markdown(text).count("<blockquote") + markdown(text).count("<ul")

                assert depth < 100

    def test_text_as_written_is_escaped(self):
        assert plain("<b>&'\"") == '<pre dir="auto">&lt;b&gt;&amp;&#x27;&quot;</pre>'
