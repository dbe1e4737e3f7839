// The page: from the state in its address to what is shown.

import { Problem, ask, csv } from "./api.js";
import { appsOf, budgets, budgetsTable } from "./budgets.js";
import { callsList, callsQuestion, callView } from "./calls.js";
import { clear } from "./charts.js";
import { controls } from "./controls.js";
import { h, say } from "./dom.js";
import { time } from "./format.js";
import * as gate from "./gate.js";
import { monthLine, thisMonth } from "./month.js";
import * as overview from "./overview.js";
import { DIMENSIONS, MEASURES, address, changed, question, read, splitsHours } from "./state.js";
import { status } from "./status.js";

const main = document.getElementById("main");
/** What operators entered, by app. */
const entered = new Map();
let running = new AbortController();
/** The question whose answer is shown, or is being waited for, and what it is stacked by. */
let shown = { asked: {}, by: "" };

const current = () => read(location.hash);
const panel = controls(current, go, { refresh: () => show(), download });

/** To another view, whose entry in the history knows that the one before it is of this page. */
function go(state) {
  if (address(state) === location.hash) return;
  history.pushState({ cameFromHere: true }, "", location.pathname + address(state));
  show();
}

/** Show the state of the address; what was still being asked for another is forgotten. */
async function show() {
  running.abort();
  running = new AbortController();
  const { signal } = running;
  const state = current();
  // A key that came in the address must not stay in it, nor in the history.
  history.replaceState(history.state, "", location.pathname + address(state));
  panel.show(state);
  const wasWithin = main.contains(document.activeElement);
  clear();
  main.replaceChildren(gate.loading());
  if (wasWithin) main.focus(); // what was used there is gone: the next Tab goes on from the new figures
  main.setAttribute("aria-busy", "true");
  try {
    await (state.call ? showCall(state, signal) : showOverview(state, signal));
    if (!signal.aborted) say("The figures are shown.");
  } catch (fault) {
    if (signal.aborted) return;
    if (isOfAll(fault)) return void shut(fault);
    if (!(fault instanceof Problem)) console.error(fault);
    main.replaceChildren(...told(fault instanceof Problem ? fault : new Problem("down", "The page has a fault; the browser’s console says more."), state));
    say(main.querySelector("h2")?.textContent ?? "");
  } finally {
    if (!signal.aborted) main.setAttribute("aria-busy", "false");
  }
}

/** Refusals of ranges that cut hours of UTC, which only a zone can make them do. */
const OF_ZONES = new Set(["zone_not_aggregated", "calls_not_kept", "too_much_to_read"]);

/** What stands in place of figures. Who must sign in, or type a key, is asked once, for the page as a whole. */
function told(fault, state, again = show) {
  if (isOfAll(fault)) {
    shut(fault);
    return [];
  }
  const inUtc = OF_ZONES.has(fault.code) && splitsHours(state) ? () => go({ ...state, tz: "UTC" }) : null;
  return [gate.problem(fault, again, inUtc)];
}

const isOfAll = ({ kind }) => kind === "key" || kind === "sign-in";

/** Take all figures away, since no more of them come. */
function shut(fault) {
  running.abort();
  clear();
  main.replaceChildren(gate.problem(fault, show));
  main.setAttribute("aria-busy", "false");
  say(main.querySelector("h2").textContent);
}

async function showCall(state, signal) {
  const nodes = await callView(state, signal, () => (history.state?.cameFromHere ? history.back() : go(changed(state, {}))));
  if (!signal.aborted) main.replaceChildren(...nodes.flat(Infinity));
}

