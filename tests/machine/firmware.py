#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""firmware.py VARS CODE ROM: makes the emulated machine's ROM of OVMF's two files.

OVMF unpacks its drivers at each start, which takes an emulator seconds. So drivers of devices
that the machine does not have (networks, USB, TPM, virtio, NVMe), the shell and the set-up pages
are left out, the volume of drivers ends behind its last one, and all is packed again. Nothing else
changes. Formats: UEFI Platform Initialization specification 1.7, volume 3, chapters 2 and 3.
"""
import lzma
import os
import pathlib
import struct
import sys

LZMA_GUID = bytes.fromhex('98584eee143959429d6edc7bd79403cf')
TYPE_VOLUME, TYPE_DRIVER, TYPE_APPLICATION, TYPE_PAD = 0x0b, 0x07, 0x09, 0xf0
SECTION_GUIDED, SECTION_NAME, SECTION_VOLUME = 0x02, 0x15, 0x17
LARGE_FILE, FILE_CHECKSUM, NO_CHECKSUM, PLACE = 0x01, 0x40, 0xaa, 0x3e
LZMA_HEADER = struct.Struct('<BIQ')  # properties, size of the dictionary, bytes unpacked

# By their names in the volume.
LEFT_OUT = set('''
    SecureBootConfigDxe UiApp Shell tftpDynamicCommand httpDynamicCommand
    LinuxInitrdDynamicShellCommand QemuKernelLoaderFsDxe RamDiskDxe UdfDxe EbcDxe
    VirtioPciDeviceDxe Virtio10 VirtioBlkDxe VirtioScsiDxe VirtioRngDxe VirtioFsDxe VirtioNetDxe
    VirtioGpuDxe QemuRamfbDxe ScsiBus ScsiDisk NvmExpressDxe
    DpcDxe SnpDxe VlanConfigDxe MnpDxe ArpDxe Dhcp4Dxe Ip4Dxe Udp4Dxe Mtftp4Dxe Dhcp6Dxe Ip6Dxe
    Udp6Dxe Mtftp6Dxe TcpDxe UefiPxeBcDxe TlsDxe TlsAuthConfigDxe DnsDxe HttpDxe HttpUtilitiesDxe
    HttpBootDxe IScsiDxe UhciDxe EhciDxe XhciDxe UsbBusDxe UsbKbDxe UsbMassStorageDxe
    TcgDxe Tcg2Dxe Tcg2PlatformDxe Tcg2ConfigDxe LogoDxe'''.split())


class FirmwareError(Exception):
    """The file is not the expected OVMF."""


def sections(body):
    """(offset, header bytes, size, type) of each section."""
    at = 0
    while at + 4 <= len(body):
        size, header = int.from_bytes(body[at:at + 3], 'little'), 4
        if size == 0xffffff:
            size, header = struct.unpack_from('<I', body, at + 4)[0], 8
        if size < header or at + size > len(body):
            raise FirmwareError(f'a section of {size} bytes at {at:#x}')
        yield at, header, size, body[at + 3]
        at = (at + size + 3) & ~3


def files(volume):
    """(offset, header bytes, size, type) of each file of a volume."""
    length, = struct.unpack_from('<Q', volume, 32)
    at, extended = struct.unpack_from('<H2xH', volume, 48)
    if volume[40:44] != b'_FVH' or length > len(volume):
        raise FirmwareError('no firmware volume')
    if extended:
        at = extended + struct.unpack_from('<I', volume, extended + 16)[0]
    at = (at + 7) & ~7
    while at + 24 <= length and volume[at:at + 24] != b'\xff' * 24:
        size, header = int.from_bytes(volume[at + 20:at + 23], 'little'), 24
        if volume[at + 19] & LARGE_FILE:
            size, header = struct.unpack_from('<Q', volume, at + 24)[0], 32
        if size < header or at + size > length:
            raise FirmwareError(f'a file of {size} bytes at {at:#x}')
        yield at, header, size, volume[at + 18]
        at = (at + size + 7) & ~7


def name_of(body):
    """A file's name, or None."""
    for at, header, size, kind in sections(body):
        if kind == SECTION_NAME:
            return body[at + header:at + size].decode('utf-16le').strip('\0')
    return ''


def seal(volume, at, header, size):
    """Updates the checksums of a file: of the header without its state, and of the content."""
    volume[at + 16] = volume[at + 17] = 0
    volume[at + 16] = -(sum(volume[at:at + header]) - volume[at + 23]) & 0xff
    volume[at + 17] = NO_CHECKSUM
    if volume[at + 19] & FILE_CHECKSUM:
        volume[at + 17] = -sum(volume[at + header:at + size]) & 0xff


