"""Every string of the app is in each of its catalogues. Needs no gettext on the machine."""

import ast
import gettext
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from django.test import TestCase
from django.urls import reverse
from django.utils import translation
from django.utils.translation import templatize

import streaming_chat

from .factories import make_user

APP = Path(streaming_chat.__file__).parent
CATALOGUES = sorted(APP.glob("locale/*/LC_MESSAGES/django.po"))
# Where a function takes its context, its text and its plural.
ARGUMENTS = {
    "_": (None, 0, None),
    "gettext": (None, 0, None),
    "gettext_lazy": (None, 0, None),
    "gettext_noop": (None, 0, None),
    "pgettext": (0, 1, None),
    "pgettext_lazy": (0, 1, None),
    "ngettext": (None, 0, 1),
    "ngettext_lazy": (None, 0, 1),
    "npgettext": (0, 1, 2),
    "npgettext_lazy": (0, 1, 2),
}
# `%(name)s`, `%.1f`, `{name}`; a per cent sign of its own (`%%`) is none.
PLACEHOLDER = re.compile(r"(?<!%)%(?:\(\w+\))?[-+ #0]*\d*(?:\.\d+)?[a-zA-Z]|\{\w+\}")
TEMPLATE_CALL = re.compile(r"\b(?:_|n?p?gettext)\(")


class Key(NamedTuple):
    """What finds a translation."""

    context: str
    text: str
    plural: str


class Entry(NamedTuple):
    """One of a catalogue. translations: one, or one for each plural form."""

    key: Key
    flags: str
    translations: list[str]


def used() -> set[Key]:
    """Return what the sources of the app ask for."""
    found = set()
    for path in APP.rglob("*.py"):
        found.update(_calls(ast.parse(path.read_text(encoding="utf-8"))))
    for path in APP.rglob("*.html"):
        # Django turns a template into calls, between other text, for xgettext.
        calls = templatize(path.read_text(encoding="utf-8"))
        for match in TEMPLATE_CALL.finditer(calls):
            found.update(_calls(ast.parse(_call_at(calls, match.start()))))
    return found


def _call_at(text: str, start: int) -> str:
    """Return the call that begins at start: up to the first bracket with which it is Python."""
    for end in (match.end() for match in re.finditer(r"\)", text[start:])):
        try:
            ast.parse(text[start : start + end])
        except SyntaxError:
            continue
        return text[start : start + end]
    raise ValueError(f"expected a call that is closed, got {text[start : start + 60]!r}.")


def _calls(tree: ast.AST) -> Iterator[Key]:
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = getattr(node.func, "id", getattr(node.func, "attr", ""))
        if name in ARGUMENTS:
            texts = [argument.value if isinstance(argument, ast.Constant) else None for argument in node.args]
            words = ["" if place is None else texts[place] for place in ARGUMENTS[name]]
            if None not in words:
                yield Key(*words)


def read_catalogue(path: Path) -> list[Entry]:
    """Return the entries of a .po file, its header first, without those that it keeps from earlier versions (`#~`)."""
    blocks = path.read_text(encoding="utf-8").strip().split("\n\n")
    return [_entry(block) for block in blocks if "\nmsgid " in block]


def _entry(block: str) -> Entry:
    fields: dict[str, str] = {}
    flags, field = "", ""
    for line in block.splitlines():
        if line.startswith("#,"):
            flags += line
        elif not line.startswith("#"):
            name, quote, rest = line.partition('"')
            field = name.strip() or field
            fields[field] = fields.get(field, "") + ast.literal_eval(quote + rest)
    key = Key(fields.get("msgctxt", ""), fields["msgid"], fields.get("msgid_plural", ""))
    return Entry(key, flags, [text for name, text in fields.items() if name.startswith("msgstr")])


def placeholders(text: str) -> list[str]:
    """Return them in an order of their own: a language has its own order of words."""
    return sorted(PLACEHOLDER.findall(text))


def test_both_languages_are_there():
    assert [path.parent.parent.name for path in CATALOGUES] == ["ar", "de"]


@pytest.mark.parametrize("path", CATALOGUES, ids=lambda path: path.parent.parent.name)
class TestCatalogue:
    def test_it_has_every_string_of_the_app_and_no_other(self, path):
        assert {entry.key for entry in read_catalogue(path)[1:]} == used()

    def test_every_string_is_translated_for_certain(self, path):
        entries = read_catalogue(path)

        assert [entry.key.text for entry in entries if not all(entry.translations) or "fuzzy" in entry.flags] == []

    def test_placeholders_stay(self, path):
        changed = [
            (entry.key.text, translation)
            for entry in read_catalogue(path)[1:]
            for translation in entry.translations
            if placeholders(translation) != placeholders(entry.key.text)
        ]

        assert changed == []

    def test_every_plural_form_of_the_language_is_there(self, path):
        header, *entries = read_catalogue(path)
        forms = int(re.search(r"nplurals=(\d)", header.translations[0])[1])

        assert {len(entry.translations) for entry in entries if entry.key.plural} == {forms}

    def test_the_compiled_file_says_the_same(self, path):
        with path.with_suffix(".mo").open("rb") as file:
            compiled = gettext.GNUTranslations(file)._catalog
        header, *entries = read_catalogue(path)
        expected = {"": header.translations[0]}
        for (context, text, plural), _flags, translations in entries:
            key = f"{context}\x04{text}" if context else text
            expected |= {(key, i): one for i, one in enumerate(translations)} if plural else {key: translations[0]}

        assert compiled == expected


LOCALE = "django.middleware.locale.LocaleMiddleware"


class PageTests(TestCase):
    def test_an_arabic_page_is_arabic_and_right_to_left(self):
        self.client.force_login(make_user())

        # The middleware's language would be that of all tests after this one.
        with translation.override("en"), self.modify_settings(MIDDLEWARE={"append": LOCALE}):
            page = self.client.get(reverse("streaming_chat:chat"), headers={"Accept-Language": "ar"}).text

        assert re.search(r'<html lang="ar" dir="rtl">', page)
        assert "عمّ تريد أن تتحدث؟" in page
        assert "What would you like to talk about?" not in page
