// What is looked up about an answer once it is whole: its Markdown, and where its words stand in the pages.

import { markdown, Refused, trace } from "./api.js";
import { server } from "./models.js";
import { stayAtEnd } from "./streaming.js";
import { thread } from "./thread.js";

/** Format an answer, and follow it back to the pages. */
export async function look(answer, node) {
  if (!answer.said) return;
  await orSaid(answer, async () => answer.format(await markdown(answer.said), server.runsCode));
  const asked = thread.tree.branch(node.parent).findLast((one) => one.message.role === "user");
  await follow(answer, asked?.message.content ?? "");
}

/** Ask where the words of an answer to `question` stand in the pages. */
async function follow(answer, question) {
  answer.followed = true;
  if (answer.model.gone) return answer.follow({ available: false, reason: "tracing unavailable: this model is not served now" });
  await orSaid(answer, async () => {
    const found = await trace(answer.model.id, answer.said, question);
    stayAtEnd(() => answer.follow(found));
  });
}

/** Do it; what the server refuses is said at the answer. */
async function orSaid(answer, action) {
  try {
    await action();
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    answer.flag(error.message, "failure");
  }
}
