"""Install a wheel and a source distribution into fresh environments and use them: ``make test-package``.

``python tests/packaging/check_install.py DIST`` takes minutes, since it installs torch twice.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

TRAIN = "train --data synthetic-tiny --epochs 1 --dim 8 --device cpu --out"
COMPARE = (
    "compare --data synthetic-tiny --backbones bpr --alignments none cross --seeds 0 --epochs 1 --device cpu --out"
)


def check(package: Path, constraints: Path) -> None:
    """Install ``package`` with the extra of the service and run the commands. Raises what fails."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, "-m", "venv", f"{folder}/venv"], check=True)
        python, command = f"{folder}/venv/bin/python", f"{folder}/venv/bin/crossrec"
        pip = [python, "-m", "pip", "install", "--quiet", "-c", str(constraints), f"{package}[serve]"]
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        subprocess.run(pip, check=True, env=environment)

        def run(arguments: str) -> str:
            done = subprocess.run(
                [command, *arguments.split()], cwd=folder, env=environment, capture_output=True, text=True, check=False
            )
            if done.returncode:
                raise RuntimeError(f"{package.name}: crossrec {arguments}\n{done.stderr}")
            return done.stdout

        assert "train" in run("--help")
        run(f"{TRAIN} run")
        assert "item" in run("recommend run --k 3 --users 0")
        run(f"{COMPARE} answers")
        run("report answers")
        assert (Path(folder) / "answers" / "report.html").stat().st_size > 10_000
        serve = subprocess.Popen(
            [command, "serve", "run", "--port", "8791"], cwd=folder, env=environment, stdout=subprocess.DEVNULL
        )
        try:
            for attempt in range(120):
                try:
                    with urllib.request.urlopen("http://127.0.0.1:8791/v1/health/ready", timeout=5) as answer:
                        assert answer.status == 200
                    break
                except OSError:
                    if attempt == 119 or serve.poll() is not None:
                        raise
                    time.sleep(1)
        finally:
            serve.terminate()
            serve.wait(120)
    print(
        f"{package.name}: --help, train, recommend, compare, report and serve work in a fresh environment", flush=True
    )


if __name__ == "__main__":
    root = Path(__file__).resolve().parents[2]
    shutil.rmtree(sys.argv[1], ignore_errors=True)
    sys.path.insert(0, str(Path(__file__).parent))
    from build import build

    for kind in ("wheel", "sdist"):
        check(build(kind, Path(sys.argv[1])), root / "constraints.txt")
