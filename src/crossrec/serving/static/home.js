// The start view: model cards, users and items.

import { get } from "./api.js";
import { chips, count, el, facts, heading, lead, link, panel } from "./dom.js";

const ENTRIES = 12;

export async function home({ runs }) {
  const [users, items] = await Promise.all(["/v1/users", "/v1/items"].map((path) => get(path, { limit: ENTRIES })));
  return [
    heading(runs.length > 1 ? "Two runs, side by side" : "A run"),
    lead("A user shows what they took, what each run recommends and why; an item shows what is near it."),
    el("div", { class: "columns" }, runs.map(card)),
    el("h2", {}, count(users.total, "user")),
    chips(users.users.map((user) => [link.user(user.id), user.id])),
    el("h2", {}, count(items.total, "item")),
    chips(items.items.map((item) => [link.item(item.id), item.title ?? item.id])),
  ];
}

function card(run) {
  const SPLITS = { train: "training", valid: "validation", test: "test" };
  const sizes = Object.entries(run.interactions).map(([split, n]) => `${n.toLocaleString("en")} for ${SPLITS[split]}`);
  const modalities = Object.entries(run.modalities).map(([name, items]) => `${name} (${count(items, "item")})`);
  const versions = Object.entries(run.versions).map((pair) => pair.join(" "));
  return panel(
    run.label,
    metrics(run.metrics),
    facts([
      ["Trained", run.made.replace("T", " ").replace("Z", " UTC")],
      ["Epochs", run.epochs === null ? null : `${run.epochs}, the best ${run.best_epoch}`],
      ["Interactions", sizes.join(", ")],
      ["Dimension", run.dimension],
      ["Modalities", modalities.join(", ") || "none"],
      ["Scores are sums of", run.parts.join(", ")],
      ["Versions", versions.join(", ")],
      ["Identity", run.identity],
    ]),
    el("details", {}, el("summary", {}, "Settings"), el("pre", { tabindex: "0" }, JSON.stringify(run.config, null, 2))),
  );
}

function metrics(splits) {
  const names = [...new Set(Object.values(splits).flatMap(Object.keys))];
  if (!names.length) return null;
  const cell = (split, name) => el("td", {}, name in split ? split[name].toFixed(4) : "–");
  return el(
    "table",
    {},
    el("thead", {}, el("tr", {}, el("td"), Object.keys(splits).map((split) => el("th", { scope: "col" }, split)))),
    el(
      "tbody",
      {},
      names.map((name) =>
        el("tr", {}, el("th", { scope: "row" }, name), Object.values(splits).map((split) => cell(split, name))),
      ),
    ),
  );
}
