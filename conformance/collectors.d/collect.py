"""Has foreign collectors read the figures of a balancer that answered some requests."""

import contextlib
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

import servers
from backend import Backend
from prometheus_client.parser import text_string_to_metric_families

REQUESTS = 7
STATS = """defaults
    mode http
    timeout connect 1s
    timeout client 5s
    timeout server 5s
frontend front
    bind 127.0.0.1:{port}
    stats enable
    stats uri /
"""


def get(port, path):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
        return answer.read().decode()


def families(text):
    """Every sample by its name and labels."""
    samples = (sample for family in text_string_to_metric_families(text) for sample in family.samples)
    return {(sample.name, *sorted(sample.labels.items())): sample.value for sample in samples}


@contextlib.contextmanager
def running(command):
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        process.wait(10)


def scraped(program, arguments):
    port = servers.free_port()
    with running([program, *arguments, f"--web.listen-address=127.0.0.1:{port}"]):
        return families(patient(lambda: get(port, "/metrics")))


def patient(ask):
    deadline = time.monotonic() + 10
    while True:
        try:
            return ask()
        except (OSError, urllib.error.URLError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def own(port, _):
    metrics = families(get(port, "/.mainstay/metrics"))
    answered = metrics[("mainstay_responses_total", ("class", "2xx"))]
    buckets = metrics[("mainstay_request_duration_seconds_bucket", ("le", "+Inf"))]
    up = metrics[("mainstay_backend_up", ("backend", "server1"), ("pool", "web"))]
    return (answered, buckets, up) == (REQUESTS, REQUESTS, 1)


def nginx(port, cache):
    metrics = scraped(f"{cache}/usr/bin/prometheus-nginx-exporter", [f"-nginx.scrape-uri=http://127.0.0.1:{port}/stub_status"])
    wanted = [("nginx_up",), ("nginx_http_requests_total",), ("nginx_connections_active",), ("nginx_connections_waiting",)]
    return metrics[wanted[0]] == 1 and metrics[wanted[1]] == REQUESTS and all(name in metrics for name in wanted)


def haproxy(port, cache):
    metrics = scraped(f"{cache}/usr/bin/prometheus-haproxy-exporter", [f"--haproxy.scrape-uri=http://127.0.0.1:{port}/;csv"])
    server = (("backend", "web"), ("server", "server1"))
    return (
        metrics[("haproxy_up",)] == 1
        and metrics[("haproxy_server_up", *server)] == 1
        and metrics[("haproxy_frontend_http_requests_total", ("frontend", "balancer"))] == REQUESTS
        and metrics[("haproxy_backend_http_responses_total", ("backend", "web"), ("code", "2xx"))] == REQUESTS
        and metrics[("haproxy_exporter_csv_parse_failures_total",)] == 0
    )


def columns(port, peers):
    theirs = servers.free_port()
    with tempfile.NamedTemporaryFile("w", suffix=".cfg") as file:
        file.write(STATS.format(port=theirs))
        file.flush()
        with running([f"{peers}/usr/sbin/haproxy", "-db", "-f", file.name]):
            header = patient(lambda: get(theirs, "/;csv")).split("\n")[0]
    rows = get(port, "/;csv").rstrip("\n").split("\n")
    return rows[0] == header and all(row.count(",") == header.count(",") for row in rows if '"' not in row)


def main():
    binary, cache, peers = sys.argv[1:]
    backend = Backend()
    failed = 0
    with tempfile.TemporaryDirectory() as work:
        server = servers.mainstay(binary, backend.server_address[1], work)
        try:
            # One was asked already, to see whether it is up.
            for _ in range(REQUESTS - 1):
                get(server.port, "/")
            for name, check, where in [
                ("prometheus_client reads our metrics", own, cache),
                ("prometheus-nginx-exporter reads stub_status", nginx, cache),
                ("prometheus-haproxy-exporter reads the statistics", haproxy, cache),
                ("the statistics have HAProxy's columns", columns, peers),
            ]:
                try:
                    fine = check(server.port, where)
                except (OSError, KeyError, ValueError) as error:
                    fine = print(f"      {error!r}")
                failed += not fine
                print(f"{'ok  ' if fine else 'FAIL'}  {name}")
        finally:
            server.end()
            backend.shutdown()
    print(f"{4 - failed} passed, {failed} failed")
    sys.exit(1 if failed else 0)


main()
