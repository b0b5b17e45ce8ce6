// An item: what is known of it, what is near it by each view, who would like it.

import { get, post, settled } from "./api.js";
import { chips, count, el, facts, heading, lead, link, note, panel, problem } from "./dom.js";
import { neighbours, thumb } from "./lists.js";

export async function item(id, { runs }) {
  const known = await settled(runs.map(({ run }) => get("/v1/item", { item: id, run })));
  const panels = await Promise.all(
    runs.map(async (run, n) => panel(run.label, known[n].value ? await near(id, run, known[n].value) : problem(known[n].reason.message))),
  );
  const first = known.findIndex((one) => one.value);
  const { item: about, details, taken } = known[first].value;
  const said = [about.title === null ? [] : `Item ${about.id}`, about.categories, `taken by ${count(taken, "user")} in training`];
  return [
    el(
      "div",
      { class: "item" },
      thumb(about, runs[first].run, "picture"),
      el(
        "div",
        {},
        heading(about.title ?? `Item ${about.id}`),
        lead(said.flat().join(" · ")),
        facts(Object.entries(details)),
      ),
    ),
    panels,
  ];
}

async function near(id, { run, label }, { views, users }) {
  const lists = await Promise.all(views.map((by) => post("/v1/similar", { item: id, by, run })));
  const columns = views.map((by, n) =>
    el("section", {}, el("h3", {}, `Near by ${by}`), neighbours(lists[n].items, run, `${label}: near by ${by}`)),
  );
  return [
    views.includes("behaviour") ? null : note("Nobody has taken it in training: by behaviour it has no place."),
    el("div", { class: "columns" }, columns),
    users.length ? el("h3", {}, "Who would like it, of those who have not taken it") : null,
    users.length ? chips(users.map((one) => [link.user(one.id), `${one.id} `, el("small", {}, one.score.toFixed(2))])) : null,
  ];
}
