"""Pictures for the documentation: what Chromium draws, with 256 colours, which is a third of the bytes."""

import base64
import struct
import zlib

import numpy as np

COLORS = 256
POPULAR = (
    192  # the others are those that are farthest from all chosen so far: small and bright things keep theirs
)

# The browser decodes its own PNG: as bytes of red, green, blue, alpha.
PIXELS = """async png => {
    const bytes = Uint8Array.from(atob(png), char => char.charCodeAt(0));
    const image = await createImageBitmap(new Blob([bytes]));
    const context = new OffscreenCanvas(image.width, image.height).getContext("2d");
    context.drawImage(image, 0, 0);
    const { data } = context.getImageData(0, 0, image.width, image.height);
    const reader = new FileReader();
    const read = new Promise(resolve => { reader.onload = resolve; });
    reader.readAsDataURL(new Blob([data]));
    await read;
    return [image.width, image.height, reader.result.split(",")[1]];
}"""


def take(page):
    """A picture of what is seen of a page, as a PNG with a palette."""
    shot = base64.b64encode(page.screenshot(animations="disabled", scale="css")).decode()
    width, height, pixels = page.evaluate(PIXELS, shot)
    packed = np.frombuffer(base64.b64decode(pixels), "<u4") & 0xFFFFFF  # alpha is the highest byte
    packed, inverse, counts = np.unique(packed, return_inverse=True, return_counts=True)
    colors = np.stack([packed >> shift & 0xFF for shift in (0, 8, 16)], axis=1).astype(np.int64)
    palette, nearest = _palette(colors, counts)
    return _png(nearest[inverse].reshape(height, width), colors[palette].astype(np.uint8))


def _palette(colors, counts):
    """Which of the colours are kept, and for each colour which of those stands for it."""
    chosen = list(np.argsort(-counts)[:POPULAR])
    distances = ((colors[:, None] - colors[chosen][None]) ** 2).sum(-1)
    while len(chosen) < min(COLORS, len(colors)):
        farthest = int(distances.min(axis=1).argmax())
        chosen.append(farthest)
        distances = np.column_stack([distances, ((colors - colors[farthest]) ** 2).sum(-1)])
    return chosen, distances.argmin(axis=1).astype(np.uint8)


def _png(indices, palette):
    height, width = indices.shape
    rows = np.column_stack([np.zeros(height, np.uint8), indices])  # 0: no filter
    header = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"PLTE", palette.tobytes()), (b"IDAT", zlib.compress(rows.tobytes(), 9))]
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(*chunk) for chunk in [*chunks, (b"IEND", b"")])


def _chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
