"""Clients: users with several tabs each, who send, leave, come back elsewhere, stop and delete, and note what they see.

Whatever an answer says is noted; nothing is judged here but whether this client could explain a refusal.
"""

from __future__ import annotations

import asyncio
import random
import time
from typing import Any, NamedTuple

from .cluster import Worker
from .connection import Connection, Frame
from .history import History
from .provider import BRIEFLY, CANARY, TOOLS

ENDINGS = ("done", "stopped", "interrupted", "failed")
_CSRF = "a" * 32
# Heartbeats come every 3 s: a worker that is silent for longer is paused, and asked no more.
_PATIENCE_SECONDS = 4.0
# A stop is answered within 5 s.
_STOP_PATIENCE_SECONDS = 9.0
# The longest reply, and the retries of its ending.
_WHOLE_PATIENCE_SECONDS = 15.0
# Of one connection. Heartbeats keep the stream open of a reply that never ends, as a planted bug may make one.
_LONGEST_READ_SECONDS = 30.0
_TRIES = 40
# Of the messages that could be sent to a model with tools, and of the calls that wait for a person.
_WITH_TOOLS, _ANSWERED, _APPROVED = 0.4, 0.9, 0.75


class Talk:
    """A conversation, as its owner's tabs know it."""

    def __init__(self, id: str) -> None:
        self.id = id
        self.is_deleted = False


class Owner:
    """A user: what all their tabs share. replies: those that have ended, with their lengths."""

    def __init__(self, name: str, session: str, canary: str) -> None:
        self.name = name
        self.canary = canary
        self.talks: list[Talk] = []
        self.replies: list[tuple[str, int, Talk]] = []
        self.headers = {
            "Cookie": f"sessionid={session}; csrftoken={_CSRF}",
            "X-CSRFToken": _CSRF,
            "Content-Type": "application/json",
        }


class View:
    """One tab's look at one reply, over any number of connections. talk: None until the conversation is known.

    ending: the name of its last frame. has_tools: whether the reply has steps, in which tools may have run.
    """

    def __init__(self, number: int, owner: Owner, talk: Talk | None, reply: str = "", last_id: str = "") -> None:
        self.number = number
        self.owner = owner
        self.talk = talk
        self.reply = reply
        self.last_id = last_id
        self.text = ""
        self.state = "open"
        self.ending = ""
        self.has_tools = False
        self.known = asyncio.Event()
        if reply:
            self.known.set()

    def take(self, frame: Frame) -> None:
        """Note one frame."""
        assert frame.data is not None
        self.reply = frame.id.partition("/")[0]
        self.last_id = frame.id
        if frame.event == "start" and self.talk is None:
            self.talk = Talk(frame.data["conversation"])
            self.owner.talks.append(self.talk)
        self.has_tools = self.has_tools or frame.event == "step"
        if frame.event in ENDINGS:
            self.ending = frame.event
            # The reader was shown out, the reply has another ending.
            is_forbidden = (frame.data.get("error") or {}).get("code") == "forbidden"
            self.state = "gone" if is_forbidden else "ended"
        self.text = "" if frame.event == "reset" else self.text + frame.data["text"]
        self.known.set()

    @property
    def is_deleted(self) -> bool:
        """Whether its owner has deleted it, or is about to."""
        return self.talk is not None and self.talk.is_deleted


class Errand(NamedTuple):
    """What is sent, however often. key: names the model asked for, by which the provider knows the send again."""

    key: str
    path: str
    body: dict[str, Any]
    talk: Talk | None

    @property
    def is_repeatable(self) -> bool:
        """Whether it may be sent again without harm."""
        return "client_id" in self.body

    @property
    def is_whole(self) -> bool:
        """Whether it is answered at the ending only."""
        return self.body.get("stream") is False

    @property
    def ends_with_reader(self) -> bool:
        """Whether the reply ends when nobody reads it."""
        return self.path == "chat" or self.body.get("disconnect") == "stop"


