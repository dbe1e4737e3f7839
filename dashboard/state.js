// What is looked at: kept behind the # of the address, so that a view can be shared and no server sees it.

export const RANGES = {
  "24h": "Last 24 hours", "7d": "Last 7 days", "30d": "Last 30 days", month: "This month", "last-month": "Last month",
  "12m": "Last 12 months", custom: "Days…",
};
export const MEASURES = { cost: "Cost", total_tokens: "Tokens", calls: "Calls" };
export const GRANULARITIES = { auto: "Automatic", hour: "Hours", day: "Days", month: "Months" };
export const DIMENSIONS = {
  app: "App", model: "Model", cost_center: "Cost centre", deployment: "Deployment", operation: "Operation", api: "API",
  product: "Product", subscription: "Subscription", user: "User", backend: "Backend", gateway: "Gateway", region: "Region",
  client_ip: "Client IP", stream: "Stream", status: "Status",
};
/** Beyond so many days a granularity would be more bars than anyone can read. */
const MOST_DAYS = { hour: 14, day: 400, month: Infinity };

const HOUR = 3_600_000;
const DAY = 24 * HOUR;
/** Within the API’s years in every zone. */
export const DAYS = { first: "2000-01-02", last: "2100-12-30" };
const ZONE = Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC";
/** As the browser knows them; the API takes other names of theirs, too. */
export const ZONES = [...new Set(["UTC", ...(Intl.supportedValuesOf?.("timeZone") ?? [])])];
const STARTS = { range: "7d", by: "model", measure: "cost", granularity: "auto", tz: ZONE, from: "", to: "", call: "" };
const CHOICES = { range: RANGES, by: DIMENSIONS, measure: MEASURES, granularity: GRANULARITIES };

