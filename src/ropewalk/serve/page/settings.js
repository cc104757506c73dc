// How answers are drawn: kept in this browser, sent with every question.

import { key } from "./api.js";
import { byId } from "./dom.js";

const DEFAULTS = { temperature: 0, "max-tokens": 200, seed: 0 };
const KEPT = "ropewalk-settings";

export function settings() {
  const number = (id) => byId(id).valueAsNumber;
  return { temperature: number("temperature"), max_tokens: number("max-tokens"), seed: number("seed") };
}

export function prepareSettings() {
  const dialog = byId("settings");
  const kept = { ...DEFAULTS, ...JSON.parse(localStorage.getItem(KEPT) ?? "{}") };
  for (const id of Object.keys(DEFAULTS)) byId(id).value = kept[id];
  byId("open-settings").addEventListener("click", () => dialog.showModal());
  dialog.addEventListener("close", keep);
  dialog.addEventListener("cancel", (event) => {
    if (!dialog.querySelector("form").reportValidity()) event.preventDefault();
  });
}

/** Ask for the server's key, which is kept until the tab is closed. Resolves when the dialog is closed. */
export function askForKey() {
  const dialog = byId("settings");
  byId("key-row").hidden = false;
  dialog.showModal();
  byId("key").focus();
  return new Promise((resolve) => dialog.addEventListener("close", () => resolve(key.set(byId("key").value)), { once: true }));
}

function keep() {
  localStorage.setItem(KEPT, JSON.stringify(Object.fromEntries(Object.keys(DEFAULTS).map((id) => [id, byId(id).valueAsNumber]))));
}
