"""Functions of a site as tools: their schema, their arguments, and how they are called."""

import asyncio
import datetime as dt
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Annotated, Any, Literal

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth import get_user_model
from django.db import connection, connections
from django.test import SimpleTestCase, TransactionTestCase, override_settings
from pydantic import BaseModel, Field

from streaming_chat.tools import InvalidArguments, Toolbox, ToolContext
from tests.factories import make_user


class Address(BaseModel):
    city: str = Field(min_length=1)


def declared(function=None, **options):
    """Return a function as a tool."""
    toolbox = Toolbox()
    if function is None:
        return lambda function: declared(function, **options)
    assert toolbox.tool(**options)(function) is function

    [tool] = toolbox.declared.values()
    return tool


@declared(permission="shop.view_order", timeout=5)
def find_orders(
    context,
    status: Literal["open", "paid"],
    limit: Annotated[int, Field(ge=1, description="At most so many.")] = 10,
    copy: bool = False,
    address: Address | None = None,
):
    """Find orders.

    Args:
        status: Of the payment.
        limit: Not this.
    """
    return status, limit, copy, address


@pytest.mark.once
class DeclarationTests(SimpleTestCase):
    def test_what_the_model_is_told(self):
        city = {"type": "object", "properties": {"city": {"type": "string", "minLength": 1}}, "required": ["city"]}

        assert (find_orders.name, find_orders.description) == ("find_orders", "Find orders.")
        assert find_orders.parameters == {
            "type": "object",
            "properties": {
                "status": {"type": "string", "enum": ["open", "paid"], "description": "Of the payment."},
                "limit": {"type": "integer", "minimum": 1, "default": 10, "description": "At most so many."},
                "copy": {"type": "boolean", "default": False},
                "address": {"anyOf": [city, {"type": "null"}], "default": None},
            },
            "required": ["status"],
            "additionalProperties": False,
        }

    def test_options(self):
        assert (find_orders.effect, find_orders.permission, find_orders.approval) == ("read", "shop.view_order", False)
        assert (find_orders.idempotent, find_orders.runs, find_orders.editable) == (False, "server", False)
        assert find_orders.seconds == 5
        with override_settings(STREAMING_CHAT_TOOL_SECONDS=7):
            assert replace(find_orders, timeout=None).seconds == 7

    def test_without_parentheses(self):
        toolbox = Toolbox()

        @toolbox.tool
        def now(context):
            """The time."""

        assert async_to_sync(toolbox.tools)(ToolContext()) == [toolbox.declared["now"]]
        assert toolbox.declared["now"].parameters == {"type": "object", "properties": {}, "additionalProperties": False}

    def test_what_cannot_be_a_tool(self):
        for parameters, problem in (
            ("order: int", "The first parameter of the tool find must be context, got find(order: int)."),
            ("self, context", "The first parameter of the tool find must be context, got find(self, context)."),
            ("", "The first parameter of the tool find must be context, got find()."),
            ("*, context", "The first parameter of the tool find must be context, got find(*, context)."),
            ("*context", "The first parameter of the tool find must be context, got find(*context)."),
            ("context, order", "The parameter order of the tool find needs a type, such as order: str."),
            (
                "context, *orders: int",
                "find must take one argument by its name, got *orders: int (variadic positional).",
            ),
            (
                "context, **orders: int",
                "find must take one argument by its name, got **orders: int (variadic keyword).",
            ),
            ("context, order: int, /", "find must take one argument by its name, got order: int (positional-only)."),
            ("context, _order: int", "The parameter _order of the tool find needs another name."),
            ("context, model_config: int", "The parameter model_config of the tool find needs another name."),
            ("context, order: 'Order'", "A type of the tool find cannot be evaluated: name 'Order' is not defined"),
        ):
            names = {}
            exec(f"def find({parameters}): ...", names)  # noqa: S102  (a signature is what is tested)
            with self.subTest(parameters), self.assertRaisesMessage((TypeError, ValueError), problem):
                declared(names["find"])

    def test_types_and_defaults_that_cannot_be_used(self):
        """A model is told the default, and some models send it instead of leaving the argument out."""
        for type_, default, problem in (
            (threading.Thread, ..., "schema for <class 'threading.Thread'>."),
            (Callable[[int], int], ..., "CallableSchema."),
            (list[threading.Thread], ..., "<class 'threading.Thread'>."),
            (int, "ten", "parameter order of the tool find does not fit its type: Input should be a valid integer, "),
            (str, None, "Input should be a valid string, got None."),
            (Literal["open"], "paid", "Input should be 'open', got 'paid'."),
            (
                Any,
                threading,
                "The default of the parameter order of the tool find must be JSON, got <module 'threading'",
            ),
            (int, Field(3, ge=1), "has a Field as its default: write Annotated[type, Field(…)] = default."),
        ):

            def find(context, order=default): ...

            find.__annotations__["order"] = type_
            find.__defaults__ = None if default is ... else (default,)
            with self.subTest(type_), self.assertRaisesMessage(TypeError, problem):
                declared(find)

    def test_defaults_that_json_has_in_another_form(self):
        @declared
        def find(context, since: dt.date = dt.date(2026, 1, 1), ids: frozenset[int] = frozenset({1})): ...

        assert [each["default"] for each in find.parameters["properties"].values()] == ["2026-01-01", [1]]

    def test_a_generator_is_no_tool(self):
        """Its result would be a generator, which is not JSON."""

        def find(context):
            yield 1

        async def look(context):
            yield 1

        for function in (find, look):
            with self.assertRaisesMessage(TypeError, "must return its result, but it is a generator."):
                declared(function)

    def test_a_docstring_that_describes_another_parameter(self):
        def find(context, order: int):
            """Find an order.

            Args:
                oder: Its number.
            """

        with self.assertRaisesMessage(
            ValueError, "The docstring of the tool find describes oder, which is no parameter"
        ):
            declared(find)

    def test_wrong_options(self):
        def now(context): ...

        approvals = "approval of the tool now must be True, False or a function (context, arguments), got "
        for options, problem in (
            ({"name": "shop.now"}, "its name must be 1 to 64 characters of A-Z a-z 0-9 _ -, got 'shop.now'"),
            ({"effect": "delete"}, 'effect of the tool now must be "read" or "write", got \'delete\'.'),
            ({"effect": ["read"]}, 'effect of the tool now must be "read" or "write", got [\'read\'].'),
            ({"runs": "nowhere"}, 'runs of the tool now must be "server" or "client", got \'nowhere\'.'),
            ({"permission": ["a.b"]}, 'permission of the tool now must be "app_label.codename" or "", got [\'a.b\'].'),
            ({"approval": "always"}, f"{approvals}'always'."),
            ({"approval": lambda context: True}, f"{approvals}<function "),
            ({"timeout": 0}, "timeout of the tool now must be None or a number of seconds, more than 0, got 0."),
            ({"timeout": "30"}, "timeout of the tool now must be None or a number of seconds, more than 0, got '30'."),
            ({"editable": "yes"}, "editable of the tool now must be True or False, got 'yes'."),
            (
                {"colour": "red"},
                "The tool now has the unknown option colour; the options are name, effect, permission, ",
            ),
            ({"description": "It."}, "The tool now has the unknown option description; the options are name, "),
        ):
            with self.subTest(**options), self.assertRaisesMessage((TypeError, ValueError), problem):
                declared(now, **options)
        with self.assertRaisesMessage(TypeError, "Options of tool() are passed by name, such as name=…, got 'now'."):
            Toolbox().tool("now")

    def test_two_of_one_name(self):
        toolbox = Toolbox()
        toolbox.tool(name="now")(lambda context: 1)

        with self.assertRaisesMessage(ValueError, "The toolbox already has a tool named now."):
            toolbox.tool(name="now")(lambda context: 2)

    def test_the_digest_is_of_what_a_person_approves(self):
        """An approval that was given for one tool must not count for another."""
        same = [replace(find_orders, timeout=1), replace(find_orders, function=print)]
        changed = [
            replace(find_orders, **change)
            for change in (
                {"name": "a"},
                {"description": "a"},
                {"parameters": {**find_orders.parameters, "required": []}},
                {"effect": "write"},
                {"permission": ""},
                {"approval": True},
                {"approval": len},
                {"idempotent": True},
                {"runs": "client"},
                {"editable": True},
            )
        ]

        assert {tool.digest for tool in same} == {find_orders.digest}
        assert len({tool.digest for tool in (find_orders, *changed)}) == 1 + len(changed)

    @pytest.mark.slow
    def test_the_digest_is_the_same_in_every_process(self):
        code = "import django; django.setup(); from tests.tools.test_functions import find_orders; print(find_orders.digest)"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

        assert done.stdout.strip() == find_orders.digest

    @pytest.mark.slow
    def test_pydantic_is_needed_only_to_declare(self):
        code = (
            "import sys; sys.modules['pydantic'] = None; import django; django.setup()\n"
            "from django.core.management import call_command; call_command('check')\n"
            "from streaming_chat.tools import Toolbox\n"
            "try: Toolbox().tool(name='now')(lambda context: 1)\n"
            "except ImportError as error: print(error)\n"
            "from django.test import override_settings; from streaming_chat.checks import check_tools\n"
            "with override_settings(STREAMING_CHAT_TOOLS={'shop': 'tests.tools.toolboxes.shop'}):\n"
            "    print(check_tools()[0].msg)\n"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

        assert "Tools need pydantic: pip install 'streaming-chat[tools]'." in done.stdout, done.stderr
        assert "cannot be used: pydantic is not installed: pip install 'streaming-chat[tools]'." in done.stdout


@pytest.mark.once
class ArgumentTests(SimpleTestCase):
    def test_valid_ones(self):
        found = find_orders.parse('{"status": "open", "address": {"city": "Rome"}}')

        assert (found.status, found.limit, found.address) == ("open", 10, Address(city="Rome"))

    def test_a_tool_without_any(self):
        """Some models send an empty text instead of an empty object."""
        tool = declared(lambda context: 1, name="now")
        for text in ("", " ", "{}"):
            assert tool.parse(text).model_dump() == {}

    def test_the_model_is_told_what_is_wrong_where(self):
        with self.assertRaises(InvalidArguments) as caught:
            find_orders.parse('{"status": "new", "limit": 0, "limt": 3, "address": {"city": ""}}')

        assert str(caught.exception) == (
            "The arguments of find_orders are not valid, so it did not run:\n"
            "- status: Input should be 'open' or 'paid', got 'new'\n"
            "- limit: Input should be greater than or equal to 1, got 0\n"
            "- address.city: String should have at least 1 character, got ''\n"
            "- limt: Extra inputs are not permitted, got 3"
        )

    def test_what_is_no_object(self):
        for text, line in (
            ("", "- status: Field required"),
            ('{"status"', "- Invalid JSON: EOF while parsing an object at line 1 column 9"),
            ("[]", "- arguments: Input should be an object, got []"),
            ("null", "- arguments: Input should be an object, got None"),
        ):
            with self.subTest(text), self.assertRaisesMessage(InvalidArguments, line):
                find_orders.parse(text)

    def test_an_explanation_is_short(self):
        @declared
        def add(context, numbers: list[int]): ...

        with self.assertRaises(InvalidArguments) as caught:
            add.parse(f'{{"numbers": [{", ".join(["[[[[[[[[[]]]]]]]]]"] * 1_000)}, "{"a" * 10_000}"]}}')
        text = str(caught.exception)

        assert "and 991 more problems" in text
        assert len(text) < 2_000


class CallTests(TransactionTestCase):
    def call(self, tool, arguments="{}", *, context=ToolContext(), key="key"):  # noqa: B008  (it is frozen)
        return async_to_sync(tool.call)(context, tool.parse(arguments), key=key)

    def test_arguments_are_python_objects(self):
        given = []

        @declared
        def find(context, day: dt.date, copy: bool = False, address: Address | None = None):
            given.append((day, copy, address))

        assert self.call(find, '{"day": "2026-11-30", "copy": true, "address": {"city": "Rome"}}') == ""
        assert given == [(dt.date(2026, 11, 30), True, Address(city="Rome"))]

    def test_the_result_is_text(self):
        """The query of a queryset is made in a thread, where it may block."""
        user = make_user()

        @declared
        def find(context):
            return get_user_model().objects.values("pk")

        @declared
        async def find_later(context):
            return get_user_model().objects.values("pk")

        for tool in (find, find_later):
            assert self.call(tool) == f'[{{"pk": {user.pk}}}]'

    def test_the_key_is_for_idempotent_tools(self):
        """Another tool cannot rely on it, since a call of it never runs twice."""

        def key(context):
            return context.key

        assert self.call(declared(key)) == ""
        assert self.call(declared(key, idempotent=True)) == "key"

    def test_synchronous_ones_have_threads_of_their_own(self):
        found = []

        @declared
        def where(context):
            connection.ensure_connection()
            found.append((threading.current_thread().name, connections["default"]))

        self.call(where)
        [(name, used)] = found

        assert name.startswith("streaming_chat.tools")
        assert used.connection is None

    def test_asynchronous_ones_stay_in_the_loop(self):
        loops = []

        @declared
        async def where(context):
            loops.append(asyncio.get_running_loop())

        async def both():
            loops.append(asyncio.get_running_loop())
            await where.call(ToolContext(), where.parse(""), key="")

        async_to_sync(both)()

        assert loops[0] is loops[1]

    def test_errors_are_the_tools_own(self):
        @declared
        def fail(context):
            raise LookupError("no such order")

        with self.assertRaisesMessage(LookupError, "no such order"):
            self.call(fail)

    def test_the_user_as_saved_now(self):
        """A tool acts on behalf of the owner, who may have been deactivated since the reply began."""
        user = make_user()
        context = ToolContext(user_id=user.pk, owner_key=f"u:{user.pk}")

        @declared
        def sync_user(context):
            return getattr(context.user(), "username", "nobody")

        @declared
        async def async_user(context):
            return getattr(await context.auser(), "username", "nobody")

        for tool in (sync_user, async_user):
            get_user_model().objects.update(is_active=True)

            assert self.call(tool, context=context) == user.username
            assert self.call(tool, context=ToolContext(owner_key="v:1")) == "nobody"
            assert self.call(tool, context=replace(context, user_id=user.pk + 1)) == "nobody"

            get_user_model().objects.update(is_active=False)

            assert self.call(tool, context=context) == "nobody"

    def test_a_context_shows_nothing(self):
        assert repr(ToolContext(owner_key="v:secret")) == "ToolContext()"

    def test_a_call_that_waits_for_a_thread_does_not_begin_once_it_is_cancelled(self):
        """What was cancelled before it began must not change anything later."""
        begun, started, release = [], threading.Semaphore(0), threading.Event()
        self.addCleanup(release.set)

        @declared(effect="write")
        def write(context):
            begun.append(1)
            started.release()
            release.wait(30)

        async def calls():
            tasks = [asyncio.create_task(write.call(ToolContext(), write.parse(""), key="")) for _ in range(9)]
            for _ in range(8):
                await asyncio.to_thread(started.acquire)
            tasks[-1].cancel()
            await asyncio.wait(tasks[-1:])
            release.set()
            await asyncio.gather(*tasks[:-1])

        async_to_sync(calls)()

        assert len(begun) == 8


class ApprovalTests(TransactionTestCase):
    def needs(self, approval, arguments='{"amount": 200}'):
        def refund(context, amount: int): ...

        tool = declared(refund, effect="write", approval=approval)
        return async_to_sync(tool.needs_approval)(ToolContext(user_id=1), tool.parse(arguments))

    def test_always_or_never(self):
        assert self.needs(True) is True
        assert self.needs(False) is False

    def test_a_function_decides(self):
        async def expensive(context, arguments):
            return context.user_id == 1 and arguments.amount > 100

        def through_another(context, arguments):
            return expensive(context, arguments)

        for approval in (lambda context, arguments: arguments.amount > 100, expensive, through_another):
            assert self.needs(approval) is True
            assert self.needs(approval, '{"amount": 100}') is False

    def test_a_function_that_fails_allows_nothing(self):
        with self.assertRaises(ZeroDivisionError):
            self.needs(lambda context, arguments: 1 / 0)
