"""The steps: which proxies stand between which load and the backend, and which figures come of it. A measurement that
something else on the machine disturbed is repeated; one that says more about the load generator is refused."""

import json
import os
import subprocess
import time
from contextlib import ExitStack, contextmanager
from statistics import median

from peers import PEERS, family, resident_kib

FRONT, MIDDLE, BACKEND, SINK = 18080, 18443, 19000, 19002
DISTURBED = 0.05  # of a core: stolen by the host, or used by others
SATURATED = 0.90  # of the proxy's core, else the proxy was not the limit
RATE = 2000  # requests per second of the latency runs
PACE = 1e9  # bytes per second of the bulk run that no load generator limits
ATTEMPTS = 3


class Bench:
    def __init__(self, starter, options, record):
        self.starter, self.options, self.record = starter, options, record
        self.load = starter.programs["load"]
        cores = sorted(os.sched_getaffinity(0))
        # The load generator has a core of its own where there are three.
        self.cores = {
            "proxy": cores[0],
            "backend": cores[1],
            "load": cores[2 % len(cores)] if len(cores) > 2 else cores[1],
        }
        directory = starter.directory
        self.tls = {"certificate": directory / "client.crt", "key": directory / "client.key"}

    @contextmanager
    def chain(self, peer, roles, backend=True):
        """The proxies in a row, client's side last, and what they end at; yields their processes and the port to talk to."""
        port = BACKEND if backend else SINK
        proxies, backends = [], []
        with ExitStack() as stack:
            if backend:
                words = [self.load, "backend", "--listen", f"127.0.0.1:{BACKEND}"]
                backends.append(stack.enter_context(self.starter.process(words, self.cores["backend"], BACKEND)).pid)
            for listen, role in zip((MIDDLE, FRONT)[-len(roles) :], roles if peer.command else (), strict=False):
                proxies.append(stack.enter_context(self.starter.proxy(peer, role, listen, port, self.cores["proxy"])))
                port = listen
            time.sleep(0.3)  # nginx accepts before its worker is there
            pids = [pid for process in proxies for pid in family(process.pid)]
            yield pids, ["--target", f"127.0.0.1:{port}"] + words_of(proxies=pids, backends=backends)

    def measure(self, command, target, alone=True, **options):
        """One run of a load generator, the least disturbed of up to three. `alone`: the load's cores are to be ours as
        well, not only the proxy's."""
        words = [self.load, command, *target, *words_of(**options)]
        best = None
        for attempt in range(1, ATTEMPTS + 1):
            figures = self.judged(json.loads(self.on_load_core(words).stdout) | {"attempt": attempt}, alone)
            if best is None or figures["disturbance"] < best["disturbance"]:
                best = figures
            if best["disturbance"] <= DISTURBED:
                break
        return best

    def on_load_core(self, words):
        words = ["taskset", "--cpu-list", self.cores["load"], *words]
        output = subprocess.run(list(map(str, words)), check=False, capture_output=True, text=True, timeout=90)
        if output.returncode:
            raise RuntimeError(output.stderr.strip())
        return output

    def judged(self, figures, alone):
        """Adds how much others took (`disturbance`, of a core) and why it says little of the proxy (`refused`)."""
        cores = set(self.cores.values())
        busy, stolen, wall = figures.pop("busy"), figures.pop("stolen"), figures["wall_s"]
        proxy, loads = {self.cores["proxy"]}, cores - {self.cores["proxy"]}
        others = sum(busy[core] for core in proxy) - figures["cpu_s"] / wall if figures["cpu_s"] else 0
        if alone:
            others += sum(busy[core] for core in loads) - figures["load_s"] / wall
        figures["stolen"] = max(stolen[core] for core in cores)
        figures["others"] = max(others, 0)
        figures["disturbance"] = max(figures["stolen"], figures["others"])
        figures["load"] = figures["load_s"] / wall / len(loads)
        figures["proxy_core"] = busy[self.cores["proxy"]]
        figures["load_core"] = max(busy[core] for core in loads)
        units = figures.get("requests") or figures.get("handshakes") or 0
        if figures.get("errors", 0) > units / 1000:
            figures["refused"] = f"{figures['errors']} errors"
        elif figures.get("unanswered", 0) > units / 1000:
            figures["refused"] = f"{figures['unanswered']} requests unanswered"
        return figures

    def saturated(self, command, target, **options):
        """A run that is to show the proxy's limit, and no one else's."""
        figures = self.measure(command, target, alone=False, seconds=self.options.seconds, **options)
        used = figures["proxy_core"] + figures["stolen"]
        if figures["cpu_s"] and used < SATURATED:
            figures["refused"] = (
                f"the proxy's core was {used:.0%} busy, the load generator's {figures['load_core']:.0%}"
            )
        return figures

    # The steps. Each takes one peer through one round.

    def tcp(self, peer):
        with self.chain(peer, ["tcp"]) as (_, target):
            self.record("tcp", "requests", peer, self.saturated("requests", target))

    def tcp_bulk(self, peer):
        with self.chain(peer, ["tcp"], backend=False) as (_, target):
            sink = f"127.0.0.1:{SINK}"
            self.record("tcp-bulk", "bulk", peer, self.saturated("bulk", target, sink=sink))
            figures = self.measure("bulk", target, sink=sink, rate=PACE, seconds=self.options.seconds)
            reached = figures["bytes"] / figures["wall_s"] / PACE
            if reached < 0.95:
                figures["refused"] = f"only {reached:.0%} of the rate were reached"
            self.record("tcp-bulk", "paced", peer, figures)

    def http(self, peer):
        with self.chain(peer, ["http"]) as (_, target):
            self.requests("http", peer, target)

    def mtls(self, peer):
        with self.chain(peer, ["server-http"]) as (_, target):
            self.requests("mtls", peer, target, **self.tls)

    def handshakes(self, peer):
        with self.chain(peer, ["server-http"]) as (_, target):
            for kind, resume in (("full", 0), ("resumed", 1)):
                figures = self.saturated("handshakes", target, resume=resume, **self.tls)
                if resume and figures["resumed"] < 0.99 * figures["handshakes"]:
                    figures["refused"] = f"only {figures['resumed']} of {figures['handshakes']} resumed"
                self.record("handshakes", kind, peer, figures)

    def pair_http(self, peer):
        with self.chain(peer, ["server-http", "client-http"]) as (_, target):
            self.requests("pair-http", peer, target)

    def pair_tcp(self, peer):
        with self.chain(peer, ["server-tcp", "client-tcp"]) as (_, target):
            self.record("pair-tcp", "requests", peer, self.saturated("requests", target))

    def pair_bulk(self, peer):
        with self.chain(peer, ["server-tcp", "client-tcp"], backend=False) as (_, target):
            self.record("pair-bulk", "bulk", peer, self.saturated("bulk", target, sink=f"127.0.0.1:{SINK}"))

    def start(self, peer):
        times, sizes = [], []
        for _ in range(3):
            with self.starter.proxy(peer, "server-http", FRONT, BACKEND, self.cores["proxy"]) as process:
                times.append(process.started_ms)
                time.sleep(0.5)
                sizes.append(resident_kib(family(process.pid)))
        self.record("start", "start", peer, {"ms": median(times), "rss_kib": median(sizes)})

    def idle(self, peer):
        """Memory per connection, of the growth from few to many: what is there anyway does not count."""
        few, many = self.options.idle
        for step, role, tls in (("idle-mtls", "server-http", self.tls), ("idle-tcp", "tcp", {})):
            with self.chain(peer, [role]) as (pids, target):
                sizes = []
                for connections in (few, many):
                    words = [self.load, "idle", *target[:2], *words_of(connections=connections, **tls)]
                    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
                    with self.starter.process(words, self.cores["load"], **pipes) as load:
                        answer = json.loads(load.stdout.readline())
                        time.sleep(1)
                        sizes.append(resident_kib(pids))
                        load.stdin.close()
                    time.sleep(1)
            figures = {"kib": (sizes[1] - sizes[0]) / (many - few), "rss_kib": sizes[1]}
            if answer["errors"]:
                figures["refused"] = f"{answer['errors']} of {many} connections got no answer"
            self.record(step, "memory", peer, figures)

    def syscalls(self, peer):
        for step, roles, tls in (("tcp", ["tcp"], {}), ("http", ["http"], {}), ("mtls", ["server-http"], self.tls)):
            with self.chain(peer, roles) as (pids, target):
                load = [self.load, "requests", *target, *words_of(warm=0, seconds=2, **tls)]
                perf = ["perf", "stat", "-x,", "-e", "raw_syscalls:sys_enter", "-p", ",".join(map(str, pids)), *load]
                output = self.on_load_core(perf)
                calls = int(output.stderr.strip().splitlines()[-1].split(",")[0])
                self.record("syscalls", step, peer, {"per_request": calls / json.loads(output.stdout)["requests"]})

    def requests(self, step, peer, target, **tls):
        """At saturation, and latency at a rate that all of them reach."""
        self.record(step, "requests", peer, self.saturated("requests", target, **tls))
        if self.options.rate_seconds:
            options = {"connections": 16, "rate": RATE, "seconds": self.options.rate_seconds}
            figures = self.measure("requests", target, **options, **tls)
            if figures["load"] > SATURATED:
                figures["refused"] = f"the load generator used {figures['load']:.0%} of its cores"
            self.record(step, "rate", peer, figures)


