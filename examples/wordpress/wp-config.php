<?php
// WordPress's settings, from the environment that Mainstay gives every worker.

define('DB_NAME', getenv('DB_NAME'));
define('DB_USER', getenv('DB_USER'));
define('DB_PASSWORD', getenv('DB_PASSWORD'));
// WordPress reads its own writes in the same request, so it talks to the writer only.
define('DB_HOST', getenv('DB_HOST') . ':' . getenv('DB_PORT'));
define('DB_CHARSET', 'utf8mb4');
define('DB_COLLATE', '');
$table_prefix = 'wp_';

// One key for all, stable across releases and the same on every server: visitors stay logged in.
foreach (['AUTH', 'SECURE_AUTH', 'LOGGED_IN', 'NONCE'] as $mainstay_name) {
    define($mainstay_name . '_KEY', hash_hmac('sha256', $mainstay_name . ' key', getenv('SECRET_KEY')));
    define($mainstay_name . '_SALT', hash_hmac('sha256', $mainstay_name . ' salt', getenv('SECRET_KEY')));
}

// Addresses in pages follow the address by which the visitor came: www or not, and any published port.
$mainstay_host = $_SERVER['HTTP_HOST'] ?? '';
if (preg_match('/^[a-z0-9.\-]+(:\d+)?$|^\[[0-9a-f:.]+\](:\d+)?$/i', $mainstay_host) !== 1) {
    $mainstay_host = getenv('MAINSTAY_SITE') ?: 'localhost';
}
define('WP_HOME', (empty($_SERVER['HTTPS']) ? 'http://' : 'https://') . $mainstay_host);
define('WP_SITEURL', WP_HOME);

// A release is read-only: updates come as the next release, uploads go to the shared folder.
define('DISALLOW_FILE_MODS', true);
define('FS_METHOD', 'direct');
define('WP_DEFAULT_THEME', 'twentytwentythree');
define('WP_DEBUG', false);

// Without internet every question to wordpress.org, and every call to itself by name, would wait for a time-out.
if (getenv('WORDPRESS_OFFLINE') === '1') {
    define('WP_HTTP_BLOCK_EXTERNAL', true);
    define('DISABLE_WP_CRON', true);
}

if (!defined('ABSPATH')) {
    define('ABSPATH', __DIR__ . '/');
}
require_once ABSPATH . 'wp-settings.php';
