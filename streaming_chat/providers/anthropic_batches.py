"""Anthropic's Message Batches API.

Source: https://platform.claude.com/docs/en/build-with-claude/batch-processing
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING, Any

from streaming_chat.exceptions import ProviderError

from .batches import BatchHttp, BatchItem, BatchResult, BatchState, ProviderBatches, line_of, parameters_of
from .clients import Address
from .errors import error_code

if TYPE_CHECKING:
    from .anthropic import AnthropicProvider

_PATH = "v1/messages/batches"


class AnthropicBatches(ProviderBatches):
    """A batch is one request with all prompts; its results are lines."""

    max_items = 100_000
    max_bytes = 240 * 1024 * 1024

    def __init__(self, provider: AnthropicProvider, base_url: str) -> None:
        super().__init__(provider.stream, BatchHttp(provider.clients, Address.of(base_url), "request-id"))
        self._parameters = provider.parameters

    def encoded(self, item: BatchItem) -> bytes:
        return line_of({"custom_id": item.id, "params": parameters_of(self._parameters(item.prompt))})

    async def submit(self, items: Sequence[bytes]) -> str:
        body = b'{"requests":[' + b",".join(items) + b"]}"
        return str((await self._http.ask("POST", _PATH, data=body))["id"])

    async def state(self, batch_id: str) -> BatchState:
        batch = await self._http.ask("GET", f"{_PATH}/{batch_id}")
        counts = batch.get("request_counts") or {}
        total = sum(number for number in counts.values() if isinstance(number, int))
        return BatchState(batch.get("processing_status") == "ended", total - (counts.get("processing") or 0), total)

    async def results(self, batch_id: str) -> AsyncIterator[BatchResult]:
        # Not its results_url, which could name another host.
        async for line in self._http.lines(f"{_PATH}/{batch_id}/results"):
            yield _result(line)


def _result(line: dict[str, Any]) -> BatchResult:
    custom_id, result = str(line.get("custom_id")), line.get("result") or {}
    if result.get("type") == "succeeded":
        return BatchResult(custom_id, result.get("message"))
    if result.get("type") == "errored":
        code, retryable = error_code(None, result.get("error"), inside=True)
        return BatchResult(custom_id, error=ProviderError(code, retryable=retryable))
    # It expired or was cancelled: the model was never asked.
    return BatchResult(custom_id, error=ProviderError("provider_unavailable", retryable=True))
