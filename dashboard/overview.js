// The overview: what was spent on what over time, by whom, and how far the figures can be trusted.

import { ask, askDated } from "./api.js";
import { plus, minus } from "./amounts.js";
import { chart } from "./charts.js";
import { figure, h, table } from "./dom.js";
import * as f from "./format.js";
import { DIMENSIONS, MEASURES, changed, question } from "./state.js";
import { isUnpriced, mark, unpriced as notPriced } from "./unpriced.js";

const MONEY = ["cost", "approximate_cost", "cache_savings", "unpriced_tokens", "unpriced_audio_seconds"];
const TOKENS = ["prompt_tokens", "cached_prompt_tokens", "completion_tokens", "reasoning_tokens", "total_tokens", "estimated_total_tokens"];
const STATES = ["usage_reported", "usage_estimated", "usage_missing"];
const REASONS = {
  missing_not_requested: "a stream whose client did not ask for usage",
  missing_truncated: "the record was cut before the usage",
  missing_client_disconnected: "the client hung up",
  missing_error_response: "the provider or the gateway answered with an error",
  missing_not_metered: "the operation has no tokens",
  missing_unrecognised: "no usage that is known, or none yet",
};
const WHOLE = [...MONEY, ...TOKENS, ...STATES, ...Object.keys(REASONS), "calls", "failed_calls", "latency_ms_p50", "latency_ms_p95",
  "disagreeing_totals", "exceeding_parts"].join();
const TOP = 10;
const SERIES = 8;
const WITHOUT_COMPARISON = new Set(["calls_not_kept", "range_too_long", "too_much_to_read", "dimension_not_aggregated", "zone_not_aggregated"]);

/**
 * What the view needs of the API. The answers are promises, so that each part is shown as it comes; what the first chart
 * does not need is asked when that has its answers. `whole` has the totals.
 */
export function questions(state, signal) {
  const asked = question(state);
  const { granularity: _, ...range } = asked;
  const top = (group) => compared({
    ...range, granularity: "total", group_by: group, order_by: `-${state.measure}`, limit: TOP, figures: WHOLE,
  }, signal);
  const whole = top(state.by);
  const series = askDated("usage", { ...asked, group_by: "none", fill: "zero", figures: WHOLE }, signal);
  const stacked = whole.then((answer) => {
    const names = answer.rows.filter((row) => row[state.by] !== null && Number(row[state.measure]) > 0)
      .map((row) => row[state.by]).slice(0, SERIES);
    if (!names.length) return { names, rows: [] };
    return ask("usage", { ...asked, group_by: state.by, [state.by]: names, figures: state.measure }, signal)
      .then(({ rows }) => ({ names, rows }));
  });
  const charted = Promise.allSettled([series, stacked]);
  const tops = Object.fromEntries(["app", "model"].map((group) => [group, group === state.by ? whole : charted.then(() => top(group))]));
  const unpriced = Promise.all([whole, charted]).then(([{ totals }]) => (isUnpriced(totals) ? ask("usage", {
    ...range, granularity: "total", group_by: "model", order_by: "-unpriced_tokens", limit: TOP, figures: "calls,unpriced_tokens,unpriced_audio_seconds",
  }, signal).then(({ rows }) => rows.filter(isUnpriced)) : []));
  for (const each of [...Object.values(tops), whole, series, stacked, unpriced]) each.catch(() => {}); // told where it is shown
  return { asked, whole, tops, series, stacked, unpriced };
}

/** With the range before, unless that is more than the API can answer. */
async function compared(parameters, signal) {
  try {
    return await ask("usage", { ...parameters, compare: "previous" }, signal);
  } catch (problem) {
    if (!WITHOUT_COMPARISON.has(problem.code)) throw problem;
    return ask("usage", parameters, signal);
  }
}

