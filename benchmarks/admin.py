"""What the admin's pages cost on a seeded database: queries, median and 95th percentile.

`DATABASE_URL=… python -m benchmarks.admin [--conversations 200000] [--runs 21] [--only conversations]` migrates that
database, seeds, indexes and counts it, unless it holds as many conversations, then asks for each page as a superuser, by
Django's test client, and prints a table.
"""

import argparse
import os
import time
from datetime import timedelta
from statistics import median, quantiles
from typing import Any
from urllib.parse import parse_qsl, urlencode

import django

CONVERSATIONS = "/admin/streaming_chat/conversation/"
REPLIES = "/admin/streaming_chat/message/"
FEEDBACK = "/admin/streaming_chat/feedback/"
ACCESS_RECORDS = "/admin/streaming_chat/accessrecord/"


def pages() -> dict[str, str]:
    """Return the addresses to ask for, by what they are; ids are of this database. q: the words of a search."""
    from streaming_chat.models import Conversation, Message, Review

    message = Message.objects.filter(role="assistant").order_by("-id")[500]
    reference = Message.objects.exclude(ref="").order_by("-id").first().ref
    reviewed = Review.objects.exclude(done_by=None).order_by("-done_at").first()
    reviewer = reviewed.done_by_id
    owner = Conversation.objects.exclude(owner=None).order_by("-id").first().owner_key
    # In the middle of the data: far from the newest rows.
    newest = Conversation.objects.order_by("-last_activity").first().last_activity
    first, last = ((newest - timedelta(days=days)).date() for days in (140, 134))
    week = f"from={first}&until={last}"
    conversations = {
        "newest": "",
        "page 10": "?p=10",
        "failed": "?last_status__exact=failed",
        "live now": "?live=1",
        "rated bad": "?feedback=bad",
        "an error": "?error=lease_expired",
        "an error that never came": "?error=provider_auth",
        "of visitors": "?owned_by=visitor",
        "a common model": "?model=openai:gpt-6-luna",
        "a model that nobody asked": "?model=openai:none",
        "a retired model": "?model=openai:gpt-5-mini",
        "a model that only steps in": "?model=anthropic:claude-haiku-5",
        "of a week": f"?{week}",
        "of a week, a common model": f"?{week}&model=openai:gpt-6-luna",
        "of a week, rated bad": f"?{week}&feedback=bad",
        "of a week, an error": f"?{week}&error=lease_expired",
        "of a page": "?metadata=page=/order/",
        "of a common version": "?metadata=version=1.4",
        "of a rare version": "?metadata=version=1.3",
        "of a page that there is not": "?metadata=page=/none/",
        "of a page, of a week": f"?metadata=page=/order/&{week}",
        "with a verdict": "?verdict=bad",
        "with a rare verdict": "?verdict=unsafe",
        "with a label": "?label=rude",
        "with a label that nobody gave": "?label=none",
        "of a reviewer": f"?reviewer={reviewer}",
        "of a reviewer, with a verdict, of a week": f"?reviewer={reviewer}&verdict=bad&{week}",
        "deleted": "?deleted=1",
        "not deleted": "?deleted=0",
        "by the id of a message": f"?q={message.pk}",
        "by a reference": f"?q={reference}",
        "by an owner key": f"?q={owner}",
        "of one owner": f"?owner_key={owner}",
        # More owners than are looked at, each with hundreds.
        "by what many owners are called": "?q=1",
    }
    replies = {
        "newest": "",
        "page 10": "?p=10",
        "failed": "?status=failed",
        "ended by their length": "?reason=length",
        "ended by what never came": "?reason=not_saved",
        "an error": "?error=provider_unavailable",
        "rated bad": "?feedback=bad",
        "live now": "?live=1",
        "a common model": "?model=openai:gpt-6-luna",
        "a model that nobody asked": "?model=openai:none",
        "of 7 days": "?days=7",
        "failed, of 7 days": "?status=failed&days=7",
        "of a week": f"?{week}",
        "failed, of a week": f"?status=failed&{week}",
        "a common model, of a week": f"?model=openai:gpt-6-luna&{week}",
        "by a reference": f"?q={reference}",
    }
    feedback = {
        "newest": "",
        "page 10": "?p=10",
        "rated bad": "?feedback=bad",
        "rated good": "?feedback=good",
        "with a comment": "?commented=1",
        "without a comment": "?commented=0",
        "of a week, rated bad, with a comment": f"?{week}&feedback=bad&commented=1",
        "a common model": "?model=openai:gpt-6-luna",
        "a model that only steps in": "?model=anthropic:claude-haiku-5",
        "a retired model": "?model=openai:gpt-5-mini",
        "a model that nobody asked": "?model=openai:none",
        "of users": "?owned_by=user",
        "of visitors": "?owned_by=visitor",
        "of erased owners": "?owned_by=erased",
        "by an owner key": f"?q={owner}",
        "by a word": "?q=refund",
        "by words that nobody said": "?q=xyzzyx+order",
    }
    access_records = {
        "newest": "",
        "page 10": "?p=10",
        "exports": "?kind__exact=export",
        "what nobody did": "?kind__exact=block",
        "of one owner": f"?owner_key={owner}",
        "of one owner, exports": f"?owner_key={owner}&kind__exact=export",
        "of one conversation": f"?conversation={message.conversation_id}",
        "by a name": "?q=rita",
        "by a name that nobody has": "?q=nobody",
        "by the id of a message": f"?q={message.pk}",
    }
    searches = {
        "a rare word": "bemo",
        "a common word": "the",
        "common words": "order refund",
        "a phrase": '"the order"',
        "a beginning": "refun*",
        "Chinese": "取消",
        "what nobody said": "xyzzyx",
        "words of notes": "wrong delivery",
    }
    longest = Conversation.objects.order_by("-message_count", "-pk").first()
    return {
        **{f"conversations, {name}": CONVERSATIONS + query for name, query in conversations.items()},
        **{f"conversations, by {name}": f"{CONVERSATIONS}?{urlencode({'q': term})}" for name, term in searches.items()},
        **{f"replies, {name}": REPLIES + query for name, query in replies.items()},
        **{f"texts, {name}": f"{CONVERSATIONS}search/?{urlencode({'q': term})}" for name, term in searches.items()},
        "texts, a common word, older": f"{CONVERSATIONS}search/?q=the&older=1",
        "a transcript": f"{CONVERSATIONS}{message.conversation_id}/change/",
        "a message in it": f"{CONVERSATIONS}{message.conversation_id}/change/?message={message.pk}",
        f"the longest transcript, {longest.message_count} messages": f"{CONVERSATIONS}{longest.pk}/change/",
        **{f"numbers of {days} days": f"{CONVERSATIONS}numbers/?days={days}" for days in (7, 28, 90)},
        **{f"review statistics of {days} days": f"{CONVERSATIONS}review/numbers/?days={days}" for days in (7, 28, 90)},
        "notes of a review": f"{CONVERSATIONS}{reviewed.pk}/review/notes/",
        "numbers of 28 days, of one model": f"{CONVERSATIONS}numbers/?days=28&model=openai:gpt-6-luna",
        **{f"feedback, {name}": FEEDBACK + query for name, query in feedback.items()},
        **{f"access records, {name}": ACCESS_RECORDS + query for name, query in access_records.items()},
        **{f"who used the most in {days} days": f"{CONVERSATIONS}owners/?days={days}" for days in (7, 90)},
        **{f"the owner {name}": f"{CONVERSATIONS}owner/{key}/?days=90" for name, key in owners().items()},
    }


