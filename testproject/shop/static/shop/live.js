// Keeps the page current. Only what changed is replaced, so a button is not taken away from under the pointer.

const url = document.body.dataset.live;
const shown = new Map();
const table = document.getElementById("rows");
const side = document.getElementById("side");

function put(element, html) {
  if (shown.get(element.id) === html) return;
  shown.set(element.id, html);
  element.innerHTML = html; // rendered and escaped by our own templates
}

function rowOf(id) {
  const known = document.getElementById(id);
  if (known) return known;
  const row = document.createElement("tr");
  row.id = id;
  table.prepend(row);
  return row;
}

async function refresh() {
  try {
    const answer = await fetch(url, { headers: { Accept: "application/json" } });
    if (!answer.ok) return;
    const { rows, side: sideHtml } = await answer.json();
    const oldestFirst = Object.entries(rows).reverse();
    for (const [id, html] of oldestFirst) put(rowOf(id), html);
    put(side, sideHtml);
    document.body.classList.remove("offline");
  } catch {
    document.body.classList.add("offline");
  }
}

async function loop() {
  if (!document.hidden) await refresh();
  setTimeout(loop, 700);
}

loop();
