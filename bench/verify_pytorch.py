"""Checks pytorch_vqgan.py against the golden numbers: python bench/verify_pytorch.py [tiny] [full].

Without an argument both parts run. It prints the largest deviation of each group, and ends with status 1 on a failure.
"""
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import numpy as np
import torch

import keyed_fill
from pytorch_vqgan import FULL, TINY, Trainer, VQModel

FIXTURES = Path(__file__).parent.parent / "tests" / "fixtures"
TABLE = Path(__file__).parent.parent.parent / "shared" / "reference" / "state_dict_f16_16384.tsv"
failures = 0


def report(name, got, want, limit):
    """Prints |got - want| relative to max(1e-3, |want|) and counts a failure beyond `limit`."""
    global failures
    got, want = (np.asarray(v, dtype=np.float64).ravel() for v in (got, want))
    worst = float(np.max(np.abs(got - want) / np.maximum(1e-3, np.abs(want)))) if want.size else 0.0
    good = got.shape == want.shape and worst <= limit
    failures += not good
    print(f"{'ok  ' if good else 'FAIL'} {name}: {want.size} values, largest relative deviation {worst:.2e}")


def tiny_model():
    model = VQModel(TINY)
    with torch.no_grad():
        model.fill()
    return model.double()


def tiny_picture(key):
    return torch.from_numpy(keyed_fill.uniform(key, (2, 3, 32, 32))).double()


def tiny_forward():
    golden = json.load(open(FIXTURES / "tiny_forward.json"))
    x = tiny_picture("x0")
    model, want = tiny_model().eval(), golden["forward"]
    with torch.no_grad():
        h = model.encoder(x)
        z = model.quant_conv(h)
        q, loss, indices = model.quantize(z)
        rec = model.decode(q)
    for name, value in dict(h=h, z=z, indices=indices, quant_loss=loss, rec=rec).items():
        report(f"forward.{name}", value, want[name], 1e-9)
    other = tiny_picture("x1").requires_grad_()
    value = model.loss.perceptual_loss(x, other)
    report("lpips.value", value.detach(), golden["lpips"]["value"], 1e-9)
    value.sum().backward()
    report("lpips.grad_norm", other.grad.norm(), golden["lpips"]["grad_norm"], 1e-9)
    report("lpips.grad_first12", other.grad.flatten()[:12], golden["lpips"]["grad_first12"], 1e-9)
    disc, want = model.loss.discriminator, golden["disc"]
    with torch.no_grad():
        report("disc.eval_first8", disc(x).flatten()[:8], want["eval_first8"], 1e-9)
        report("disc.train_first8", disc.train()(x).flatten()[:8], want["train_first8"], 1e-9)
    report("disc.running_mean", disc.main[3].running_mean[:4], want["running_mean_after_first4"], 1e-9)
    report("disc.running_var", disc.main[3].running_var[:4], want["running_var_after_first4"], 1e-9)


def tiny_train():
    golden = json.load(open(FIXTURES / "tiny_train.json"))
    model = tiny_model().train()
    model.loss.perceptual_loss.eval()
    trainer, norms = Trainer(model), {}
    names = {id(p): key for key, p in model.named_parameters()}

    def watch(phase):
        for p in trainer.generator if phase == "generator" else trainer.critic:
            norms[names[id(p)].replace("loss.discriminator.", "")] = p.grad.norm().item()

    for number, want in enumerate(golden["steps"]):
        x = tiny_picture(f"x{number}")
        log = trainer.step(x, number, watch=watch)
        for key, value in {**want["log"], **want["dlog"]}.items():
            if key != "train/disc_factor":
                report(f"step{number} {key}", log[key.removeprefix("train/")].detach(), value, 1e-8)
        for group in ("grad_norms", "d_grad_norms"):
            keys = list(want[group])
            report(f"step{number} {group}", [norms[k] for k in keys], list(want[group].values()), 1e-7)
        conv_out, bn = model.decoder.conv_out.weight.detach(), model.loss.discriminator.main[3]
        report(f"step{number} conv_out", conv_out.flatten()[:12], want["conv_out_after"], 1e-7)
        report(f"step{number} bn mean", bn.running_mean[:4], want["bn_after_d"]["rm"], 1e-7)
    state = trainer.adam_g.state[model.decoder.conv_out.weight]
    for key in ("exp_avg", "exp_avg_sq"):
        report(f"adam {key}", state[key].flatten()[:6], golden["adam_state_example"][f"{key}_conv_out_first6"], 1e-7)


def full():
    golden, model = json.load(open(FIXTURES / "full_f16_16384.json")), VQModel(FULL)
    got = [(k, str(tuple(v.shape))) for k, v in model.state_dict().items()]
    if TABLE.exists():
        want = [tuple(line.split("\t")[:2]) for line in TABLE.read_text().splitlines()[1:]]
        assert got == want, [pair for pair in zip(got, want) if pair[0] != pair[1]][:3]
        print(f"ok   state_dict: {len(got)} keys and shapes, in the reference's order")
    with torch.no_grad():
        model.fill(golden["fill_prefix"])
    model.eval()
    for case in golden["cases"]:
        height, width = case["shape"]
        x = torch.from_numpy(keyed_fill.picture(golden["fill_prefix"] + case["name"], 1, height, width))
        with torch.inference_mode():
            q, loss, indices = model.encode(x)
            rec = model.decode(q)
        same = int((indices.numpy() == np.array(case["indices"])).sum())
        report(f"full {case['name']} indices ({same} of {len(case['indices'])} equal)", indices, case["indices"], 0)
        report(f"full {case['name']} quant_loss", loss, case["quant_loss"], 1e-4)
        got = [rec.mean(), rec.std(), *torch.nn.functional.avg_pool2d(rec, 16).flatten()]
        want = [case["rec_mean"], case["rec_std"], *case["rec_pool16"]]
        deviation = float(np.max(np.abs(np.array([float(v) for v in got]) - np.array(want))))
        print(f"     full {case['name']} picture means: largest absolute deviation {deviation:.1e}")
        report(f"full {case['name']} rec_std", rec.std(), case["rec_std"], 1e-4)


if __name__ == "__main__":
    torch.set_num_threads(2)
    parts = sys.argv[1:] or ["tiny", "full"]
    if "tiny" in parts:
        tiny_forward()
        tiny_train()
    if "full" in parts:
        full()
    print(f"{failures} failed")
    sys.exit(failures > 0)
