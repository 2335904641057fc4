"""The formats of the app, and formats that a site adds."""

import subprocess
import sys

import pytest
from django.test import SimpleTestCase, override_settings

from streaming_chat.checks import check_encoders
from streaming_chat.encoders import Encoder, encoder_named, formats
from streaming_chat.encoders.simple import SimpleEncoder

OWN = {"own": "tests.encoders.test_formats.OwnEncoder"}


class OwnEncoder(SimpleEncoder):
    content_type = "text/x-own"


class FormatTests(SimpleTestCase):
    def test_each_has_an_encoder(self):
        assert formats()[0] == "simple"
        for name in formats():
            assert issubclass(encoder_named(name), Encoder), name

    def test_a_site_adds_one(self):
        with override_settings(STREAMING_CHAT_ENCODERS=OWN):
            assert formats()[-1] == "own"
            assert encoder_named("own") is OwnEncoder
        with pytest.raises(KeyError):
            encoder_named("own")

    def test_a_site_replaces_one(self):
        with override_settings(STREAMING_CHAT_ENCODERS={"simple": OWN["own"]}):
            assert encoder_named("simple") is OwnEncoder

    @pytest.mark.slow
    def test_none_is_imported_before_it_is_asked_for(self):
        code = "import sys, streaming_chat.encoders; print(*sys.modules)"
        imported = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout.split()

        assert [name for name in imported if name.startswith("streaming_chat.encoders.")] == [
            "streaming_chat.encoders.base"
        ]

    def test_what_cannot_be_used_is_reported(self):
        for table in (
            ["own"],
            {"own": "tests.encoders.test_formats.Missing"},
            {"own": "tests.encoders.test_formats.OWN"},
            {"own": OwnEncoder},
            {"own/": OWN["own"]},
        ):
            with self.subTest(table), override_settings(STREAMING_CHAT_ENCODERS=table):
                assert [found.id for found in check_encoders()] == ["streaming_chat.E012"]
        with override_settings(STREAMING_CHAT_ENCODERS=OWN):
            assert check_encoders() == []
