// A user: what they took, and the lists of all runs side by side.

import { get, post, settled } from "./api.js";
import { count, el, heading, lead, note, panel, problem, roving } from "./dom.js";
import { cards, ranked } from "./lists.js";

const SHOWN = 6;
const LENGTHS = [10, 20, 50, 100];

/** `options`: of the address. `change(name, value)` sets one there, which shows the view again. */
export async function user(id, { runs, max_k: longest }, options, change) {
  const wanted = {
    k: Math.min(Number(options.get("k")) || 10, longest),
    seen: options.get("seen") === "1",
    category: options.get("category"),
  };
  const filter = wanted.category ? { category: [wanted.category] } : {};
  const body = { user: id, k: wanted.k, exclude_seen: !wanted.seen, ...filter };
  const [people, lists] = await Promise.all([
    settled(runs.map(({ run }) => get("/v1/user", { user: id, run }))),
    settled(runs.map(({ run }) => post("/v1/recommend", { ...body, run }))),
  ]);
  const first = people.findIndex((one) => one.value);
  const ranks = lists.map((one) => new Map(one.value?.items.map((item) => [String(item.id), item.rank])));
  const shown = runs.map((run, n) => {
    if (!lists[n].value) return { node: panel(run.label, problem(lists[n].reason.message)), buttons: [] };
    const other = ranks.find((_, place) => place !== n);
    const about = { run: run.run, user: id, other, heading: `${run.label} recommends` };
    const { list, buttons } = ranked(lists[n].value.items, about);
    return { node: panel([run.label, measured(run)], list), buttons };
  });
  shown.forEach(({ buttons }, n) => {
    roving(buttons, (place, side) => {
      const beside = shown[n + side]?.buttons ?? [];
      return beside[Math.min(place, beside.length - 1)];
    });
  });
  return [
    heading(`User ${people[first].value.id}`),
    history(people[first].value, runs[first].run),
    controls(wanted, runs, longest, change),
    runs.length > 1 ? lead(shared(...ranks), "shared") : null,
    el("div", { class: "columns" }, shown.map((one) => one.node)),
    el("p", { class: "note keys" }, "Keys: ↑ ↓ through a list, ← → between the lists, Enter says why, / searches."),
  ];
}

function shared(one, other) {
  const both = [...one.keys()].filter((id) => other.has(id)).length;
  return `${both} of ${Math.max(one.size, other.size)} items are in both lists.`;
}

function measured(run) {
  const found = run.metrics.test?.["recall@20"];
  return found === undefined ? null : el("small", {}, ` test Recall@20 ${found.toFixed(4)}`);
}

function history(person, run) {
  const rest = person.history.slice(SHOWN);
  return panel(
    `History: ${count(person.taken, "item")}`,
    person.history.length ? cards(person.history.slice(0, SHOWN), run) : note("Nothing that the run knows of."),
    rest.length ? el("details", {}, el("summary", {}, `${rest.length} more`), cards(rest, run)) : null,
  );
}

function controls(wanted, runs, longest, change) {
  const lengths = [...new Set([...LENGTHS.filter((length) => length <= longest), wanted.k])].sort((a, b) => a - b);
  const categories = [...new Set(runs.flatMap((run) => run.categories))];
  const choice = (id, label, values, chosen) => {
    const options = values.map(([value, text]) => el("option", { value, selected: value === chosen }, text));
    return el("label", {}, `${label} `, el("select", { id, onchange: (event) => change(id, event.target.value) }, options));
  };
  const tick = (event) => change("seen", event.target.checked ? "1" : "");
  return el(
    "div",
    { class: "controls", role: "group", "aria-label": "Lists" },
    choice("k", "Length", lengths.map((n) => [String(n), n]), String(wanted.k)),
    categories.length
      ? choice("category", "Category", [["", "all"], ...categories.map((one) => [one, one])], wanted.category ?? "")
      : null,
    el(
      "label",
      {},
      el("input", { id: "seen", type: "checkbox", checked: wanted.seen, onchange: tick }),
      " Items of the history too",
    ),
  );
}
