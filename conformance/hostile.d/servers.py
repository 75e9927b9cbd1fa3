"""The servers that the exchanges are played against, each in front of a backend of its own."""

import contextlib
import fcntl
import json
import os
import pathlib
import socket
import subprocess
import time
import urllib.request

SITE = """format = 1
[site]
domain = "hostile.test"
[app]
path = "code"
kind = "http"
command = "true"
[servers.lb1]
address = "10.80.0.10"
roles = ["balancer"]
[servers.server1]
address = "10.80.0.11"
roles = ["web", "app"]
"""

HAPROXY = """global
    maxconn 1000
defaults
    mode http
    timeout connect 1s
    timeout client 10s
    timeout server 10s
    timeout http-request 10s
    option forwardfor
frontend front
    bind 127.0.0.1:{port}
    default_backend back
backend back
    server b 127.0.0.1:{backend}
"""

NGINX = """daemon off;
master_process off;
pid {work}/nginx.pid;
error_log {work}/nginx.log;
events {{ worker_connections 1000; }}
http {{
    access_log off;
    client_body_temp_path {work}/b; proxy_temp_path {work}/p; fastcgi_temp_path {work}/f; uwsgi_temp_path {work}/u;
    scgi_temp_path {work}/s;
    upstream back {{ server 127.0.0.1:{backend}; keepalive 16; }}
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://back;
            proxy_http_version 1.1;
            proxy_set_header Host $http_host;
            proxy_set_header Connection "";
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
        }}
    }}
}}
"""


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


class Server:
    def __init__(self, name, process, port, log):
        self.name, self.process, self.port, self.log = name, process, port, log

    def refusals(self):
        """By reason, from its own metrics."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/.mainstay/metrics", timeout=5) as answer:
            lines = answer.read().decode().split("\n")
        named = (line[len('mainstay_refused_total{reason="') :] for line in lines if line.startswith("mainstay_refused_total{"))
        return {name: int(count) for name, count in (line.split('"} ') for line in named)}

    def wait(self):
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                with socket.create_connection(("127.0.0.1", self.port), 1) as one:
                    one.settimeout(5)
                    one.sendall(b"GET /probe HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
                    if one.recv(12).endswith(b"200"):
                        return self
            if self.process.poll() is not None:
                break
            time.sleep(0.05)
        last = pathlib.Path(self.log).read_text()[-2000:]
        raise SystemExit(f"{self.name} did not come up; it ended with {self.process.poll()} and said:\n{last}")

    def end(self):
        self.process.terminate()
        self.process.wait(20)


def mainstay(binary, backend, work):
    """The balancer's process as its supervisor would start it, with the plan of a declaration."""
    site = pathlib.Path(work) / "site.toml"
    site.write_text(SITE)
    (site.parent / "code").mkdir()
    plans = json.loads(subprocess.run([binary, "plan", "--json", "--server", "lb1", site], check=True, capture_output=True).stdout)
    plan = (plans["plans"] if isinstance(plans, dict) and "plans" in plans else plans)[0]
    service = next(one for one in plan["services"] if one["name"] == "balancer")
    service["config"]["pool"]["backends"][0]["address"] = f"127.0.0.1:{backend}"
    secrets = {"format": 1, "app_keys": {}, "database": {}, "database_admin": "", "replication": ""}
    state = pathlib.Path(work) / "state"
    (state / "run" / "balancer").mkdir(parents=True)
    launch = {"site": "hostile.test", "server": "lb1", "generation": 1, "service": service, "state": str(state), "secrets": secrets}
    memory = os.memfd_create("launch")
    os.write(memory, json.dumps(launch).encode())
    os.lseek(memory, 0, os.SEEK_SET)
    listener = socket.create_server(("127.0.0.1", 0), backlog=512)
    port = listener.getsockname()[1]
    log = open(pathlib.Path(work) / "mainstay.log", "wb")
    # Sockets begin at descriptor 3 (sd_listen_fds(3)); the launch lies behind them.
    # Above those that the shell puts in their places.
    handed = [fcntl.fcntl(one, fcntl.F_DUPFD, 20) for one in (listener.fileno(), memory)]
    start = ["bash", "-c", 'exec 3<&"$1" 4<&"$2"; export LISTEN_PID=$$; shift 2; exec "$@"', "bash", *map(str, handed)]
    variables = {**os.environ, "LISTEN_FDS": "1", "LISTEN_FDNAMES": "http", "MAINSTAY_LAUNCH_FD": "4"}
    process = subprocess.Popen(
        [*start, binary, "service", "balancer"], env=variables, pass_fds=handed, stdout=log, stderr=log
    )
    listener.close()
    for one in (memory, *handed):
        os.close(one)
    return Server("mainstay", process, port, log.name).wait()


def peer(name, program, configuration, arguments, backend, work, environment):
    port = free_port()
    file = pathlib.Path(work) / f"{name}.conf"
    file.write_text(configuration.format(port=port, backend=backend, work=work))
    log = open(pathlib.Path(work) / f"{name}.log", "wb")
    process = subprocess.Popen([program, *arguments, file], stdout=log, stderr=log, env=environment)
    return Server(name, process, port, log.name).wait()


def haproxy(peers, backend, work):
    return peer("haproxy", f"{peers}/usr/sbin/haproxy", HAPROXY, ["-db", "-f"], backend, work, os.environ)


def nginx(peers, backend, work):
    return peer("nginx", f"{peers}/usr/sbin/nginx", NGINX, ["-p", work, "-c"], backend, work, os.environ)
