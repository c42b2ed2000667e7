// What the panels share: the engine, the model, two faces, and the tokens that are edited.
/// <reference lib="dom" />
import type { Picture, PictureSource } from "../core.ts";
import type { EncodedFace } from "./engine/encode.ts";
import type { ModelFacts } from "./engine/open.ts";
import { type EngineClient, Latest } from "./page/client.ts";
import { History } from "./page/history.ts";
import { Signal } from "./page/signal.ts";

/** The model that the page begins with. */
export const shippedModel = "faces.safetensors";

/** The endings of files that are opened as checkpoints. */
export const checkpointEndings: readonly string[] = [
  ".safetensors",
  ".ckpt",
  ".pt",
  ".pth",
  ".bin",
  ".msgpack",
];

/** A picture of a face, its tokens, and where it came from. */
export interface Face extends EncodedFace {
  readonly source: PictureSource;
}

/** A picture that was made of tokens. */
export interface Decoded {
  readonly picture: Picture;
  /** Milliseconds that decoding took. */
  readonly ms: number;
}

/** The tokens of both faces with what was painted. */
export interface Edit {
  readonly face: Int32Array;
  readonly other: Int32Array;
}

/** A model that is loaded. */
export interface Model extends ModelFacts {
  readonly name: string;
  /** Red, green and blue of each token. */
  readonly colors: Uint8Array;
}

/** Tokens to decode, and the model that they belong to. */
interface TokensOfModel {
  readonly tokens: Int32Array;
  readonly grid: EncodedFace["grid"];
  readonly model: Model;
}

export class App {
  readonly engine: EngineClient;
  readonly model: Signal<Model | null> = new Signal<Model | null>(null);
  /** The face that everything is about. */
  readonly face: Signal<Face | null> = new Signal<Face | null>(null);
  /** The second face, whose tokens are painted with. */
  readonly other: Signal<Face | null> = new Signal<Face | null>(null);
  /** What the decoder makes of the face's own tokens. */
  readonly decoded: Signal<Decoded | null> = new Signal<Decoded | null>(null);
  /** What was painted on the tokens of both faces, and what was undone. */
  readonly edits: History<Edit> = new History<Edit>();
  /** What the decoder makes of the face's edited tokens. */
  readonly painted: Signal<Decoded | null> = new Signal<Decoded | null>(null);
  /** What the decoder makes of the second face's edited tokens. */
  readonly paintedOther: Signal<Decoded | null> = new Signal<Decoded | null>(null);
  /** The place in the grid that is looked at, row by row; -1 for none. */
  readonly tile: Signal<number> = new Signal(-1);
  /** The token that the brush paints. */
  readonly code: Signal<number> = new Signal(0);
  /** What LPIPS is loaded, in words; empty if none is. */
  readonly lpips: Signal<string> = new Signal("");
  /** What the page does at the moment, for everyone to read; empty if nothing. */
  readonly activity: Signal<string> = new Signal("");
  /** What went wrong last, in words; empty if nothing did. */
  readonly problem: Signal<string> = new Signal("");

  readonly #encode = {
    face: this.#encoder((face) => this.#setFace(face)),
    other: this.#encoder((other) => this.#setOther(other)),
  };

  constructor(engine: EngineClient) {
    this.engine = engine;
    const face = this.#decoder((decoded, { tokens }) => {
      if (tokens === this.face.value?.tokens) this.decoded.set(decoded);
      this.painted.set(decoded);
    });
    const other = this.#decoder((decoded) => this.paintedOther.set(decoded));
    let before: Edit | null = null;
    this.edits.value.watch((edit) => {
      if (edit && edit.face !== before?.face) void face.put(this.#ofModel(edit.face));
      if (edit && edit.other !== before?.other && edit.other.length > 0) {
        void other.put(this.#ofModel(edit.other));
      }
      before = edit;
    });
  }

  /** Shows an error. */
  fail(error: unknown): void {
    this.problem.set(error instanceof Error ? error.message : String(error));
  }

  /** Says what goes on while some work is done. Its errors are shown. @returns null after an error */
  async during<T>(activity: string, work: () => Promise<T>): Promise<T | null> {
    this.activity.set(activity);
    this.problem.set("");
    try {
      return await work();
    } catch (error) {
      this.fail(error);
      return null;
    } finally {
      this.activity.set("");
    }
  }

  /** Loads a checkpoint, and encodes the faces again. */
  async openModel(name: string, file: Blob): Promise<void> {
    const sources = await this.during(`reading ${name}`, async () => {
      const onReport = (share: number) => this.activity.set(`reading ${name}: ${Math.floor(share * 100)} %`);
      const facts = await this.engine.ask("open", { file }, { onReport });
      const colors = await this.engine.ask("codeColors", null);
      this.code.set(Math.min(this.code.value, facts.vocabulary - 1));
      const sources = { face: this.face.value?.source, other: this.other.value?.source };
      for (const which of ["face", "other"] as const) this[which].set(null); // their tokens mean nothing to it
      this.tile.set(-1);
      this.model.set({ ...facts, name, colors });
      return sources;
    });
    if (sources?.face) await this.#encode.face.put(sources.face);
    if (sources?.other) await this.#encode.other.put(sources.other);
  }

  /** Takes a file of LPIPS. @returns whether it is one */
  async openLpips(file: File): Promise<boolean> {
    const found = await this.engine.ask("lpips", { file });
    if (found?.isWhole) this.lpips.set(found.words);
    else if (found) {
      this.fail(new Error(`${file.name} holds ${found.words}; drop the other half of LPIPS as well`));
    }
    return found !== null;
  }

  /** Encodes a picture. If many come, such as while one is drawn, only the newest waits. */
  async openPicture(source: PictureSource, which: "face" | "other" = "face"): Promise<void> {
    this.problem.set("");
    await this.#encode[which].put(source);
  }

  #encoder(use: (face: Face) => void): Latest<PictureSource, Face> {
    return new Latest(
      async (source: PictureSource) => {
        const model = this.model.value;
        if (!model) throw new Error("there is no model yet: wait until it is loaded, and try again");
        return { ...await this.engine.ask("encode", { source, size: model.size }), source };
      },
      use,
      (error) => this.fail(error),
    );
  }

  #decoder(use: (decoded: Decoded, tokens: TokensOfModel) => void): Latest<TokensOfModel, Decoded> {
    return new Latest(
      ({ tokens, grid }: TokensOfModel) => this.engine.ask("decode", { tokens, grid }),
      use,
      (error) => this.fail(error),
      ({ model }) => model === this.model.value,
    );
  }

  #ofModel(tokens: Int32Array): TokensOfModel {
    return { tokens, grid: this.face.value!.grid, model: this.model.value! };
  }

  #setFace(face: Face): void {
    this.face.set(face);
    this.edits.start({ face: face.tokens, other: this.other.value?.tokens ?? new Int32Array(0) });
  }

  #setOther(other: Face): void {
    this.other.set(other);
    this.edits.rewrite(({ face }) => ({ face, other: other.tokens }));
  }
}
