"""Reference values and gradients of single operations, from PyTorch in float64.

    python bench/ops_reference.py > tests/fixtures/ops_reference.json

Inputs are not stored: input `x` of case `conv2d/k3` is the stream `conv2d/k3/x` of bench/keyed_fill.py, with values
float32(shift + scale * u) in the order of its stored shape. All images (inputs, outputs and gradients) are NHWC, and
convolution weights are OIHW. The objective is sum(out * w), where w is the stream `CASE/w` in the output's shape (with
several outputs, `CASE/w.NAME`), so the gradient that reaches the operation is w, not 1.
"""
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import torch
from torch.nn import functional as F

import keyed_fill

cases = []


def nchw(x):
    return x.permute(0, 3, 1, 2)


def nhwc(x):
    return x.permute(0, 2, 3, 1)


def spec(shape, scale=1.0, shift=0.0, zero=()):
    """How an input is drawn; `zero` lists rows (all but the last axis flattened) that are set to 0 afterwards."""
    return dict(shape=list(shape), scale=scale, shift=shift, **({"zeroRows": list(zero)} if zero else {}))


def values(tensor):
    return [float(f"{v:.8g}") for v in tensor.detach().contiguous().flatten().tolist()]


def case(name, op, run, inputs, options=None, ints=None, no_grad=()):
    """Runs one case and records outputs and the gradient of every drawn input not named in `no_grad`."""
    tensors = {}
    for key, s in inputs.items():
        data = torch.from_numpy(keyed_fill.uniform(f"{name}/{key}", s["shape"], s["scale"], s["shift"])).double()
        for row in s.get("zeroRows", []):
            data.view(-1, data.shape[-1])[row] = 0
        tensors[key] = data.requires_grad_(key not in no_grad)
    given = {key: torch.tensor(v) for key, v in (ints or {}).items()}
    result = run(**tensors, **given)
    outputs = result if isinstance(result, dict) else {"out": result}
    entry = dict(name=name, op=op, options=options or {}, inputs=inputs)
    if ints:
        entry["ints"] = ints
    entry["outputs"] = {k: dict(shape=list(v.shape), values=values(v)) for k, v in outputs.items()}
    terms = []
    for key, out in outputs.items():
        if out.requires_grad:
            stream = f"{name}/w" if len(outputs) == 1 else f"{name}/w.{key}"
            w = torch.from_numpy(keyed_fill.uniform(stream, tuple(out.shape))).double()
            terms.append((out * w).sum())
    if terms:
        wanted = [key for key in inputs if key not in no_grad]
        grads = torch.autograd.grad(sum(terms), [tensors[key] for key in wanted])
        entry["grads"] = {key: values(g) for key, g in zip(wanted, grads)}
    cases.append(entry)


