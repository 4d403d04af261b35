#!/usr/bin/env python3
"""Turns a results file into the Markdown tables beside it: `report.py bench/results/NAME.json`. run.py does it as well."""

import json
import sys
from collections import defaultdict
from pathlib import Path
from statistics import median

from steps import DISTURBED

OURS = "sidering"
ENOUGH = 3  # rounds

# Step, what, the peer whose CPU time per unit is the measure, and how much of it may be used.
RATIOS = [
    ("http", "requests", "relay-copy", 1.35),
    ("http", "requests", "haproxy", 0.90),
    ("http", "requests", "envoy", 0.40),
    ("tcp", "requests", "relay-copy", 1.10),
    ("tcp", "requests", "haproxy", 1.00),
    ("tcp-bulk", "paced", "relay-splice", 1.20),
    ("mtls", "requests", "haproxy", 0.80),
    ("pair-http", "requests", "haproxy", 0.80),
    ("handshakes", "full", "envoy", 0.85),
]
# Step, what, figure, unit, limit, and the variants it holds for.
LIMITS = [
    ("idle-mtls", "memory", "kib", "KiB RSS per idle mTLS connection", 16, [OURS]),
    ("idle-tcp", "memory", "kib", "KiB RSS per idle TCP pair", 3, [OURS]),
    ("start", "start", "rss_mib", "MiB RSS at start", 15, [OURS]),
    ("syscalls", "http", "per_request", "system calls per HTTP request", 4.5, [OURS, "sidering-epoll"]),
]


def figures(row):
    """With those that are computed of others: CPU time per unit, in microseconds or in seconds per GB."""
    more = dict(row)
    units = row.get("requests") or row.get("handshakes")
    if row.get("cpu_s") and units:
        more["cpu"] = row["cpu_s"] / units * 1e6
    if row.get("cpu_s") and row.get("bytes"):
        more["cpu"] = row["cpu_s"] / row["bytes"] * 1e9
    if "rss_kib" in row:
        more["rss_mib"] = row["rss_kib"] / 1024
    return more


class Results:
    """Figures by step, what and peer, then by round. Refused ones are left out, disturbed ones if there are enough
    others."""

    def __init__(self, rows):
        self.rows = [figures(row) for row in rows]
        self.values = defaultdict(dict)
        for row in self.rows:
            if "refused" not in row:
                self.values[row["step"], row["what"], row["peer"]][row["round"]] = row

    def of(self, step, what, peer, figure):
        rounds = {number: row for number, row in self.values[step, what, peer].items() if figure in row}
        return Values(rounds, figure)

    def ratios(self, step, what, peer, base):
        """Of CPU time per unit within the same round: what drifts with the machine cancels."""
        ours, theirs = self.values[step, what, peer], self.values[step, what, base]
        rounds = {}
        for number in ours.keys() & theirs.keys():
            if "cpu" in ours[number] and "cpu" in theirs[number]:
                disturbance = max(ours[number]["disturbance"], theirs[number]["disturbance"])
                rounds[number] = {"cpu": ours[number]["cpu"] / theirs[number]["cpu"], "disturbance": disturbance}
        return Values(rounds, "cpu")


class Values(list):
    """One figure in the rounds that count: the quiet ones, or all if these are too few."""

    def __init__(self, rounds, figure):
        quiet = [row for row in rounds.values() if row.get("disturbance", 0) <= DISTURBED]
        self.disturbed = len(quiet) < min(ENOUGH, len(rounds))
        super().__init__(row[figure] for row in (rounds.values() if self.disturbed else quiet))


def spread(values, digits):
    if not values:
        return "–"
    middle = ("~" if values.disturbed else "") + f"{median(values):.{digits}f}"
    return middle if len(values) == 1 else f"{middle} ({min(values):.{digits}f}–{max(values):.{digits}f})"


def line(row):
    """One measurement, for who watches."""
    shown = {key: value for key, value in figures(row).items() if key in (
        "cpu", "per_s", "gbit_per_s", "p50_us", "p99_us", "errors", "ms", "rss_kib", "kib", "per_request",
        "proxy_core", "load_core", "disturbance", "attempt", "refused",
    )}  # fmt: skip
    return " ".join(
        f"{key} {value:.6g}" if isinstance(value, float) else f"{key} {value}" for key, value in shown.items()
    )


def table(title, columns, rows):
    rows = [row for row in rows if any(cell != "–" for cell in row[1:])]
    if not rows:
        return ""
    lines = [["", *columns], ["---"] * (len(columns) + 1), *rows]
    return f"\n**{title}**\n\n" + "".join("| " + " | ".join(map(str, cells)) + " |\n" for cells in lines)


