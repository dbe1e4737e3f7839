// What is looked at, to choose from.

import { h } from "./dom.js";
import { DIMENSIONS, GRANULARITIES, MEASURES, RANGES, changed } from "./state.js";

/** The controls of a state. `go` is called with another. */
export function controls(state, go, { refresh, download }) {
  return h("form", { class: "controls", "aria-label": "What to look at", submit: (event) => event.preventDefault() },
    choice("Range", RANGES, state.range, (range) => go(changed(state, { range, ...(range === "custom" ? lastWeek() : {}) }))),
    state.range === "custom" && [day("From", "from"), day("To", "to")],
    choice("Measure", MEASURES, state.measure, (measure) => go(changed(state, { measure }))),
    choice("Stacked by", DIMENSIONS, state.by, (by) => go(changed(state, { by }))),
    choice("In", GRANULARITIES, state.granularity, (granularity) => go(changed(state, { granularity }))),
    zone(),
    h("div", { class: "buttons" },
      h("button", { type: "button", click: refresh }, "Refresh"),
      h("button", { type: "button", click: download }, "CSV")),
    filters(state, go));

  function day(title, name) {
    const input = h("input", { type: "date", value: state[name], required: true });
    input.addEventListener("change", () => input.value && go(changed(state, { [name]: input.value })));
    return h("label", {}, title, input);
  }

  function zone() {
    const names = ["UTC", ...(Intl.supportedValuesOf?.("timeZone") ?? [])];
    const shown = [...new Set([state.tz, ...names])];
    return choice("Time zone", Object.fromEntries(shown.map((name) => [name, name])), state.tz, (tz) => go(changed(state, { tz })));
  }
}

function choice(title, choices, chosen, choose) {
  const select = h("select", {}, Object.entries(choices).map(([value, told]) => h("option", { value, selected: value === chosen }, told)));
  select.addEventListener("change", () => choose(select.value));
  return h("label", {}, title, select);
}

/** What is filtered for, each to take away; and a field for another. */
function filters(state, go) {
  const chips = Object.entries(state.filters).flatMap(([name, values]) => values.map((value) => h("li", {},
    h("button", {
      type: "button", class: "chip", "aria-label": `Remove the filter ${DIMENSIONS[name]}: ${value}`,
      click: () => go(changed(state, { filters: { [name]: values.filter((each) => each !== value) } })),
    }, `${DIMENSIONS[name]}: ${value}`, h("span", { "aria-hidden": "true" }, " ×")))));
  const dimension = h("select", { "aria-label": "Filter by" }, Object.entries(DIMENSIONS).map(([value, told]) => h("option", { value }, told)));
  const value = h("input", { type: "text", "aria-label": "Value of the filter", placeholder: "exact value", maxlength: 500 });
  const add = (event) => {
    event.preventDefault();
    if (value.value) go(changed(state, { filters: { [dimension.value]: [...new Set([...(state.filters[dimension.value] ?? []), value.value])] } }));
  };
  value.addEventListener("keydown", (event) => event.key === "Enter" && add(event));
  return h("div", { class: "filters" },
    chips.length ? h("ul", { class: "chips", "aria-label": "Filters" }, chips) : null,
    h("details", {}, h("summary", {}, "Add a filter"), h("div", { class: "add" }, dimension, value, h("button", { type: "button", click: add }, "Add"))));
}

function lastWeek() {
  const text = (instant) => new Date(instant).toISOString().slice(0, 10);
  return { from: text(Date.now() - 6 * 86_400_000), to: text(Date.now()) };
}
