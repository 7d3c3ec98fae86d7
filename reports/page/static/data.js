// The records and values of the page, from its data element. Everything here is text or number, never markup.
const data = JSON.parse(document.getElementById("data").textContent);
const collator = new Intl.Collator("en", { numeric: true });
const TIERS = ["published", "own", "procedural", "none"];
const TIER_TEXTS = {
  published: "published data set",
  own: "own data",
  procedural: "procedural data, not photographs",
  none: "no data needed",
};
const NO_DATASET = { name: "none", tier: "none" };

// Gives every item its place in natural order, so that long tables are sorted by comparing numbers.
function withOrder(items, text) {
  const sorted = items.map((item, index) => index).sort((a, b) => collator.compare(text(items[a]), text(items[b])));
  let place = 0;
  sorted.forEach((index, i) => {
    if (i && collator.compare(text(items[sorted[i - 1]]), text(items[index])) !== 0) place += 1;
    items[index].order = place;
  });
  return items;
}

const METHODS = withOrder(data.pools.method, (method) => `${method.name} ${method.label}`);
const PROTOCOLS = withOrder(data.pools.protocol, (protocol) => `${protocol.name} ${protocol.preset}`);
const DATASETS = withOrder([...data.pools.dataset, NO_DATASET], (dataset) => dataset.name);
const CONDITIONS = withOrder(data.pools.condition.map((text, index) => ({ index, text })), (one) => one.text);
const METRICS = withOrder(
  data.pools.metric.map(([name, unit, direction, definition, averaging], index) => (
    { index, name, unit, direction, definition, averaging }
  )),
  (metric) => metric.name,
);

const RECORDS = data.records.map((row, index) => ({
  index,
  id: row[0],
  method: METHODS[row[1]],
  protocol: PROTOCOLS[row[2]],
  dataset: row[3] < 0 ? NO_DATASET : DATASETS[row[3]],
  question: row[4],
  toldApart: data.pools.question[row[4]].at(-1),
  seed: row[5],
  failure: row[6],
  command: row[7],
  environment: data.pools.facts[row[8]],
  seconds: row[9],
  notes: row[10],
  values: [],
}));
const RECORD_BY_ID = new Map(RECORDS.map((record) => [record.id, record]));

function valueAt(column, index, record, place) {
  return {
    record,
    place,
    metric: METRICS[column.metric[index]],
    condition: CONDITIONS[column.condition[index]],
    number: column.value[index],
    text: column.text[index],
    spread: column.spread[index],
    count: column.count[index],
    rank: column.rank[index],
    rankLow: column.rank_low[index],
    rankHigh: column.rank_high[index],
  };
}

const VALUES = data.values.record.map((at, index) => {
  const record = RECORDS[at];
  const value = valueAt(data.values, index, record, record.values.length);
  record.values.push(value);
  return value;
});

// Means over seeds stand in for the runs of one network: "seeds" of what follows.
const MEAN_RECORDS = new Map();
const isOfOneNetwork = (a, b) => a.question === b.question && a.method === b.method;
const MEANS = data.means.record.map((at, index) => {
  const first = RECORDS[at];
  if (!MEAN_RECORDS.has(first)) {
    const seeds = RECORDS.filter((record) => isOfOneNetwork(record, first) && !record.failure);
    MEAN_RECORDS.set(first, { ...first, seed: "mean", values: [], seeds });
  }
  const value = valueAt(data.means, index, MEAN_RECORDS.get(first), data.means.place[index]);
  value.record.values.push(value);
  return value;
});
const MEANS_BY_QUESTION = new Map(MEANS.map((value) => [value.record.question, []]));
MEANS.forEach((value) => MEANS_BY_QUESTION.get(value.record.question).push(value));

// How many runs answer the same question as a value, itself included.
const entries = new Map();
const cellOf = (value) => [value.record.question, value.record.seed, value.metric.index, value.condition.index].join();
[...VALUES, ...MEANS].forEach((value) => entries.set(cellOf(value), (entries.get(cellOf(value)) ?? 0) + 1));
// Where all values are equal, none is called the best.
const contested = new Set([...VALUES, ...MEANS].filter((value) => value.rank > 1).map(cellOf));

