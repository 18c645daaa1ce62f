"""Optimisers and schedules: trajectories equal to PyTorch's, and errors."""

import numpy as np
import pytest

from minisegnet import nn, optim, random
from minisegnet.tensor import Tensor, tensor

SHAPES = [(4, 3, 3, 3), (4,), (2, 5), ()]


@pytest.fixture(autouse=True)
def seed():
    random.manual_seed(0)


def parameters(seed=0):
    rng = np.random.default_rng(seed)
    return [nn.Parameter(rng.normal(size=shape)) for shape in SHAPES]


def set_gradients(params, rng, late=None, t=0):
    """Random gradients; parameter number `late` gets none in the first two steps."""
    for k, parameter in enumerate(params):
        g = rng.normal(size=parameter.shape)
        parameter.grad = None if k == late and t < 2 else Tensor(g)


OPTIMISERS = [
    ("SGD", {"lr": 0.1}),
    ("SGD", {"lr": 0.1, "weight_decay": 0.05}),
    ("SGD", {"lr": 0.1, "momentum": 0.9}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "dampening": 0.3, "weight_decay": 0.05}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.05}),
    ("Adam", {}),
    ("Adam", {"lr": 0.1, "betas": (0.8, 0.95), "eps": 1e-3, "weight_decay": 0.05}),
    ("AdamW", {}),
    ("AdamW", {"lr": 0.1, "betas": (0.8, 0.95), "eps": 1e-3, "weight_decay": 0.3}),
    ("RMSprop", {}),
    ("RMSprop", {"lr": 0.1, "alpha": 0.9, "eps": 1e-3, "weight_decay": 0.05, "momentum": 0.9, "centered": True}),
]
each_optimiser = pytest.mark.parametrize(("name", "options"), OPTIMISERS, ids=str)


def torch_twins(params):
    torch = pytest.importorskip("torch")
    return torch, [torch.tensor(p.array, requires_grad=True) for p in params]


def assert_equal(params, twins):
    for p, q in zip(params, twins, strict=True):
        np.testing.assert_allclose(p.array, q.detach().numpy(), rtol=1e-11, atol=1e-13)


@each_optimiser
def test_trajectory_equals_pytorchs(name, options):
    """Eight steps; one parameter gets its first gradient in the third."""
    params = parameters()
    torch, twins = torch_twins(params)
    ours, theirs = getattr(optim, name)(params, **options), getattr(torch.optim, name)(twins, **options)
    rng = np.random.default_rng(1)
    for t in range(8):
        set_gradients(params, rng, late=1, t=t)
        for p, q in zip(params, twins, strict=True):
            q.grad = None if p.grad is None else torch.tensor(p.grad.array)
        ours.step()
        theirs.step()
        assert_equal(params, twins)


def test_groups_with_options_of_their_own():
    params = parameters()
    torch, twins = torch_twins(params)
    groups = lambda p: [{"params": p[:2], "lr": 0.5}, {"params": p[2:3]}, {"params": p[3], "momentum": 0.0, "weight_decay": 0.1}]
    ours, theirs = optim.SGD(groups(params), lr=0.1, momentum=0.9), torch.optim.SGD(groups(twins), lr=0.1, momentum=0.9)
    rng = np.random.default_rng(1)
    for _ in range(4):
        set_gradients(params, rng)
        for p, q in zip(params, twins, strict=True):
            q.grad = torch.tensor(p.grad.array)
        ours.step()
        theirs.step()
        assert_equal(params, twins)
        ours.param_groups[1]["lr"] = theirs.param_groups[1]["lr"] = 0.01


@each_optimiser
def test_a_state_dict_continues_the_trajectory(name, options):
    """Ten steps give the same bits as five steps, a new optimiser with the saved state, and five more."""
    make = getattr(optim, name)
    straight, broken = parameters(), parameters()
    one = make(straight, **options)
    rng = np.random.default_rng(1)
    for t in range(10):
        set_gradients(straight, rng, late=1, t=t)
        one.step()

    rng = np.random.default_rng(1)
    two = make(broken, **options)
    for t in range(10):
        if t == 5:
            state = two.state_dict()
            two = make(broken, lr=77)
            two.load_state_dict(state)
            assert two.param_groups[0]["lr"] == one.param_groups[0]["lr"]
        set_gradients(broken, rng, late=1, t=t)
        two.step()
    for p, q in zip(straight, broken, strict=True):
        np.testing.assert_array_equal(p.array, q.array)


