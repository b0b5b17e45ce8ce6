// The search field for users and items, by keyboard or pointer.

import { get } from "./api.js";
import { el, link, say } from "./dom.js";

const DELAY = 150;
const LIMIT = 6;

export function search(onfail) {
  const input = document.getElementById("search");
  const list = document.getElementById("results");
  let requestCount = 0;
  let active = -1;
  let timer = 0;

  function close() {
    list.hidden = true;
    input.setAttribute("aria-expanded", "false");
    input.removeAttribute("aria-activedescendant");
    active = -1;
  }

  function choose(option) {
    close();
    input.value = "";
    location.hash = option.dataset.to;
  }

  function mark(index) {
    const options = [...list.querySelectorAll("[role=option]")];
    if (!options.length) return;
    active = (index + options.length) % options.length;
    options.forEach((option, n) => option.setAttribute("aria-selected", String(n === active)));
    options[active].scrollIntoView({ block: "nearest" });
    input.setAttribute("aria-activedescendant", options[active].id);
  }

  function option(kind, id, more) {
    return el(
      "li",
      { role: "option", id: `result-${kind}-${list.childElementCount}`, "aria-selected": "false", "data-to": link[kind](id) },
      el("span", { class: "kind" }, kind),
      el("span", { class: "name" }, more || id),
      more ? el("span", { class: "id" }, id) : null,
    );
  }

  async function find() {
    const words = input.value.trim();
    const number = ++requestCount;
    if (!words) return close();
    try {
      const query = { search: words, limit: LIMIT };
      const [users, items] = await Promise.all([get("/v1/users", query), get("/v1/items", query)]);
      if (number !== requestCount) return;
      list.replaceChildren();
      users.users.forEach((user) => list.append(option("user", user.id)));
      items.items.forEach((item) => list.append(option("item", item.id, item.title)));
      if (!users.total && !items.total) list.append(el("li", { role: "presentation", class: "none" }, "Nothing is called so."));
      list.hidden = false;
      input.setAttribute("aria-expanded", "true");
      active = -1;
      say(`${users.total} users and ${items.total} items found`);
    } catch (error) {
      close();
      onfail(error);
    }
  }

  input.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(find, DELAY);
  });
  input.addEventListener("keydown", async (event) => {
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      mark(active + (event.key === "ArrowDown" ? 1 : active < 0 ? 0 : -1));
    } else if (event.key === "Enter") {
      event.preventDefault();
      clearTimeout(timer);
      if (active < 0) await find();
      const options = list.querySelectorAll("[role=option]");
      const chosen = options[Math.max(active, 0)];
      if (chosen && !list.hidden) choose(chosen);
    } else if (event.key === "Escape") {
      close();
    }
  });
  input.addEventListener("blur", () => setTimeout(close, 150));
  list.addEventListener("mousedown", (event) => event.preventDefault());
  list.addEventListener("click", (event) => {
    const chosen = event.target.closest("[role=option]");
    if (chosen) choose(chosen);
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "/" && !event.target.closest("input, select, textarea")) {
      event.preventDefault();
      input.focus();
    }
  });
}
