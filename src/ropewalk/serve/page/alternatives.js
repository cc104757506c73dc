// What else might have stood in a token's place: a small table beside it, by mouse, touch or arrow keys.

import { byId, make, percent } from "./dom.js";

const box = byId("alternatives");

/** Let an answer's text show the alternatives of the token that is pointed at; `tokenOf` gives a span's token. */
export function explainTokens(text, tokenOf) {
  text.addEventListener("pointerover", (event) => show(event.target.closest(".token"), tokenOf));
  text.addEventListener("pointerleave", hide);
  text.addEventListener("click", (event) => show(event.target.closest(".token"), tokenOf));
  text.addEventListener("blur", hide);
  text.addEventListener("keydown", (event) => {
    if (event.key === "Escape") return hide();
    if (event.target !== text || !["ArrowLeft", "ArrowRight"].includes(event.key)) return;
    event.preventDefault();
    const tokens = [...text.querySelectorAll(".token")];
    const at = tokens.indexOf(text.querySelector(".token.shown"));
    const next = tokens[Math.max(0, Math.min(tokens.length - 1, at + (event.key === "ArrowRight" ? 1 : -1)))];
    show(next, tokenOf);
    byId("announcement").textContent = next ? spoken(tokenOf(next)) : "";
  });
}

export function hide() {
  box.hidden = true;
  document.querySelector(".token.shown")?.classList.remove("shown");
}

function show(span, tokenOf) {
  if (!span) return;
  hide();
  span.classList.add("shown");
  const token = tokenOf(span);
  box.replaceChildren(make("p", { text: `“${visible(token.name)}”, probability ${percent(token.probability)}` }));
  if (token.alternatives.length) box.append(make("ol", {}, ...token.alternatives.map((other) => row(other, token))));
  box.hidden = false;
  place(span.getClientRects()[0] ?? span.getBoundingClientRect());
}

function row(other, token) {
  const bar = make("span", { class: "share" });
  bar.style.setProperty("--share", `${other.probability * 100}%`);
  return make(
    "li",
    { class: other.name === token.name ? "chosen" : null },
    make("span", { class: "name", text: visible(other.name) }),
    bar,
    make("span", { class: "percent", text: percent(other.probability) }),
  );
}

function place(spot) {
  const left = Math.max(8, Math.min(spot.left, innerWidth - box.offsetWidth - 8));
  const below = spot.bottom + 6;
  const top = below + box.offsetHeight + 8 > innerHeight ? spot.top - box.offsetHeight - 6 : below;
  box.style.setProperty("left", `${left}px`);
  box.style.setProperty("top", `${Math.max(8, top)}px`);
}

function spoken(token) {
  const others = token.alternatives.filter((other) => other.name !== token.name).slice(0, 3);
  const instead = others.map((other) => `${visible(other.name)} ${percent(other.probability)}`).join(", ");
  return `${visible(token.name)}, ${percent(token.probability)}${instead ? `; instead ${instead}` : ""}`;
}

const visible = (name) => name.replaceAll(" ", "␣").replaceAll("\n", "⏎").replaceAll("\t", "⇥");