def test_a_loaded_state_is_a_copy():
    params = parameters()
    one, two = optim.Adam(params), optim.Adam(params)
    set_gradients(params, np.random.default_rng(0))
    one.step()
    two.load_state_dict(one.state_dict())
    assert not np.shares_memory(one.state[params[0]]["exp_avg"].array, two.state[params[0]]["exp_avg"].array)


@pytest.mark.parametrize(("name", "options"), [OPTIMISERS[3], OPTIMISERS[6], OPTIMISERS[10]], ids=str)
def test_pytorchs_state_dict_is_understood(name, options):
    params = parameters()
    torch, twins = torch_twins(params)
    theirs = getattr(torch.optim, name)(twins, **options)
    rng = np.random.default_rng(1)
    for t in range(3):
        set_gradients(params, rng, late=1, t=t)
        for p, q in zip(params, twins, strict=True):
            q.grad = None if p.grad is None else torch.tensor(p.grad.array)
        theirs.step()
    for p, q in zip(params, twins, strict=True):
        p.data.copy_(q.detach().numpy())
    ours = getattr(optim, name)(params, lr=9)
    ours.load_state_dict(theirs.state_dict())
    ours.step()
    theirs.step()
    assert_equal(params, twins)


def test_the_numbers_in_a_state_dict_are_pytorchs():
    params = parameters()
    optimiser = optim.Adam([{"params": params[:1]}, {"params": params[1:], "lr": 0.5}])
    set_gradients(params, np.random.default_rng(0), late=2)
    optimiser.step()
    state = optimiser.state_dict()
    assert [g["params"] for g in state["param_groups"]] == [[0], [1, 2, 3]]
    assert [g["lr"] for g in state["param_groups"]] == [1e-3, 0.5]
    assert sorted(state["state"]) == [0, 1, 3] and sorted(state["state"][0]) == ["exp_avg", "exp_avg_sq", "step"]


def test_states_that_do_not_fit():
    optimiser = optim.Adam(parameters())
    with pytest.raises(ValueError, match=r"this optimiser has \[4\].*the state_dict \[3\]"):
        optimiser.load_state_dict(optim.Adam(parameters()[:3]).state_dict())
    other = parameters()
    set_gradients(other, np.random.default_rng(0))
    donor = optim.Adam(other)
    donor.step()
    state = donor.state_dict()
    state["state"][0]["exp_avg"] = np.zeros(7)
    with pytest.raises(ValueError, match=r"exp_avg of a parameter of shape \(4, 3, 3, 3\) has shape \(7,\)"):
        optimiser.load_state_dict(state)
    assert not optimiser.state


def test_what_has_no_gradient_is_left_alone():
    params = parameters()
    before = params[0].array.copy()
    optimiser = optim.AdamW(params, weight_decay=0.5)
    set_gradients(params, np.random.default_rng(0), late=0)
    optimiser.step()
    np.testing.assert_array_equal(params[0].array, before)
    assert params[0] not in optimiser.state and params[1] in optimiser.state


def test_gradients_in_another_memory_order():
    plain, turned = nn.Parameter(np.ones((3, 4))), nn.Parameter(np.ones((3, 4)))
    g = np.random.default_rng(0).normal(size=(4, 3)).T
    plain.grad, turned.grad = Tensor(np.ascontiguousarray(g)), Tensor(g)
    optim.SGD([plain, turned], lr=0.1).step()
    np.testing.assert_array_equal(plain.array, turned.array)
    assert (plain.array != 1).all()


@pytest.mark.parametrize("make", [optim.Adam, lambda p: optim.SGD(p, lr=0.1, momentum=0.9), lambda p: optim.RMSprop(p, momentum=0.5)])
def test_kernels_in_channels_last_take_the_same_steps(make):
    """The layout may change between steps: the state follows it. With one channel the gradient's strides may be of either layout."""

    def weights(layouts):
        random.manual_seed(0)
        model = nn.Sequential(nn.Conv2d(1, 3, 3), nn.Conv2d(3, 2, (2, 3)))
        optimizer = make(model.parameters())
        for layout in layouts:
            model.to(memory_format=layout)
            for p in model.parameters():
                p.grad = None
            images = tensor(np.linspace(-1, 1, 2 * 49, dtype=np.float32).reshape(2, 1, 7, 7)).to(memory_format=layout)
            (model(images) ** 2).sum().backward()
            optimizer.step()
        last = [p.array.transpose(0, 2, 3, 1).flags.c_contiguous for p in model.parameters() if p.ndim == 4]
        assert all(last) == (layouts[-1] == "channels_last"), "the first kernel has one channel, the second has three"
        return [p.detach().numpy() for p in model.parameters()]

    expected = weights(["contiguous"] * 3)
    for layouts in (["channels_last"] * 3, ["contiguous", "channels_last", "contiguous"]):
        for a, b in zip(weights(layouts), expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=2e-5, atol=1e-6)


