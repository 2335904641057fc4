"""What a site's own code may call. These names stay here, whatever moves inside the app."""

from __future__ import annotations

import asyncio
import contextvars
import uuid
from collections.abc import AsyncGenerator, Coroutine, Iterator
from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, overload

from asgiref.sync import sync_to_async
from django.db import connections, transaction
from django.http import HttpRequest

from streaming_chat.accounts.owners import Owner, request_key
from streaming_chat.chats.send_request import SendRequest
from streaming_chat.chats.sending import send
from streaming_chat.chats.titles import title_of
from streaming_chat.conf import conf
from streaming_chat.db.alias import live_database
from streaming_chat.engine.follower import FollowedReply, follower
from streaming_chat.engine.growing_output import agrowing_objects, growing_objects
from streaming_chat.engine.output_check import output_error
from streaming_chat.engine.runner import runner
from streaming_chat.engine.stream import LoopWaiter, ReplyStream
from streaming_chat.engine.writer import writer
from streaming_chat.exceptions import AnswerError, APIError, ProviderError
from streaming_chat.logs import logger
from streaming_chat.models import Conversation, Message, Status
from streaming_chat.outputs import output_of
from streaming_chat.protocol import endings
from streaming_chat.protocol.events import TEXT, Event
from streaming_chat.protocol.storable_text import storable
from streaming_chat.providers import default_model
from streaming_chat.providers.asking import ask_model, prompt_of

T = TypeVar("T")

if TYPE_CHECKING:
    from pydantic import BaseModel

    M = TypeVar("M", bound=BaseModel)


def send_message(
    user: Any,
    text: str,
    *,
    conversation: Conversation | None = None,
    model: str = "",
    client_id: str = "",
    output: type[BaseModel] | None = None,
    wait: bool = False,
) -> Message:
    """Send a message for a user from the site's own views and tasks; return the reply, which is being written. Blocking.

    conversation: one of the user's, None for a new one. model: `alias:model`, "" for the default. client_id: as in the
    API, the same one again returns the same reply. output: the pydantic model that the reply must be an object of.
    wait: return once the reply has ended, also if another process writes it, or waits for an answer to a tool call; with an
    output, the reply's `parsed` is then the object, unless it has an `output_error` or was not completed.

    The reply is written in this process, which must live until the end. Inside a transaction it starts with the commit, so
    that there is nothing to wait for. Limits, permissions and PROMPT apply as to a request of that user, which has
    `request.user` only. Raises ValueError for a text that is empty or too long, APIError as `send` does, and APIError 503
    if this process shuts down while it waits for another one.
    """
    text = _checked(text)
    using = live_database()
    if wait and connections[using].in_atomic_block:
        raise ValueError("a reply begins with the commit: inside a transaction there is nothing to wait for.")
    request, owner = _request_of(user)
    asked = output_of(output) if output else None
    body = {"content": text, "model": model, "client_id": client_id, **({"output": asked.name} if asked else {})}
    conversation_id = conversation.pk if conversation else None
    send_request = SendRequest.from_body(body, conversation_id=conversation_id, output=asked)
    sent = send(request, owner, send_request, writer.worker)
    if sent.order is not None:
        transaction.on_commit(partial(runner.start_in_background, sent.order), using=using)
    if wait:
        _wait_until_ended(sent.message_id, using)
    reply = Message.objects.using(using).get(pk=sent.message_id)
    if asked and reply.output is not None:
        reply.parsed = asked.parse(reply.text)
    return reply


def growing_output(reply: Message) -> Iterator[dict[str, Any]]:
    """Yield the object of a reply as it is written: the newest, whenever it has grown, until the reply has ended. Blocking.

    Every value is a prefix of the last one (see `protocol/json_objects.py`); none is validated. It needs the extra `output`.
    """
    return growing_objects(_followed(reply))


async def agrowing_output(reply: Message) -> AsyncGenerator[dict[str, Any], None]:
    """Do the same as `growing_output`, without blocking the event loop."""
    stream = await sync_to_async(_followed)(reply)
    async with aclosing(agrowing_objects(stream)) as objects:
        async for value in objects:
            yield value


def _checked(text: str) -> str:
    text = storable(text)
    if not text.strip() or len(text) > conf.STREAMING_CHAT_MAX_MESSAGE_CHARS:
        raise ValueError(f"1 to {conf.STREAMING_CHAT_MAX_MESSAGE_CHARS} characters were wanted, got {len(text)}.")
    return text


def _request_of(user: Any) -> tuple[HttpRequest, Owner]:
    request = HttpRequest()
    request.user = user
    key = request_key(request)
    if not key:
        raise APIError(401, "not_signed_in")
    return request, Owner(user, key)


def _wait_until_ended(message_id: uuid.UUID, using: str) -> None:
    """Wait for a reply, whichever process writes it. Raises APIError if this process shuts down before the end."""
    if run := runner.find(message_id):
        run.ended.wait()
        return
    message = Message.objects.using(using).get(pk=message_id)
    if not message.is_live:
        return
    stream = _followed(message)
    if not (stream.wait_until_ended() or stream.is_waiting):
        raise APIError(503, "draining")


def _followed(message: Message) -> ReplyStream:
    """Return the stream of a reply, whichever process writes it."""
    if run := runner.find(message.pk):
        return run.stream
    followed = FollowedReply(Message.objects.using(live_database()).get(pk=message.pk))
    followed.stream.loop = runner.background_loop()
    return follower.share(followed).stream


