"""The cost of a reply in dollars: by the prices of the settings, otherwise by those in `genai-prices`. Uses no network.

A cost that is not known is None, never 0: there is none without a price, or without usage that the provider reported.
Estimated usage has no cost. It is based on the number of characters and can be wrong by half, and more for scripts without
spaces; a sum of money that looks exact would hide that.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import Any, NamedTuple

from streaming_chat.conf import conf
from streaming_chat.logs import describe, logger

from . import get_provider, split_model
from .model_names import entry_of
from .model_options import options_of

PER_TOKENS = 1_000_000
# Of a price in STREAMING_CHAT_PRICES. Without cached_input or cache_write, these tokens cost as much as other input.
PRICE_KEYS = ("input", "cached_input", "cache_write", "output")
_SMALLEST = Decimal("1e-8")  # As many places as the column has.
_MAX_DOLLARS = Decimal(10) ** 8
# For a model without a setting; None is a setting that says that the price is not known.
_NOT_SET = Decimal(-1)
_WITHOUT_PRICE: dict[str, Any] = {}


class _Tokens(NamedTuple):
    """What is charged. inputs: neither read from the provider's cache nor written to it."""

    inputs: int
    cached: int
    written: int
    outputs: int

    @classmethod
    def of(cls, usage: Mapping[str, Any]) -> _Tokens:
        """Return the tokens of a reply; of input that is counted twice, the cache's come first."""
        left = usage["input_tokens"]
        cached = min(usage.get("cached_input_tokens") or 0, left)
        written = min(usage.get("cache_write_tokens") or 0, left - cached)
        return cls(left - cached - written, cached, written, usage["output_tokens"])


def cost_of(model: str, usage: Mapping[str, Any]) -> Decimal | None:
    """Return the cost of a reply in dollars; None if it is not known. Raises nothing.

    model: `alias:model`. usage: the columns of its message; input_tokens includes cached_input_tokens
    and cache_write_tokens.
    """
    is_known = usage.get("input_tokens") is not None and usage.get("output_tokens") is not None
    if not model or not is_known or usage.get("tokens_estimated"):
        return None
    try:
        tokens = _Tokens.of(usage)
        cost = _by_setting(model, tokens)
        if cost is _NOT_SET:
            cost = _by_package(model, tokens)
        return _storable(cost)
    except Exception as error:  # noqa: BLE001 - a reply must be saved even if its cost cannot be computed.
        # Not the model: a client may have chosen its name.
        alias = split_model(model)[0]
        logger.error("The cost of a reply by the provider %s could not be computed: %s", alias, describe(error))
        return None


def prepare(source: tuple[str, str]) -> None:
    """Import the package and read its prices, if it is installed. source: as `Provider.price_source`."""
    _is_known(source, "")


def as_price(value: Any) -> Decimal | None:
    """Return dollars per million tokens as a number; None if the value is not a price, as a negative number or a bool."""
    if isinstance(value, bool) or not isinstance(value, str | int | float | Decimal):
        return None
    try:
        price = Decimal(str(value))
    except InvalidOperation:
        return None
    return price if price.is_finite() and 0 <= price < _MAX_DOLLARS else None


def _by_setting(model: str, tokens: _Tokens) -> Decimal | None:
    prices = conf.STREAMING_CHAT_PRICES
    price = entry_of(prices, model, _WITHOUT_PRICE)
    return _NOT_SET if price is _WITHOUT_PRICE else _cost_at(price, tokens)


def _cost_at(price: Mapping[str, Any] | None, tokens: _Tokens) -> Decimal | None:
    if price is None:
        return None
    cost = Decimal(0)
    for key, count in zip(PRICE_KEYS, tokens, strict=True):
        default = price.get("input") if key in ("cached_input", "cache_write") else None
        if (each := as_price(price.get(key, default))) is None:
            return None
        cost += count * each
    return cost / PER_TOKENS


def _by_package(model: str, tokens: _Tokens) -> Decimal | None:
    alias, name = split_model(model)
    source = get_provider(alias).price_source() if alias in conf.STREAMING_CHAT_PROVIDERS else None
    if source is None or not _is_known(source, name):
        return None
    if tokens.written and options_of(model).cache == "1h":
        # The package has the price of a write for five minutes. For an hour, it is twice that of other input:
        # https://platform.claude.com/docs/en/build-with-claude/prompt-caching#pricing
        tokens = tokens._replace(inputs=tokens.inputs + 2 * tokens.written, written=0)
    # If it has the model and no price, the sum is 0, too: only a setting can say that a model is free.
    return _price(source, name, tokens) or None


@lru_cache(maxsize=1024)
def _is_known(source: tuple[str, str], name: str) -> bool:
    """Return whether the package is installed and has this model. Searching for an unknown model takes 0.5 ms each time.

    The package caches the models that it has. Importing it takes 20 ms if an SDK is loaded and 1 s otherwise, once.
    """
    try:
        _price(source, name, _Tokens(1, 0, 0, 1))
    except (ImportError, LookupError):
        return False
    return True


def _price(source: tuple[str, str], name: str, tokens: _Tokens) -> Decimal:
    from genai_prices import Usage, calc_price

    inputs, cached, written, outputs = tokens
    usage = Usage(
        input_tokens=inputs + cached + written,
        cache_read_tokens=cached,
        cache_write_tokens=written,
        output_tokens=outputs,
    )
    kind, value = source
    if kind == "provider_api_url":
        return calc_price(usage, name, provider_api_url=value).total_price
    return calc_price(usage, name, provider_id=value).total_price


def _storable(cost: Decimal | None) -> Decimal | None:
    return cost.quantize(_SMALLEST) if cost is not None and 0 <= cost < _MAX_DOLLARS else None
