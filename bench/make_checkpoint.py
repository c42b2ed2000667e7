"""Writes a full-size VQGAN f16-16384 checkpoint with drawn weights, for loader tests and benchmarks.

    python bench/make_checkpoint.py last.ckpt            980 MB, as Lightning 1.x writes it (two Adams inside)
    python bench/make_checkpoint.py --strip strip.ckpt   366 MB, only the state_dict

The file is saved through a stream, so that the archive's root folder is `archive/`, as in the published file. Weights
are drawn as in bench/keyed_fill.py, without a prefix. So are both moments of Adam, with the names `exp_avg/KEY` and
`exp_avg_sq/KEY` (u * 1e-3 and (u + 1) * 1e-6). The callback's key is a class that no reader can import.
"""
import argparse
import sys
import types
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import torch

import keyed_fill
from pytorch_vqgan import FULL, Trainer, VQModel

STEPS = 1234


def adam_state(optimizer, keys):
    """The state of one Adam after STEPS updates, with drawn moments."""
    state = {}
    for i, key in enumerate(keys):
        shape = tuple(optimizer.param_groups[0]["params"][i].shape)
        state[i] = {
            "step": STEPS,
            "exp_avg": torch.from_numpy(keyed_fill.uniform(f"exp_avg/{key}", shape, 1e-3)),
            "exp_avg_sq": torch.from_numpy(keyed_fill.uniform(f"exp_avg_sq/{key}", shape, 1e-6, 1e-6)),
        }
    group = {"lr": FULL["lr"], "betas": (0.5, 0.9), "eps": 1e-8, "weight_decay": 0, "amsgrad": False,
             "params": list(range(len(keys)))}
    return {"state": state, "param_groups": [group]}


def unimportable_callback():
    """A class that is pickled under the name of a module which exists only while this script runs."""
    name = "pytorch_lightning.callbacks.model_checkpoint"
    parts = name.split(".")
    for i in range(1, len(parts) + 1):
        sys.modules.setdefault(".".join(parts[:i]), types.ModuleType(".".join(parts[:i])))
    callback = type("ModelCheckpoint", (), {"__module__": name})
    sys.modules[name].ModelCheckpoint = callback
    return callback


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", type=Path)
    parser.add_argument("--strip", action="store_true", help="only the state_dict")
    args = parser.parse_args()
    model = VQModel(FULL)
    with torch.no_grad():
        model.fill()
    content = {"state_dict": model.state_dict()}
    if not args.strip:
        trainer, names = Trainer(model), {id(p): key for key, p in model.named_parameters()}
        content = {
            "epoch": 3,
            "global_step": STEPS,
            "pytorch-lightning_version": "1.0.8",
            "callbacks": {unimportable_callback(): {"best_model_score": torch.tensor(0.5), "best_model_path": ""}},
            "optimizer_states": [adam_state(optimizer, [names[id(p)] for p in parameters])
                                 for optimizer, parameters in ((trainer.adam_g, trainer.generator),
                                                               (trainer.adam_d, trainer.critic))],
            "lr_schedulers": [],
            **content,
            "hparams_name": "kwargs",
            "hyper_parameters": {"embed_dim": FULL["embed"], "n_embed": FULL["codes"], "image_key": "image"},
        }
    args.path.parent.mkdir(parents=True, exist_ok=True)
    with open(args.path, "wb") as stream:
        torch.save(content, stream)
    print(f"{args.path}: {args.path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