def test_zero_grad():
    params = parameters()
    set_gradients(params, np.random.default_rng(0))
    optimiser = optim.SGD(params)
    optimiser.zero_grad(set_to_none=False)
    assert all(not p.grad.array.any() for p in params)
    optimiser.zero_grad()
    assert all(p.grad is None for p in params)


def test_a_graph_from_before_the_step_is_refused():
    w = nn.Parameter(np.ones(3))
    loss = (w * w).sum()
    w.grad = Tensor(np.ones(3))
    optim.SGD([w], lr=0.1).step()
    with pytest.raises(RuntimeError, match="changed in place"):
        loss.backward()


def test_float32_stays_float32():
    w = nn.Parameter(np.ones(3, np.float32))
    w.grad = Tensor(np.ones(3, np.float32))
    for optimiser in (optim.SGD([w], momentum=0.9), optim.Adam([w])):
        optimiser.step()
        assert w.dtype == np.float32 and all(v.dtype == np.float32 for v in optimiser.state[w].values() if isinstance(v, Tensor))


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda p: optim.SGD([]), ValueError, "no parameters"),
        (lambda p: optim.SGD(iter(())), ValueError, "no parameters"),
        (lambda p: optim.SGD([p, p]), ValueError, "twice"),
        (lambda p: optim.SGD([{"params": [p]}, {"params": p}]), ValueError, "twice"),
        (lambda p: optim.SGD([p * 2.0]), ValueError, "leaves"),
        (lambda p: optim.SGD([("weight", p)]), TypeError, "named_parameters"),
        (lambda p: optim.SGD([p], lr=-1), ValueError, "lr must not be negative, got -1"),
        (lambda p: optim.SGD([p], lr=float("nan")), ValueError, "lr must not be negative"),
        (lambda p: optim.SGD([p], nesterov=True), ValueError, "nesterov needs a momentum"),
        (lambda p: optim.SGD([{"params": [p], "betas": 1}]), ValueError, r"no option \['betas'\].*momentum"),
        (lambda p: optim.Adam([p], betas=(0.9, 1.0)), ValueError, "betas"),
    ],
)
def test_what_is_refused(make, error, words):
    with pytest.raises(error, match=words):
        make(tensor([1.0], requires_grad=True))


# --- schedules ------------------------------------------------------------------------------