def convolution(name, image, cout, k, stride=1, padding=0, upsample=1, bias=True, residual=False, groups=1):
    """`padding` is a number or [top, bottom, left, right]."""
    batch, height, width, cin = image
    top, bottom, left, right = [padding] * 4 if isinstance(padding, int) else padding

    def run(x, weight, bias=None, residual=None):
        x = nchw(x)
        if upsample > 1:
            x = F.interpolate(x, scale_factor=upsample, mode="nearest")
        out = nhwc(F.conv2d(F.pad(x, (left, right, top, bottom)), weight, bias, stride, groups=groups))
        return out if residual is None else out + residual

    own = cin // groups
    inputs = dict(x=spec(image), weight=spec((cout, own, k, k), (3 / (own * k * k)) ** 0.5))
    if bias:
        inputs["bias"] = spec((cout,), 0.5)
    if residual:
        padded = (height * upsample + top + bottom, width * upsample + left + right)
        sides = [(n - k) // stride + 1 for n in padded]
        inputs["residual"] = spec((batch, *sides, cout))
    options = dict(stride=stride, padding=padding, upsample=upsample, **({"groups": groups} if groups > 1 else {}))
    case(f"conv2d/{name}", "conv2d", run, inputs, options)


def convolutions():
    convolution("k3", (2, 5, 7, 5), 6, 3, 1, 1)
    convolution("k3 aligned", (1, 8, 8, 8), 8, 3, 1, 1)
    convolution("k3 rgb in", (2, 6, 5, 3), 10, 3, 1, 1)
    convolution("k3 rgb out", (1, 7, 6, 12), 3, 3, 1, 1)
    convolution("k3 wide", (1, 9, 7, 16), 12, 3, 1, 1)
    convolution("k3 many channels", (1, 3, 4, 10), 17, 3, 1, 1)
    convolution("k3 one pixel", (2, 1, 1, 4), 5, 3, 1, 1)
    convolution("k3 one row", (1, 1, 19, 4), 4, 3, 1, 1)
    convolution("k3 residual", (2, 4, 5, 6), 6, 3, 1, 1, residual=True)
    convolution("k3 s2 even", (2, 6, 8, 5), 7, 3, 2, [0, 1, 0, 1])
    convolution("k3 s2 odd", (1, 7, 9, 6), 6, 3, 2, [0, 1, 0, 1])
    convolution("k3 s2 valid", (1, 9, 8, 3), 6, 3, 2, 0)
    convolution("k4 s2 even", (2, 6, 8, 3), 5, 4, 2, 1)
    convolution("k4 s2 odd", (1, 7, 9, 6), 8, 4, 2, 1, bias=False)
    convolution("k4 s1", (2, 5, 6, 5), 1, 4, 1, 1)
    convolution("k4 s1 no bias", (1, 6, 4, 6), 10, 4, 1, 1, bias=False)
    convolution("k1", (2, 3, 5, 7), 9, 1)
    convolution("k1 residual", (1, 4, 4, 12), 12, 1, residual=True)
    convolution("k1 s2", (1, 7, 5, 4), 6, 1, 2, 0)
    convolution("up", (2, 3, 4, 5), 7, 3, 1, 1, upsample=2)
    convolution("up aligned", (1, 4, 4, 8), 8, 3, 1, 1, upsample=2)
    convolution("2 groups", (2, 5, 6, 6), 10, 3, 1, 1, groups=2)
    convolution("2 groups s2", (2, 7, 6, 12), 8, 3, 2, [0, 1, 0, 1], groups=2)
    convolution("2 wide groups residual", (1, 5, 6, 16), 18, 3, 1, 1, residual=True, groups=2)
    convolution("3 wide groups k4 s2", (1, 7, 6, 24), 27, 4, 2, 1, bias=False, groups=3)
    convolution("4 groups k1", (2, 3, 4, 8), 12, 1, groups=4)
    convolution("one output a group", (1, 4, 5, 15), 5, 3, 1, 1, groups=5)
    convolution("depthwise", (2, 5, 6, 7), 7, 3, 1, 1, groups=7)
    convolution("depthwise aligned", (1, 6, 5, 32), 32, 3, 1, 1, residual=True, groups=32)
    convolution("depthwise k5 s2", (1, 9, 8, 20), 20, 5, 2, [2, 1, 1, 2], bias=False, groups=20)
    convolution("depthwise many channels", (1, 3, 3, 70), 70, 3, 1, 1, groups=70)
    convolution("depthwise many pixels", (1, 27, 23, 2), 2, 3, 1, 1, groups=2)
    convolution("depthwise times 2", (2, 5, 4, 6), 12, 3, 1, 1, groups=6)
    convolution("depthwise times 4 s2", (1, 7, 6, 3), 12, 3, 2, 1, groups=3)


def normalisations():
    for name, image, groups, swish, shift in (
            ("groups 32", (1, 2, 3, 64), 32, False, 0.0), ("groups 32 swish", (2, 3, 3, 64), 32, True, 0.0),
            ("odd swish", (2, 5, 3, 15), 3, True, 0.0), ("single channels", (1, 4, 5, 6), 6, False, 0.0),
            ("far from zero", (1, 5, 5, 8), 2, False, 20.0)):
        def run(x, weight, bias, groups=groups, swish=swish):
            out = nhwc(F.group_norm(nchw(x), groups, weight, bias, eps=1e-6))
            return F.silu(out) if swish else out
        inputs = dict(x=spec(image, 1.0, shift), weight=spec(image[3:], 0.5, 1.0), bias=spec(image[3:], 0.5))
        case(f"groupNorm/{name}", "groupNorm", run, inputs, dict(groups=groups, eps=1e-6, swish=swish))
    for name, image in (("odd", (2, 5, 3, 6)), ("one picture", (1, 3, 4, 9))):
        def run(x, weight, bias):
            flat = x.reshape(-1, x.shape[-1])
            mean, variance = flat.mean(0), flat.var(0, unbiased=False)
            return {"out": nhwc(F.batch_norm(nchw(x), None, None, weight, bias, True, 0.1, 1e-5)),
                    "mean": mean.detach(), "variance": variance.detach()}
        inputs = dict(x=spec(image, 1.0, 0.3), weight=spec(image[3:], 0.5, 1.0), bias=spec(image[3:], 0.5))
        case(f"batchNorm/{name}", "batchNorm", run, inputs, dict(eps=1e-5))


def products():
    for name, shape, scale in (("small", (2, 6, 5), 1.0), ("aligned", (1, 16, 8), 1.0), ("peaked", (1, 17, 12), 4.0)):
        def run(q, k, v):
            return F.softmax(q @ k.transpose(1, 2) * q.shape[-1] ** -0.5, -1) @ v
        case(f"attention/{name}", "attention", run, {key: spec(shape, scale) for key in "qkv"})
    case("softmax/rows", "softmax", lambda x: x.softmax(-1), dict(x=spec((3, 7), 3.0)))
    case("softmax/large", "softmax", lambda x: x.softmax(-1), dict(x=spec((2, 5, 33), 60.0, 40.0)))
    case("matmul/plain", "matmul", lambda a, b: a @ b, dict(a=spec((5, 7)), b=spec((7, 3))))
    case("matmul/transposed a", "matmul", lambda a, b: a.T @ b, dict(a=spec((7, 5)), b=spec((7, 6))),
         dict(transposeA=True))
    case("matmul/transposed b", "matmul", lambda a, b: a @ b.T, dict(a=spec((9, 4)), b=spec((11, 4))),
         dict(transposeB=True))
    case("matmul/batched", "matmul", lambda a, b: a @ b, dict(a=spec((2, 3, 5)), b=spec((2, 5, 4))))


def pools():
    for name, image, size, stride, ceil in (
            ("2 even", (2, 6, 4, 5), 2, 2, False), ("2 odd", (1, 7, 5, 8), 2, 2, False),
            ("3 ceil odd", (2, 7, 8, 3), 3, 2, True), ("3 ceil even", (1, 6, 6, 4), 3, 2, True)):
        def run(x, size=size, stride=stride, ceil=ceil):
            return nhwc(F.max_pool2d(nchw(x), size, stride, ceil_mode=ceil))
        case(f"maxPool2d/{name}", "maxPool2d", run, dict(x=spec(image)), dict(size=size, stride=stride, ceil=ceil))
    for name, image, size, stride, padding, ceil, count in (
            ("2", (2, 6, 4, 5), 2, 2, 0, False, True), ("2 odd", (1, 7, 5, 8), 2, 2, 0, False, True),
            ("2 with gaps, not counted", (1, 8, 7, 4), 2, 3, 1, False, False), ("3 padded", (2, 5, 6, 3), 3, 2, 1, False, True),
            ("3 padded, not counted", (2, 5, 6, 3), 3, 2, 1, False, False),
            ("3 overlapping", (1, 4, 5, 8), 3, 1, 1, False, True), ("3 ceil", (1, 6, 8, 4), 3, 2, 0, True, True),
            ("3 padded, ceil", (2, 6, 7, 6), 3, 2, 1, True, True),
            ("3 padded, ceil, not counted", (2, 6, 7, 6), 3, 2, 1, True, False),
            ("4 padded, ceil", (1, 7, 6, 20), 4, 3, 2, True, True),
            ("2 padded, ceil, none beyond", (1, 3, 5, 4), 2, 3, 1, True, True),
            ("3 larger than the picture, ceil", (1, 2, 2, 4), 3, 2, 0, True, True)):
        def run(x, size=size, stride=stride, padding=padding, ceil=ceil, count=count):
            return nhwc(F.avg_pool2d(nchw(x), size, stride, padding, ceil, count))
        options = dict(size=size, stride=stride, padding=padding, ceil=ceil, countPadding=count)
        case(f"avgPool2d/{name}", "avgPool2d", run, dict(x=spec(image)), options)


def distances():
    def unit(x):
        # A zero vector stays zero and passes no gradient.
        n = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
        return x * torch.where(n > 0, 1 / (n + 1e-10), torch.zeros_like(n))

    def lpips(a, b, weight):
        return ((unit(a) - unit(b)).square() * weight).sum(-1).mean((1, 2))

    for name, image, zero in (("odd", (2, 3, 5, 6), ()), ("aligned", (1, 4, 4, 8), ()),
                              ("zero rows", (1, 3, 3, 5), (0, 4))):
        inputs = dict(a=spec(image), b=spec(image, 1.0, 0.0, zero), weight=spec(image[3:], 0.5, 0.5))
        case(f"lpipsDistance/{name}", "lpipsDistance", lpips, inputs)

    def nearest(z, codebook):
        return torch.cdist(z, codebook, compute_mode="donot_use_mm_for_euclid_dist").argmin(1)

    case("nearestCode/small", "nearestCode", nearest, dict(z=spec((11, 6)), codebook=spec((9, 6))),
         no_grad=("z", "codebook"))
    case("nearestCode/many", "nearestCode", nearest, dict(z=spec((37, 16)), codebook=spec((131, 16))),
         no_grad=("z", "codebook"))
    # Rows 2, 5 and 7 are all zero and so is query 1: the lowest index wins.
    case("nearestCode/tie", "nearestCode", nearest,
         dict(z=spec((3, 4), 1.0, 0.0, (1,)), codebook=spec((8, 4), 1.0, 0.0, (2, 5, 7))), no_grad=("z", "codebook"))
    case("embedding/repeats", "embedding", lambda table, indices: table[indices], dict(table=spec((7, 3))),
         ints=dict(indices=[[0, 3, 3, 6, 1], [6, 6, 3, 0, 5]]))


def elementwise():
    for name, function in (("relu", F.relu), ("sigmoid", torch.sigmoid), ("swish", F.silu), ("tanh", torch.tanh),
                           ("softplus", F.softplus), ("exp", torch.exp), ("square", torch.square), ("abs", torch.abs)):
        case(f"{name}/plain", name, lambda x, f=function: f(x), dict(x=spec((3, 5), 3.0)))
    case("softplus/far", "softplus", F.softplus, dict(x=spec((2, 9), 60.0)))
    case("leakyRelu/plain", "leakyRelu", lambda x: F.leaky_relu(x, 0.2), dict(x=spec((3, 7), 2.0)), dict(slope=0.2))
    case("log/plain", "log", torch.log, dict(x=spec((3, 5), 1.0, 2.0)))
    case("sqrt/plain", "sqrt", torch.sqrt, dict(x=spec((3, 5), 1.0, 2.0)))
    case("clamp/plain", "clamp", lambda x: x.clamp(-0.5, 0.7), dict(x=spec((3, 5), 1.5)), dict(lo=-0.5, hi=0.7))
    for name, function in (("add", torch.add), ("sub", torch.sub), ("mul", torch.mul), ("div", torch.div)):
        case(f"{name}/broadcast", name, lambda a, b, f=function: f(a, b),
             dict(a=spec((2, 3, 4)), b=spec((3, 1), 1.0, 2.0)))
    case("sum/axes", "sum", lambda x: x.sum((0, 2)), dict(x=spec((2, 3, 4))), dict(axes=[0, 2]))
    case("mean/axes kept", "mean", lambda x: x.mean((1,), keepdim=True), dict(x=spec((2, 5, 3))),
         dict(axes=[1], keepDims=True))
    case("permute/plain", "permute", lambda x: x.permute(2, 0, 1).contiguous(), dict(x=spec((2, 3, 4))),
         dict(axes=[2, 0, 1]))
    case("slice/plain", "slice", lambda x: x[1:3, 0:2], dict(x=spec((4, 3))), dict(starts=[1, 0], ends=[3, 2]))
    case("concat/last", "concat", lambda a, b: torch.cat((a, b), -1), dict(a=spec((2, 3)), b=spec((2, 5))),
         dict(axis=1))


def adam():
    """Five updates of one parameter; gradient number i is the stream adam/plain/g{i}."""
    p = torch.from_numpy(keyed_fill.uniform("adam/plain/p", (13,))).double().requires_grad_()
    optimizer = torch.optim.Adam([p], lr=1e-2, betas=(0.5, 0.9), eps=1e-8)
    for i in range(5):
        p.grad = torch.from_numpy(keyed_fill.uniform(f"adam/plain/g{i}", (13,), 0.1)).double()
        optimizer.step()
    state = optimizer.state[p]
    outputs = dict(p=p, expAvg=state["exp_avg"], expAvgSq=state["exp_avg_sq"])
    cases.append(dict(name="adam/plain", op="adam", options=dict(lr=1e-2, betas=[0.5, 0.9], eps=1e-8, steps=5),
                      inputs=dict(p=spec((13,)), **{f"g{i}": spec((13,), 0.1) for i in range(5)}),
                      outputs={k: dict(shape=[13], values=values(v)) for k, v in outputs.items()}))


def main():
    for build in (convolutions, normalisations, products, pools, distances, elementwise, adam):
        build()
    note = ("float64 results of torch " + torch.__version__ + "; input KEY of case NAME is float32(shift + scale * u), "
            "u from stream NAME/KEY, zeroRows then set to 0; images NHWC, weights OIHW; grads of sum(out * w), "
            "w = u of stream NAME/w (NAME/w.OUT for the output OUT of several); see bench/ops_reference.py")
    print('{"note": ' + json.dumps(note) + ',\n"cases": [')
    print(",\n".join(json.dumps(entry, separators=(",", ":")) for entry in cases))
    print("]}")


if __name__ == "__main__":
    main()
