// Painting with tokens: from a second face, with one code of the codebook, with an eraser, and by swapping regions of two
// faces.
/// <reference lib="dom" />
import type { App, Edit } from "../app.ts";
import { pictureCanvas, showPicture } from "../page/canvas.ts";
import { Latest } from "../page/client.ts";
import { button, choice, html } from "../page/dom.ts";
import { faceButtons } from "../faces.ts";
import { type Frame, TokenGrid } from "../page/token_grid.ts";
import { TokenTable } from "../page/token_table.ts";
import type { Panel } from "../panel.ts";

type Tool = "other" | "code" | "eraser" | "swap";
type View = "picture" | "tokens";

const tools: Readonly<Record<Tool, string>> = {
  other: "second face",
  code: "one code",
  eraser: "eraser",
  swap: "swap a region",
};
const hints: Readonly<Record<Tool, string>> = {
  other: "Paint on the first face: each tile gets the second face's token.",
  code: "Paint on the first face: each tile gets the token below.",
  eraser: "Paint on the first face: each tile gets its own token back.",
  swap: "Drag a rectangle, or click two corners: the faces swap their tokens there.",
};

export const paintPanel: Panel = {
  id: "paint",
  title: "Paint with tokens",
  sees: "Each stroke replaces tokens, and the decoder then draws the whole face again. " +
    "Replacing one token also changes the tiles around it, because the decoder uses many tokens for each pixel.",
  chapter: "5-codebook",
  mount: (element, app) => new Paint(app).build(element),
};

class Paint {
  readonly #app: App;
  #tool: Tool = "other";
  #view: View = "picture";
  #size = 1;
  /** The first corner of a region, if one was chosen. */
  #corner: number | null = null;
  #frame: Frame | null = null;
  #isStroke = false;
  readonly #grid: TokenGrid;
  readonly #second = pictureCanvas("the second face, drawn from its tokens");
  readonly #hint = html("p", { className: "hint" }, hints.other);
  readonly #readout = html("p", { className: "readout", "aria-live": "polite" });
  readonly #undo = button("Undo", () => this.#app.edits.undo(), { title: "Ctrl+Z" });
  readonly #redo = button("Redo", () => this.#app.edits.redo(), { title: "Ctrl+Y" });
  readonly #reset = button("Start again", () => this.#startAgain());
  readonly #table = new TokenTable("The painted tokens as a table");
  readonly #tools: HTMLFieldSetElement;

