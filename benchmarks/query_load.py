"""Whether heavy queries make scrapes late: one `fleetwatch run` that scrapes, asked by ten clients at once.

    python -m benchmarks.query_load --targets 50 --seconds 20

The lateness of scrapes is the process's own figure, first without queries, then with clients that ask one heavy query
after the other. Scrapes are every second; each target serves a real node_exporter's body whose values move.
"""

import argparse
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import urlopen

from benchmarks.scrape import fetch, free_port, late_p99_ms, node_exporter_body, serving, write_config

CLIENTS = 10
QUERIES = [
    'sum by (instance) (quantile_over_time(0.9, {__name__=~"node_.+"}[10s]))',
    'last_over_time({__name__=~"node_.+"}[10s])',
    'topk(10, sum by (instance) (deriv({__name__=~"node_.+"}[10s])))',
    "max_over_time(sum by (instance, mode) (rate(node_cpu_seconds_total[5s]))[10s:1s])",
    'count by (__name__) ({__name__=~"node_.+"})',
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--targets", type=int, default=50)
    parser.add_argument("--seconds", type=int, default=20, help="without queries, and with them")
    options = parser.parse_args()
    options.interval, options.no_compression = 1, False
    body = node_exporter_body()
    with tempfile.TemporaryDirectory() as directory, serving(body) as port:
        config = Path(directory, "prometheus.yml")
        write_config(config, port, options)
        listen = f"127.0.0.1:{free_port()}"
        command = [sys.executable, "-m", "fleetwatch", "run", f"--config.file={config}"]
        command += [f"--web.listen-address={listen}", f"--storage.path={directory}/data", "--log.level=error"]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
            try:
                fetch(f"http://{listen}/-/ready")
                time.sleep(10)
                measure("without queries", listen, options.seconds)
                stop = threading.Event()
                counts: list[int] = []
                clients = [threading.Thread(target=ask, args=(listen, n, stop, counts)) for n in range(CLIENTS)]
                for client in clients:
                    client.start()
                time.sleep(1)
                measure(f"with {CLIENTS} heavy queries", listen, options.seconds)
                stop.set()
                for client in clients:
                    client.join()
                print(f"{sum(counts)} queries were answered")
            finally:
                process.terminate()


def ask(listen: str, number: int, stop: threading.Event, counts: list[int]) -> None:
    answered = 0
    while not stop.is_set():
        now = time.time()
        query = {"query": QUERIES[(number + answered) % len(QUERIES)], "start": now - 60, "end": now, "step": 1}
        address = f"http://{listen}/api/v1/query_range?{urlencode(query | {'nocache': 1})}"
        try:
            with urlopen(address, timeout=130) as answer:
                answer.read()
        except HTTPError as error:
            print(query["query"], error.read())
            break
        answered += 1
    counts.append(answered)


def measure(name: str, listen: str, seconds: int) -> None:
    before = figures(listen)
    time.sleep(seconds)
    after = figures(listen)
    buckets = "fleetwatch_target_scrape_lateness_seconds_bucket"
    late = late_p99_ms(before[buckets], after[buckets])
    missed = sum(after[MISSED].values()) - sum(before[MISSED].values())
    print(f"{name}: 99 % of scrapes are at most {late:.0f} ms late, {missed:.0f} were missed", flush=True)


MISSED = "fleetwatch_target_scrapes_missed_total"


def figures(listen: str) -> dict[str, dict[str, float]]:
    """By name and `le` the figures of the process."""
    found: dict[str, dict[str, float]] = {MISSED: {}}
    for line in fetch(f"http://{listen}/metrics").decode().splitlines():
        if not line.startswith("#"):
            series, _, value = line.rpartition(" ")
            name, _, labels = series.partition("{")
            found.setdefault(name, {})[labels.removeprefix('le="').removesuffix('"}')] = float(value)
    return found


if __name__ == "__main__":
    main()