SCHEDULES = {
    "StepLR": (lambda o: optim.StepLR(o, 3, gamma=0.5), lambda s, o: s.StepLR(o, 3, gamma=0.5)),
    "CosineAnnealingLR": (lambda o: optim.CosineAnnealingLR(o, 6, eta_min=0.01), lambda s, o: s.CosineAnnealingLR(o, 6, eta_min=0.01)),
    "PolynomialLR": (lambda o: optim.PolynomialLR(o, 9, power=0.9), lambda s, o: s.PolynomialLR(o, 9, power=0.9)),
    "LinearWarmup": (
        lambda o: optim.LinearWarmup(o, 4, start_factor=0.1),
        lambda s, o: s.LinearLR(o, start_factor=0.1, total_iters=4),
    ),
    "MultiStepLR": (lambda o: optim.MultiStepLR(o, [3, 7, 7], 0.5), lambda s, o: s.MultiStepLR(o, [3, 7, 7], 0.5)),
    "ExponentialLR": (lambda o: optim.ExponentialLR(o, 0.7), lambda s, o: s.ExponentialLR(o, 0.7)),
    "LinearLR": (lambda o: optim.LinearLR(o, 0.25, 0.75, 6), lambda s, o: s.LinearLR(o, 0.25, 0.75, 6)),
    "LambdaLR": (lambda o: optim.LambdaLR(o, lambda t: 1 / (t + 1)), lambda s, o: s.LambdaLR(o, lambda t: 1 / (t + 1))),
    "OneCycleLR": (lambda o: optim.OneCycleLR(o, [0.5, 1.0], 13), lambda s, o: s.OneCycleLR(o, [0.5, 1.0], 13)),
    "OneCycleLR in three phases": (
        lambda o: optim.OneCycleLR(o, 0.5, epochs=7, steps_per_epoch=2, anneal_strategy="linear", three_phase=True),
        lambda s, o: s.OneCycleLR(o, 0.5, epochs=7, steps_per_epoch=2, anneal_strategy="linear", three_phase=True),
    ),
    "SequentialLR": (
        lambda o: optim.SequentialLR(o, [optim.LinearLR(o, 0.1), optim.ExponentialLR(o, 0.9), optim.StepLR(o, 2)], [3, 8]),
        lambda s, o: s.SequentialLR(o, [s.LinearLR(o, 0.1), s.ExponentialLR(o, 0.9), s.StepLR(o, 2)], [3, 8]),
    ),
    "warm-up, then cosine": (
        lambda o: optim.LinearWarmup(o, 4, optim.CosineAnnealingLR(o, 8), start_factor=0.1),
        lambda s, o: s.SequentialLR(o, [s.LinearLR(o, start_factor=0.1, total_iters=4), s.CosineAnnealingLR(o, 8)], [4]),
    ),
    "warm-up, then poly": (
        lambda o: optim.LinearWarmup(o, 2, optim.PolynomialLR(o, 8, 0.9)),
        lambda s, o: s.SequentialLR(o, [s.LinearLR(o, start_factor=0.01, total_iters=2), s.PolynomialLR(o, 8, 0.9)], [2]),
    ),
}
each_schedule = pytest.mark.parametrize("name", SCHEDULES)


def two_groups(library, params):
    return library.SGD([{"params": params[:1]}, {"params": params[1:], "lr": 0.3}], lr=0.1, momentum=0.9)


@each_schedule
@pytest.mark.filterwarnings("ignore")
def test_schedules_equal_pytorchs(name):
    params = parameters()
    torch, twins = torch_twins(params)
    ours, theirs = two_groups(optim, params), two_groups(torch.optim, twins)
    schedule, twin = SCHEDULES[name][0](ours), SCHEDULES[name][1](torch.optim.lr_scheduler, theirs)
    for t in range(13):
        rates = [group["lr"] for group in theirs.param_groups]
        np.testing.assert_allclose(schedule.get_last_lr(), rates, rtol=1e-9, atol=1e-15, err_msg=f"{t}")
        assert [g["lr"] for g in ours.param_groups] == schedule.get_last_lr()
        np.testing.assert_allclose([g["momentum"] for g in ours.param_groups], [g["momentum"] for g in theirs.param_groups])
        assert schedule.last_epoch == t
        theirs.step()
        schedule.step()
        twin.step()


@each_schedule
def test_a_schedule_resumes(name):
    make = SCHEDULES[name][0]
    whole, first, second = (two_groups(optim, parameters()) for _ in range(3))
    straight, stopped = make(whole), make(first)
    for _ in range(5):
        straight.step()
        stopped.step()
    resumed = make(second)
    second.load_state_dict(first.state_dict())
    resumed.load_state_dict(stopped.state_dict())
    assert resumed.get_last_lr() == straight.get_last_lr() and resumed.last_epoch == 5
    for _ in range(6):
        straight.step()
        resumed.step()
        assert resumed.get_last_lr() == straight.get_last_lr()


CHAINABLE = [name for name in SCHEDULES if "OneCycle" not in name and name not in ("LambdaLR", "SequentialLR")]


