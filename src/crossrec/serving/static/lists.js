// Items as rows, cards and bars.

import { post, show } from "./api.js";
import { el, link, note, problem, roving, say } from "./dom.js";

let rowCount = 0;
let hasPictures = false;

/** Whether any run has pictures; if not, rows leave no space for them. */
export function withPictures(available) {
  hasPictures = available;
}

export function thumb(item, run, kind = "thumb") {
  if (!hasPictures) return null;
  const name = String(item.title ?? item.id);
  if (!item.picture) return el("span", { class: `${kind} blank`, "aria-hidden": "true" }, [...name][0] ?? "");
  const image = el("img", { class: kind, alt: "", loading: "lazy", decoding: "async" });
  show(image, item.id, run);
  return image;
}

/** Title, or the id without one; below it the id and the categories, then badges. */
export function names(item, badges = []) {
  const below = [...(item.title === null ? [] : [item.id]), ...item.categories];
  return el(
    "span",
    { class: "names" },
    el("span", { class: "name" }, item.title ?? item.id),
    below.length ? el("span", { class: "below" }, below.join(" · ")) : null,
    badges.length ? el("span", { class: "badges" }, badges) : null,
  );
}

/** A value in [-most, most] as a bar from the middle. */
function bar(label, value, most, kind = "") {
  const filled = el("span", { class: `filled ${value < 0 ? "less" : "more"} ${kind}` });
  filled.style.width = `${(Math.min(Math.abs(value) / most, 1) * 50).toFixed(1)}%`;
  return el(
    "div",
    { class: "bar" },
    el("dt", {}, label),
    el(
      "dd",
      {},
      el("span", { class: "track", "aria-hidden": "true" }, filled),
      el("span", { class: "value" }, value.toFixed(3)),
    ),
  );
}

/** What a score is made of. */
export function why(explanation) {
  const parts = Object.entries(explanation.parts);
  const most = Math.max(...parts.map(([, value]) => Math.abs(value)), 1e-9);
  const blocks = [];
  if (parts.length) {
    blocks.push(
      el("h3", {}, `The score ${explanation.score.toFixed(3)} is the sum of`),
      el("dl", {}, parts.map(([name, value]) => bar(name, value, most))),
    );
  }
  blocks.push(
    el("h3", {}, "How near the item is to the user (cosine)"),
    el(
      "dl",
      {},
      Object.entries(explanation.cosine).map(([name, value]) => [
        bar(name === "id" ? "behaviour" : name, value, 1),
        name in explanation.aligned ? bar(`${name}, aligned`, explanation.aligned[name], 1, "aligned") : null,
      ]),
    ),
  );
  if (!parts.length) blocks.push(note("This recommender scores by behaviour alone: the score is not a sum over modalities."));
  return blocks;
}

const SPLITS = { train: "trained on", valid: "validation: a hit", test: "test: a hit" };

/** A run's list for a user; a row opens to explain its score. `other`: ranks in the other list by id. */
export function ranked(items, { run, user, other, heading }) {
  const rows = items.map((item) => {
    const id = `why-${++rowCount}`;
    const otherRank = other?.get(String(item.id));
    const box = el("div", { class: "why", id, hidden: true });
    const badges = [
      otherRank === undefined ? null : el("span", { class: "badge both" }, `in both lists, ${otherRank} there`),
      item.seen ? el("span", { class: `badge ${item.seen}` }, SPLITS[item.seen]) : null,
    ].filter(Boolean);
    const button = el(
      "button",
      { type: "button", class: "row", "aria-expanded": "false", "aria-controls": id },
      el("span", { class: "rank" }, item.rank),
      thumb(item, run),
      names(item, badges),
      el("span", { class: "score" }, item.score.toFixed(3)),
    );
    button.addEventListener("click", async () => {
      const opens = box.hidden;
      box.hidden = !opens;
      button.setAttribute("aria-expanded", String(opens));
      if (!opens || box.childElementCount) return;
      box.append(note("…"));
      try {
        const explanation = await post("/v1/explain", { user, item: item.id, run });
        box.replaceChildren(...why(explanation), el("a", { href: link.item(item.id) }, "Open the item"));
        say(`Why ${item.title ?? item.id} is at place ${item.rank}`);
      } catch (error) {
        box.replaceChildren(problem(error.message));
      }
    });
    return { button, node: el("li", { class: otherRank === undefined ? "" : "shared" }, button, box) };
  });
  const list = rows.length
    ? el("ol", { class: "ranked", "aria-label": heading }, rows.map((row) => row.node))
    : note("Nothing is left to recommend.");
  return { list, buttons: rows.map((row) => row.button) };
}

/** Items as links, with their cosine. */
export function neighbours(items, run, heading) {
  const links = items.map((item) =>
    el(
      "a",
      { class: "row", href: link.item(item.id) },
      el("span", { class: "rank" }, item.rank),
      thumb(item, run),
      names(item),
      el("span", { class: "score" }, item.score.toFixed(3)),
    ),
  );
  roving(links);
  return el("ol", { class: "ranked", "aria-label": heading }, links.map((row) => el("li", {}, row)));
}

/** The items of a history. */
export function cards(items, run) {
  return el(
    "ul",
    { class: "cards" },
    items.map((item) => {
      const split = { valid: "validation", test: "test" }[item.seen];
      const badges = split ? [el("span", { class: `badge ${item.seen}` }, split)] : [];
      return el("li", {}, el("a", { href: link.item(item.id) }, thumb(item, run), names(item, badges)));
    }),
  );
}
