// Turns of a conversation: a question is asked, one answer or several are written, tools are called, branches are drawn anew.

import { hide } from "./alternatives.js";
import { Answer } from "./answer.js";
import { switcher } from "./branches.js";
import { offerSamples } from "./checking.js";
import { blind, chooseFrom, compare } from "./choosing.js";
import { copy } from "./code.js";
import { byId, make } from "./dom.js";
import { look } from "./following.js";
import { offerJudging } from "./judging.js";
import { askedArticle, offerAgain, quiet, restored, toolResult } from "./messages.js";
import { chosen, rivalOf } from "./models.js";
import { drawn, reading } from "./reading.js";
import { settings } from "./settings.js";
import { keep, toolsFor, write } from "./streaming.js";
import { announce, begun, conversation, ended, fit, measure, places, question, thread } from "./thread.js";
import { MOST_ROUNDS, perform } from "./tools.js";

/** Ask the chosen model. */
export async function send(text, count = Number(byId("answers").value)) {
  text = text.trim();
  const model = chosen();
  if (!text || thread.running || !model) return;
  question.value = "";
  fit();
  byId("welcome").hidden = true;
  const node = thread.tree.add(thread.tree.shown, { role: "user", content: text });
  const asked = articleOf(node);
  conversation.append(asked);
  asked.scrollIntoView({ block: "start" });
  await answerTo(node, model, count);
}

/** Draw the branch that is shown from its beginning. `said` is what to tell who does not see it. */
export async function redraw(said = "") {
  hide();
  places.clear();
  conversation.replaceChildren();
  const mine = thread.tree;
  const branch = mine.branch();
  byId("welcome").hidden = branch.length > 0;
  const answers = [];
  for (const node of branch) {
    if (node.message.role === "user") conversation.append(articleOf(node));
    else if (node.message.role === "tool") conversation.append(toolResult(node));
    else answers.push([restored(node), node]);
  }
  if (branch.length && branch.at(-1).message.role !== "assistant") offerAgain(() => askAgain(branch.at(-1)));
  conversation.dataset.saved = String(!mine.unsaved);
  if (said) announce(said);
  measure();
  for (const [answer, node] of answers) {
    if (mine !== thread.tree || !conversation.contains(answer.element)) return;
    await finish(answer, node);
  }
}

function articleOf(node) {
  const reword = (text) => {
    if (thread.running) return;
    thread.tree.shown = node.parent;
    redraw();
    send(text);
  };
  return askedArticle(node, { reword, redraw });
}

function askAgain(node) {
  if (thread.running) return;
  redraw();
  answerTo(node, chosen(), 1);
}

/** Let the model answer a message: once, or with several answers side by side. */
async function answerTo(node, model, count, round = 0) {
  const mine = thread.tree;
  const stopping = begun();
  document.querySelector(".again")?.remove();
  announce("The model is answering.");
  const rival = count === 1 && round === 0 ? rivalOf(model) : null;
  const answers = rival ? blind([model, rival]) : Array.from({ length: count }, (_, number) => new Answer(model, count > 1 ? `Answer ${number + 1}` : null));
  const place = answers.length > 1 ? make("section", { class: "pair", "aria-label": "Answers side by side" }) : conversation;
  if (place !== conversation) conversation.append(place);
  place.append(...answers.map((answer) => answer.element));
  const branch = mine.branch(node);
  const tries = mine.nodes.filter((other) => other.parent === node).length;
  try {
    await Promise.all(
      answers.map(async (answer, number) => {
        const how = drawn(branch, { number, tries, ideas: count > 1, alike: rival === model });
        answer.asked = { model: answer.model.id, messages: reading(branch, answer.model), ...how };
        await write(answer, answers.length > 1 ? [] : await toolsFor(answer), stopping.signal);
      }),
    );
  } finally {
    ended(stopping);
  }
  const nodes = answers.map((answer) => keep(answer, mine, node));
  const first = nodes.find(Boolean);
  if (first && nodes.filter(Boolean).length > 1) mine.end(first);
  if (mine !== thread.tree || !conversation.contains(place)) return;
  for (const node of nodes) if (node) places.set(node, place === conversation ? answers[0].element : place);
  measure();
  if (!first) offerAgain(() => askAgain(node));
  else if (rival) await compare(place, answers, nodes);
  else if (count > 1) await chooseFrom(answers, nodes, redraw);
  else {
    const looked = finish(answers[0], nodes[0]);
    if (answers[0].calls.length && answers[0].whole && round < MOST_ROUNDS) await called(answers[0], nodes[0], round);
    await looked;
  }
}

/** An answer asked for tools: let them be called, tell the model what came of it. */
async function called(answer, node, round) {
  const mine = thread.tree;
  const stopping = begun();
  const results = await perform(answer.calls, answer.model, settings().approve, conversation, stopping.signal);
  ended(stopping);
  answer.reminder.note("tools", results.length === 1 ? "it called a tool, whose output stands below" : `it called ${results.length} tools`);
  let last = node;
  for (const { message, card } of results) {
    last = mine.add(last, message);
    places.set(last, card);
  }
  if (mine === thread.tree && !stopping.signal.aborted) await answerTo(last, answer.model, 1, round + 1);
}

/** What can be done about an answer that stands alone, and what is known about it. */
async function finish(answer, node) {
  offerActions(answer, node);
  offerJudging(answer, (words) => reword(node, words));
  await look(answer, node);
}

function offerActions(answer, node) {
  const { tree } = thread;
  const again = () => {
    if (thread.running) return;
    tree.shown = node.parent;
    askAgain(node.parent);
  };
  const branch = tree.branch(node.parent);
  const asked = answer.asked ?? { model: answer.model.id, messages: reading(branch, answer.model), ...drawn(branch, { number: 0, tries: 0 }) };
  const samples = answer.model.gone || !answer.said ? [] : offerSamples(answer, asked);
  const bar = make("div", { class: "actions", role: "group", "aria-label": "This answer" });
  bar.append(...switcher(tree, node, redraw), quiet("Copy", (event) => copy(answer.said, event.target)), quiet("Answer again", again), ...samples.slice(0, 1));
  answer.reminder.element.after(bar, ...samples.slice(1));
}

/** The conversation goes on with other words than the answer's, as a branch beside it. */
function reword(node, words) {
  const { tree } = thread;
  if (tree.shown !== node && tree.shown?.parent !== node.parent) return; // it has gone on already
  if (words === node.message.content) tree.end(node);
  else places.set(tree.add(node.parent, { role: "assistant", content: words }, { model: node.about.model, edited: true }), places.get(node));
}
