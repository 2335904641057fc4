"""A reusable Django app for chat with language models, whose replies are never lost.

A tour, from the top down:
urls.py, views/      requests in, streams out; the contract is in docs/http-api.md
runner.py            owns the runs: one task per reply, which outlives the HTTP response
writer.py            the one thread of a process that saves what the runs receive
permissions.py       may this request read, send, stop, use this model?
closing.py           a reply's ending in the database, once, whoever ends it
models.py            conversations, messages, live replies and their events
providers/, tails/, encoders/    a prompt in, events out; events from elsewhere; events in, a wire format out
events.py, sse.py    what a reply's stream is made of, and how it is framed
"""

__version__ = "0.1.0"
