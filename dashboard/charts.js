// Charts by Chart.js, with a legend and a table of their own that keyboards and screen readers reach.

import { h, plain, table } from "./dom.js";

const drawn = new Set();

/** Colours are those of style.css, so that they follow dark, light and paper. */
function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

/**
 * A chart of `series` (`{ name, colour, values, show }`) over `labels`: `show` tells a value, which is a number or null.
 * `kind` is `bar` (stacked) or `line`; `axis` tells a value of the axis, given with all its ticks, which are whole numbers if
 * `counted`; `pick` is called with the number of a series.
 */
export function chart({ title, told, kind = "bar", labels, series, axis, counted = false, pick = null }) {
  const canvas = h("canvas", { role: "img", "aria-label": `${title}. ${told}` });
  const legend = h("ul", { class: "legend" }, series.map((each, number) => h("li", {},
    pick?.(number)
      ? h("button", { type: "button", class: "link", click: pick(number) }, swatch(each), each.name)
      : h("span", {}, swatch(each), each.name))));
  const box = h("div", { class: "chart" }, canvas);
  const made = new Chart(canvas, {
    type: kind,
    data: { labels, datasets: series.map((each) => dataset(kind, each)) },
    options: {
      animation: false,
      responsive: true,
      maintainAspectRatio: false,
      interaction: { mode: "index", intersect: false },
      events: ["mousemove", "mouseout", "click", "touchstart"],
      onClick: (event) => {
        const [hit] = made.getElementsAtEventForMode(event.native, "nearest", { intersect: true }, false);
        if (hit) pick?.(hit.datasetIndex)?.();
      },
      scales: {
        x: { stacked: kind === "bar", grid: { display: false }, ticks: { maxRotation: 0, autoSkipPadding: 16 } },
        y: { stacked: kind === "bar", beginAtZero: true, border: { display: false }, ticks: { callback: (value, _, ticks) => axis(value, ticks), maxTicksLimit: 6, precision: counted ? 0 : undefined } },
      },
      plugins: {
        legend: { display: false },
        tooltip: {
          itemSort: (a, b) => b.raw - a.raw,
          filter: (item) => item.raw,
          callbacks: { label: (item) => ` ${item.dataset.label}: ${series[item.datasetIndex].show(item.dataIndex)}` },
        },
      },
    },
  });
  made.colours = series.map((each) => each.colour);
  paint(made);
  drawn.add(made);
  return h("figure", {}, box, legend, asTable(title, labels, series));
}

function dataset(kind, { name, values }) {
  const line = { borderWidth: 2, pointRadius: values.length > 60 ? 0 : 2, tension: 0, spanGaps: false };
  return { label: plain(name), data: values, ...(kind === "line" ? line : { borderWidth: 0, categoryPercentage: 0.86, barPercentage: 1 }) };
}

function swatch({ colour: name }) {
  return h("span", { class: `swatch ${name}`, "aria-hidden": "true" });
}

/** The same as a table, made when it is first opened. */
function asTable(title, labels, series) {
  const details = h("details", { class: "data" }, h("summary", {}, "Show as a table"));
  const columns = [
    { title: "Begin", of: (number) => labels[number] },
    ...series.map((each) => ({ title: each.name, number: true, of: (number) => each.show(number) })),
  ];
  details.addEventListener("toggle", () => {
    if (details.open && details.children.length === 1) details.append(table(title, columns, labels.map((_, number) => number), { hidden: true }));
  });
  return details;
}

function paint(made) {
  const [text, line] = [colour("quiet"), colour("line")];
  made.data.datasets.forEach((each, number) => {
    each.backgroundColor = each.borderColor = colour(made.colours[number]);
  });
  for (const scale of Object.values(made.options.scales)) {
    scale.ticks.color = text;
    scale.grid.color = line;
  }
  const tooltip = made.options.plugins.tooltip;
  Object.assign(tooltip, { backgroundColor: colour("text"), titleColor: colour("page"), bodyColor: colour("page"), padding: 10 });
  made.update(); // in its mode "none" elements would keep the colours that they had
}

/** Take away the charts that are no longer shown. */
export function clear() {
  for (const each of drawn) each.destroy();
  drawn.clear();
}

const repaint = () => drawn.forEach(paint);
const onPaper = () => drawn.forEach((each) => {
  each.resize();
  paint(each);
});
Chart.defaults.font.family = "system-ui, sans-serif";
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", repaint);
matchMedia("print").addEventListener("change", onPaper);
