// The conversation: what was asked and answered, sending, stopping, starting anew.

import { hide } from "./alternatives.js";
import { Answer } from "./answer.js";
import { chat, listModels, listStarters, Refused, trace } from "./api.js";
import { byId, make } from "./dom.js";
import { askForKey, prepareSettings, settings } from "./settings.js";

const question = byId("question");
const conversation = byId("conversation");
const announcement = byId("announcement");
const models = new Map();
let messages = []; // what the model will read
let running = null; // the AbortController of the answer that is being written

async function begin() {
  prepareSettings();
  byId("composer").addEventListener("submit", (event) => {
    event.preventDefault();
    send(question.value);
  });
  question.addEventListener("input", fit);
  question.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    send(question.value);
  });
  byId("stop").addEventListener("click", () => running?.abort());
  byId("new-chat").addEventListener("click", forget);
  byId("model").addEventListener("change", introduce);
  document.addEventListener("scroll", hide, { passive: true });
  await load();
}

async function load() {
  try {
    for (const model of await listModels()) {
      models.set(model.id, model);
      byId("model").append(make("option", { value: model.id, text: model.label }));
    }
    for (const starter of await listStarters()) {
      byId("starters").append(make("li", {}, make("button", { type: "button", text: starter, on: { click: () => send(starter) } })));
    }
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

const chosen = () => models.get(byId("model").value);

/** Say what the chosen model is. */
function introduce() {
  const model = chosen();
  const size = `${model.parameters.toLocaleString("en")} parameters`;
  const origin = model.third_party
    ? `${model.id} was made elsewhere (${size}): its answers cannot be followed back to pages.`
    : model.traceable
      ? `${model.id} (${size}) was trained here. Its answers lead to the pages that they occur in.`
      : `${model.id} (${size}) was trained here. ${sentence(model.untraceable)}`;
  const manner = model.converses ? "" : " It has read pages but no conversations: it continues your text.";
  byId("about").textContent = origin + manner;
}

const sentence = (text) => `${text[0].toUpperCase()}${text.slice(1)}.`;

function forget() {
  running?.abort();
  messages = [];
  hide();
  conversation.replaceChildren();
  byId("welcome").hidden = false;
  announcement.textContent = "New chat";
  question.focus();
}

async function send(text) {
  text = text.trim();
  const model = chosen();
  if (!text || running || !model) return;
  const stopping = new AbortController();
  running = stopping;
  byId("welcome").hidden = true;
  byId("stop").hidden = false;
  byId("send").hidden = true;
  question.value = "";
  fit();
  const answer = new Answer(model);
  const asked = make("article", { class: "asked" }, make("h3", { class: "unseen", text: "You asked" }), make("p", { dir: "auto", text }));
  conversation.append(asked, answer.element);
  asked.scrollIntoView({ block: "start" });
  announcement.textContent = "The model is answering.";
  const turn = { role: "user", content: text };
  try {
    await write(answer, [...messages, turn], stopping.signal);
    if (answer.said && conversation.contains(answer.element)) messages.push(turn, { role: "assistant", content: answer.said });
  } finally {
    if (running === stopping) {
      running = null;
      byId("stop").hidden = true;
      byId("send").hidden = false;
    }
  }
  if (conversation.contains(answer.element)) await follow(answer, turn.content);
}

/** Stream an answer into its place. What the server refuses is said there. */
async function write(answer, toRead, signal) {
  const { temperature, max_tokens, seed } = settings();
  const drawn = { temperature, max_tokens, seed: seed + Math.floor(toRead.length / 2) };
  let last = null;
  try {
    for await (const chunk of chat({ model: answer.model.id, messages: toRead, ...drawn }, signal)) {
      if (chunk.notice && !last) answer.flag(sentence(chunk.notice));
      last = chunk.choices[0];
      const atEnd = scrollY + innerHeight >= document.documentElement.scrollHeight - 80;
      answer.add(last);
      if (atEnd) scrollTo({ top: document.documentElement.scrollHeight });
    }
    answer.finish(last, max_tokens);
    announcement.textContent = answer.said || "The model said nothing.";
  } catch (error) {
    answer.element.classList.remove("writing");
    if (error.name === "AbortError") {
      answer.flag("Stopped.");
      announcement.textContent = "Stopped.";
    } else if (error instanceof Refused) {
      answer.flag(error.message, "failure");
      announcement.textContent = error.message;
    } else throw error;
  }
}

/** Ask where the words of an answer to `question` stand in the pages. */
async function follow(answer, question) {
  if (!answer.said) return;
  const atEnd = scrollY + innerHeight >= document.documentElement.scrollHeight - 80;
  try {
    answer.follow(await trace(answer.model.id, answer.said, question));
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    answer.flag(error.message, "failure");
  }
  if (atEnd) scrollTo({ top: document.documentElement.scrollHeight });
}

function fit() {
  question.style.setProperty("height", "auto");
  question.style.setProperty("height", `${question.scrollHeight}px`);
}

begin();
