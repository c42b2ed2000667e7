"""The authors' own stack, for authors.test.ts: CompVis's taming under Lightning 1.0.8 and torch 1.7.1 (authors.txt).

    python authors.py versions PACKAGE...                    which of the packages are here
    python authors.py reconstruct FILE PICTURE...            what VQModel makes of pictures, loaded by Lightning
    python authors.py settings TEXT...                       the values that OmegaConf reads in "a: TEXT"
    python authors.py pixels SIZE PICTURE...                 the bytes that taming's loader makes of pictures, as SHA-256
    python authors.py begin FOLDER COUNT WORD...             main.py WORD... in a folder, which fails after COUNT losses
    python authors.py train LOG_FOLDER WORD...               main.py --resume LOG_FOLDER WORD..., and the losses it logs

Each job prints JSON as its last line. taming itself stays as it is, except that networks start without a download, LPIPS
has no dropout and pictures are visited in the order of their list, so that results can be compared.
"""
import json
import os
import runpy
import sys
from importlib import metadata
from pathlib import Path


def versions(*packages):
    found = {}
    for name in packages:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = None
    return found


def settings(*texts):
    from omegaconf import OmegaConf

    return [OmegaConf.to_container(OmegaConf.create(f"a: {text}"))["a"] for text in texts]


def pixels(size, *pictures):
    prepare()
    import hashlib
    import numpy as np
    from taming.data.base import ImagePaths

    seen = ImagePaths(list(pictures), size=int(size) or None)
    made = [np.rint((seen[i]["image"] + 1) * 127.5).astype(np.uint8) for i in range(len(seen))]
    return [[*bytes.shape[1::-1], hashlib.sha256(bytes.tobytes()).hexdigest()] for bytes in made]


def prepare():
    """Lets taming find its main.py, and its networks start without a download and without dropout. Returns its folder."""
    import taming
    import torch
    import torchvision

    folder = Path(list(taming.__path__)[0])
    sys.path.insert(0, str(folder))  # taming's configs name classes in main.py
    from taming.modules.losses.lpips import LPIPS

    torch.set_num_threads(2)
    vgg16, init = torchvision.models.vgg16, LPIPS.__init__

    def without_dropout(self):
        init(self)
        for module in self.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0  # taming trains with 0.5, by accident

    # the weights of both come from the checkpoint
    torchvision.models.vgg16 = lambda pretrained: vgg16(pretrained=False)
    LPIPS.load_from_pretrained = lambda self: None
    LPIPS.__init__ = without_dropout
    return folder


def reconstruct(checkpoint, *pictures):
    prepare()
    import numpy as np
    import torch
    from PIL import Image
    from taming.models.vqgan import VQModel

    stored = torch.load(checkpoint)["state_dict"].keys()
    model = VQModel.load_from_checkpoint(checkpoint, strict=False).eval()
    own = model.state_dict().keys()
    model.double()
    seen = []
    for picture in pictures:
        pixels = torch.from_numpy((np.array(Image.open(picture)) / 127.5 - 1).astype(np.float32))
        with torch.no_grad():
            quantized, _, (_, _, ids) = model.encode(pixels.double().permute(2, 0, 1)[None])
            decoded = model.decode(quantized)[0].permute(1, 2, 0).numpy()
        values = decoded.flatten()
        seen.append({
            "grid": list(quantized.shape[2:]),
            "ids": ids.flatten().tolist(),
            "pixel_sum": values.sum(),
            "pixel_abs_sum": np.abs(values).sum(),
            "first_12": values[:12].tolist(),
            "last_12": values[-12:].tolist(),
            "png_sum": int(np.floor((decoded.clip(-1, 1) + 1) * 127.5 + 0.5).sum()),
        })
    return {"missing": sorted(own - stored), "unexpected": sorted(stored - own), "pictures": seen}


class Interrupted(Exception):
    """What main.py meets in the middle of its work; it saves a checkpoint then."""


def run_main(words, most=None):
    """Runs main.py, and returns the losses that it logs: all, or as many as `most` until it fails."""
    folder = prepare()
    import torch.utils.data
    from taming.modules.losses.vqperceptual import VQLPIPSWithDiscriminator as Loss

    forward, losses = Loss.forward, []

    def recorded(self, codebook_loss, inputs, outputs, optimizer, step, **options):
        if len(losses) == most:
            raise Interrupted
        loss, log = forward(self, codebook_loss, inputs, outputs, optimizer, step, **options)
        losses.append({"split": options["split"], "global_step": step, **{name: float(v) for name, v in log.items()}})
        return loss, log

    class InOrder(torch.utils.data.DataLoader):
        def __init__(self, *args, shuffle=False, **options):
            super().__init__(*args, **options)

    Loss.forward = recorded
    torch.utils.data.DataLoader = InOrder
    sys.argv = ["main.py", *words, "-t", "True", "--no-test", "True"]
    try:
        runpy.run_path(str(folder / "main.py"), run_name="__main__")
    except Interrupted:
        pass
    return losses


def begin(folder, count, *words):
    os.chdir(folder)
    return run_main(words, int(count))


def train(log_folder, *words):
    os.chdir(Path(log_folder).parent.parent)  # the lists in its configs are named from there
    return run_main(["--resume", log_folder, *words])


if __name__ == "__main__":
    name, *words = sys.argv[1:]
    jobs = [versions, settings, pixels, reconstruct, begin, train]
    answer = next(job for job in jobs if job.__name__ == name)(*words)
    print("\n" + json.dumps(answer), flush=True)
    os._exit(0)  # before progress bars print their last
