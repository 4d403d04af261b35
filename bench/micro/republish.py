#!/usr/bin/env python3
"""How long after one file of a big mesh was edited its snapshot is in force, in a sidecar of its own on one core.

    republish.py SIDERING MICRO

The mesh is that of `micro compile`. Each edit changes one endpoint and replaces the file by renaming; the time ends
with the line that says that every core has the new snapshot."""

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

EDITS = 12
CONFIG = """\
workload: {name: orders-1, namespace: shop, serviceAccount: orders, labels: {app: orders}, addresses: [127.79.9.2]}
resources: [mesh/]
identity: {embeddedCa: {directory: ca/}}
listeners: {inbound: '127.79.9.2:15006', outbound: '127.79.9.2:15001'}
runtime: {workers: 1, pin: false}
admin: {socket: admin.sock}
"""


def said(process, words):
    """The time at which it says so."""
    if any(words in line for line in process.stderr):
        return time.monotonic()
    sys.exit("the sidecar has ended")


def peak(process):
    status = Path(f"/proc/{process.pid}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) >> 10


def edit(mesh, number):
    path = mesh / f"team-{number}.yaml"
    new = mesh / ".new"
    new.write_text(path.read_text().replace("serviceAccount: service-7\n", "serviceAccount: other\n", 1))
    begin = time.monotonic()
    new.rename(path)
    return begin


def main():
    sidering, micro = sys.argv[1:]
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        mesh = directory / "mesh"
        mesh.mkdir()
        (directory / "run.yaml").write_text(CONFIG)
        subprocess.run([micro, "mesh", mesh], check=True)
        subprocess.run([sidering, "ca", "init", "--directory", directory / "ca"], check=True, stdout=subprocess.DEVNULL)
        begin = time.monotonic()
        words = ["taskset", "-c", "0", sidering, "run", "--config", directory / "run.yaml"]
        with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as process:
            ready = said(process, "sidering ready") - begin
            print(f"ready after {ready:.2f} s, peak {peak(process)} MiB")
            times = []
            for number in range(EDITS):
                begin = edit(mesh, number)
                times.append(1000 * (said(process, "is in force") - begin))
            print(f"edits in force after {', '.join(f'{ms:.0f}' for ms in times)} ms")
            print(f"median {statistics.median(times):.0f} ms, peak {peak(process)} MiB")
            process.terminate()


if __name__ == "__main__":
    main()
