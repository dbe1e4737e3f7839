// Amounts of money are decimal texts with all their digits; here they are added without losing one.

function parsed(text) {
  const [whole, part = ""] = text.split(".");
  return { units: BigInt(whole + part), places: part.length };
}

function shown(units, places) {
  const digits = String(units < 0n ? -units : units).padStart(places + 1, "0");
  const whole = digits.slice(0, digits.length - places);
  const part = digits.slice(digits.length - places).replace(/0+$/, "");
  const sign = units < 0n ? "-" : "";
  return sign + whole + (part && `.${part}`);
}

/** The sum of two amounts, each a text such as "0.00325" or a whole number; null counts as nothing. */
export function plus(first, second) {
  const [a, b] = [parsed(String(first ?? 0)), parsed(String(second ?? 0))];
  const places = Math.max(a.places, b.places);
  return shown(a.units * 10n ** BigInt(places - a.places) + b.units * 10n ** BigInt(places - b.places), places);
}

/** What is left of an amount. */
export function minus(first, second) {
  const text = String(second ?? 0);
  return plus(first, text.startsWith("-") ? text.slice(1) : `-${text}`);
}
