"""A small picture."""

from io import BytesIO

from PIL import Image


def png():
    buffer = BytesIO()
    Image.new("RGB", (40, 30), "navy").save(buffer, "PNG")
    return buffer.getvalue()
