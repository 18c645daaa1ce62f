"""A mode belongs to a thread and a task: blocks overlap freely, decorators hold inside the function and nowhere else."""

import asyncio
import threading

import pytest

from minisegnet_kernels import backends
from minisegnet_kernels.conv2d.ladder import allow_tf32, chosen_rung, tf32_allowed, use_rung
from minisegnet_kernels.modes import Mode, Switch


def test_a_block_sets_the_value_and_takes_it_back_even_after_an_error():
    mode = Mode("level", 1)
    try:
        with mode.here(2), mode.here(3):
            assert mode.get() == 3
            raise KeyError
    except KeyError:
        pass
    assert mode.get() == 1


def test_overlapping_blocks_of_two_threads_do_not_meet():
    mode = Mode("level", "default")
    first_inside, second_inside, first_left = threading.Event(), threading.Event(), threading.Event()
    seen = []

    def first():
        with mode.here("first"):
            first_inside.set()
            second_inside.wait(5)
            seen.append(mode.get())
        first_left.set()

    def second():
        first_inside.wait(5)
        seen.append(mode.get())
        with mode.here("second"):
            second_inside.set()
            first_left.wait(5)
            seen.append(mode.get())

    threads = [threading.Thread(target=f) for f in (first, second)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert seen == ["default", "first", "second"]
    assert mode.get() == "default"


def test_overlapping_tasks_do_not_meet():
    mode = Mode("level", 0)

    async def inside(value):
        with mode.here(value):
            await asyncio.sleep(0.01 * (3 - value))
            return mode.get()

    async def all_of_them():
        return await asyncio.gather(*map(inside, (1, 2)))

    assert asyncio.run(all_of_them()) == [1, 2]
    assert mode.get() == 0


def test_a_bare_switch_sets_the_default_of_the_process_and_new_threads_see_it():
    mode, seen = Mode("level", 1), []
    Switch(mode, 2)
    thread = threading.Thread(target=lambda: seen.append(mode.get()))
    thread.start()
    thread.join()
    assert seen == [2]
    assert mode.get() == 2


def test_a_bare_switch_inside_a_block_ends_with_the_block():
    mode = Mode("level", 1)
    with mode.here(2):
        Switch(mode, 3)
        assert mode.get() == 3
    assert mode.get() == 1


def test_a_switch_as_a_block_leaves_other_threads_alone():
    mode, seen = Mode("level", 1), []
    with Switch(mode, 2):
        thread = threading.Thread(target=lambda: seen.append(mode.get()))
        thread.start()
        thread.join()
        assert mode.get() == 2
    assert seen == [1]
    assert mode.get() == 1


def test_decorators_hold_while_the_own_code_runs():
    mode = Mode("level", 0)

    @mode.here(1)
    def function():
        return mode.get()

    @mode.here(2)
    def generator():
        sent = yield mode.get()
        try:
            yield (mode.get(), sent)
        except KeyError:
            yield (mode.get(), "caught")
        return "done"

    @mode.here(3)
    async def coroutine():
        await asyncio.sleep(0)
        return mode.get()

    @mode.here(4)
    async def asynchronous():
        for _ in range(2):
            yield mode.get()

    async def of_both():
        return await coroutine(), [value async for value in asynchronous()]

    assert function() == 1
    running = generator()
    assert next(running) == 2
    assert mode.get() == 0  # not while the generator waits
    assert running.send("word") == (2, "word")
    assert running.throw(KeyError) == (2, "caught")
    with pytest.raises(StopIteration) as stop:
        next(running)
    assert stop.value.value == "done"
    assert asyncio.run(of_both()) == (3, [4, 4])
    assert mode.get() == 0


def test_backend_tf32_and_rung_are_modes():
    seen = []
    with backends.use("numpy"), allow_tf32(True), use_rung(forward="direct"):
        thread = threading.Thread(target=lambda: seen.append((backends.current("cpu"), tf32_allowed(), chosen_rung("conv2d.forward"))))
        thread.start()
        thread.join()
        assert (backends.current("cpu"), chosen_rung("conv2d.forward")) == ("numpy", "direct")
    assert seen == [("numba", True, None)]
