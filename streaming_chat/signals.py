"""Signals of a reply's life, sent after the commit, on a thread of their own, by `send_robust`. They carry ids only.

reply_started: message, conversation (UUIDs).
reply_ended: message, conversation, status, end_reason.
"""

from django.dispatch import Signal

reply_started = Signal()
reply_ended = Signal()