@overload
def ask(text: str, *, user: Any = None, model: str = "", system: str | None = None) -> str: ...


@overload
def ask(text: str, *, user: Any = None, model: str = "", system: str | None = None, output: type[M]) -> M: ...


def ask(
    text: str, *, user: Any = None, model: str = "", system: str | None = None, output: type[BaseModel] | None = None
) -> Any:
    """Return a model's answer to one message, as text or as a validated object. Blocking.

    user: whose conversation the message and the answer become, with all that applies to `send_message`. None: nothing is
    saved or counted, and no limit, permission or PROMPT applies; any model of STREAMING_CHAT_PROVIDERS can be asked.
    model: `alias:model`, "" for the default. system: the system prompt, None for STREAMING_CHAT_SYSTEM_PROMPT. output: the
    pydantic model of the object.

    Raises AnswerError if there is no complete answer, APIError for what is refused before the model is asked, as
    `send_message` does, and ValueError for a text that is empty or, of a user, too long.
    """
    if user is None:
        return _in_background(_ask_unsaved(text, model, system, output))
    reply = _send_to_ask(user, text, model, system, output)
    _wait_until_ended(reply.pk, live_database())
    return _answer_in(reply, output)


@overload
async def aask(text: str, *, user: Any = None, model: str = "", system: str | None = None) -> str: ...


@overload
async def aask(text: str, *, user: Any = None, model: str = "", system: str | None = None, output: type[M]) -> M: ...


async def aask(
    text: str, *, user: Any = None, model: str = "", system: str | None = None, output: type[BaseModel] | None = None
) -> Any:
    """Do the same as `ask`, without blocking the event loop."""
    if user is None:
        return await _ask_unsaved(text, model, system, output)
    reply = await sync_to_async(_send_to_ask)(user, text, model, system, output)
    if run := runner.find(reply.pk):
        await _until_ended(run.stream)
    return await sync_to_async(_answer_in)(reply, output)


async def _ask_unsaved(text: str, model: str, system: str | None, output: type[BaseModel] | None) -> Any:
    if not text.strip():
        raise ValueError("a text was wanted, got only white space.")
    provider, prompt = prompt_of(model or default_model(), text, _system_prompt(system))
    asked = output_of(output) if output else None
    ref = uuid.uuid4()
    try:
        answer = await ask_model(provider, prompt.replace(output=asked))
    except ProviderError as error:
        logger.warning(
            "Answer %s: %s from %s, status %s, request %s, %s.",
            ref,
            error.code,
            provider.alias,
            error.status,
            error.request_id or "-",
            error.detail or "-",
        )
        failure = AnswerError(error.code, ref=str(ref))
    else:
        if asked is None:
            return answer.text
        ending = endings.completed(answer.end_reason)
        code = await output_error(ref, asked, ending, [Event(TEXT, answer.text)])
        if not code:
            return asked.parse(answer.text)
        failure = AnswerError(code, ref=str(ref))
    raise failure


def _system_prompt(system: str | None) -> str:
    return conf.STREAMING_CHAT_SYSTEM_PROMPT if system is None else storable(system)


def _send_to_ask(user: Any, text: str, model: str, system: str | None, output: type[BaseModel] | None) -> Message:
    """Send the message into a new conversation, with this system prompt; return the reply, which is being written."""
    using = live_database()
    if connections[using].in_atomic_block:
        raise ValueError("a reply begins with the commit: inside a transaction there is nothing to wait for.")
    if system is None:
        return send_message(user, text, model=model, output=output)
    _request, owner = _request_of(user)
    conversation = Conversation.objects.using(using).create(
        owner=user,
        owner_key=owner.key,
        title=title_of(_checked(text)),
        system_prompt=_system_prompt(system),
        model=model or default_model(),
    )
    try:
        return send_message(user, text, conversation=conversation, model=model, output=output)
    except BaseException:
        conversation.delete()
        raise


def _answer_in(reply: Message, output: type[BaseModel] | None) -> Any:
    """Return the text or the object of a reply that has ended. Raises AnswerError if it is not complete."""
    reply.refresh_from_db()
    if reply.status != Status.COMPLETED:
        # A reply that waits for an answer to a tool call has no reason yet.
        raise AnswerError(reply.error_code or reply.end_reason or reply.status, ref=reply.ref)
    if output is None:
        return reply.text
    if reply.output_error:
        raise AnswerError(reply.output_error, ref=str(reply.pk))
    return output_of(output).parse(reply.text)


async def _until_ended(stream: ReplyStream) -> None:
    """Wait in any event loop until a reply has ended."""
    waiter = LoopWaiter(asyncio.get_running_loop(), stream.loop)
    stream.attach(waiter)
    try:
        while not (stream.ended or stream.dismissed or stream.is_waiting):
            await waiter.wait()
    finally:
        stream.detach(waiter)


def _in_background(work: Coroutine[Any, Any, T]) -> T:
    """Return the result of a coroutine in this process's loop thread, where the connections to providers are kept."""
    # In a context of its own, as a run.
    submit = partial(asyncio.run_coroutine_threadsafe, work, runner.background_loop())
    future = contextvars.Context().run(submit)
    try:
        return future.result()
    finally:
        future.cancel()
