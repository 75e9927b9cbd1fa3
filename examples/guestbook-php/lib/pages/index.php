<?php
if (!function_exists('html')) {
    http_response_code(404);
    exit;
}
$name = $session['name'] ?? '';
$visits = $session['visits'];
?>
<header>
  <h1>Guestbook</h1>
  <p><?= $name === '' ? 'Welcome.' : 'Welcome back, ' . html($name) . '.' ?>
     <?= $visits === 1 ? 'Your first visit.' : "Visit number $visits." ?></p>
</header>

<form class="card" method="post" action="/messages">
  <label>Your name <input name="name" value="<?= html($name) ?>" maxlength="<?= NAME_MAX ?>" autocomplete="nickname" placeholder="Anonymous"></label>
  <label>Your message <textarea name="text" rows="3" maxlength="<?= TEXT_MAX ?>" required placeholder="Say hello"></textarea></label>
  <button>Sign the guestbook</button>
</form>

<section aria-label="Messages">
<?php foreach ($messages as $message): ?>
  <article class="card">
    <p class="text"><?= html($message['text']) ?></p>
    <p class="by"><b><?= html($message['name']) ?></b> <time><?= html($message['at']) ?></time></p>
  </article>
<?php endforeach ?>
<?php if (!$messages): ?>
  <p class="empty">Nobody has signed yet. Be the first!</p>
<?php endif ?>
</section>
<p class="note"><?= $fresh
    ? 'You have just written, so this page was read from the primary.'
    : 'Messages are written to the primary and read from a replica where there is one.' ?></p>
