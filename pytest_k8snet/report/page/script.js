"use strict";
const WORDS = { o: "conforms", x: "wrong", "?": "not judged", " ": "not asked" };

function heat(figure) {
  const svg = figure.querySelector("svg"), output = figure.querySelector("output");
  const cursor = svg.querySelector(".cursor");
  const { left, top, size } = svg.dataset;
  let data, at = null;

  function show(x, y) {
    data ??= JSON.parse(figure.querySelector("script").textContent);
    const width = data.columns.length, number = y * width + x;
    if (x < 0 || y < 0 || x >= width || y >= data.rows.length) return;
    at = [x, y];
    cursor.setAttribute("x", x);
    cursor.setAttribute("y", y);
    cursor.setAttribute("visibility", "visible");
    const state = data.states[number];
    let text = `${data.rows[y]} \u2192 ${data.columns[x]}: ${WORDS[state]}`;
    if (state !== " ") text += `, ${data.ms[number]} ms`;
    if (data.wrong[number]) text += `; ${data.wrong[number]}`;
    output.textContent = text;
  }

  svg.addEventListener("pointermove", (event) => {
    const box = svg.getBoundingClientRect(), scale = svg.width.baseVal.value / box.width;
    show(Math.floor(((event.clientX - box.left) * scale - left) / size),
         Math.floor(((event.clientY - box.top) * scale - top) / size));
  });
  svg.addEventListener("focus", () => { if (!at) show(0, 0); });
  svg.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (!step) return;
    event.preventDefault();
    show((at ?? [0, 0])[0] + step[0], (at ?? [0, 0])[1] + step[1]);
  });
}

function filter() {
  const form = document.getElementById("filter");
  const [text, strict] = form.querySelectorAll("input");
  form.hidden = false;
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("input", () => {
    const wanted = text.value.toLowerCase();
    for (const rule of document.querySelectorAll(".rule")) {
      const fits = rule.firstElementChild.textContent.toLowerCase().includes(wanted);
      const passed = rule.matches(".pass, .not-applicable");
      rule.hidden = !fits || (strict.checked && passed);
    }
  });
}

function openTarget() {
  const rule = location.hash && document.getElementById(location.hash.slice(1));
  if (rule && rule.matches(".rule")) rule.open = true;
}

document.querySelectorAll(".heat").forEach(heat);
filter();
openTarget();
addEventListener("hashchange", openTarget);