async function showOverview(state, signal) {
  const { asked, whole: first, tops, series, stacked, unpriced } = overview.questions(state, signal);
  shown = { asked, by: state.by };
  const filtered = namesOf("app", rowsOf(asked, state.filters.app ?? []), signal);
  const scope = filtered.then(() => scopeOf(state, asked, signal));
  const limits = budgets(state, scope, signal).then(async (found) => {
    if (found) await namesOf("app", rowsOf(asked, appsOf(found)), signal);
    return found;
  });
  const month = state.range === "month" ? first.then(({ totals }) => totals) : first.then(() => thisMonth(state, signal));
  for (const each of [filtered, scope, limits, month]) each.catch((fault) => !signal.aborted && isOfAll(fault) && shut(fault)); // others are told where they are shown
  const [whole] = await Promise.all([first, filtered]);
  if (signal.aborted) return;
  const top = [heading(state, whole), status(series, signal), monthLine(state, month, signal)];
  const part = (title, promise, draw, classes = "") => {
    const section = h("section", { class: `card ${classes}` }, h("h2", {}, title), gate.loading());
    const fill = (...nodes) => section.replaceChildren(section.firstChild, ...nodes.flat(Infinity).filter(Boolean));
    const done = promise.then((answer) => !signal.aborted && fill(draw(answer)), (fault) => !signal.aborted && fill(...told(fault, state)));
    section.done = done;
    return section;
  };
  const withBudgets = (place) => limits.then((found) => {
    if (found && !signal.aborted) place(part("Budgets", limits, (known) => budgetsTable(known, state, display), "wide"));
  }, (fault) => {
    if (!signal.aborted) place(part("Budgets", Promise.reject(fault), () => [], "wide"));
  });
  if (!whole.totals.calls) {
    const cards = h("div", { class: "cards" });
    main.replaceChildren(...top, gate.nothing(Object.keys(state.filters).length > 0), cards);
    await withBudgets((card) => cards.append(card));
    return;
  }
  const group = (name) => Promise.all([tops[name], namesOf(name, tops[name], signal)]).then(([answer]) => answer);
  const app = state.filters.app?.length === 1 ? state.filters.app[0] : null;
  const calls = callsQuestion(asked);
  const parts = [
    part(`${MEASURES[state.measure]} over time`, Promise.all([series, stacked, namesOf(state.by, first, signal)]), ([all, found]) => overview.overTime(state, all, found, display, go), "wide"),
    ...[["app", "Top apps"], ["model", "Top models"]].filter(([name]) => state.filters[name]?.length !== 1).map(([name, title]) =>
      part(title, group(name), (answer) => [overview.topTable(state, name, answer, display, go), asCsv(`All ${name}s as CSV`, "usage", {
        ...asked, granularity: "total", group_by: name, compare: answer.previous ? "previous" : null,
      }, `${name}s.csv`)])),
    part("Tokens", series, overview.tokenKinds),
    part("Calls", series, overview.callsOverTime),
    part("Latency", series, overview.latencyOverTime),
    part("How usage is known", unpriced, (found) => overview.trust(whole.totals, found)),
    app !== null && part("Calls, one by one", callsList(calls, state, signal, go, told), (list) => [list, asCsv("These calls as CSV", "calls", calls, "calls.csv")], "wide"),
  ].filter(Boolean);
  const cards = h("div", { class: "cards" }, parts);
  main.replaceChildren(...top, overview.tiles(whole), cards);
  withBudgets((card) => parts[0].after(card));
  await Promise.all(parts.map((each) => each.done));
}

/** What is looked at, in words, with the range that was answered: also on paper, where there are no controls. */
function heading(state, { from, to }) {
  const told = Object.entries(state.filters).map(([name, values]) => `${DIMENSIONS[name]}: ${values.map((value) => display(name, value)).join(", ")}`);
  const range = `${time(from, state.tz, "minute")} – ${time(to, state.tz, "minute")}, ${state.tz}`;
  return h("div", { class: "heading" },
    told.length ? h("h2", {}, told.join("; ")) : h("h2", {}, "All that you may see"),
    h("p", { class: "quiet" }, range));
}

/** A name as people know it; the app's own stands in its title. */
function display(dimension, name) {
  if (name === null) return overview.NOT_TOLD[dimension] ?? "(not told)";
  return (dimension === "app" && entered.get(name)?.display_name) || name;
}

/** Apps as an answer of the range would name them. */
const rowsOf = ({ from, to }, apps) => ({ from, to, rows: apps.map((app) => ({ app })) });

/** What operators entered of the apps that are shown. */
async function namesOf(dimension, answer, signal) {
  if (dimension !== "app") return;
  const { from, to, rows } = await answer;
  const unknown = rows.map((row) => row.app).filter((app) => !entered.has(app));
  if (unknown.length) await enter({ from, to, app: unknown }, signal);
}

async function enter(asked, signal) {
  const { apps } = await ask("apps", asked, signal);
  for (const entry of apps) entered.set(entry.app, entry);
}

/** The apps and cost centres that the filters are about, each null for all: of an app its cost centre, of that its apps. */
async function scopeOf(state, { to }, signal) {
  const { app: apps = null, cost_center: centres = null } = state.filters;
  const centreOf = (app) => entered.get(app)?.cost_center ?? null;
  if (centres === null) return { apps, centres: apps && apps.map(centreOf).filter(Boolean) };
  await enter({ from: new Date(Date.parse(to) - 1).toISOString(), to }, signal); // all that is entered, and who had calls of late
  const within = [...entered.keys()].filter((app) => centres.includes(centreOf(app)) && (apps === null || apps.includes(app)));
  return { apps: within, centres: apps === null ? centres : [...new Set(within.map(centreOf))] };
}

/** What is charted as a file: all of its groups, over the very range of the chart. */
function download() {
  return saved("usage", { ...shown.asked, group_by: shown.by }, `usage-by-${shown.by}.csv`);
}

const asCsv = (title, ...of) => h("p", {}, h("button", { type: "button", click: () => saved(...of) }, title));

async function saved(path, parameters, name) {
  say("The CSV is being made.");
  document.getElementById("not-saved")?.remove();
  try {
    save(await csv(path, parameters), name);
    say("The CSV is saved.");
  } catch (fault) {
    if (isOfAll(fault)) shut(fault);
    else main.prepend(h("div", { id: "not-saved" }, gate.problem(fault, () => saved(path, parameters, name))));
  }
}

function save(text, name) {
  const url = URL.createObjectURL(new Blob([text], { type: "text/csv;charset=utf-8" }));
  h("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

document.getElementById("skip").addEventListener("click", (event) => {
  event.preventDefault();
  main.focus();
});
document.getElementById("controls").append(panel.form);
addEventListener("hashchange", show);
show();
