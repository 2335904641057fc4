"""The measures of the other tests here."""

import itertools

import pytest
from django.contrib.sessions.models import Session
from django.test import SimpleTestCase, TestCase
from django.utils.timezone import now

from .growth import LINEAR, counted, ratio


@pytest.mark.once
class RatioTests(SimpleTestCase):
    def test_it_tells_quadratic_work_from_linear(self):
        def linear(size):
            return sum(range(size * 200))

        def quadratic(size):
            return [sum(range(size)) for _ in range(size)]

        assert ratio(linear, 1_000, 2_000) < LINEAR < ratio(quadratic, 600, 1_200, patience=1)

    def test_noise_does_not_make_linear_work_look_quadratic(self):
        """On a busy machine, all of the first rounds may take much longer than they need."""
        larger = itertools.count()

        def linear(size):
            is_disturbed = size == 2_000 and next(larger) < 20
            return sum(range(size * (600 if is_disturbed else 200)))

        assert ratio(linear, 1_000, 2_000) < LINEAR


class CountedTests(TestCase):
    def test_statements_and_rows_are_counted(self):
        Session.objects.bulk_create(Session(session_key=f"{n}", session_data="", expire_date=now()) for n in range(5))
        with counted() as work:
            list(Session.objects.all())
            list(Session.objects.values_list("pk").iterator())
            Session.objects.get(pk="3")
        Session.objects.count()

        assert work.statements == 3
        assert work.rows == 11
