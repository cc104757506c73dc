// One answer: its text token by token, what was flagged, and where its words stand in the training pages.

import { explainTokens, hide } from "./alternatives.js";
import { Reminder } from "./checking.js";
import { make, percent, sentence } from "./dom.js";
import { grow } from "./formatted.js";
import { Thoughts } from "./thoughts.js";

const MOST_KEPT_BYTES = 120000; // of an answer's tokens; the server takes 256,000 bytes at once
let count = 0;

export class Answer {
  /** `title` stands in the place of the model's name until `reveal`. */
  constructor(model, title = null) {
    this.model = model;
    this.id = null; // the response's
    this.whole = false; // it came to its end
    this.followed = false; // it was looked up in the pages
    this.number = count++;
    this.tokens = [];
    this.spans = new Map();
    this.pending = [];
    this.calls = []; // of tools, in OpenAI's words
    this.owners = []; // of each character, the number of its passage in the pages
    this.tree = null; // its Markdown, if it has any
    this.runsCode = false;
    this.reminder = new Reminder();
    this.thoughts = new Thoughts();
    this.text = make("div", {
      class: "text",
      tabindex: "0",
      dir: "auto",
      role: "group",
      "aria-label": "Answer. The arrow keys move over its words and show how probable they were.",
    });
    this.flags = make("ul", { class: "flags", "aria-label": "Remarks on this answer" });
    this.sources = make("aside", { class: "sources", "aria-label": "Where this stands in the training pages" });
    this.label = make("h3", { class: "speaker", text: title ?? "" });
    if (title === null) this.reveal();
    this.element = make("article", { class: "answer writing" }, make("div", { class: "said" }, this.label, this.thoughts.element, this.text, this.flags, this.reminder.element), this.sources);
    explainTokens(this.text, (span) => this.spans.get(span));
  }

  /** Say which model it is. */
  reveal() {
    this.label.textContent = this.model.id;
    if (this.model.third_party) this.label.append(make("span", { class: "badge", text: "third-party" }));
  }

  get said() {
    return this.tokens.map((token) => token.text).join("");
  }

