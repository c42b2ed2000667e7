"""Measures PyTorch's convolutions on this machine: python bench/pytorch_conv.py [threads].

One JSON line per shape: GFLOP/s of forward, input gradient (dX) and weight gradient (dW), best of five, in both memory
orders. A multiply-add counts as two operations.
"""
import json
import sys
import time

import torch

SHAPES = ((128, 128, 256), (256, 256, 64), (512, 512, 16))


def rate(run, flop):
    run()
    best = 1e9
    for _ in range(5):
        start = time.perf_counter()
        run()
        best = min(best, time.perf_counter() - start)
    return round(flop / best / 1e9, 1)


def main():
    torch.set_num_threads(int(sys.argv[1]) if len(sys.argv) > 1 else 1)
    for cin, cout, side in SHAPES:
        for layout in (torch.contiguous_format, torch.channels_last):
            x = torch.rand(1, cin, side, side).contiguous(memory_format=layout)
            w = torch.rand(cout, cin, 3, 3).contiguous(memory_format=layout)
            g = torch.rand(1, cout, side, side).contiguous(memory_format=layout)
            flop = 2 * cin * cout * 9 * side * side

            def backward(mask):
                return torch.ops.aten.convolution_backward(
                    g, x, w, None, [1, 1], [1, 1], [1, 1], False, [0, 0], 1, mask)

            print(json.dumps(dict(
                conv=f"3x3 {cin}->{cout} {side}x{side}", memoryFormat=str(layout).removeprefix("torch."),
                threads=torch.get_num_threads(), forward=rate(lambda: torch.conv2d(x, w, None, 1, 1), flop),
                dX=rate(lambda: backward([True, False, False]), flop),
                dW=rate(lambda: backward([False, True, False]), flop))))


if __name__ == "__main__":
    main()
