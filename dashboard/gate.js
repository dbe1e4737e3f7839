// What is shown instead of figures: waiting, nothing, a key to type, signing in, not allowed, a question refused, no answer.

import { forgetKey, hasKey, keepKey, signInAddress } from "./api.js";
import { h } from "./dom.js";

const notice = (name, title, ...told) => h("section", { class: `notice ${name}` }, h("h2", {}, title), ...told);

const SLOW = 15_000;

export function loading() {
  const line = h("p", { class: "loading" }, "Loading…");
  setTimeout(() => line.append(" The API has not answered yet."), SLOW);
  return line;
}

export const nothing = (filtered) => notice("empty", "No calls here",
  h("p", {}, filtered ? "No calls in this range pass the filters." : "No calls in this range that you may see. Choose a longer range; if none were ever counted, docs/capture.md says how usage gets here."));

/** What a Problem means to the one who looks. `again` asks once more; `inUtc`, if that may help, asks in UTC. */
export function problem(fault, again, inUtc = null) {
  const retry = h("button", { type: "button", click: again }, "Try again");
  switch (fault.kind) {
    case "key": return keyForm(again);
    case "sign-in": return notice("sign-in", "Sign in", h("p", {}, "Figures are shown to those who sign in; each sees what they may see."), h("p", {}, h("a", { class: "button", href: signInAddress() }, "Sign in")));
    case "forbidden": return notice("forbidden", "Not allowed", h("p", {}, `You may not see this: ${fault.message || "the API refuses it"}.`));
    case "missing": return notice("missing", "Not there", h("p", {}, fault.message || "The API does not know this."));
    case "refused": return notice("refused", "This cannot be answered", h("p", {}, fault.message || "The API refuses the question."),
      inUtc && h("p", {}, h("button", { type: "button", click: inUtc }, "Show it in UTC")));
    default: return notice("down", "No answer", h("p", {}, fault.message), h("p", {}, retry));
  }
}

/** A key is typed once and kept for the session of this tab. */
function keyForm(again) {
  const wrong = hasKey();
  forgetKey();
  const input = h("input", { type: "password", id: "key", autocomplete: "off", spellcheck: "false", required: true });
  const form = h("form", {
    submit: (event) => {
      event.preventDefault();
      if (!input.value.trim()) return;
      keepKey(input.value.trim());
      input.value = "";
      again();
    },
  }, h("label", { for: "key" }, "Key of the function app (a host key)"), input, h("button", {}, "Show the figures"));
  return notice("key", "A key, please", wrong ? h("p", { class: "bad", role: "alert" }, "The API does not take this key.") : null, form,
    h("p", { class: "quiet" }, "It stays in this tab until you close it, and is sent to this API only, in a header."));
}
