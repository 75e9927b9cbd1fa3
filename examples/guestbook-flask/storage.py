"""The database: writes go to the primary, reads to a replica."""

import os

import pymysql

# A visitor waits no longer than this for a database that is away. Mainstay holds a connection for ten seconds while a failed
# primary is replaced: who gives up earlier shows an error where there need be none.
TIMEOUT_SECONDS = 12
SHOWN_MAX = 50


class Away(Exception):
    """The database cannot be reached or does not take this statement now."""


class Lost(Away):
    """The connection ended in the middle of a statement: the server was replaced while it answered."""


# Gone away, lost in a query, and dismissed by Mainstay since another server is the primary now.
LOST = (2006, 2013, 4031)


def connect(write):
    prefix = "DB_" if write else "DB_READ_"
    return pymysql.connect(
        host=os.environ[prefix + "HOST"],
        port=int(os.environ[prefix + "PORT"]),
        user=os.environ["DB_USER"],
        password=os.environ["DB_PASSWORD"],
        database=os.environ["DB_NAME"],
        charset="utf8mb4",
        autocommit=True,
        # The endpoint is on this very server. PyMySQL would read the machine's certificates for every connection, in case it
        # were offered TLS: forty milliseconds of a processor, ten times what the rest of a page takes.
        ssl_disabled=True,
        connect_timeout=TIMEOUT_SECONDS,
        read_timeout=TIMEOUT_SECONDS,
        write_timeout=TIMEOUT_SECONDS,
    )


def run(statement, values=(), write=False):
    """The rows, and which database server they came from."""
    try:
        with connect(write) as connection, connection.cursor() as cursor:
            cursor.execute(statement, values)
            rows = cursor.fetchall()
            cursor.execute("SELECT @@hostname, @@server_id, @@read_only")
            return rows, describe(*cursor.fetchone())
    except (pymysql.err.OperationalError, pymysql.err.InterfaceError, pymysql.err.ProgrammingError) as error:
        # A programming error is, for one, a table that the replica does not have yet.
        raise (Lost if error.args and error.args[0] in LOST else Away)(error) from error


def describe(hostname, server_id, read_only):
    role = "replica" if read_only else "primary"
    return f"{hostname} #{server_id}, {role}"


def add(name, text):
    run("INSERT INTO messages (name, text) VALUES (%s, %s)", (name, text), write=True)


def latest(fresh=False):
    """The latest messages; `fresh` asks the primary, which has them all."""
    statement = "SELECT id, name, text, at FROM messages ORDER BY id DESC LIMIT %s"
    try:
        rows, database = run(statement, (SHOWN_MAX,), write=fresh)
    except Lost:
        # A question may be asked twice; of a message nobody could say whether it was written.
        rows, database = run(statement, (SHOWN_MAX,), write=fresh)
    return [dict(id=id, name=name, text=text, at=f"{at:%Y-%m-%d %H:%M} UTC") for id, name, text, at in rows], database


def load_session(id):
    # The primary is asked: a replica may not have it yet.
    rows, _ = run("SELECT kept FROM sessions WHERE id = %s", (id,), write=True)
    return rows[0][0] if rows else None


def save_session(id, count, kept):
    """An older one never takes the place of a newer one. As one comes, a few go that nobody has come back to."""
    keep = """
        INSERT INTO sessions (id, count, kept) VALUES (%s, %s, %s) ON DUPLICATE KEY UPDATE
        kept = IF(VALUES(count) > count, VALUES(kept), kept), count = GREATEST(count, VALUES(count))
    """
    run(keep, (id, count, kept), write=True)
    if count == 1:
        run("DELETE FROM sessions WHERE at < NOW() - INTERVAL 14 DAY LIMIT 10", write=True)