  /** Take a choice of a chunk. A character may take several tokens: their text comes with the last, their doubts add up. */
  add(choice) {
    this.calls.push(...(choice.delta.tool_calls ?? []));
    this.pending.push(...(choice.logprobs?.content ?? []));
    const thought = choice.delta.reasoning_content ?? choice.delta.reasoning; // vLLM's word, and its newer one
    if (thought) this.thoughts.add(thought, spelling(this.pending.splice(0), thought).length);
    const text = choice.delta.content;
    if (!text) return;
    if (!this.said) this.thoughts.end();
    const made = spelling(this.pending.splice(0), text);
    const last = made.at(-1);
    const token = {
      text,
      name: made.length > 1 || !last ? text : last.token,
      probability: made.reduce((product, one) => product * Math.exp(one.logprob), 1),
      alternatives: (last?.top_logprobs ?? []).map((other) => ({ name: other.token, probability: Math.exp(other.logprob) })),
    };
    this.tokens.push(token);
    this.text.append(this.#span(text, token));
  }

  /** Draw an answer that was kept. `about` is what `kept` gave. */
  restore({ content, reasoning_content: thoughts }, about) {
    if (thoughts) this.thoughts.restore(thoughts, about.thought_tokens ?? 0);
    this.id = about.id ?? null;
    this.whole = Boolean(about.id) && !about.stopped;
    this.tokens = (about.tokens ?? [[content ?? "", null, []]]).map(([text, probability, others, name]) => {
      return { text, name: name ?? text, probability, alternatives: others.map(([name, probability]) => ({ name, probability })) };
    });
    this.element.classList.remove("writing");
    for (const [kind, words] of about.flags ?? []) this.flag(words, kind);
    this.#draw();
  }

  /** What is needed to draw it again, as much of it as the server takes: alternatives go first, then probabilities. */
  kept(stopped) {
    const short = (probability) => Math.round(probability * 1e4) / 1e4;
    const whole = this.tokens.map(({ text, name, probability, alternatives }) => {
      return [text, short(probability), alternatives.map((other) => [other.name, short(other.probability)]), ...(name === text ? [] : [name])];
    });
    const alone = whole.map(([text, probability, , ...name]) => [text, probability, [], ...name]);
    const fits = (tokens) => bytes(JSON.stringify(tokens)) < MOST_KEPT_BYTES;
    const flags = [...this.flags.children].map((flag) => [flag.className, flag.textContent]);
    const thoughts = this.thoughts.tokens ? { thought_tokens: this.thoughts.tokens } : {};
    return { id: this.id, model: this.model.id, stopped, flags, ...thoughts, tokens: [whole, alone].find(fits) ?? null };
  }

  /** The answer is whole. `certainty` is the last choice's. */
  finish(certainty, maxTokens) {
    this.thoughts.end();
    this.element.classList.remove("writing");
    this.whole = true;
    if (certainty?.finish_reason === "length") this.flag(`Cut off: the limit is ${maxTokens} tokens, or the model's context is full.`);
    if (certainty?.low_confidence) {
      this.flag(`The model was not sure: its least probable word had a probability of ${percent(certainty.confidence)}.`, "doubt");
    }
    if (!this.said && !this.calls.length) this.text.append(make("span", { class: "nothing", text: "The model said nothing." }));
  }

  flag(words, kind = "note") {
    this.flags.append(make("li", { class: kind, text: words }));
  }

  /** Underline what occurs in the pages, and list where. */
  follow(found) {
    if (!found.available) {
      this.sources.append(make("p", { class: "none", text: sentence(found.reason) }));
      return;
    }
    this.reminder.note("pages", looked(found));
    found.spans.forEach((span, number) => {
      for (let at = span.start; at < span.end; at++) this.owners[at] ??= number; // of two that overlap, the first has both's
    });
    this.#draw();
    if (found.unsupported) this.flag("These words stand together in none of the pages read.", "doubt");
    const supported = found.sentences.filter((one) => one.evidence.length);
    if (supported.length) {
      const several = found.sentences.length > 1;
      this.sources.append(make("h4", { text: "Pages that hold these words" }));
      for (const { start, end, evidence } of supported) {
        if (several) this.sources.append(make("p", { class: "about", text: slice(this.said, start, end) }));
        this.sources.append(make("ul", {}, ...evidence.map((page) => link(page, page.sentence))));
      }
    }
    if (found.spans.length) {
      this.sources.append(make("h4", { text: "Occurs word for word" }));
      found.spans.forEach((span, number) => this.sources.append(this.#passage(span, number)));
    }
  }

  #passage(span, number) {
    const [count, shown] = [span.occurrences, span.pages.length];
    const times = count === 1 ? "Once, in" : `${count.toLocaleString("en")} times, ${count > shown ? "first " : ""}in`;
    return make(
      "section",
      { class: "occurrence", id: this.#anchor(number), tabindex: "-1" },
      make("p", { class: "about", text: slice(this.said, span.start, span.end).trim() }),
      make("p", { class: "times", text: times }),
      make("ul", {}, ...span.pages.map((page) => link(page, page.title || page.url))),
    );
  }

  /** Draw it as Markdown, if that is what it is. `runsCode`: whether the server runs programs. */
  format({ tree, reason }, runsCode) {
    if (reason) return;
    this.tree = tree;
    this.runsCode = runsCode;
    this.text.classList.add("formatted");
    this.#draw();
  }

  /** Draw the text again, with all that is known about it. */
  #draw() {
    this.spans.clear();
    hide();
    const told = this.runsCode ? (finished) => this.reminder.note("program", `its program ${finished ? "ran to its end" : "failed"}`) : null;
    const stretch = (start, end) => this.#stretch(start, end);
    this.text.replaceChildren(...(this.tree ? grow(this.tree, stretch, told) : [stretch(0, Infinity)]));
  }

  /** Those characters (code points, as the server counts) token by token, the passages as links to their lists. */
  #stretch(from, to) {
    const drawn = document.createDocumentFragment();
    let holder = drawn;
    let owner;
    let at = 0;
    for (const token of this.tokens) {
      const characters = Array.from(token.text);
      const last = Math.min(characters.length, to - at);
      for (let start = Math.max(0, from - at), end = 0; start < last; start = end) {
        for (end = start + 1; end < last && this.owners[at + end] === this.owners[at + start]; ) end++;
        if (this.owners[at + start] !== owner) {
          owner = this.owners[at + start];
          holder = owner === undefined ? drawn : this.#passageLink(owner);
          if (holder !== drawn) drawn.append(holder);
        }
        holder.append(this.#span(characters.slice(start, end).join(""), token));
      }
      at += characters.length;
      if (at >= to) break;
    }
    return drawn;
  }

  #passageLink(number) {
    const go = (event) => {
      event.preventDefault();
      const list = document.getElementById(this.#anchor(number));
      list.scrollIntoView({ block: "nearest" });
      list.focus();
    };
    return make("a", { class: "passage", href: `#${this.#anchor(number)}`, on: { click: go } });
  }

  #anchor(number) {
    return `passage-${this.number}-${number}`;
  }

  #span(text, token) {
    if (token.probability === null) return make("span", { text }); // a person's words
    const span = make("span", { class: "token", text });
    const doubt = Math.max(0, 1 - token.probability);
    if (doubt >= 0.1) {
      span.classList.add("doubtful");
      span.style.setProperty("--doubt", `${Math.round(doubt * 100)}%`);
    }
    this.spans.set(span, token);
    return span;
  }
}

/** The last of some tokens, those that spell a text. What stands before them, as the marks of thoughts, is none of it. */
function spelling(tokens, text) {
  let from = tokens.length;
  for (let missing = bytes(text); missing > 0 && from > 0; ) missing -= tokens[--from].bytes?.length ?? bytes(tokens[from].token);
  return tokens.slice(from);
}

const bytes = (text) => new TextEncoder().encode(text).length;

function link(place, text) {
  return make(
    "li",
    {},
    make("a", { href: place.href, target: "_blank", rel: "noopener", text: text.trim() }),
    make("span", { class: "url", text: place.url }),
  );
}

/** What looking it up in the pages gave. */
function looked({ sentences, spans }) {
  const supported = sentences.filter((one) => one.evidence.length).length;
  const words = sentences.length
    ? `a page holds the words of ${supported} of ${sentences.length} ${sentences.length === 1 ? "sentence" : "sentences"}`
    : "no names, numbers or nouns to look up";
  return spans.length ? `${words}, ${spans.length} ${spans.length === 1 ? "passage occurs" : "passages occur"} word for word` : words;
}

const slice = (text, start, end) => Array.from(text).slice(start, end).join("");
