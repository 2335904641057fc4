"""`manage.py rollup`."""

from io import StringIO

from django.core.management import CommandError, call_command
from django.test import TestCase

from tests.usage.factories import add_reply, ago


class CommandTests(TestCase):
    def run_command(self, *arguments):
        out = StringIO()
        call_command("rollup", *arguments, stdout=out)
        return out.getvalue().splitlines()

    def test_it_says_how_many(self):
        add_reply(ago(2))

        assert self.run_command() == ["2 days counted, 1 replies."]
        assert self.run_command("--verbosity=2")[0] == f"{ago(2)}: 1 replies"

    def test_it_takes_a_first_day(self):
        assert self.run_command(f"--since={ago(1)}") == ["1 days counted, 0 replies."]
        with self.assertRaises(CommandError):
            self.run_command("--since=yesterday")
