#!/usr/bin/env python3
"""Measures Sidering beside HAProxy, nginx and Envoy on this machine; docs/performance.md says how and why. As root:

    run.py --sidering PATH --load PATH [--quick] [--rounds N] [--steps tcp,http,...] [--peers sidering,haproxy,...]

Writes NAME.json (every measurement) and NAME.md (the tables) to bench/results/."""

import argparse
import fcntl
import json
import os
import platform
import re
import resource
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import report
from peers import PEERS, Starter
from steps import DISTURBED, ONCE, RATE, STEPS, Bench

RESULTS = Path(__file__).parent.parent / "results"
ENVOY = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sidering/envoy-1.40.0/envoy/_bin/envoy"


def options():
    parser = argparse.ArgumentParser()
    parser.add_argument("--sidering", required=True, help="the binary, a release build")
    parser.add_argument("--load", required=True, help="the load tool")
    parser.add_argument("--envoy", default=os.environ.get("SIDERING_ENVOY", ENVOY))
    parser.add_argument("--haproxy", default="/usr/sbin/haproxy")
    parser.add_argument("--nginx", default="/usr/sbin/nginx")
    parser.add_argument("--quick", action="store_true", help="three short rounds of what the targets need")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=lambda text: text.split(","), default=list(STEPS))
    parser.add_argument("--peers", type=lambda text: text.split(","), default=list(PEERS))
    parser.add_argument("--seconds", type=float, default=4, help="of one measurement at saturation")
    parser.add_argument("--rate-seconds", type=float, default=6, help=f"of one at {RATE} requests/s; 0: none")
    parser.add_argument("--name", help="of the results; default: after the CPU")
    parser.set_defaults(idle=(1000, 8000))
    if "--quick" in sys.argv:
        parser.set_defaults(rounds=3, seconds=2, rate_seconds=0, name="quick")
        parser.set_defaults(steps=[step for step in STEPS if step not in ("pair-tcp", "pair-bulk")])
        parser.set_defaults(peers=[peer for peer in PEERS if peer not in ("nginx", "sidering-boring")])
    return parser.parse_args()


def isolate():
    """Runs us again in a network namespace of our own: no other traffic, no firewall, and reno, since pacing as of bbr
    would be what is measured."""
    if os.environ.get("SIDERING_BENCH") != "isolated":
        setup = 'ip link set lo up && sysctl -qw net.ipv4.tcp_congestion_control=reno && exec "$@"'
        words = ["unshare", "-n", "sh", "-c", setup, "sh", sys.executable, *sys.argv]
        os.execvpe(words[0], words, os.environ | {"SIDERING_BENCH": "isolated"})
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # what was started is stopped


def alone():
    """Two benchmarks on one machine would measure each other."""
    lock = open(Path(tempfile.gettempdir()) / "sidering-bench.lock", "w")
    fcntl.flock(lock, fcntl.LOCK_EX)
    return lock


@contextmanager
def preferred():
    """What runs in other sessions gets what is left. Measurements that this does not save are seen as disturbed."""
    autogroup = Path("/proc/self/autogroup")
    with suppress(OSError):
        autogroup.write_text("-20")
    try:
        yield
    finally:
        with suppress(OSError):
            autogroup.write_text("0")


def machine(starter, peers):
    cpu = Path("/proc/cpuinfo").read_text()
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"], check=True, capture_output=True, text=True, cwd=RESULTS.parent
    )
    return {
        "date": time.strftime("%Y-%m-%d"),
        "commit": commit.stdout.strip(),
        "cpu": re.search(r"model name\s*:\s*(.*)", cpu)[1] if "model name" in cpu else platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "kernel": platform.release(),
        "versions": starter.versions(peers),
        "configurations": {peer.name: peer.fingerprint() for peer in peers},
    }


def record(rows, number, step, what, peer, figures):
    rows.append({"round": number, "step": step, "what": what, "peer": peer.name} | figures)
    print(f"round {number}: {step} {what} {peer.name}: {report.line(rows[-1])}", flush=True)


def main():
    chosen = options()
    isolate()
    if len(os.sched_getaffinity(0)) < 2:
        sys.exit("two cores are needed: one for the proxy, one for the load generator")
    lock = alone()
    RESULTS.mkdir(exist_ok=True)
    programs = {name: getattr(chosen, name) for name in ("sidering", "load", "envoy", "haproxy", "nginx")}
    peers = [peer for peer in PEERS.values() if peer.name in chosen.peers]
    rows, failed = [], 0
    with tempfile.TemporaryDirectory() as directory, preferred():
        starter = Starter(directory, programs)
        results = {"machine": machine(starter, peers), "rows": rows}
        name = chosen.name or re.sub(r"\W+", "-", f"{results['machine']['cpu']} {results['machine']['cores']}").lower()
        for number in range(1, chosen.rounds + 1):
            bench = Bench(starter, chosen, partial(record, rows, number))
            for step in chosen.steps:
                measure, takes_part = STEPS[step]
                for peer in peers if number == 1 or step not in ONCE else ():
                    if peer.name not in takes_part:
                        continue
                    try:
                        measure(bench, peer)
                    except (RuntimeError, OSError, ValueError, subprocess.SubprocessError) as error:
                        failed += 1
                        print(f"round {number}: {step} {peer.name} FAILED: {error}", flush=True)
            # After every round, so that a run that is stopped leaves what it has.
            (RESULTS / f"{name}.json").write_text(json.dumps(results, indent=1) + "\n")
            (RESULTS / f"{name}.md").write_text(report.markdown(results))
    lock.close()
    print(report.markdown(results))
    disturbed = sum(row.get("disturbance", 0) > DISTURBED for row in rows)
    print(f"{len(rows)} measurements, {disturbed} of them disturbed, {failed} failed; in bench/results/{name}.md")
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
