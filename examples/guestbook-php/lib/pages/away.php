<?php
if (!function_exists('html')) {
    http_response_code(404);
    exit;
}
?>
<header>
  <h1>Back in a moment</h1>
  <p>The guestbook's database does not answer just now. Nothing is lost.</p>
</header>
<p class="empty"><a href="/">Try again</a></p>
