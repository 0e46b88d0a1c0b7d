"""Make images, then a thumbnail of each, then one sheet of all. `python -m examples.thumbnails [FOLDER]`.

What goes through the scheduler is the names of files and small images. The large ones stay on the disk, where each
worker opens those that it shrinks: send a name rather than what it names, where all workers see the same folder.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from scaler import Client, SchedulerClusterCombo

COUNT, SIZE, SMALL = 24, (1200, 900), (160, 120)
COLUMNS = 6


def draw(path: Path, number: int) -> Path:
    """An image of waves, each number another colour; where it was written."""
    x, y = np.meshgrid(np.linspace(0, 1, SIZE[0]), np.linspace(0, 1, SIZE[1]))
    waves = (1 + np.sin(40 * ((x - 0.5) ** 2 + (y - 0.5) ** 2) * (1 + number / 6))) / 2
    hue = np.array([number / COUNT, abs(0.5 - number / COUNT) * 2, 1 - number / COUNT])
    Image.fromarray((255 * waves[:, :, None] * (0.3 + 0.7 * hue)).astype(np.uint8)).save(path, quality=90)
    return path


def shrink(path: Path) -> Image.Image:
    """The thumbnail of this file."""
    with Image.open(path) as image:
        image.thumbnail(SMALL)
        return image.copy()


def make_sheet(client: Client, folder: Path) -> Path:
    """The sheet of all thumbnails; where it was written."""
    names = [(folder / f"image-{number:02}.jpeg", number) for number in range(COUNT)]
    drawn = [client.submit(draw, path, number) for path, number in names]
    # A future as an argument: each thumbnail is begun as soon as its own image is there, and nobody waits here.
    thumbnails = [client.submit(shrink, image) for image in drawn]
    sheet = Image.new("RGB", (COLUMNS * SMALL[0], -(-COUNT // COLUMNS) * SMALL[1]))
    for number, thumbnail in enumerate(thumbnails):
        row, column = divmod(number, COLUMNS)
        sheet.paste(thumbnail.result(), (column * SMALL[0], row * SMALL[1]))
    sheet.save(folder / "sheet.png")
    return folder / "sheet.png"


def main(folder: Path) -> None:
    with SchedulerClusterCombo(n_workers=2) as combo, Client(combo.get_address()) as client:
        path = make_sheet(client, folder)
    with Image.open(path) as sheet:
        print(f"{len(list(folder.glob('image-*.jpeg')))} images of {SIZE[0]} x {SIZE[1]}")
        for number in (0, COUNT - 1):
            row, column = divmod(number, COLUMNS)
            left, top = column * SMALL[0], row * SMALL[1]
            shown = np.asarray(sheet.crop((left, top, left + SMALL[0], top + SMALL[1]))).mean(axis=(0, 1))
            with Image.open(folder / f"image-{number:02}.jpeg") as image:
                assert np.allclose(shown, np.asarray(image).mean(axis=(0, 1)), atol=3), number
        print(
            f"a sheet of {sheet.width} x {sheet.height}; its first and last thumbnail have the colours of their images"
        )


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as temporary:
            main(Path(temporary))
