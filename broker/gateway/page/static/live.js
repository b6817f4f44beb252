// The gateway tells of each round. Then the page is asked for again, and what changed in it is put in
// the place of what was there: there is one way to show something, the gateway's own.

import { local } from "./times.js";

const AGAIN_MS = 10_000;
const PAUSE_MS = 500; // several groups' rounds come together
const QUIET_MS = 60_000; // a link that is broken is told by no event

/** Follow the gateway while the page is in sight, and call `changed` when something is new. */
export function follow(changed) {
  let source = null;
  let waiting = null;
  let at = new Date();

  const refresh = async () => {
    waiting = null;
    try {
      const answer = await fetch(location.href, { headers: { Accept: "text/html" }, cache: "no-store" });
      if (answer.redirected) return location.reload(); // the token is over
      if (!answer.ok) throw new Error(answer.statusText);
      put(new DOMParser().parseFromString(await answer.text(), "text/html"));
      at = new Date();
      changed();
      if (source?.readyState === EventSource.OPEN) say("good", "Live");
    } catch {
      lost(at);
      later(AGAIN_MS);
    }
  };
  const later = (milliseconds) => {
    waiting ??= setTimeout(refresh, milliseconds);
  };
  const open = () => {
    source?.close();
    source = new EventSource("/api/v1/events");
    source.onopen = () => say("good", "Live");
    source.addEventListener("round", () => later(PAUSE_MS));
    source.onerror = () => {
      lost(at);
      if (source.readyState === EventSource.CLOSED) later(AGAIN_MS);
    };
  };
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) {
      source?.close();
    } else {
      open();
      later(0);
    }
  });
  setInterval(() => {
    if (document.hidden) return;
    if (source.readyState === EventSource.CLOSED) open();
    later(0);
  }, QUIET_MS);
  if (!document.hidden) open();
}

function put(fresh) {
  for (const old of document.querySelectorAll("[data-live]")) {
    const made = fresh.getElementById(old.id);
    if (!made || same(old, made) || old.contains(document.activeElement)) continue;
    const node = document.importNode(made, true);
    old.replaceWith(node);
    if (old.id !== "faults") node.classList.add("fresh");
  }
}

const asCame = new WeakMap();

function same(old, made) {
  // What the page's own scripts rewrote is no change.
  const bare = made.innerHTML.replaceAll(/data-now="[^"]*"/g, "").replaceAll(/(data-due="[^"]*" *>)[^<]*/g, "$1");
  const before = asCame.get(document.body)?.[old.id];
  const kept = asCame.get(document.body) ?? {};
  kept[old.id] = bare;
  asCame.set(document.body, kept);
  return before === bare;
}

function lost(at) {
  say("broken", `This page has lost the gateway; what it shows is of ${local(at, "second")}`);
}

function say(kind, word) {
  const line = document.getElementById("live");
  const sign = kind === "good" ? "\u25CF" : "\u25B2";
  if (line.textContent === `${sign} ${word}`) return;
  line.hidden = false;
  line.className = `state ${kind}`;
  line.textContent = `${sign} ${word}`;
}
