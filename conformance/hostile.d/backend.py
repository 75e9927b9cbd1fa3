"""A backend that writes down what it receives, with rules of its own."""

import socketserver
import threading


class Received:
    def __init__(self, head, body, whole):
        self.head, self.body, self.whole = head, body, whole
        self.line = head.split("\r\n")[0]


def value(head, name):
    for line in head.split("\r\n")[1:]:
        is_name, colon, text = line.partition(":")
        if colon and is_name.lower() == name:
            return text.strip()
    return None


class Backend(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.received, self.says, self.lock = [], None, threading.Lock()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def begin(self, says):
        with self.lock:
            self.received, self.says = [], says

    def taken(self):
        with self.lock:
            return list(self.received)


class Handler(socketserver.StreamRequestHandler):
    timeout = 20

    def handle(self):
        try:
            while self.one():
                pass
        except OSError:
            pass

    def one(self):
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            line = self.rfile.readline()
            if not line:
                return False
            head += line
        head = head.decode("utf-8", "replace")
        if head.startswith("GET /.mainstay/health"):
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            return False
        body, whole = self.body(head)
        probe = head.startswith("GET /probe ")
        with self.server.lock:
            self.server.received.append(Received(head, body, whole))
            says = None if probe else self.server.says
        answer, stays = says or (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", True)
        if whole:
            self.wfile.write(answer)
        return whole and stays

    def body(self, head):
        if value(head, "transfer-encoding") is None:
            length = int(value(head, "content-length") or 0)
            body = self.rfile.read(length)
            return body, len(body) == length
        body = b""
        try:
            while True:
                line = self.rfile.readline()
                size = int(line.split(b";")[0].strip(), 16)
                if size == 0:
                    while True:
                        line = self.rfile.readline()
                        if line == b"\r\n":
                            return body, True
                        if not line:
                            return body, False
                chunk = self.rfile.read(size + 2)
                if not chunk.endswith(b"\r\n"):
                    return body, False
                body += chunk[:-2]
        except ValueError:
            return body, False
