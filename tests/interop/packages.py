"""The other side of packages.test.ts and tokens.test.ts: what torch, Lightning, safetensors, flax, pandas and pyarrow make
of Tessera's files.

    python packages.py versions PACKAGE...     which of the packages are here
    python packages.py read FOLDER             opens what Tessera wrote, prints every tensor's shape, type and SHA-256
    python packages.py write FOLDER            writes the same weights by these packages, for Tessera to read
    python packages.py step FOLDER             one step of torch.optim.Adam from Tessera's optimizer states
    python packages.py lightning FOLDER        Lightning goes on from Tessera's checkpoint by one step, and saves
    python packages.py tokens FOLDER           the tokens in tokens.parquet and tokens.tsv
    python packages.py onnx FILE               checks an ONNX model, prints the type and shape of its outputs
    python packages.py page FOLDER PAGE        runs the Python on a page of the documentation, and prints its tokens

Each job prints JSON as its last line.
"""
import hashlib
import json
import re
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


def described(array, dtype):
    import numpy as np

    return {"shape": list(array.shape), "dtype": dtype,
            "sha256": hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()}


def from_torch(tensor):
    import torch

    names = {torch.float32: "f32", torch.float16: "f16", torch.bfloat16: "bf16", torch.int64: "i64"}
    dtype = names[tensor.dtype]
    bits = tensor.view(torch.int16) if tensor.dtype == torch.bfloat16 else tensor
    return described(bits.numpy(), dtype)


def torch_key(path):
    """("encoder", "down_0", "block_1", "conv1", "kernel") -> encoder.down.0.block.1.conv1.weight"""
    names = [name if i > 0 and path[i - 1] == "mid" else re.sub(r"^(down|up|block|attn)_(\d+)$", r"\1.\2", name)
             for i, name in enumerate(path[:-1])]
    leaf = "weight" if path[-1] in ("kernel", "scale", "embedding") else path[-1]
    return ".".join([*names, leaf])


def flax_path(key, rank):
    path = re.sub(r"(^|\.)(down|up|block|attn)\.(\d+)(?=\.)", r"\1\2_\3", key).split(".")
    if path[-1] == "weight":
        path[-1] = "embedding" if path[-2] == "embedding" else "kernel" if rank > 1 else "scale"
    return path


def leaves(tree, path=()):
    for name, item in tree.items():
        if isinstance(item, dict):
            yield from leaves(item, (*path, name))
        else:
            yield (*path, name), item


def read(folder):
    import torch
    from flax.serialization import msgpack_restore
    from safetensors.torch import load_file

    result = {}
    for path in sorted(folder.glob("ours*")):
        if path.suffix == ".ckpt":
            content = torch.load(path, weights_only=True)
            result[path.name] = {key: from_torch(t) for key, t in content["state_dict"].items()}
        elif path.suffix == ".safetensors":
            result[path.name] = {key: from_torch(t) for key, t in load_file(path).items()}
        elif path.suffix == ".msgpack":
            tensors = {}
            for name, array in leaves(msgpack_restore(path.read_bytes())):
                dtype = {"float32": "f32", "float16": "f16", "bfloat16": "bf16"}[array.dtype.name]
                torch_array = array.transpose(3, 2, 0, 1) if name[-1] == "kernel" else array
                tensors[torch_key(name)] = described(torch_array, dtype)
            result[path.name] = tensors
    return result


def write(folder):
    import flax.serialization as serialization
    import ml_dtypes
    import torch
    from safetensors.torch import save_file

    content = torch.load(folder / "ours.ckpt", weights_only=True)
    state = content["state_dict"]
    torch.save(content, folder / "theirs.ckpt")
    torch.save(content, folder / "theirs_legacy.ckpt", _use_new_zipfile_serialization=False)
    torch.save(state, folder / "theirs.pth")
    save_file({key: t.contiguous() for key, t in state.items()}, folder / "theirs.safetensors")

    codes = torch.arange(256, dtype=torch.uint8)
    eighths = {"e4m3": codes.clone().view(torch.float8_e4m3fn), "e5m2": codes.clone().view(torch.float8_e5m2)}
    save_file({**eighths, **{f"{name} as f32": t.float() for name, t in eighths.items()}},
              folder / "theirs_f8.safetensors")

    def tree(change):
        root = {}
        for key, t in state.items():
            if key.startswith("loss."):
                continue
            path = flax_path(key, t.ndim)
            array = t.numpy().transpose(2, 3, 1, 0) if path[-1] == "kernel" else t.numpy()
            below = root
            for name in path[:-1]:
                below = below.setdefault(name, {})
            below[path[-1]] = change(key, array)
        return root

    # before flax 0.3.6 the vectors of a norm had four dimensions
    def old(key, array):
        return array.reshape(1, 1, 1, -1) if ".norm" in key or ".norm_out" in key else array

    msgpack = serialization.msgpack_serialize
    (folder / "theirs.msgpack").write_bytes(msgpack(tree(lambda _, array: array)))
    (folder / "theirs_old.msgpack").write_bytes(msgpack(tree(old)))
    (folder / "theirs_bf16.msgpack").write_bytes(msgpack(tree(lambda _, array: array.astype(ml_dtypes.bfloat16))))
    serialization.MAX_CHUNK_SIZE = 1000
    (folder / "theirs_chunked.msgpack").write_bytes(msgpack(tree(lambda _, array: array)))
    return {}