class Answer(NamedTuple):
    """An answer that came. body: its JSON; None for a stream, whose connection is open."""

    worker: Worker
    status: int
    connection: Connection
    body: Any

    @property
    def is_stream(self) -> bool:
        """Whether there are frames to read."""
        return self.status == 200 and self.body is None


class Crowd:
    """What all clients share. rest: seconds between two deeds, on average. is_over: nothing new is begun any more."""

    def __init__(
        self, history: History, workers: list[Worker], seed: int, sessions: dict[str, str], rest: float
    ) -> None:
        rng = random.Random(f"{seed}/crowd")
        self.history = history
        self.workers = workers
        self.views: list[View] = []
        self.rest = rest
        self.is_over = False
        self.owners = [Owner(name, session, f"canary-{rng.getrandbits(48):012x}") for name, session in sessions.items()]
        self._keys = 0

    def key(self, kind: str = "k") -> str:
        """Return a name for one send."""
        self._keys += 1
        return f"{kind}{self._keys}"

    def talks_with_tools(self) -> dict[str, tuple[Owner, Talk]]:
        """Return the conversations that have calls of tools, and are not deleted, by their ids."""
        views = [view for view in self.views if view.has_tools and view.talk and not view.is_deleted]
        return {view.talk.id: (view.owner, view.talk) for view in views if view.talk}

    def view(self, owner: Owner, talk: Talk | None, reply: str = "", last_id: str = "") -> View:
        """Return a new view."""
        view = View(len(self.views), owner, talk, reply, last_id)
        self.views.append(view)
        return view

    def record(self) -> None:
        """Note how the views were left."""
        for view in self.views:
            fields = {"view": view.number, "user": view.owner.name, "reply": view.reply, "state": view.state}
            self.history.write("view", **fields)


