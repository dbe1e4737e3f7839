// What this month has cost so far, and comes to at its end: whatever range is looked at.

import { ask } from "./api.js";
import { figure, h } from "./dom.js";
import * as f from "./format.js";
import { monthBehind, question } from "./state.js";
import { mark } from "./unpriced.js";

/** Before so much of a month is over (about a day), it says nothing of the rest. */
const TOO_EARLY = 1 / 31;

/** The figures of this month so far, with the filters of the state. Raises Problem. */
export async function thisMonth(state, signal) {
  const asked = { ...question({ ...state, range: "month" }), granularity: "total", group_by: "none" };
  return (await ask("usage", { ...asked, figures: "cost,unpriced_tokens,unpriced_audio_seconds" }, signal)).totals;
}

/** A line that is filled when they come. */
export function monthLine(state, figures, signal) {
  const line = h("p", { class: "month" });
  const name = f.time(Date.now(), state.tz, "month");
  figures.then((totals) => signal.aborted || line.append(...told(name, totals, monthBehind(state.tz))),
    (problem) => signal.aborted || line.append(h("span", { class: "quiet" }, `${name} so far is not known: ${problem.message}`)));
  return line;
}

function told(name, totals, behind) {
  const so = [`${name} so far: `, figure(f.dollars(totals.cost, { compact: true }), totals.cost ?? "", "month_cost"), mark(totals)];
  if (totals.cost === null || behind < TOO_EARLY) return so.filter(Boolean);
  const end = Number(totals.cost) / behind;
  return [...so, "; ≈ ", f.dollars(end, { compact: true }), mark(totals), " by the month’s end at this rate"].filter(Boolean);
}
