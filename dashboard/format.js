// Numbers and times as the reader's locale writes them.

const whole = new Intl.NumberFormat(undefined, { maximumFractionDigits: 0 });
const fine = new Intl.NumberFormat(undefined, { maximumFractionDigits: 3 });
const compact = new Intl.NumberFormat(undefined, { notation: "compact", maximumSignificantDigits: 3 });
const USD = { style: "currency", currency: "USD", currencyDisplay: "narrowSymbol" };
const money = new Intl.NumberFormat(undefined, USD);
const small = new Intl.NumberFormat(undefined, { ...USD, maximumSignificantDigits: 2 });
const short = new Intl.NumberFormat(undefined, { ...USD, notation: "compact", maximumSignificantDigits: 3 });
const ago = new Intl.RelativeTimeFormat(undefined, { numeric: "auto" });

export const count = (value) => whole.format(value);
/** Of what need not be whole. */
export const precise = (value) => fine.format(value);
/** Shortened from five digits on. */
export const brief = (value) => (Math.abs(value) < 10_000 ? whole : compact).format(value);

/** An amount such as "12.3456"; null is an amount that nobody knows. */
export function dollars(text, { compact: shorter = false } = {}) {
  if (text === null || text === undefined) return "not priced";
  const value = Number(text);
  if (shorter && Math.abs(value) >= 10_000) return short.format(value);
  return (value !== 0 && Math.abs(value) < 0.01 ? small : money).format(value);
}

/** An amount on an axis, with as many digits as tell its ticks apart. */
export function dollarsOfTick(value, ticks) {
  const step = ticks.length > 1 ? Math.abs(ticks[1].value - ticks[0].value) : 1;
  if (step >= 0.1 || value === 0) return dollars(value, { compact: true });
  let digits = 2;
  while (digits < 20 && Number(step.toFixed(digits)).toPrecision(3) !== step.toPrecision(3)) digits += 1;
  return new Intl.NumberFormat(undefined, { ...USD, minimumFractionDigits: digits, maximumFractionDigits: digits }).format(value);
}

/** A share of 1. All and nothing are only said of all and nothing. */
export function share(value, digits = 1) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  const step = 10 ** -(digits + 2);
  const honest = value > 0 && value < step ? step : value < 1 && value > 1 - step ? 1 - step : value;
  return new Intl.NumberFormat(undefined, { style: "percent", maximumFractionDigits: digits }).format(honest);
}

export function milliseconds(value) {
  if (value === null || value === undefined) return "–";
  const [amount, unit] = value < 1000 ? [value, "millisecond"] : [value / 1000, "second"];
  return new Intl.NumberFormat(undefined, { style: "unit", unit, unitDisplay: "narrow", maximumSignificantDigits: 3 }).format(amount);
}

/** By how much a figure grew, as a share of what it was: null where there was nothing, or nobody knows. */
export function growth(row, name) {
  const [before, change] = [row.previous?.[name], row.change?.[name]];
  if (before === null || before === undefined || change === null || change === undefined || Number(before) === 0) return null;
  return Number(change) / Math.abs(Number(before));
}

export function grown(value) {
  return new Intl.NumberFormat(undefined, {
    style: "percent", signDisplay: "exceptZero", maximumFractionDigits: Math.abs(value) < 0.1 ? 1 : 0,
  }).format(value);
}

const TIMES = {
  hour: { month: "short", day: "numeric", hour: "2-digit", minute: "2-digit" },
  zoned: { month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", timeZoneName: "shortOffset" },
  day: { month: "short", day: "numeric" },
  month: { month: "short", year: "numeric" },
  date: { dateStyle: "medium" },
  minute: { dateStyle: "medium", timeStyle: "short" },
  moment: { dateStyle: "medium", timeStyle: "medium" },
};

/** A time as clocks of `tz` show it. */
export const time = (value, tz, kind) =>
  new Intl.DateTimeFormat(undefined, { ...TIMES[kind], timeZone: tz }).format(new Date(value));

/** Times in their order, as an axis tells them: an hour that clocks show twice with what tells the two apart. */
export function axisTimes(values, tz, kind) {
  const told = values.map((value) => time(value, tz, kind));
  const times = Object.create(null);
  for (const each of told) times[each] = (times[each] ?? 0) + 1;
  return told.map((each, number) => (times[each] > 1 ? time(values[number], tz, "zoned") : each));
}

/** How long ago, of so many seconds. */
export function since(seconds) {
  const steps = [[60, "second", 1], [3600, "minute", 60], [86_400, "hour", 3600], [Infinity, "day", 86_400]];
  const [, unit, size] = steps.find(([below]) => seconds < below);
  return ago.format(-Math.floor(seconds / size), unit);
}