class Client:
    """One tab of a user."""

    def __init__(self, crowd: Crowd, owner: Owner, seed: str) -> None:
        self._crowd = crowd
        self._history = crowd.history
        self.owner = owner
        self._rng = random.Random(seed)
        self._answering: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Do one thing after another until the crowd's time is over."""
        deeds = [(self._converse, 12), (self._glance, 2), (self._pry, 1), (self._reread, 3)]
        deed, weights = zip(*deeds, strict=True)
        while not self._crowd.is_over:
            await self._rng.choices(deed, weights)[0]()
            await self._rest(self._crowd.rest)
        await asyncio.gather(*self._answering)

    async def come_home(self, view: View) -> None:
        """Follow what was left to its ending."""
        if view.reply and view.state == "open":
            await self._follow(view, leaving=False)
        await asyncio.gather(*self._answering)

    async def visit(self, talk: Talk | None = None) -> View:
        """Send one message more, in a new conversation or this one, and see its ending, which comes soon."""
        errand = self._errand(talk, wish=BRIEFLY)
        view = self._crowd.view(self.owner, talk)
        if await self._send(errand, view):
            await self._follow(view, leaving=False)
        return view

    # Deeds

    async def _converse(self) -> None:
        """Send, and follow the reply; beside it, perhaps, open a second tab, send again, stop or delete."""
        errand = self._other_errand()
        view = self._crowd.view(self.owner, errand.talk)
        beside = asyncio.create_task(self._beside(errand, view))
        if await self._send(errand, view) and self._rng.random() < 0.9:
            await self._follow(view)
        if view.reply:
            await beside
        else:
            beside.cancel()

    async def _beside(self, errand: Errand, view: View) -> None:
        await view.known.wait()
        await self._rest(1.0)
        chance = self._rng.random()
        if chance < 0.2:
            await self._follow(self._crowd.view(self.owner, view.talk, view.reply))
        elif chance < 0.4 and errand.is_repeatable:
            again = self._crowd.view(self.owner, view.talk)
            if await self._send(errand, again, repeat=True):
                await self._follow(again)
        elif chance < 0.6:
            await self._stop(view)
        elif chance < 0.67:
            await self._delete(view)

    async def _reread(self) -> None:
        """Follow an ended reply from anywhere, also from beyond its end."""
        if not self.owner.replies:
            return
        reply, length, talk = self._rng.choice(self.owner.replies)
        position = self._rng.randint(0, length + 3)
        last_id = f"{reply}/{position}" if position else ""
        await self._follow(self._crowd.view(self.owner, talk, reply, last_id))

    async def _glance(self) -> None:
        """Look at a message, or at a conversation."""
        if not self.owner.replies:
            return
        reply, _length, talk = self._rng.choice(self.owner.replies)
        path = self._rng.choice([f"messages/{reply}", f"conversations/{talk.id}", "conversations"])
        answer = await self._ask("GET", path, talk=talk)
        if answer and answer.status == 200:
            self._look_for_leaks(path, str(answer.body))
            if path.startswith("messages/"):
                self._note_message(answer)

    async def _pry(self) -> None:
        """Ask for what is another's."""
        others = [view for view in self._crowd.views if view.owner is not self.owner and view.reply]
        if not others:
            return
        view = self._rng.choice(others)
        method, path = self._rng.choice([("GET", ""), ("GET", "/events"), ("POST", "/stop")])
        body = {} if method == "POST" else None
        answer = await self._ask(method, f"messages/{view.reply}{path}", body, explained=(404,))
        if answer and answer.status < 300:
            self._leak(f"{method} {path}", view.owner.canary)
            answer.connection.leave("RST")

    async def _stop(self, view: View) -> None:
        """Stop a reply, now or where this tab is."""
        position = int(view.last_id.rpartition("/")[2]) if view.last_id and view.state == "open" else None
        if self._rng.random() < 0.5:
            position = None
        body = {} if position is None else {"position": position}
        for _try in range(_TRIES):
            if view.state != "open" or self._crowd.is_over:
                return
            path = f"messages/{view.reply}/stop"
            self._history.write("stop", reply=view.reply, user=self.owner.name, position=position)
            answer = await self._ask("POST", path, body, talk=view.talk, patience=_STOP_PATIENCE_SECONDS)
            if answer and answer.status in (200, 202):
                self._look_for_leaks(path, str(answer.body))
                self._note_message(answer)
            if answer and answer.status not in (429, 503):
                return
            await self._rest(0.5)

    async def _delete(self, view: View) -> None:
        talk = view.talk
        if talk is None or talk.is_deleted:
            return
        # Before it is asked for: from then on a 404 is explained.
        talk.is_deleted = True
        for _try in range(_TRIES):
            self._history.write("delete", conversation=talk.id, user=self.owner.name)
            answer = await self._ask("DELETE", f"conversations/{talk.id}", talk=talk)
            if self._crowd.is_over or (answer and answer.status not in (429, 503)):
                return
            await self._rest(0.5)

    # Sending and following

    def _errand(self, talk: Talk | None, wish: str = "wants to know.") -> Errand:
        """Return a message to send, in a conversation or a new one."""
        return self._errand_to("openai", self._crowd.key(), talk, wish)

    def _errand_to(self, provider: str, key: str, talk: Talk | None, wish: str = "wants to know.") -> Errand:
        path = f"conversations/{talk.id}/messages" if talk else "messages"
        body: dict[str, Any] = {"content": f"{self.owner.canary} {wish}", "model": f"{provider}:{key}"}
        if self._rng.random() < 0.85:
            body["client_id"] = f"c-{key}"
        return Errand(key, path, body, talk)

    def _other_errand(self) -> Errand:
        """Return a message to send in any of the ways there are."""
        talks = [talk for talk in self.owner.talks if not talk.is_deleted]
        errand = self._errand(self._rng.choice(talks) if talks and self._rng.random() < 0.6 else None)
        body, chance = errand.body, self._rng.random()
        if chance < 0.1:
            body["disconnect"] = "stop"
        elif chance < 0.17:
            body["stream"] = False
        elif chance < 0.24:
            messages = [{"role": "user", "content": body.pop("content")}]
            return errand._replace(path="chat", body={**body, "messages": messages}, talk=None)
        elif chance < 0.4 and self.owner.replies:
            reply, _length, talk = self._rng.choice(self.owner.replies)
            del body["content"]
            return errand._replace(path=f"messages/{reply}/regenerate", talk=talk)
        elif chance > 1 - _WITH_TOOLS:
            return self._errand_to("tools", self._crowd.key(TOOLS), errand.talk)
        return errand

    async def _send(self, errand: Errand, view: View, *, repeat: bool = False) -> bool:
        """Send until it is accepted, and read what comes; False when that was given up."""
        for number in range(_TRIES):
            headers = {"Last-Event-ID": view.last_id} if view.last_id else {}
            patience = _WHOLE_PATIENCE_SECONDS if errand.is_whole else _PATIENCE_SECONDS
            answer = await self._ask(
                "POST", errand.path, errand.body, talk=errand.talk, headers=headers, busy=True, patience=patience
            )
            is_accepted = answer is not None and answer.status == 200
            if answer and answer.is_stream:
                await self._read(view, answer)
            elif answer and is_accepted:
                self._take_whole(view, answer)
            self._history.write(
                "send",
                key=errand.key,
                ends_with_reader=errand.ends_with_reader,
                user=self.owner.name,
                worker=answer.worker.name if answer else "",
                repeat=repeat or number > 0,
                status=answer.status if answer else 0,
                reply=view.reply,
            )
            if view.reply:
                return True
            is_lost = answer is None or is_accepted
            if self._crowd.is_over or (is_lost and not errand.is_repeatable):
                return False
            if answer and not is_accepted and answer.status not in (409, 429, 503):
                return False
            await self._rest(0.5)
        return False

    def _take_whole(self, view: View, answer: Answer) -> None:
        """Note an answer that came at the ending."""
        message = answer.body["message"]
        self._look_for_leaks(f"reply {message['id']}", str(answer.body))
        self._note_message(answer._replace(body=message))
        if view.talk is None:
            view.talk = Talk(message["conversation"])
            self.owner.talks.append(view.talk)
        view.reply, view.state = message["id"], "ended"
        view.known.set()

    async def _follow(self, view: View, *, leaving: bool = True) -> None:
        """Resume wherever, however often, until the ending."""
        while view.state == "open" and not (leaving and self._crowd.is_over):
            path, headers = f"messages/{view.reply}/events", {}
            if view.last_id and self._rng.random() < 0.2:
                path += f"?after={view.last_id}"
            elif view.last_id:
                headers["Last-Event-ID"] = view.last_id
            answer = await self._ask("GET", path, talk=view.talk, headers=headers)
            if answer and answer.is_stream:
                await self._read(view, answer, leaving=leaving)
            elif answer and answer.status not in (429, 503):
                view.state = "gone"
                return
            await self._rest(0.3)

    async def _read(self, view: View, answer: Answer, *, leaving: bool = True) -> None:
        """Read frames until the stream ends, falls silent, or this client leaves; and note them."""
        connection, since = answer.connection, time.time()
        after = view.last_id
        stay = self._rng.randint(1, 40) if leaving and self._rng.random() < 0.5 else None
        left, frames, ending = self._rng.choice(["FIN", "RST"]), [], None
        try:
            async with asyncio.timeout(_LONGEST_READ_SECONDS):
                async for frame in connection.frames(_PATIENCE_SECONDS):
                    if frame.data is None:
                        left = "whole"
                        break
                    view.take(frame)
                    frames.append([frame.position, frame.event, frame.data["text"]])
                    if frame.event == "approval":
                        self._answer_soon(view, frame.data["approval"]["calls"])
                    if frame.event in ENDINGS:
                        ending = frame.data
                    if stay is not None and len(frames) >= stay and ending is None:
                        break
                else:
                    left = "ended early"
        except TimeoutError:
            left = "silent"
        except OSError:
            left = "cut"
        finally:
            connection.leave("FIN" if left == "FIN" else "RST")
            self._history.write(
                "read",
                view=view.number,
                user=self.owner.name,
                reply=view.reply,
                worker=answer.worker.name,
                after=int(after.rpartition("/")[2]) if after else None,
                frames=frames,
                ending=ending,
                left=left,
                since=round(since, 4),
            )
        self._look_for_leaks(f"reply {view.reply}", view.text)
        if ending is not None and view.state == "ended" and view.talk is not None:
            self.owner.replies.append((view.reply, ending["length"], view.talk))

    # Answering

    def _answer_soon(self, view: View, calls: list[dict[str, Any]]) -> None:
        """Answer calls that wait, beside what this client does; some are left without an answer."""
        if self._rng.random() < _ANSWERED:
            task = asyncio.create_task(self._answer(view, [call["id"] for call in calls]))
            self._answering.add(task)
            task.add_done_callback(self._answering.discard)

    async def _answer(self, view: View, call_ids: list[str]) -> None:
        """Answer all, at once or one after the other, until that is accepted or refused."""
        await self._rest(0.5)
        answers = [{"call": call_id, "approved": self._rng.random() < _APPROVED} for call_id in call_ids]
        if self._rng.random() < 0.5:
            await self._post_answers(view, answers)
        else:
            for answer in answers:
                await self._post_answers(view, [answer])

    async def _post_answers(self, view: View, answers: list[dict[str, Any]]) -> None:
        """Post them again and again: a repeated answer changes nothing. Another tab's may be there already: 409."""
        for each in answers:
            fields = {"call_id": each["call"], "approved": each["approved"]}
            self._history.write("approval", reply=view.reply, user=self.owner.name, **fields)
        for _try in range(_TRIES):
            answer = await self._ask(
                "POST", f"messages/{view.reply}/answers", {"answers": answers}, talk=view.talk, explained=(409,)
            )
            if self._crowd.is_over or (answer and answer.status not in (429, 503)):
                return
            await self._rest(0.5)

    # Requests

    async def _ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        talk: Talk | None = None,
        headers: dict[str, str] | None = None,
        explained: tuple[int, ...] = (),
        busy: bool = False,
        patience: float = _PATIENCE_SECONDS,
    ) -> Answer | None:
        """Ask any worker; None when no answer came. busy: another reply of the conversation may be in progress."""
        worker = self._rng.choice(self._crowd.workers)
        asked = {**self.owner.headers, **(headers or {})}
        try:
            connection = await Connection.ask(worker.port, method, f"/chat/api/{path}", asked, body, patience=patience)
            content = None
            if not connection.is_stream:
                content = await connection.json(patience)
                connection.leave("FIN")
        except (OSError, TimeoutError):
            return None
        status = connection.status
        is_expected = (
            status in (200, 202, 204, 429, 503, *explained)
            or (status == 404 and talk is not None and talk.is_deleted)
            or (status == 409 and busy)
        )
        code = content["error"]["code"] if status >= 400 and isinstance(content, dict) and "error" in content else ""
        name = worker.name
        self._history.write(
            "answer", method=method, path=path, worker=name, status=status, code=code, expected=is_expected
        )
        return Answer(worker, status, connection, content)

    def _note_message(self, answer: Answer) -> None:
        message = answer.body
        if message["status"] not in ("streaming", "waiting"):
            shown = {name: message[name] for name in ("status", "end_reason", "text")}
            self._history.write(
                "message", reply=message["id"], worker=answer.worker.name, user=self.owner.name, **shown
            )

    def _look_for_leaks(self, where: str, text: str) -> None:
        for canary in sorted(set(CANARY.findall(text)) - {self.owner.canary}):
            self._leak(where, canary)

    def _leak(self, where: str, canary: str) -> None:
        self._history.write("leak", user=self.owner.name, where=where, canary=canary)

    async def _rest(self, seconds: float) -> None:
        """Wait for a while, so many seconds on average."""
        await asyncio.sleep(self._rng.expovariate(1 / seconds))
