"""Quotas: how many replies and tokens an owner may use. This module finds the configured one."""

from __future__ import annotations

from streaming_chat.backends import BackendSetting
from streaming_chat.conf import DEFAULT_QUOTA, conf

from .base import Quota, Reconciliation, tokens_in

__all__ = ["Quota", "Reconciliation", "get_quota", "tokens_in"]

_quota = BackendSetting[Quota]("STREAMING_CHAT_QUOTA")


def get_quota() -> Quota | None:
    """Return the quota of STREAMING_CHAT_QUOTA, created at its first use; None without one.

    None also for the default one where it would limit nobody: a quota costs a statement at each ending.
    """
    setting = conf.STREAMING_CHAT_QUOTA
    if setting is None or (setting == DEFAULT_QUOTA and not conf.STREAMING_CHAT_ALLOW_ANONYMOUS):
        return None
    return _quota.get()
