// How full the model's context is, and which messages it reads no more.

import { measureContext, Refused } from "./api.js";
import { byId, make } from "./dom.js";

let newest = 0;

/** Show how much of `messages` the model will read. `places` are the elements of the branch's messages. */
export async function showContext(model, messages, maxTokens, places) {
  const mine = ++newest;
  const full = byId("context");
  full.hidden = !messages.length || Boolean(model.upstream); // what another server's model reads, only that one knows
  if (full.hidden) return;
  let told;
  try {
    told = await measureContext({ model: model.id, messages, max_tokens: maxTokens });
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    if (mine === newest) byId("context-words").textContent = error.message;
    return;
  }
  if (mine !== newest) return;
  const meter = byId("context-meter");
  [meter.max, meter.value] = [told.context_tokens, Math.min(told.tokens, told.context_tokens)];
  const number = (count) => count.toLocaleString("en");
  const words = `${number(told.tokens)} of the ${number(told.context_tokens)} tokens that the model can read`;
  const lost = told.left_out ? `; it reads ${number(told.read_tokens)}, the oldest ${told.left_out === 1 ? "message" : `${told.left_out} messages`} no more` : "";
  byId("context-words").textContent = words + lost;
  const sent = messages.filter((message) => message.role !== "system").length;
  mark(told.left_out + places.length + 1 - sent, places); // the page itself leaves out what is too much to send
}

function mark(leftOut, places) {
  document.querySelector(".horizon")?.remove();
  places.forEach((place, number) => place.classList.toggle("unread", number < leftOut));
  if (leftOut <= 0) return;
  const line = make("p", { class: "horizon", text: "The model reads from here on. What stands above no longer fits into its context." });
  const first = places[leftOut];
  if (first) first.before(line);
  else places.at(-1)?.after(line);
}
