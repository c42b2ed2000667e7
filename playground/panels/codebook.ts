// The codebook as a map: which codes this face uses, which are near to one, a walk along an axis, and what codes look like.
/// <reference lib="dom" />
import type { CodebookPlaces } from "../engine/codebook.ts";
import type { App, Model } from "../app.ts";
import { Latest } from "../page/client.ts";
import { css, pen } from "../page/canvas.ts";
import { CodePictures } from "../code_pictures.ts";
import { button, choice, html } from "../page/dom.ts";
import { watchSeen } from "../page/seen.ts";
import type { Panel } from "../panel.ts";

export const codebookPanel: Panel = {
  id: "codebook",
  title: "The codebook as a map",
  sees:
    "Each dot is a code, in the colour of what the decoder draws for it, and codes that are far apart on the map are far apart in the codebook. " +
    "The large dots are the codes that this face uses: choose one to see its nearest neighbours, or to walk away from it along an axis of the map.",
  chapter: "5-codebook",
  mount,
};

/** Stops of a walk, how many neighbours are shown, and how many of the codes that the face uses. */
const stops = 7, near = 6, most = 14;

function mount(element: HTMLElement, app: App): void {
  let facts: (CodebookPlaces & { readonly model: Model }) | null = null, code = -1, axis = 0;
  const pictures = new CodePictures(app, () => drawMap());
  const canvas = html("canvas", {
    className: "map codes-map",
    tabIndex: 0,
    role: "application",
    "aria-label":
      "Map of the codes. Arrow keys move to the nearest code in their direction, Enter takes the code for painting.",
  });
  const readout = html("p", { className: "readout", "aria-live": "polite" });
  const neighbours = html("div", { className: "codes" }), walk = html("div", { className: "codes walk" });
  const used = html("div", { className: "codes" });
  const share = html("p", { className: "hint" });

  /** How often the face uses each code. */
  const counts = () => {
    const found = new Map<number, number>();
    for (const token of app.face.value?.tokens ?? []) found.set(token, (found.get(token) ?? 0) + 1);
    return found;
  };

  /** Where a code is on the canvas, in pixels of the canvas. */
  const spots = (side: number): (token: number) => [x: number, y: number] => {
    const { places, axes } = facts!, second = Math.min(1, axes - 1);
    let most = 1e-9;
    for (let i = 0; i < places.length; i++) {
      if (i % axes <= second) most = Math.max(most, Math.abs(places[i]));
    }
    const scale = side * 0.48 / most;
    return (token) => [
      side / 2 + places[token * axes] * scale,
      side / 2 - (axes > 1 ? places[token * axes + 1] * scale : 0),
    ];
  };

  const drawMap = () => {
    const side = Math.round(canvas.clientWidth * devicePixelRatio);
    if (side === 0 || !facts) return;
    Object.assign(canvas, { width: side, height: side });
    const g = pen(canvas), spot = spots(side), uses = counts();
    const dot = (token: number, radius: number) => {
      const [x, y] = spot(token);
      g.beginPath();
      g.arc(x, y, radius * devicePixelRatio, 0, 7);
    };
    g.strokeStyle = "#fff4";
    g.strokeRect(0, side / 2, side, 0);
    g.strokeRect(side / 2, 0, 0, side);
    for (let token = 0; token * facts.axes < facts.places.length; token++) {
      if (uses.has(token)) continue;
      g.fillStyle = css(pictures.colorOf(token));
      dot(token, 2);
      g.fill();
    }
    for (const [token, count] of uses) {
      g.fillStyle = css(pictures.colorOf(token));
      g.strokeStyle = "#fff";
      g.lineWidth = 1.2 * devicePixelRatio;
      dot(token, 4 + Math.min(5, Math.sqrt(count)));
      g.fill();
      g.stroke();
    }
    if (code < 0) return;
    for (const [color, width] of [["#000", 5], ["#fff", 2.5]] as const) {
      g.strokeStyle = color;
      g.lineWidth = width * devicePixelRatio;
      dot(code, 11);
      g.stroke();
    }
  };

  /** A code as a button with its picture, which goes to it. */
  const codeButton = (token: number, text: string) => {
    const made = button("", () => void go(token), {
      className: "code",
      "aria-label": `code ${token}, ${text}`,
    });
    made.append(pictures.canvas(token), html("span", {}, String(token)), html("small", {}, text));
    if (token === code) made.setAttribute("aria-current", "true");
    return made;
  };

  /** Shows a code, and what is near to it. */
  const go = async (token: number) => {
    code = token;
    drawMap();
    const count = counts().get(token) ?? 0;
    readout.textContent = `Code ${token}: this face uses it ${
      count === 0 ? "nowhere" : count === 1 ? "once" : `${count} times`
    }.`;
    const [found, path] = await Promise.all([
      app.engine.ask("neighbours", { code: token, count: near + 1 }),
      app.engine.ask("walk", { code: token, axis, stops }),
    ]);
    if (code !== token) return;
    await pictures.load([token, ...found.map(({ code }) => code), ...path]);
    if (code !== token) return;
    neighbours.replaceChildren(
      ...found.map(({ code, distance }) =>
        codeButton(code, code === token ? "this one" : `at ${distance.toFixed(2)}`)
      ),
    );
    walk.replaceChildren(...path.map((stop, i) => {
      const place = i - (stops - 1) / 2;
      return codeButton(stop, place === 0 ? "start" : `${place > 0 ? "+" : "−"}${Math.abs(place) / 4} σ`);
    }));
  };
  /** Gives the code to the brush of the panel that paints. */
  const takeCode = () => {
    if (code < 0) return;
    app.code.set(code);
    readout.textContent = `In the panel “Paint with tokens” the brush “one code” now paints code ${code}.`;
  };
  const show = (token: number) => void go(token).catch((error) => app.fail(error));

  /** The code nearest to a place, or the nearest one in a direction. */
  const nearest = (
    x: number,
    y: number,
    accepts: (dx: number, dy: number) => boolean = () => true,
  ): number => {
    const spot = spots(canvas.width);
    let best = -1, least = Infinity;
    for (let token = 0; token * facts!.axes < facts!.places.length; token++) {
      const [dx, dy] = spot(token).map((at, i) => at - (i === 0 ? x : y)), distance = Math.hypot(dx, dy);
      if (distance < least && accepts(dx, dy)) [best, least] = [token, distance];
    }
    return best;
  };
  canvas.onpointerdown = (event) => {
    if (!facts) return;
    const { left, top, width } = canvas.getBoundingClientRect(), scale = canvas.width / width;
    show(nearest((event.clientX - left) * scale, (event.clientY - top) * scale));
  };
  canvas.onkeydown = (event) => {
    if (!facts || code < 0) return;
    if (event.key === "Enter") takeCode();
    const directions: Readonly<Record<string, readonly [number, number]>> = {
      ArrowLeft: [-1, 0],
      ArrowRight: [1, 0],
      ArrowUp: [0, -1],
      ArrowDown: [0, 1],
    };
    const direction = directions[event.key];
    if (!direction) return;
    event.preventDefault();
    const [x, y] = spots(canvas.width)(code), [right, down] = direction;
    const next = nearest(x, y, (dx, dy) => {
      const along = dx * right + dy * down;
      return along > 0.5 && along >= Math.abs(dx * down) + Math.abs(dy * right);
    });
    if (next >= 0) show(next);
  };
  new ResizeObserver(drawMap).observe(canvas);

  element.append(
    html(
      "div",
      { className: "beside" },
      html("figure", {}, canvas, share),
      html(
        "div",
        {},
        readout,
        html("h3", {}, "The nearest codes and their distances"),
        neighbours,
        html(
          "div",
          { className: "bar" },
          html("h3", {}, "A walk along an axis"),
          choice<string>("Axis", { "0": "first", "1": "second", "2": "third" }, "0", (value) => {
            axis = Math.min(Number(value), (facts?.axes ?? 3) - 1);
            if (code >= 0) show(code);
          }),
        ),
        walk,
        html("p", { className: "hint" }, "σ is the standard deviation of all codes along this axis."),
        html("h3", {}, "What this face uses most"),
        used,
        html(
          "div",
          { className: "bar" },
          button("Paint with this code", takeCode),
        ),
      ),
    ),
  );

  const update = async (_: null) => {
    const model = app.model.value, face = app.face.value;
    if (!model || !face) return;
    if (facts?.model !== model) {
      pictures.clear(model);
      facts = { ...await app.engine.ask("codebook", null), model };
      code = -1;
      share.textContent = facts.shares.length < 2
        ? ""
        : `The map shows ${
          Math.round(100 * (facts.shares[0] + facts.shares[1]))
        } % of the differences between the ${model.vocabulary.toLocaleString("en")} codes: ${
          Math.round(100 * facts.shares[0])
        } % to the right, ${
          Math.round(100 * facts.shares[1])
        } % upwards. Codes are light grey until they are drawn.`;
    }
    const uses = [...counts()].sort((a, b) => b[1] - a[1]), first = uses.slice(0, most);
    drawMap();
    await pictures.load(first.map(([token]) => token));
    used.replaceChildren(...first.map(([token, count]) => codeButton(token, `${count}×`)));
    await go(app.tile.value >= 0 ? face.tokens[app.tile.value] : code >= 0 ? code : uses[0][0]);
    void pictures.loadRest(seen.isSeen).catch((error) => app.fail(error));
  };
  const latest = new Latest(update, () => {}, (error) => app.fail(error));
  const seen = watchSeen(element, [app.model, app.face], () => void latest.put(null));
  app.tile.watch((tile) => tile >= 0 && facts && seen.due());
}
