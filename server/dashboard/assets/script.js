"use strict";
// Puts what the server sends into its place: each event has the id of a part of the page.
(() => {
  const RETRY_MS = 5000;
  const connection = document.getElementById("connection");
  const button = document.getElementById("pause");
  const parts = [...document.querySelectorAll(".live")];
  const waiting = new Map();
  let source = null;
  let retry = 0;
  let paused = false;

  function say(state, words) {
    connection.dataset.state = state;
    connection.textContent = words;
  }

  // What somebody selects, to copy it, stays until they are done.
  function isSelected(part) {
    const selection = document.getSelection();
    return !selection.isCollapsed && selection.containsNode(part, true);
  }

  function put(part, html) {
    waiting.delete(part);
    if (isSelected(part)) {
      waiting.set(part, html);
    } else {
      part.innerHTML = html;
    }
  }

  function close() {
    clearTimeout(retry);
    source?.close();
    source = null;
  }

  function open() {
    close();
    if (paused || document.hidden) {
      say("off", "Paused");
      return;
    }
    say("wait", "Connecting");
    source = new EventSource("dashboard/events");
    source.onopen = () => say("on", "Live");
    source.onerror = () => {
      say("off", "Not connected");
      // It asks again by itself, unless the server turned it down.
      if (source.readyState === EventSource.CLOSED) {
        retry = setTimeout(open, RETRY_MS);
      }
    };
    for (const part of parts) {
      source.addEventListener(part.id, (event) => put(part, event.data));
    }
  }

  button.addEventListener("click", () => {
    paused = !paused;
    button.textContent = paused ? "Go on" : "Pause";
    open();
  });
  document.addEventListener("selectionchange", () => {
    for (const [part, html] of waiting) {
      put(part, html);
    }
  });
  // Nobody looks at a hidden page, so the server need not work for it.
  document.addEventListener("visibilitychange", open);
  button.hidden = false;
  open();
})();
