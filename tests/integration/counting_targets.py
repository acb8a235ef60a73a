"""Targets that count: each scrape of one gets the next number."""

import contextlib
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class CountingTargets:
    """What was served until now: by path the last number."""

    port: int = 0
    served: Counter[str] = field(default_factory=Counter)


@contextlib.contextmanager
def counting_targets() -> Iterator[CountingTargets]:
    """A server of any number of targets, a path each."""
    targets = CountingTargets()
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            with lock:
                targets.served[self.path] += 1
                body = f"scrape_number {targets.served[self.path]}\n".encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    targets.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield targets
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
