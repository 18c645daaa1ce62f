"""``minisegnet models``."""

import re

import pytest

from minisegnet.cli import main
from minisegnet.models import list_models


def test_the_list_has_every_network(capsys):
    assert main(["models", "--width", "1", "--classes", "21"]) == 0
    said = capsys.readouterr().out
    assert all(f"\n{name} " in said for name in list_models())
    assert "251,805,653" in said and "134,362,751" in said  # DeconvNet; FCN-8s without its frozen layers


def test_a_name_tells_every_step(capsys):
    assert main(["models", "segnet", "--classes", "11", "--size", "360x480"]) == 0
    said = capsys.readouterr().out
    assert "1 × 512 × 23 × 30" in said and "29,449,355 parameters" in said
    assert main(["models", "unet_paper", "--in-channels", "1"]) == 0
    assert "1 × 1 × 412 × 412 → 1 × 2 × 228 × 228" in capsys.readouterr().out
    assert main(["models", "fcn_resnet", "--classes", "21", "--option", "backbone=resnet101", "--option", "aux=true"]) == 0
    assert "54,314,346 parameters" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["segnett"], "did you mean 'segnet'"),
        (["unet", "--size", "12"], "at least 16 × 16"),
        (["unet", "--option", "deep=3"], "--option: .*'deep'"),
        (["deeplabv3", "--option", "backbone=vgg"], "no backbone 'vgg'"),
        (["--size", "360x480"], "go with the name of a network"),
        (["unet", "--width", "0"], "positive"),
    ],
)
def test_what_models_refuses(arguments, words, capsys):
    assert main(["models", *arguments]) == 2
    said = capsys.readouterr().err
    assert re.search(words, said) and "Traceback" not in said


@pytest.mark.parametrize("arguments", [["unet", "--size", "axb"], ["unet", "--option", "deep"], ["unet", "--size", "0x3"]])
def test_what_the_parser_refuses(arguments, capsys):
    with pytest.raises(SystemExit) as exit:
        main(["models", *arguments])
    assert exit.value.code == 2 and "expected" in capsys.readouterr().err
