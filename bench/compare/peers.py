"""The proxies that are compared, and the bare relays and the direct connection that bound them: how each is
configured, started, stopped and versioned. Configurations are in peers/."""

import ctypes
import hashlib
import os
import re
import signal
import socket
import subprocess
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).parent
CLIENT, SERVER = (f"spiffe://cluster.local/ns/default/sa/{name}" for name in ("client", "server"))
PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None)

# What a proxy does, as flags that the configurations ask for.
ROLES = {
    "tcp": {"l4"},
    "http": {"l7"},
    "server-http": {"l7", "tls_in"},
    "client-http": {"l7", "tls_out"},
    "server-tcp": {"l4", "tls_in"},
    "client-tcp": {"l4", "tls_out"},
}


@dataclass(frozen=True)
class Peer:
    name: str
    command: str = ""
    files: tuple[str, ...] = ()  # the command names the first
    version: str = ""
    settings: dict[str, str] = field(default_factory=dict)
    bound: bool = False  # no proxy, but what none can beat

    def configurations(self):
        return [HERE / "peers" / file for file in self.files]

    def fingerprint(self):
        """Of the configuration, so that a result says what it was measured with."""
        text = "".join(path.read_text() for path in self.configurations()) + self.command + repr(self.settings)
        return hashlib.sha256(text.encode()).hexdigest()[:12]


def sidering(name, **settings):
    defaults = {"BACKEND": "rustls", "DRIVER": "auto"}
    files = ("sidering/sidering.yaml", "sidering/mesh.yaml")
    return Peer(name, "{sidering} run --config {file}", files, "{sidering} --version", defaults | settings)


PEERS = {
    peer.name: peer
    for peer in (
        sidering("sidering"),
        sidering("sidering-epoll", DRIVER="epoll"),
        sidering("sidering-boring", BACKEND="boring"),
        Peer("haproxy", "{haproxy} -db -q -f {file}", ("haproxy/haproxy.cfg",), "{haproxy} -v"),
        Peer("nginx", "{nginx} -c {file} -e /dev/null", ("nginx/nginx.conf",), "{nginx} -v"),
        Peer(
            "envoy",
            "{envoy} -c {file} --concurrency 1 --disable-hot-restart --log-level error",
            ("envoy/config.yaml",),
            "{envoy} --version",
        ),
        Peer("relay-copy", "{load} relay --mode copy --listen {listen} --to {upstream}", bound=True),
        Peer("relay-splice", "{load} relay --mode splice --listen {listen} --to {upstream}", bound=True),
        Peer("direct", bound=True),
    )
}


def expand(template, flags, names):
    """Keeps or drops the lines between `%if FLAG`, `%else` and `%endif`, and replaces @NAME@."""
    lines, kept = [], []
    for line in template.splitlines():
        match line.split():
            case ["%if", flag]:
                kept.append(flag in flags)
            case ["%else"]:
                kept[-1] = not kept[-1]
            case ["%endif"]:
                kept.pop()
            case _ if all(kept):
                lines.append(line)
    return re.sub(r"@(\w+)@", lambda name: str(names[name[1]]), "\n".join(lines) + "\n")


def certificates(directory):
    """A P-256 CA and two SPIFFE leaves. Common name and DNS name repeat the identity for peers that match no URI."""

    def openssl(*words):
        subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True, cwd=directory)

    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-noenc")
    openssl("req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.crt", "-days", 30, "-subj", "/O=cluster.local",
            "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign,cRLSign")  # fmt: skip
    for name, identity in (("client", CLIENT), ("server", SERVER)):
        subject = "/CN=" + identity.replace("/", r"\/")
        openssl("req", "-x509", *key, "-keyout", f"{name}.key", "-out", f"{name}.crt", "-days", 30, "-subj", subject,
                "-CA", "ca.crt", "-CAkey", "ca.key", "-addext", "basicConstraints=critical,CA:FALSE",
                "-addext", "keyUsage=critical,digitalSignature", "-addext", "extendedKeyUsage=serverAuth,clientAuth",
                "-addext", f"subjectAltName=critical,URI:{identity},DNS:{name}.default.svc")  # fmt: skip
        pem = (directory / f"{name}.crt").read_text() + (directory / f"{name}.key").read_text()
        (directory / f"{name}.pem").write_text(pem)


class Starter:
    """Starts processes in one run's directory, each on one core."""

    def __init__(self, directory, programs):
        self.directory, self.programs = Path(directory), programs
        self.log = open(self.directory / "stderr.log", "w+")
        certificates(self.directory)

    def versions(self, peers):
        """What each proxy says of itself, in one line."""
        versions = {}
        for peer in filter(lambda peer: peer.version, peers):
            words = peer.version.format(**self.programs).split()
            output = subprocess.run(words, check=True, capture_output=True, text=True)
            first = (output.stdout + output.stderr).strip().splitlines()[0]
            versions[peer.name] = first.replace(words[0], "").strip()
        return versions

    @contextmanager
    def proxy(self, peer, role, listen, upstream, core):
        """One proxy in one role; `started_ms` of what it yields is the time until it accepts."""
        directory = self.directory / f"{peer.name}-{role}"
        directory.mkdir(exist_ok=True)
        names = {
            "LISTEN": listen, "UPSTREAM": upstream, "ADMIN": listen + 1000, "DIR": directory, "CERTS": self.directory,
            "CLIENT_ID": CLIENT, "SERVER_ID": SERVER, "CLIENT_ID_HEX": CLIENT.encode().hex().upper(),
        }  # fmt: skip
        paths = []
        for source in peer.configurations():
            paths.append(directory / source.name)
            paths[-1].write_text(expand(source.read_text(), ROLES[role], names | peer.settings))
        file = paths[0] if paths else None
        addresses = {"listen": f"127.0.0.1:{listen}", "upstream": f"127.0.0.1:{upstream}"}
        words = [word.format(file=file, **self.programs, **addresses) for word in peer.command.split()]
        with self.process(words, core, listen) as process:
            yield process

    @contextmanager
    def process(self, words, core, port=None, **pipes):
        """Stopped at the end, and with us."""

        def prepare():
            LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            os.sched_setaffinity(0, {core})

        begin = time.perf_counter()
        pipes = {"stdout": subprocess.DEVNULL, "stdin": subprocess.DEVNULL} | pipes
        process = subprocess.Popen(list(map(str, words)), preexec_fn=prepare, stderr=self.log, **pipes)
        try:
            while port and not accepts(port):
                if process.poll() is not None or time.perf_counter() - begin > 20:
                    raise RuntimeError(f"{words[0]} does not start: {self.complaints()}")
                time.sleep(0.0005)
            process.started_ms = (time.perf_counter() - begin) * 1e3
            yield process
        finally:
            process.terminate()
            try:
                process.wait(6)
            except subprocess.TimeoutExpired:
                for pid in reversed(family(process.pid)):
                    os.kill(pid, signal.SIGKILL)
                process.wait()

    def complaints(self):
        self.log.seek(0)
        return " | ".join(self.log.read().strip().splitlines()[-3:])


def accepts(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def family(pid):
    """A process and its descendants: nginx has a worker."""
    pids = [pid]
    for parent in pids:
        try:
            pids += map(int, Path(f"/proc/{parent}/task/{parent}/children").read_text().split())
        except OSError:
            pass
    return pids


def resident_kib(pids):
    status = "".join(Path(f"/proc/{pid}/status").read_text() for pid in pids)
    return sum(map(int, re.findall(r"^VmRSS:\s+(\d+)", status, re.MULTILINE)))
