"""Checks the models that can be asked, their options and their prices."""

from __future__ import annotations

from typing import Any

from django.core.checks import CheckMessage, Error, Warning, register  # noqa: A004  (Django's own name)

from streaming_chat.conf import STRINGS, conf
from streaming_chat.providers.model_names import is_model_name
from streaming_chat.providers.model_options import problem_with
from streaming_chat.providers.pricing import PRICE_KEYS, as_price

from .tag import TAG


@register(TAG)
def check_models(**kwargs: Any) -> list[CheckMessage]:
    """Find models without a provider (E006), and a list without a default model (W003)."""
    models, providers = conf.STREAMING_CHAT_MODELS, conf.STREAMING_CHAT_PROVIDERS
    if not STRINGS.accepts(models) or not isinstance(providers, dict):
        return []
    if not models:
        return [Error("STREAMING_CHAT_MODELS is empty.", hint="Add a model, as alias:model.", id=f"{TAG}.E006")]
    found: list[CheckMessage] = [_unknown_model(model) for model in models if not _has_provider(model)]
    title_model = conf.STREAMING_CHAT_TITLE_MODEL
    if title_model and not (_has_provider(str(title_model)) and is_model_name(title_model)):
        found.append(_unknown_model(str(title_model), "STREAMING_CHAT_TITLE_MODEL"))
    if all(model.endswith(":*") for model in models):
        found.append(
            Warning(
                "STREAMING_CHAT_MODELS has only wildcards, so there is no default model and each request must name one.",
                hint="Put a model before the wildcards.",
                id=f"{TAG}.W003",
            )
        )
    return found


def _has_provider(model: str) -> bool:
    alias, _, name = model.partition(":")
    return bool(name) and alias in conf.STREAMING_CHAT_PROVIDERS


def _unknown_model(model: str, setting: str = "STREAMING_CHAT_MODELS") -> CheckMessage:
    known = ", ".join(sorted(conf.STREAMING_CHAT_PROVIDERS)) or "none"
    return Error(
        f"{setting} has {model!r}, but STREAMING_CHAT_PROVIDERS has no such provider.",
        hint=f"Write alias:model, or alias:* for all its models. The aliases are: {known}.",
        id=f"{TAG}.E006",
    )


@register(TAG)
def check_model_options(**kwargs: Any) -> list[CheckMessage]:
    """Find options of models that cannot be used (E009)."""
    table: Any = conf.STREAMING_CHAT_MODEL_OPTIONS
    if not isinstance(table, dict):
        return [_invalid_options("STREAMING_CHAT_MODEL_OPTIONS is not a dict.")]
    return [
        _invalid_options(f"STREAMING_CHAT_MODEL_OPTIONS[{name!r}] cannot be used: {problem}.")
        for name, options in table.items()
        if (problem := _options_problem(name, options))
    ]


def _invalid_options(problem: str) -> CheckMessage:
    return Error(
        problem,
        hint='Write {"alias:model": {"label": "Fast", "effort": "low"}}; docs/settings.md describes the options.',
        id=f"{TAG}.E009",
    )


def _options_problem(name: Any, options: Any) -> str:
    if not is_model_name(name):
        return "its key is not alias:model"
    if problem := problem_with(options):
        return problem
    unknown = [model for model in options.get("fallback", ()) if not _has_provider(model)]
    return f"STREAMING_CHAT_PROVIDERS has no provider for the fallback {unknown[0]!r}" if unknown else ""


@register(TAG)
def check_prices(**kwargs: Any) -> list[CheckMessage]:
    """Find prices that cannot be used (E005)."""
    prices: Any = conf.STREAMING_CHAT_PRICES
    if not isinstance(prices, dict):
        return [_invalid_price("STREAMING_CHAT_PRICES is not a dict.")]
    return [
        _invalid_price(f"STREAMING_CHAT_PRICES[{name!r}] is not a price: {problem}.")
        for name, price in prices.items()
        if (problem := _price_problem(name, price))
    ]


def _invalid_price(problem: str) -> CheckMessage:
    return Error(
        problem,
        hint=(
            'Write {"alias:model": {"input": "0.25", "cached_input": "0.025", "output": "2.00"}}, in dollars per million '
            "tokens, or None for a price that is not known. alias:* applies to all other models of a provider."
        ),
        id=f"{TAG}.E005",
    )


def _price_problem(name: Any, price: Any) -> str:
    """Return why this is not the price of a model, "" if it is one or None."""
    if not is_model_name(name):
        return "its key is not alias:model"
    if price is None:
        return ""
    if not isinstance(price, dict):
        return f"it must be a dict or None, got {type(price).__name__}"
    if unknown := sorted(str(key) for key in price.keys() - PRICE_KEYS):
        return f"it has the unknown key {', '.join(unknown)}"
    if missing := [key for key in ("input", "output") if key not in price]:
        return f"it has no {' and no '.join(missing)}"
    wrong = [key for key in PRICE_KEYS if key in price and as_price(price[key]) is None]
    return f"{wrong[0]} must be dollars, 0 or more, got {price[wrong[0]]!r:.60}" if wrong else ""