  constructor(app: App) {
    this.#app = app;
    this.#tools = choice<Tool>("Brush", tools, "other", (tool) => this.#take(tool));
    const keys = "Arrow keys move, Space paints, P picks the token below the cursor, Ctrl+Z undoes.";
    this.#grid = new TokenGrid(`The first face, to paint on. ${keys}`, {
      point: (place) => app.tile.set(place),
      draw: (place, start) => this.#draw(place, start),
      drawn: (place, start) => this.#drawn(place, start),
      press: ({ key }) => key.toLowerCase() === "p" && this.#pick(),
    });
  }

  build(element: HTMLElement): void {
    const sizes = { "1": "1 tile", "2": "2 x 2", "3": "3 x 3" } as const;
    element.append(
      html(
        "div",
        { className: "bar" },
        this.#tools,
        choice<keyof typeof sizes>("Size of the brush", sizes, "1", (size) => this.#size = Number(size)),
        choice<View>("Show", { picture: "picture", tokens: "tokens" }, "picture", (view) => {
          this.#view = view;
          this.#show();
        }),
      ),
      this.#hint,
      html(
        "p",
        { className: "hint keys" },
        "By keys: arrows move, Space paints, P picks a token, Ctrl+Z undoes.",
      ),
      html(
        "div",
        { className: "paint" },
        html("figure", {}, this.#grid.canvas, html("figcaption", {}, this.#readout)),
        html(
          "div",
          { className: "side" },
          html("figure", {}, this.#second, html("figcaption", {}, "the second face")),
          html("div", { className: "bar" }, ...faceButtons(this.#app, "other", 1)),
          this.#codeChooser(),
          html("div", { className: "bar" }, this.#undo, this.#redo, this.#reset),
        ),
      ),
      this.#table.element,
    );
    const { edits, painted, paintedOther, tile, model } = this.#app;
    edits.value.watch(() => this.#show());
    painted.watch(() => this.#show());
    model.watch(() => this.#show());
    paintedOther.watch((decoded) => showPicture(this.#second, decoded?.picture ?? null));
    tile.watch((place) => {
      this.#grid.cursor = place;
      this.#say();
    });
    addEventListener("keydown", (event) => this.#key(event));
  }

  /** The token of the brush: its number, its colour, and what the decoder draws of it alone. */
  #codeChooser(): HTMLElement {
    const app = this.#app,
      input = html("input", { type: "number", min: "0", value: "0", "aria-label": "token of the brush" });
    const patch = pictureCanvas("what the decoder draws of this token alone");
    patch.classList.add("patch");
    const side = 4;
    const draw = new Latest(
      (code: number) =>
        app.engine.ask("decode", { tokens: new Int32Array(side * side).fill(code), grid: [side, side] }),
      ({ picture }) => showPicture(patch, picture),
      (error) => app.fail(error),
    );
    input.onchange = () => {
      const most = (app.model.value?.vocabulary ?? 1) - 1;
      app.code.set(Math.max(0, Math.min(most, Math.round(Number(input.value)) || 0)));
      this.#choose("code");
    };
    const show = () => {
      const { model, code } = app;
      if (!model.value) return;
      input.max = String(model.value.vocabulary - 1);
      input.value = String(code.value);
      void draw.put(code.value);
    };
    app.code.watch(show);
    app.model.watch(show);
    return html(
      "div",
      { className: "bar" },
      patch,
      html("label", {}, "token ", input),
      button("Pick below the cursor", () => this.#pick(), { title: "P" }),
    );
  }

  #take(tool: Tool): void {
    this.#tool = tool;
    this.#corner = this.#frame = null;
    this.#hint.textContent = hints[tool];
    this.#show();
  }

  /** Takes a tool as if its button was pressed. */
  #choose(tool: Tool): void {
    this.#tools.querySelector<HTMLInputElement>(`[value="${tool}"]`)!.checked = true;
    this.#take(tool);
  }

  #pick(): boolean {
    const { edits, tile, code } = this.#app, token = edits.value.value?.face[tile.value];
    if (token === undefined) return false;
    code.set(token);
    this.#choose("code");
    return true;
  }

  #startAgain(): void {
    const { face, other, edits } = this.#app;
    if (face.value && other.value) edits.change({ face: face.value.tokens, other: other.value.tokens });
  }

  #draw(place: number, start: number): void {
    const { edits, face } = this.#app, edit = edits.value.value;
    if (!edit || !face.value) return;
    if (this.#tool === "swap") {
      this.#frame = this.#frameBetween(this.#corner ?? start, place);
      return this.#show();
    }
    const [rows, columns] = face.value.grid, tokens = edit.face.slice();
    const top = Math.floor(place / columns) - (this.#size >> 1), left = place % columns - (this.#size >> 1);
    for (let row = Math.max(0, top); row < Math.min(rows, top + this.#size); row++) {
      for (let column = Math.max(0, left); column < Math.min(columns, left + this.#size); column++) {
        const at = row * columns + column;
        tokens[at] = this.#tool === "other"
          ? edit.other[at] ?? tokens[at]
          : this.#tool === "code"
          ? this.#app.code.value
          : face.value.tokens[at];
      }
    }
    if (tokens.every((token, at) => token === edit.face[at])) return;
    edits.change({ face: tokens, other: edit.other }, this.#isStroke);
    this.#isStroke = true;
  }

  #drawn(place: number, start: number): void {
    this.#isStroke = false;
    const edit = this.#app.edits.value.value;
    if (this.#tool !== "swap" || !edit || edit.other.length === 0) return;
    if (this.#corner === null && place === start) {
      this.#corner = place; // a click: the other corner follows
      this.#readout.textContent = "Now the opposite corner.";
      return;
    }
    const { top, bottom, left, right } = this.#frameBetween(this.#corner ?? start, place);
    const [, columns] = this.#app.face.value!.grid, face = edit.face.slice(), other = edit.other.slice();
    for (let row = top; row <= bottom; row++) {
      for (let at = row * columns + left; at <= row * columns + right; at++) {
        [face[at], other[at]] = [edit.other[at], edit.face[at]];
      }
    }
    this.#corner = this.#frame = null;
    this.#app.edits.change({ face, other });
  }

  #frameBetween(a: number, b: number): Frame {
    const [, columns] = this.#app.face.value!.grid;
    const rows = [Math.floor(a / columns), Math.floor(b / columns)], across = [a % columns, b % columns];
    return {
      top: Math.min(...rows),
      bottom: Math.max(...rows),
      left: Math.min(...across),
      right: Math.max(...across),
    };
  }

  #key(event: KeyboardEvent): void {
    if (
      !event.ctrlKey && !event.metaKey ||
      event.target instanceof HTMLInputElement && event.target.type !== "radio"
    ) return;
    const key = event.key.toLowerCase(), isRedo = key === "y" || key === "z" && event.shiftKey;
    if (!isRedo && key !== "z") return;
    event.preventDefault();
    if (isRedo) this.#app.edits.redo();
    else this.#app.edits.undo();
  }

  #show(): void {
    const { edits, face, model, painted } = this.#app, edit: Edit | null = edits.value.value;
    this.#undo.disabled = !edits.canUndo;
    this.#redo.disabled = !edits.canRedo;
    if (!edit || !face.value || !model.value) return this.#grid.show(null);
    const { grid, tokens } = face.value, { colors } = model.value;
    this.#reset.disabled = changes(edit.face, tokens) === 0;
    this.#grid.show({
      grid,
      color: (place) => colors.subarray(edit.face[place] * 3, edit.face[place] * 3 + 3),
      picture: this.#view === "picture" ? painted.value?.picture : null,
      text: (place) => String(edit.face[place]),
      isMarked: (place) => edit.face[place] !== tokens[place],
      frame: this.#frame,
    });
    this.#table.show(edit.face, grid[1]);
    this.#say();
  }

  #say(): void {
    const { edits, face, tile } = this.#app, edit = edits.value.value;
    if (!edit || !face.value) return;
    const { grid: [, columns], tokens } = face.value, at = tile.value;
    const count = changes(edit.face, tokens);
    const place = at < 0
      ? ""
      : `Row ${Math.floor(at / columns) + 1}, column ${at % columns + 1}: token ${edit.face[at]}` +
        (edit.face[at] === tokens[at] ? ". " : `, originally ${tokens[at]}. `);
    this.#readout.textContent = `${place}${count} of ${tokens.length} tokens changed.`;
  }
}

const changes = (a: Int32Array, b: Int32Array): number =>
  a.reduce((sum, token, at) => sum + Number(token !== b[at]), 0);
