"""What is refused, left out or marked: `python3 -m unittest discover bench/compare`."""

import unittest

from report import Results
from steps import Bench


def row(number, peer, cpu, **more):
    row = {"round": number, "step": "http", "what": "requests", "peer": peer, "requests": 1_000_000, "cpu_s": cpu}
    return row | {"disturbance": 0} | more


class Ratios(unittest.TestCase):
    def ratios(self, *rows):
        return Results(rows).ratios("http", "requests", "sidering", "haproxy")

    def quiet(self):
        return [row(number, peer, cpu) for number in (1, 2, 3) for peer, cpu in (("sidering", 8), ("haproxy", 10))]

    def test_are_of_the_same_round(self):
        drifting = [row(1, "sidering", 8), row(1, "haproxy", 10), row(2, "sidering", 16), row(2, "haproxy", 20)]
        self.assertEqual(self.ratios(*drifting, row(3, "sidering", 99)), [0.8, 0.8])

    def test_leave_out_what_is_disturbed_or_refused(self):
        disturbed = [row(4, "sidering", 99, disturbance=0.5), row(4, "haproxy", 1)]
        refused = [row(5, "sidering", 99, refused="the load generator"), row(5, "haproxy", 1)]
        ratios = self.ratios(*self.quiet(), *disturbed, *refused)
        self.assertEqual((ratios, ratios.disturbed), ([0.8] * 3, False))

    def test_say_when_only_disturbed_rounds_are_left(self):
        ratios = self.ratios(*(figures | {"disturbance": 0.5} for figures in self.quiet()))
        self.assertEqual((ratios, ratios.disturbed), ([0.8] * 3, True))


class Measurements(unittest.TestCase):
    def judged(self, proxy, load, alone=True, **more):
        bench = Bench.__new__(Bench)
        bench.cores = {"proxy": 0, "backend": 1, "load": 1}
        figures = {"wall_s": 1, "cpu_s": 0.9, "load_s": 0.5, "busy": [proxy, load], "stolen": [0, 0], "requests": 1000}
        return bench.judged(figures | more, alone)

    def test_others_on_a_core_are_a_disturbance(self):
        self.assertAlmostEqual(self.judged(1.0, 0.5)["disturbance"], 0.1)
        self.assertAlmostEqual(self.judged(0.9, 0.7)["disturbance"], 0.2)

    def test_at_saturation_the_proxy_s_core_counts(self):
        self.assertAlmostEqual(self.judged(0.9, 0.7, alone=False)["disturbance"], 0)

    def test_the_host_s_share_is_a_disturbance(self):
        self.assertAlmostEqual(self.judged(0.9, 0.5, stolen=[0.2, 0])["disturbance"], 0.2)

    def test_errors_are_refused(self):
        self.assertNotIn("refused", self.judged(0.9, 0.5, errors=1))
        self.assertIn("refused", self.judged(0.9, 0.5, errors=2))
        self.assertIn("refused", self.judged(0.9, 0.5, unanswered=2))

    def test_a_proxy_that_is_not_saturated_is_refused(self):
        bench = Bench.__new__(Bench)
        bench.options = type("Options", (), {"seconds": 1})
        for busy, refused in ((0.89, True), (0.91, False)):
            figures = {"cpu_s": 0.9, "proxy_core": busy, "stolen": 0, "load_core": 1.0}
            bench.measure = lambda *_, figures=figures, **__: dict(figures)
            self.assertEqual("refused" in bench.saturated("requests", []), refused)


if __name__ == "__main__":
    unittest.main()
