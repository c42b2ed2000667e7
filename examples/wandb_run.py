"""Uploads a run of Tessera to Weights & Biases: its settings, its metrics and its pictures.

    pip install wandb
    wandb login                                        # or WANDB_MODE=offline, and `wandb sync` later
    python examples/wandb_run.py runs/2026-11-23T12-00-00_faces --project faces

It reads config.json, metrics.jsonl and images/, so it can also upload a run that is still going on. Each call creates a new run in W&B.
"""
import argparse
import json
import re
from pathlib import Path

import wandb


def metrics_of(folder):
    """The metrics by step. A run may be writing its last line."""
    steps = {}
    for line in (folder / "metrics.jsonl").read_text(encoding="utf-8").split("\n")[:-1]:
        row = json.loads(line)
        steps.setdefault(row.pop("step"), {}).update(row)
    return steps


def pictures_of(folder):
    """The sheets of pictures by step: the samples, and those that came back worst."""
    steps = {}
    for path in sorted((folder / "images").glob("*.png")):
        found = re.fullmatch(r"(step|worst)-(\d+)", path.stem)
        if found:
            name = "samples" if found[1] == "step" else "worst"
            steps.setdefault(int(found[2]), {})[name] = wandb.Image(str(path))
    return steps


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("run", type=Path, help="the folder of the run")
    parser.add_argument("--project", default="tessera")
    options = parser.parse_args()
    config = json.loads((options.run / "config.json").read_text(encoding="utf-8"))
    run = wandb.init(project=options.project, name=options.run.resolve().name, config=config)
    metrics, pictures = metrics_of(options.run), pictures_of(options.run)
    for step in sorted({*metrics, *pictures}):
        run.log({**metrics.get(step, {}), **pictures.get(step, {})}, step=step)
    run.finish()


if __name__ == "__main__":
    main()
