"""How much OpenAI's models can be told to think. The two APIs know the same words, and each model some of them.

A model of an unknown name, such as a deployment of Azure or another maker's, gets the word that is set. If a later model
differs, a site's `parameters` replace it.

Sources: https://developers.openai.com/api/docs/guides/reasoning and the pages of the models below
https://developers.openai.com/api/docs/models, as of November 2026.
"""

from __future__ import annotations

import re

from .model_options import EFFORTS

# `gpt-5`, `gpt-6.1-sol`, `openai/gpt-5.1-codex-max`, `ft:gpt-4.1-mini:…`, `chatgpt-4o-latest`; not `gpt-oss-120b`.
_GPT = re.compile(r"gpt-(\d+)(?:\.(\d+))?(?:-(\w+(?:-max)?))?")
_O_SERIES = re.compile(r"(?:^|[/:])o[1-9]\b")
_FIRST_WITH_NONE = (5, 1)
_FIRST_WITH_XHIGH = (5, 2)
_FIRST_WITH_MAX = (5, 6)
_FIRST_ALWAYS_THINKING = (6, 1)


def thinks(model: str) -> bool:
    """Return whether a model has reasoning; True for an unknown one. The others refuse every request for it."""
    found = _GPT.search(model)
    if found is None:
        return True
    version, variant = _parts(found)
    return version >= (5, 0) and not (version == (5, 0) and variant == "chat")


def nearest_effort(model: str, effort: str) -> str:
    """Return the effort of those that a model knows: the one that is set, else the next above it, else the greatest."""
    known = _efforts_of(model)
    wanted = EFFORTS.index(effort)
    return next((each for each in EFFORTS[wanted:] if each in known), known[-1])


def _efforts_of(model: str) -> tuple[str, ...]:
    if _O_SERIES.search(model):
        return ("low", "medium", "high")
    found = _GPT.search(model)
    if found is None:
        return EFFORTS
    version, variant = _parts(found)
    if variant == "chat":
        return ("medium",)
    return _between(_least_of(version, variant), _most_of(version, variant), has_minimal=version == (5, 0))


def _parts(found: re.Match[str]) -> tuple[tuple[int, int], str]:
    major, minor, variant = found.groups()
    return (int(major), int(minor or 0)), variant or ""


def _least_of(version: tuple[int, int], variant: str) -> str:
    if variant == "pro":
        return "high" if version == (5, 0) else "medium"
    # Terra alone of its generation can do without.
    if "codex" in variant or variant == "astra" or (version >= _FIRST_ALWAYS_THINKING and variant != "terra"):
        return "low"
    return "none" if version >= _FIRST_WITH_NONE else "minimal"


def _most_of(version: tuple[int, int], variant: str) -> str:
    if version >= _FIRST_WITH_MAX:
        return "max"
    return "xhigh" if version >= _FIRST_WITH_XHIGH or variant == "codex-max" else "high"


def _between(least: str, most: str, *, has_minimal: bool) -> tuple[str, ...]:
    efforts = EFFORTS[EFFORTS.index(least) : EFFORTS.index(most) + 1]
    return tuple(each for each in efforts if has_minimal or each != "minimal")
