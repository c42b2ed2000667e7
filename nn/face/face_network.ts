// The face network: finds the face of a picture, aligns it, and turns it into 128 numbers whose distance tells whether two
// pictures show the same person.
import { readTfjsWeights } from "../../data/formats/tfjs.ts";
import type { PixelRange } from "../../data/pictures/picture.ts";
import { affine, asyncScope, concat, noGrad, scope, type Tensor } from "../../src/index.ts";
import { checkFloats } from "../../src/operands.ts";
import { allOrNothing } from "../init.ts";
import { Module } from "../module.ts";
import {
  alignedBox,
  bestFace,
  type Box,
  type Detection,
  landmarkPoints,
  type Point,
  withinPicture,
} from "./boxes.ts";
import { detectorSize, FaceDetector } from "./detector.ts";
import { FaceLandmarks, landmarksSize } from "./landmarks.ts";
import { FaceRecognition, recognitionSize } from "./recognition.ts";
import { squareOf } from "./resize.ts";
import { FaceWeights } from "./weights.ts";

/** The names of the three networks in the npm package @vladmandic/face-api. */
export const faceFiles = [
  "ssd_mobilenetv1_model",
  "face_landmark_68_model",
  "face_recognition_model",
] as const;

/** The weights of one network. */
export interface FaceFile {
  /** The text of `NAME-weights_manifest.json`. */
  readonly manifest: string;
  /** The content of `NAME.bin`. */
  readonly bytes: Uint8Array;
}

/** The files of the package's folder `model`, by their names without `-weights_manifest.json` and `.bin`. */
export type FaceFiles = Readonly<Record<typeof faceFiles[number], FaceFile>>;

/** A face that was found and aligned. */
export interface Face extends Detection {
  /** 68 places in pixels: jaw, brows, nose, eyes, mouth. */
  readonly landmarks: readonly Point[];
  /** The square that the recognition network sees, in whole pixels within the picture. */
  readonly aligned: Box;
}

/** What became of the face of one picture in another picture of it. */
export interface Identity {
  /** The face of the first picture; null if none was found. */
  readonly original: Face | null;
  /** The face of the second picture, found and aligned by itself; null if none was found. */
  readonly made: Face | null;
  /** The Euclidean distance of their 128 numbers; null if one of the two is missing. */
  readonly distance: number | null;
}

/** The face of a picture. */
export interface DescribedFace {
  /** Where it is; null if none was found. */
  readonly face: Face | null;
  /** Its 128 numbers; null if none was found. */
  readonly numbers: Float32Array | null;
}

/** Embeddings nearer to each other than this are of the same person, as dlib's network was trained. */
export const samePerson = 0.6;

/**
 * SSD MobileNet v1 as detector, 68 landmarks, and dlib's recognition network, with the weights of the npm package
 * @vladmandic/face-api (MIT) and the same results. The weights are frozen.
 *
 * @example How far a reconstruction is from its original
 * ```ts
 * import { type FaceNetwork, noGrad, type Tensor } from "@tessera/vqgan/core";
 *
 * async function identityLoss(network: FaceNetwork, images: Tensor, made: Tensor): Promise<Tensor> {
 *   const faces = await network.find(images); // null where there is none
 *   const wanted = noGrad(() => network.embed(images, faces)); // [faces found, 128]
 *   return network.embed(made, faces).sub(wanted).square().sum([1]).mean();
 * }
 * ```
 */
export class FaceNetwork extends Module {
  /** @internal */
  readonly detector: FaceDetector;
  /** @internal */
  readonly landmarks: FaceLandmarks;
  /** @internal */
  readonly recognition: FaceRecognition;
  readonly #files: FaceFiles;

  /** The networks on the current device. @throws if a file is damaged or holds another network */
  constructor(files: FaceFiles) {
    super();
    const weights = (name: typeof faceFiles[number]) => {
      const { manifest, bytes } = files[name], path = `${name}.bin`;
      return new FaceWeights(readTfjsWeights(manifest, bytes, path), path);
    };
    const [detector, landmarks, recognition] = allOrNothing(() =>
      [
        new FaceDetector(weights("ssd_mobilenetv1_model")),
        new FaceLandmarks(weights("face_landmark_68_model")),
        new FaceRecognition(weights("face_recognition_model")),
      ] as const
    );
    this.#files = files;
    this.detector = detector;
    this.landmarks = landmarks;
    this.recognition = recognition;
  }

