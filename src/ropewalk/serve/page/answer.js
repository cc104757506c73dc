// One answer: its text token by token, what was flagged, and where its words stand in the training pages.

import { explainTokens, hide } from "./alternatives.js";
import { make, percent } from "./dom.js";

let count = 0;

export class Answer {
  constructor(model) {
    this.model = model;
    this.number = count++;
    this.tokens = [];
    this.spans = new Map();
    this.pending = [];
    this.text = make("div", {
      class: "text",
      tabindex: "0",
      dir: "auto",
      role: "group",
      "aria-label": "Answer. The arrow keys move over its words and show how probable they were.",
    });
    this.flags = make("ul", { class: "flags", "aria-label": "Remarks on this answer" });
    this.sources = make("aside", { class: "sources", "aria-label": "Where this stands in the training pages" });
    const label = make("h3", { class: "speaker", text: model.id });
    if (model.third_party) label.append(make("span", { class: "badge", text: "third-party" }));
    this.element = make("article", { class: "answer writing" }, make("div", { class: "said" }, label, this.text, this.flags), this.sources);
    explainTokens(this.text, (span) => this.spans.get(span));
  }

  get said() {
    return this.tokens.map((token) => token.text).join("");
  }

  /** Take a choice of a chunk. A character may take several tokens: their text comes with the last, their doubts add up. */
  add(choice) {
    const entry = choice.logprobs?.content?.[0];
    if (entry) this.pending.push(entry);
    const text = choice.delta.content;
    if (!text) return;
    const made = this.pending.splice(0);
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

  /** The answer is whole. `certainty` is the last choice's. */
  finish(certainty, maxTokens) {
    this.element.classList.remove("writing");
    if (certainty?.finish_reason === "length") this.flag(`Cut off: the limit is ${maxTokens} tokens, or the model's context is full.`);
    if (certainty?.low_confidence) {
      this.flag(`The model was not sure: its least probable word had a probability of ${percent(certainty.confidence)}.`, "doubt");
    }
    if (!this.said) this.text.append(make("span", { class: "nothing", text: "The model said nothing." }));
  }

  flag(sentence, kind = "note") {
    this.flags.append(make("li", { class: kind, text: sentence }));
  }

  /** Underline what occurs in the pages, and list where. */
  follow(found) {
    if (!found.available) {
      this.sources.append(make("p", { class: "none", text: capital(found.reason) + "." }));
      return;
    }
    this.#underline(found.spans);
    if (found.unsupported) this.flag("These words stand together in none of the pages read.", "doubt");
    const supported = found.sentences.filter((sentence) => sentence.evidence.length);
    if (supported.length) {
      const several = found.sentences.length > 1;
      this.sources.append(make("h4", { text: "Pages that hold these words" }));
      for (const sentence of supported) {
        if (several) this.sources.append(make("p", { class: "about", text: slice(this.said, sentence.start, sentence.end) }));
        this.sources.append(make("ul", {}, ...sentence.evidence.map((one) => link(one, one.sentence))));
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

  /** Draw the text again, the passages as links to their lists. Where two overlap, the first has the shared characters. */
  #underline(spans) {
    const owners = [];
    spans.forEach((span, number) => {
      for (let at = span.start; at < span.end; at++) owners[at] ??= number;
    });
    const drawn = document.createDocumentFragment();
    this.spans.clear();
    hide();
    let holder = drawn;
    let owner;
    let at = 0;
    for (const token of this.tokens) {
      const characters = Array.from(token.text); // the server counts code points
      for (let start = 0, end = 0; start < characters.length; start = end) {
        for (end = start + 1; end < characters.length && owners[at + end] === owners[at + start]; ) end++;
        if (owners[at + start] !== owner) {
          owner = owners[at + start];
          holder = owner === undefined ? drawn : this.#passageLink(owner);
          if (holder !== drawn) drawn.append(holder);
        }
        holder.append(this.#span(characters.slice(start, end).join(""), token));
      }
      at += characters.length;
    }
    this.text.replaceChildren(drawn);
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

function link(place, text) {
  return make(
    "li",
    {},
    make("a", { href: place.href, target: "_blank", rel: "noopener", text: text.trim() }),
    make("span", { class: "url", text: place.url }),
  );
}

const slice = (text, start, end) => Array.from(text).slice(start, end).join("");
const capital = (sentence) => sentence[0].toUpperCase() + sentence.slice(1);
