// The menu that all pages share. Each leaves an empty <nav id="navigation"> for it.

import { byId, make } from "./dom.js";

const PAGES = {
  "/": "Chat",
  "/explore": "Next token",
  "/tokens": "Tokens",
  "/funnel": "Data",
  "/training": "Training",
  "/lineage": "Lineage",
  "/report": "Report",
  "/lab": "Lab",
};

const summary = make("summary", { class: "quiet", text: "Look inside" });
const links = Object.entries(PAGES).map(([href, text]) =>
  make("li", {}, make("a", { href, text, "aria-current": location.pathname === href && "page" })),
);
const menu = make("details", { class: "menu" }, summary, make("ul", {}, ...links));
byId("navigation").append(menu);

document.addEventListener("click", (event) => menu.contains(event.target) || menu.removeAttribute("open"));
menu.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  menu.removeAttribute("open");
  summary.focus();
});
