// Times of day in the reader's own zone, and the time until the next round.

const FORMS = {
  minute: { hour: "2-digit", minute: "2-digit" },
  second: { hour: "2-digit", minute: "2-digit", second: "2-digit" },
};
const DAY = { day: "numeric", month: "short" };

/** Say a moment as the reader's clock does; its day too, unless that is today. */
export function local(moment, form) {
  const today = moment.toDateString() === new Date().toDateString();
  return moment.toLocaleString(undefined, { ...(today ? {} : DAY), ...FORMS[form], hourCycle: "h23" });
}

/** Rewrite all times of day below a node. */
export function localTimes(node) {
  for (const time of node.querySelectorAll("time[data-form]")) {
    time.title = time.dateTime;
    time.textContent = local(new Date(time.dateTime), time.dataset.form);
  }
}

/** Keep each [data-due] up to date, by the gateway's clock and not by the reader's. */
export function countDown() {
  const offsets = new WeakMap();
  const tick = () => {
    for (const node of document.querySelectorAll("[data-due]")) {
      if (!offsets.has(node)) offsets.set(node, Number(node.dataset.now) - Date.now() / 1000);
      const left = Math.round(Number(node.dataset.due) - Date.now() / 1000 - offsets.get(node));
      node.textContent = left > 0 ? shown(left) : "0:00";
    }
  };
  tick();
  setInterval(tick, 1000);
}

function shown(seconds) {
  const two = (number) => String(number).padStart(2, "0");
  const hours = Math.floor(seconds / 3600);
  const minutes = Math.floor(seconds / 60) % 60;
  return hours ? `${hours}:${two(minutes)}:${two(seconds % 60)}` : `${minutes}:${two(seconds % 60)}`;
}
