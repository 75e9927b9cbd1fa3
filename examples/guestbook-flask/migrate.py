"""Prepares the database. Run once per release, before it gets requests; running it again changes nothing."""

import storage

storage.run(
    """
    CREATE TABLE IF NOT EXISTS messages (
        id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
        name VARCHAR(40) NOT NULL,
        text VARCHAR(500) NOT NULL,
        at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP
    ) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4
    """,
    write=True,
)
storage.run(
    """
    CREATE TABLE IF NOT EXISTS sessions (
        id VARCHAR(40) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
        count INT UNSIGNED NOT NULL,
        kept TEXT NOT NULL,
        at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP,
        KEY (at)
    ) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4
    """,
    write=True,
)
print("the tables messages and sessions are ready")
