"""A reusable Django app for chat with language models, whose replies are never lost.

A tour, from the request to the database; docs/design.md has the whole architecture:
urls, views/          requests in, streams out; docs/http-api.md is the contract
accounts/, chats/     who sends and what they may do; the transaction that accepts a message
engine/               one reply: its run, its stream, its readers, the writer that saves it
providers/, encoders/, notifiers/, quotas/    what a site can replace
models/, db/          tables; transactions, leases, hooks
protocol/             events, positions, endings, SSE framing
search/, review/, usage/, privacy/, exports/, admin/    what staff do
"""

__version__ = "0.1.0"
