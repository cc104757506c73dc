// How answers are drawn: kept in this browser, sent with every question.

import { key } from "./api.js";
import { byId } from "./dom.js";

const DEFAULTS = {
  system: "", temperature: 0, "top-p": 1, "max-tokens": 200, seed: 0, look: "light dark", "use-tools": false, approve: true,
};
const KEPT = "ropewalk-settings";

export function settings() {
  const number = (id) => byId(id).valueAsNumber;
  return {
    system: byId("system").value.trim(),
    temperature: number("temperature"),
    top_p: number("top-p"),
    max_tokens: number("max-tokens"),
    seed: number("seed"),
    tools: byId("use-tools").checked,
    approve: byId("approve").checked,
  };
}

export function prepareSettings() {
  const dialog = byId("settings");
  const kept = { ...DEFAULTS, ...JSON.parse(localStorage.getItem(KEPT) ?? "{}") };
  for (const id of Object.keys(DEFAULTS)) byId(id)[property(id)] = kept[id];
  wear();
  byId("look").addEventListener("change", wear);
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
  localStorage.setItem(KEPT, JSON.stringify(Object.fromEntries(Object.keys(DEFAULTS).map((id) => [id, byId(id)[property(id)]]))));
}

const property = (id) => (byId(id).type === "checkbox" ? "checked" : byId(id).type === "number" ? "valueAsNumber" : "value");

/** Light, dark, or as the reader's system has it. */
function wear() {
  document.documentElement.style.setProperty("color-scheme", byId("look").value);
}
