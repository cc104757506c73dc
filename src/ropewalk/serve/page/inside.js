// What the pages that look inside have in common.

import { ask, listModels, Refused } from "./api.js";
import { byId, make } from "./dom.js";
import { askForKey } from "./settings.js";

/** JSON from an address; with a body, that is sent there. */
export async function read(address, body, signal, method) {
  return (await ask(address, body, signal, method)).json();
}

/** Do what asks the server. What it refuses is said on the page, once `clear` was called; a key that it wants is asked for. */
export async function attempt(action, clear = () => byId("content").replaceChildren()) {
  try {
    await action();
    byId("message").textContent = "";
  } catch (error) {
    if (error.name === "AbortError") return;
    if (!(error instanceof Refused)) throw error;
    if (error.status === 401) {
      await askForKey();
      return attempt(action, clear);
    }
    byId("message").textContent = error.message;
    clear();
  }
}

/** Offer things to choose from, named by what `text` says of them. `show` is called with the choice's id, and at once. */
export async function choose(things, text, show, { chosen = byId("choice").value, tried = attempt } = {}) {
  byId("choice").replaceChildren(...things.map((thing) => make("option", { value: thing.id, text: text(thing) })));
  if (things.some((thing) => thing.id === chosen)) byId("choice").value = chosen;
  byId("choice").onchange = () => tried(() => show(byId("choice").value));
  if (things.length) await show(byId("choice").value);
}

/** Offer the models. */
export async function chooseModel(show, tried = attempt) {
  await choose(await listModels(), (model) => model.label, show, { tried });
}

/** A table with its caption; cells are texts, numbers or elements. */
export function table(caption, heads, rows) {
  const cell = (value) =>
    typeof value === "number" ? make("td", { class: "number", text: value.toLocaleString("en") }) : make("td", {}, value);
  return make(
    "div",
    { class: "wide", tabindex: "0", role: "region", "aria-label": caption },
    make(
      "table",
      {},
      make("caption", { text: caption }),
      make("thead", {}, make("tr", {}, ...heads.map((text) => make("th", { scope: "col", text })))),
      make("tbody", {}, ...rows.map((row) => make("tr", {}, ...row.map(cell)))),
    ),
  );
}

/** A bar as long as a share of the whole. */
export function bar(share) {
  const element = make("span", { class: "share-bar", "aria-hidden": "true" });
  element.style.setProperty("--share", `${Math.max(0, Math.min(1, share)) * 100}%`);
  return element;
}

export const words = (name) => name.replaceAll("_", " ");
