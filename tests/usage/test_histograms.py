"""Histograms with fixed buckets: their quantiles and sums."""

from django.test import SimpleTestCase

from streaming_chat.usage.histograms import FIRST_EVENT_MS, Scale, add


class HistogramTests(SimpleTestCase):
    def test_a_median_is_right_to_a_few_percent(self):
        counts = []
        for value in range(200, 1_801):
            bucket = sum(bound <= value for bound in FIRST_EVENT_MS.bounds)
            counts = FIRST_EVENT_MS.count_in(counts, bucket, 1)

        assert abs(FIRST_EVENT_MS.quantile(counts, 0.5) - 1_000) < 50
        assert abs(FIRST_EVENT_MS.quantile(counts, 0.95) - 1_720) < 150

    def test_of_nothing_there_is_none(self):
        assert FIRST_EVENT_MS.quantile([], 0.5) is None
        assert FIRST_EVENT_MS.quantile([0] * FIRST_EVENT_MS.size, 0.5) is None

    def test_what_is_beyond_the_last_bound_is_in_the_last_bucket(self):
        scale = Scale(1, 3)

        assert scale.count_in([], 99.0, 2) == [0, 0, 0, 2]
        assert scale.quantile([0, 0, 0, 2], 0.95) == scale.bounds[-1]

    def test_a_sum_counts_both(self):
        assert add([], [1, 2]) == [1, 2]
        assert add([1, 2], []) == [1, 2]
        assert add([1, 2], [3, 4]) == [4, 6]
