"""moto's server with a clock that follows the test: a request with the header X-Clock (seconds since 1970) sets the
clock that moto reads for that account's requests from then on. Without the header the clock is the machine's.

Prints the port it listens on as the first line. Ends when its standard input ends, so that it never outlives its test.
"""

import os
import sys
import threading
from datetime import datetime, timedelta, timezone

import moto.core.utils as utils

_lock = threading.Lock()
_offset = threading.local()


def _utcnow():
    return datetime.now(timezone.utc).replace(tzinfo=None) + timedelta(seconds=getattr(_offset, "seconds", 0.0))


utils.utcnow = _utcnow

from moto.server import DomainDispatcherApplication, create_backend_app  # noqa: E402  the patch has to come first
from werkzeug.serving import WSGIRequestHandler, make_server  # noqa: E402


class Clock:
    """Sets the clock of the thread that serves a request from its header."""

    def __init__(self, app):
        self.app = app

    def __call__(self, environ, start_response):
        clock = environ.get("HTTP_X_CLOCK")
        _offset.seconds = float(clock) - datetime.now(timezone.utc).timestamp() if clock else 0.0
        return self.app(environ, start_response)


class Handler(WSGIRequestHandler):
    """Keeps connections open and logs nothing."""

    protocol_version = "HTTP/1.1"

    def log(self, *args):
        pass


def main():
    app = DomainDispatcherApplication(create_backend_app)
    server = make_server("127.0.0.1", int(sys.argv[1]) if len(sys.argv) > 1 else 0, Clock(app), threaded=True, request_handler=Handler)
    os.environ["MOTO_PORT"] = str(server.port)
    print(server.port, flush=True)
    threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
    server.serve_forever()


main()
