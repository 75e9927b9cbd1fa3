<?php
if (!function_exists('html')) {
    http_response_code(404);
    exit;
}
?>
<!doctype html>
<html lang="en">
<head>
  <meta charset="utf-8">
  <meta name="viewport" content="width=device-width, initial-scale=1">
  <title>Guestbook</title>
  <link rel="icon" href="data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E%3Cpath fill='%23c2553a' d='M3 1h9a1 1 0 0 1 1 1v13l-3-2-2 2-2-2-3 2z'/%3E%3C/svg%3E">
  <link rel="stylesheet" href="/static/style.css">
</head>
<body>
  <nav aria-label="How this page came to you">
    <ol>
      <li><span>visitor</span><b>you</b></li>
<?php foreach ($journey as $step): ?>
      <li><span><?= html($step['tier']) ?></span><b><?= html($step['server']) ?></b></li>
<?php endforeach ?>
    </ol>
  </nav>
  <main>
<?php require $content ?>
  </main>
</body>
</html>
