"""The data-set doctor on planted faults: its report names each fault with the file, and says what to do."""

import json

import numpy as np
import pytest
from PIL import Image
from support.layouts import SIZE, camvid_tutorial, cityscapes, colour, dsb, labels, put, voc, voc_mask

from minisegnet import data, viz
from minisegnet.cli import main
from minisegnet.data.doctor.report import ADVICE, WARNINGS
from minisegnet.losses.weights import class_weights


def own(root, count=5):
    """A folder without a fault: three classes."""
    for k in range(count):
        put(root / "images" / f"{k}.png", colour(k))
        put(root / "masks" / f"{k}.png", labels(k, [0, 1, 2]))
    return root


def only(checkup, kind, *words):
    """Assert that there is exactly one problem, whose line has these words; return the printed report."""
    found = checkup.report.problems
    assert list(found) == [kind], dict(found)
    assert len(found[kind]) == 1 and all(word in found[kind][0] for word in words), found[kind]
    text = str(checkup)
    assert ADVICE[kind][1] in text and found[kind][0] in text
    (finding,) = checkup.to_dict()["findings"]
    assert finding == {
        "kind": kind, "severity": "warning" if kind in WARNINGS else "error", "what": found[kind][0], "advice": ADVICE[kind][1],
    }  # fmt: skip
    return text


def test_a_folder_without_a_fault(tmp_path):
    found = data.check(own(tmp_path))
    assert found.report.count() == found.report.count(warnings=True) == 0
    text = str(found)
    assert text.startswith("your own data in") and "5 images, 15×12" in text and text.endswith("nothing is wrong")
    assert "masks read as classes" in text


def test_counts_and_weights_are_those_of_the_pixels(tmp_path):
    own(tmp_path)
    for k, values in enumerate(([0, 1], [0, 0, 0, 2], [0, 255, 1], [0, 1, 2], [0])):
        put(tmp_path / "masks" / f"{k}.png", np.resize(np.array(values, np.uint8), SIZE))
    put(tmp_path / "masks" / "4.png", np.resize(np.array([0, 2], np.uint8), SIZE))
    found = data.check(tmp_path)
    masks = [np.asarray(Image.open(tmp_path / "masks" / f"{k}.png")) for k in range(5)]
    part = found.parts["all"]
    frequencies = []
    for c in range(3):
        having = [m for m in masks if (m == c).any()]
        assert part.pixels[c] == sum((m == c).sum() for m in masks) and part.images_with[c] == len(having)
        frequencies.append(part.pixels[c] / sum((m != 255).sum() for m in having))
    np.testing.assert_allclose(found.weights, np.median(frequencies) / np.array(frequencies), rtol=1e-12)
    assert part.ignored == sum((m == 255).sum() for m in masks) and part.sizes == {SIZE: 5}
    found = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert found["splits"]["all"]["pixels"]["class 1"] == part.pixels[1] and found["classes"] == ["class 0", "class 1", "class 2"]


def test_the_weights_are_those_that_a_loss_takes(tmp_path):
    found = data.check(own(tmp_path), classes=6)
    folder = data.Folder(tmp_path, classes=6)
    np.testing.assert_allclose(found.weights, class_weights(folder, "median"), rtol=1e-6)
    absent = next(iter(found.parts.values())).pixels == 0
    assert absent.any() and (found.weights[absent] == 1).all() and 1.0 in found.to_dict()["median_frequency_weights"].values()


def test_equal_pixels_in_another_shape_are_not_a_copy(tmp_path):
    for k, size in enumerate(((4, 9), (6, 6), (9, 4))):
        put(tmp_path / "images" / f"{k}.png", np.full(size, 7, np.uint8))
        put(tmp_path / "masks" / f"{k}.png", labels(k, [0, 1], size))
    assert not data.check(tmp_path).report.problems


def damage(file, keep=0.5):
    content = file.read_bytes()
    file.write_bytes(content[: int(len(content) * keep)])


@pytest.mark.parametrize("make", [own, voc, dsb])
def test_no_damage_stops_the_doctor(tmp_path, make):
    """Bytes are changed at random. Whatever a decoder does with them, the doctor reports it and reads the other files."""
    make(tmp_path)
    files = sorted(p for p in tmp_path.rglob("*") if p.suffix in (".png", ".jpg"))
    whole = [file.read_bytes() for file in files]
    rng = np.random.default_rng(0)
    unreadable = 0
    for k in range(40):
        which = k % len(files)
        content = bytearray(whole[which])
        for place in rng.integers(0, len(content), 1 + k % 5):
            content[place] = rng.integers(0, 256)
        files[which].write_bytes(content)
        found = data.check(tmp_path)
        unreadable += len(found.report.problems.get("unreadable", []))
        assert str(found) and sum(part.images for part in found.parts.values()) >= 2
        files[which].write_bytes(whole[which])
    assert unreadable > 5


