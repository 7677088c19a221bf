# SPDX-License-Identifier: Apache-2.0
"""AES-128 (FIPS 197) in cipher feedback mode (NIST SP 800-38A, 6.3), for seal.py.

Python's library has no AES, and openssl takes a raw key only on its command line, which others can
read. It is slow, and its time depends on the key: for a few blocks, on a machine of one's own.
"""


def times_x(byte):
    """A byte times x in AES's field."""
    return (byte << 1) ^ (0x11b if byte & 0x80 else 0)


def make_sbox():
    """The S-box: the inverse in the field, then an affine map. Walks through the powers of 3 and,
    beside it, of the inverse of 3."""
    box = [0] * 256
    power = inverse = 1
    for _ in range(255):
        power ^= times_x(power)
        inverse ^= inverse << 1
        inverse ^= inverse << 2
        inverse ^= inverse << 4
        inverse = (inverse & 0xff) ^ (9 if inverse & 0x80 else 0)
        turned = inverse * 0x101        # so that a shift to the right turns it
        box[power] = (turned ^ turned >> 4 ^ turned >> 5 ^ turned >> 6 ^ turned >> 7) & 0xff ^ 0x63
    box[0] = 0x63
    return bytes(box)


SBOX = make_sbox()


def xor(one, other):
    """Of two byte strings, as long as the shorter one."""
    return bytes(a ^ b for a, b in zip(one, other))


def round_keys(key):
    """Eleven keys of 16 bytes."""
    words = [key[i:i + 4] for i in range(0, 16, 4)]
    constant = 1
    for i in range(4, 44):
        word = words[-1]
        if i % 4 == 0:
            word = bytes(SBOX[b] for b in word[1:] + word[:1])
            word = bytes([word[0] ^ constant]) + word[1:]
            constant = times_x(constant)
        words.append(xor(words[-4], word))
    return [b''.join(words[i:i + 4]) for i in range(0, 44, 4)]


def mix(column):
    """MixColumns of one column."""
    every = column[0] ^ column[1] ^ column[2] ^ column[3]
    return bytes(column[i] ^ every ^ times_x(column[i] ^ column[(i + 1) % 4]) for i in range(4))


def encrypt(keys, block):
    """One block."""
    block = xor(block, keys[0])
    for number in range(1, 11):
        block = bytes(SBOX[block[(5 * i) % 16]] for i in range(16))     # SubBytes, ShiftRows
        if number != 10:
            block = b''.join(mix(block[i:i + 4]) for i in range(0, 16, 4))
        block = xor(block, keys[number])
    return block


def cfb_encrypt(key, data, start=bytes(16)):
    """All of the data; the last block may be shorter."""
    keys = round_keys(key)
    out = b''
    for at in range(0, len(data), 16):
        start = xor(encrypt(keys, start), data[at:at + 16])
        out += start
    return out
