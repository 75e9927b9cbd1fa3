<?php
// The database: writes go to the primary, reads to a replica.
declare(strict_types=1);

if (count(get_included_files()) === 1) {
    http_response_code(404);
    exit;
}

// A visitor waits no longer than this for a database that is away.
const TIMEOUT_SECONDS = 12;
const SHOWN_MAX = 50;

function connect(bool $write): PDO
{
    $prefix = $write ? 'DB_' : 'DB_READ_';
    $where = sprintf('mysql:host=%s;port=%s;dbname=%s;charset=utf8mb4', getenv($prefix . 'HOST'), getenv($prefix . 'PORT'), getenv('DB_NAME'));
    return new PDO($where, getenv('DB_USER'), getenv('DB_PASSWORD'), [
        PDO::ATTR_TIMEOUT => TIMEOUT_SECONDS,
        PDO::ATTR_ERRMODE => PDO::ERRMODE_EXCEPTION,
        PDO::ATTR_EMULATE_PREPARES => false,
        PDO::ATTR_DEFAULT_FETCH_MODE => PDO::FETCH_ASSOC,
    ]);
}

function add(string $name, string $text): void
{
    connect(write: true)->prepare('INSERT INTO messages (name, text) VALUES (?, ?)')->execute([$name, $text]);
}

/**
 * The latest messages, and which database server they came from; `$fresh` asks the primary, which has them all.
 */
function latest(bool $fresh): array
{
    $database = connect(write: $fresh);
    $rows = $database->query('SELECT id, name, text, at FROM messages ORDER BY id DESC LIMIT ' . SHOWN_MAX)->fetchAll();
    $messages = array_map(fn ($row) => ['at' => substr($row['at'], 0, 16) . ' UTC'] + $row, $rows);
    return [$messages, describe($database)];
}

function describe(PDO $database): string
{
    $server = $database->query('SELECT @@hostname AS name, @@server_id AS id, @@read_only AS read_only')->fetch();
    return "$server[name] #$server[id], " . ($server['read_only'] ? 'replica' : 'primary');
}
