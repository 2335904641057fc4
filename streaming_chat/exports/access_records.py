"""Exports of access records, oldest first. jsonl: a record per line; csv: a record per row, for spreadsheets."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from typing import Any

from django.db import router
from django.db.models import QuerySet

from streaming_chat.db.paging import pages
from streaming_chat.models import AccessRecord

from .rows import Row, to_json, to_text
from .transcripts import escape_formula

_COLUMNS = ("id", "at", "by_name", "kind", "conversation", "message", "owner_key", "count", "reason")
_PAGE_SIZE = 500


def export_access_records(records: QuerySet[AccessRecord], form: str, *, with_terms: bool) -> Iterator[bytes]:
    """Yield the file of access records, a page at a time. Blocking.

    form: of transcripts.FORMATS. with_terms: also the search terms, which are text.
    """
    columns = [*_COLUMNS, "terms"] if with_terms else list(_COLUMNS)
    if form == "csv":
        yield b"\xef\xbb\xbf" + _to_csv([columns])
    rows = records.using(router.db_for_write(AccessRecord)).values(*columns)
    for page in pages(rows, _PAGE_SIZE, key="id"):
        yield _to_csv(_cells(row) for row in page) if form == "csv" else _to_jsonl(page)


def _to_jsonl(page: Iterable[Row]) -> bytes:
    return "".join(f"{to_json(row)}\n" for row in page).encode()


def _to_csv(rows: Iterable[Iterable[str]]) -> bytes:
    file = io.StringIO(newline="")
    csv.writer(file, quoting=csv.QUOTE_ALL).writerows(rows)
    return file.getvalue().encode()


def _cells(row: dict[str, Any]) -> list[str]:
    return ["" if value is None else escape_formula(to_text(value)) for value in row.values()]
