"""The networks again in PyTorch: plain functions that take the weights of our models by name.

They share only the parameter names with ``minisegnet.models``. These are the names of the libraries whose checkpoints
we load.
"""

import numpy as np


class Twin:
    """Layers in PyTorch that use the weights of one of our models.

    `training` chooses the statistics of batch normalisation; there is no dropout.
    """

    def __init__(self, torch, model):
        self.f, self.cat = torch.nn.functional, torch.cat
        self.training = model.training
        learnt = {name for name, p in model.named_parameters() if p.requires_grad}
        self.w = {name: torch.tensor(v.numpy().copy(), requires_grad=name in learnt) for name, v in model.state_dict().items()}

    def conv(self, name, x, **options):
        return self.f.conv2d(x, self.w[f"{name}.weight"], self.w.get(f"{name}.bias"), **options)

    def norm(self, name, x):
        mean, var = (None, None) if self.training else (self.w[f"{name}.running_mean"], self.w[f"{name}.running_var"])
        return self.f.batch_norm(x, mean, var, self.w[f"{name}.weight"], self.w[f"{name}.bias"], self.training)

    def block(self, conv, norm, x, **options):
        return self.f.relu(self.norm(norm, self.conv(conv, x, **options)))

    def cnr(self, path, x, **options):
        """[convolution, batch normalisation, ReLU] under the names path.0, path.1."""
        return self.block(f"{path}.0", f"{path}.1", x, **options)

    def pool(self, x):
        return self.f.max_pool2d(x, 3, 2, 1)

    def resize(self, x, size, align_corners):
        return self.f.interpolate(x, size=tuple(size), mode="bilinear", align_corners=align_corners)

    def has(self, path):
        return any(name.startswith(path) for name in self.w)

    # --- ResNet --------------------------------------------------------------------------

    def residual(self, path, x, stride, dilation):
        around = {"stride": stride, "dilation": dilation, "padding": dilation}
        if self.has(f"{path}.conv3"):
            y = self.block(f"{path}.conv1", f"{path}.bn1", x)
            y = self.block(f"{path}.conv2", f"{path}.bn2", y, **around)
            y = self.norm(f"{path}.bn3", self.conv(f"{path}.conv3", y))
        else:
            y = self.block(f"{path}.conv1", f"{path}.bn1", x, **around)
            y = self.norm(f"{path}.bn2", self.conv(f"{path}.conv2", y, dilation=dilation, padding=dilation))
        if self.has(f"{path}.downsample"):
            x = self.norm(f"{path}.downsample.1", self.conv(f"{path}.downsample.0", x, stride=stride))
        return self.f.relu(x + y)

    def layer(self, path, x, stride, first, others):
        """A stage: stride and dilation of its first block, dilation of the others."""
        k = 0
        while self.has(f"{path}.{k}."):
            x = self.residual(f"{path}.{k}", x, 1 if k else stride, others if k else first)
            k += 1
        return x

    def stem(self, path, x):
        return self.block(f"{path}conv1", f"{path}bn1", x, stride=2, padding=3)

    # --- heads ---------------------------------------------------------------------------

    def aspp(self, path, x, separable):
        found = [self.cnr(f"{path}.convs.0", x)]
        for k, rate in ((1, 12), (2, 24), (3, 36)):
            if separable:
                y = self.conv(f"{path}.convs.{k}.0.0", x, padding=rate, dilation=rate, groups=x.shape[1])
                found.append(self.f.relu(self.norm(f"{path}.convs.{k}.1", self.conv(f"{path}.convs.{k}.0.1", y))))
            else:
                found.append(self.cnr(f"{path}.convs.{k}", x, padding=rate, dilation=rate))
        mean = self.block(f"{path}.convs.4.1", f"{path}.convs.4.2", x.mean((2, 3), keepdim=True))
        found.append(mean.expand(-1, -1, *x.shape[2:]))
        return self.cnr(f"{path}.project", self.cat(found, 1))

    def separable(self, path, x):
        y = self.conv(f"{path}.0.0", x, padding=1, groups=x.shape[1])
        return self.f.relu(self.norm(f"{path}.1", self.conv(f"{path}.0.1", y)))


def torchvision_segmentation(t, x):
    """``fcn_resnet*`` and ``deeplabv3_resnet*``: the first block of a dilated stage is dilated like the stage before."""
    y = t.layer("backbone.layer1", t.pool(t.stem("backbone.", x)), 1, 1, 1)
    y = t.layer("backbone.layer2", y, 2, 1, 1)
    layer3 = t.layer("backbone.layer3", y, 1, 1, 2)
    layer4 = t.layer("backbone.layer4", layer3, 1, 2, 4)

    def fcn_head(path, y):
        return t.conv(f"{path}.4", t.block(f"{path}.0", f"{path}.1", y, padding=1))

    if t.has("classifier.0.convs"):
        y = t.aspp("classifier.0", layer4, False)
        y = t.conv("classifier.4", t.block("classifier.1", "classifier.2", y, padding=1))
    else:
        y = fcn_head("classifier", layer4)
    y = t.resize(y, x.shape[2:], False)
    return (y, t.resize(fcn_head("aux_classifier", layer3), x.shape[2:], False)) if t.has("aux") and t.training else y


