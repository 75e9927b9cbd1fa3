"""Visitors' sessions: in a signed cookie, or, where there is a cache, in Redis with the database behind it.

With a cache the cookie holds only who the visitor is and how often the session has changed. The session itself is in Redis, which
answers in a fraction of a millisecond, and in the database, to which it is written less often. Either may be away: then the
other one serves, and the count in the cookie tells which of two is the newer one.
"""

import json
import os
import secrets
import time

import redis
from flask import request
from flask.sessions import SecureCookieSessionInterface, SessionMixin
from itsdangerous import BadSignature, URLSafeSerializer
from redis.backoff import NoBackoff
from redis.retry import Retry
from werkzeug.datastructures import CallbackDict

import storage

LIFE_SECONDS = 14 * 24 * 3600
# Redis answers in well under a millisecond. A visitor waits this long once for one that is gone or hangs, and nobody waits
# again for the length of the pause.
TIMEOUT_SECONDS = 0.2
PAUSE_SECONDS = 2
# What changes with every page is written to the database this often while Redis keeps it: if Redis is lost, so are these
# seconds of it.
WRITE_BEHIND_SECONDS = 30
# All else is written to it at once.
PASSING = ("visits",)


class Cookie(SecureCookieSessionInterface):
    """Flask's signed cookie; sent back over HTTPS only where the visitor came by HTTPS."""

    def get_cookie_secure(self, app):
        return request.is_secure


class Session(CallbackDict, SessionMixin):
    def __init__(self, id, count=0, stored=0, values=None, unread=False):
        def changed(session):
            session.modified = True

        super().__init__(values or {}, changed)
        self.modified = False
        self.id, self.count, self.stored, self.unread = id, count, stored, unread
        self.lasting = lasting(self)


def lasting(values):
    return {name: value for name, value in values.items() if name not in PASSING}


class Cache:
    """Redis, or nothing: whatever goes wrong with it is no visitor's business."""

    def __init__(self, url):
        self.redis = redis.Redis.from_url(
            url, socket_timeout=TIMEOUT_SECONDS, socket_connect_timeout=TIMEOUT_SECONDS, retry=Retry(NoBackoff(), 0)
        )
        self.again_at = 0

    def get(self, key):
        return self._ask(lambda: self.redis.get(key))

    def set(self, key, value):
        return self._ask(lambda: self.redis.set(key, value, ex=LIFE_SECONDS))

    def _ask(self, ask):
        if time.monotonic() < self.again_at:
            return None
        try:
            return ask()
        except (redis.RedisError, OSError):
            self.again_at = time.monotonic() + PAUSE_SECONDS
            return None


class Shared(Cookie):
    def __init__(self, url):
        self.cache = Cache(url)

    def open_session(self, app, request):
        try:
            cookie = request.cookies.get(self.get_cookie_name(app), "")
            id, count = URLSafeSerializer(app.secret_key, "session").loads(cookie)
        except (BadSignature, ValueError, TypeError):
            return Session(secrets.token_urlsafe(18))
        kept = parse(self.cache.get(key(id)))
        if kept and kept["count"] >= count:
            return Session(id, **kept)
        # Redis does not have it, or was away while it changed.
        try:
            return Session(id, **(newer(kept, parse(storage.load_session(id))) or {"count": count}))
        except storage.Away as error:
            app.logger.warning("a session cannot be read: %s", error)
            return Session(id, count, unread=True)

    def save_session(self, app, session, response):
        response.vary.add("Cookie")
        # Of one that could not be read there is more than we know: it must not be written over.
        if session.unread or not session.modified:
            return
        session.count += 1
        # Most visitors never say who they are: what is only counted stays in Redis, if it is there.
        changed = lasting(session) != session.lasting
        due = lasting(session) and session.stored < time.time() - WRITE_BEHIND_SECONDS
        kept = self._keep(session)
        if changed or due or not kept:
            self._to_database(app, session, kept)
        value = URLSafeSerializer(app.secret_key, "session").dumps([session.id, session.count])
        response.set_cookie(
            self.get_cookie_name(app),
            value,
            max_age=LIFE_SECONDS,
            httponly=True,
            secure=self.get_cookie_secure(app),
            samesite=self.get_cookie_samesite(app),
        )

    def _keep(self, session):
        return self.cache.set(key(session.id), dump(session))

    def _to_database(self, app, session, kept):
        before, session.stored = session.stored, time.time()
        try:
            storage.save_session(session.id, session.count, dump(session))
        except storage.Away as error:
            session.stored = before
            # The next change tries again; until then it is in Redis alone, or lost if that is away too.
            app.logger.warning("a session cannot be written: %s", error)
        else:
            if kept:
                self._keep(session)


def key(id):
    return f"session:{id}"


def dump(session):
    return json.dumps({"count": session.count, "stored": session.stored, "values": dict(session)})


def parse(text):
    return json.loads(text) if text else None


def newer(one, other):
    return max((it for it in (one, other) if it), key=lambda it: it["count"], default=None)


def interface():
    url = os.environ.get("REDIS_URL")
    return Shared(url) if url else Cookie()
