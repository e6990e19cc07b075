"""Multiplies two matrices with numpy, and answers with a picture of the product.

A handler is a program: the request's body is on stdin, its head is in the environment, what it prints is the answer.
"""

import os
import struct
import sys
import zlib
from urllib.parse import parse_qs

import numpy


def png(pixels):
    """A grey picture, by hand: there is no library to install."""
    height, width = pixels.shape

    def chunk(name, data):
        whole = name + data
        return struct.pack(">I", len(data)) + whole + struct.pack(">I", zlib.crc32(whole))

    lines = b"".join(b"\0" + line.tobytes() for line in pixels)
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")


query = parse_qs(os.environ.get("QUERY_STRING", ""))
size = min(int(query.get("size", ["100"])[0]), 1000)
steps = numpy.linspace(0, 4 * numpy.pi, size)
product = numpy.outer(numpy.sin(steps), numpy.cos(steps)) @ numpy.eye(size)
grey = ((product + 1) * 127.5).astype(numpy.uint8)
print(f"{size} x {size}, the sum is {product.sum():.6f}", file=sys.stderr)
sys.stdout.buffer.write(png(grey))
