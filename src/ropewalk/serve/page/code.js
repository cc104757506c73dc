// A block of code: copied, and run in the server's sandbox when the reader has seen what would be run and says so.

import { Refused, runProgram } from "./api.js";
import { confirmed } from "./confirm.js";
import { byId, make } from "./dom.js";

const PYTHON = new Set(["python", "py"]);

/** `told`: is told how a program ended; null where programs are not run. */
export function code(language, children, told) {
  const text = make("code", {}, ...children);
  const outcome = make("div", { class: "outcome", role: "status" });
  const buttons = [make("button", { type: "button", class: "quiet", text: "Copy", on: { click: (event) => copy(text.textContent, event.target) } })];
  if (told && PYTHON.has(language)) {
    buttons.push(make("button", { type: "button", class: "quiet", text: "Run…", on: { click: () => run(text.textContent, outcome, told) } }));
  }
  return make(
    "figure",
    { class: "code" },
    make("figcaption", {}, make("span", { text: language || "code" }), ...buttons),
    make("pre", { tabindex: "0", role: "group", "aria-label": language ? `Code in ${language}` : "Code" }, text),
    outcome,
  );
}

/** Put a text into the clipboard, and say so on the button. */
export async function copy(text, button) {
  const label = button.textContent;
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = "Copied";
  } catch {
    button.textContent = "The browser forbids it"; // as without TLS, or by a reader's choice
  }
  setTimeout(() => (button.textContent = label), 2000);
}

async function run(program, outcome, told) {
  const about = "It runs on the server, in a sandbox: without network, without the server's files, for ten seconds at most.";
  if (!(await confirmed("Run this program?", { about, shown: program, yes: "Run" }))) return;
  outcome.replaceChildren(make("p", { text: "Running." }));
  try {
    const ended = await runProgram(program);
    const said = [ended.stdout, ended.stderr].filter(Boolean).join("\n");
    const how = ended.ended === "finished" ? "It ran to its end" : ended.ended === "failed" ? "It failed" : `It was ended (${ended.ended})`;
    const sentence = `${how} after ${ended.seconds.toFixed(1)} seconds${said ? ":" : ", and printed nothing."}`;
    outcome.replaceChildren(make("p", { text: sentence }), ...(said ? [make("pre", { tabindex: "0", role: "group", "aria-label": "What it printed", text: said })] : []));
    told(ended.ended === "finished");
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    outcome.replaceChildren(make("p", { class: "failure", text: error.message }));
    byId("announcement").textContent = error.message;
  }
}
