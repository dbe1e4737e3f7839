// An app's calls, newest first, and all that is known of one.

import { ask } from "./api.js";
import { h, table } from "./dom.js";
import * as f from "./format.js";
import { DIMENSIONS, ofCall, question } from "./state.js";

const PAGE = 25;
/** A page of calls reads the calls of its day: days of a year would be read for nothing. */
const DAYS = 7;
/** One call of one app is looked for in so many days, if its address does not say which. */
const LOOKED_THROUGH = 31;
const DAY = 86_400_000;

/** What to ask /api/calls for: the last days of what is asked of /api/usage, of the one app that is filtered for. */
export function callsQuestion({ from, to, tz: _tz, granularity: _granularity, cost_center: _center, ...filters }) {
  const first = Math.max(Date.parse(from), Math.min(Date.parse(to), Date.now()) - DAYS * DAY);
  return { ...filters, from: new Date(first).toISOString(), to };
}

/** The list of what is asked for, which grows by a page at a time. Raises Problem for the first; `told` gives nodes for others. */
export async function callsList(asked, state, signal, go, told) {
  const list = h("div");
  const shown = [];
  const another = (cursor) => more(cursor).catch((fault) => {
    if (!signal.aborted) list.append(...told(fault, state, () => another(cursor)));
  });
  async function more(cursor) {
    const answer = await ask("calls", { ...asked, limit: PAGE, cursor }, signal);
    shown.push(...answer.calls);
    const next = answer.next_cursor && h("button", { type: "button", click: () => another(answer.next_cursor) }, "Show more");
    const since = `since ${f.time(asked.from, state.tz, "moment")}`;
    list.replaceChildren(...(shown.length
      ? [table(`Calls ${since}, newest first`, columns(state, go), shown), next ?? ""]
      : [h("p", { class: "quiet" }, `No calls ${since}.`)]));
  }
  await more(null);
  return list;
}

function columns(state, go) {
  const told = (value) => (value === null ? "–" : f.count(value));
  return [
    { title: "Time", of: (call) => h("button", { type: "button", class: "link", click: () => go(ofCall(state, call)) }, f.time(call.timestamp, state.tz, "moment")) },
    { title: "Model", of: (call) => call.model ?? "–" },
    { title: "Status", of: (call) => h("span", { class: call.failed && "bad" }, String(call.status ?? (call.failed ? "failed" : "–"))) },
    { title: "Usage", of: (call) => (call.missing_reason ? `${call.usage_state}: ${call.missing_reason.replaceAll("_", " ")}` : call.usage_state) },
    { title: "Prompt", number: true, of: (call) => told(call.usage.prompt_tokens) },
    { title: "Cached", number: true, of: (call) => told(call.usage.cached_prompt_tokens) },
    { title: "Completion", number: true, of: (call) => told(call.usage.completion_tokens) },
    { title: "Duration", number: true, of: (call) => f.milliseconds(call.duration_ms) },
  ];
}

/** Where to look for it: in the days that the address fixes. A range that goes on may have left the call behind since. */
function callSpan(state) {
  const { from, to } = question(state);
  const early = new Date(Date.parse(to) - LOOKED_THROUGH * DAY).toISOString();
  if (state.range === "custom") return { from: Date.parse(from) < Date.parse(early) ? early : from, to };
  return state.filters.app?.length === 1 ? { from: early, to } : callsQuestion(question(state));
}

/** One call, and why it was counted as it was. Raises Problem. */
export async function callView(state, signal, back) {
  const { from, to } = callSpan(state);
  const answer = await ask(`calls/${encodeURIComponent(state.call)}`, { from, to, app: state.filters.app }, signal);
  const entries = [...answer.calls, ...(answer.waiting ? [answer.waiting] : [])];
  return [
    h("p", {}, h("button", { type: "button", click: back }, "← Back")),
    h("h2", {}, "Call ", h("code", {}, answer.request_id)),
    entries.map((call) => entry(call, state.tz)),
  ];
}

function entry(call, tz) {
  const { usage, estimate } = call;
  const known = [
    ["Time", f.time(call.timestamp, tz, "moment")], ["App", call.app], ["Model", call.model],
    ...Object.entries(DIMENSIONS).filter(([name]) => name in call && !["app", "model"].includes(name)).map(([name, title]) => [title, call[name]]),
    ["Duration", call.duration_ms === null ? null : f.milliseconds(call.duration_ms)],
    ["First byte", call.first_byte_ms === null || call.first_byte_ms === undefined ? null : f.milliseconds(call.first_byte_ms)],
    ["Stage", call.stage],
    ["Counted in", call.counted_in && f.time(call.counted_in.hour, tz, "hour")],
    ["Moved to", call.moved_to && `${call.moved_to.app}, ${f.time(call.moved_to.timestamp, tz, "moment")}`],
    ["Hub", call.origin && `${call.origin.hub}, partition ${call.origin.partition}, sequence number ${call.origin.sequence_number}`],
  ].filter(([, value]) => value !== null && value !== undefined && value !== "");
  const counts = Object.entries({ ...usage, ...(estimate ?? {}) }).filter(([, value]) => value !== null);
  return h("section", { class: "card call" },
    call.why ? [h("h3", {}, "Why it was counted so"), h("ul", { class: "why" }, call.why.map((reason) => h("li", {}, reason)))] : h("h3", {}, "Waits for the gateway’s log, and is not counted yet"),
    h("div", { class: "columns" },
      h("div", {}, h("h3", {}, "Usage: ", call.usage_state, call.missing_reason ? `, ${call.missing_reason.replaceAll("_", " ")}` : ""),
        counts.length ? h("dl", { class: "pairs" }, counts.map(([name, value]) => [h("dt", {}, name.replaceAll("_", " ")), h("dd", { class: "number" }, f.count(value))])) : h("p", { class: "quiet" }, "None is known.")),
      h("div", {}, h("h3", {}, "What is known of it"), h("dl", { class: "pairs" }, known.map(([title, value]) => [h("dt", {}, title), h("dd", {}, String(value))])))));
}
