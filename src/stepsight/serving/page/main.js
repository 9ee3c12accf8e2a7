// The page: what is asked, of which methods, and what comes of it.
import { chat, drawn, forgetKey, keepKey, models, trace, truth } from "./server.js";
import { dataOf, Picture, pictureIn } from "./picture.js";
import { formsOf, Method } from "./methods.js";
import { recall, remember } from "./remembered.js";
import { byId, make } from "./elements.js";
import { Column } from "./column.js";
import { stagesOf } from "./staged.js";

const EVENTS = ["stage_started", "text", "candidate", "verdict", "stage_chosen", "retrace"];
const EMPTY = "Drop or paste a picture here, choose one, or have one drawn.";

const picture = new Picture(byId("picture"));
const methods = [0, 1].map((place) => new Method(byId(`method-${place}`), keep));
let shown = { picture: null, scene: null, caption: EMPTY }; // scene: what the server drew, with its truth
let columns = [];
let asking = null; // stops what is under way

// The server and its key.

async function connect() {
  byId("trouble").textContent = "";
  try {
    const forms = formsOf(await models());
    byId("key").hidden = true;
    byId("served").textContent = `serving ${[...forms.keys()].join(", ")}`;
    for (const method of methods) method.offer(forms);
    methods[0].prefer("stage-beam");
    methods[1].prefer("greedy");
    await restore();
  } catch (error) {
    if (error.status === 401) {
      forgetKey();
      byId("key").hidden = false;
      byId("key-text").focus();
    } else {
      complain(error);
    }
  }
}

byId("key").addEventListener("submit", (event) => {
  event.preventDefault();
  keepKey(byId("key-text").value.trim());
  byId("key-text").value = "";
  connect();
});

function complain(error) {
  byId("trouble").textContent = [error.message, error.hint].filter(Boolean).join(" ");
  if (error.status === 401) byId("key").hidden = false;
}

// The picture.

function see(url, caption, scene = null) {
  shown = { picture: url, scene, caption };
  picture.show(url, caption);
  byId("truth").hidden = !scene;
  byId("truth").open = false;
  if (scene) {
    const texts = [...stagesOf(scene.truth)].map(([stage, text]) => make("p", {}, make("b", { class: "stage" }, `${stage} `), text));
    byId("truth").lastElementChild.replaceChildren(make("p", {}, `To “${scene.question}” the answer is ${scene.answer}.`), ...texts);
  }
}

async function take(file) {
  if (!file) return;
  try {
    see(await dataOf(file), `${file.name || "A pasted picture"}.`);
    byId("trouble").textContent = "";
    keep();
  } catch (error) {
    complain(error);
  }
}

byId("file").addEventListener("change", (event) => { take(event.target.files[0]); event.target.value = ""; });
addEventListener("paste", (event) => {
  const file = pictureIn(event.clipboardData);
  if (file) { event.preventDefault(); take(file); }
});
addEventListener("dragover", (event) => { event.preventDefault(); byId("picture").classList.add("over"); });
addEventListener("dragleave", () => byId("picture").classList.remove("over"));
addEventListener("drop", (event) => {
  event.preventDefault();
  byId("picture").classList.remove("over");
  const file = pictureIn(event.dataTransfer);
  if (file) take(file);
  else complain(new Error("What was dropped is no picture."));
});

byId("draw").addEventListener("click", async () => {
  const given = byId("drawn-seed").value;
  const seed = given === "" ? Math.floor(Math.random() * 2 ** 31) : Number(given);
  try {
    const scene = await drawn(byId("split").value, seed);
    see(scene.picture, `Drawn: ${scene.split}, seed ${scene.seed}.`, scene);
    byId("question").value = scene.question;
    byId("trouble").textContent = "";
    byId("said").textContent = `A picture is drawn, with the question: ${scene.question}`;
    keep();
  } catch (error) {
    complain(error);
  }
});

// Asking.

