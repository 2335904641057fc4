"""Files that are made while they are sent: how many, at whose charge, and when they pause."""

import asyncio
from unittest import mock

import pytest
from django.test import AsyncRequestFactory, RequestFactory, SimpleTestCase

from streaming_chat.exceptions import APIError
from streaming_chat.views import downloads
from streaming_chat.views.downloads import download, owner_download
from streaming_chat.views.work_shares import Share, download_pause, owner_share, work_shares

KEY = "u:downloader"


def of_owner(key=KEY, pieces=(b"one", b"two")):
    return owner_download(RequestFactory().get("/"), key, iter(pieces), "a.md", "text/markdown")


class OwnerDownloadTests(SimpleTestCase):
    def test_it_has_the_pieces(self):
        response = of_owner()

        assert b"".join(response.streaming_content) == b"onetwo"
        response.close()

    def test_an_owner_has_two_at_once(self):
        # Other tests leave responses that nobody closes.
        downloads._open_downloads.reset()
        first, second = of_owner(), of_owner()
        with pytest.raises(APIError) as refused:
            of_owner()

        assert (refused.value.status, refused.value.code) == (429, "too_many_streams")
        another = of_owner("u:another")
        first.close()
        third = of_owner()
        for response in (another, second, third):
            response.close()
        assert not downloads._open_downloads._counts

    def test_its_work_is_charged(self):
        def pieces():
            for number in range(200_000):
                yield b"%d" % number

        everything = {KEY: Share(burst=0.0, part=0.25)}
        with mock.patch.object(work_shares, "_clock", return_value=1_000.0):
            response = of_owner(pieces=pieces())
            before = work_shares.wait_seconds(everything)
            b"".join(response.streaming_content)
            response.close()

            assert work_shares.wait_seconds(everything) > before

    def test_it_pauses_when_half_of_the_share_is_used(self):
        share = owner_share()
        key = "u:busy"
        with mock.patch.object(work_shares, "_clock", return_value=1_000.0):
            work_shares.charge({key: share}, share.burst * 0.4)
            assert download_pause(key) == 0
            work_shares.charge({key: share}, share.burst * 0.2)

            assert download_pause(key) > 0
            # Other requests of the owner are answered meanwhile.
            work_shares.require({key: share})


class DownloadTests(SimpleTestCase):
    def test_a_pause_is_between_two_pieces(self):
        """Under ASGI, where the thread serves others meanwhile."""
        pauses = iter([0.0, 0.02, 0.0])

        async def read():
            request = AsyncRequestFactory().get("/")
            response = download(request, iter([b"a", b"b", b"c"]), "a.md", "text/markdown", pause=pauses.__next__)
            began_at = asyncio.get_running_loop().time()
            data = [piece async for piece in response]
            return data, asyncio.get_running_loop().time() - began_at

        data, seconds = asyncio.run(read())

        assert data == [b"a", b"b", b"c"]
        assert seconds >= 0.02
        assert list(pauses) == []

    def test_head_makes_no_piece(self):
        def pieces():
            raise AssertionError("made")
            yield b""

        response = download(RequestFactory().head("/"), pieces(), "a.md", "text/markdown")

        assert b"".join(response.streaming_content) == b""
