// The chart of a group's past, drawn from the table beside it. The band below it is as high as the
// part of the members that was counted. A canvas knows no custom properties: colours are read here.

/* global uPlot */
import { local } from "./times.js";

const HEIGHT = 260;
const BAND = 14;
const AXIS = 30; // for the times, between bars and band
let plot = null;
let shown = null;

/** Draw the table's figures, or draw them anew. */
export function draw() {
  const place = document.getElementById("chart");
  const table = document.getElementById("steps");
  if (!place || !table || table === shown) return;
  shown = table;
  const rows = [...table.querySelectorAll("tbody tr")].reverse().map((row) => row.dataset);
  const data = [
    rows.map((row) => Number(row.start)),
    rows.map((row) => (row.value === "" ? null : Number(row.value))),
    rows.map((row) => (Number(row.members) ? Number(row.summed) / Number(row.members) : null)),
  ];
  const read = place.querySelector(".read") ?? place.appendChild(document.createElement("p"));
  read.className = "read";
  read.ariaHidden = "true";
  plot?.destroy();
  plot = new uPlot(options(place, rows, read), data, (self, ready) => {
    read.before(self.root);
    ready();
  });
}

function options(place, rows, read) {
  const { unit, view, step } = place.dataset;
  const ink = colour("--soft");
  const axis = { stroke: ink, grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false }, font: "12px system-ui, sans-serif" };
  const tell = (self) => {
    read.textContent = told(rows[self.cursor.idx] ?? rows.findLast((row) => row.value !== ""), unit, view);
  };
  return {
    width: place.clientWidth - 18,
    height: HEIGHT,
    padding: [12, 24, BAND + 4, 0],
    legend: { show: false },
    cursor: { y: false, drag: { x: false, y: false }, points: { show: false } },
    // Days and months are the gateway's: of UTC.
    tzDate: (seconds) => (view === "quarter" ? new Date(seconds * 1000) : uPlot.tzDate(new Date(seconds * 1000), "UTC")),
    scales: { x: { range: (_, low, high) => [low, Math.max(high + Number(step), low + 1)] }, y: { range: around }, part: { range: [0, 1] } },
    axes: [{ ...axis, size: AXIS, values: clock(view), space: 60 }, { ...axis, size: 58, values: (_, all) => all.map((one) => short(one, unit)) }],
    series: [
      {},
      { stroke: colour("--series"), fill: colour("--series"), width: unit === "W" ? 2 : 0, ...(unit === "W" ? { fill: undefined, spanGaps: false } : {}), paths: unit === "W" ? undefined : uPlot.paths.bars({ size: [0.85, 64], align: 1 }), points: { show: unit === "W" ? undefined : false } },
      { scale: "part", show: true, paths: () => null, points: { show: false } },
    ],
    hooks: { draw: [(self) => band(self, Number(step))], setCursor: [tell], ready: [tell] },
  };
}

function around(_, low, high) {
  const least = Math.min(0, low ?? 0);
  const most = Math.max(0, high ?? 0);
  const room = (most - least || 1) * 0.08;
  return [least < 0 ? least - room : 0, most > 0 ? most + room : least < 0 ? 0 : 1];
}

function band(self, step) {
  const { ctx, bbox } = self;
  const scale = devicePixelRatio;
  const floor = bbox.top + bbox.height + (AXIS + BAND) * scale;
  ctx.save();
  self.data[0].forEach((start, index) => {
    const end = self.data[0][index + 1] ?? start + step;
    const left = self.valToPos(start, "x", true);
    const width = Math.max(1, self.valToPos(Math.min(end, start + 31 * 86_400), "x", true) - left - scale);
    const part = self.data[2][index];
    ctx.fillStyle = colour("--line");
    ctx.fillRect(left, floor - scale, width, scale);
    if (part === null) return;
    ctx.fillStyle = colour(part < 1 ? "--some" : "--good");
    ctx.fillRect(left, floor - part * BAND * scale, width, part * BAND * scale);
  });
  ctx.restore();
}

function told(row, unit, view) {
  if (!row) return "";
  const start = new Date(Number(row.start) * 1000);
  const when = view === "quarter" ? local(start, "minute") : start.toLocaleDateString(undefined, { timeZone: "UTC", dateStyle: view === "day" ? "medium" : undefined, ...(view === "month" ? { month: "short", year: "numeric" } : {}) });
  if (row.value === "") return `${when}: no sum`;
  return `${when}: ${Number(row.value).toLocaleString(undefined, { maximumFractionDigits: 1 })} ${unit}, ${row.summed} of ${row.members} counted`;
}

function clock(view) {
  const form = { quarter: { hour: "2-digit", minute: "2-digit", hourCycle: "h23" }, day: { day: "numeric", month: "short", timeZone: "UTC" }, month: { month: "short", timeZone: "UTC" } }[view];
  const say = new Intl.DateTimeFormat(undefined, form);
  return (_, all) => all.map((seconds, index) => {
    const text = say.format(new Date(seconds * 1000));
    return index && text === say.format(new Date(all[index - 1] * 1000)) ? "" : text;
  });
}

function short(value, unit) {
  const thousand = { Wh: "kWh", W: "kW", l: "m³" }[unit];
  const large = thousand && Math.abs(value) >= 1000;
  return `${(large ? value / 1000 : value).toLocaleString(undefined, { maximumFractionDigits: 1 })} ${large ? thousand : unit}`.trim();
}

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

function again() {
  shown = null;
  draw();
}

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", again);
let width = innerWidth;
addEventListener("resize", () => {
  if (innerWidth === width) return;
  width = innerWidth;
  again();
});
