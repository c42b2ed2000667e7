// What another page of browser.test.ts runs: reads a picture in every way that a page has, and sends the pixels back.
import { type PictureSource, readImage, toRgba } from "../../core.ts";

const send = (answer: unknown) => fetch("/answer", { method: "POST", body: JSON.stringify(answer) });
const messageOf = (source: PictureSource) => readImage(source).then(() => "read", String);
try {
  const blob = await (await fetch("picture.png")).blob(), buffer = await blob.arrayBuffer();
  const picture = await readImage(blob), { data, width, height } = toRgba(picture);
  const sources = [blob, buffer, new Uint8Array(buffer), picture, { data, width, height }];
  const whole = await Promise.all(sources.map(async (source) => [...(await readImage(source)).pixels]));
  const shrunk = [
    await readImage(blob, { size: 8 }),
    await readImage(blob, { size: 8, crop: "none" }),
    await readImage({ data, width, height }, { size: 8 }),
  ];
  await send({
    whole,
    square: [...(await readImage(blob, { size: 16 })).pixels],
    sizes: shrunk.map(({ width, height }) => [width, height]),
    messages: [await messageOf("face.png"), await messageOf(new Blob(["no picture"]))],
  });
} catch (error) {
  await send({ error: error instanceof Error ? `${error.message}\n${error.stack}` : String(error) });
}
