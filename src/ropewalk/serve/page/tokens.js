// Any text as a vocabulary cuts it: coloured pieces, each with its number.

import { cut, listVocabularies, Refused } from "./api.js";
import { byId, make } from "./dom.js";
import { askForKey } from "./settings.js";

const MOST_SHOWN = 4000; // pieces; a browser is slow with more
const WAIT_MILLISECONDS = 150; // after the last key
const EXAMPLE = "Rope-making is old: 1,024 strands of hemp, 220 fathoms long.\n\ndef twist(strands):\n    return sum(strands)\n\nНить, σχοινί, þráður";

const text = byId("text");
let waiting = 0;
let asking = null; // the AbortController of the request under way

async function begin() {
  text.value = EXAMPLE;
  text.addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(show, WAIT_MILLISECONDS);
  });
  byId("vocabulary").addEventListener("change", show);
  byId("show-ids").addEventListener("change", (event) => byId("pieces").classList.toggle("numbered", event.target.checked));
  await load();
}

async function load() {
  try {
    for (const { id, tokens } of await listVocabularies()) {
      byId("vocabulary").append(make("option", { value: id, text: `${id}: ${tokens.toLocaleString("en")} tokens` }));
    }
    await show();
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    if (error.status === 401) {
      await askForKey();
      return load();
    }
    byId("counts").textContent = error.message;
  }
}

async function show() {
  asking?.abort();
  asking = new AbortController();
  try {
    draw(await cut(byId("vocabulary").value, text.value, asking.signal));
  } catch (error) {
    if (error.name === "AbortError") return;
    if (!(error instanceof Refused)) throw error;
    byId("counts").textContent = error.message;
    byId("pieces").replaceChildren();
  }
}

function draw({ tokens, characters, bytes }) {
  const number = (count, name) => `${count.toLocaleString("en")} ${name}${count === 1 ? "" : "s"}`;
  const each = tokens.length ? `, ${(bytes / tokens.length).toFixed(2)} bytes a token` : "";
  const rest = tokens.length > MOST_SHOWN ? `; the first ${MOST_SHOWN.toLocaleString("en")} are shown` : "";
  byId("counts").textContent = `${number(tokens.length, "token")}, ${number(characters, "character")}${each}${rest}`;
  byId("pieces").replaceChildren(...tokens.slice(0, MOST_SHOWN).flatMap(piece));
}

/** A token's element, and behind it the line ends that it holds. */
function piece(token, place) {
  const said = token.text || token.bytes.replace(/../g, "\\x$&");
  const shown = said.replaceAll(" ", "·").replaceAll("\t", "⇥").replaceAll("\n", "⏎");
  const about = `${token.id}: ${token.bytes.replace(/..(?=.)/g, "$& ")}`;
  const element = make("span", { class: `piece shade-${place % 5}${token.text ? "" : " part"}`, title: about },
    make("span", { text: shown }), make("sub", { text: token.id }));
  return [element, "\n".repeat(said.split("\n").length - 1)];
}

await begin();
