"""The program to compare with: VQGAN in plain PyTorch, with the same tensors, losses and update rule as Tessera.

    python bench/pytorch_vqgan.py step --size 256 --batch 1 --repeat 3 --threads 2 --recompute

prints one JSON line: {job, seconds, median, cpuSeconds, peakBytes, torch, value, ...}. cpuSeconds is the processor
time of all threads, which depends less on how busy the machine is. peakBytes is the process's peak memory (VmHWM),
including interpreter and weights. value is a number from the first run, to compare with bench/job.ts. Jobs:
  encode  picture -> token indices            decode  latents -> picture
  lpips   perceptual distance of two pictures and its gradient with respect to the second
  step    one whole iteration: generator update, then discriminator update. --recompute (default) runs the
          autoencoder again, with the updated weights, for the discriminator; --reuse keeps the first picture.
With --device cuda it runs on a GPU, where cuDNN chooses its algorithms by trial, and peakBytes is what the GPU had
reserved. --precision is f32, tf32 (factors of 10 bits) or f16 (autocast, without a loss scale).
Work whose result is not used (LPIPS during the discriminator update) is left out, so the comparison is strict.
"""
import argparse
import json
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import torch
from torch import nn
from torch.nn import functional as F

import keyed_fill

FULL = dict(ch=128, ch_mult=(1, 1, 2, 2, 4), res_blocks=2, attn=(16,), resolution=256, z=256, embed=256,
            codes=16384, disc_layers=2, disc_ndf=64, disc_weight=0.75, disc_start=0, beta=0.25, lr=4.5e-6)
TINY = dict(ch=32, ch_mult=(1, 2, 2), res_blocks=2, attn=(8,), resolution=32, z=32, embed=16,
            codes=64, disc_layers=2, disc_ndf=16, disc_weight=0.75, disc_start=1, beta=0.25, lr=1e-3)


def conv3(cin, cout, stride=1, padding=1):
    return nn.Conv2d(cin, cout, 3, stride, padding)


def norm(channels):
    return nn.GroupNorm(32, channels, eps=1e-6)


class Residual(nn.Module):
    def __init__(self, cin, cout):
        super().__init__()
        self.norm1, self.conv1 = norm(cin), conv3(cin, cout)
        self.norm2, self.conv2 = norm(cout), conv3(cout, cout)
        if cin != cout:
            self.nin_shortcut = nn.Conv2d(cin, cout, 1)

    def forward(self, x):
        h = self.conv1(F.silu(self.norm1(x)))
        h = self.conv2(F.silu(self.norm2(h)))
        return (self.nin_shortcut(x) if hasattr(self, "nin_shortcut") else x) + h


