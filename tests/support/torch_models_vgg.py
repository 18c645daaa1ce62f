"""The networks on VGG-16 again in PyTorch; see ``torch_models``."""

COUNTS = (2, 2, 3, 3, 3)


def stage(t, path, number, x, norm=False, **options):
    """conv{number}_1 ... with ReLU; under batch normalisation if `norm`."""
    options = {"padding": 1, **options}
    for k in range(1, COUNTS[number - 1] + 1):
        x = t.conv(f"{path}stage{number}.conv{number}_{k}", x, **options)
        x = t.f.relu(t.norm(f"{path}stage{number}.bn{number}_{k}", x) if norm else x)
        if options["padding"] == 100:  # FCN's first convolution only
            options["padding"] = 1
    return x


def deconv(t, name, x, **options):
    return t.f.conv_transpose2d(x, t.w[f"{name}.weight"], t.w.get(f"{name}.bias"), **options)


def fcn(stride, at_once=False):
    """Offsets are worked out by hand from the paddings: see `voc-fcn8s`."""

    def forward(t, x):
        rows, columns = x.shape[2:]
        pool = lambda y: t.f.max_pool2d(y, 2, 2, ceil_mode=True)
        pools = {}
        y = x
        for k in range(1, 6):
            y = pools[k] = pool(stage(t, "", k, y, padding=100 if k == 1 else 1))
        for name in ("fc6", "fc7"):
            y = t.f.relu(t.conv(f"{name}.0", y))
        y = t.conv("score_fr", y)
        if stride == 32:
            y = deconv(t, "upscore", y, stride=32)
            return y[:, :, 19 : 19 + rows, 19 : 19 + columns]
        y = deconv(t, "upscore2", y, stride=2)
        skip = t.conv("score_pool4", pools[4] * (0.01 if at_once else 1))
        y = y + skip[:, :, 5 : 5 + y.shape[2], 5 : 5 + y.shape[3]]
        if stride == 16:
            y = deconv(t, "upscore16", y, stride=16)
            return y[:, :, 27 : 27 + rows, 27 : 27 + columns]
        y = deconv(t, "upscore_pool4", y, stride=2)
        skip = t.conv("score_pool3", pools[3] * (0.0001 if at_once else 1))
        y = y + skip[:, :, 9 : 9 + y.shape[2], 9 : 9 + y.shape[3]]
        y = deconv(t, "upscore8", y, stride=8)
        return y[:, :, 31 : 31 + rows, 31 : 31 + columns]

    return forward


def _encode(t, x):
    kept = []
    for k in range(1, 6):
        x = stage(t, "", k, x, norm=True)
        size = x.shape[2:]
        x, indices = t.f.max_pool2d(x, 2, 2, ceil_mode=True, return_indices=True)
        kept.append((indices, size))
    return x, kept


def _unpool(t, x, indices, size):
    """Scatter the values, so that any size works."""
    flat = x.new_zeros(*x.shape[:2], size[0] * size[1])
    return flat.scatter(2, indices.flatten(2), x.flatten(2)).reshape(*x.shape[:2], *size)


def segnet(t, x):
    x, kept = _encode(t, x)
    for k in range(5, 0, -1):
        x = _unpool(t, x, *kept.pop())
        for j in range(COUNTS[k - 1], 1 if k == 1 else 0, -1):
            name = f"{k}_{j}_D"
            x = t.block(f"stage{k}_D.conv{name}", f"stage{k}_D.bn{name}", x, padding=1)
    return t.conv("conv1_1_D", x, padding=1)


def segnet_basic(t, x):
    x = t.f.local_response_norm(x, 5, alpha=1e-4, beta=0.75, k=1.0)
    kept = []
    for k in range(1, 5):
        x = t.block(f"encode{k}.conv", f"encode{k}.bn", x, padding=3)
        size = x.shape[2:]
        x, indices = t.f.max_pool2d(x, 2, 2, ceil_mode=True, return_indices=True)
        kept.append((indices, size))
    for k in range(4, 0, -1):
        x = t.norm(f"decode{k}.bn", t.conv(f"decode{k}.conv", _unpool(t, x, *kept.pop()), padding=3))
    return t.conv("conv_classifier", x)


def deconvnet(t, x):
    x, kept = _encode(t, x)
    x = t.cnr("fc7", t.cnr("fc6", x))
    x = t.f.relu(t.norm("fc6_deconv.1", deconv(t, "fc6_deconv.0", x)))
    for k in range(5, 0, -1):
        x = _unpool(t, x, *kept.pop())
        for j in range(1, COUNTS[k - 1] + 1):
            x = deconv(t, f"destage{k}.deconv{k}_{j}", x, padding=1)
            x = t.f.relu(t.norm(f"destage{k}.debn{k}_{j}", x))
    return t.conv("seg_score", x)


def dilated(published):
    def forward(t, x):
        own = (lambda reach: 0) if published else (lambda reach: reach)
        size = [n - 372 if published else n for n in x.shape[2:]]
        y = x
        for k in range(1, 6):
            spread = 2 if k == 5 else 1
            y = stage(t, "front_end.", k, y, padding=own(spread), dilation=spread)
            y = t.f.max_pool2d(y, 2, 2, ceil_mode=True) if k < 4 else y
        y = t.f.relu(t.conv("front_end.fc6.0", y, padding=own(12), dilation=4))
        y = t.conv("front_end.final", t.f.relu(t.conv("front_end.fc7.0", y)))
        if t.has("context"):
            names = ("conv1_1", "conv1_2", "conv2_1", "conv3_1", "conv4_1", "conv5_1", "fc1")
            y = t.f.pad(y, (33,) * 4) if published else y
            for name, spread in zip(names, (1, 1, 2, 4, 8, 16, 1), strict=True):
                y = t.f.relu(t.conv(f"context.ctx_{name}", y, padding=0 if published else spread, dilation=spread))
            y = t.conv("context.ctx_final", y)
        y = t.f.conv_transpose2d(y, t.w["upsample.weight"], stride=8, padding=4, groups=y.shape[1])
        return y[:, :, : size[0], : size[1]]

    return forward


def deeplabv2(t, x):
    """Caffe's ResNet: the stride in the first convolution of a bottleneck, ceil pooling, every block dilated."""

    def layer(path, y, stride, spread):
        k = 0
        while t.has(f"{path}.{k}."):
            block, step = f"{path}.{k}", 1 if k else stride
            z = t.block(f"{block}.conv1", f"{block}.bn1", y, stride=step)
            z = t.block(f"{block}.conv2", f"{block}.bn2", z, padding=spread, dilation=spread)
            z = t.norm(f"{block}.bn3", t.conv(f"{block}.conv3", z))
            if k == 0:
                y = t.norm(f"{block}.downsample.1", t.conv(f"{block}.downsample.0", y, stride=step))
            y = t.f.relu(y + z)
            k += 1
        return y

    y = t.f.max_pool2d(t.stem("backbone.", x), 3, 2, 1, ceil_mode=True)
    for number, stride, spread in ((1, 1, 1), (2, 2, 1), (3, 1, 2), (4, 1, 4)):
        y = layer(f"backbone.layer{number}", y, stride, spread)
    y = sum(t.conv(f"aspp.{k}", y, padding=rate, dilation=rate) for k, rate in enumerate((6, 12, 18, 24)))
    return t.resize(y, x.shape[2:], True)
