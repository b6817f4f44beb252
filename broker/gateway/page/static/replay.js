// A round again, step by step: what came later is not shown yet.

const STEPS = 4;
const STEP_MS = 900;

/** Offer to replay the round that is shown. */
export function replay() {
  const button = document.getElementById("replay");
  if (!button || !document.getElementById("unfolding")) return;
  let step = STEPS;
  let timer = null;
  const show = () => {
    for (const cell of document.querySelectorAll("#unfolding [data-step]")) {
      cell.classList.toggle("ahead", Number(cell.dataset.step) > step);
    }
  };
  const next = () => {
    step += 1;
    show();
    if (step === STEPS) clearInterval(timer);
  };
  button.hidden = false;
  button.addEventListener("click", () => {
    clearInterval(timer);
    step = 0;
    show();
    timer = setInterval(next, STEP_MS);
  });
}
