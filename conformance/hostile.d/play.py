"""Plays every hostile exchange against Mainstay, HAProxy and nginx; fails if Mainstay does otherwise than its file says."""

import concurrent.futures
import socket
import sys
import tempfile
import time

import exchanges
import servers
from backend import Backend, value

PROBE = b"GET /probe HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n"
# A peer that keeps a connection which it should have closed is not waited for longer than this.
SILENCE = 0.4
LATE = 15


def converse(port, sent, patience):
    """Everything that came back, until the server closed or fell silent."""
    got = b""
    with socket.create_connection(("127.0.0.1", port), 5) as one:
        one.settimeout(patience)
        try:
            one.sendall(sent)
        except OSError:
            pass
        try:
            while piece := one.recv(65536):
                got += piece
        except OSError:
            pass
    return got


def chunks_end(got):
    """Where the chunks at the start of `got` end."""
    place = 0
    while (line := got.find(b"\r\n", place)) >= 0:
        try:
            size = int(got[place:line].split(b";")[0], 16)
        except ValueError:
            break
        if size == 0:
            end = got.find(b"\r\n\r\n", line)
            return len(got) if end < 0 else end + 4
        place = line + 2 + size + 2
    return len(got)


def statuses(got):
    """The status of each answer, or nothing if there is something else."""
    found = []
    while got:
        end = got.find(b"\r\n\r\n")
        if end < 0 or not got.startswith(b"HTTP/1."):
            return None
        head = got[:end].decode("latin1")
        length = value(head, "content-length")
        if not head[9:12].isdigit() or not (length or "0").isdigit():
            return None
        status = int(head[9:12])
        if status < 200 or status in (204, 304):
            body = 0
        elif value(head, "transfer-encoding") is not None:
            body = chunks_end(got[end + 4 :])
        elif length is not None:
            body = int(length)
        else:
            body = len(got)
        got = got[end + 4 + body :]
        found.append(status)
    return found


def differences(exchange, found, received, ours):
    """What is not as the file says; of a peer the headers do not matter."""
    expected = exchange.gets + ([200] if exchange.kept else [])
    if found != expected:
        return f"got {found} instead of {expected}"
    wanted = [(seen.line, not seen.cut) for seen in exchange.seen] + ([("GET /probe HTTP/1.1", True)] if exchange.kept else [])
    came = [(one.line, one.whole) for one in received]
    if came != wanted:
        return f"its backend saw {came} instead of {wanted}"
    for seen, one in zip(exchange.seen, received):
        if seen.body is not None and seen.body != one.body:
            return f"its backend saw the body {one.body!r}"
        if not ours:
            continue
        lines = one.head.split("\r\n")
        for header in seen.has:
            if header.replace("test=here", "balancer=lb1") not in lines:
                return f"no line {header!r} in {one.head!r}"
        for name in seen.lacks:
            if value(one.head, name.lower()) is not None:
                return f"a header {name} in {one.head!r}"
    return None


def settled(backend, count):
    """What the backend received: a refusal may overtake it."""
    deadline = time.monotonic() + 1
    while len(backend.taken()) < count and time.monotonic() < deadline:
        time.sleep(0.005)
    return backend.taken()


def play(server, backend, exchange):
    ours = server.name == "mainstay"
    before = server.refusals() if ours else {}
    backend.begin(None if exchange.says is None else (exchange.says, exchange.stays))
    sent = exchange.sent + (PROBE if exchange.kept else SMUGGLED)
    found = statuses(converse(server.port, sent, LATE if ours else SILENCE))
    received = settled(backend, len(exchange.seen) + bool(exchange.kept))
    wrong = differences(exchange, found, received, ours)
    if wrong is None and ours:
        refused = [name for name, count in server.refusals().items() if count != before.get(name)]
        expected = [exchange.refusal] if exchange.refusal else []
        wrong = None if refused == expected else f"refused by {refused} instead of {expected}"
    return wrong


def play_all(begin, all_exchanges):
    backend = Backend()
    with tempfile.TemporaryDirectory() as work:
        server = begin(backend.server_address[1], work)
        try:
            return {exchange.place: play(server, backend, exchange) for exchange in all_exchanges}
        finally:
            server.end()
            backend.shutdown()


def main():
    binary, peers, folder = sys.argv[1:]
    all_exchanges = exchanges.read(folder)
    begins = {
        "mainstay": lambda backend, work: servers.mainstay(binary, backend, work),
        "haproxy": lambda backend, work: servers.haproxy(peers, backend, work),
        "nginx": lambda backend, work: servers.nginx(peers, backend, work),
    }
    with concurrent.futures.ThreadPoolExecutor() as pool:
        playing = {name: pool.submit(play_all, begin, all_exchanges) for name, begin in begins.items()}
        results = {name: played.result() for name, played in playing.items()}
    print("Who does otherwise than the file says (for haproxy and nginx that need not be wrong):")
    for exchange in all_exchanges:
        for name, result in results.items():
            if wrong := result[exchange.place]:
                print(f"  {name:9} {exchange.place}: {wrong[:160]}")
    for name, result in results.items():
        other = sum(wrong is not None for wrong in result.values())
        print(f"{name:9} {len(result) - other} as the files say, {other} otherwise")
    failed = sum(wrong is not None for wrong in results["mainstay"].values())
    print(f"{len(all_exchanges) - failed} passed, {failed} failed")
    sys.exit(1 if failed else 0)


main()
