// The view of an item: its details, its neighbours by behaviour and modality, and its likely users.

import { get, post, settled } from "./api.js";
import { chips, count, el, facts, heading, lead, link, note, panel, problem } from "./dom.js";
import { neighbours, thumb } from "./lists.js";

export async function item(id, { runs }) {
  const responses = await settled(runs.map(({ run }) => get("/v1/item", { item: id, run })));
  const panels = await Promise.all(
    runs.map(async (run, n) => panel(run.label, responses[n].value ? await near(id, run, responses[n].value) : problem(responses[n].reason.message))),
  );
  const first = responses.findIndex((response) => response.value);
  const { item: summary, details, taken } = responses[first].value;
  const subtitle = [summary.title === null ? [] : `Item ${summary.id}`, summary.categories, `taken by ${count(taken, "user")} in training`];
  return [
    el(
      "div",
      { class: "item" },
      thumb(summary, runs[first].run, "picture"),
      el(
        "div",
        {},
        heading(summary.title ?? `Item ${summary.id}`),
        lead(subtitle.flat().join(" · ")),
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
    users.length ? chips(users.map((user) => [link.user(user.id), `${user.id} `, el("small", {}, user.score.toFixed(2))])) : null,
  ];
}
