"""A second comparison for inference: the model of pytorch_vqgan.py, exported to ONNX, in onnxruntime.

    python bench/onnx_vqgan.py encode --size 256 --batch 1 --repeat 3 --threads 2

prints a JSON line as pytorch_vqgan.py does. It needs onnx and onnxruntime in addition to torch.
"""
import argparse
import json
import os
import statistics
import tempfile
import time
import warnings

warnings.filterwarnings("ignore")

import onnxruntime
import torch
from torch import nn

import keyed_fill
from pytorch_vqgan import FULL, VQModel, peak_bytes


class Encode(nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, x):
        return self.model.encode(x)[2]


class Decode(nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, q):
        return self.model.decode(q)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("job", choices=("encode", "decode"))
    for name, standard in dict(size=256, batch=1, repeat=3, warmup=1, threads=2).items():
        parser.add_argument(f"--{name}", type=int, default=standard)
    args = parser.parse_args()
    model = VQModel(FULL, loss=False).eval()
    with torch.no_grad():
        model.fill()
    if args.job == "encode":
        module, value = Encode(model), keyed_fill.picture("x0", args.batch, args.size, args.size)
    else:
        module, value = Decode(model), keyed_fill.uniform("q", (args.batch, 256, args.size // 16, args.size // 16), 0.5)
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "model.onnx")
        torch.onnx.export(module, torch.from_numpy(value), path, dynamo=False, opset_version=17, input_names=["in"])
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = args.threads
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    seconds, busy, values = [], [], []
    for i in range(args.warmup + args.repeat):
        start, start_busy = time.perf_counter(), time.process_time()
        values.append(float(session.run(None, {"in": value})[0].astype("float64").sum()))
        if i >= args.warmup:
            seconds.append(round(time.perf_counter() - start, 4))
            busy.append(round(time.process_time() - start_busy, 4))
    print(json.dumps(dict(job=args.job, seconds=seconds, median=statistics.median(seconds), cpuSeconds=busy,
                          peakBytes=peak_bytes(), onnxruntime=onnxruntime.__version__, value=values[0])))


if __name__ == "__main__":
    main()
