"""`manage.py exporttranscripts`: what it writes, and how an interrupted export resumes."""

import json
import os
import stat
from datetime import timedelta
from io import StringIO
from pathlib import Path

from django.core.management import CommandError, call_command
from django.db.models.functions import Now
from django.utils import timezone

from streaming_chat.exports import files, transcripts
from streaming_chat.exports.transcripts import FORMATS
from streaming_chat.models import AccessRecord, Conversation
from streaming_chat.privacy.audit import account_name
from tests.factories import make_conversation, make_reply, make_user
from tests.management.base import FolderTestCase


class Killed(Exception):
    """What a process does not survive."""


class ExportTranscriptsTests(FolderTestCase):
    def test_it_writes_a_file_that_only_its_account_reads(self):
        for _number in range(5):
            make_reply(make_conversation())
        told, progress = self.run_command()

        assert told == f"{self.path}\n"
        assert progress == "5 of 5 conversations, 10 messages\n"
        assert len(self.path.read_text().splitlines()) == 5
        assert stat.S_IMODE(self.path.stat().st_mode) == 0o600
        assert [path.name for path in self.folder.iterdir()] == ["out"]

    def test_its_name_is_a_date(self):
        make_conversation(title="Rain in Lisbon")
        before = Path.cwd()
        self.addCleanup(os.chdir, before)
        os.chdir(self.folder)
        call_command("exporttranscripts", "--format", "csv", stdout=StringIO(), stderr=StringIO())

        assert [path.name for path in self.folder.iterdir()] == [f"transcripts-{timezone.localdate():%Y-%m-%d}.csv"]

    def test_to_standard_output(self):
        conversation = make_conversation()
        told, _progress = self.run_command(path="-")

        assert json.loads(told)["id"] == str(conversation.pk)

    def test_which_ones(self):
        ana, bo = make_user(), make_user("bo")
        old = str(make_conversation(ana, model="openai:gpt-5", last_status="failed").pk)
        Conversation.objects.update(last_activity=Now() - timedelta(days=10))
        new = str(make_conversation(bo, model="demo:demo").pk)
        theirs = str(Conversation.objects.create(owner_key="v:1").pk)
        long_ago = (timezone.now() - timedelta(days=5)).strftime("%Y-%m-%d")
        for arguments, expected in (
            ([], {old, new, theirs}),
            (["--since", long_ago], {new, theirs}),
            (["--until", long_ago], {old}),
            (["--since", f"{long_ago}T12:00:00Z"], {new, theirs}),
            (["--status", "failed"], {old}),
            (["--owner", "bo"], {new}),
            (["--owner", f"u:{ana.pk}"], {old}),
            (["--owner", "v:1"], {theirs}),
            (["--model", "openai:gpt-5"], {old}),
            (["--model", "demo:*"], {new}),
        ):
            with self.subTest(arguments):
                assert self.ids(*arguments) == expected

    def test_each_has_an_access_record_by_the_account(self):
        make_conversation()
        self.run_command("--owner", "ana")
        found = AccessRecord.objects.get()

        assert (found.kind, found.by, found.by_name, found.count) == ("export", None, account_name(), 1)
        assert found.owner_key == f"u:{make_user().pk}"

    def test_arguments_that_mean_nothing(self):
        for arguments in (
            ["--since", "yesterday"],
            ["--since", "2026-13-01"],
            ["--owner", "nobody"],
            ["--status", "x"],
            ["--since", "2026-11-02", "--until", "2026-11-01"],
        ):
            with self.subTest(arguments), self.assertRaises(CommandError):
                self.run_command(*arguments)
        assert not AccessRecord.objects.exists()

    def test_a_folder_that_is_missing_is_named(self):
        with self.assertRaisesMessage(CommandError, f"there is no folder {self.folder / 'none'}"):
            self.run_command(path=self.folder / "none" / "out")

    def test_a_file_that_is_there_is_left(self):
        self.path.write_text("kept")
        with self.assertRaises(CommandError):
            self.run_command()

        assert self.path.read_text() == "kept"


class ResumeTests(FolderTestCase):
    def setUp(self):
        super().setUp()
        for _number in range(9):
            make_reply(make_conversation())
        self.addCleanup(setattr, files, "_SAVE_BYTES", files._SAVE_BYTES)
        files._SAVE_BYTES = 0

    def kill_after(self, pages, *arguments, by=Killed, seen_as=Killed):
        """Run the command in a process that dies after so many pages, in the middle of the next one."""
        real = transcripts.export

        def dying(conversations, form, after=None):
            left = pages
            for chunk in real(conversations, form, after):
                if left == 0:
                    yield transcripts.ExportChunk(chunk.data[:7])
                    raise by
                left -= chunk.through is not None
                yield chunk

        transcripts.export = dying
        try:
            with self.assertRaises(seen_as) as raised:
                self.run_command(*arguments)
        finally:
            transcripts.export = real
        return raised.exception

    def test_who_interrupts_it_is_told_how_it_goes_on(self):
        error = self.kill_after(1, by=KeyboardInterrupt, seen_as=CommandError)

        assert str(error) == "interrupted; run the same command again to continue."
        assert error.returncode == 130

    def test_a_resumed_export_is_the_uninterrupted_one_byte_for_byte(self):
        for form in FORMATS:
            self.run_command("--format", form, path=self.folder / "whole")
            whole = (self.folder / "whole").read_bytes()
            (self.folder / "whole").unlink()
            for pages in range(5):
                with self.subTest(form=form, pages=pages):
                    self.kill_after(pages, "--format", form)
                    self.run_command("--format", form)

                    assert self.path.read_bytes() == whole
                    assert [path.name for path in self.folder.iterdir()] == ["out"]
                self.path.unlink()

    def test_however_often_it_dies(self):
        self.run_command(path=self.folder / "whole")
        for _time in range(3):
            self.kill_after(1)
        _told, progress = self.run_command()

        assert self.path.read_bytes() == (self.folder / "whole").read_bytes()
        assert progress == "9 of 9 conversations, 18 messages\n"

    def test_the_rest_of_a_file_that_was_not_saved_with_its_state_is_written_again(self):
        self.run_command(path=self.folder / "whole")
        files._SAVE_BYTES = 10**9
        self.kill_after(3)
        self.run_command()

        assert self.path.read_bytes() == (self.folder / "whole").read_bytes()

    def test_what_becomes_active_meanwhile_is_not_in_it(self):
        self.kill_after(1)
        make_conversation()
        self.run_command()

        assert len(self.path.read_text().splitlines()) == 9

    def test_other_arguments_are_another_export(self):
        self.kill_after(1)
        for arguments in (["--format", "csv"], ["--owner", "ana"], ["--until", "2030-01-01"]):
            with self.subTest(arguments), self.assertRaises(CommandError):
                self.run_command(*arguments)
        self.run_command()

        assert self.path.exists()

    def test_a_state_that_cannot_be_read_is_said(self):
        for text in ("{", "[]", '{"a": 1}'):
            Path(f"{self.path}.state").write_text(text)
            with self.subTest(text), self.assertRaisesMessage(CommandError, "remove it to start again"):
                self.run_command()