const numberOf = (id) => (byId(id).value === "" ? undefined : Number(byId(id).value));
const asked = () => (byId("compare").checked ? methods : methods.slice(0, 1));
const known = () => (shown.scene?.question === byId("question").value.trim() ? shown.scene.answer : "");

function body(method) {
  const content = [{ type: "text", text: byId("question").value }];
  if (shown.picture) content.unshift({ type: "image_url", image_url: { url: shown.picture } });
  const tokens = numberOf("tokens");
  return {
    model: method.asked,
    messages: [{ role: "user", content }],
    stream: true,
    stream_options: { include_usage: true },
    seed: numberOf("seed"),
    search: {
      events: EVENTS, content: "whole", keep: true,
      ...(method.judge ? { judge: method.judge } : {}),
      ...(tokens ? { budget: { tokens } } : {}),
    },
  };
}

function column(title, place) {
  return new Column(title, place, {
    light: (cells) => picture.light(cells),
    name: (cells) => picture.name(cells),
    say: (text) => { byId("said").textContent = text; },
  });
}

function showColumns(made) {
  columns = made;
  byId("searches").replaceChildren(...columns.map((one) => one.element));
  byId("searches").classList.toggle("two", columns.length > 1);
  document.body.classList.add("asked");
}

async function search(method, one, signal) {
  const scene = known() ? shown.scene : null;
  try {
    for await (const chunk of chat(body(method), signal)) one.take(chunk);
    one.finish(scene?.answer ?? "");
    if (scene && one.traceId) one.judge(await truth(one.traceId, scene).catch(() => ({})));
  } catch (error) {
    if (error.name === "AbortError") one.stop();
    else {
      one.fail(error);
      if (error.status === 401) complain(error);
    }
  }
}

function busy(yes) {
  byId("go").disabled = yes;
  byId("stop").hidden = !yes;
}

byId("ask").addEventListener("submit", async (event) => {
  event.preventDefault();
  byId("trouble").textContent = "";
  asking?.abort();
  const own = new AbortController();
  asking = own;
  picture.name([]);
  const chosen = asked();
  showColumns(chosen.map((method, place) => column(method.asked, place)));
  busy(true);
  keep();
  await Promise.all(chosen.map((method, place) => search(method, columns[place], own.signal)));
  if (asking !== own) return;
  asking = null;
  busy(false);
  if (own.signal.aborted) byId("go").focus();
  keep();
});

byId("stop").addEventListener("click", () => asking?.abort());
byId("question").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) byId("ask").requestSubmit();
});
byId("compare").addEventListener("change", () => { byId("method-1").hidden = !byId("compare").checked; keep(); });
for (const id of ["question", "seed", "tokens"]) byId(id).addEventListener("change", () => keep());

// What a reload brings back.

function keep() {
  remember({
    ...shown,
    question: byId("question").value,
    methods: methods.map((method) => method.chosen),
    compare: byId("compare").checked,
    seed: byId("seed").value,
    tokens: byId("tokens").value,
    results: columns.filter((one) => one.traceId).map((one) => (
      { title: one.title, report: { ...one.search.report, trace: undefined }, truths: one.search.truths })),
  });
}

async function restore() {
  const last = recall();
  if (last.question === undefined) return;
  if (last.picture) see(last.picture, last.caption, last.scene);
  byId("question").value = last.question;
  last.methods.forEach((method, place) => methods[place].choose(method));
  byId("compare").checked = last.compare;
  byId("method-1").hidden = !last.compare;
  byId("seed").value = last.seed;
  byId("tokens").value = last.tokens;
  // The server keeps searches for a while, not for ever.
  const traces = await Promise.all(last.results.map((one) => trace(one.report.trace_id).catch(() => null)));
  const kept = last.results.flatMap((one, place) => (traces[place] ? [{ ...one, trace: traces[place] }] : []));
  if (!kept.length) return;
  showColumns(kept.map(({ title }, place) => column(title, place)));
  kept.forEach((one, place) => {
    columns[place].restore(one.trace, one.report, known());
    columns[place].judge(one.truths);
  });
  byId("said").textContent = "The last answers are shown again.";
}

connect();