PROXIES = [peer.name for peer in PEERS.values() if not peer.bound]
TERMINATING = [name for name in PROXIES if name != "sidering-epoll"]
PLAIN = [name for name in PROXIES if name != "sidering-boring"]

# Which peers take part in a step.
STEPS = {
    "start": (Bench.start, TERMINATING),
    "tcp": (Bench.tcp, PLAIN + ["relay-copy", "relay-splice", "direct"]),
    "tcp-bulk": (Bench.tcp_bulk, PLAIN + ["relay-copy", "relay-splice", "direct"]),
    "http": (Bench.http, PLAIN + ["relay-copy", "direct"]),
    "mtls": (Bench.mtls, PROXIES),
    "handshakes": (Bench.handshakes, TERMINATING),
    "pair-http": (Bench.pair_http, PROXIES),
    "pair-tcp": (Bench.pair_tcp, PROXIES),
    "pair-bulk": (Bench.pair_bulk, PROXIES),
    "idle": (Bench.idle, TERMINATING),
    "syscalls": (Bench.syscalls, PLAIN),
}
# Counts and sizes, which do not drift with the machine: one round is enough.
ONCE = {"idle", "syscalls"}


def words_of(**options):
    """The load tool's arguments."""
    words = []
    for key, value in options.items():
        words += [f"--{key}", ",".join(map(str, value)) if isinstance(value, list) else str(value)]
    return words
