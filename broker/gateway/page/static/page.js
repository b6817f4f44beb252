// Each part works by itself; without any of them the page shows the same as of when it was loaded.
import { openForms } from "./asking.js";
import { draw } from "./chart.js";
import { follow, remember } from "./live.js";
import { replay } from "./replay.js";
import { countDown, localTimes } from "./times.js";

remember();
localTimes(document);
countDown();
draw();
replay();
follow(() => {
  localTimes(document);
  draw();
  openForms();
});
