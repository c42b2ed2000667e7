// The geometry of faces: from predictions to a box, from landmarks to the square that the recognition network sees. All
// roundings are those of the npm package @vladmandic/face-api for pictures given as tensors.
import { detectorSize } from "./detector.ts";

/** A rectangle in pixels from the top left corner. */
export interface Box {
  /** Its left edge. */
  readonly x: number;
  /** Its upper edge. */
  readonly y: number;
  /** In pixels. */
  readonly width: number;
  /** In pixels. */
  readonly height: number;
}

/** A place in pixels. */
export interface Point {
  /** From the left. */
  readonly x: number;
  /** From above. */
  readonly y: number;
}

/** A face that was found. */
export interface Detection {
  /** How certain it is, from 0 to 1. */
  readonly score: number;
  /** It may extend beyond the picture. */
  readonly box: Box;
  /** Which of the detector's 5,118 predictions it is, counted from 0. */
  readonly anchor: number;
}

/**
 * The face with the highest score.
 * @param scores of the anchors @param boxes four numbers for each, by how much its anchor is to be moved
 * @param anchors [top, left, bottom, right] of each, as fractions of a square around the picture
 * @param least scores up to this are no face
 * @returns null if there is none
 */
export function bestFace(
  scores: Float32Array,
  boxes: Float32Array,
  anchors: Float32Array,
  width: number,
  height: number,
  least: number,
): Detection | null {
  let best = 0;
  for (let i = 1; i < scores.length; i++) if (scores[i] > scores[best]) best = i;
  if (!(scores[best] > least)) return null;
  const [top, left, bottom, right] = anchors.subarray(4 * best, 4 * best + 4);
  const [dy, dx, dh, dw] = boxes.subarray(4 * best, 4 * best + 4);
  const longer = Math.max(width, height);
  /** The begin and end on one axis: moved by a tenth and stretched by e to a fifth of what is predicted (SSD's variances). */
  const side = (from: number, to: number, move: number, stretch: number, pixels: number) => {
    const size = to - from,
      middle = from + size / 2 + move / 10 * size,
      half = Math.exp(stretch / 5) * size / 2;
    const scale = pixels * detectorSize / Math.round(pixels * detectorSize / longer); // about `longer`
    return [Math.max(0, middle - half) * scale, Math.min(1, middle + half) * scale];
  };
  const [y0, y1] = side(top, bottom, dy, dh, height), [x0, x1] = side(left, right, dx, dw, width);
  return { score: scores[best], box: { x: x0, y: y0, width: x1 - x0, height: y1 - y0 }, anchor: best };
}

/** The part of a box within a picture, in whole pixels; null if nothing of it is. */
export function withinPicture(
  { x, y, width, height }: Box,
  pictureWidth: number,
  pictureHeight: number,
): Box | null {
  const left = Math.max(0, x), top = Math.max(0, y);
  const inside = {
    x: Math.floor(left),
    y: Math.floor(top),
    width: Math.floor(Math.min(x + width - left, pictureWidth - left)),
    height: Math.floor(Math.min(y + height - top, pictureHeight - top)),
  };
  return inside.width > 0 && inside.height > 0 ? inside : null;
}

/**
 * The landmarks in pixels of the picture.
 * @param places x and y of 68 landmarks as fractions of the network's square
 * @param crop the part of the picture that lies in the middle of that square
 * @param origin the corner from which they count: that of the face's own box
 */
export function landmarkPoints(places: Float32Array, crop: Box, origin: Box): Point[] {
  const side = Math.max(crop.width, crop.height);
  const at = (place: number, length: number) => place * side - (side - length) / 2;
  return Array.from({ length: places.length / 2 }, (_, i) => ({
    x: at(places[2 * i], crop.width) + origin.x,
    y: at(places[2 * i + 1], crop.height) + origin.y,
  }));
}

/**
 * The square around a face in which eyes and mouth are always at the same places, as dlib cuts it.
 * @param landmarks 68 points @param crop the part of the picture in which they were found
 */
export function alignedBox(landmarks: readonly Point[], crop: Box): Box {
  const mean = (points: readonly Point[]) => ({
    x: points.reduce((sum, p) => sum + p.x, 0) / points.length,
    y: points.reduce((sum, p) => sum + p.y, 0) / points.length,
  });
  const leftEye = mean(landmarks.slice(36, 42)), rightEye = mean(landmarks.slice(42, 48));
  const mouth = mean(landmarks.slice(48, 68)), middle = mean([leftEye, rightEye, mouth]);
  const toMouth = (eye: Point) => Math.hypot(mouth.x - eye.x, mouth.y - eye.y);
  const size = Math.floor((toMouth(leftEye) + toMouth(rightEye)) / 2 / 0.45);
  const x = Math.floor(Math.max(0, middle.x - 0.5 * size)),
    y = Math.floor(Math.max(0, middle.y - 0.43 * size));
  return { x, y, width: Math.min(size, crop.width + x), height: Math.min(size, crop.height + y) };
}
