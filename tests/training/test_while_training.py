"""Eight threads predict while another trains: labels, weights and modes are the same as in a single thread."""

import threading
import time

import numpy as np
import pytest

import minisegnet as ms
from minisegnet import functional as F
from minisegnet.nn.modes import evaluating
from minisegnet.tensor import Tensor, is_grad_enabled, no_grad

SIZE = 32


def network(seed):
    ms.manual_seed(seed)
    return ms.models.create("unet", 1, 2, 1 / 32)


def train(model, steps, stop=lambda: False):
    """Train on fixed batches until `steps` are done or `stop` says so; return the number of steps."""
    rng = np.random.default_rng(3)
    images = rng.normal(size=(4, 2, 1, SIZE, SIZE)).astype(np.float32)
    labels = rng.integers(0, 2, (4, 2, SIZE, SIZE))
    optimizer = ms.optim.SGD(model.parameters(), 0.05, momentum=0.9)
    for k in range(steps):
        if stop():
            return k
        loss = F.cross_entropy(model(Tensor(images[k % 4])), labels[k % 4])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return steps


@pytest.mark.parametrize("seconds", [3, pytest.param(60, marks=pytest.mark.slow)])
def test_eight_threads_predict_while_one_trains(seconds):
    """Four threads predict with an untrained network, whose output is known; four with the trained one, whose final weights are known."""
    rest, trained, twin = network(1).eval(), network(2), network(2)
    rest.train()  # prediction must not depend on the mode
    train(network(3), 1)  # compiles what the step needs: with nine threads at work the compiler would take minutes
    image = np.random.default_rng(0).normal(size=(1, 1, SIZE, SIZE)).astype(np.float32)
    expected = ms.inference.scores(rest, image).array  # stricter than labels
    assert expected.std() > 0.1
    ms.models.summary(rest, (1, 1, SIZE, SIZE))
    done, wrong, errors, maps = threading.Event(), [], [], []

    def read(number):
        try:
            while not done.is_set():
                if number < 3:
                    wrong.extend([number] * (not np.array_equal(ms.inference.scores(rest, image).array, expected)))
                    maps.append(number)
                elif number == 3:  # this thread selects other backends, one of which computes nothing
                    ms.models.summary(rest, (1, 1, SIZE, SIZE))
                    with ms.backend.use("numpy"):
                        wrong.extend([number] * (not np.allclose(ms.inference.scores(rest, image).array, expected, 1e-3, 1e-4)))
                    assert is_grad_enabled()
                elif number < 6:
                    ms.inference.predict(trained, image)
                else:
                    with evaluating(trained), no_grad():
                        assert not trained.training and not is_grad_enabled()
                        trained(Tensor(image))
        except BaseException as error:
            errors.append(error)
            raise

    threads = [threading.Thread(target=read, args=(k,), daemon=True) for k in range(8)]
    for thread in threads:
        thread.start()
    end = time.monotonic() + seconds
    steps = train(trained, 10_000, lambda: time.monotonic() > end)
    done.set()
    for thread in threads:
        thread.join(60)  # the prediction that it is in, among eight others

    assert not any(thread.is_alive() for thread in threads), "a thread hangs"
    assert not errors and wrong == [] and len(maps) >= 3 and steps >= 1
    assert all(module.training for model in (rest, trained) for module in model.modules())
    assert is_grad_enabled() and ms.backend.current() == "numba"
    assert train(twin, steps) == steps
    for (name, ours), theirs in zip(trained.state_dict().items(), twin.state_dict().values(), strict=True):
        np.testing.assert_array_equal(ours.array, theirs.array, err_msg=name)