/** The figures of the whole range, each with its change. */
export function tiles(answer) {
  const { totals } = answer;
  const all = { ...totals, previous: answer.previous?.totals, change: answer.change };
  const tile = (title, name, shown, exact, ...more) =>
    h("div", { class: "tile" }, h("dt", {}, title), h("dd", { class: "big" }, figure(shown, exact, name)), more.filter(Boolean).map((each) => h("dd", {}, each)));
  const failed = totals.calls ? totals.failed_calls / totals.calls : null;
  return h("dl", { class: "tiles" },
    tile("Cost", "cost", f.dollars(totals.cost, { compact: true }), totals.cost, than(all, "cost"),
      Number(totals.approximate_cost) !== 0 && [figure(f.dollars(totals.approximate_cost), totals.approximate_cost, "approximate_cost"), " of it approximate"],
      totals.unpriced_tokens > 0 && h("span", { class: "warn" }, figure(f.brief(totals.unpriced_tokens), totals.unpriced_tokens, "unpriced_tokens"), " tokens not priced"),
      totals.unpriced_audio_seconds > 0 && h("span", { class: "warn" }, figure(f.precise(totals.unpriced_audio_seconds), totals.unpriced_audio_seconds, "unpriced_audio_seconds"), " seconds of audio not priced")),
    tile("Tokens", "total_tokens", f.brief(totals.total_tokens), totals.total_tokens, than(all, "total_tokens"),
      totals.estimated_total_tokens ? ["and ", figure(f.brief(totals.estimated_total_tokens), totals.estimated_total_tokens, "estimated_total_tokens"), " estimated"] : null),
    tile("Saved by caching", "cache_savings", f.dollars(totals.cache_savings, { compact: true }), totals.cache_savings, than(all, "cache_savings"),
      [f.share(totals.prompt_tokens ? totals.cached_prompt_tokens / totals.prompt_tokens : null), " of the prompt was cached"]),
    tile("Calls", "calls", f.brief(totals.calls), totals.calls, than(all, "calls"),
      [figure(f.brief(totals.failed_calls), totals.failed_calls, "failed_calls"), ` failed (${f.share(failed)})`]),
    tile("Latency, median", "p50", f.milliseconds(totals.latency_ms.p50), totals.latency_ms.p50, ["95 % within ", figure(f.milliseconds(totals.latency_ms.p95), totals.latency_ms.p95, "p95")]),
    tile("Usage reported", "coverage", f.share(answer.coverage), answer.coverage,
      totals.usage_missing ? h("span", { class: "warn" }, figure(f.brief(totals.usage_missing), totals.usage_missing, "usage_missing"), " calls without usage") : "by every call"),
  );
}

const than = (row, name) => (f.growth(row, name) === null ? null : [change(row, name), " on the period before"]);

/** By how much a figure grew; more is neither good nor bad. New is only what had no calls before. */
function change(row, name) {
  const grown = f.growth(row, name);
  if (grown === null) return row.previous ? h("span", { class: "change", title: whyUnknown(row, name) }, notGrown(row, name)) : null;
  const before = ["cost", "cache_savings"].includes(name) ? f.dollars(row.previous[name]) : f.count(row.previous[name]);
  return h("span", { class: "change", title: `${before} in the period before` }, f.grown(grown));
}

function notGrown(row, name) {
  if (!row.previous.calls) return row.calls ? "new" : "–";
  return row.change[name] === null ? "not known" : "–";
}

function whyUnknown({ previous, ...row }, name) {
  if (!previous.calls || row.change[name] !== null) return null;
  return [[notPriced(previous), "in the period before"], [notPriced(row), "now"]].filter(([told]) => told).map((told) => told.join(" ")).join("; ");
}

