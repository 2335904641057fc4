"""Batches of a provider's batch API: submitted now, collected later, at a share of the price.

What was submitted is kept in a small file beside the results. It is written before a submission, too: nobody can tell
whether one that was interrupted has reached the provider, and a second one would be paid for.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from streaming_chat import private_files
from streaming_chat.exceptions import ProviderError
from streaming_chat.providers import get_provider, split_model
from streaming_chat.providers.batches import BatchItem, BatchResult, BatchState, ProviderBatches
from streaming_chat.providers.pricing import cost_of

from .files import ResultFile
from .lines import Line, answered, refused
from .running import Totals

_ID_DIGITS = 32
# Results that are written and forced to the disk together.
_SAVED_AT_ONCE = 100


@dataclass
class Submitted:
    """One batch at a provider. id: "" while it is being submitted."""

    model: str
    lines: int
    id: str = ""


class BatchFile:
    """The batches that have been submitted and not collected, in a file beside the results."""

    def __init__(self, output: Path) -> None:
        """Raises ValueError for a file that is not one. Raises OSError."""
        self.path = output.with_name(f"{output.name}.batches")
        self.batches: list[Submitted] = []
        if self.path.exists():
            try:
                self.batches = [Submitted(**batch) for batch in json.loads(self.path.read_text())]
            except (TypeError, ValueError):
                raise ValueError(f"{self.path} cannot be read.") from None

    def add(self, batch: Submitted) -> None:
        """Add a batch, and save it."""
        self.batches.append(batch)
        self.save()

    def remove(self, batch: Submitted) -> None:
        """Remove a batch; the last one, with the file."""
        self.batches.remove(batch)
        self.save()

    def save(self) -> None:
        """Write the file, so that it survives a crash; remove it if there is no batch."""
        if self.batches:
            private_files.write(self.path, json.dumps([asdict(batch) for batch in self.batches]).encode())
        else:
            self.path.unlink(missing_ok=True)


async def submit(lines: Iterable[Line], file: BatchFile) -> None:
    """Submit the lines, a batch for each model or more. Raises ProviderError, and ValueError for a provider without batches.

    The lines of a model wait in memory until there are enough for a batch.
    """
    waiting: dict[str, list[bytes]] = {}
    sizes: dict[str, int] = {}
    for line in lines:
        api = batches_of(line.model)
        item = api.encoded(BatchItem(item_id(line.id), line.prompt))
        items = waiting.setdefault(line.model, [])
        if items and (len(items) >= api.max_items or sizes[line.model] + len(item) > api.max_bytes):
            await _submit_one(line.model, items, api, file)
            items.clear()
            sizes[line.model] = 0
        items.append(item)
        sizes[line.model] = sizes.get(line.model, 0) + len(item) + 1
    for model, items in waiting.items():
        await _submit_one(model, items, batches_of(model), file)


async def _submit_one(model: str, items: list[bytes], api: ProviderBatches, file: BatchFile) -> None:
    batch = Submitted(model, len(items))
    file.add(batch)
    try:
        batch.id = await api.submit(items)
    except ProviderError as error:
        # It answered that it has no batch. Without an answer, it may have one.
        if error.status is not None:
            file.remove(batch)
        raise
    file.save()


async def states(file: BatchFile) -> list[tuple[Submitted, BatchState]]:
    """Return how far each batch is. Raises ProviderError."""
    return [(batch, await batches_of(batch.model).state(batch.id)) for batch in file.batches]


async def collect(batch: Submitted, lines: Iterator[Line], results: ResultFile, totals: Totals) -> None:
    """Save the results of a batch that has ended. Raises ProviderError, OSError.

    lines: the ones without a result yet.
    """
    by_id = {item_id(line.id): line for line in lines if line.model == batch.model}
    api = batches_of(batch.model)
    unsaved: list[dict[str, Any]] = []
    async for result in api.results(batch.id):
        if (line := by_id.pop(result.id, None)) is not None and (saved := _saved(line, result, api, totals)):
            unsaved.append(saved)
        if len(unsaved) >= _SAVED_AT_ONCE:
            results.append(unsaved)
            unsaved = []
    if unsaved:
        results.append(unsaved)


def _saved(line: Line, result: BatchResult, api: ProviderBatches, totals: Totals) -> dict[str, Any] | None:
    """Return the line to write; None if another run should ask it again."""
    try:
        if result.error is not None:
            raise result.error
        answer = api.answer(line.prompt, result.completion)
    except ProviderError as error:
        if error.retryable or error.code == "provider_auth":
            totals.left += 1
            return None
        totals.refused += 1
        return refused(line, error.code)
    usage = answer.usage._asdict() if answer.usage else {}
    cost = cost_of(line.model, usage)
    cost = None if cost is None else cost * api.price
    totals.add(answer.usage, cost)
    return answered(line, answer, cost)


def batches_of(model: str) -> ProviderBatches:
    """Return the batch API of a model. Raises ValueError if its provider has none."""
    alias = split_model(model)[0]
    api = get_provider(alias).batches()
    if api is None:
        raise ValueError(f"the provider {alias} has no batch API.")
    return api


def item_id(line_id: str) -> str:
    """Return the id of a line's prompt: the APIs accept 64 of few characters."""
    return hashlib.sha256(line_id.encode()).hexdigest()[:_ID_DIGITS]
