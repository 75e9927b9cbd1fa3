"""Has every balancer and web server of a site choose its backends in another way, and waits until they do: reload.py STATE."""

import http.client
import json
import pathlib
import socket
import sys
import time

STATE = pathlib.Path(sys.argv[1])
DEADLINE = time.monotonic() + 30


class Control(http.client.HTTPConnection):
    """A server's control socket."""

    def __init__(self, server):
        super().__init__("mainstay")
        self.path = str(STATE / server / "control.sock")

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self.path)

    def ask(self, method, path, body=None):
        self.request(method, path, body and json.dumps(body), {"content-type": "application/json"})
        answer = self.getresponse()
        text = answer.read()
        if answer.status >= 300:
            sys.exit(f"{method} {path}: {answer.status} {text.decode()}")
        return text and json.loads(text)


def pools(plan):
    for service in plan["services"]:
        config = service["config"]
        if config["service"] == "balancer":
            yield service["name"], config["pool"]
        if config["service"] == "web":
            yield from ((service["name"], route["pool"]) for route in config["routes"])


def reload(plan):
    control = Control(plan["server"])
    before = control.ask("GET", "/v1/status")
    plan["generation"] = before["generation"] + 1
    changed = list(pools(plan))
    for _, pool in changed:
        pool["algorithm"] = "least-connections" if plan["generation"] % 2 else "observed"
    control.ask("PUT", "/v1/plan", plan)
    wanted = ["follows", f"generation {plan['generation']}"]
    names = {name for name, _ in changed}
    while True:
        now = {it["name"]: it for it in control.ask("GET", "/v1/status")["services"]}
        if all(wanted in (now[name]["report"] or {}).get("facts", []) for name in names):
            break
        if time.monotonic() > DEADLINE:
            sys.exit(f"{plan['server']} does not follow generation {plan['generation']}: {now}")
        time.sleep(0.05)
    pids = {it["name"]: it["pid"] for it in before["services"]}
    restarted = [name for name in names if now[name]["pid"] != pids[name]]
    if restarted:
        sys.exit(f"restarted, not reloaded: {restarted} on {plan['server']}")


for plan in json.loads((STATE / ".site" / "plans.json").read_text()):
    reload(plan)
