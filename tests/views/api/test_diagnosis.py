"""What the server says of itself to the doctor, and to nobody else."""

import time

from django.core.signing import TimestampSigner, b62_encode

from streaming_chat.views.api.diagnosis import HEADER, make_token
from tests.native import IS_ASGI, ApiTestCase


class Yesterdays(TimestampSigner):
    """Signs as of a day ago."""

    def timestamp(self) -> str:
        return b62_encode(int(time.time()) - 86_400)


class DiagnosisTests(ApiTestCase):
    """What the server says of itself, it says to who has the site's key alone."""

    def test_there_is_nothing_without_the_token(self):
        for headers in ({}, {HEADER: "x"}, {HEADER: TimestampSigner().sign("doctor")}):
            response = self.api.get("api/diagnosis", headers=headers)

            assert (response.status_code, response.content) == (404, self.api.get("api/nothing").content)

    def test_an_old_token_is_none(self):
        old = Yesterdays(salt="streaming_chat.diagnosis").sign("doctor")

        assert self.api.get("api/diagnosis", headers={HEADER: old}).status_code == 404

    def test_the_token_shows_no_secret(self):
        told = self.api.get("api/diagnosis", headers={HEADER: make_token()}).json()

        assert set(told) == {
            "interface",
            "threads",
            "process",
            "time",
            "scheme",
            "host",
            "notifier",
            "grace",
            "heartbeat",
        }
        assert (told["interface"], told["host"]) == ("asgi" if IS_ASGI else "wsgi", "testserver")