/** The measure over time, stacked; the rest of the total is a series of its own. */
export function overTime(state, series, { names, rows }, display, go) {
  const { measure, by } = state;
  const total = series.totals[measure];
  const byTokens = () => h("button", { type: "button", class: "link", click: () => go(changed(state, { measure: "total_tokens" })) }, "Show tokens");
  if (total === null) return h("p", {}, `Nothing here has a price: ${notPriced(series.totals) ?? "what it cost is not known"}. `, byTokens());
  const starts = series.rows.map((row) => row.start);
  const exact = Object.fromEntries(names.map((name) => [name, new Map(rows.filter((row) => row[by] === name).map((row) => [row.start, row[measure]]))]));
  const others = series.rows.map((row) => names.reduce((left, name) => minus(left, exact[name].get(row.start)), String(row[measure] ?? 0)));
  const show = (value) => (measure === "cost" ? f.dollars(value) : f.count(Number(value ?? 0)));
  const shown = names.map((name, number) => {
    const values = starts.map((start) => exact[name].get(start));
    return { name: display(by, name), colour: `s${number}`, values: values.map((value) => Number(value ?? 0)), show: (at) => (values[at] === undefined ? "–" : show(values[at])), of: name };
  });
  if (others.some((value) => Number(value) !== 0)) {
    shown.push({ name: names.length ? "All others" : "All", colour: "others", values: others.map(Number), show: (at) => show(others[at]), of: null });
  }
  const drawn = chart({
    title: `${MEASURES[measure]} by ${DIMENSIONS[by].toLowerCase()}`,
    told: `In all ${show(total)}; most: ${shown.slice(0, 3).map((each) => each.name).join(", ")}.`,
    labels: labels(series),
    series: shown,
    axis: (value, ticks) => (measure === "cost" ? f.dollarsOfTick(value, ticks) : f.brief(value)),
    counted: measure !== "cost",
    pick: (number) => shown[number]?.of !== null && (() => go(changed(state, { filters: { [by]: [shown[number].of] }, by: by === "app" ? "model" : "app" }))),
  });
  return [drawn, measure === "cost" && isUnpriced(series.totals) && h("p", { class: "warn" }, `Not in this chart: ${notPriced(series.totals)}. `, byTokens())];
}

function labels(series) {
  return f.axisTimes(series.rows.map((row) => row.start), series.tz, series.granularity);
}

/** What tokens were, apart. The rest of the prompt is what was not cached. */
export function tokenKinds(series) {
  const rows = series.rows;
  const kind = (name, colour, of) => ({ name, colour, values: rows.map((row) => Math.max(of(row), 0)), show: (at) => f.count(of(rows[at])) });
  return chart({
    title: "Tokens by kind",
    told: `Prompt ${f.count(series.totals.prompt_tokens)}, of it cached ${f.count(series.totals.cached_prompt_tokens)}; completion ${f.count(series.totals.completion_tokens)}.`,
    labels: labels(series),
    series: [
      kind("Prompt, not cached", "s0", (row) => row.prompt_tokens - row.cached_prompt_tokens),
      kind("Prompt, cached", "s5", (row) => row.cached_prompt_tokens),
      kind("Completion", "s1", (row) => row.completion_tokens),
    ],
    axis: (value) => f.brief(value),
    counted: true,
  });
}

export function callsOverTime(series) {
  const rows = series.rows;
  return chart({
    title: "Calls",
    told: `${f.count(series.totals.calls)} calls, ${f.count(series.totals.failed_calls)} of them failed.`,
    labels: labels(series),
    series: [
      { name: "Succeeded", colour: "s0", values: rows.map((row) => row.calls - row.failed_calls), show: (at) => f.count(rows[at].calls - rows[at].failed_calls) },
      { name: "Failed", colour: "bad", values: rows.map((row) => row.failed_calls), show: (at) => f.count(rows[at].failed_calls) },
    ],
    axis: (value) => f.brief(value),
    counted: true,
  });
}

export function latencyOverTime(series) {
  const line = (name, colour, part) => ({
    name, colour, values: series.rows.map((row) => row.latency_ms[part]), show: (at) => f.milliseconds(series.rows[at].latency_ms[part]),
  });
  return chart({
    title: "Latency",
    told: `Half of the calls within ${f.milliseconds(series.totals.latency_ms.p50)}, 95 % within ${f.milliseconds(series.totals.latency_ms.p95)}.`,
    kind: "line",
    labels: labels(series),
    series: [line("Median (p50)", "s0", "p50"), line("95th percentile", "s1", "p95")],
    axis: (value) => f.milliseconds(value),
  });
}

