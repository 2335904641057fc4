"""Quotas: how many replies and tokens an owner may use. This module finds the configured one."""

from __future__ import annotations

from streaming_chat.backends import BackendSetting
from streaming_chat.conf import conf

from .base import Quota, Reconciliation, tokens_in

__all__ = ["Quota", "Reconciliation", "get_quota", "tokens_in"]

_quota = BackendSetting[Quota]("STREAMING_CHAT_QUOTA")


def get_quota() -> Quota | None:
    """Return the quota of STREAMING_CHAT_QUOTA, created at its first use; None without one."""
    return _quota.get() if conf.STREAMING_CHAT_QUOTA else None
