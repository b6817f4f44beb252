// The gateway tells of rounds, members and computations. Then the page is asked for again, and what
// changed in it is put in the place of what was there: there is one way to show something, the
// gateway's own.

import { local } from "./times.js";

const AGAIN_MS = 10_000;
const PAUSE_MS = 500; // several groups' rounds come together
const QUIET_MS = 60_000; // a link that is broken is told by no event

const asCame = new Map(); // what the gateway sent of each part that changes, by its id

/** Keep what the gateway sent, before scripts say it in the reader's own way. */
export function remember() {
  for (const node of document.querySelectorAll("[data-live]")) asCame.set(node.id, bare(node));
}

/** Follow the gateway while the page is in sight, and call `changed` when something is new. */
export function follow(changed) {
  const line = document.getElementById("live");
  if (!line || !asCame.size) return;
  const hears = "events" in line.dataset; // the token's scopes let it
  const { events = "", group = "" } = line.dataset; // what the page shows
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
      if (!hears || source.readyState === EventSource.OPEN) say(line, "good", "Live: this page hears the gateway");
    } catch {
      lost();
      later(AGAIN_MS);
    }
  };
  const later = (milliseconds) => {
    waiting ??= setTimeout(refresh, milliseconds);
  };
  const lost = () => say(line, "broken", `This page has lost the gateway; what it shows is of ${local(at, "second")}`);
  const open = () => {
    source?.close();
    if (!hears) return;
    source = new EventSource("/api/v1/events");
    source.onopen = () => say(line, "good", "Live: this page hears the gateway");
    for (const name of events.split(" ")) {
      source.addEventListener(name, (event) => {
        if (!group || JSON.parse(event.data).group === group) later(PAUSE_MS);
      });
    }
    source.onerror = () => {
      lost();
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
    if (source?.readyState === EventSource.CLOSED) open();
    later(0);
  }, QUIET_MS);
  if (!document.hidden) open();
}

function put(fresh) {
  for (const old of document.querySelectorAll("[data-live]")) {
    const made = fresh.getElementById(old.id);
    if (made?.tagName !== old.tagName) return location.reload(); // there is a chart now, or none any more
    if (asCame.get(old.id) === bare(made)) continue;
    asCame.set(old.id, bare(made));
    const node = document.importNode(made, true);
    const focused = old.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
    old.replaceWith(node);
    if (focused) node.querySelector(`a[href="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
    if (old.id !== "faults") node.classList.add("fresh");
  }
}

/** Return what a part says, without what is another each time it is asked for. */
function bare(node) {
  return node.innerHTML.replaceAll(/data-now="[^"]*"/g, "").replaceAll(/(data-due="[^"]*" *>)[^<]*/g, "$1");
}

function say(line, kind, word) {
  const said = `${kind === "good" ? "\u25CF" : "\u25B2"} ${word}`;
  if (line.textContent === said) return;
  line.hidden = false;
  line.className = `state ${kind}`;
  line.textContent = said;
}