@pytest.mark.parametrize("name", CHAINABLE)
@pytest.mark.filterwarnings("ignore")
def test_a_rate_set_by_hand_or_by_another_schedule_is_not_overwritten(name):
    """Two schedules on one optimiser, and a rate changed by hand in between: the rates are PyTorch's in every step."""
    params = parameters()
    torch, twins = torch_twins(params)
    ours, theirs = two_groups(optim, params), two_groups(torch.optim, twins)
    make, twin = SCHEDULES[name]
    if "then" in name:
        pytest.skip("PyTorch's SequentialLR sets the rate where the second schedule begins")
    schedules = [make(ours), optim.ExponentialLR(ours, 0.9)]
    others = [twin(torch.optim.lr_scheduler, theirs), torch.optim.lr_scheduler.ExponentialLR(theirs, 0.9)]
    for t in range(13):
        theirs.step()
        for schedule in (*schedules, *others):
            schedule.step()
        if t == 3:
            for group in (*ours.param_groups, *theirs.param_groups):
                group["lr"] *= 0.5
        rates = [[group["lr"] for group in o.param_groups] for o in (ours, theirs)]
        np.testing.assert_allclose(*rates, rtol=1e-9, atol=1e-15, err_msg=f"{t}")


@pytest.mark.parametrize("name", [n for n in SCHEDULES if "then" not in n and n != "LinearWarmup"])
@pytest.mark.filterwarnings("ignore")
def test_pytorchs_state_of_a_schedule_is_understood(name):
    params = parameters()
    torch, twins = torch_twins(params)
    ours, theirs = two_groups(optim, params), two_groups(torch.optim, twins)
    schedule, twin = SCHEDULES[name][0](ours), SCHEDULES[name][1](torch.optim.lr_scheduler, theirs)
    assert {"last_epoch", "base_lrs"} <= schedule.state_dict().keys()
    for _ in range(5):
        theirs.step()
        twin.step()
    schedule.load_state_dict(twin.state_dict())
    ours.load_state_dict(theirs.state_dict())
    for t in range(6):
        theirs.step()
        schedule.step()
        twin.step()
        rates = [[group["lr"] for group in o.param_groups] for o in (ours, theirs)]
        np.testing.assert_allclose(*rates, rtol=1e-9, atol=1e-15, err_msg=f"{t}")


@pytest.mark.parametrize(
    "options",
    [
        {"patience": 1},
        {"mode": "max", "patience": 0, "factor": 0.5, "threshold": 0.1, "threshold_mode": "abs", "cooldown": 2, "min_lr": 0.02},
        {"mode": "max", "patience": 2, "threshold": 0.2, "eps": 1e-2},
    ],
    ids=str,
)
def test_a_plateau_is_noticed_as_in_pytorch(options):
    params = parameters()
    torch, twins = torch_twins(params)
    ours, theirs = two_groups(optim, params), two_groups(torch.optim, twins)
    schedule, twin = optim.ReduceLROnPlateau(ours, **options), torch.optim.lr_scheduler.ReduceLROnPlateau(theirs, **options)
    for t, score in enumerate(np.random.default_rng(0).random(40)):
        schedule.step(tensor(score) if t % 2 else score)
        twin.step(score)
        assert [g["lr"] for g in ours.param_groups] == [g["lr"] for g in theirs.param_groups], t
        if t == 20:
            state, schedule = schedule.state_dict(), optim.ReduceLROnPlateau(ours, **options)
            schedule.load_state_dict(state)
    assert ours.param_groups[0]["lr"] < 0.1


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda o: optim.LinearLR(o, 0), "start_factor"),
        (lambda o: optim.LambdaLR(o, [abs, abs, abs]), "each of the 2 groups, got 3"),
        (lambda o: optim.OneCycleLR(o, 1.0), "total_steps"),
        (lambda o: optim.OneCycleLR(o, 1.0, 5, anneal_strategy="exp"), "exp"),
        (
            lambda o: [optim.OneCycleLR(o, 1.0, 2).step() for _ in range(1)] and [s := optim.OneCycleLR(o, 1.0, 1), s.step(), s.step()],
            "step 2",
        ),
        (lambda o: optim.ReduceLROnPlateau(o, factor=1.0), "below 1"),
        (lambda o: optim.ReduceLROnPlateau(o, "low"), "low"),
        (lambda o: optim.SequentialLR(o, [optim.StepLR(o, 1)], [1]), "one milestone fewer"),
    ],
)
def test_what_schedules_refuse(make, words):
    with pytest.raises(ValueError, match=words):
        make(two_groups(optim, parameters()))


def test_known_rates():
    optimiser = optim.SGD(parameters(), lr=1.0)
    schedule = optim.LinearWarmup(optimiser, 4, optim.StepLR(optimiser, 2, gamma=0.1), start_factor=0.2)
    rates = []
    for _ in range(9):
        rates.append(optimiser.param_groups[0]["lr"])
        schedule.step()
    np.testing.assert_allclose(rates, [0.2, 0.4, 0.6, 0.8, 1, 1, 0.1, 0.1, 0.01])


