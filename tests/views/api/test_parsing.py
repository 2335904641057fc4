"""JSON bodies: what is accepted, and how each fault is named."""

import json
from http.client import HTTPConnection

from django.test import override_settings

from streaming_chat.testing import read_stream
from tests.native import ApiTestCase, error_of
from tests.servers import ServerTestCase


class BodyTests(ApiTestCase):
    def fields(self, body, path="api/messages"):
        response = self.api.post(path, body)

        assert response.status_code == 422, response.content
        return error_of(response)["fields"]

    def test_unknown_keys_are_named(self):
        assert list(self.fields({"content": "Hi", "contents": "Hi", "temperature": 2})) == ["contents", "temperature"]

    def test_many_unknown_keys_do_not_fill_the_answer(self):
        body = {"content": 1, **{f"{number:x<200}": 1 for number in range(10, 30)}}
        fields = self.fields(body)

        assert len(fields) == 11
        assert "content" in fields
        assert max(map(len, fields)) == 64

    def test_bodies_in_other_encodings(self):
        """RFC 8259 allows UTF-8 alone between systems; a byte order mark may be ignored."""
        for encoding in ("utf-16", "utf-16-le", "utf-32", "latin-1"):
            with self.subTest(encoding):
                assert list(self.fields('{"content": "é"}'.encode(encoding))) == ["body"]
        assert self.api.post("api/messages", '{"content": "é"}'.encode("utf-8-sig")).status_code == 200

    def test_what_is_missing_is_named(self):
        assert list(self.fields({})) == ["content"]

    def test_bodies_that_are_no_json_object(self):
        for body in (" ", "{", "null", "[]", '"Hi"', b"\xff\xfe{", "{}{}", "{'content': 1}"):
            with self.subTest(body=body):
                assert list(self.fields(body)) == ["body"]

    def test_what_only_python_takes_for_json(self):
        for value in ("NaN", "Infinity", "-Infinity", "1e999", "-1e999", "9" * 20, "9" * 5_000):
            with self.subTest(value=value[:9]):
                assert list(self.fields(f'{{"metadata": {{"a": {value}}}}}', "api/conversations")) == ["body"]

    def test_deep_nesting(self):
        for depth in (33, 500, 2_000, 100_000):
            with self.subTest(depth=depth):
                body = '{"metadata": {"a": ' + "[" * depth + "]" * depth + "}}"

                assert list(self.fields(body, "api/conversations")) == ["body"]

    def test_wrong_types(self):
        wrong = {
            "content": [None, 1, True, {}, [], "", " \n\t"],
            "client_id": [None, 1, "", "a b", "é", "x" * 65, "a\n"],
            "model": [None, "", 1],
            "parent": [1, "", "none", []],
            "stream": [0, 1, "true", None],
            "disconnect": ["go", None, True, []],
        }
        for name, values in wrong.items():
            for value in values:
                with self.subTest(name=name, value=value):
                    assert list(self.fields({"content": "Hi", name: value})) == [name]

    @override_settings(STREAMING_CHAT_MAX_MESSAGE_CHARS=5)
    def test_a_message_is_measured_in_code_points(self):
        assert self.api.send("🎉" * 5).end["status"] == "completed"
        assert list(self.fields({"content": "🎉" * 6})) == ["content"]

    def test_a_body_at_the_limit_is_taken(self):
        body = json.dumps({"content": "x"})
        body += " " * (1_048_576 - len(body))

        assert read_stream(self.api.post("api/messages", body)).text
        assert self.api.post("api/messages", body + " ").status_code == 413

    @override_settings(STREAMING_CHAT_MAX_MESSAGE_CHARS=100_000)
    def test_the_longest_message_fits(self):
        assert self.api.send("🎉" * 100_000).end["status"] == "completed"

    @override_settings(DATA_UPLOAD_MAX_MEMORY_SIZE=1_000)
    def test_djangos_own_limit_is_413_too(self):
        response = self.api.post("api/messages", {"content": "x" * 2_000})

        assert response.status_code == 413
        assert error_of(response)["code"] == "too_large"

    def test_text_that_no_database_takes_is_stored_cleanly(self):
        """PostgreSQL refuses NUL; no UTF-8 has lone surrogates; a pair written as two escapes is one character."""
        self.provider.default.deltas = ["a\0b", "\ud83c", "\udf89", "\udc00"]
        reply = self.api.reply("x\0y \ud800 \ud83c\udf89")

        assert reply.parent.text == "xy \ufffd 🎉"
        assert reply.text == "ab🎉\ufffd"
        assert self.provider.calls[0].prompt.turns[-1].text == "xy \ufffd 🎉"
        assert reply.conversation.title == "xy \ufffd 🎉"

    def test_metadata_and_titles_are_stored_cleanly(self):
        metadata = {"k\0\ud800": ["v\0\udfff", 1.5, None]}
        made = self.api.post("api/conversations", {"title": "a\0\ud800", "metadata": metadata})

        assert made.status_code == 201
        assert made.json()["title"] == "a\ufffd"
        assert made.json()["metadata"] == {"k\ufffd": ["v\ufffd", 1.5, None]}

    def test_faults_are_written_cleanly(self):
        assert list(self.fields('{"content": "Hi", "\\u0000\\ud800": 1}')) == ["\ufffd"]


class ChunkedBodyTests(ServerTestCase):
    def status(self, *parts):
        """Return the answer to a body that comes in chunks: nothing says its size in advance."""
        connection = HTTPConnection("127.0.0.1", self.server.port, timeout=10)
        token = "a" * 32
        headers = {
            "Cookie": f"sessionid={self.browser.session}; csrftoken={token}",
            "X-CSRFToken": token,
            "Content-Type": "application/json",
        }
        connection.request("POST", "/chat/api/messages", iter(parts), headers, encode_chunked=True)
        response = connection.getresponse()
        response.read()
        connection.close()
        return response.status

    def test_a_body_without_content_length_is_measured(self):
        assert self.status(b'{"content": "', b"x" * 20, b'"}', b" " * 1_048_576) == 413
        assert self.status(b'{"content": "', b"x" * 20, b'"}') == 200
