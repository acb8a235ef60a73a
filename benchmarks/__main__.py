"""Runs every benchmark with its defaults, one after the other, each in a process of its own (`make bench`).

One of them alone, with options: `python -m benchmarks.scrape --help`.
"""

import pkgutil
import subprocess
import sys
from pathlib import Path

MODULES = sorted(module.name for module in pkgutil.iter_modules([str(Path(__file__).parent)]) if module.name[0] != "_")


def main() -> None:
    failed = []
    for name in MODULES:
        print(f"\n== {name} ==", flush=True)
        if subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], check=False).returncode:
            failed.append(name)
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


main()
