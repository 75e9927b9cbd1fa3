"""Runs one WSGI or ASGI application in this very process, on a Unix socket.

    python worker.py wsgi|asgi MODULE:CALLABLE SOCKET THREADS

Granian's own command starts a second process per worker, which doubles memory and start-up time and leaves an orphan
when the first is killed. Its thread-based server runs just as well under the GIL with a single worker thread.
"""

import importlib
import logging
import os
import sys
from pathlib import Path


def load(entry):
    """`module:name`, `module:name.attribute`, or `module:factory()`."""
    module, _, path = entry.partition(":")
    target = importlib.import_module(module)
    for name in (path or "app").removesuffix("()").split("."):
        target = getattr(target, name)
    return target() if path.endswith("()") else target


def split_host(host, scheme):
    name, colon, port = host.rpartition(":")
    if colon and port.isdigit():
        return name, port
    return host, "443" if scheme in ("https", "wss") else "80"


# Only Mainstay's own tiers reach this socket, and the front door removes what a visitor sends under these names: they
# are trusted, so that the application sees scheme, host and address as the visitor has them.


def see_visitor_wsgi(app):
    def application(environ, start_response):
        scheme = environ.get("HTTP_X_FORWARDED_PROTO", "http")
        host = environ.get("HTTP_X_FORWARDED_HOST") or environ.get("HTTP_HOST", "localhost")
        environ["wsgi.url_scheme"] = scheme
        environ["HTTP_HOST"] = host
        environ["SERVER_NAME"], environ["SERVER_PORT"] = split_host(host, scheme)
        environ["REMOTE_ADDR"] = environ.get("HTTP_X_FORWARDED_FOR", "").split(",")[0].strip()
        return app(environ, start_response)

    return application


def see_visitor_asgi(app):
    def application(scope, receive, send):
        if scope["type"] in ("http", "websocket"):
            headers = {name: value.decode("latin-1") for name, value in reversed(scope["headers"])}
            scheme = headers.get(b"x-forwarded-proto", "http")
            if scope["type"] == "websocket":
                scheme = {"http": "ws", "https": "wss"}.get(scheme, scheme)
            host = headers.get(b"x-forwarded-host") or headers.get(b"host", "localhost")
            name, port = split_host(host, scheme)
            visitor = headers.get(b"x-forwarded-for", "").split(",")[0].strip()
            others = [header for header in scope["headers"] if header[0] != b"host"]
            scope.update(scheme=scheme, server=(name, int(port)), client=(visitor, 0))
            scope["headers"] = [(b"host", host.encode("latin-1")), *others]
        return app(scope, receive, send)

    return application


def main():
    kind, entry, socket, threads = sys.argv[1:]
    # The codebase's folder takes the place of this file's, as with `python -m`.
    sys.path[0] = os.getcwd()
    sys.argv = [entry]
    wrap = {"wsgi": see_visitor_wsgi, "asgi": see_visitor_asgi}[kind]
    application = wrap(load(entry))

    from granian.constants import Interfaces
    from granian.log import LogLevels
    from granian.server.mt import MTServer

    class OneProcess(MTServer):
        def _check_gil(self):
            """One worker thread needs no free-threaded build."""

    logging.getLogger("_granian").addFilter(lambda record: "free-threaded" not in str(record.msg))
    OneProcess(
        entry,
        uds=Path(socket),
        # Only this user's own processes connect.
        uds_permissions=0o600,
        interface=Interfaces(kind),
        blocking_threads=int(threads) if kind == "wsgi" else None,
        log_level=LogLevels.warning,
    ).serve(target_loader=lambda: application, wrap_loader=False)


main()
