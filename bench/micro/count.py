#!/usr/bin/env python3
"""Counts the user-space instructions of single pieces of the data path and compares them with baseline.json.

    count.py check MICRO    fails on a piece that costs over 5 % more than the baseline says
    count.py update MICRO   writes the baseline anew

Counts do not depend on what else the machine does, but on the compiler and on the instruction set that valgrind
shows to memcpy and cryptography: they are only compared where compiler and architecture are the baseline's."""

import json
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

BASELINE = Path(__file__).parent / "baseline.json"
WORSE = 1.05
# How often each piece is done: often enough that its first time does not count.
PIECES = {
    "accept": 2000,
    "authorize": 500,
    "authorize-10": 2000,
    "authorize-1000": 2000,
    "route": 2000,
    "http-server": 500,
    "http-client": 500,
    "tls-record": 5000,
    "tls-handshake": 20,
}


def count(micro, piece):
    """Of one: what twice as many cost more, divided."""
    once = PIECES[piece]
    return round((instructions(micro, piece, 2 * once) - instructions(micro, piece, once)) / once)


def instructions(micro, piece, times):
    with tempfile.NamedTemporaryFile() as output:
        words = ["valgrind", "-q", "--tool=callgrind", f"--callgrind-out-file={output.name}", micro, piece, str(times)]
        subprocess.run(words, check=True)
        totals = next(line for line in Path(output.name).read_text().splitlines() if line.startswith("totals:"))
    return int(totals.split()[1])


def main():
    command, micro = sys.argv[1:]
    compiler = subprocess.run(["rustc", "--version"], check=True, capture_output=True, text=True).stdout.strip()
    here = {"compiler": compiler, "architecture": platform.machine()}
    counts = {piece: count(micro, piece) for piece in PIECES}
    if command == "update":
        BASELINE.write_text(json.dumps(here | {"instructions": counts}, indent=1) + "\n")
    baseline = json.loads(BASELINE.read_text())
    comparable = all(baseline[key] == value for key, value in here.items())
    worse = []
    for piece, now in counts.items():
        before = baseline["instructions"].get(piece)
        print(f"{piece:14} {now:>9} instructions" + (f", {now / before - 1:+.1%}" if before else ", new"))
        if not before or now > before * WORSE:
            worse.append(piece)
    if not comparable:
        print(f"not judged: the baseline is of {baseline['compiler']} on {baseline['architecture']}")
    elif worse:
        sys.exit(f"more than {WORSE - 1:.0%} above bench/micro/baseline.json: {', '.join(worse)}")


if __name__ == "__main__":
    main()