def learners(state):
    """The parameters of taming's two optimizers, in the order of the state_dict without what is not learnt."""
    buffers = ("running_mean", "running_var", "num_batches_tracked")
    autoencoder = [key for key in state if not key.startswith("loss.")]
    critic = [key for key in state if key.startswith("loss.discriminator.") and not key.endswith(buffers)]
    return [autoencoder, critic]


def step(folder):
    import torch

    content = torch.load(folder / "ours.ckpt", weights_only=True)
    grads = torch.load(folder / "grads.pt", weights_only=True)
    state = content["state_dict"]
    states = []
    for keys, saved in zip(learners(state), content["optimizer_states"]):
        parameters = [torch.nn.Parameter(state[key]) for key in keys]
        optimizer = torch.optim.Adam(parameters, lr=1.0, betas=(0.1, 0.2))
        optimizer.load_state_dict(saved)
        for key, parameter in zip(keys, parameters):
            parameter.grad = grads[key]
        optimizer.step()
        for key, parameter in zip(keys, parameters):
            state[key] = parameter.detach()
        states.append(optimizer.state_dict())
    content["global_step"] += 1
    torch.save({**content, "state_dict": state, "optimizer_states": states}, folder / "stepped.ckpt")
    return {}


def lightning(folder):
    import logging
    import warnings

    import pytorch_lightning as pl
    import torch

    warnings.filterwarnings("ignore")
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    path = folder / "ours.ckpt"
    saved = torch.load(path, weights_only=True)
    grads = torch.load(folder / "grads.pt", weights_only=True)

    class Model(pl.LightningModule):
        """Holds taming's tensors under taming's keys and takes the given gradients as its own."""

        def __init__(self):
            super().__init__()
            self.automatic_optimization = False
            learnt = {key for keys in learners(saved["state_dict"]) for key in keys}
            for key, t in saved["state_dict"].items():
                holder = self
                *parts, last = key.split(".")
                for part in parts:
                    if not hasattr(holder, part):
                        holder.add_module(part, torch.nn.Module())
                    holder = getattr(holder, part)
                if key in learnt:
                    holder.register_parameter(last, torch.nn.Parameter(torch.zeros_like(t)))
                else:
                    holder.register_buffer(last, torch.zeros_like(t))

        def configure_optimizers(self):
            named = dict(self.named_parameters())
            self.start = None
            return [torch.optim.Adam([named[key] for key in keys], lr=1.0) for keys in learners(saved["state_dict"])]

        def training_step(self, batch, batch_index):
            if self.start is None:
                self.start = {key: t.clone() for key, t in self.state_dict().items()}
            named = dict(self.named_parameters())
            for optimizer, keys in zip(self.optimizers(), learners(saved["state_dict"])):
                for key in keys:
                    named[key].grad = grads[key].clone()
                optimizer.step()
            self.trainer.should_stop = True

    model = Model()
    data = torch.utils.data.DataLoader(torch.zeros(1, 1))
    trainer = pl.Trainer(max_epochs=100, min_epochs=0, accelerator="cpu", logger=False, enable_checkpointing=False,
                         enable_progress_bar=False, enable_model_summary=False, default_root_dir=folder)
    trainer.fit(model, data, ckpt_path=path)
    equal = all(torch.equal(model.start[key], t) for key, t in saved["state_dict"].items())
    trainer.save_checkpoint(folder / "lightning.ckpt")
    return {"weights_equal": equal, "global_step": trainer.global_step,
            "epoch": trainer.current_epoch}


def tokens(folder):
    import warnings

    import pandas as pd
    import pyarrow.parquet as pq

    warnings.simplefilter("error")
    table = pq.read_table(folder / "tokens.parquet")
    frame = pd.read_parquet(folder / "tokens.parquet")
    text = pd.read_csv(folder / "tokens.tsv", sep="\t", skiprows=1, keep_default_na=False, dtype={"file": str})
    return {
        "type": str(table.schema.field("encoding").type.value_type),
        "header": json.loads(table.schema.metadata[b"tessera"]),
        "rows": table.to_pylist(),
        "pandas": [list(map(int, row)) for row in frame.encoding],
        "tsv": [[row.file, row.caption, json.loads(row.encoding)] for row in text.itertuples()],
    }


def onnx(path):
    import onnx

    onnx.checker.check_model(str(path), full_check=True)
    described = {}
    for output in onnx.load(str(path)).graph.output:
        tensor = output.type.tensor_type
        axes = [axis.dim_param or str(axis.dim_value) for axis in tensor.shape.dim]
        described[output.name] = " ".join([onnx.TensorProto.DataType.Name(tensor.elem_type), *axes])
    return described


def page(folder, text):
    import os

    os.chdir(folder)
    found = []
    for code in re.findall(r"```python\n(.*?)```", Path(text).read_text(encoding="utf8"), re.S):
        names = {}
        exec(code, names)
        header = names.get("header")
        found.append({"tokens": names["tokens"].tolist(), "weights": header and header["weights"]})
    return found


if __name__ == "__main__":
    job, *words = sys.argv[1:]
    jobs = {"read": read, "write": write, "step": step, "lightning": lightning, "tokens": tokens, "onnx": onnx, "page": page}
    print(json.dumps(versions(*words) if job == "versions" else jobs[job](*map(Path, words))))
