"""What the two APIs of OpenAI have in common: the address, the client, and what tells users and prompts apart."""

from __future__ import annotations

from functools import partial
from types import ModuleType
from typing import TYPE_CHECKING

from .clients import Address, Clients, Secret
from .prompt import RunContext

if TYPE_CHECKING:
    from .http_client import Client

BASE_URL = "https://api.openai.com/v1"
_HOST = "api.openai.com"


def is_openai(base_url: str | None) -> bool:
    """Return whether this is OpenAI's own address, and not that of a compatible server. Raises ValueError."""
    return Address.of(base_url or BASE_URL).host == _HOST


def price_source(base_url: str | None) -> tuple[str, str]:
    """Return what `Provider.price_source` promises."""
    # A gateway has prices of its own, even for models of a known name.
    return ("provider_api_url", base_url) if base_url else ("provider_id", "openai")


def hashes_of(context: RunContext) -> dict[str, str]:
    """Return what tells OpenAI one user from another, and which prompts begin alike. Compatible servers may refuse it."""
    keys = {"safety_identifier": context.owner_hash, "prompt_cache_key": context.conversation_hash}
    return {name: value for name, value in keys.items() if value}


def make_clients(
    path: str,
    *,
    api_key: str,
    base_url: str | None,
    connect_seconds: float,
    organization: str | None,
    project: str | None,
) -> Clients:
    """Return the clients of the API at this path below base_url. Raises ValueError, and ImproperlyConfigured."""
    build = partial(
        _build_client,
        api_key=Secret(api_key),
        address=Address.of(base_url or BASE_URL),
        path=path,
        connect_seconds=connect_seconds,
        organization=organization,
        project=project,
    )
    return Clients("openai", build)


def _build_client(
    sdk: ModuleType,
    *,
    api_key: Secret,
    address: Address,
    path: str,
    connect_seconds: float,
    organization: str | None,
    project: str | None,
) -> Client:
    from .http_client import Client, headers_of, unused_http_client

    client = sdk.AsyncOpenAI(api_key=api_key.value, base_url=address.origin, http_client=unused_http_client())
    # The SDK reads these from the environment; only the settings decide here.
    client.organization = organization
    client.project = project
    return Client(address.url(path), headers_of(client), connect_seconds)