def is_left_out(volume, at, header, size, kind):
    """Is the file one of the listed, or a pad file?"""
    return kind == TYPE_PAD or (kind in (TYPE_DRIVER, TYPE_APPLICATION) and
                                name_of(bytes(volume[at + header:at + size])) in LEFT_OUT)


def leave_out(volume):
    """Returns a volume that has no other files than those to be kept, one behind the other, and
    ends at the next block. Drivers may lie anywhere."""
    if any(volume[at + 19] & PLACE for at, _, _, _ in files(volume)):
        raise FirmwareError('a driver that needs an alignment or its place')
    kept = bytearray(volume[:next(files(volume))[0]])
    for at, header, size, kind in files(volume):
        if not is_left_out(volume, at, header, size, kind):
            kept += b'\xff' * (-len(kept) % 8) + volume[at:at + size]
    block, = struct.unpack_from('<I', volume, 60)
    kept += b'\xff' * (-len(kept) % block)
    struct.pack_into('<Q', kept, 32, len(kept))
    struct.pack_into('<I', kept, 56, len(kept) // block)
    end, = struct.unpack_from('<H', kept, 48)
    struct.pack_into('<H', kept, 50, 0)
    words = struct.unpack_from(f'<{end // 2}H', kept)
    struct.pack_into('<H', kept, 50, -sum(words) & 0xffff)
    return kept


def pack(raw, room):
    """Compresses with LZMA so that OVMF can unpack it: the size is in the header. Padded to the
    available room."""
    packed = bytearray(lzma.compress(bytes(raw), format=lzma.FORMAT_ALONE, filters=[{
        'id': lzma.FILTER_LZMA1, 'preset': 9, 'dict_size': 1 << 24}]))
    properties, dictionary, _ = LZMA_HEADER.unpack_from(packed)
    LZMA_HEADER.pack_into(packed, 0, properties, dictionary, len(raw))
    if len(packed) > room:
        raise FirmwareError(f'{len(packed)} bytes, packed, do not fit into {room}')
    return packed + bytes(room - len(packed))


def packed(code):
    """Finds the file with the packed volumes: returns (offset, header bytes, size), and the range
    of the packed data."""
    for at, header, size, kind in files(code):
        if kind == TYPE_VOLUME:
            skip, _, length, section = next(sections(bytes(code[at + header:at + size])))
            start = at + header + skip
            if section == SECTION_GUIDED and code[start + 4:start + 20] == LZMA_GUID:
                data, = struct.unpack_from('<H', code, start + 20)
                return (at, header, size), (start + data, start + length)
    raise FirmwareError('no packed volume')


def unpack(code, begin, end):
    """Unpacks the sections, and finds the range of each volume in them."""
    raw = bytearray(lzma.LZMADecompressor(format=lzma.FORMAT_ALONE).decompress(
        bytes(code[begin:end])))
    return raw, [(at + header, at + size) for at, header, size, kind in sections(bytes(raw))
                 if kind == SECTION_VOLUME]


def lighten(code):
    """Returns the code file without these drivers. The last volume has the drivers; the one before
    it runs at a fixed place."""
    file, (begin, end) = packed(code)
    raw, volumes = unpack(code, begin, end)
    first, last = volumes[-1]
    if last != len(raw):
        raise FirmwareError('something is behind the volume of drivers')
    names = {name_of(bytes(raw[first + at + header:first + at + size]))
             for at, header, size, _ in files(raw[first:last])}
    if missing := LEFT_OUT - names:
        print(f'firmware: this OVMF has no {" ".join(sorted(missing))}')
    raw[first:last] = leave_out(raw[first:last])
    raw[first - 4:first - 1] = (len(raw) - first + 4).to_bytes(3, 'little')
    code[begin:end] = pack(raw, end - begin)
    seal(code, *file)
    return code


def main():
    """The command line."""
    variables, code, rom = map(pathlib.Path, sys.argv[1:])
    rom.parent.mkdir(parents=True, exist_ok=True)
    try:
        text = variables.read_bytes() + lighten(bytearray(code.read_bytes()))
    except (FirmwareError, OSError, lzma.LZMAError, struct.error) as problem:
        sys.exit(f'set-up: {code}: {problem}')
    part = rom.with_suffix('.part')
    part.write_bytes(text)
    os.replace(part, rom)


if __name__ == '__main__':
    main()
