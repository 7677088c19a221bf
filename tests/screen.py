#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Reads the text in a picture of the screen console: compares every cell with the glyphs of the
font that drew it, so the result is exactly the text on the screen.

screen.py PICTURE.png FONT.psf prints the text.
"""
import sys
import zlib

GLYPH_WIDTH = 8


def load_font(path):
    """Reads a font: glyph rows (bytes) -> character. PSF version 1 with its Unicode table."""
    with open(path, "rb") as file:
        data = file.read()
    if data[:2] != b"\x36\x04":
        raise ValueError(f"{path} is no PSF 1 font")
    mode, height = data[2], data[3]
    count = 512 if mode & 1 else 256
    table = data[4 + count * height:]
    glyphs = {}
    at = 0
    for index in range(count):
        rows = data[4 + index * height:4 + (index + 1) * height]
        char = chr(index) if 32 <= index < 127 else "\ufffd"
        if mode & 2:
            first = int.from_bytes(table[at:at + 2], "little")
            if first != 0xffff:
                char = chr(first)
            while int.from_bytes(table[at:at + 2], "little") != 0xffff:
                code = int.from_bytes(table[at:at + 2], "little")
                if 32 <= code < 127:
                    char = chr(code)
                at += 2
            at += 2
        if rows not in glyphs or " " <= char <= "~":
            glyphs[rows] = char
    glyphs[bytes(height)] = " "
    return glyphs, height


def unfilter(kind, line, above, step):
    """Undoes one row's PNG filter in place (PNG specification, "Filter types")."""
    for x, value in enumerate(line):
        left = line[x - step] if x >= step else 0
        up = above[x]
        corner = above[x - step] if x >= step else 0
        if kind == 1:
            value += left
        elif kind == 2:
            value += up
        elif kind == 3:
            value += (left + up) // 2
        elif kind == 4:
            guess = left + up - corner
            distances = (abs(guess - left), abs(guess - up), abs(guess - corner))
            value += (left, up, corner)[distances.index(min(distances))]
        line[x] = value & 0xff


def load_picture(path):
    """Reads an RGB or RGBA PNG file: returns (width, height, rows of bits); bright pixels are 1."""
    with open(path, "rb") as file:
        data = file.read()
    if data[:8] != b"\x89PNG\r\n\x1a\n":
        raise ValueError(f"{path} is no PNG picture")
    at, packed = 8, b""
    while at < len(data):
        length = int.from_bytes(data[at:at + 4], "big")
        kind, body = data[at + 4:at + 8], data[at + 8:at + 8 + length]
        if kind == b"IHDR":
            width, height = int.from_bytes(body[:4], "big"), int.from_bytes(body[4:8], "big")
            if body[8] != 8 or body[9] not in (2, 6) or body[12] != 0:
                raise ValueError(f"{path} is no plain RGB picture")
            step = 3 if body[9] == 2 else 4
        elif kind == b"IDAT":
            packed += body
        at += 12 + length
    pixels = zlib.decompress(packed)
    stride = width * step
    rows, above = [], bytes(stride)
    for y in range(height):
        line = bytearray(pixels[y * (stride + 1) + 1:(y + 1) * (stride + 1)])
        if pixels[y * (stride + 1)] != 0:
            unfilter(pixels[y * (stride + 1)], line, above, step)
        above = line
        rows.append([1 if r + g + b > 192 else 0
                     for r, g, b in zip(line[::step], line[1::step], line[2::step])])
    return width, height, rows


def cells(picture, glyph_height, dx, dy):
    width, height, rows = picture
    for y in range(dy, height - glyph_height + 1, glyph_height):
        packed = [[int("".join(map(str, rows[y + i][x:x + GLYPH_WIDTH])), 2)
                   for x in range(dx, width - GLYPH_WIDTH + 1, GLYPH_WIDTH)]
                  for i in range(glyph_height)]
        yield [bytes(column) for column in zip(*packed)]


def read(picture_path, font_path):
    """The text of the picture, with the grid at the position where most glyphs are recognised."""
    glyphs, glyph_height = load_font(font_path)
    picture = load_picture(picture_path)
    best, best_known = "", -1
    for dy in range(glyph_height):
        for dx in (0, 1, 2, 4, picture[0] % GLYPH_WIDTH // 2):
            lines, known = [], 0
            for row in cells(picture, glyph_height, dx, dy):
                text = "".join(glyphs.get(cell, "\ufffd") for cell in row)
                known += sum(char not in " \ufffd" for char in text)
                lines.append(text.rstrip())
            if known > best_known:
                best, best_known = "\n".join(lines), known
            if dx == dy == 0 and known > 100:
                return best
    return best


if __name__ == "__main__":
    print(read(sys.argv[1], sys.argv[2]))
