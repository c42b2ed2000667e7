// What those see who judge pictures in a training: the discriminator, and LPIPS if its weights are there.
/// <reference lib="dom" />
import type { App } from "../app.ts";
import type { Verdicts } from "../engine/judges.ts";
import { Latest } from "../page/client.ts";
import { blueOrOrange, heat, pictureCanvas, showMap, showPicture } from "../page/canvas.ts";
import { html } from "../page/dom.ts";
import { lpipsButton } from "../lpips_button.ts";
import { later } from "../page/later.ts";
import { watchSeen } from "../page/seen.ts";
import type { Panel } from "../panel.ts";

export const judgesPanel: Panel = {
  id: "judges",
  title: "What the judges see",
  sees:
    "The discriminator looks at patches and judges which ones look real (orange) and which look as if the decoder drew them (blue). " +
    "LPIPS, which compares pictures with the help of another network, shows where it sees a " +
    "difference between the picture and its copy, from dark (none) to light.",
  chapter: "7-discriminator",
  mount,
};

function mount(element: HTMLElement, app: App): void {
  const figure = (canvas: HTMLCanvasElement, ...rest: Node[]) => html("figure", {}, canvas, ...rest);
  const caption = (text: string) => html("figcaption", {}, text);
  const picture = pictureCanvas("the picture"), copy = pictureCanvas("the copy, drawn from the tokens");
  const real = pictureCanvas("what the discriminator thinks of the picture");
  const made = pictureCanvas("what the discriminator thinks of the copy");
  const difference = pictureCanvas("where LPIPS sees a difference");
  const realCaption = caption(""), madeCaption = caption(""), differenceCaption = caption("");
  const ask = html("p", { className: "hint" });
  ask.append(
    "The published checkpoint contains LPIPS, and the small model does not. Drop the two files of LPIPS on the page, or choose them: a " +
      "classifier (such as vgg16-397923af.pth or squeezenet1_1-b8a52dc0.pth) and its heads (vgg.pth or squeeze.pth). ",
    lpipsButton(app),
  );
  const eyes = figure(difference, differenceCaption);
  element.append(
    html(
      "div",
      { className: "judged" },
      figure(picture, caption("the picture")),
      figure(real, realCaption),
      figure(copy, caption("the copy")),
      figure(made, madeCaption),
      eyes,
    ),
    ask,
  );

  const show = ({ discriminator, lpips }: Verdicts, width: number) => {
    realCaption.textContent = madeCaption.textContent = "This checkpoint has no discriminator.";
    for (const canvas of [real, made]) showPicture(canvas, null);
    if (discriminator) {
      const { patch } = discriminator;
      const most = Math.max(
        1,
        ...[discriminator.real, discriminator.made].flatMap((map) => extremes(map).map(Math.abs)),
      );
      for (
        const [canvas, words, map] of [[real, realCaption, discriminator.real], [
          made,
          madeCaption,
          discriminator.made,
        ]] as const
      ) {
        later(() => showMap(canvas, map, width, (value) => blueOrOrange(value / most)));
        const share = map.reduce((sum, value) => sum + (value > 0 ? 1 : 0), 0) / map.length;
        words.textContent = `the discriminator, in patches of ${patch}x${patch} pixels: mean ${
          signed(mean(map))
        }, and ${Math.round(share * 100)} % look real to it`;
      }
    }
    const isThere = lpips !== null;
    ask.hidden = isThere;
    eyes.hidden = !isThere;
    if (!isThere) return;
    const [, most] = extremes(lpips.map);
    later(() => showMap(difference, lpips.map, width, (value) => heat(value / most)));
    differenceCaption.textContent = `LPIPS (${lpips.name}) ${
      lpips.distance.toFixed(3)
    } in all; the lightest place has ${most.toFixed(2)}`;
  };
  const latest = new Latest(
    async (_: null) => {
      const face = app.face.value, decoded = app.decoded.value;
      if (!face || !decoded || decoded.picture.width !== face.picture.width) return null;
      showPicture(picture, face.picture);
      showPicture(copy, decoded.picture);
      const verdicts = await app.engine.ask("judge", { picture: face.picture, made: decoded.picture });
      return { verdicts, width: face.picture.width };
    },
    (found) => {
      if (!found) return;
      show(found.verdicts, found.width);
      const { lpips } = found.verdicts;
      if (lpips && app.lpips.value === "") app.lpips.set(`LPIPS with ${lpips.name}`); // the model's file had it
    },
    (error) => app.fail(error),
  );
  watchSeen(element, [app.decoded, app.lpips], () => void latest.put(null));
}

const mean = (values: Float32Array): number => values.reduce((sum, value) => sum + value, 0) / values.length;
const signed = (value: number): string => `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(2)}`;

function extremes(values: Float32Array): [least: number, most: number] {
  let least = Infinity, most = -Infinity;
  for (const value of values) {
    least = Math.min(least, value);
    most = Math.max(most, value);
  }
  return [least, most];
}
