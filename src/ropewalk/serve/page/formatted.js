// An answer's Markdown, from the server's tree: only elements that are named here are ever made.

import { code } from "./code.js";
import { make } from "./dom.js";

const TAGS = new Set("p h4 h5 h6 strong em s a code ul ol li blockquote hr table thead tbody tr th td br span".split(" "));

/** Elements of a tree. `stretch(start, end)` draws those characters of the answer, with all that is known about them. */
export function grow(tree, stretch, offerRun) {
  return tree.map((node) => (node.tag ? element(node, stretch, offerRun) : words(node, stretch)));
}

function element(node, stretch, offerRun) {
  const children = grow(node.children, stretch, offerRun);
  if (node.tag === "pre") return code(node.language, children, offerRun);
  if (node.tag === "table") return make("div", { class: "table", tabindex: "0", role: "group", "aria-label": "Table" }, make("table", {}, ...children));
  const tag = TAGS.has(node.tag) ? node.tag : "span";
  if (tag !== "a") return make(tag, {}, ...children);
  return make("a", { href: node.href, target: "_blank", rel: "noopener noreferrer" }, ...children);
}

function words(node, stretch) {
  const drawn = node.start === null ? node.text : stretch(node.start, node.start + Array.from(node.text).length);
  return node.kind ? make("span", { class: `code-${node.kind}` }, drawn) : drawn;
}
