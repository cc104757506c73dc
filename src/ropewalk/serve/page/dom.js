// Elements from text. Nothing here or elsewhere on the page parses HTML: what a model writes stays text.

export const byId = (id) => document.getElementById(id);

/** Make an element. `values` are attributes, but for `text` and `on`; a value of false or null leaves the attribute out. */
export function make(tag, values = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(values)) {
    if (name === "text") element.textContent = value;
    else if (name === "on") for (const [event, listener] of Object.entries(value)) element.addEventListener(event, listener);
    else if (value !== false && value !== null) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children);
  return element;
}

/** A probability in words: none is said to be certain or impossible that is not. */
export function percent(share) {
  if (share >= 0.995 && share < 1) return ">99%";
  if (share < 0.005 && share > 0) return "<1%";
  return `${Math.round(share * 100)}%`;
}

/** Words of the server as a sentence. */
export const sentence = (words) => `${words[0].toUpperCase()}${words.slice(1)}.`;
