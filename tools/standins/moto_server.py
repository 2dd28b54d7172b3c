"""moto's server with a clock that follows the test: a request with the header X-Clock (seconds since 1970) is served as if it
were that moment, however long it takes. Without the header the clock is the machine's.

What moto's SQS gets wrong is corrected in moto_sqs.py, its DynamoDB and S3 in moto_dynamodb.py.

Prints the port it listens on as the first line. Ends when its standard input ends, so that it never outlives its test.
"""

import os
import socket
import sys
import threading
from datetime import datetime, timedelta, timezone

import moto.core.utils as utils

_EPOCH = datetime(1970, 1, 1)


class Clock:
    """What time it is for the request that this thread serves."""

    def __init__(self):
        self._local = threading.local()

    def now(self):
        at = getattr(self._local, "at", None)
        return at if at is not None else datetime.now(timezone.utc).replace(tzinfo=None)

    def millis(self):
        return (self.now() - _EPOCH) / timedelta(milliseconds=1)

    def set(self, seconds):
        self._local.at = _EPOCH + timedelta(microseconds=round(float(seconds) * 1e6)) if seconds else None

    def serve(self, connection):
        """Notes whose request this thread serves."""
        self._local.connection = connection

    def gone(self):
        """Whether who waits for the answer has closed the connection."""
        connection = getattr(self._local, "connection", None)
        if connection is None:
            return False
        try:
            return connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
        except BlockingIOError:
            return False
        except OSError:
            return True

    def advance(self, seconds):
        """For a request that waits."""
        if getattr(self._local, "at", None) is not None:
            self._local.at += timedelta(seconds=seconds)


clock = Clock()
utils.utcnow = clock.now

import moto_dynamodb  # noqa: E402  the patch has to come first
import moto_sqs  # noqa: E402
from moto.server import DomainDispatcherApplication, create_backend_app  # noqa: E402
from werkzeug.serving import WSGIRequestHandler, make_server  # noqa: E402


class Clocked:
    """Sets the clock of the thread that serves a request from its header."""

    def __init__(self, app):
        self.app = app

    def __call__(self, environ, start_response):
        clock.set(environ.get("HTTP_X_CLOCK"))
        clock.serve(environ.get("werkzeug.socket"))
        return self.app(environ, start_response)


class Handler(WSGIRequestHandler):
    """Keeps connections open and logs nothing."""

    protocol_version = "HTTP/1.1"
    # Header and body go out in two writes: with Nagle's algorithm each answer would wait for the client's delayed acknowledgement.
    disable_nagle_algorithm = True

    def log(self, *args):
        pass


def main():
    moto_sqs.install(clock)
    moto_dynamodb.install()
    app = DomainDispatcherApplication(create_backend_app)
    server = make_server(os.environ.get("MOTO_HOST", "127.0.0.1"), int(sys.argv[1]) if len(sys.argv) > 1 else 0, Clocked(app), threaded=True, request_handler=Handler)
    os.environ["MOTO_PORT"] = str(server.port)
    print(server.port, flush=True)
    threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
    server.serve_forever()


main()
