// How far the figures can be trusted now: how old they are, what waits, and what was set aside.

import { ask } from "./api.js";
import { h } from "./dom.js";
import * as f from "./format.js";

const LETTERS = 100;

/** A line of facts; each is shown as it comes, and those that are not for the caller are left out. */
export function status(series, signal) {
  const loaded = Date.now();
  const list = h("ul", { class: "facts" });
  const add = (node) => node && list.append(h("li", {}, node));
  const age = h("span");
  const tell = () => {
    const seconds = (Date.now() - loaded) / 1000;
    age.textContent = `Loaded ${f.since(seconds)}`;
    age.className = seconds > 600 ? "warn" : "";
    if (!signal.aborted) setTimeout(tell, 20_000);
  };
  tell();
  add(age);
  series.then((answer) => add(answer.age !== null && h("span", { "data-figure": "age" }, `newest figure counted ${f.since(answer.age)}`)), () => {});
  lag(signal).then(add, () => {});
  letters(signal).then(add, () => {});
  return list;
}

/** How far counting is behind, to those who may see all apps. */
async function lag(signal) {
  const health = await ask("health", { deep: 1 }, signal).catch((problem) => {
    if (problem.kind !== "down") throw problem;
    return { status: "unhealthy", lag: [] };
  });
  const events = health.lag.reduce((sum, each) => sum + each.events, 0);
  const seconds = Math.max(0, ...health.lag.map((each) => each.seconds ?? 0));
  if (health.status !== "healthy") return h("span", { class: "bad" }, "a part of the collector does not answer: figures may be old");
  if (!events) return "all events are counted";
  return h("span", { class: seconds > 300 && "warn" }, `${f.count(events)} events are not counted yet; the oldest came ${f.since(seconds)}`);
}

/** What could not be counted, to those who may mend it. */
async function letters(signal) {
  const { dead_letters: found, next_cursor: more } = await ask("dead-letters", { limit: LETTERS }, signal);
  if (!found.length && !more) return "no dead letters";
  const reasons = Object.entries(Object.groupBy(found, (letter) => letter.reason)).map(([reason, of]) => `${reason}: ${of.length}`);
  return h("span", { class: "warn", title: reasons.join(", ") }, `${more ? "more than " : ""}${f.count(found.length)} ${found.length === 1 ? "record is" : "records are"} set aside and not counted (dead letters)`);
}
