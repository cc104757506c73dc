// The messages of a conversation as they are drawn: questions, answers that were kept, results of tools.

import { Answer } from "./answer.js";
import { editInPlace, switcher } from "./branches.js";
import { make } from "./dom.js";
import { served } from "./models.js";
import { conversation, places, thread } from "./thread.js";
import { described, resulting } from "./tools.js";

/** A button of those that stand small below a message. */
export const quiet = (text, click, values = {}) => make("button", { type: "button", class: "quiet", text, ...values, on: { click } });

/** A question. `reword` is called with its new words, `redraw` where another branch is to be shown. */
export function askedArticle(node, { reword, redraw }) {
  const { content } = node.message;
  const article = make("article", { class: "asked" }, make("h3", { class: "unseen", text: "You asked" }), make("p", { dir: "auto", text: content }));
  const edit = quiet("Reword", () => editInPlace(article, content, reword), { class: "quiet edit-question" });
  article.append(make("div", { class: "actions" }, ...switcher(thread.tree, node, redraw), edit));
  places.set(node, article);
  return article;
}

/** What came of a tool's call, below the call as it was made. */
export function toolResult(node) {
  const before = node.parent ? thread.tree.branch(node.parent) : [];
  const call = before.flatMap((one) => one.message.tool_calls ?? []).find((one) => one.id === node.message.tool_call_id);
  const card = make("section", { class: "call", "aria-label": "Call of a tool" }, ...(call ? described(call) : []), ...resulting(node.message.content));
  places.set(node, card);
  return card;
}

/** An answer as it was kept, drawn at the end of the conversation. */
export function restored(node) {
  const answer = new Answer(served(node.about.model));
  answer.restore(node.message, node.about);
  if (node.about.edited) answer.label.append(make("span", { class: "badge", text: "reworded by you" }));
  places.set(node, answer.element);
  conversation.append(answer.element);
  return answer;
}

/** A question, or what a tool gave back, was left without an answer: it may be asked again. */
export function offerAgain(again) {
  conversation.append(make("p", { class: "again" }, quiet("Ask again", again)));
}
