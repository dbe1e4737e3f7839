// Budgets with what is used and projected of them, and the alerts that were raised.

import { ask } from "./api.js";
import { figure, h, table } from "./dom.js";
import * as f from "./format.js";
import { mark } from "./unpriced.js";

const SHOWN = 10;
/** So many are looked through for those of a model. */
const MANY = 100;
/** Values that the API takes for a filter are 100 at most, and its query string has a limit. */
const NAMED = 50;
/** Budgets of a page: well below 1 MB, however long their names and webhooks are. */
const PAGE = 250;
/** Budgets are evaluated every five minutes: so many seconds are some times in which they were not. */
const LATE = 900;
const DAY = 86_400_000;

/**
 * What the API knows of budgets and alerts, null where it has none of either: all, or those of the apps and cost centres that
 * the filters are about (`scope`, a promise of `{ apps, centres }`, null for all), and of everything. Raises Problem.
 */
export async function budgets(state, scope, signal) {
  const optional = (path, parameters) => ask(path, parameters, signal).catch((problem) => {
    if (["missing", "forbidden"].includes(problem.kind)) return null;
    throw problem;
  });
  const models = state.filters.model ?? null;
  const among = (value, chosen) => value === null || chosen === null || chosen.includes(value);
  const alertsOf = async (name, values) => Promise.all(Array.from({ length: Math.ceil(values.length / NAMED) }, async (_, number) => {
    const some = values.slice(number * NAMED, (number + 1) * NAMED);
    return (await optional("alerts", { [name]: some, limit: models ? MANY : SHOWN }))?.alerts ?? [];
  }));
  const everyBudget = async () => {
    const found = [];
    for (let cursor = null, page; page === undefined || cursor; cursor = page?.next_cursor) {
      page = await optional("budgets", { limit: PAGE, cursor });
      found.push(...(page?.budgets ?? []));
    }
    return found;
  };
  const [{ apps, centres }, found] = await Promise.all([scope, everyBudget()]);
  const all = found.filter((budget) => among(budget.model, models) && among(budget.app, apps) && among(budget.cost_center, centres));
  const wider = all.filter((budget) => budget.app === null).map((budget) => budget.id);
  const raised = await (apps === null
    ? optional("alerts", { limit: models ? MANY : SHOWN }).then((answer) => answer?.alerts ?? [])
    : Promise.all([alertsOf("app", apps), alertsOf("budget", wider)]));
  const alerts = [...new Map(raised.flat(Infinity).filter((alert) => among(alert.model, models)).map((alert) => [alert.id, alert])).values()]
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
  const evaluated = all.map(({ status }) => status?.as_of).filter(Boolean).sort((a, b) => Date.parse(a) - Date.parse(b)).at(-1) ?? null;
  const tableOf = (caption, some) => table(caption, columns(evaluated, state.tz, display), some, { hidden: true });
  return [
    evaluated && asOf(evaluated, state.tz),
    all.length > 0 && tableOf("Budgets", all.slice(0, SHOWN)),
    rest.length > 0 && h("details", {}, h("summary", {}, `${f.count(rest.length)} more${unknown ? `, of ${f.count(unknown)} of them nobody knows how much is used` : ", used less"}`),
      tableOf("More budgets", rest)),
    alerts.length > 0 && [h("h3", {}, "Latest alerts"), h("ul", { class: "alerts" }, alerts.map((alert) => h("li", {}, told(alert, state.tz, display))))],
  ];
}

/** When the timer looked at budgets last. What is used of them since is not known. */
function asOf(evaluated, tz) {
  const seconds = (Date.now() - Date.parse(evaluated)) / 1000;
  const time = f.time(evaluated, tz, "minute");
  return seconds > LATE
    ? h("p", { class: "evaluated warn" }, `Not evaluated since ${time} (${f.since(seconds)})`)
    : h("p", { class: "evaluated quiet" }, `Evaluated ${time}`);
}

function columns(evaluated, tz, display) {
  return [
    { title: "Budget", of: (budget) => [budget.id, h("div", { class: "quiet", title: budget.app }, covered(budget, display))] },
    { title: "Used", of: (budget) => [used(budget), ofWhen(budget, evaluated, tz)] },
    { title: "Actual", number: true, of: (budget) => amount(budget, budget.status?.actual) },
    { title: "Projected", number: true, of: (budget) => h("span", { class: isMore(budget) && "warn" }, amount(budget, budget.status?.projected)) },
    { title: "Limit", number: true, of: (budget) => [amount(budget, budget.limit), ` a ${budget.period}`] },
    { title: "Left", number: true, of: left },
  ];
}

const isOver = ({ period_end: end }) => Date.parse(end) <= Date.now();

function left({ status }) {
  if (!status) return "–";
  return isOver(status) ? "ended" : `${f.count(Math.ceil((Date.parse(status.period_end) - Date.now()) / DAY))} d`;
}

/** Of a budget whose figures are not those of now: of a period that is over, or from before the timer's last run. */
function ofWhen({ status }, evaluated, tz) {
  if (!status) return null;
  const told = [
    isOver(status) && `of the period until ${f.time(status.period_end, tz, "minute")}`,
    Date.parse(status.as_of) < Date.parse(evaluated) && `as of ${f.time(status.as_of, tz, "minute")}`,
  ].filter(Boolean);
  return told.length > 0 && h("div", { class: "warn" }, told.join(", "));
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