def targets(results):
    rows = []

    def judge(text, values, limit, digits):
        if values:
            verdict = "met" if median(values) <= limit else "**not met**"
        else:
            verdict = "not measured"
        rows.append([text, f"≤ {limit}", spread(values, digits), len(values), verdict])

    for step, what, base, limit in RATIOS:
        text = f"{step}{'' if what in ('requests', 'bulk') else ' ' + what}: CPU, as a multiple of {base}'s"
        judge(text, results.ratios(step, what, OURS, base), limit, 2)
    for step, what, figure, unit, limit, variants in LIMITS:
        for variant in variants:
            text = unit if variant == OURS else f"{unit}, {variant}"
            judge(text, results.of(step, what, variant, figure), limit, 1)
    return table(
        "Targets: a median over the rounds, with minimum and maximum", ["target", "measured", "rounds", ""], rows
    )


def markdown(data):
    machine, results = data["machine"], Results(data["rows"])
    present = list(dict.fromkeys(row["peer"] for row in data["rows"]))
    others = [peer for peer in present if peer not in (OURS, "direct")]
    saturating = list(dict.fromkeys(
        (row["step"], row["what"]) for row in results.rows if "cpu_s" in row and row["what"] != "rate"
    ))  # fmt: skip
    rated = [step for step, what in dict.fromkeys((row["step"], row["what"]) for row in results.rows) if what == "rate"]

    def label(step, what):
        return step if what in ("requests", "bulk", "rate", "memory", "start") else f"{step}, {what}"

    def each(title, figure, keys, digits, columns=present):
        rows = [[label(*key)] + [spread(results.of(*key, peer, figure), digits) for peer in columns] for key in keys]
        return table(title, columns, rows)

    text = [
        f"# Results: {machine['cpu']}, {machine['cores']} cores\n\n",
        "Written by `make bench`; [docs/performance.md](../../docs/performance.md) says how to read it.\n\n",
        f"Linux {machine['kernel']}, {machine['date']}, commit {machine['commit']}.\n\n",
        "".join(f"- {peer}: {version}\n" for peer, version in machine["versions"].items()),
        "\nConfigurations: " + ", ".join(f"{peer} {mark}" for peer, mark in machine["configurations"].items()) + ".\n",
        targets(results),
        table(
            "CPU time per unit of Sidering (rustls, io_uring where it runs), as a multiple of the column's in the same round",
            others,
            [[label(*key)] + [spread(results.ratios(*key, OURS, peer), 2) for peer in others] for key in saturating],
        ),
        each(
            "CPU time per request or handshake in µs (of both proxies in a pair)",
            "cpu",
            [key for key in saturating if key[1] not in ("bulk", "paced")],
            1,
        ),
        each("CPU time per GB in s", "cpu", [key for key in saturating if key[1] in ("bulk", "paced")], 3),
        each("Requests or handshakes per second", "per_s", saturating, 0),
        each("Gbit/s", "gbit_per_s", saturating, 1),
    ]
    for figure, name in (("p50_us", "median"), ("p99_us", "p99"), ("p999_us", "p99.9")):
        text.append(
            each(f"Latency at 2,000 requests per second in µs: {name}", figure, [(s, "rate") for s in rated], 0)
        )
    text += [
        each("Start to accepting, ms", "ms", [("start", "start")], 0),
        each("RSS at start, MiB", "rss_mib", [("start", "start")], 1),
        each("RSS per idle connection, KiB", "kib", [("idle-mtls", "memory"), ("idle-tcp", "memory")], 1),
        each("System calls per request", "per_request", [("syscalls", step) for step in ("tcp", "http", "mtls")], 2),
        notes(results),
    ]
    return "".join(text)


def notes(results):
    """What was measured and is not in the tables, and how quiet the machine was."""
    text = []
    judged = [row for row in results.rows if "disturbance" in row]
    if judged:
        disturbed = sum(row["disturbance"] > DISTURBED for row in judged)
        stolen, others = ([row[key] for row in judged] for key in ("stolen", "others"))
        text.append(
            f"\nOf {len(judged)} measurements {sum(row['attempt'] > 1 for row in judged)} were repeated, {disturbed} stayed"
            f" disturbed by more than {DISTURBED:.0%} of a core. Stolen by the host: {median(stolen):.1%} (median),"
            f" {max(stolen):.1%} at most; used by others: {median(others):.1%} (median), {max(others):.1%} at most."
            " A figure with ~ counts disturbed rounds, for want of quiet ones.\n"
        )
    refused = [row for row in results.rows if "refused" in row]
    if refused:
        text.append("\nRefused, since they say little of the proxy:\n\n")
        text += [
            f"- {row['step']} {row['what']} {row['peer']}, round {row['round']}: {row['refused']}\n" for row in refused
        ]
    return "".join(text)


if __name__ == "__main__":
    source = Path(sys.argv[1])
    source.with_suffix(".md").write_text(markdown(json.loads(source.read_text())))
