<?php
// A session in a signed cookie: no server has to remember it, so any may answer the next request.
declare(strict_types=1);

// The folder holds code, not pages.
if (count(get_included_files()) === 1) {
    http_response_code(404);
    exit;
}

const SESSION_COOKIE = 'guestbook';

function read_session(): array
{
    [$data, $signature] = explode('.', $_COOKIE[SESSION_COOKIE] ?? '', 2) + ['', ''];
    if (!is_string($signature) || !hash_equals(sign($data), $signature)) {
        return [];
    }
    $session = json_decode((string) base64_decode($data), true);
    return is_array($session) ? $session : [];
}

/** Must come before the page: it is a header. */
function write_session(array $session): void
{
    $data = base64_encode(json_encode($session));
    setcookie(SESSION_COOKIE, $data . '.' . sign($data), [
        'path' => '/',
        'httponly' => true,
        'samesite' => 'Lax',
        // Sent back over HTTPS only where the visitor came by HTTPS.
        'secure' => !empty($_SERVER['HTTPS']),
    ]);
}

/** The same key on every server. */
function sign(string $data): string
{
    return hash_hmac('sha256', $data, getenv('SECRET_KEY') ?: throw new LogicException('SECRET_KEY is not set'));
}
