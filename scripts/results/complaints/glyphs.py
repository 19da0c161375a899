"""Characters of GB 2312, drawn and degraded as a poor scan, and what an OCR model of single characters predicts."""
import numpy as np
import onnxruntime
from PIL import Image, ImageDraw, ImageFilter, ImageFont

SIZE = 48


def degraded(character: str, font: ImageFont.FreeTypeFont, random: np.random.Generator) -> Image.Image:
    """(SIZE, SIZE), grey: turned, shrunk to 16 to 29 pixels, blurred, faded, noisy."""
    image = Image.new('L', (96, 96), 255)
    ImageDraw.Draw(image).text((48, 48), character, font=font, fill=0, anchor='mm')
    pixels = int(random.integers(16, 30))
    image = image.rotate(random.uniform(-10, 10), fillcolor=255, resample=Image.BICUBIC)
    image = image.resize((pixels, pixels), Image.BILINEAR)
    image = image.filter(ImageFilter.GaussianBlur(random.uniform(0.2, 0.9))).resize((SIZE, SIZE), Image.BICUBIC)
    grey = np.asarray(image, np.float32) * random.uniform(0.6, 1)
    noisy = grey + random.normal(0, random.uniform(5, 25), grey.shape)
    return Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8))


def batch_of(images: list[Image.Image]) -> np.ndarray:
    """(images, 3, SIZE, SIZE), from -1 to 1."""
    grey = np.stack([np.asarray(image, np.float32) for image in images])
    return np.repeat((grey[:, None] / 255 - 0.5) / 0.5, 3, axis=1).astype(np.float32)


def predicted(session: onnxruntime.InferenceSession, names: list[str], images: list[Image.Image]) -> list[str]:
    """The most probable character of the step with the least blank."""
    (steps,) = session.run(None, {session.get_inputs()[0].name: batch_of(images)})
    rows = steps[np.arange(len(images)), steps[:, :, 0].argmin(1)]
    return [names[1 + int(row[1:].argmax())] for row in rows]


def level_one() -> list[str]:
    """The 3,755 characters of the first level of GB 2312."""
    codes = [(row, cell) for row in range(0xB0, 0xD8) for cell in range(0xA1, 0xFF)]
    return [bytes(code).decode('gb2312') for code in codes if not (code[0] == 0xD7 and code[1] > 0xF9)]