  /** The same network, on the current device. */
  copy(): FaceNetwork {
    return new FaceNetwork(this.#files);
  }

  /**
   * Finds the face of each picture: the one with the highest score above 0.5. Nothing of this has gradients.
   * @param images [B, H, W, 3] @param range of their values
   * @returns null for each picture in which no face was found
   */
  async find(images: Tensor, range: PixelRange = "signed"): Promise<(Face | null)[]> {
    checkImages("find", images);
    const faces: (Face | null)[] = [];
    for (let i = 0; i < images.shape[0]; i++) faces.push(await this.#findOne(images, i, range));
    return faces;
  }

  #findOne(images: Tensor, index: number, range: PixelRange): Promise<Face | null> {
    return noGrad(() =>
      asyncScope(async () => {
        const picture = bytesOf(images, index, range), [, height, width] = picture.shape;
        const found = this.detector.call(wholeOf(picture));
        const [scores, boxes, anchors] = await Promise.all(
          [found.scores, found.boxes, this.detector.anchors].map((t) => t.floats()),
        );
        const detection = bestFace(scores, boxes, anchors, width, height, leastScore);
        const crop = detection && withinPicture(detection.box, width, height);
        if (!crop) return null;
        const places = await this.landmarks.call(squareOf(picture, crop, landmarksSize, true)).floats();
        const landmarks = landmarkPoints(places, crop, detection.box);
        const aligned = withinPicture(alignedBox(landmarks, crop), width, height);
        return aligned && { ...detection, landmarks, aligned };
      })
    );
  }

  /**
   * The numbers of the faces. Gradients flow to the images through the recognition network alone.
   * @param images [B, H, W, 3] @param faces one for each picture, as `find` returns them @param range of the images' values
   * @returns [number of faces that are not null, 128], with 0 rows if there is none
   * @throws Error if there are not as many faces as pictures
   */
  embed(images: Tensor, faces: readonly (Face | null)[], range: PixelRange = "signed"): Tensor {
    checkFaces("embed", images, faces);
    return scope(() => {
      const squares = faces.flatMap((face, i) =>
        face ? [squareOf(bytesOf(images, i, range), face.aligned, recognitionSize, true)] : []
      );
      return squares.length > 0 ? this.recognition.call(concat(squares, 0)) : images.like([0, 128], "f32");
    });
  }

  /**
   * How certain the detector is of each face at the place where it was found in another picture, for example of the faces of
   * originals in their reconstructions. Gradients flow to the images through the detector.
   * @param images [B, H, W, 3] @param faces one for each picture, as `find` returns them @param range of the images' values
   * @returns scores from 0 to 1, [number of faces that are not null]
   * @throws Error if there are not as many faces as pictures
   */
  scores(images: Tensor, faces: readonly (Face | null)[], range: PixelRange = "signed"): Tensor {
    checkFaces("scores", images, faces);
    return scope(() => {
      const scores = faces.flatMap((face, i) => {
        if (!face) return [];
        const found = this.detector.call(wholeOf(bytesOf(images, i, range)));
        return [found.scores.slice([0, face.anchor], [1, face.anchor + 1]).reshape(1)];
      });
      return scores.length > 0 ? concat(scores, 0) : images.like([0], "f32");
    });
  }

  /**
   * Compares the faces of pictures pair by pair. Each side is detected and aligned by itself, so that a face that the second
   * picture lost, or that moved, counts as it looks.
   * @param originals [B, H, W, 3] @param made [B, H', W', 3], for example reconstructions @param range of their values
   * @returns one for each pair; a distance below `samePerson` is the same person
   */
  async compare(originals: Tensor, made: Tensor, range: PixelRange = "signed"): Promise<Identity[]> {
    if (originals.shape[0] !== made.shape[0]) {
      throw new Error(
        `FaceNetwork.compare: ${originals.shape[0]} and ${made.shape[0]} pictures, expected as many`,
      );
    }
    const [before, after] = [await this.describe(originals, range), await this.describe(made, range)];
    return before.map(({ face: original, numbers: a }, i) => {
      const { face: made, numbers: b } = after[i];
      return { original, made, distance: a && b && faceDistance(a, b) };
    });
  }

  /** Finds the face of each picture and computes its 128 numbers. @param images [B, H, W, 3] @param range of their values */
  async describe(images: Tensor, range: PixelRange = "signed"): Promise<DescribedFace[]> {
    const faces = await this.find(images, range);
    const numbers = await noGrad(() => asyncScope(() => this.embed(images, faces, range).floats()));
    let row = 0;
    return faces.map((face) => ({ face, numbers: face && numbers.slice(128 * row, 128 * ++row) }));
  }
}

/** The Euclidean distance of the numbers of two faces. */
export function faceDistance(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += (a[i] - b[i]) ** 2;
  return Math.sqrt(sum);
}

/** Scores up to this are no face, as in the package. */
const leastScore = 0.5;

function checkImages(method: string, images: Tensor): void {
  checkFloats(`FaceNetwork.${method}`, images);
  if (images.ndim === 4 && images.shape[3] === 3) return;
  throw new Error(
    `FaceNetwork.${method}: images have shape [${images.shape}], expected [batch, height, width, 3]`,
  );
}

function checkFaces(method: string, images: Tensor, faces: readonly (Face | null)[]): void {
  checkImages(method, images);
  const count = images.shape[0];
  if (faces.length === count) return;
  throw new Error(
    `FaceNetwork.${method}: ${faces.length} faces for ${count} pictures; null says that one has none`,
  );
}

/** A whole picture as the detector sees it. */
function wholeOf(picture: Tensor): Tensor {
  const [, height, width] = picture.shape;
  return squareOf(picture, { x: 0, y: 0, width, height }, detectorSize, false);
}

/** One picture [1, H, W, 3] with values from 0 to 255. */
function bytesOf(images: Tensor, index: number, range: PixelRange): Tensor {
  const picture = images.slice([index], [index + 1]).cast("f32");
  return range === "signed" ? affine(picture, 127.5, 127.5) : affine(picture, 255, 0);
}
