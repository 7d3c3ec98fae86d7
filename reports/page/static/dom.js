// Builds elements from text; there is no way here to make markup of a record's content.
function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key === "onclick" || key === "onchange" || key === "oninput") made.addEventListener(key.slice(2), value);
    else if (value === true) made.setAttribute(key, "");
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(key, value);
  }
  made.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
  return made;
}

const byId = (id) => document.getElementById(id);

// A name that may be folded behind its underscores.
function foldable(name) {
  return name.split(/(?<=[_@:/])/).flatMap((part, i) => (i ? [element("wbr"), part] : [part]));
}

const ARROWS = { lower: "↓", higher: "↑" };
const arrow = (metric) => element(
  "span", { class: "arrow", title: `${metric.direction} is better`, role: "img",
    "aria-label": `${metric.direction} is better` }, ARROWS[metric.direction],
);

const fragment = (value) => `#${value.record.seeds ? "mean" : "run"}-${value.record.id}:${value.place}`;

// A rank is claimed only where the error bars leave none other open.
const isOpen = (value) => value.rankLow !== value.rankHigh;
const rankText = (value) => (isOpen(value) ? `${value.rankLow}–${value.rankHigh}` : `${value.rank}`);
function rankNode(value) {
  if (!isOpen(value)) return element("span", { class: "rank" }, rankText(value));
  const words = `rank ${value.rankLow} to ${value.rankHigh}: error bars overlap`;
  return element("span", { class: "rank open", title: words, "aria-label": words, role: "img" }, rankText(value));
}

// Bold: the best value. Underlined: its error bars touch those of the best.
const standing = (value) => (!contested.has(cellOf(value)) ? "" : value.rank === 1 ? "best" : value.rankLow === 1 ? "rival" : "");

function valueLink(value) {
  return element("a", { class: `value ${standing(value)}`, href: fragment(value) },
    element("span", { class: "number" }, value.text),
    value.spread ? element("span", { class: "spread" }, ` ${value.spread}`) : null);
}

// The method of a run, and beneath it which weights.
const methodName = (record) => [
  record.seeds ? record.method.name : element("a", { href: `#run-${record.id}` }, record.method.name), element("span", { class: "aside" }, record.method.label),
];

const tier = (dataset) => element("span", { class: `tier ${dataset.tier}` }, TIER_TEXTS[dataset.tier]);

// A heading that sorts: a button, so that it is reached and pressed by key; the order is said by aria-sort.
function sortHeading(content, state, name, press, attributes = {}) {
  const sorted = state.by === name ? (state.descending ? "descending" : "ascending") : "none";
  return element("th", { scope: "col", "aria-sort": sorted, ...attributes },
    element("button", { type: "button", "data-sort": name, onclick: press }, content));
}

// Draws anew and gives the focus back to the button that asked for it.
function redrawn(container, draw) {
  const focused = document.activeElement?.closest?.("[data-sort]")?.dataset.sort;
  const inside = focused !== undefined && container.contains(document.activeElement);
  const left = container.querySelector(".scroll")?.scrollLeft ?? 0;
  draw();
  const box = container.querySelector(".scroll");
  if (box) box.scrollLeft = left;
  if (inside) [...container.querySelectorAll("[data-sort]")].find((one) => one.dataset.sort === focused)?.focus();
}

function plural(count, one, many = `${one}s`) {
  return `${count.toLocaleString("en")} ${count === 1 ? one : many}`;
}

