"""OpenAI's batch API, for chat completions and responses, at its own address or a compatible one.

Source: https://platform.openai.com/docs/guides/batch
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING, Any

from streaming_chat.exceptions import ProviderError

from .batches import BatchHttp, BatchItem, BatchResult, BatchState, ProviderBatches, line_of, parameters_of
from .clients import Address
from .errors import refusal
from .openai_api import BASE_URL

if TYPE_CHECKING:
    from .openai import OpenAIProvider
    from .openai_responses import OpenAIResponsesProvider

_ENDED = ("completed", "failed", "expired", "cancelled")


class OpenAIBatches(ProviderBatches):
    """A batch is a file of requests; its results are a file, and those without an answer another."""

    max_items = 50_000
    max_bytes = 190 * 1024 * 1024

    def __init__(self, provider: OpenAIProvider | OpenAIResponsesProvider, path: str) -> None:
        """path: of the API below `/v1/`."""
        address = Address.of(provider.base_url or BASE_URL)
        super().__init__(provider.stream, BatchHttp(provider.clients, address, "x-request-id"))
        self._parameters = provider.parameters
        self._endpoint = f"/v1/{path}"

    def encoded(self, item: BatchItem) -> bytes:
        body = parameters_of(self._parameters(item.prompt))
        return line_of({"custom_id": item.id, "method": "POST", "url": self._endpoint, "body": body})

    async def submit(self, items: Sequence[bytes]) -> str:
        from aiohttp import FormData

        form = FormData({"purpose": "batch"})
        form.add_field("file", b"\n".join(items), filename="batch.jsonl", content_type="application/jsonl")
        file = await self._http.ask("POST", "files", data=form)
        batch = {"input_file_id": file["id"], "endpoint": self._endpoint, "completion_window": "24h"}
        return str((await self._http.ask("POST", "batches", json=batch))["id"])

    async def state(self, batch_id: str) -> BatchState:
        batch = await self._http.ask("GET", f"batches/{batch_id}")
        counts = batch.get("request_counts") or {}
        done = (counts.get("completed") or 0) + (counts.get("failed") or 0)
        return BatchState(batch.get("status") in _ENDED, done, counts.get("total") or 0)

    async def results(self, batch_id: str) -> AsyncIterator[BatchResult]:
        batch = await self._http.ask("GET", f"batches/{batch_id}")
        for name in ("output_file_id", "error_file_id"):
            if file_id := batch.get(name):
                async for line in self._http.lines(f"files/{file_id}/content"):
                    yield _result(line)


def _result(line: dict[str, Any]) -> BatchResult:
    custom_id = str(line.get("custom_id"))
    response = line.get("response") or {}
    status = response.get("status_code")
    if status == 200:
        return BatchResult(custom_id, response.get("body"))
    if status:
        return BatchResult(custom_id, error=refusal(status, {}, line_of(response.get("body")), ""))
    # It expired, or the batch was cancelled: the model was never asked.
    return BatchResult(custom_id, error=ProviderError("provider_unavailable", retryable=True))
