// Reports, as they were written: in a frame that runs nothing.

import { byId, make } from "./dom.js";
import { attempt, choose, read } from "./inside.js";

await attempt(async () => {
  const { data } = await read("/v1/reports");
  if (!data.length) byId("content").append(make("p", { text: "No report is known here: start the server with --runs FOLDER." }));
  await choose(data, (report) => report.id, (id) => {
    const { href } = data.find((report) => report.id === id);
    byId("content").replaceChildren(make("iframe", { src: href, title: `The report ${id}`, class: "report", sandbox: true }));
  });
});
