// What is looked at, to choose from. The controls are made once and follow the state: none is replaced under who uses it.

import { h } from "./dom.js";
import { DAYS, DIMENSIONS, GRANULARITIES, MEASURES, RANGES, ZONES, changed, withDay, withDays } from "./state.js";

/** The controls, as `form`; `show` has them follow a state. `current` gives the state, `go` is called with another. */
export function controls(current, go, { refresh, download }) {
  const to = (name) => (value) => go(changed(current(), { [name]: value }));
  const range = choice("Range", RANGES, "range", (value) => go(value === "custom" ? withDays(current()) : changed(current(), { range: value })));
  const days = [["From", "from"], ["To", "to"]].map(([title, name]) => day(title, name, current, (value) => go(withDay(current(), name, value))));
  const choices = [
    range, ...days,
    choice("Measure", MEASURES, "measure", to("measure")),
    choice("Stacked by", DIMENSIONS, "by", to("by")),
    choice("In", GRANULARITIES, "granularity", to("granularity")),
    choice("Time zone", Object.fromEntries(ZONES.map((name) => [name, name])), "tz", to("tz")),
  ];
  const csv = h("button", { type: "button", click: download }, "CSV");
  const filtered = filters(current, go);
  const form = h("form", { class: "controls", "aria-label": "What to look at", submit: (event) => event.preventDefault() },
    choices.map(({ label }) => label),
    h("div", { class: "buttons" }, h("button", { type: "button", click: refresh }, "Refresh"), csv),
    filtered.box);
  const show = (state) => {
    for (const { label } of days) label.hidden = state.range !== "custom";
    csv.hidden = Boolean(state.call);
    for (const each of [...choices, filtered]) each.show(state);
  };
  return { form, show };
}

function choice(title, choices, name, choose) {
  const option = ([value, told]) => h("option", { value }, told);
  const select = h("select", { change: () => choose(select.value) }, Object.entries(choices).map(option));
  const show = ({ [name]: value }) => {
    if (select.value === value) return;
    if (![...select.options].some((each) => each.value === value)) select.append(option([value, value])); // a zone by another of its names
    select.value = value;
  };
  return { label: h("label", {}, title, select), show };
}

/**
 * A day. Each key that makes a whole date of it is a change: what is typed is taken by Enter, or when the field is left. The field
 * follows each state that is shown, as after Back: what was half typed is not of that.
 */
function day(title, name, current, choose) {
  const input = h("input", { type: "date", required: true, min: DAYS.first, max: DAYS.last });
  let byKeys = false; // while a key is down
  let typed = false; // what stands there, and is not taken yet
  const take = () => {
    typed = false;
    if (input.validity.valid) choose(input.value);
    show(current());
  };
  const show = (state) => {
    typed = false;
    if (input.value !== state[name]) input.value = state[name];
  };
  input.addEventListener("keydown", (event) => {
    if (event.key === "Enter") take();
    else byKeys = !opensPicker(event);
  });
  for (const end of ["keyup", "blur"]) input.addEventListener(end, () => { byKeys = false; });
  input.addEventListener("input", () => { typed = byKeys; });
  input.addEventListener("change", () => typed || take());
  input.addEventListener("blur", () => typed && take());
  return { label: h("label", {}, title, input), show };
}

const opensPicker = ({ key, altKey }) => key === " " || key === "F4" || (altKey && key === "ArrowDown");

/** What is filtered for, each to take away; and a field for another. */
function filters(current, go) {
  const list = h("ul", { class: "chips", "aria-label": "Filters" });
  const dimension = h("select", { "aria-label": "Filter by" }, Object.entries(DIMENSIONS).map(([value, told]) => h("option", { value }, told)));
  const input = h("input", { type: "text", "aria-label": "Value of the filter", placeholder: "exact value", maxlength: 500 });
  const summary = h("summary", {}, "Add a filter");
  const filter = (name, values) => go(changed(current(), { filters: { [name]: values } }));
  const add = (event) => {
    event.preventDefault();
    const [name, value] = [dimension.value, input.value];
    if (!value) return;
    input.value = "";
    filter(name, [...new Set([...(current().filters[name] ?? []), value])]);
  };
  input.addEventListener("keydown", (event) => event.key === "Enter" && add(event));
  const chip = (name, values, value) => h("li", {}, h("button", {
    type: "button", class: "chip", "aria-label": `Remove the filter ${DIMENSIONS[name]}: ${value}`,
    click: () => filter(name, values.filter((each) => each !== value)),
  }, `${DIMENSIONS[name]}: ${value}`, h("span", { "aria-hidden": "true" }, " ×")));
  const show = (state) => {
    const focused = [...list.children].findIndex((each) => each.contains(document.activeElement));
    list.replaceChildren(...Object.entries(state.filters).flatMap(([name, values]) => values.map((value) => chip(name, values, value))));
    list.hidden = !list.children.length;
    if (focused >= 0) (list.children[Math.min(focused, list.children.length - 1)]?.firstChild ?? summary).focus();
  };
  const box = h("div", { class: "filters" }, list,
    h("details", {}, summary, h("div", { class: "add" }, dimension, input, h("button", { type: "button", click: add }, "Add"))));
  return { box, show };
}
