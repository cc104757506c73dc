// Calls of tools that a model asks for: shown, run when the reader lets them, and what came of them.

import { callTool, listTools, Refused } from "./api.js";
import { make } from "./dom.js";

export const MOST_ROUNDS = 4; // of calls in one turn

/** What a server offers for a model; nothing if the reader wants none. */
export async function offered(model, wanted) {
  return wanted && model.converses ? (await listTools(model.id)).data : [];
}

/** An answer's calls. Resolves to their results, each a message of the role `tool` and its card; asks first if `approve` says so. */
export async function perform(calls, model, approve, place, signal) {
  const results = [];
  for (const call of calls) {
    const card = make("section", { class: "call", "aria-label": `Call of ${call.function.name}` }, ...described(call));
    place.append(card);
    const allowed = !signal.aborted && (!approve || (await asked(card, signal)));
    const output = allowed ? await run(call, model) : "error: the user did not allow this call";
    card.append(...resulting(output));
    results.push({ message: { role: "tool", tool_call_id: call.id, content: output }, card });
  }
  return results;
}

/** The elements of a call, as it was made. */
export function described(call) {
  return [make("h4", { text: `Tool: ${call.function.name}` }), make("p", { class: "times", text: "Input" }), shown(argumentsOf(call), "Input")];
}

/** The elements of what came of it. */
export function resulting(output) {
  return [make("p", { class: "times", text: "Output" }), shown(output, "Output")];
}

function argumentsOf(call) {
  const values = JSON.parse(call.function.arguments);
  return Object.entries(values)
    .map(([name, value]) => `${name}: ${typeof value === "string" ? value : JSON.stringify(value)}`)
    .join("\n");
}

const shown = (text, name) => make("pre", { tabindex: "0", role: "group", "aria-label": name, text });

async function run(call, model) {
  try {
    return (await callTool({ model: model.id, name: call.function.name, arguments: JSON.parse(call.function.arguments) })).output;
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    return `error: ${error.message}`;
  }
}

/** Ask at the call itself. Stopping the answer is a no. */
function asked(card, signal) {
  return new Promise((resolve) => {
    const bar = make("div", { class: "actions", role: "group", "aria-label": "May this call be run?" });
    const settle = (allowed) => {
      bar.remove();
      resolve(allowed);
    };
    const button = (text, allowed) => make("button", { type: "button", class: "quiet", text, on: { click: () => settle(allowed) } });
    bar.append(button("Run", true), button("Do not run", false));
    card.append(bar);
    bar.firstChild.focus();
    signal.addEventListener("abort", () => settle(false), { once: true });
  });
}
