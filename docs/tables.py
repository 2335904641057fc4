"""Writes the tables of docs/settings.md from the code: run `python -m docs.tables` after a change.

A table stands between `<!-- table: … -->`, which names a class of settings in streaming_chat/conf.py or the dotted path of
a backend, and `<!-- end -->`. tests/test_docs.py fails while the page is not up to date.
"""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

PAGE = Path(__file__).with_name("settings.md")
_TABLE = re.compile(r"(<!-- table: (\S+) -->\n).*?(<!-- end -->)", re.DOTALL)


def render(text: str) -> str:
    """Return the text of the page with its tables as they should be."""
    return _TABLE.sub(lambda match: f"{match[1]}\n{_table(match[2])}\n{match[3]}", text)


def _table(name: str) -> str:
    rows = _options(name) if "." in name else _settings(name)
    return "".join(f"| {' | '.join(cell.replace('|', '&#124;') for cell in row)} |\n" for row in rows)


def _settings(section: str) -> Iterator[Iterable[str]]:
    from streaming_chat.conf import SETTINGS

    yield "`STREAMING_CHAT_…`", "default", "value", "meaning"
    yield ("---",) * 4
    for name, setting in SETTINGS.items():
        if setting.section == section:
            yield name.removeprefix("STREAMING_CHAT_"), _shown(setting.default), setting.kind.wanted, setting.meaning


def _options(path: str) -> Iterator[Iterable[str]]:
    from django.utils.module_loading import import_string

    backend = import_string(path)
    defaults = _defaults(backend)
    meanings = _meanings(inspect.getdoc(backend) or "", defaults)
    yield "option", "default", "meaning"
    yield ("---",) * 3
    for name, default in defaults.items():
        yield f"`{name}`", "required" if default is inspect.Parameter.empty else _shown(default), meanings[name]


def _defaults(backend: type) -> dict[str, Any]:
    """Return the options of a class with their defaults: its keyword arguments, its fields, or those of every provider."""
    from streaming_chat.providers.base import Provider, ProviderOptions

    if backend is Provider:
        return {name: getattr(Provider, name) for name in ProviderOptions.__annotations__}
    if is_dataclass(backend):
        made = backend()
        return {field.name: getattr(made, field.name) for field in fields(backend)}
    parameters = inspect.signature(backend).parameters.values()
    taken = [each for each in parameters if each.name != "alias" and each.kind is not each.VAR_KEYWORD]
    return {parameter.name: parameter.default for parameter in taken}


def _meanings(doc: str, names: Iterable[str]) -> dict[str, str]:
    """Return what a docstring says of each name, after `name: ` or `one, another: `, up to the next one."""
    any_name = "|".join(names)
    _, *found = re.split(rf"(?:^|(?<=\s))((?:{any_name})(?:, (?:{any_name}))*): ", " ".join(doc.split()))
    meanings = zip(found[::2], found[1::2], strict=True)
    return {name: text[0].upper() + text[1:].strip() for listed, text in meanings for name in listed.split(", ")}


def _shown(value: Any) -> str:
    """Return a value as Python would write it, with spaces in large numbers."""
    if value is None or isinstance(value, bool):
        return str(value)
    if isinstance(value, int | float):
        return f"{value:,}".removesuffix(".0").replace(",", " ")
    return f"`{value!r}`".replace("'", '"')


if __name__ == "__main__":
    import django

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    django.setup()
    PAGE.write_text(render(PAGE.read_text()))