# --- faults in a user's folder ----------------------------------------------------------


def image_cut_off(root):
    damage(root / "images" / "3.png")
    return "unreadable", "images/3.png"


def jpeg_cut_off(root):
    (root / "images" / "3.png").unlink()
    put(root / "images" / "3.jpg", colour(3, (96, 96)).resize(SIZE[::-1]), quality=95)
    damage(root / "images" / "3.jpg", 0.8)  # the header is intact, so only decoding finds the damage
    return "unreadable", "images/3.jpg"


def mask_is_text(root):
    (root / "masks" / "1.png").write_text("not a picture")
    return "unreadable", "masks/1.png"


def mask_of_another_size(root):
    put(root / "masks" / "2.png", labels(0, [0, 1, 2], (9, 15)))
    return "size", "masks/2.png", "15×9", "15×12"


def mask_missing(root):
    (root / "masks" / "4.png").unlink()
    return "no mask", "images/4.png"


def image_missing(root):
    (root / "images" / "4.png").unlink()
    return "no image", "masks/4.png"


def copy(root):
    (root / "images" / "0.png").rename(root / "images" / "0.bmp")  # another name and format, the same pixels
    Image.open(root / "images" / "1.png").save(root / "images" / "0.bmp")
    (root / "masks" / "0.png").write_bytes((root / "masks" / "1.png").read_bytes())
    return "copy", "images/0.bmp = images/1.png"


def all_background(root):
    put(root / "masks" / "2.png", np.zeros(SIZE, np.uint8))
    return "blank", "masks/2.png", "class 0"


def nothing_labelled(root):
    put(root / "masks" / "2.png", np.full(SIZE, 255, np.uint8))
    return "void", "masks/2.png"


@pytest.mark.parametrize(
    "fault",
    [image_cut_off, jpeg_cut_off, mask_is_text, mask_of_another_size, mask_missing, image_missing, copy, all_background, nothing_labelled],
)
def test_a_fault_in_a_folder_is_named(tmp_path, fault, capsys):
    own(tmp_path)
    kind, *words = fault(tmp_path)
    text = only(data.check(tmp_path), kind, *words)
    assert ("1 warning" if kind in WARNINGS else "1 error") in text
    assert main(["data", "check", str(tmp_path)]) == (0 if kind in WARNINGS else 1)
    assert words[0] in capsys.readouterr().out


def test_a_label_out_of_range_and_a_class_that_never_occurs(tmp_path):
    own(tmp_path)
    put(tmp_path / "masks" / "1.png", labels(1, [0, 1, 7]))
    only(data.check(tmp_path, classes=3), "label", "masks/1.png: 7 (classes are 0 to 2")
    put(tmp_path / "masks" / "1.png", labels(1, [0, 1, 2]))
    only(data.check(tmp_path, classes=["a", "b", "c", "unicorn"]), "absent", "all: unicorn")


def test_copies_whose_masks_differ(tmp_path):
    own(tmp_path)
    (tmp_path / "images" / "0.png").write_bytes((tmp_path / "images" / "1.png").read_bytes())
    found = data.check(tmp_path)
    assert dict(found.report.problems) == {"copy": ["images/0.png = images/1.png"], "disagreement": ["masks/0.png ≠ masks/1.png"]}
    assert found.flagged == {("all", k): ["copy", "disagreement"] for k in (0, 1)}


def test_a_rare_class_is_reported_with_the_weights(tmp_path):
    own(tmp_path)
    for k in range(5):
        mask = np.zeros(SIZE, np.uint8)
        mask[0, : 2 + k], mask[1:6] = 1, 2
        put(tmp_path / "masks" / f"{k}.png", mask)
    found = data.check(tmp_path)
    ratio = found.parts["all"].pixels[0] / found.parts["all"].pixels[1]
    assert f"class imbalance: class 0 has {ratio:,.0f} times the pixels of class 1 (2.22%" in str(found)
    assert found.report.count(warnings=True) == 0


