// One question to the reader, in a dialog.

import { byId } from "./dom.js";

/** Whether the reader says yes. `shown` is a text to look at first. */
export function confirmed(question, { about = "", shown = "", yes }) {
  const dialog = byId("confirm");
  byId("confirm-title").textContent = question;
  byId("confirm-about").textContent = about;
  byId("confirm-shown").textContent = shown;
  byId("confirm-shown").hidden = !shown;
  byId("confirm-yes").textContent = yes;
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true }));
}