/** The groups that come to most, with their change. */
export function topTable(state, group, answer, display, go) {
  const most = Math.max(...answer.rows.map((row) => Number(row[state.measure] ?? 0)), 0);
  const link = (row) => (row[group] === null
    ? display(group, null)
    : h("button", { type: "button", class: "link", click: () => go(changed(state, { filters: { [group]: [row[group]] }, by: group === "app" ? "model" : "app" })) }, display(group, row[group])));
  const bar = (row) => h("meter", { min: 0, max: most || 1, value: Number(row[state.measure] ?? 0), "aria-hidden": "true" });
  const columns = [
    { title: DIMENSIONS[group], of: (row) => h("span", { class: "name", title: row[group] }, link(row)) },
    { title: h("span", { class: "unseen" }, "Share"), of: bar },
    { title: "Cost", number: true, of: (row) => [figure(f.dollars(row.cost), row.cost ?? "", "cost"), row.cost !== null && mark(row)] },
    { title: "Tokens", number: true, of: (row) => figure(f.brief(row.total_tokens), row.total_tokens, "total_tokens") },
    { title: "Calls", number: true, of: (row) => figure(f.brief(row.calls), row.calls, "calls") },
    ...(answer.previous ? [{ title: "Change", number: true, of: (row) => change(row, state.measure) ?? "–" }] : []),
  ];
  const byTokens = () => h("button", { type: "button", class: "link", click: () => go(changed(state, { measure: "total_tokens" })) }, "Most tokens first");
  return [
    table(`By ${DIMENSIONS[group].toLowerCase()}, most ${MEASURES[state.measure].toLowerCase()} first`, columns, answer.rows, { hidden: true }),
    answer.next_cursor && h("p", { class: "quiet" }, "All others: ", others(answer, state.measure), state.measure === "cost" && isUnpriced(restOf(answer)) && [" ", byTokens()]),
  ];
}

/** What the groups beyond the list come to. Those without any price stand last by cost, however much they used. */
function others(answer, measure) {
  const rest = restOf(answer);
  if (measure !== "cost") return `${f.count(Number(left(answer, measure)))}. The CSV has them all.`;
  const beyond = `${f.count(left(answer, "total_tokens"))} tokens`;
  if (!isUnpriced(rest)) return `${f.dollars(left(answer, "cost"))}, ${beyond}. The CSV has them all.`;
  const known = Number(left(answer, "cost")) === 0 ? "not priced" : [f.dollars(left(answer, "cost")), mark(rest)];
  return [known, `, ${beyond}; `, h("span", { class: "warn" }, notPriced(rest)), ". The CSV has them all."];
}

const left = (answer, name) => minus(answer.totals[name], answer.rows.reduce((sum, row) => plus(sum, row[name]), "0"));

function restOf(answer) {
  return Object.fromEntries(["unpriced_tokens", "unpriced_audio_seconds"].map((name) => [name, Number(left(answer, name))]));
}

/** What is known of the calls' usage, and why not. */
export function trust(totals, unpriced) {
  const states = { usage_reported: "reported by the provider", usage_estimated: "estimated, apart from all sums", usage_missing: "missing" };
  const rows = [...Object.entries(states), ...Object.entries(REASONS).map(([name, told]) => [name, `– ${told}`])]
    .filter(([name]) => totals[name] || name in states);
  const doubts = [["disagreeing_totals", "calls whose provider’s own total disagrees"], ["exceeding_parts", "calls with more of a part than of its whole"]]
    .filter(([name]) => totals[name]);
  return [
    table("Usage of the calls", [
      { title: "Usage", of: ([, told]) => told },
      { title: "Calls", number: true, of: ([name]) => figure(f.count(totals[name]), totals[name], name) },
      { title: "Share", number: true, of: ([name]) => f.share(totals.calls ? totals[name] / totals.calls : null) },
    ], rows, { hidden: true }),
    doubts.map(([name, told]) => h("p", { class: "warn" }, `${f.count(totals[name])} ${told}.`)),
    unpriced.length ? [
      h("h3", {}, "Not priced"),
      table("Models without a price", [
        { title: "Model", of: (row) => row.model ?? NOT_TOLD.model },
        { title: "Calls", number: true, of: (row) => f.count(row.calls) },
        { title: "Tokens", number: true, of: (row) => f.count(row.unpriced_tokens) },
        { title: "Audio seconds", number: true, of: (row) => f.count(row.unpriced_audio_seconds) },
      ], unpriced, { hidden: true }),
    ] : null,
  ];
}

export const NOT_TOLD = { model: "(model not told)", cost_center: "(no cost centre)" };
