"""Backends are created once in a process, and again when their setting changes."""

import os
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from django.test import SimpleTestCase, override_settings

from streaming_chat.backends import BackendSetting
from streaming_chat.quotas import Quota

THREADS = 8


class Counted(Quota):
    """A backend that notes what happens to it."""

    created = 0

    def __init__(self):
        type(self).created += 1
        self.happened = []

    def close(self):
        self.happened.append("close")

    def reset(self):
        self.happened.append("reset")


class Broken(Quota):
    def __init__(self):
        raise ValueError("no")


def configured(cls):
    return override_settings(STREAMING_CHAT_QUOTA={"BACKEND": f"{__name__}.{cls.__name__}"})


# One for all tests: it is never disconnected from the signal and the fork.
quotas = BackendSetting[Quota]("STREAMING_CHAT_QUOTA")


class BackendSettingTests(SimpleTestCase):
    def test_one_for_all_threads(self):
        barrier = Barrier(THREADS)

        def get(_number):
            barrier.wait()
            return quotas.get()

        Counted.created = 0
        with configured(Counted), ThreadPoolExecutor(THREADS) as pool:
            found = set(pool.map(get, range(THREADS)))

        assert (len(found), Counted.created) == (1, 1)

    def test_a_change_of_the_setting_closes_it_and_creates_another(self):
        with configured(Counted):
            first = quotas.get()
            with configured(Quota):
                assert type(quotas.get()) is Quota
            assert quotas.get() is not first

        assert first.happened == ["close"]

    def test_other_settings_change_nothing(self):
        with configured(Counted):
            first = quotas.get()
            with override_settings(STREAMING_CHAT_DRAIN_SECONDS=1):
                assert quotas.get() is first

    def test_one_that_cannot_be_created_is_tried_again(self):
        with configured(Broken):
            for _ in range(2):
                with self.assertRaisesMessage(ValueError, "no"):
                    quotas.get()

    @pytest.mark.slow
    def test_a_fork_resets_it_in_the_child(self):
        """Even while another thread of the parent is creating one."""
        with configured(Counted):
            quota = quotas.get()
            with quotas._lock:
                child = os.fork()
                if child == 0:
                    with quotas._lock:
                        os._exit(quota.happened != ["reset"])
                _pid, status = os.waitpid(child, 0)

        assert (os.waitstatus_to_exitcode(status), quota.happened) == (0, ["close"])
