"""The other side of diffusers.test.ts: what diffusers makes of Tessera's folders, and folders that it writes.

    python diffusers.py versions PACKAGE...    which of the packages are here
    python diffusers.py open FOLDER            opens each model in FOLDER/ours*, prints its tokens and pixels
    python diffusers.py write FOLDER           writes models into FOLDER/theirs*, prints their tokens and pixels

Both use the picture in FOLDER/picture.json, a list of numbers from -1 to 1 as [1, 3, H, W], and compute in float64.
Each job prints JSON as its last line.
"""
import json
import sys
from importlib import metadata
from pathlib import Path

sys.path.pop(0)  # this file's own folder: its name is that of the package


def versions(*packages):
    found = {}
    for name in packages:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = None
    return found


def computed(model, folder):
    import torch

    model = model.double().eval()
    picture = torch.tensor(json.loads((folder / "picture.json").read_text()), dtype=torch.float64).reshape(1, 3, 32, 32)
    with torch.no_grad():
        latents = model.encode(picture).latents
        quantized, _, (_, _, indices) = model.quantize(latents)
        pixels = model.decode(quantized, force_not_quantize=True).sample
    return {"tokens": indices.flatten().tolist(), "pixels": pixels.permute(0, 2, 3, 1).flatten().tolist()}


def open_all(folder):
    from diffusers import VQModel

    return {path.name: computed(VQModel.from_pretrained(path), folder) for path in sorted(folder.glob("ours*"))}


def write(folder):
    import torch
    from diffusers import AutoencoderKL, VQModel

    common = {"block_out_channels": (32, 64), "down_block_types": ("DownEncoderBlock2D",) * 2,
              "up_block_types": ("UpDecoderBlock2D",) * 2, "latent_channels": 4, "num_vq_embeddings": 40}
    attention = {**common, "down_block_types": ("DownEncoderBlock2D", "AttnDownEncoderBlock2D"),
                 "up_block_types": ("AttnUpDecoderBlock2D", "UpDecoderBlock2D")}

    def model(seed, settings):
        torch.manual_seed(seed)
        made = VQModel(**settings)
        torch.nn.init.normal_(made.quantize.embedding.weight, std=0.3)  # by default all codes are almost alike
        return made

    result = {}

    def save(name, made, **how):
        made.save_pretrained(folder / name, **how)
        result[name] = computed(made, folder)

    save("theirs_plain", model(1, common))
    save("theirs_shards", model(2, attention), max_shard_size="200KB")
    save("theirs_bin", model(3, {**common, "vq_embed_dim": 3}), safe_serialization=False)
    save("theirs_bin_shards", model(4, common), safe_serialization=False, max_shard_size="200KB")
    save("theirs_fp16", model(5, attention).half(), variant="fp16")
    save("theirs_fp16_shards", model(5, attention).half(), variant="fp16", max_shard_size="100KB")
    save("theirs_bare", model(6, {**attention, "mid_block_add_attention": False, "layers_per_block": 2}))
    save("theirs_widths", model(7, {**common, "block_out_channels": (64, 96)}))
    model(8, {**common, "norm_type": "spatial"}).save_pretrained(folder / "theirs_movq")
    model(9, {**common, "norm_num_groups": 16}).save_pretrained(folder / "theirs_groups")
    model(10, {**attention, "up_block_types": ("UpDecoderBlock2D",) * 2}).save_pretrained(folder / "theirs_lopsided")
    AutoencoderKL(block_out_channels=(32,), layers_per_block=1).save_pretrained(folder / "theirs_kl")
    return result


if __name__ == "__main__":
    job, *words = sys.argv[1:]
    jobs = {"open": open_all, "write": write}
    print(json.dumps(versions(*words) if job == "versions" else jobs[job](*map(Path, words))))
