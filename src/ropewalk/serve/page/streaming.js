// An answer as it comes from the server, and what is kept of it.

import { chat, Refused } from "./api.js";
import { sentence } from "./dom.js";
import { settings } from "./settings.js";
import { announce } from "./thread.js";
import { offered } from "./tools.js";

const NEAR_THE_END_PIXELS = 80;

/** Stream an answer into its place. What the server refuses is said there. */
export async function write(answer, tools, signal) {
  let last = null;
  try {
    for await (const chunk of chat({ ...answer.asked, ...(tools.length ? { tools } : {}) }, signal)) {
      if (chunk.notice && !last) answer.flag(sentence(chunk.notice));
      last = chunk.choices[0];
      answer.id = chunk.id;
      stayAtEnd(() => answer.add(last));
    }
    answer.finish(last, answer.asked.max_tokens);
    announce(answer.said || "The model said nothing.");
  } catch (error) {
    answer.thoughts.end();
    answer.element.classList.remove("writing");
    if (error.name === "AbortError") {
      answer.flag("Stopped.");
      announce("Stopped.");
    } else if (error instanceof Refused) {
      answer.flag(error.message, "failure");
      announce(error.message);
    } else throw error;
  }
}

/** The tools that an answer may call. */
export async function toolsFor(answer) {
  try {
    return await offered(answer.model, settings().tools);
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    answer.flag(error.message, "failure");
    return [];
  }
}

/** Keep what an answer said in a tree, if it said anything. Returns its message there. */
export function keep(answer, tree, parent) {
  if (!answer.said && !answer.calls.length) return null;
  const calls = answer.calls.map(({ id, type, function: called }) => ({ id, type, function: called }));
  const thoughts = answer.thoughts.kept();
  const message = {
    role: "assistant",
    content: answer.said,
    ...(thoughts ? { reasoning_content: thoughts } : {}),
    ...(calls.length ? { tool_calls: calls } : {}),
  };
  const [opening] = answer.asked.messages;
  return tree.add(parent, message, { ...answer.kept(!answer.whole), ...(opening.role === "system" ? { system: opening.content } : {}) });
}

/** Let the page grow; who reads its end goes on reading its end. */
export function stayAtEnd(grow) {
  const atEnd = scrollY + innerHeight >= document.documentElement.scrollHeight - NEAR_THE_END_PIXELS;
  grow();
  if (atEnd) scrollTo({ top: document.documentElement.scrollHeight });
}
