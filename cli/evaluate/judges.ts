// The networks with which evaluate judges: LPIPS and Inception from the user's files, faces from the npm package.
import { type FaceNetwork, loadInception, LPIPS } from "../../nn/index.ts";
import { perceptualNames } from "../../nn/perceptual_files.ts";
import {
  type FeatureSpace,
  fillPerceptual,
  findPerceptuals,
  inceptionSpace,
  loadFaceNetwork,
  squeezeSpace,
} from "../../train/index.ts";
import { fetched } from "../fetch.ts";
import { messageOf } from "../messages.ts";
import { printAside } from "../print.ts";

interface JudgeFlags {
  readonly lpips?: string[];
  readonly inception?: string;
  readonly faces: boolean;
}

/** The networks, what the protocol says of where they come from, and what frees them. */
export interface OpenJudges {
  readonly judges: {
    readonly lpips: readonly LPIPS[];
    readonly spaces: readonly FeatureSpace[];
    readonly faces: FaceNetwork | null;
  };
  readonly notes: Readonly<Record<string, string>>;
  readonly release: () => void;
}

/** Loads the networks. Without the package of the face network, faces are left out, and that is said. */
export async function openJudges(flags: JudgeFlags): Promise<OpenJudges> {
  const owned: { dispose(): void }[] = [], notes: Record<string, string> = {};
  const lpips: LPIPS[] = [], spaces: FeatureSpace[] = [];
  const own = <T extends { dispose(): void }>(made: T): T => {
    owned.push(made);
    return made;
  };
  try {
    const files: string[] = [];
    for (const file of flags.lpips ?? []) files.push(await fetched(file));
    for (const source of files.length > 0 ? await findPerceptuals(files) : []) {
      const network = own(new LPIPS(source.net));
      await fillPerceptual(network, source);
      lpips.push(network);
      notes[`weights of LPIPS (${perceptualNames[source.net]})`] = Object.values(source.files).join(" and ");
      if (source.net === "squeeze") spaces.push(squeezeSpace(network));
    }
    if (flags.inception !== undefined) {
      const path = await fetched(flags.inception);
      spaces.push(inceptionSpace(own(await loadInception(path))));
      notes["weights of Inception"] = path;
    }
    const faces = flags.faces ? await facesOrNull() : null;
    if (faces) {
      own(faces);
      notes["weights of the face network"] = "npm package @vladmandic/face-api";
    }
    return { judges: { lpips, spaces, faces }, notes, release: () => owned.forEach((one) => one.dispose()) };
  } catch (error) {
    for (const one of owned) one.dispose();
    throw error;
  }
}

async function facesOrNull(): Promise<FaceNetwork | null> {
  try {
    return await loadFaceNetwork();
  } catch (error) {
    printAside(`faces are not measured: ${messageOf(error)}; --no-faces leaves them out`);
    return null;
  }
}