/** The state that an address names; what it names wrongly stands at its default. */
export function read(hash) {
  const named = new URLSearchParams(hash.replace(/^#/, ""));
  const state = { ...STARTS, filters: {} };
  for (const [name, value] of named) {
    if (Object.hasOwn(DIMENSIONS, name)) (state.filters[name] ??= []).push(value);
    else if (Object.hasOwn(CHOICES, name) ? Object.hasOwn(CHOICES[name], value) : Object.hasOwn(STARTS, name)) state[name] = value;
  }
  state.tz = isZone(state.tz) ? ZONES.find((name) => name.toLowerCase() === state.tz.toLowerCase()) ?? state.tz : ZONE;
  if (state.range === "custom" && !(isDay(state.from) && isDay(state.to))) state.range = STARTS.range;
  [state.from, state.to] = state.range === "custom" ? [state.from, state.to].sort() : ["", ""];
  return state;
}

/** The address of a state, from its #. The zone is always said: a shared view is the same for everyone. */
export function address(state) {
  const named = new URLSearchParams();
  for (const name of Object.keys(STARTS)) if (state[name] !== STARTS[name] || name === "tz") named.append(name, state[name]);
  for (const [name, values] of Object.entries(state.filters)) for (const value of values) named.append(name, value);
  return `#${named}`;
}

/** The state with `changes`; `filters` replaces those of the dimensions that it names. */
export function changed(state, { filters = {}, ...changes }) {
  const kept = Object.entries({ ...state.filters, ...filters }).filter(([, values]) => values.length);
  return { ...state, call: "", ...changes, filters: Object.fromEntries(kept) };
}

/** The state with another first day (`from`) or last (`to`); the other moves along, so that days stay in their order. */
export function withDay(state, name, day) {
  const [from, to] = name === "from" ? [day, state.to < day ? day : state.to] : [day < state.from ? day : state.from, day];
  return changed(state, { from, to });
}

/** The state with days to choose: at first today, in its zone, and the six before. */
export function withDays(state, now = Date.now()) {
  const [year, month, day] = clock(now, state.tz);
  const text = (days) => new Date(Date.UTC(year, month, day - days)).toISOString().slice(0, 10);
  return changed(state, { range: "custom", from: text(6), to: text(0) });
}

/** The state of one call: days around it instead of a range that goes on, so that its address finds it later, too. */
export function ofCall(state, { request_id: call, timestamp }) {
  const day = (days) => dayOf(Date.parse(timestamp) + days * DAY, state.tz);
  return changed(state, { call, range: "custom", from: day(-1), to: day(1) });
}

/** Whether the state's range begins or ends inside an hour of UTC because of its zone, such as +05:30. */
export function splitsHours({ tz, ...state }, now = Date.now()) {
  return bounds({ ...state, tz }, now).some((instant) => {
    const seconds = instant - (((instant % 1000) + 1000) % 1000);
    return (Date.UTC(...clock(instant, tz)) - seconds) % HOUR !== 0;
  });
}

/** The question of a state: `from`, `to`, `tz`, `granularity` as the API takes them, with the filters. */
export function question(state, now = Date.now()) {
  const [from, to] = bounds(state, now);
  const days = (to - from) / DAY;
  const wanted = state.granularity === "auto" ? (days <= 2.5 ? "hour" : days <= 100 ? "day" : "month") : state.granularity;
  const granularity = ["hour", "day", "month"].find((each, number, all) => number >= all.indexOf(wanted) && days <= MOST_DAYS[each]);
  return { from: text(from), to: text(to), tz: state.tz, granularity, ...state.filters };
}

function bounds(state, now) {
  const { tz } = state;
  const [year, month, day] = clock(now, tz);
  switch (state.range) {
    case "24h": return [hour(now, tz) - 23 * HOUR, now]; // with the running hour, which the API answers as a whole
    case "30d": return [midnight(year, month, day - 29, tz), now];
    case "month": return [midnight(year, month, 1, tz), now];
    case "last-month": return [midnight(year, month - 1, 1, tz), midnight(year, month, 1, tz)];
    case "12m": return [midnight(year, month - 11, 1, tz), now];
    case "custom": {
      const [first, last] = [state.from, state.to].map((each) => each.split("-").map(Number));
      return [midnight(first[0], first[1] - 1, first[2], tz), midnight(last[0], last[1] - 1, last[2] + 1, tz)];
    }
    default: return [midnight(year, month, day - 6, tz), now];
  }
}

/** How much of its month a time of "this month" lies behind, as a share of 1. */
export function monthBehind(tz, now = Date.now()) {
  const [year, month] = clock(now, tz);
  const first = midnight(year, month, 1, tz);
  return (now - first) / (midnight(year, month + 1, 1, tz) - first);
}

/** Clocks of zones, by name: making one takes longer than reading it. */
const clocks = new Map();

/** Year, month from 0, day and so on, as clocks of a zone show them. */
function clock(instant, tz) {
  if (!clocks.has(tz)) {
    clocks.set(tz, new Intl.DateTimeFormat("en-US", {
      timeZone: tz, hourCycle: "h23", year: "numeric", month: "numeric", day: "numeric", hour: "numeric", minute: "numeric",
      second: "numeric",
    }));
  }
  const parts = clocks.get(tz).formatToParts(instant);
  const part = (type) => Number(parts.find((each) => each.type === type).value);
  return [part("year"), part("month") - 1, part("day"), part("hour"), part("minute"), part("second")];
}

/** When the hour that is running by the zone's clocks began. */
function hour(now, tz) {
  const [, , , , minute, second] = clock(now, tz);
  return now - now % 1000 - (minute * 60 + second) * 1000;
}

/**
 * When a day begins, as the API has it (queries/buckets.py). Midnight that clocks show twice is the first; midnight that they
 * skip is where it would have been by the clocks of before.
 */
function midnight(year, month, day, tz) {
  const wanted = Date.UTC(year, month, day);
  const offset = (instant) => Date.UTC(...clock(instant, tz)) - instant;
  const [before, after] = [offset(wanted - DAY), offset(wanted + DAY)];
  const isAfter = offset(wanted - before) !== before && offset(wanted - after) === after;
  return wanted - (isAfter ? after : before);
}

function dayOf(instant, tz) {
  const [year, month, day] = clock(instant, tz);
  return new Date(Date.UTC(year, month, day)).toISOString().slice(0, 10);
}

const text = (instant) => new Date(instant).toISOString().replace(/\.\d+Z$/, "Z");

/** Whether it is a day that there is, such as 2026-11-20, of the API's years. */
function isDay(value) {
  const instant = /^\d{4}-\d\d-\d\d$/.test(value) ? Date.parse(value) : NaN;
  return new Date(instant || 0).toISOString().startsWith(value) && DAYS.first <= value && value <= DAYS.last;
}

function isZone(name) {
  try {
    return Boolean(new Intl.DateTimeFormat("en", { timeZone: name }));
  } catch {
    return false;
  }
}