def test_every_fault_at_once(tmp_path):
    own(tmp_path, 12)
    expected = [fault(tmp_path) for fault in (image_cut_off, mask_is_text, mask_of_another_size, mask_missing)]
    put(tmp_path / "masks" / "5.png", np.zeros(SIZE, np.uint8))
    found = data.check(tmp_path)
    for kind, *words in [*expected, ("blank", "masks/5.png")]:
        assert any(words[0] in what for what in found.report.problems[kind])
    assert (found.report.count(), found.report.count(warnings=True), found.parts["all"].images) == (4, 1, 8)
    assert str(found).endswith("4 errors, 1 warning")
    assert str(found).index("masks/2.png") < str(found).index("masks/5.png")  # errors first


# --- published data sets ----------------------------------------------------------------


def test_voc_with_faults(tmp_path):
    masks = voc(tmp_path, train=[f"2007_00000{k}" for k in range(4)], val=[f"2007_00001{k}" for k in range(3)])
    home = tmp_path / "VOCdevkit" / "VOC2012"
    voc_mask(masks["2007_000000"]).convert("RGB").save(home / "SegmentationClass" / "2007_000000.png")
    put(home / "SegmentationClass" / "2007_000001.png", labels(0, [0, 1, 30]))
    damage(home / "JPEGImages" / "2007_000010.jpg", 0.7)
    (home / "SegmentationClass" / "2007_000011.png").unlink()
    (home / "JPEGImages" / "2007_000012.jpg").write_bytes((home / "JPEGImages" / "2007_000002.jpg").read_bytes())
    put(home / "SegmentationClass" / "2007_000012.png", voc_mask(masks["2007_000002"]))
    found = data.check(tmp_path)
    problems = dict(found.report.problems)
    absent = problems.pop("absent")
    assert set(problems) == {"not a label", "unreadable", "missing", "leak"}
    assert [what.split(":")[0] for what in problems["not a label"]] == [
        "SegmentationClass/2007_000000.png",
        "SegmentationClass/2007_000001.png",
    ]
    assert "converted them to colours" in problems["not a label"][0] and "label 30" in problems["not a label"][1]
    assert problems["unreadable"][0].startswith("JPEGImages/2007_000010.jpg")
    assert problems["missing"] == ["SegmentationClass/2007_000011.png is missing, but JPEGImages/2007_000011.jpg exists"]
    assert problems["leak"] == ["JPEGImages/2007_000002.jpg (train) = JPEGImages/2007_000012.jpg (val)"]
    assert absent[0].startswith("train: bicycle, bird, boat")
    assert {name: part.images for name, part in found.parts.items()} == {"train": 2, "val": 1}
    assert list(found.parts) == ["train", "val"] and "trainval" not in found.parts


def test_the_larger_split_is_checked_where_it_is_there(tmp_path):
    voc(tmp_path)
    put(tmp_path / "VOCdevkit" / "VOC2012" / "SegmentationClassAug" / "2012_000001.png", labels(0, [0, 5]))
    found = data.check(tmp_path)
    assert {name: part.images for name, part in found.parts.items()} == {"train_aug": 3, "val": 1}


def test_cityscapes_with_faults(tmp_path):
    cityscapes(tmp_path)
    gt = tmp_path / "gtFine"
    put(gt / "train" / "aachen" / "aachen_000000_000019_gtFine_labelIds.png", labels(0, [7, 99]))
    (tmp_path / "leftImg8bit" / "train" / "bochum" / "bochum_000001_000020_leftImg8bit.png").unlink()
    put(tmp_path / "leftImg8bit" / "test" / "berlin" / "berlin_000000_000019_leftImg8bit.png", colour(90))
    put(gt / "test" / "berlin" / "berlin_000000_000019_gtFine_labelIds.png", np.full(SIZE, 3, np.uint8))
    put(tmp_path / "leftImg8bit" / "train_extra" / "ulm" / "ulm_000000_000019_leftImg8bit.png", colour(91))
    found = data.check(tmp_path)
    problems = dict(found.report.problems)
    assert "99 is not a labelId" in problems["not a label"][0]
    assert problems["missing"][0].startswith("leftImg8bit/train/bochum/bochum_000001_000020_leftImg8bit.png is missing, but gtFine/")
    assert "layout" not in problems and list(found.parts) == ["train", "val", "test"]  # train_extra has no fine labels
    assert "void" not in problems  # the labels of "test" are secret: its whole split is ignored
    (gt / "val").rename(gt / "validation")
    found = data.check(tmp_path)
    assert "no gtFine/val/ in it" in found.report.problems["layout"][0] and list(found.parts) == ["train", "test"]


