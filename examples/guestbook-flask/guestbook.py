"""A guestbook: the smallest site that has everything a site has. Mainstay hands it its settings in the environment."""

import os
import time

from flask import Flask, abort, jsonify, redirect, render_template, request, session, url_for

import sessions
import storage

NAME_MAX = 40
TEXT_MAX = 500
# A replica is usually milliseconds behind the primary. For this long after a visitor's own message, that visitor's
# pages are read from the primary, so that the message is surely among those shown.
READ_OWN_WRITES_SECONDS = 2

app = Flask(__name__)
app.secret_key = os.environ["SECRET_KEY"]
app.session_interface = sessions.interface()
app.config.update(SESSION_COOKIE_NAME="guestbook", SESSION_COOKIE_SAMESITE="Lax", MAX_CONTENT_LENGTH=64 * 1024)


@app.get("/")
def index():
    session["visits"] = session.get("visits", 0) + 1
    messages, database = storage.latest(fresh=wrote_just_now())
    return render_template(
        "index.html",
        messages=messages,
        journey=journey(database),
        fresh=wrote_just_now(),
        name=session.get("name", ""),
        visits=session["visits"],
        name_max=NAME_MAX,
        text_max=TEXT_MAX,
    )


@app.get("/messages.json")
def messages_json():
    messages, database = storage.latest(fresh=wrote_just_now())
    return jsonify(messages=messages, journey=journey(database))


@app.post("/messages")
def post():
    refuse_other_sites()
    name = request.form.get("name", "").strip()[:NAME_MAX] or "Anonymous"
    text = request.form.get("text", "").strip()[:TEXT_MAX]
    if not text:
        abort(400, "A message needs some text.")
    storage.add(name, text)
    session["name"] = name
    session["wrote"] = time.time()
    # See Other: reloading the page does not post again.
    return redirect(url_for("index"), code=303)


@app.get("/health")
def health():
    """Whether this worker works; it has a page to show even while the database is away."""
    return "ok\n", {"Content-Type": "text/plain"}


@app.errorhandler(storage.Away)
def database_away(error):
    app.logger.warning("the database is away: %s", error)
    return render_template("away.html", journey=journey(None)), 503, {"Retry-After": "5"}


def wrote_just_now():
    # Either way round: the clocks of two application servers differ a little.
    return abs(time.time() - session.get("wrote", 0)) < READ_OWN_WRITES_SECONDS


def refuse_other_sites():
    """No other site may post in a visitor's name: browsers say where a form was sent from."""
    site = request.headers.get("Sec-Fetch-Site", "same-origin")
    origin = request.headers.get("Origin")
    if site not in ("same-origin", "none") or (origin and origin.partition("://")[2] != request.host):
        abort(403, "This form was sent from another site.")


def journey(database):
    """Who took part in this answer, outermost first: every tier that passed the request on added its name."""
    via = request.headers.get("X-Mainstay-Via", "")
    steps = [tuple(part.strip().split("=", 1)) for part in via.split(",") if "=" in part]
    if not any(tier == "app" for tier, _ in steps):
        steps.append(("app", os.environ.get("MAINSTAY_SERVER", "this machine")))
    if database:
        steps.append(("database", database))
    return [{"tier": tier, "server": server} for tier, server in steps]