class Attention(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.norm = norm(channels)
        self.q, self.k, self.v, self.proj_out = (nn.Conv2d(channels, channels, 1) for _ in range(4))

    def forward(self, x):
        shape, n = x.shape, self.norm(x)
        q, k, v = (layer(n).flatten(2) for layer in (self.q, self.k, self.v))
        scores = torch.bmm(q.transpose(1, 2), k) * shape[1] ** -0.5
        out = torch.bmm(v, scores.softmax(-1).transpose(1, 2))
        return x + self.proj_out(out.reshape(shape))


class Down(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.conv = conv3(channels, channels, 2, 0)

    def forward(self, x):
        return self.conv(F.pad(x, (0, 1, 0, 1)))


class Up(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.conv = conv3(channels, channels)

    def forward(self, x):
        return self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))


class Middle(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.block_1, self.attn_1 = Residual(channels, channels), Attention(channels)
        self.block_2 = Residual(channels, channels)

    def forward(self, x):
        return self.block_2(self.attn_1(self.block_1(x)))


class Level(nn.Module):
    """One resolution: residual blocks, each followed by attention if the nominal size has it."""

    def __init__(self, cin, cout, blocks, attend, name=None, change=None):
        super().__init__()
        self.block = nn.ModuleList(Residual(cin if i == 0 else cout, cout) for i in range(blocks))
        self.attn = nn.ModuleList(Attention(cout) for _ in range(blocks if attend else 0))
        self.change = name
        if name:
            self.add_module(name, change(cout))

    def forward(self, x):
        for i, block in enumerate(self.block):
            x = block(x)
            if len(self.attn):
                x = self.attn[i](x)
        return getattr(self, self.change)(x) if self.change else x


class Encoder(nn.Module):
    def __init__(self, c):
        super().__init__()
        widths, last = [c["ch"] * m for m in c["ch_mult"]], len(c["ch_mult"]) - 1
        self.conv_in = conv3(3, c["ch"])
        self.down = nn.ModuleList(
            Level(widths[max(i - 1, 0)] if i else c["ch"], w, c["res_blocks"], c["resolution"] >> i in c["attn"],
                  "downsample" if i < last else None, Down) for i, w in enumerate(widths))
        self.mid = Middle(widths[-1])
        self.norm_out, self.conv_out = norm(widths[-1]), conv3(widths[-1], c["z"])

    def forward(self, x):
        x = self.conv_in(x)
        for level in self.down:
            x = level(x)
        return self.conv_out(F.silu(self.norm_out(self.mid(x))))


class Decoder(nn.Module):
    def __init__(self, c):
        super().__init__()
        widths, last = [c["ch"] * m for m in c["ch_mult"]], len(c["ch_mult"]) - 1
        self.conv_in = conv3(c["z"], widths[-1])
        self.mid = Middle(widths[-1])
        self.up = nn.ModuleList(
            Level(widths[min(i + 1, last)], w, c["res_blocks"] + 1, c["resolution"] >> i in c["attn"],
                  "upsample" if i else None, Up) for i, w in enumerate(widths))
        self.norm_out, self.conv_out = norm(widths[0]), conv3(widths[0], 3)

    def forward(self, x):
        x = self.mid(self.conv_in(x))
        for level in reversed(self.up):
            x = level(x)
        return self.conv_out(F.silu(self.norm_out(x)))


class Quantizer(nn.Module):
    def __init__(self, c, legacy=True):
        super().__init__()
        self.embedding, self.beta, self.legacy = nn.Embedding(c["codes"], c["embed"]), c["beta"], legacy

    def nearest(self, flat):
        table = self.embedding.weight
        return (table.square().sum(1) - 2 * flat @ table.T + flat.square().sum(1, keepdim=True)).argmin(1)

    def forward(self, z):
        z = z.permute(0, 2, 3, 1)
        indices = self.nearest(z.detach().reshape(-1, z.shape[-1]))
        q = self.embedding(indices).view(z.shape)
        commit, book = F.mse_loss(z, q.detach()), F.mse_loss(q, z.detach())
        loss = commit + self.beta * book if self.legacy else self.beta * commit + book
        return (z + (q - z).detach()).permute(0, 3, 1, 2), loss, indices


class Scaling(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("shift", torch.tensor([-0.030, -0.088, -0.188]).view(1, 3, 1, 1))
        self.register_buffer("scale", torch.tensor([0.458, 0.448, 0.450]).view(1, 3, 1, 1))


class Head(nn.Module):
    """The 1x1 weighting of the squared differences; position 0 is that of the dropout in training."""

    def __init__(self, channels):
        super().__init__()
        self.model = nn.Sequential(nn.Identity(), nn.Conv2d(channels, 1, 1, bias=False))


class LPIPS(nn.Module):
    PLAN = ((0, 2), (5, 7), (10, 12, 14), (17, 19, 21), (24, 26, 28))
    WIDTHS = (64, 128, 256, 512, 512)

    def __init__(self):
        super().__init__()
        self.scaling_layer, self.net, cin = Scaling(), nn.Module(), 3
        for number, (layers, width) in enumerate(zip(self.PLAN, self.WIDTHS), 1):
            part = nn.Module()
            for layer in layers:
                part.add_module(str(layer), conv3(cin, width))
                cin = width
            self.net.add_module(f"slice{number}", part)
        for i, width in enumerate(self.WIDTHS):
            self.add_module(f"lin{i}", Head(width))

    def taps(self, image):
        x = (image - self.scaling_layer.shift) / self.scaling_layer.scale
        for number, layers in enumerate(self.PLAN):
            if number:
                x = F.max_pool2d(x, 2)
            for layer in layers:
                x = F.relu(getattr(getattr(self.net, f"slice{number + 1}"), str(layer))(x), inplace=True)
            yield x

    def forward(self, a, b):
        total = 0
        for i, (fa, fb) in enumerate(zip(list(self.taps(a)), list(self.taps(b)))):
            # The gradient of vector_norm is 0, not NaN, if a whole feature vector is 0.
            na, nb = (f / (torch.linalg.vector_norm(f, dim=1, keepdim=True) + 1e-10) for f in (fa, fb))
            head = getattr(self, f"lin{i}").model
            total = total + head((na - nb).square()).mean((2, 3), keepdim=True)
        return total


class Discriminator(nn.Module):
    def __init__(self, c):
        super().__init__()
        widths = [c["disc_ndf"] * min(2**n, 8) for n in range(c["disc_layers"] + 1)]
        layers = [nn.Conv2d(3, widths[0], 4, 2, 1), nn.LeakyReLU(0.2, inplace=True)]
        for n in range(1, len(widths)):
            stride = 2 if n < c["disc_layers"] else 1
            layers += [nn.Conv2d(widths[n - 1], widths[n], 4, stride, 1, bias=False), nn.BatchNorm2d(widths[n]),
                       nn.LeakyReLU(0.2, inplace=True)]
        self.main = nn.Sequential(*layers, nn.Conv2d(widths[-1], 1, 4, 1, 1))

    def forward(self, x):
        return self.main(x)


class Loss(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.perceptual_loss, self.discriminator = LPIPS(), Discriminator(c)


class VQModel(nn.Module):
    def __init__(self, c, loss=True):
        super().__init__()
        self.config, self.encoder, self.decoder = c, Encoder(c), Decoder(c)
        if loss:
            self.loss = Loss(c)
        self.quantize = Quantizer(c)
        self.quant_conv, self.post_quant_conv = nn.Conv2d(c["z"], c["embed"], 1), nn.Conv2d(c["embed"], c["z"], 1)

    def encode(self, x):
        return self.quantize(self.quant_conv(self.encoder(x)))

    def decode(self, q):
        return self.decoder(self.post_quant_conv(q))

    def fill(self, prefix=""):
        """Draws every tensor from its key; counters become 0, and the constants of LPIPS do not change."""
        for key, tensor in self.state_dict().items():
            if "scaling_layer" in key:
                continue
            if tensor.is_floating_point():
                tensor.copy_(torch.from_numpy(keyed_fill.weight(key, tuple(tensor.shape), prefix + key)))
            else:
                tensor.zero_()
        return self


class Trainer:
    """Both Adams, and an iteration of generator and discriminator in the order of the published training."""

    def __init__(self, model):
        self.model, self.config = model, model.config
        self.generator = [p for part in (model.encoder, model.decoder, model.quantize, model.quant_conv,
                                         model.post_quant_conv) for p in part.parameters()]
        self.critic = list(model.loss.discriminator.parameters())
        for p in model.loss.perceptual_loss.parameters():
            p.requires_grad_(False)
        self.adam_g, self.adam_d = (torch.optim.Adam(p, lr=self.config["lr"], betas=(0.5, 0.9), eps=1e-8)
                                    for p in (self.generator, self.critic))

    def _only(self, generator):
        for p in self.generator:
            p.requires_grad_(generator)
        for p in self.critic:
            p.requires_grad_(not generator)

    def generator_loss(self, x):
        loss, c = self.model.loss, self.config
        q, quant_loss, _ = self.model.encode(x)
        rec = self.model.decode(q)
        p_loss = loss.perceptual_loss(x, rec)
        nll = ((x - rec).abs() + p_loss).mean()
        g_loss = -loss.discriminator(rec).mean()
        d_weight = torch.zeros(())
        if nll.requires_grad:
            last = self.model.decoder.conv_out.weight
            nll_grad, g_grad = (torch.autograd.grad(value, last, retain_graph=True)[0] for value in (nll, g_loss))
            d_weight = (nll_grad.norm() / (g_grad.norm() + 1e-4)).clamp(0, 1e4) * c["disc_weight"]
        return rec, nll, g_loss, d_weight, quant_loss, p_loss

    def critic_loss(self, x, rec):
        real, fake = self.model.loss.discriminator(x.detach()), self.model.loss.discriminator(rec.detach())
        return 0.5 * (F.relu(1 - real).mean() + F.relu(1 + fake).mean()), real.mean(), fake.mean()

    def step(self, x, number=0, recompute=True, watch=None):
        """One iteration; returns the logged scalars as tensors. `watch(phase)` runs between backward and update."""
        factor = 0.0 if number < self.config["disc_start"] else 1.0
        self._only(generator=True)
        rec, nll, g_loss, d_weight, quant_loss, p_loss = self.generator_loss(x)
        total = nll + d_weight * factor * g_loss + quant_loss
        total.backward()
        if watch:
            watch("generator")
        self.adam_g.step()
        self.adam_g.zero_grad()
        self._only(generator=False)
        if recompute:
            rec = self.model.decode(self.model.encode(x)[0])
        d_loss, real, fake = self.critic_loss(x, rec)
        d_loss = factor * d_loss
        d_loss.backward()
        if watch:
            watch("discriminator")
        self.adam_d.step()
        self.adam_d.zero_grad()
        return dict(total_loss=total, quant_loss=quant_loss, nll_loss=nll, rec_loss=nll, p_loss=p_loss.mean(),
                    d_weight=d_weight, g_loss=g_loss, disc_loss=d_loss, logits_real=real, logits_fake=fake)


def peak_bytes(device="cpu"):
    if device == "cuda":
        return torch.cuda.max_memory_reserved()
    for line in open("/proc/self/status"):
        if line.startswith("VmHWM"):
            return int(line.split()[1]) * 1024
    return 0


def make_job(args):
    torch.manual_seed(0)
    layout = torch.channels_last if args.channels_last else torch.contiguous_format
    config = dict(FULL, lr=FULL["lr"] * args.batch)
    model = VQModel(config, loss=args.job in ("step", "lpips"))
    image = torch.from_numpy(keyed_fill.picture("x0", args.batch, args.size, args.size))
    image = image.to(args.device).contiguous(memory_format=layout)
    with torch.no_grad():
        model.fill()
    model.to(args.device, memory_format=layout)
    if args.job == "step":
        trainer = Trainer(model.train())
        return lambda: trainer.step(image, recompute=args.recompute)["total_loss"].item()
    if args.job == "lpips":
        other = torch.from_numpy(keyed_fill.picture("x1", args.batch, args.size, args.size))
        other = other.to(args.device).contiguous(memory_format=layout).requires_grad_()
        distance = model.loss.perceptual_loss.requires_grad_(False)
        del model.encoder, model.decoder, model.quantize
        return lambda: torch.autograd.grad(distance(image, other).sum(), other)[0].sum().item()
    if args.job == "encode":
        del model.decoder
        return torch.inference_mode()(lambda: model.encode(image)[2].sum().item())
    side = args.size // 16
    latents = torch.from_numpy(keyed_fill.uniform("q", (args.batch, 256, side, side), 0.5))
    latents = latents.to(args.device).contiguous(memory_format=layout)
    del model.encoder
    return torch.inference_mode()(lambda: model.decode(latents).sum().item())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("job", choices=("encode", "decode", "step", "lpips"))
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--warmup", type=int, default=1, help="runs before the clock starts")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--precision", choices=("f32", "tf32", "f16"), default="f32")
    layout = parser.add_mutually_exclusive_group()
    layout.add_argument("--channels-last", dest="channels_last", action="store_true", default=True,
                        help="NHWC memory order: the quicker one for every job, so the default")
    layout.add_argument("--contiguous", dest="channels_last", action="store_false", help="NCHW memory order")
    order = parser.add_mutually_exclusive_group()
    order.add_argument("--recompute", dest="recompute", action="store_true", default=True)
    order.add_argument("--reuse", dest="recompute", action="store_false")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.backends.cudnn.benchmark = True
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = args.precision == "tf32"
    run, seconds, busy, values = make_job(args), [], [], []
    for i in range(args.warmup + args.repeat):
        start, start_busy = time.perf_counter(), time.process_time()
        with torch.autocast(args.device, torch.float16, enabled=args.precision == "f16"):
            values.append(run())
        if i >= args.warmup:
            seconds.append(round(time.perf_counter() - start, 4))
            busy.append(round(time.process_time() - start_busy, 4))
    result = dict(job=args.job, seconds=seconds, median=statistics.median(seconds), cpuSeconds=busy,
                  peakBytes=peak_bytes(args.device), torch=torch.__version__, threads=args.threads, size=args.size,
                  batch=args.batch, device=args.device, precision=args.precision, value=values[0],
                  memoryFormat="channels_last" if args.channels_last else "contiguous")
    if args.job == "step":
        result["reconstruction"] = "recomputed" if args.recompute else "reused"
    print(json.dumps(result))


if __name__ == "__main__":
    main()
