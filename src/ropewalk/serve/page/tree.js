// A conversation as a tree of messages: what is seen, and what a model reads, is the branch that ends at `shown`.

import { addMessage, beginConversation, changeConversation, Refused } from "./api.js";

export class Tree {
  #last = Promise.resolve(); // the server hears of changes in their order, and nobody waits for it

  /**
   * `kept`: a conversation as the server has it; without one it begins, and the server hears of it with its first message.
   * `changed` is told when there is something to save and when it is saved, `refused` when the server takes nothing more.
   */
  constructor(kept, { changed, refused }) {
    this.id = kept?.id ?? null;
    this.nodes = (kept?.messages ?? []).map((message) => ({ ...message, parent: null, parentId: message.parent }));
    for (const node of this.nodes) node.parent = this.nodes.find((other) => other.id === node.parentId) ?? null;
    this.shown = this.nodes.find((node) => node.id === kept?.shown) ?? null;
    this.changed = changed;
    this.refused = refused;
    this.refusal = null;
    this.unsaved = 0; // changes that the server has not heard of yet
  }

  /** Add a message behind `parent` and show it. */
  add(parent, message, about = {}) {
    const node = { id: null, parent, message, about };
    this.nodes.push(node);
    this.shown = node;
    this.#tell(async () => {
      this.id ??= (await beginConversation()).id;
      node.id = (await addMessage(this.id, { parent: parent?.id ?? null, message, about })).id;
    });
    return node;
  }

  /** The messages from the first to `end`. */
  branch(end = this.shown) {
    const found = [];
    for (let node = end; node; node = node.parent) found.unshift(node);
    return found;
  }

  /** The messages that stand in the place of this one in other branches, and itself, in the order in which they came. */
  siblings(node) {
    return this.nodes.filter((other) => other.parent === node.parent);
  }

  /** Show the newest branch that goes through a message. */
  show(node) {
    for (let next = node; next; next = this.nodes.findLast((other) => other.parent === node)) node = next;
    this.end(node);
  }

  /** Show the branch that ends with a message, here and when the conversation is opened again. */
  end(node) {
    this.shown = node;
    if (node) this.#tell(() => changeConversation(this.id, { shown: node.id }));
  }

  #tell(action) {
    this.unsaved++;
    this.changed(this);
    this.#last = this.#last.then(async () => {
      try {
        if (!this.refusal) await action();
      } catch (error) {
        if (!(error instanceof Refused)) throw error;
        this.refusal = error.message;
        this.refused(this);
      } finally {
        this.unsaved--;
        this.changed(this);
      }
    });
  }
}
