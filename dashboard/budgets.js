// Budgets with what is used and projected of them, and the alerts that were raised.

import { ask } from "./api.js";
import { figure, h, table } from "./dom.js";
import * as f from "./format.js";
import { mark } from "./unpriced.js";

const SHOWN = 10;
/** Values that the API takes for a filter at most. */
const NAMED = 100;
/** Budgets of a page: well below 1 MB, however long their names and webhooks are. */
const PAGE = 250;

/**
 * What the API knows of budgets and alerts, null where it has none of either: all, or those of the apps that are
 * filtered for, with those of their cost centres (`centres`, a promise) and of everything. Raises Problem.
 */
export async function budgets(state, centres, signal) {
  const optional = (path, parameters) => ask(path, parameters, signal).catch((problem) => {
    if (["missing", "forbidden"].includes(problem.kind)) return null;
    throw problem;
  });
  const alertsOf = async (filter) => (await optional("alerts", { ...filter, limit: SHOWN }))?.alerts ?? [];
  const { app: apps, cost_center: named, model: models } = state.filters;
  const found = [];
  for (let cursor = null, page; page === undefined || cursor; cursor = page?.next_cursor) {
    page = await optional("budgets", { limit: PAGE, cursor });
    found.push(...(page?.budgets ?? []));
  }
  const ofApps = apps ? await centres : named;
  const covers = (budget) => (!models || budget.model === null || models.includes(budget.model))
    && (budget.app !== null ? !apps || apps.includes(budget.app) : budget.cost_center === null || !ofApps || ofApps.includes(budget.cost_center));
  const all = found.filter(covers);
  const wider = all.filter((budget) => budget.app === null).map((budget) => budget.id).slice(0, NAMED);
  const raised = await Promise.all(apps ? [alertsOf({ app: apps }), wider.length ? alertsOf({ budget: wider }) : []] : [alertsOf({})]);
  const alerts = [...new Map(raised.flat().map((alert) => [alert.id, alert])).values()]
    .toSorted((a, b) => Date.parse(b.raised) - Date.parse(a.raised)).slice(0, SHOWN);
  return all.length || alerts.length ? { all: all.toSorted(byNeed), alerts } : null;
}

/** How much is used in percent; null is not 0: nobody knows, as without a price. */
const percentOf = ({ status }) => status?.percent ?? null;

/** Those that nobody knows how much is used of come first, then those that are used up most. */
function byNeed(a, b) {
  const [first, second] = [percentOf(a) ?? Infinity, percentOf(b) ?? Infinity];
  return first === second ? 0 : second - first;
}

/** The apps that are named in what is shown at first. */
export const appsOf = ({ all, alerts }) =>
  [...new Set([...all.slice(0, SHOWN), ...alerts].map((each) => each.app).filter((app) => app !== null))];

/** `display` tells names of apps as people know them. */
export function budgetsTable({ all, alerts }, state, display) {
  const rest = all.slice(SHOWN);
  const unknown = rest.filter((budget) => percentOf(budget) === null).length;
  return [
    all.length > 0 && tableOf("Budgets", all.slice(0, SHOWN), display),
    rest.length > 0 && h("details", {}, h("summary", {}, `${f.count(rest.length)} more${unknown ? `, of ${f.count(unknown)} of them nobody knows how much is used` : ", used less"}`),
      tableOf("More budgets", rest, display)),
    alerts.length > 0 && [h("h3", {}, "Latest alerts"), h("ul", { class: "alerts" }, alerts.map((alert) => h("li", {}, told(alert, state.tz, display))))],
  ];
}

function tableOf(caption, budgets, display) {
  return table(caption, [
    { title: "Budget", of: (budget) => [budget.id, h("div", { class: "quiet", title: budget.app }, covered(budget, display))] },
    { title: "Used", of: used },
    { title: "Actual", number: true, of: (budget) => amount(budget, budget.status?.actual) },
    { title: "Projected", number: true, of: (budget) => h("span", { class: isMore(budget) && "warn" }, amount(budget, budget.status?.projected)) },
    { title: "Limit", number: true, of: (budget) => [amount(budget, budget.limit), ` a ${budget.period}`] },
    { title: "Left", number: true, of: (budget) => (budget.status ? `${f.count(Math.ceil(budget.status.days_left))} d` : "–") },
  ], budgets, { hidden: true });
}

function covered(budget, display) {
  const whose = budget.app !== null ? display("app", budget.app) : budget.cost_center !== null ? `cost centre ${budget.cost_center}` : "everything";
  return [whose, budget.model].filter(Boolean).join(", ");
}

function amount({ unit }, value) {
  if (value === null || value === undefined) return "–";
  return figure(unit === "tokens" ? f.brief(Number(value)) : f.dollars(value, { compact: true }), value);
}

function used(budget) {
  const { status } = budget;
  if (!status) return h("span", { class: "warn" }, "not evaluated yet");
  if (status.fault) return h("span", { class: "bad" }, `unknown: ${status.fault}`);
  const percent = percentOf(budget);
  if (percent === null) return [h("span", { class: "warn" }, "not priced"), mark(status)];
  return [h("meter", { min: 0, max: 100, value: Math.min(percent, 100), "aria-hidden": "true" }), " ",
    h("span", { class: percent >= 100 ? "bad" : percent >= 80 && "warn" }, f.share(percent / 100)), mark(status)];
}

const isMore = ({ limit, status }) => status && status.projected !== null && Number(status.projected) > Number(limit);

/** An alert in a line. Its summary begins with the app's own name, if it is of one. */
function told(alert, tz, display) {
  const { app, budget, summary, threshold } = alert;
  const words = app !== null && summary.startsWith(app)
    ? [h("span", { title: app }, display("app", app)), summary.slice(app.length)] : [summary];
  return [
    h("time", { datetime: alert.raised, class: "quiet" }, f.time(alert.raised, tz, "minute")), " ",
    threshold && h("strong", {}, `${threshold} % `), budget && `Budget ${budget}: `, words,
  ];
}
