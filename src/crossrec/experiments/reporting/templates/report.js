"use strict";

// A click on a header sorts by its column, a second click reverses the order, a third restores it.
const live = document.getElementById("live");

for (const table of document.querySelectorAll("table.data")) {
  const body = table.tBodies[0];
  const rows = [...body.rows];
  if (rows.length < 2) continue;
  const heads = [...table.querySelectorAll("th[data-first]")];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = head.textContent;
    button.addEventListener("click", () => {
      const first = head.dataset.first;
      const other = first === "ascending" ? "descending" : "ascending";
      const current = head.getAttribute("aria-sort");
      const direction = current === null ? first : current === first ? other : null;
      for (const header of heads) header.removeAttribute("aria-sort");
      if (direction) head.setAttribute("aria-sort", direction);
      table.classList.toggle("sorted", direction !== null);
      body.append(...(direction ? sorted(rows, column, direction) : rows));
      const name = button.textContent;
      live.textContent = direction ? `Sorted by ${name}, ${direction}` : "In the order in which it was written";
    });
    head.replaceChildren(button);
  });
}

// In both directions numbers come before text, and empty cells last. Ties keep their order.
function sorted(rows, column, direction) {
  const sign = direction === "ascending" ? 1 : -1;
  const keyed = rows.map((row) => {
    const cell = row.cells[column];
    const value = cell.dataset.value === undefined ? NaN : number(cell.dataset.value);
    const text = cell.textContent.trim();
    const rank = !Number.isNaN(value) ? 0 : cell.classList.contains("missing") || !text ? 2 : 1;
    return { row, value, text, rank };
  });
  keyed.sort((a, b) => {
    if (a.rank !== b.rank) return a.rank - b.rank;
    if (a.rank === 0) return a.value === b.value ? 0 : sign * (a.value < b.value ? -1 : 1);
    return sign * a.text.localeCompare(b.text, "en", { numeric: true });
  });
  return keyed.map((entry) => entry.row);
}

function number(text) {
  return Number(text.replace("inf", "Infinity"));
}

for (const element of document.querySelectorAll(".copies")) element.hidden = false;

for (const button of document.querySelectorAll("button[data-copy]")) {
  const name = button.textContent;
  button.addEventListener("click", async () => {
    const copied = await copy(button.dataset.copy);
    button.textContent = copied ? "copied" : "not allowed";
    live.textContent = copied ? `Copied as ${name}` : "The browser does not allow copying";
    setTimeout(() => { button.textContent = name; }, 1500);
  });
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const area = document.createElement("textarea");
    area.value = text;
    area.className = "hidden";
    document.body.append(area);
    area.select();
    const copied = document.execCommand("copy");
    area.remove();
    return copied;
  }
}
