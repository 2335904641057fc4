"""Backends: the objects that settings name as `{"BACKEND": dotted path, "OPTIONS": {…}}`."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar

from django.core.checks import CheckMessage
from django.core.signals import setting_changed
from django.utils.module_loading import import_string

from .conf import conf
from .logs import describe, logger

B = TypeVar("B", bound="Backend")


class Backend:
    """What providers, notifiers, quotas and permissions have in common.

    The constructor takes the OPTIONS as keyword arguments. It raises TypeError, ValueError or ImproperlyConfigured for
    options that do not fit, and must not use the network or the database: the system checks create every backend.
    """

    def check(self) -> list[CheckMessage]:
        """Return what `manage.py check` should report about this backend."""
        return []

    def close(self) -> None:
        """Release what it has opened: the setting has changed, and another backend takes its place."""

    def reset(self) -> None:
        """Start again in the child of a fork, where the parent's threads and connections cannot be used."""


class BackendSetting(Generic[B]):
    """The backends of one setting: each is created once in a process, at its first use, and again after a change.

    name: a setting that holds one backend, or a dict of backends by alias. fallback: creates what takes the place of a
    backend that cannot be created; the log says so once.
    """

    def __init__(self, name: str, *, fallback: Callable[[], B] | None = None) -> None:
        self._name = name
        self._fallback = fallback
        self._created: dict[str, B] = {}
        self._lock = threading.RLock()
        setting_changed.connect(self._on_setting_changed)
        # Servers fork after they have imported the app.
        os.register_at_fork(after_in_child=self._on_fork)

    def get(self, alias: str = "") -> B:
        """Return the backend. Thread-safe. Raises KeyError for an unknown alias, and what its constructor raises."""
        found = self._created.get(alias)
        return self._create(alias) if found is None else found

    def _create(self, alias: str) -> B:
        with self._lock:
            if alias not in self._created:
                self._created[alias] = self._create_or_fall_back(alias)
            return self._created[alias]

    def _create_or_fall_back(self, alias: str) -> B:
        value = getattr(conf, self._name)
        try:
            return create(value[alias], alias) if alias else create(value)
        except Exception as error:
            if self._fallback is None:
                raise
            logger.error("%s cannot be created, and goes without: %s", self._name, describe(error))
            return self._fallback()

    def _on_setting_changed(self, *, setting: str, **kwargs: object) -> None:
        if setting == self._name:
            created, self._created = self._created, {}
            for backend in created.values():
                backend.close()

    def _on_fork(self) -> None:
        # Another thread of the parent may have held the lock.
        self._lock = threading.RLock()
        for backend in self._created.values():
            backend.reset()


def create(entry: Mapping[str, Any], *arguments: str) -> Any:
    """Return a new backend. Raises ImportError, and what its constructor raises."""
    return import_string(entry["BACKEND"])(*arguments, **entry.get("OPTIONS", {}))
