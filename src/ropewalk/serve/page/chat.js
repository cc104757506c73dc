// The chat page: what is loaded at its start, its keys and buttons, and the conversation that its address names.

import { hide } from "./alternatives.js";
import { getConversation, listStarters, Refused } from "./api.js";
import { byId } from "./dom.js";
import { prepareJudging } from "./judging.js";
import { askWhatRuns, introduce, loadModels } from "./models.js";
import { askForKey, prepareSettings } from "./settings.js";
import { prepareSidebar, putAway, refresh } from "./sidebar.js";
import { offerStarters } from "./starters.js";
import { announce, fit, measure, plant, question, thread } from "./thread.js";
import { redraw, send } from "./turns.js";

const WAIT_MILLISECONDS = 300; // after the last key
let waiting = 0;

async function begin() {
  prepareSettings();
  prepareSidebar(forget);
  byId("composer").addEventListener("submit", (event) => {
    event.preventDefault();
    send(question.value);
  });
  question.addEventListener("input", () => {
    fit();
    clearTimeout(waiting);
    waiting = setTimeout(measure, WAIT_MILLISECONDS);
  });
  question.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    send(question.value);
  });
  byId("stop").addEventListener("click", () => thread.running?.abort());
  byId("new-chat").addEventListener("click", forget);
  byId("model").addEventListener("change", () => {
    introduce();
    measure();
  });
  byId("settings").addEventListener("close", measure);
  document.addEventListener("scroll", hide, { passive: true });
  addEventListener("hashchange", openNamed);
  await load();
}

async function load() {
  try {
    await loadModels();
    await prepareJudging();
    await askWhatRuns();
    await openNamed();
    await refresh(thread.tree.id);
    offerStarters(await listStarters(), send);
    introduce();
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    if (error.status === 401) {
      await askForKey();
      return load();
    }
    byId("about").textContent = error.message;
  }
}

/** Open the conversation that the address names. */
async function openNamed() {
  const id = location.hash.slice(1);
  if (!id.startsWith("conv-") || id === thread.tree.id) return;
  thread.running?.abort();
  try {
    thread.tree = plant(await getConversation(id));
    putAway();
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    forget();
    announce(error.message);
    byId("about").textContent = error.message;
  }
  await Promise.all([redraw(), refresh(thread.tree.id)]);
}

function forget() {
  thread.running?.abort();
  thread.tree = plant(null);
  history.replaceState(null, "", location.pathname);
  redraw();
  refresh(null);
  putAway();
  announce("New chat");
  question.focus();
}

begin();
