// Where a number comes from: the record behind #run-ID, and the value of it behind #run-ID:PLACE.
const dialog = byId("record");

function factList(pairs) {
  const found = pairs.filter(([, text]) => text !== "" && text !== null && text !== undefined);
  return element("dl", { class: "facts" }, found.map(([name, text]) => (
    element("div", {}, element("dt", {}, foldable(name)), element("dd", {}, text)))));
}

function part(title, ...content) {
  return element("section", {}, element("h3", {}, title), content);
}

function spreadText(value) {
  if (value.record.seeds) return `${value.spread} (standard deviation over seeds, mean of their 95 % intervals over images)`;
  if (value.spread.startsWith("±")) return `${value.spread} (standard deviation over draws)`;
  return value.spread ? `${value.spread} (95 % interval over images)` : "none given";
}

function valuePart(value) {
  const { metric } = value;
  const all = entries.get(cellOf(value));
  const rank = isOpen(value)
    ? `${value.rankLow} to ${value.rankHigh} of ${all}: error bars overlap, so none of these is claimed`
    : `${value.rank} of ${all}`;
  return element("section", { class: "chosen" },
    element("p", { class: "figure" }, element("strong", {}, value.text), ` ${metric.unit}\u00a0`, arrow(metric)),
    factList([
      ["Metric", `${metric.name} ${value.condition.text}`.trim()],
      ["Definition", metric.definition],
      ["Averaging", metric.averaging],
      ["Better is", metric.direction],
      ["Error bars", spreadText(value)],
      ["In full", String(value.number)],
      ["Mean of", value.count === null ? "" : `${value.count} images or pairs`],
      ["Rank", rank],
    ]));
}

function valuesPart(record, chosen) {
  const rows = record.values.map((value) => element("tr", value === chosen ? { "aria-current": "true" } : {},
    element("th", { scope: "row" }, foldable(value.metric.name), "\u00a0", arrow(value.metric)),
    element("td", {}, value.condition.text), element("td", { class: "numeric" }, valueLink(value)),
    element("td", {}, value.metric.unit), element("td", { class: "numeric" }, rankNode(value))));
  const head = element("tr", {}, ["Metric", "Condition", "Value", "Unit", "Rank"].map((text, i) => (
    element("th", { scope: "col", class: i === 2 || i === 4 ? "numeric" : "" }, text))));
  const table = element("table", {}, element("caption", { class: "unseen" }, "All values of this run"),
    element("thead", {}, head), element("tbody", {}, rows));
  return element("details", { open: !chosen }, element("summary", {}, `All ${plural(rows.length, "value")} of this run`),
    element("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "All values of this run" }, table));
}

function dataPart(dataset) {
  if (dataset === NO_DATASET) return part("Data", element("p", {}, "This protocol reads no images."));
  const rows = dataset.splits.map(([role, split, count, print]) => element("tr", {},
    element("th", { scope: "row" }, role), element("td", {}, split), element("td", { class: "numeric" }, count),
    element("td", {}, element("code", {}, print))));
  const head = element("tr", {}, ["Role", "Split", "Samples", "Fingerprint"].map((text) => (
    element("th", { scope: "col" }, text))));
  return part("Data", factList([["Name", dataset.name], ["Landmarks", dataset.landmarks]]),
    element("p", {}, tier(dataset)),
    element("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Splits" },
      element("table", {}, element("caption", { class: "unseen" }, "Splits and their content"),
        element("thead", {}, head), element("tbody", {}, rows))),
    options("Options", dataset.options), options("Preprocessing", dataset.preprocessing));
}

function options(title, facts) {
  return facts.length ? element("div", {}, element("h4", {}, title), factList(facts)) : null;
}

function recordContent(record, value) {
  const { method, protocol, dataset } = record;
  const drawn = [...document.querySelectorAll("figure[data-records]")]
    .filter((figure) => figure.dataset.records.split(" ").includes(record.id));
  return [
    element("p", { class: "identity" }, `Run `, element("code", {}, record.id)),
    record.failure ? part("Failed", element("p", { class: "failed" }, record.failure)) : null,
    value ? valuePart(value) : null,
    record.values.length ? valuesPart(record, value) : null,
    part("Method", factList([
      ["Name", method.name], ["Weights", method.label], ["SHA-256 of the weights", method.sha256],
      ["Channels of the features", method.dim], ["Features rounded to", method.dtype],
    ]), options("Options", method.options)),
    dataPart(dataset),
    part("Protocol", factList([
      ["Name", protocol.name], ["Version", protocol.version], ["Preset", protocol.preset], ["Seed", record.seed],
    ]), options("Options", protocol.options)),
    record.notes.length ? part("Notes", element("ul", {}, record.notes.map((note) => element("li", {}, note)))) : null,
    part("Measured by", record.command
      ? [element("pre", { tabindex: 0 }, element("code", {}, record.command)), element("p", { class: "notes" },
        "The command as it was typed measures it again; folders are cut to their last part. ",
        "Where the record is there, bench run prints it; --force measures it anew.")]
      : element("p", {}, "The record does not say which command measured it.")),
    part("Environment", factList([...record.seconds, ...record.environment])),
    drawn.length ? part("Figures made from it", element("ul", {}, drawn.map((figure) => (
      element("li", {}, element("a", { href: `#${figure.id}` }, figure.dataset.title)))))) : null,
  ].filter(Boolean);
}

function meanContent(value) {
  const sameCell = (other) => other.metric === value.metric && other.condition === value.condition;
  const rows = value.record.seeds.map((record) => [record, record.values.find(sameCell)]).filter(([, one]) => one)
    .sort(([a], [b]) => collator.compare(a.seed, b.seed))
    .map(([record, one]) => element("tr", {}, element("th", { scope: "row" }, record.seed),
      element("td", { class: "numeric" }, valueLink(one)), element("td", {}, element("code", {}, record.id))));
  const head = element("tr", {}, ["Seed", "Value", "Run"].map((text, i) => (
    element("th", { scope: "col", class: i === 1 ? "numeric" : "" }, text))));
  return [valuePart(value), part("Mean of", element("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Seeds" },
    element("table", {}, element("caption", { class: "unseen" }, "The value with each seed"),
      element("thead", {}, head), element("tbody", {}, rows))))];
}

const MEAN_BY_ADDRESS = new Map(MEANS.map((value) => [fragment(value), value]));

// Opens the record, or the mean, that the address names; closes the dialog where it names none.
function followAddress() {
  const mean = MEAN_BY_ADDRESS.get(location.hash);
  const match = /^#run-([0-9a-f]{16})(?::(\d+))?$/.exec(location.hash);
  if (!match && !mean) {
    if (dialog.open) dialog.close("followed");
    return;
  }
  const record = mean ? mean.record : RECORD_BY_ID.get(match[1]);
  const value = record && match?.[2] !== undefined ? record.values[Number(match[2])] : undefined;
  byId("record-title").textContent = record
    ? `${record.method.name}: ${record.protocol.name}${record.dataset === NO_DATASET ? "" : ` on ${record.dataset.name}`}`
    : "No such run";
  byId("record-content").replaceChildren(...(mean ? meanContent(mean) : record ? recordContent(record, value)
    : [element("p", {}, `This page has no run ${match[1]}.`)]));
  if (!dialog.open) dialog.showModal();
  byId("record-content").scrollTop = 0;
}

function closed() {
  if (/^#(run|mean)-/.test(location.hash)) history.pushState(null, "", location.pathname + location.search);
}

dialog.addEventListener("close", closed);
dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
byId("record-close").addEventListener("click", () => dialog.close());

