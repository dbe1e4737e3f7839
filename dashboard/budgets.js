// Budgets with what is used and projected of them, and the alerts that were raised.

import { ask } from "./api.js";
import { figure, h, table } from "./dom.js";
import * as f from "./format.js";

const SHOWN = 10;

/** What the API knows of budgets and alerts, null where it has none of either. Raises Problem. */
export async function budgets(signal) {
  const optional = (path, parameters) => ask(path, parameters, signal).catch((problem) => {
    if (["missing", "forbidden"].includes(problem.kind)) return null;
    throw problem;
  });
  const [found, raised] = await Promise.all([optional("budgets", {}), optional("alerts", { limit: SHOWN })]);
  const [all, alerts] = [found?.budgets ?? [], raised?.alerts ?? []];
  return all.length || alerts.length ? { all, alerts } : null;
}

/** Those that are used up most come first. */
export function budgetsTable({ all, alerts }, state) {
  const app = state.filters.app;
  const seen = all.filter((budget) => !app || budget.app === null || app.includes(budget.app));
  const ordered = seen.toSorted((a, b) => (b.status?.percent ?? -1) - (a.status?.percent ?? -1));
  const amount = (budget, value) => (value === null || value === undefined ? "–" : figure(budget.unit === "tokens" ? f.brief(Number(value)) : f.dollars(value, { compact: true }), value));
  const covers = (budget) => [budget.app ?? (budget.cost_center ? `cost centre ${budget.cost_center}` : "everything"), budget.model].filter(Boolean).join(", ");
  const used = ({ status }) => {
    if (!status) return "not evaluated yet";
    if (status.fault) return h("span", { class: "bad" }, status.fault);
    const percent = status.percent ?? 0;
    return [h("meter", { min: 0, max: 100, value: Math.min(percent, 100), "aria-hidden": "true" }), " ",
      h("span", { class: percent >= 100 ? "bad" : percent >= 80 && "warn" }, f.share(percent / 100)),
      status.unpriced_tokens ? h("abbr", { class: "warn", title: `${f.count(status.unpriced_tokens)} tokens are not priced` }, " +?") : null];
  };
  const more = ({ limit, status }) => status && status.projected !== null && Number(status.projected) > Number(limit);
  return [
    seen.length > 0 && table("Budgets", [
      { title: "Budget", of: (budget) => [budget.id, h("div", { class: "quiet" }, covers(budget))] },
      { title: "Used", of: used },
      { title: "Actual", number: true, of: (budget) => amount(budget, budget.status?.actual) },
      { title: "Projected", number: true, of: (budget) => h("span", { class: more(budget) && "warn" }, amount(budget, budget.status?.projected)) },
      { title: "Limit", number: true, of: (budget) => [amount(budget, budget.limit), ` a ${budget.period}`] },
      { title: "Left", number: true, of: (budget) => (budget.status ? `${f.count(Math.ceil(budget.status.days_left))} d` : "–") },
    ], ordered.slice(0, SHOWN), { hidden: true }),
    seen.length > SHOWN && h("p", { class: "quiet" }, `and ${f.count(seen.length - SHOWN)} that are used less.`),
    alerts.length > 0 && [h("h3", {}, "Latest alerts"), h("ul", { class: "alerts" }, alerts.map((alert) => h("li", {},
      h("time", { datetime: alert.raised, class: "quiet" }, f.time(alert.raised, state.tz, "minute")), " ", alert.threshold ? h("strong", {}, `${alert.threshold} % `) : null, alert.summary)))],
  ];
}
