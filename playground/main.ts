// The page: starts the engine in its worker, shows the panels, and takes what is dropped.
/// <reference lib="dom" />
import { App, shippedModel } from "./app.ts";
import { EngineClient } from "./page/client.ts";
import { html } from "./page/dom.ts";
import { exampleFace } from "./page/examples.ts";
import { fetchBlob } from "./page/fetch_blob.ts";
import { isolate, keepForOffline } from "./page/offline.ts";
import { takeDrops } from "./drop.ts";
import { chapters, type Panel } from "./panel.ts";
import { panels } from "./panels/all.ts";

const byId = (id: string): HTMLElement => document.getElementById(id)!;

function sectionOf({ id, title, sees, chapter, mount }: Panel, app: App): HTMLElement {
  const body = html("div", { className: "body" });
  const link = html(
    "a",
    { href: `book/${chapter}.html`, className: "chapter" },
    `Chapter ${chapters[chapter]}`,
  );
  const section = html(
    "section",
    { id, "aria-labelledby": `${id}-title` },
    html("h2", { id: `${id}-title` }, title),
    html("p", { className: "sees" }, `${sees} `, link),
    body,
  );
  mount(body, app);
  return section;
}

/** Keeps the line at the top and the box with errors up to date. */
function showState(app: App): void {
  const status = byId("status"), problem = byId("problem"), text = byId("problem-text");
  const say = () => {
    const { activity, model } = app;
    if (activity.value !== "") status.textContent = activity.value;
    else if (model.value) status.textContent = `${model.value.name} on ${model.value.device}`;
  };
  app.activity.watch(say);
  app.model.watch(say);
  app.problem.watch((words) => {
    problem.hidden = words === "";
    text.textContent = words;
  });
  byId("problem-close").onclick = () => app.problem.set("");
}

/** Loads the model and the first faces. */
async function begin(app: App): Promise<void> {
  const onShare = (share: number) => app.activity.set(`fetching the model: ${Math.floor(share * 100)} %`);
  const file = await app.during("fetching the model", () => fetchBlob(shippedModel, { onShare }));
  if (file !== null) await app.openModel(shippedModel, file);
  if (app.model.value === null) return; // the page says why
  await app.openPicture(await exampleFace(0));
  await app.openPicture(await exampleFace(1), "other");
  await keepForOffline();
}

if (!await isolate()) {
  const worker = new Worker(new URL("./engine/worker.js", import.meta.url), { type: "module" });
  const engine = new EngineClient(worker), app = new App(engine);
  engine.onBusy = (isBusy) => document.body.dataset.engine = isBusy ? "busy" : "idle";
  showState(app);
  byId("contents").append(...panels.map(({ id, title }) => html("a", { href: `#${id}` }, title)));
  byId("panels").append(...panels.map((panel) => sectionOf(panel, app)));
  takeDrops(app);
  await begin(app).catch((error) => app.fail(error));
}
