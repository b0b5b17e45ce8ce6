// Elements are made here and nowhere else. What comes from data becomes text nodes and attributes, never markup.

/** An element: attributes (on… are listeners, null leaves one out), then children: nodes, text, lists, null. */
export function el(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else made.setAttribute(name, value === true ? "" : value);
  }
  for (const child of children.flat(Infinity)) {
    if (child !== null && child !== undefined) made.append(child instanceof Node ? child : String(child));
  }
  return made;
}

/** Tell people who do not see the page what has changed. */
export function say(text) {
  document.getElementById("status").textContent = text;
}

/** "1 item", "3 items". */
export function count(number, what) {
  return `${number.toLocaleString("en")} ${what}${number === 1 ? "" : "s"}`;
}

export const heading = (text) => el("h1", { tabindex: "-1" }, text);
export const lead = (text, id = null) => el("p", { class: "lead", id }, text);
export const note = (text) => el("p", { class: "note" }, text);
export const problem = (text) => el("p", { class: "problem", role: "alert" }, text);
export const panel = (title, ...content) => el("section", { class: "panel" }, el("h2", {}, title), content);

/** Links in a row. */
export function chips(entries) {
  return el("ul", { class: "chips" }, entries.map(([href, ...content]) => el("li", {}, el("a", { href }, content))));
}

/** Names and values; those of null are left out. */
export function facts(entries) {
  const rows = entries.filter(([, value]) => value !== null && value !== "");
  if (!rows.length) return null;
  return el("dl", { class: "facts" }, rows.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value))));
}

export const link = {
  user: (id) => `#/user/${encodeURIComponent(id)}`,
  item: (id) => `#/item/${encodeURIComponent(id)}`,
};

/** Arrow keys, Home and End go through `elements`; Tab enters them as one stop. */
export function roving(elements, onside = null) {
  elements.forEach((element, place) => {
    element.tabIndex = place === 0 ? 0 : -1;
    element.addEventListener("focus", () => elements.forEach((other) => { other.tabIndex = other === element ? 0 : -1; }));
    element.addEventListener("keydown", (event) => {
      const step = { ArrowDown: place + 1, ArrowUp: place - 1, Home: 0, End: elements.length - 1 }[event.key];
      const side = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      const next = step === undefined ? (side && onside ? onside(place, side) : null) : elements[step];
      if (next) {
        event.preventDefault();
        next.focus();
      }
    });
  });
}