def test_camvid_and_dsb_with_faults(tmp_path, capsys):
    camvid_tutorial(tmp_path / "camvid")
    put(tmp_path / "camvid" / "trainannot" / "0001TP_006690.png", labels(0, [0, 12]))
    only(data.check(tmp_path / "camvid"), "not a label", "trainannot/0001TP_006690.png: 12 is not a label of CamVid")
    names = sorted(dsb(tmp_path / "dsb"))
    for file in (tmp_path / "dsb" / "stage1_train" / names[1] / "masks").iterdir():
        put(file, np.zeros(SIZE, np.uint8))
    only(data.check(tmp_path / "dsb"), "blank", f"{names[1]}/masks: all of it is background")
    assert main(["data", "check", str(tmp_path / "dsb"), "--boundary"]) == 0
    assert "interior" in capsys.readouterr().out


# --- the command and the contact sheet --------------------------------------------------


def test_the_command_writes_a_report_and_a_contact_sheet(tmp_path, capsys):
    own(tmp_path / "mine", 30)
    put(tmp_path / "mine" / "masks" / "7.png", labels(0, [0, 1, 2], (9, 9)))
    put(tmp_path / "mine" / "masks" / "8.png", np.zeros(SIZE, np.uint8))
    sheet, report = tmp_path / "out" / "sheet.png", tmp_path / "out" / "report.json"
    assert main(["data", "check", str(tmp_path / "mine"), "--sheet", str(sheet), "--json", str(report)]) == 1
    found = json.loads(report.read_text())
    assert (found["errors"], found["warnings"]) == (1, 1) and found["data"] == "your own data"
    assert {f["kind"]: f["what"].split(":")[0] for f in found["findings"]} == {"size": "masks/7.png", "blank": "masks/8.png"}
    with Image.open(sheet) as picture:
        shown = np.array(picture.convert("RGB"))
    orange = (shown == np.array([0xD5, 0x5E, 0x00])).all(-1)
    assert orange.any() and np.nonzero(orange)[0].max() < shown.shape[0] / 4  # the flag, in the first row
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["report.json", "sheet.png"]


def test_a_folder_may_be_called_as_the_data_that_come_along(tmp_path, monkeypatch, capsys):
    own(tmp_path / "nuclei")
    monkeypatch.chdir(tmp_path)
    assert main(["data", "check", "nuclei", "--masks", "instances"]) == 0
    assert "masks read as instances: masks='instances' was given" in capsys.readouterr().out


def test_the_command_says_what_cannot_be_checked(tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    own(tmp_path / "mine")
    voc(tmp_path / "voc")
    (tmp_path / "file").write_text("x")
    before = sorted(map(str, tmp_path.rglob("*")))
    for argv, words in (
        (["nowhere"], "there is no such folder"),
        (["file"], "this is a file, not a folder"),
        (["empty"], "not a known layout"),
        (["voc", "--classes", "3"], "--classes: "),
        (["mine", "--json", str(tmp_path / "file" / "x.json")], "cannot write"),
    ):
        assert main(["data", "check", str(tmp_path / argv[0]), *argv[1:]]) == 2
        captured = capsys.readouterr()
        assert words in captured.err and "Traceback" not in captured.err and not captured.out
    assert sorted(map(str, tmp_path.rglob("*"))) == before


@pytest.mark.parametrize(("count", "size", "classes"), [(1, (20, 20), 2), (7, (60, 15), 3), (4, (20, 70), 21)])
def test_a_contact_sheet_shows_the_labels(count, size, classes):
    rng = np.random.default_rng(0)
    palette = data.class_palette(classes)
    names = ["background", *(f"class {k}" for k in range(1, classes))]
    masks = rng.integers(0, classes, (count, *size))
    masks[0, :3] = 255
    picture = np.array(
        viz.contact_sheet(
            rng.normal(size=(count, 3, *size)), masks, ["a name that is rather long " * 3] * count, names, palette, flags=["flag"] * count
        )
    )
    assert (picture == np.array([224, 224, 192])).all(-1).sum() > 200  # ignored pixels
    edges = np.concatenate(
        [picture[:4].reshape(-1, 3), picture[-4:].reshape(-1, 3), picture[:, :4].reshape(-1, 3), picture[:, -4:].reshape(-1, 3)]
    )
    assert (edges == 255).all(), "something touches the edge of the sheet"
    with pytest.raises(ValueError, match="no image"):
        viz.contact_sheet([], [], [], names, palette)
