"""What a provider's batch API promises: many prompts at once, answered within a day, for a share of the price."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

from streaming_chat.exceptions import ProviderError

from .asking import Answer, answer_of
from .error_bodies import beginning
from .errors import opening_failure, refusal
from .parsing import parse
from .prompt import Prompt

if TYPE_CHECKING:
    from .clients import Address, Clients
    from .http import HttpStream

_READ_BYTES = 1024 * 1024


class BatchItem(NamedTuple):
    """One prompt of a batch. id: 1 to 64 characters of A-Z a-z 0-9 _ -."""

    id: str
    prompt: Prompt


class BatchState(NamedTuple):
    """How far a batch is. done: prompts that need no more work, of all."""

    is_ended: bool
    done: int
    total: int


class BatchResult(NamedTuple):
    """What came of one prompt: a completion, the JSON body of an answer; or an error, retryable if it never was asked."""

    id: str
    completion: Any = None
    error: ProviderError | None = None


class ProviderBatches(ABC):
    """The batch API of one provider. All methods raise ProviderError.

    max_items, max_bytes: of one batch. price: the share of the usual price. stream: returns the stream of a reply, which
    reads a completion, too.
    """

    max_items: int
    max_bytes: int
    price = Decimal("0.5")

    def __init__(self, stream: Callable[[Prompt], HttpStream], http: BatchHttp) -> None:
        self._stream = stream
        self._http = http

    def answer(self, prompt: Prompt, completion: Any) -> Answer:
        """Return the answer in a result."""
        stream = self._stream(prompt)
        return answer_of(stream.events_of(completion), stream, stream.end_reason)

    @abstractmethod
    def encoded(self, item: BatchItem) -> bytes:
        """Return a prompt as this API takes it."""

    @abstractmethod
    async def submit(self, items: Sequence[bytes]) -> str:
        """Start a batch of encoded prompts of one model, and return its id."""

    @abstractmethod
    async def state(self, batch_id: str) -> BatchState:
        """Return how far a batch is."""

    @abstractmethod
    def results(self, batch_id: str) -> AsyncIterator[BatchResult]:
        """Yield the results of a batch that has ended, in any order."""


class BatchHttp:
    """Requests to other URLs of an API than that of its replies, with the same client."""

    def __init__(self, clients: Clients, address: Address, request_id_header: str) -> None:
        self._clients = clients
        self._address = address
        self._request_id_header = request_id_header

    async def ask(self, method: str, path: str, **content: Any) -> dict[str, Any]:
        """Return the object that the API answers. content: `json` or `data`, as aiohttp takes them."""
        try:
            client = await self._clients.get()
            async with await client.request(method, self._address.url(path), **content) as response:
                if response.status >= 300:
                    raise await self._refusal(response)
                return dict(parse(await response.read()))
        except Exception as error:  # noqa: BLE001  (every class that a transport can raise becomes one of our codes)
            failure = opening_failure(error)
        raise failure

    async def lines(self, path: str) -> AsyncIterator[Any]:
        """Yield the objects of a file of JSON lines."""
        client = await self._clients.get()
        async with await client.request("GET", self._address.url(path)) as response:
            if response.status >= 300:
                raise await self._refusal(response)
            rest = b""
            async for data in response.content.iter_chunked(_READ_BYTES):
                *lines, rest = (rest + data).split(b"\n")
                for line in lines:
                    if line.strip():
                        yield parse(line)
            if rest.strip():
                yield parse(rest)

    async def _refusal(self, response: Any) -> ProviderError:
        return refusal(response.status, response.headers, await beginning(response.content), self._request_id_header)


def parameters_of(parameters: dict[str, Any]) -> dict[str, Any]:
    """Return the body of a reply's request without its stream."""
    return {name: value for name, value in parameters.items() if name not in ("stream", "stream_options")}


def line_of(value: Any) -> bytes:
    """Return an object as one line of JSON, without its end."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
