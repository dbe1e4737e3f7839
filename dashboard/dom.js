// Elements, made of text: nothing that is shown is ever read as markup.

/**
 * Signs that nobody sees but that turn or break what follows, such as U+202E. Not the marks with which locales write numbers and
 * times, nor the joiners of Persian and emoji.
 */
const UNSEEN = /[\p{Cc}\p{Zl}\p{Zp}\u202a-\u202e\u2066-\u2069\u200b\u2060-\u2064\ufeff\u{e0000}-\u{e007f}]/gu;

/** A text as it is shown, with a sign that is seen in place of each; what is asked for keeps the name as it is. */
export const plain = (text) => text.replace(UNSEEN, "\ufffd");
const READ_OUT = new Set(["title", "aria-label"]);

/** An element. `attributes`: functions are listeners, `null` and `false` leave one out; children are nodes or texts. */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (typeof value === "function") element.addEventListener(name, value);
    else if (value !== null && value !== undefined && value !== false) element.setAttribute(name, value === true ? "" : READ_OUT.has(name) ? plain(String(value)) : value);
  }
  const shown = children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false);
  element.append(...shown.map((child) => (child instanceof Node ? child : plain(String(child)))));
  return element;
}

/** A figure: what is shown, with the exact value at hand for people and for programs. */
export function figure(shown, exact, name = null) {
  const text = String(exact ?? "");
  const title = shown === text ? null : text;
  return h("data", { value: text, title, "data-figure": name }, shown);
}

/** A table. `columns`: `{ title, of, number, title_of_row }`; `of` gives a node or a text of a row. */
export function table(caption, columns, rows, { hidden = false } = {}) {
  const head = h("tr", {}, columns.map((column) => h("th", { scope: "col", class: column.number && "number" }, column.title)));
  const body = rows.map((row) =>
    h("tr", {}, columns.map((column, number) =>
      h(number ? "td" : "th", { scope: number ? null : "row", class: column.number && "number" }, column.of(row)))));
  return h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption },
    h("table", {}, h("caption", { class: hidden && "unseen" }, caption), h("thead", {}, head), h("tbody", {}, body)));
}

/** Says something to those who listen. */
export function say(text) {
  document.getElementById("said").textContent = text;
}
