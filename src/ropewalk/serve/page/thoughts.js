// What a model thought before an answer, folded away. Like all that it writes, it stays text.

import { make } from "./dom.js";

const MOST_KEPT_BYTES = 90000;

export class Thoughts {
  #label = make("summary");
  #words = make("div", { class: "words", dir: "auto" });

  constructor() {
    this.text = "";
    this.tokens = 0;
    this.element = make("details", { class: "thoughts", hidden: true }, this.#label, this.#words);
  }

  /** Take the next piece; `tokens` are those that spell it, none where the server does not tell of them. */
  add(piece, tokens) {
    this.text += piece;
    this.tokens += tokens;
    this.#draw("Thinking");
  }

  /** They are whole. */
  end() {
    this.text = this.text.trim();
    if (this.text) this.#draw("Thought");
  }

  /** What is to be kept of them: all, or nothing where that is more than the server takes. */
  kept() {
    return new TextEncoder().encode(this.text).length < MOST_KEPT_BYTES ? this.text : "";
  }

  restore(text, tokens) {
    [this.text, this.tokens] = [text, tokens];
    this.end();
  }

  #draw(doing) {
    this.element.hidden = false;
    this.#label.textContent = this.tokens ? `${doing} for ${this.tokens.toLocaleString("en")} ${this.tokens === 1 ? "token" : "tokens"}` : doing;
    this.#words.textContent = this.text.trim();
  }
}
