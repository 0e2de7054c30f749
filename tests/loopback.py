"""A server on loopback that breaks in all the usual ways."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

BODY = bytes(range(256)) * 400


@dataclass
class Server:
    """faults: what happens to the next requests, in order: an HTTP status, "drop" (the connection
    ends half-way), "wrong" (other bytes), "no range" (everything is sent again)."""

    url: str = ""
    body: bytes = BODY
    faults: list[Any] = field(default_factory=list)
    ranges: list[str | None] = field(default_factory=list)


def _answer(server: Server, request: BaseHTTPRequestHandler) -> None:
    wanted = request.headers.get("Range")
    server.ranges.append(wanted)
    fault = server.faults.pop(0) if server.faults else None
    if isinstance(fault, int):
        request.send_error(fault)
        return
    body = bytes(len(server.body)) if fault == "wrong" else server.body
    start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and fault != "no range" else 0
    if start >= len(body):
        request.send_response(416)
        request.send_header("Content-Range", f"bytes */{len(body)}")
        request.send_header("Content-Length", "0")
        request.end_headers()
        return
    request.send_response(206 if start else 200)
    request.send_header("Content-Length", str(len(body) - start))
    request.end_headers()
    end = start + (len(body) - start) // 2 if fault == "drop" else len(body)
    request.wfile.write(body[start:end])


@contextmanager
def serve() -> Iterator[Server]:
    """A server that runs while the block does."""
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            _answer(state, self)

        def log_message(self, *_: Any) -> None:
            """Silent."""

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.url = f"http://127.0.0.1:{http.server_address[1]}/file"
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield state
    http.shutdown()
    thread.join()
    http.server_close()