def owners() -> dict[str, str]:
    """Return the owner keys of a user and of a visitor: the newest ones, and the user with the most conversations."""
    from django.db.models import Count

    from streaming_chat.models import Conversation

    newest = Conversation.objects.order_by("-id").values_list("owner_key", flat=True)
    most = Conversation.objects.exclude(owner=None).order_by().values("owner_key").annotate(count=Count("pk"))
    return {
        "of the newest conversation": newest.exclude(owner=None)[0],
        "of a visitor's": newest.filter(owner=None, owner_key__startswith="v:")[0],
        "with the most conversations": most.order_by("-count")[0]["owner_key"],
    }


def with_search(client: Any, url: str) -> str:
    """Return an address with the ids of words in place of a search and of metadata, sent as the page's forms send them."""
    path, _mark, query = url.partition("?")
    parameters = dict(parse_qsl(query))
    form = {}
    if "q" in parameters:
        form = {"q": parameters.pop("q")}
    elif "metadata" in parameters:
        key, _separator, value = parameters.pop("metadata").partition("=")
        form = {"key": key, "meta": value}
    if not form:
        return url
    found = client.post(path if path.endswith("search/") else f"{path}find/", form)["Location"]
    return f"{found}&{urlencode(parameters)}" if parameters else str(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--conversations", type=int, default=200_000)
    parser.add_argument("--runs", type=int, default=21)
    parser.add_argument("--only", default="", help="Ask only for the pages whose name begins like this.")
    options = parser.parse_args()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    django.setup()
    from django.test import override_settings

    from chatproject.seed_reviews import LABELS

    with override_settings(STREAMING_CHAT_REVIEW_LABELS=[*LABELS, "none"]):
        _measure(options.conversations, options.runs, options.only)


def _measure(conversations: int, runs: int, only: str) -> None:
    # Models can be imported once Django is set up.
    from django.contrib.auth import get_user_model
    from django.core.management import call_command
    from django.db import connection
    from django.test import Client
    from django.test.utils import CaptureQueriesContext

    from streaming_chat.models import Conversation, Message

    call_command("migrate", verbosity=0)
    if Conversation.objects.count() < conversations:
        for command, arguments in {
            "seedtranscripts": {"conversations": conversations},
            "rebuildsearch": {},
            "rollup": {},
        }.items():
            call_command(command, **arguments)
            print()
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    client = Client()
    client.force_login(get_user_model().objects.get_or_create(username="bench", is_staff=True, is_superuser=True)[0])

    print(
        f"{connection.vendor}, {Conversation.objects.count():,} conversations, {Message.objects.count():,} messages\n"
    )
    print("| page | queries | median, ms | p95, ms |")
    print("|---|---|---|---|")
    for name, shown in pages().items():
        if not name.startswith(only):
            continue
        url = with_search(client, shown)
        client.get(url)
        times = []
        for _run in range(runs):
            began = time.perf_counter()
            response = client.get(url)
            times.append(1_000 * (time.perf_counter() - began))
        with CaptureQueriesContext(connection) as queries:
            client.get(url)
        if response.status_code != 200:
            raise SystemExit(f"{url} was to be shown, got {response.status_code}.")
        print(f"| {name} | {len(queries)} | {median(times):.0f} | {quantiles(times, n=20)[-1]:.0f} |", flush=True)


if __name__ == "__main__":
    main()
