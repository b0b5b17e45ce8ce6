// The only place that creates elements. Data becomes text nodes and attributes, never markup.

/** Create an element. Attributes: on… adds a listener, null is left out. Children: nodes, text, arrays, null. */
export function el(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  for (const child of children.flat(Infinity)) {
    if (child !== null && child !== undefined) element.append(child instanceof Node ? child : String(child));
  }
  return element;
}

/** Announce a change to screen readers. */
export function say(text) {
  document.getElementById("status").textContent = text;
}

/** "1 item", "3 items". */
export function count(number, noun) {
  return `${number.toLocaleString("en")} ${noun}${number === 1 ? "" : "s"}`;
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

/** Names and values; null and empty values are left out. */
export function facts(entries) {
  const rows = entries.filter(([, value]) => value !== null && value !== "");
  if (!rows.length) return null;
  return el("dl", { class: "facts" }, rows.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value))));
}

export const link = {
  user: (id) => `#/user/${encodeURIComponent(id)}`,
  item: (id) => `#/item/${encodeURIComponent(id)}`,
};

/** Move through `elements` by arrow keys, Home and End; they are one Tab stop. `onside`: the element to the left or right. */
export function roving(elements, onside = null) {
  elements.forEach((element, index) => {
    element.tabIndex = index === 0 ? 0 : -1;
    element.addEventListener("focus", () => elements.forEach((other) => { other.tabIndex = other === element ? 0 : -1; }));
    element.addEventListener("keydown", (event) => {
      const step = { ArrowDown: index + 1, ArrowUp: index - 1, Home: 0, End: elements.length - 1 }[event.key];
      const side = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      const next = step === undefined ? (side && onside ? onside(index, side) : null) : elements[step];
      if (next) {
        event.preventDefault();
        next.focus();
      }
    });
  });
}
