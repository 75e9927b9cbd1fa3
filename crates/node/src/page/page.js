// Fetches what changes every two seconds; without this script the page reloads itself.
"use strict";

const live = document.getElementById("live");
const stale = document.querySelector(".stale");
let before = "";

async function look() {
  try {
    const answer = await fetch("/live", { signal: AbortSignal.timeout(5000) });
    if (!answer.ok) throw new Error(answer.status);
    const now = await answer.text();
    stale.hidden = true;
    document.body.classList.remove("old");
    // What somebody has marked, to copy it, stays.
    const marked = getSelection();
    const busy = marked && !marked.isCollapsed && live.contains(marked.anchorNode);
    if (now !== before && !busy) live.innerHTML = before = now;
  } catch {
    stale.hidden = false;
    document.body.classList.add("old");
  }
  setTimeout(look, 2000);
}

setTimeout(look, 2000);
