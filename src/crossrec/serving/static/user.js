// The view of a user: their history, and the lists of all runs side by side.

import { get, post, settled } from "./api.js";
import { count, el, heading, lead, note, panel, problem, roving } from "./dom.js";
import { cards, ranked } from "./lists.js";

const OPEN_ITEMS = 6;
const LENGTHS = [10, 20, 50, 100];

/** `options`: of the address. `change(name, value)` sets one of them and thereby shows the view again. */
export async function user(id, { runs, max_k: maxLength }, options, change) {
  const settings = {
    k: Math.min(Number(options.get("k")) || 10, maxLength),
    seen: options.get("seen") === "1",
    category: options.get("category"),
  };
  const filter = settings.category ? { category: [settings.category] } : {};
  const body = { user: id, k: settings.k, exclude_seen: !settings.seen, ...filter };
  const [responses, lists] = await Promise.all([
    settled(runs.map(({ run }) => get("/v1/user", { user: id, run }))),
    settled(runs.map(({ run }) => post("/v1/recommend", { ...body, run }))),
  ]);
  const first = responses.findIndex((response) => response.value);
  const ranks = lists.map((list) => new Map(list.value?.items.map((item) => [String(item.id), item.rank])));
  const columns = runs.map((run, n) => {
    if (!lists[n].value) return { node: panel(run.label, problem(lists[n].reason.message)), buttons: [] };
    const other = ranks.find((_, index) => index !== n);
    const context = { run: run.run, user: id, other, heading: `${run.label} recommends` };
    const { list, buttons } = ranked(lists[n].value.items, context);
    return { node: panel([run.label, testRecall(run)], list), buttons };
  });
  columns.forEach(({ buttons }, n) => {
    roving(buttons, (index, side) => {
      const beside = columns[n + side]?.buttons ?? [];
      return beside[Math.min(index, beside.length - 1)];
    });
  });
  return [
    heading(`User ${responses[first].value.id}`),
    history(responses[first].value, runs[first].run),
    controls(settings, runs, maxLength, change),
    runs.length > 1 ? lead(shared(...ranks), "shared") : null,
    el("div", { class: "columns" }, columns.map((column) => column.node)),
    el("p", { class: "note keys" }, "Keys: ↑ ↓ through a list, ← → between the lists, Enter says why, / searches."),
  ];
}

function shared(left, right) {
  const both = [...left.keys()].filter((id) => right.has(id)).length;
  return `${both} of ${Math.max(left.size, right.size)} items are in both lists.`;
}

function testRecall(run) {
  const recall = run.metrics.test?.["recall@20"];
  return recall === undefined ? null : el("small", {}, ` test Recall@20 ${recall.toFixed(4)}`);
}

function history(user, run) {
  const rest = user.history.slice(OPEN_ITEMS);
  return panel(
    `History: ${count(user.taken, "item")}`,
    user.history.length ? cards(user.history.slice(0, OPEN_ITEMS), run) : note("Nothing that the run knows of."),
    rest.length ? el("details", {}, el("summary", {}, `${rest.length} more`), cards(rest, run)) : null,
  );
}

function controls(settings, runs, maxLength, change) {
  const lengths = [...new Set([...LENGTHS.filter((length) => length <= maxLength), settings.k])].sort((a, b) => a - b);
  const categories = [...new Set(runs.flatMap((run) => run.categories))];
  const choice = (id, label, values, chosen) => {
    const options = values.map(([value, text]) => el("option", { value, selected: value === chosen }, text));
    return el("label", {}, `${label} `, el("select", { id, onchange: (event) => change(id, event.target.value) }, options));
  };
  const tick = (event) => change("seen", event.target.checked ? "1" : "");
  return el(
    "div",
    { class: "controls", role: "group", "aria-label": "Lists" },
    choice("k", "Length", lengths.map((n) => [String(n), n]), String(settings.k)),
    categories.length
      ? choice("category", "Category", [["", "all"], ...categories.map((name) => [name, name])], settings.category ?? "")
      : null,
    el(
      "label",
      {},
      el("input", { id: "seen", type: "checkbox", checked: settings.seen, onchange: tick }),
      " Items of the history too",
    ),
  );
}
