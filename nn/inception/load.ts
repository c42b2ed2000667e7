// Fills Inception from the file of the usual FID weights.
import { type CheckpointSource, withCheckpoint } from "../../data/formats/opener.ts";
import { fillModule } from "../fill.ts";
import { Inception } from "./inception.ts";

/**
 * Loads the network of the FID from the user's own file, pt_inception-2015-12-05-6726825d.pth of pytorch-fid.
 * @throws if the file lacks some of its tensors, or is torchvision's own Inception, which gives other numbers
 */
export async function loadInception(source: CheckpointSource): Promise<Inception> {
  const network = new Inception();
  try {
    await withCheckpoint("loadInception", source, async (file) => {
      const { stored, path } = file;
      if (stored.has("AuxLogits.fc.weight") || stored.get("fc.weight")?.shape[0] === 1000) {
        throw new Error(
          `${path}: torchvision's own Inception, with which no FID is computed: expected pytorch-fid's ` +
            "pt_inception-2015-12-05-6726825d.pth",
        );
      }
      await fillModule(network, { ...file, tensors: new Map(stored) }, { whose: "Inception's" });
    });
    return network;
  } catch (error) {
    network.dispose();
    throw error;
  }
}
