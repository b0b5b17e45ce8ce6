"""Two hosts on one machine train together, then one vanishes: how long until the job ends, and what it says.

    python -m benchmarks.two_hosts

The hosts are network namespaces with a virtual cable between them, which needs root and ``ip`` (iproute2). The cable is
cut by taking one end down, so no connection is closed; the other host has to notice by itself.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

NAMES, ADDRESSES = ("crossrec-a", "crossrec-b"), ("10.77.0.1", "10.77.0.2")
LIMIT = 60
"""Seconds within which the job has to end."""


def ip(*words: str, check: bool = True) -> None:
    """Call ``ip``."""
    subprocess.run(["ip", *words], check=check, capture_output=not check)


def connect() -> None:
    """Make the two namespaces and the cable."""
    for name in NAMES:
        ip("netns", "add", name)
    ip("link", "add", "veth0", "netns", NAMES[0], "type", "veth", "peer", "name", "veth0", "netns", NAMES[1])
    for name, address in zip(NAMES, ADDRESSES, strict=True):
        ip("-n", name, "addr", "add", f"{address}/24", "dev", "veth0")
        for link in ("lo", "veth0"):
            ip("-n", name, "link", "set", link, "up")


def start(host: int, folder: Path) -> subprocess.Popen[bytes]:
    """Start the process of a host; it writes to ``HOST.txt``."""
    command = ["ip", "netns", "exec", NAMES[host], sys.executable, "-m", "torch.distributed.run", "--nnodes=2"]
    command += ["--nproc-per-node=1", "--rdzv-backend=c10d", f"--rdzv-endpoint={ADDRESSES[0]}:29555", "--rdzv-id=job"]
    command += [f"--rdzv-conf=is_host={1 - host}", f"--local-addr={ADDRESSES[host]}", "-m", "crossrec", "train"]
    command += ["--data", "synthetic-tiny", "--backbone", "bpr", "--alignment", "none", "--epochs", "100000"]
    command += ["--patience", "100000", "--checkpoint-seconds", "0", "--out", str(folder / "run")]
    environment = os.environ | {"GLOO_SOCKET_IFNAME": "veth0", "OMP_NUM_THREADS": "1"}
    with (folder / f"{host}.txt").open("wb") as file:
        return subprocess.Popen(command, stdout=file, stderr=file, env=environment)


def main() -> int:
    if os.geteuid() or shutil.which("ip") is None:
        print("needs root and the command ip (iproute2)")
        return 0
    with tempfile.TemporaryDirectory() as name:
        folder, jobs = Path(name), []
        try:
            connect()
            jobs = [start(host, folder) for host in (0, 1)]
            log = folder / "0.txt"
            while "epoch 3:" not in log.read_text():
                if jobs[0].poll() is not None:
                    print(log.read_text())
                    return 1
                time.sleep(0.2)
            ip("-n", NAMES[1], "link", "set", "veth0", "down")
            started = time.monotonic()
            jobs[0].wait(4 * LIMIT)
            seconds = time.monotonic() - started
        finally:
            for job in jobs:
                job.kill()
            for namespace in NAMES:
                ip("netns", "del", namespace, check=False)
        messages = [line for line in log.read_text().splitlines() if line.startswith("crossrec:")]
        print(f"ended after {seconds:.0f} s with {len(messages)} message: {' '.join(messages)}")
        return int(seconds > LIMIT or len(messages) != 1)


if __name__ == "__main__":
    sys.exit(main())
