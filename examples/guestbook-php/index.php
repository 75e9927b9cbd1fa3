<?php
// A guestbook in plain PHP: every path that is no file comes here.
declare(strict_types=1);

require __DIR__ . '/lib/session.php';
require __DIR__ . '/lib/storage.php';
require __DIR__ . '/lib/visit.php';

const NAME_MAX = 40;
const TEXT_MAX = 500;

$path = parse_url($_SERVER['REQUEST_URI'], PHP_URL_PATH) ?: '/';

try {
    match ($_SERVER['REQUEST_METHOD'] . ' ' . $path) {
        'GET /', 'HEAD /', 'GET /index.php' => show(),
        'GET /messages.json', 'HEAD /messages.json' => show_json(),
        'POST /messages' => post(),
        'GET /health', 'HEAD /health' => health(),
        default => refuse(404, 'There is no such page.'),
    };
} catch (PDOException $away) {
    error_log('the database is away: ' . $away->getMessage());
    http_response_code(503);
    header('Retry-After: 5');
    page('away', ['journey' => journey(null)]);
}

function show(): void
{
    $session = read_session();
    $session['visits'] = ($session['visits'] ?? 0) + 1;
    $fresh = wrote_just_now($session);
    [$messages, $database] = latest($fresh);
    write_session($session);
    page('index', ['messages' => $messages, 'journey' => journey($database), 'fresh' => $fresh, 'session' => $session]);
}

function show_json(): void
{
    [$messages, $database] = latest(wrote_just_now(read_session()));
    header('Content-Type: application/json');
    echo json_encode(['messages' => $messages, 'journey' => journey($database)]), "\n";
}

function post(): void
{
    if (sent_by_another_site()) {
        refuse(403, 'This form was sent from another site.');
        return;
    }
    $name = field('name', NAME_MAX) ?: 'Anonymous';
    $text = field('text', TEXT_MAX);
    if ($text === '') {
        refuse(400, 'A message needs some text.');
        return;
    }
    add($name, $text);
    write_session(['name' => $name, 'wrote' => microtime(true)] + read_session());
    // See Other: reloading the page does not post again.
    header('Location: /', true, 303);
}

/** Whether PHP works; there is a page to show even while the database is away. */
function health(): void
{
    header('Content-Type: text/plain');
    echo "ok\n";
}

/** A field of the form, cut to so many characters. */
function field(string $name, int $max): string
{
    $value = $_POST[$name] ?? '';
    // The database would refuse what is no UTF-8.
    if (!is_string($value) || preg_match('//u', $value) !== 1) {
        return '';
    }
    preg_match('/^.{0,' . $max . '}/us', trim($value), $cut);
    return $cut[0];
}

function refuse(int $status, string $why): void
{
    http_response_code($status);
    header('Content-Type: text/plain; charset=utf-8');
    echo $why, "\n";
}

function page(string $name, array $values): void
{
    extract($values);
    $content = __DIR__ . "/lib/pages/$name.php";
    require __DIR__ . '/lib/pages/base.php';
}
