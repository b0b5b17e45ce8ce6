// Show the view that the address names after #, so that every view can be linked to.

import { TokenNeeded, get, keepToken } from "./api.js";
import { el, heading, link, problem, say } from "./dom.js";
import { home } from "./home.js";
import { item } from "./item.js";
import { withPictures } from "./lists.js";
import { search } from "./search.js";
import { user } from "./user.js";

const main = document.getElementById("main");
let service = null;
let showCount = 0;

function address() {
  const [path, query] = location.hash.replace(/^#\/?/, "").split("?");
  const [kind, id] = path.split("/");
  try {
    return { kind, id: decodeURIComponent(id ?? ""), options: new URLSearchParams(query) };
  } catch {
    return { kind: "?", id: "", options: new URLSearchParams() };
  }
}

/** The model cards of the runs; runs with the same label get their number added. */
async function loadRuns() {
  const response = await get("/v1/runs");
  withPictures(response.runs.some((run) => run.pictures));
  const sameLabel = new Set(response.runs.map((run) => run.label)).size < response.runs.length;
  return { ...response, runs: response.runs.map((run) => ({ ...run, label: sameLabel ? `${run.label} (${run.run})` : run.label })) };
}

async function view() {
  service ??= await loadRuns();
  const { kind, id, options } = address();
  const change = (name, value) => {
    if (value) options.set(name, value);
    else options.delete(name);
    location.hash = `${link.user(id)}${options.size ? `?${options}` : ""}`;
  };
  if (kind === "") return home(service);
  if (kind === "user" && id) return user(id, service, options, change);
  if (kind === "item" && id) return item(id, service);
  throw new Error("There is nothing at this address.");
}

async function show(moved) {
  const number = ++showCount;
  const focused = document.activeElement?.closest(".controls") ? document.activeElement.id : null;
  main.setAttribute("aria-busy", "true");
  let nodes;
  try {
    nodes = await view();
  } catch (error) {
    nodes = failure(error);
  }
  if (number !== showCount) return; // a later view replaces this one
  main.replaceChildren(...nodes.flat(Infinity).filter(Boolean));
  main.removeAttribute("aria-busy");
  const title = main.querySelector("h1").textContent;
  document.title = `${title} – crossrec`;
  say(title);
  if (focused) document.getElementById(focused)?.focus();
  else if (moved) {
    main.querySelector("h1").focus({ preventScroll: true });
    scrollTo(0, 0);
  }
}

function failure(error) {
  if (error instanceof TokenNeeded) {
    const input = el("input", { id: "token", type: "password", autocomplete: "off", required: true });
    const submit = (event) => {
      event.preventDefault();
      keepToken(input.value.trim());
      show(true);
    };
    const label = el("label", {}, "The service's token ", input);
    const form = el("form", { class: "panel controls", onsubmit: submit }, label, el("button", {}, "Use it"));
    return [heading("A token is needed"), form];
  }
  return [heading("That did not work"), problem(error.message), el("p", {}, el("a", { href: "#/" }, "Back to the start"))];
}

function fail(error) {
  main.replaceChildren(...failure(error));
}

document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  main.focus();
});
document.getElementById("random").addEventListener("click", async () => {
  try {
    const { total } = await get("/v1/users", { limit: 1 });
    const { users } = await get("/v1/users", { limit: 1, offset: Math.floor(Math.random() * total) });
    location.hash = link.user(users[0].id);
  } catch (error) {
    fail(error);
  }
});
addEventListener("hashchange", () => show(true));
search(fail);
show(false);
