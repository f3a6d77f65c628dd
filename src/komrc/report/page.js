"use strict";
// The browsable list. Every text of the data goes into the page as textContent, never as HTML.
const data = JSON.parse(document.getElementById("data").textContent);
const PAGE = 20, AROUND = 110;
const root = document.documentElement;
const $ = (id) => document.getElementById(id);
let shown = PAGE, matching = [];

function make(tag, text, name) {
  const element = document.createElement(tag);
  if (text !== undefined) element.textContent = text;
  if (name) element.className = name;
  return element;
}
const say = (key) => data.labels[root.lang][key];

function option(value, text) {
  const element = make("option", text);
  element.value = value;
  return element;
}

const chosen = { kind: "", slice: "", change: "", sort: "order", search: "" };

function control(name, label, element) {
  const wrapper = make("label", label);
  element.value = chosen[name];
  element.addEventListener("input", () => { chosen[name] = element.value; shown = PAGE; refresh(); });
  wrapper.append(element);
  return wrapper;
}

function buildFilters() {
  const kind = make("select");
  kind.append(option("", say("all")));
  for (const name of data.outcomes) kind.append(option(name, say(name)));
  const slice = make("select");
  slice.append(option("", say("all")));
  data.groups.forEach((group, index) => {
    const entries = make("optgroup");
    entries.label = say(group.name);
    group.slices.forEach((name, at) => entries.append(option(`${index}:${at}`, data.slices[root.lang][index][at])));
    slice.append(entries);
  });
  const sort = make("select");
  sort.append(option("order", say("by_order")), option("f1", say("by_f1")));
  if (data.scored) sort.append(option("score", say("by_score")));
  const search = make("input");
  search.type = "search";
  search.placeholder = say("search");
  const form = $("filters");
  form.replaceChildren(control("kind", say("kind"), kind), control("slice", say("group"), slice));
  if (data.compared) {
    const change = make("select");
    change.append(option("", say("all")));
    for (const name of ["won", "lost", "both_wrong"]) change.append(option(name, say(name)));
    form.append(control("change", say("change"), change));
  }
  form.append(control("sort", say("sort"), sort), control("search", say("search"), search));
}

const change = (q) => q.right ? (q.right2 ? "both_right" : "lost") : q.right2 ? "won" : "both_wrong";

function select() {
  const [group, at] = chosen.slice.split(":").map(Number);
  const words = chosen.search.trim().toLowerCase();
  matching = data.questions.filter((q) =>
    (chosen.change ? change(q) === chosen.change : !q.right)
    && (!chosen.kind || q.outcome === chosen.kind)
    && (!chosen.slice || q.slices[group] === at)
    && (!words || [q.question, q.said, q.said2 ?? "", ...q.golds, data.contexts[q.context]]
      .some((text) => text.toLowerCase().includes(words))));
  if (chosen.sort === "f1") matching.sort((a, b) => a.f1 - b.f1);
  if (chosen.sort === "score") matching.sort((a, b) => (b.score ?? -1) - (a.score ?? -1));
}

// Offsets count code points, as in Python; JavaScript's own count UTF-16 units.
function marked(q, whole) {
  const letters = Array.from(data.contexts[q.context]);
  const spans = [["gold", q.goldAt], ["said", q.saidAt], ["other", q.said2At]].filter(([, at]) => at);
  const low = whole || !spans.length ? 0 : Math.max(0, Math.min(...spans.map(([, [a]]) => a)) - AROUND);
  const high = whole ? letters.length
    : Math.min(letters.length, Math.max(AROUND, ...spans.map(([, [, b]]) => b)) + AROUND);
  const edges = new Set([low, high]);
  for (const [, [a, b]] of spans) edges.add(a).add(b);
  const cuts = [...edges].filter((x) => x >= low && x <= high).sort((a, b) => a - b);
  const text = make("p", undefined, "text");
  if (low > 0) text.append("… ");
  for (let i = 0; i + 1 < cuts.length; i++) {
    const names = spans.filter(([, [a, b]]) => a <= cuts[i] && cuts[i + 1] <= b).map(([name]) => name);
    const piece = letters.slice(cuts[i], cuts[i + 1]).join("");
    text.append(names.length ? make("span", piece, names.join(" ")) : piece);
  }
  if (high < letters.length) text.append(" …");
  return text;
}

function entry(q) {
  const article = make("article");
  const chips = make("div", undefined, "chips");
  chips.append(make("span", say(q.outcome), q.right ? "kind right" : "kind"), make("span", `F1 ${(100 * q.f1).toFixed(0)}`));
  if (q.score !== null) chips.append(make("span", `${say("score")} ${q.score.toFixed(2)}`));
  if (data.compared) chips.append(make("span", say(change(q))));
  chips.append(make("span", q.id, "small"));
  const answers = make("dl");
  const line = (key, value) => answers.append(make("dt", say(key)), make("dd", value || say("empty")));
  line("gold", q.golds.join(" / "));
  line("prediction", q.said);
  if (data.compared) line("second_prediction", q.said2);
  const full = make("details");
  full.append(make("summary", say("full_text")));
  full.addEventListener("toggle", () => {
    if (full.open && full.children.length === 1) full.append(marked(q, true));
  });
  article.append(chips, make("h3", q.question), answers, marked(q, false), full);
  return article;
}

function refresh() {
  select();
  $("found").replaceChildren(`${matching.length.toLocaleString()} ${say("shown")}`, make("span", say("marks") + (data.compared ? say("other_mark") : ""), "small legend"));
  $("list").replaceChildren(...(matching.length ? matching.slice(0, shown).map(entry) : [make("p", say("none_found"), "note")]));
  $("more").hidden = shown >= matching.length;
}

function translate(language) {
  root.lang = language;
  $("more").textContent = say("more");
  buildFilters();
  refresh();
}

$("filters").addEventListener("submit", (event) => event.preventDefault());
$("switch").addEventListener("click", () => translate(root.lang === "ko" ? "en" : "ko"));
$("more").addEventListener("click", () => {
  const from = shown;
  shown += PAGE;
  $("list").append(...matching.slice(from, shown).map(entry));
  $("more").hidden = shown >= matching.length;
});
translate((navigator.language || "ko").startsWith("ko") ? "ko" : "en");
