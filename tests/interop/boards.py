"""The other side of boards.test.ts: TensorBoard, which reads the event files of runs, and wandb, into which a script brings them.

    python boards.py versions PACKAGE...     which of the packages are here
    python boards.py events FOLDER           what TensorBoard's EventAccumulator finds in a run's folder
    python boards.py served FOLDER           the scalars that a real `tensorboard` answers for the runs in a folder
    python boards.py wandb SCRIPT RUN OUT    runs the script without a network, prints what its file in OUT says

Each job prints JSON as its last line.
"""
import io
import json
import os
import socket
import struct
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from pathlib import Path

from packages import versions


def events(folder):
    from PIL import Image
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    sizes = {"scalars": 0, "images": 0, "histograms": 0}
    board = EventAccumulator(folder, size_guidance=sizes)
    board.Reload()
    tags = board.Tags()
    pixels = {}
    for tag in tags["images"]:
        pixels[tag] = []
        for event in board.Images(tag):
            size = Image.open(io.BytesIO(event.encoded_image_string)).size
            assert size == (event.width, event.height), (tag, size)
            pixels[tag].append([event.step, *size])
    return {
        "scalars": {tag: [[e.step, e.value] for e in board.Scalars(tag)] for tag in tags["scalars"]},
        "images": pixels,
        "histograms": {
            tag: [{"step": e.step, "num": e.histogram_value.num, "min": e.histogram_value.min,
                   "max": e.histogram_value.max, "sum": e.histogram_value.sum,
                   "limits": list(e.histogram_value.bucket_limit), "counts": list(e.histogram_value.bucket)}
                  for e in board.Histograms(tag)] for tag in tags["histograms"]
        },
    }


def served(folder):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = [sys.executable, "-m", "tensorboard.main", "--logdir", folder, "--port", str(port), "--host", "127.0.0.1"]
    board = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    def ask(path):
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/data/plugin/{path}", timeout=30) as answer:
            return json.load(answer)
    try:
        for _ in range(600):
            try:
                tags = ask("scalars/tags")
                if tags:
                    break
            except OSError:
                pass
            time.sleep(0.1)
        found = {}
        for run, names in tags.items():
            found[run] = {}
            for tag in names:
                query = urllib.parse.urlencode({"run": run, "tag": tag})
                found[run][tag] = [[step, value] for _, step, value in ask(f"scalars/scalars?{query}")]
        return found
    finally:
        board.terminate()
        board.wait()


def records(path):
    """The records of wandb's file: LevelDB's log format, blocks of 32 KiB with headers of 7 bytes."""
    data, at, whole = path.read_bytes(), 7, b""
    while at < len(data):
        left = 32768 - at % 32768
        if left < 7:
            at += left
            continue
        _, length, kind = struct.unpack("<IHB", data[at:at + 7])
        whole += data[at + 7:at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # a whole record, or the last part of one
            yield whole
            whole = b""


def wandb(script, run, out):
    from wandb.proto import wandb_internal_pb2

    environment = {**os.environ, "WANDB_MODE": "offline", "WANDB_DIR": out, "HOME": out, "WANDB_SILENT": "true"}
    subprocess.run([sys.executable, script, run, "--project", "faces"], env=environment, check=True)
    found = {"history": [], "config": {}, "pictures": 0}
    for path in Path(out).glob("wandb/offline-run-*/*.wandb"):
        for bytes in records(path):
            record = wandb_internal_pb2.Record()
            record.ParseFromString(bytes)
            if record.HasField("run"):
                found["project"], found["name"] = record.run.project, record.run.display_name
                for item in record.run.config.update:
                    found["config"][item.key] = json.loads(item.value_json)
            if record.HasField("history"):
                # pictures have their fields one by one, under nested keys
                numbers = [item for item in record.history.item if len(item.nested_key) <= 1]
                found["history"].append({item.key or item.nested_key[0]: json.loads(item.value_json) for item in numbers})
    found["pictures"] = len(list(Path(out).glob("wandb/offline-run-*/files/media/images/*.png")))
    return found


if __name__ == "__main__":
    jobs = {"versions": versions, "events": events, "served": served, "wandb": wandb}
    print(json.dumps(jobs[sys.argv[1]](*sys.argv[2:])))
