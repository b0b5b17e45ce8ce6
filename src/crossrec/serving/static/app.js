// Which view is shown: the address after # says it, so that every view can be linked to.

import { TokenNeeded, get, keepToken } from "./api.js";
import { el, heading, link, problem, say } from "./dom.js";
import { home } from "./home.js";
import { item } from "./item.js";
import { withPictures } from "./lists.js";
import { search } from "./search.js";
import { user } from "./user.js";

const main = document.getElementById("main");
let served = null;
let turn = 0;

function address() {
  const [path, query] = location.hash.replace(/^#\/?/, "").split("?");
  const [kind, id] = path.split("/");
  try {
    return { kind, id: decodeURIComponent(id ?? ""), options: new URLSearchParams(query) };
  } catch {
    return { kind: "?", id: "", options: new URLSearchParams() };
  }
}

/** The cards of the runs; two runs of one name are told apart by their number. */
async function runs() {
  const told = await get("/v1/runs");
  withPictures(told.runs.some((run) => run.pictures));
  const twice = new Set(told.runs.map((run) => run.label)).size < told.runs.length;
  return { ...told, runs: told.runs.map((run) => ({ ...run, label: twice ? `${run.label} (${run.run})` : run.label })) };
}

async function view() {
  served ??= await runs();
  const { kind, id, options } = address();
  const change = (name, value) => {
    if (value) options.set(name, value);
    else options.delete(name);
    location.hash = `${link.user(id)}${options.size ? `?${options}` : ""}`;
  };
  if (kind === "") return home(served);
  if (kind === "user" && id) return user(id, served, options, change);
  if (kind === "item" && id) return item(id, served);
  throw new Error("There is nothing at this address.");
}

async function show(moved) {
  const mine = ++turn;
  const focused = document.activeElement?.closest(".controls") ? document.activeElement.id : null;
  main.setAttribute("aria-busy", "true");
  let nodes;
  try {
    nodes = await view();
  } catch (error) {
    nodes = failure(error);
  }
  if (mine !== turn) return;
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
    const given = (event) => {
      event.preventDefault();
      keepToken(input.value.trim());
      show(true);
    };
    const label = el("label", {}, "The service's token ", input);
    const form = el("form", { class: "panel controls", onsubmit: given }, label, el("button", {}, "Use it"));
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