def test_a_schedule_of_another_optimiser_is_refused():
    one, two = optim.SGD(parameters()), optim.SGD(parameters())
    with pytest.raises(ValueError, match="another optimiser"):
        optim.LinearWarmup(one, 3, optim.StepLR(two, 3))


def test_training_a_layer_lowers_its_loss():
    rng = np.random.default_rng(0)
    x = Tensor(rng.normal(size=(8, 3, 5, 5)).astype(np.float32))
    wanted = nn.Conv2d(3, 2, 3)(x).detach()
    for make in (lambda p: optim.SGD(p, 0.05, 0.9), lambda p: optim.Adam(p, 0.02), lambda p: optim.AdamW(p, 0.02)):
        model = nn.Conv2d(3, 2, 3)
        optimiser, losses = make(model.parameters()), []
        for _ in range(100):
            optimiser.zero_grad()
            loss = ((model(x) - wanted) ** 2).mean()
            loss.backward()
            optimiser.step()
            losses.append(loss.item())
        assert losses[-1] < 0.01 * losses[0]


# --- groups and clipping ------------------------------------------------------------------------


@pytest.mark.parametrize("max_norm", [0.01, 1.0, 1e9])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_clipping_equals_pytorchs(max_norm, dtype):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    params = [nn.Parameter(np.zeros(shape, dtype)) for shape in SHAPES]
    set_gradients(params, rng, late=1)
    for p in params:
        p.grad = None if p.grad is None else Tensor(p.grad.array.astype(dtype))
    twins = [torch.zeros(p.shape, requires_grad=True, dtype=torch.float32 if dtype == np.float32 else torch.float64) for p in params]
    for p, q in zip(params, twins, strict=True):
        q.grad = None if p.grad is None else torch.tensor(p.grad.array)
    tolerance = {np.float32: 1e-6, np.float64: 1e-13}[dtype]
    expected = torch.nn.utils.clip_grad_norm_(twins, max_norm).item()
    assert nn.utils.clip_grad_norm_(params, max_norm) == pytest.approx(expected, rel=tolerance)
    for p, q in zip(params, twins, strict=True):
        if p.grad is not None:
            assert p.grad.dtype == dtype
            np.testing.assert_allclose(p.grad.array, q.grad.numpy(), rtol=tolerance)
    assert params[1].grad is None


def test_clipping_does_not_hide_a_nan():
    p = nn.Parameter(np.zeros(3))
    p.grad = Tensor(np.array([1.0, np.nan, 2.0]))
    assert np.isnan(nn.utils.clip_grad_norm_(p, 1.0)) and np.isnan(p.grad.array).all()
    with pytest.raises(RuntimeError, match="norm of the gradients is nan"):
        nn.utils.clip_grad_norm_([p], 1.0, error_if_nonfinite=True)
    with pytest.raises(ValueError, match="max_norm must be positive"):
        nn.utils.clip_grad_norm_([p], 0.0)


def test_groups_by_the_names_of_parameters():
    model = nn.Sequential(nn.Conv2d(1, 2, 1), nn.Conv2d(2, 2, 1))
    model.head, model.header = nn.Conv2d(2, 2, 1), nn.Conv2d(2, 2, 1, bias=False)
    groups = optim.parameter_groups(model.named_parameters(), 0.1, {"head": 10, "0": 0.5, "head.bias": 2})
    named = {id(p): name for name, p in model.named_parameters()}
    found = {group["lr"]: [named[id(p)] for p in group["params"]] for group in groups}
    assert found == {0.1: ["1.weight", "1.bias", "header.weight"], 1.0: ["head.weight"], 0.05: ["0.weight", "0.bias"], 0.2: ["head.bias"]}
    assert [g["lr"] for g in optim.SGD(groups).param_groups] == [0.1, 1.0, 0.05, 0.2]
    with pytest.raises(ValueError, match=r"under 'hea' .* 0, 1, head, header"):
        optim.parameter_groups(model.named_parameters(), 0.1, {"hea": 1})
    with pytest.raises(ValueError, match="'head' must not be negative"):
        optim.parameter_groups(model.named_parameters(), 0.1, {"head": -1})
