"""Small trees in the layouts of published data sets, for the tests that read them."""

import struct
import zlib

import numpy as np
from PIL import Image

SIZE = (12, 15)


def colour(seed, size=SIZE):
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (*size, 3)).astype(np.uint8))


def labels(seed, values, size=SIZE):
    """A label map that contains each of the values."""
    found = np.random.default_rng(seed).choice(list(values), size)
    found.ravel()[: len(values)] = list(values)
    return found.astype(np.uint8)


def put(file, picture, **options):
    file.parent.mkdir(parents=True, exist_ok=True)
    (Image.fromarray(picture) if isinstance(picture, np.ndarray) else picture).save(file, **options)


def voc_mask(indices):
    """A mode P image whose palette gives several indices one colour, so that a reader that uses the colours fails."""
    picture = Image.fromarray(indices)
    picture.putpalette([0, 0, 0] * 10 + [9, 9, 9] * 246)
    return picture


def voc(root, train=("2007_000032", "2007_000039"), val=("2007_000033",)):
    """``root/VOCdevkit/VOC2012``; returns the masks by name."""
    home = root / "VOCdevkit" / "VOC2012"
    masks = {}
    for seed, name in enumerate((*train, *val)):
        masks[name] = labels(seed, [0, 1, 15, 20, 255])
        put(home / "JPEGImages" / f"{name}.jpg", colour(seed), quality=95)
        put(home / "SegmentationClass" / f"{name}.png", voc_mask(masks[name]))
    put(home / "JPEGImages" / "2012_000001.jpg", colour(9))  # most images have no mask
    lists = home / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    for split, names in (("train", train), ("val", val), ("trainval", (*train, *val))):
        (lists / f"{split}.txt").write_text("".join(f"{n}\n" for n in names))
    return masks


def mat(labels, compressed=True, order="<", variable="GTcls", boundaries=True):
    """A MATLAB file, version 5, like those of SBD: a structure of a cell array, a uint8 matrix and a matrix of doubles."""

    def element(kind, data):
        return struct.pack(order + "II", kind, len(data)) + data + b"\0" * (-len(data) % 8)

    def short(kind, data):  # MATLAB's short form for up to four bytes
        words = struct.pack(order + "I", len(data) << 16 | kind)
        return words + data + b"\0" * (4 - len(data))

    def matrix(kind, shape, name, body):
        head = element(6, struct.pack(order + "II", kind, 0)) + element(5, struct.pack(order + "ii", *shape)) + element(1, name.encode())
        return element(14, head + body)

    numbers = matrix(9, labels.shape, "", element(2, labels.astype(np.uint8).tobytes(order="F")))
    present = matrix(6, (2, 1), "", short(2, bytes([1, 15])))  # doubles, stored in bytes
    cell = matrix(1, (1, 1), "", matrix(6, (1, 2), "", element(9, struct.pack(order + "dd", 1, 2))))
    fields = (["Boundaries"] if boundaries else []) + ["Segmentation", "CategoriesPresent"]
    names = b"".join(f.encode().ljust(32, b"\0") for f in fields)
    body = short(5, struct.pack(order + "i", 32)) + element(1, names) + (cell if boundaries else b"") + numbers + present
    content = matrix(6, (1, 1), "other", element(9, struct.pack(order + "d", 7))) + matrix(2, (1, 1), variable, body)
    if compressed:
        parts = [matrix(6, (1, 1), "other", element(9, struct.pack(order + "d", 7))), matrix(2, (1, 1), variable, body)]
        packed = [zlib.compress(part) for part in parts]
        content = b"".join(struct.pack(order + "II", 15, len(p)) + p for p in packed)
    header = b"MATLAB 5.0 MAT-file, Platform: GLNXA64".ljust(124) + struct.pack(order + "H", 0x0100) + (b"IM" if order == "<" else b"MI")
    return header + content


def sbd(folder, train=("2007_000032", "2008_000001"), val=("2007_000033", "2008_000002")):
    """``cls``, ``img``, ``train.txt`` and ``val.txt``; returns the masks by name."""
    masks = {}
    (folder / "cls").mkdir(parents=True)
    for seed, name in enumerate((*train, *val), 50):
        masks[name] = labels(seed, [0, 3, 19])
        (folder / "cls" / f"{name}.mat").write_bytes(mat(masks[name], compressed=seed % 2 == 0))
        put(folder / "img" / f"{name}.jpg", colour(seed))
    for split, names in (("train", train), ("val", val)):
        (folder / f"{split}.txt").write_text("\n".join(names) + "\n")
    return masks


def cityscapes(root, cities=(("train", "aachen"), ("train", "bochum"), ("val", "munster"))):
    """``leftImg8bit`` and ``gtFine``, two frames a city; returns the labelIds by name."""
    found = {}
    for seed, (split, city) in enumerate(cities):
        for frame in range(2):
            name = f"{city}_{seed:06d}_{frame + 19:06d}"
            ids = labels(10 * seed + frame, [*range(34)])
            put(root / "leftImg8bit" / split / city / f"{name}_leftImg8bit.png", colour(10 * seed + frame))
            put(root / "gtFine" / split / city / f"{name}_gtFine_labelIds.png", ids)
            put(root / "gtFine" / split / city / f"{name}_gtFine_instanceIds.png", ids.astype(np.uint16) * 1000)
            put(root / "gtFine" / split / city / f"{name}_gtFine_color.png", colour(0))
            (root / "gtFine" / split / city / f"{name}_gtFine_polygons.json").write_text("{}")
            found[f"{city}/{name}"] = ids
    return found


def camvid_tutorial(root, size=SIZE):
    """``train``, ``trainannot`` and so on; returns the masks by split and name."""
    found = {}
    for seed, (split, name) in enumerate(
        (("train", "0001TP_006690"), ("train", "0006R0_f00930"), ("val", "0016E5_07959"), ("test", "Seq05VD_f00000"))
    ):
        found[split, name] = labels(seed, range(12), size)
        put(root / split / f"{name}.png", colour(seed, size))
        put(root / f"{split}annot" / f"{name}.png", found[split, name])
    return found


def dsb(root, count=3):
    """``stage1_train``; returns for each name the masks of its nuclei."""
    found = {}
    for k in range(count):
        name = f"{k:04x}" * 4
        found[name] = np.zeros((3, *SIZE), bool)
        for n in range(3):
            found[name][n, 4 * n : 4 * n + 3, k + n : k + n + 5] = True
            put(root / "stage1_train" / name / "masks" / f"{9 - n}{name}.png", found[name][n].astype(np.uint8) * 255)
        put(root / "stage1_train" / name / "images" / f"{name}.png", colour(k).convert("RGBA"))
    return found
