<?php
// What the request says about the visitor and about its way here.
declare(strict_types=1);

if (count(get_included_files()) === 1) {
    http_response_code(404);
    exit;
}

// A replica is usually milliseconds behind the primary. For this long after a visitor's own message, that visitor's
// pages are read from the primary, so that the message is surely among those shown.
const READ_OWN_WRITES_SECONDS = 2;

function wrote_just_now(array $session): bool
{
    // Either way round: the clocks of two application servers differ a little.
    return abs(microtime(true) - ($session['wrote'] ?? 0)) < READ_OWN_WRITES_SECONDS;
}

/** No other site may post in a visitor's name: browsers say where a form was sent from. */
function sent_by_another_site(): bool
{
    $site = $_SERVER['HTTP_SEC_FETCH_SITE'] ?? 'same-origin';
    $origin = $_SERVER['HTTP_ORIGIN'] ?? '';
    $host = substr((string) strstr($origin, '://'), 3);
    return !in_array($site, ['same-origin', 'none'], true) || ($origin !== '' && $host !== $_SERVER['HTTP_HOST']);
}

/** Who took part in this answer, outermost first: every tier that passed the request on added its name. */
function journey(?string $database): array
{
    $steps = [];
    foreach (explode(',', $_SERVER['HTTP_X_MAINSTAY_VIA'] ?? '') as $part) {
        if (str_contains($part, '=')) {
            [$tier, $server] = explode('=', trim($part), 2);
            $steps[] = ['tier' => $tier, 'server' => $server];
        }
    }
    if (!in_array('app', array_column($steps, 'tier'), true)) {
        $steps[] = ['tier' => 'app', 'server' => getenv('MAINSTAY_SERVER') ?: 'this machine'];
    }
    if ($database !== null) {
        $steps[] = ['tier' => 'database', 'server' => $database];
    }
    return $steps;
}

/** Text as HTML. */
function html(string $text): string
{
    return htmlspecialchars($text, ENT_QUOTES | ENT_SUBSTITUTE);
}
