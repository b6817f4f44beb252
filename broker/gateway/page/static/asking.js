// The forms of a question are open while it can be asked; whether it can changes while one is filled in.

/** Open or close the forms, as what is live on the page says. */
export function openForms() {
  const notice = document.getElementById("blocked");
  if (!notice) return;
  const isBlocked = notice.querySelector(".blocked") !== null;
  for (const part of document.querySelectorAll("[data-asks]")) part.disabled = isBlocked;
}