def smp_unet(t, x):
    maps = [t.stem("encoder.", x)]
    maps.append(t.layer("encoder.layer1", t.pool(maps[0]), 1, 1, 1))
    for k in (2, 3, 4):
        maps.append(t.layer(f"encoder.layer{k}", maps[-1], 2, 1, 1))
    y = maps.pop()
    for k in range(5):
        y = t.f.interpolate(y, scale_factor=2, mode="nearest")
        y = t.cat([y, maps.pop()], 1) if maps else y
        y = t.cnr(f"decoder.blocks.{k}.conv2", t.cnr(f"decoder.blocks.{k}.conv1", y, padding=1), padding=1)
    return t.conv("segmentation_head.0", y, padding=1)


def smp_deeplabv3plus(t, x, output_stride=16):
    low = t.layer("encoder.layer1", t.pool(t.stem("encoder.", x)), 1, 1, 1)
    y = t.layer("encoder.layer2", low, 2, 1, 1)
    y = t.layer("encoder.layer3", y, 2, 1, 1) if output_stride == 16 else t.layer("encoder.layer3", y, 1, 2, 2)
    y = t.layer("encoder.layer4", y, 1, 32 // output_stride, 32 // output_stride)
    y = t.aspp("decoder.aspp.0", y, True)
    y = t.conv("decoder.aspp.1.0", y, padding=1, groups=y.shape[1])
    y = t.f.relu(t.norm("decoder.aspp.2", t.conv("decoder.aspp.1.1", y)))
    y = t.f.interpolate(y, scale_factor=output_stride // 4, mode="bilinear", align_corners=True)
    y = t.separable("decoder.block2", t.cat([y, t.cnr("decoder.block1", low)], 1))
    y = t.conv("segmentation_head.0", y)
    return t.f.interpolate(y, scale_factor=4, mode="bilinear", align_corners=True)


def smp_pspnet(t, x):
    y = t.layer("encoder.layer1", t.pool(t.stem("encoder.", x)), 1, 1, 1)
    y = t.layer("encoder.layer2", y, 2, 1, 1)
    found = []
    for k, bins in enumerate((1, 2, 3, 6)):
        mean = t.f.adaptive_avg_pool2d(y, bins)
        path = f"decoder.psp.blocks.{k}.pool.1"
        found.append(t.resize(t.cnr(path, mean) if bins > 1 else t.f.relu(t.conv(f"{path}.0", mean)), y.shape[2:], True))
    y = t.cnr("decoder.conv", t.cat([*found, y], 1))
    y = t.conv("segmentation_head.0", y, padding=1)
    return t.f.interpolate(y, scale_factor=8, mode="bilinear", align_corners=True)


def semseg_pspnet(t, x):
    y = t.block("layer0.0", "layer0.1", x, stride=2, padding=1)
    y = t.block("layer0.3", "layer0.4", y, padding=1)
    y = t.pool(t.block("layer0.6", "layer0.7", y, padding=1))
    y = t.layer("layer2", t.layer("layer1", y, 1, 1, 1), 2, 1, 1)
    layer3 = t.layer("layer3", y, 1, 2, 2)
    y = t.layer("layer4", layer3, 1, 4, 4)
    pools = [t.block(f"ppm.features.{k}.1", f"ppm.features.{k}.2", t.f.adaptive_avg_pool2d(y, bins)) for k, bins in enumerate((1, 2, 3, 6))]
    y = t.cat([y, *(t.resize(pool, y.shape[2:], True) for pool in pools)], 1)
    y = t.resize(t.conv("cls.4", t.cnr("cls", y, padding=1)), x.shape[2:], True)
    return (y, t.resize(t.conv("aux.4", t.cnr("aux", layer3, padding=1)), x.shape[2:], True)) if t.has("aux") and t.training else y


def compare(torch, model, twin, shape, rtol=1e-9):
    """The same values, and the same gradients for image and parameters under a random cotangent."""
    from minisegnet.tensor import Tensor

    rng = np.random.default_rng(0)
    for name, buffer in model.named_buffers():
        if "running" in name:
            buffer.copy_(rng.uniform(0.5, 1.5, size=buffer.shape))
    t = Twin(torch, model)
    x = rng.normal(size=shape)
    a, b = Tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    ours, theirs = model(a), twin(t, b)
    ours, theirs = (y if isinstance(y, tuple) else (y,) for y in (ours, theirs))
    assert len(ours) == len(theirs)
    total, seed = 0, 0
    for y, z in zip(ours, theirs, strict=True):
        _close(y, z, rtol, "scores")
        g = rng.normal(size=y.shape)
        total, seed = total + (y * Tensor(g)).sum(), seed + (z * torch.from_numpy(g)).sum()
    total.backward()
    seed.backward()
    pairs = {"image": (a.grad, b.grad), **{name: (p.grad, t.w[name].grad) for name, p in model.named_parameters()}}
    # The gradient of a bias before batch normalisation is 0; the libraries differ only in its rounding.
    floor = 1e-12 * max(float(z.abs().max()) for _, z in pairs.values() if z is not None)
    for name, (y, z) in pairs.items():
        if z is None:  # frozen, or an auxiliary head outside training
            assert y is None, name
        else:
            _close(y, z, rtol, name, floor)


def _close(ours, theirs, rtol, name, floor=0.0):
    theirs = theirs.detach().numpy()
    assert ours.shape == theirs.shape, name
    np.testing.assert_allclose(ours.array, theirs, rtol=rtol, atol=max(rtol * np.abs(theirs).max(), floor), err_msg=name)
