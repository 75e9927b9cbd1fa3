<?php
// Prepares the database. Run once per release, before it gets requests; running it again changes nothing.
declare(strict_types=1);

// For the command line only: a visitor's request has a method.
if (isset($_SERVER['REQUEST_METHOD'])) {
    http_response_code(404);
    exit;
}

require __DIR__ . '/lib/storage.php';

try {
    connect(write: true)->exec(
        'CREATE TABLE IF NOT EXISTS messages (
            id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
            name VARCHAR(40) NOT NULL,
            text VARCHAR(500) NOT NULL,
            at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP
        ) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4'
    );
} catch (PDOException $error) {
    fwrite(fopen('php://stderr', 'w'), $error->getMessage() . "\n");
    exit(1);
}
echo "the table messages is ready\n";
