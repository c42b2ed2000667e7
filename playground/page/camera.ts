// Pictures from the camera, one after the other, as fast as they are used.
/// <reference lib="dom" />
import { html } from "./dom.ts";

/** The side of the pictures in pixels. */
const side = 256;

/** Why there is no camera, by the name of the browser's error. */
const reasons: Readonly<Record<string, string>> = {
  NotAllowedError: "it was not allowed; allow it in the settings of the page",
  NotFoundError: "there is none",
  NotReadableError: "another program uses it",
};

export class Camera {
  readonly #use: (picture: ImageData) => Promise<void>;
  #stream: MediaStream | null = null;
  #isOn = false;

  /** @param use is called with each picture, the middle square and mirrored; the next one is taken when it has resolved */
  constructor(use: (picture: ImageData) => Promise<void>) {
    this.#use = use;
    document.addEventListener("visibilitychange", () => document.hidden && this.stop());
  }

  get isOn(): boolean {
    return this.#isOn;
  }

  /** Runs until `stop`. @throws if there is no camera */
  async run(): Promise<void> {
    if (!navigator.mediaDevices) throw new Error("the camera needs an address that begins with https:");
    const video = html("video", { muted: true, playsInline: true });
    this.#isOn = true;
    try {
      this.#stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "user" } });
    } catch (error) {
      this.stop();
      const { name, message } = error as Error;
      throw new Error(`no picture from the camera: ${reasons[name] ?? message}`);
    }
    if (!this.#isOn) return this.stop(); // stopped while the browser asked for permission
    video.srcObject = this.#stream;
    await video.play();
    const pen = html("canvas", { width: side, height: side }).getContext("2d", { willReadFrequently: true })!;
    pen.translate(side, 0);
    pen.scale(-1, 1);
    while (this.#isOn) {
      const { videoWidth: width, videoHeight: height } = video, square = Math.min(width, height);
      if (square > 0) {
        pen.drawImage(video, (width - square) / 2, (height - square) / 2, square, square, 0, 0, side, side);
        await this.#use(pen.getImageData(0, 0, side, side));
      }
      await new Promise((resolve) => setTimeout(resolve, 30));
    }
  }

  stop(): void {
    this.#isOn = false;
    for (const track of this.#stream?.getTracks() ?? []) track.stop();
    this.#stream = null;
  }
}
