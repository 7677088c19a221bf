#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""firmware.py VARS CODE DRIVER AT ROM: makes the emulated machine's ROM of OVMF's two files.

OVMF unpacks its drivers at each start, which takes an emulator seconds. So this leaves out the
shell, the set-up pages, and the drivers of devices that the machine usually does not have
(networks, USB, TPM, virtio, NVMe); with TPM= bochs.py uses OVMF as it is. Most other drivers lie
in the ROM unpacked, in a volume of their own at address AT. Only these stay packed: the DXE core,
the drivers that it must start first, and DRIVER (volume.c), which gives the DXE core the unpacked
volume. Nothing else changes. Formats: UEFI Platform Initialization specification 1.7, volume 3,
chapters 2 and 3.
"""
import lzma
import os
import pathlib
import struct
import sys

LZMA_GUID = bytes.fromhex('98584eee143959429d6edc7bd79403cf')
TYPE_RAW, TYPE_FREE, TYPE_CORE, TYPE_DRIVER = 0x01, 0x02, 0x05, 0x07
TYPE_APPLICATION, TYPE_VOLUME, TYPE_PAD = 0x09, 0x0b, 0xf0
SECTION_GUIDED, SECTION_IMAGE, SECTION_NEEDS, SECTION_NAME = 0x02, 0x10, 0x13, 0x15
SECTION_VOLUME, SECTION_BYTES = 0x17, 0x19
APRIORI = bytes.fromhex('e70e51fcdcffd411bd410080c73c8881')  # lists what is started first
ALWAYS = b'\x06\x08'  # the expression of a driver that needs nothing: TRUE END
STATE = 0xf8  # of a file that is complete, in a volume whose free bytes are FFH
LARGE_FILE, FILE_CHECKSUM, NO_CHECKSUM, PLACE = 0x01, 0x40, 0xaa, 0x3e
DRIVER_NAME, DRIVER_GUID = 'UmbraVolume', bytes.fromhex('5d1c3b7e2f904a41b6d80c5e71a3f29d')
HEADER_BYTES = 72  # of a volume with blocks of one size
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
            raise FirmwareError(f'a section at {at:#x} has an impossible size, {size} bytes')
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
            raise FirmwareError(f'a file at {at:#x} has an impossible size, {size} bytes')
        yield at, header, size, volume[at + 18]
        at = (at + size + 7) & ~7


def name_of(body):
    """A file's name; '' if it has none."""
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


def started_first(volume):
    """The GUIDs in the volume's a priori file, and that file's own GUID. The DXE core starts these
    drivers first, before it evaluates dependencies. The list is valid only for its volume."""
    for at, header, size, _ in files(volume):
        if volume[at:at + 16] == APRIORI:
            for section, skip, end, kind in sections(bytes(volume[at + header:at + size])):
                if kind == SECTION_BYTES:
                    text = bytes(volume[at + header + section + skip:at + header + section + end])
                    return {text[i:i + 16] for i in range(0, len(text), 16)} | {APRIORI}
    raise FirmwareError('no list of drivers that are started first')


def divide(volume):
    """Returns the files to be packed and those to be left as they are. Fails if a driver needs an
    alignment or a fixed place, because drivers are moved."""
    if any(volume[at + 19] & PLACE for at, _, _, _ in files(volume)):
        raise FirmwareError('a driver needs an alignment or a fixed address, so it cannot be moved')
    first, packed_files, plain_files = started_first(volume), [], []
    for at, header, size, kind in files(volume):
        if not is_left_out(volume, at, header, size, kind):
            early = kind == TYPE_CORE or bytes(volume[at:at + 16]) in first
            (packed_files if early else plain_files).append(bytes(volume[at:at + size]))
    return packed_files, plain_files


def with_files(header, content):
    """Builds a volume from this header and these files, one after the other, and pads it to a whole
    number of blocks."""
    volume = bytearray(header)
    for file in content:
        volume += b'\xff' * (-len(volume) % 8) + file
    block, = struct.unpack_from('<I', volume, 60)
    volume += b'\xff' * (-len(volume) % block)
    struct.pack_into('<Q', volume, 32, len(volume))
    struct.pack_into('<I', volume, 56, len(volume) // block)
    end, = struct.unpack_from('<H', volume, 48)
    struct.pack_into('<H', volume, 50, 0)
    words = struct.unpack_from(f'<{end // 2}H', volume)
    struct.pack_into('<H', volume, 50, -sum(words) & 0xffff)
    return volume


def new_file(guid, kind, body):
    """A file with a header of its own."""
    file = bytearray(guid + bytes([0, 0, kind, 0]) + (24 + len(body)).to_bytes(3, 'little') +
                     bytes([STATE]) + body)
    seal(file, 0, 24, len(file))
    return bytes(file)


def driver_file(image):
    """A driver that is started whenever it is found."""
    body = bytearray()
    for kind, text in ((SECTION_NEEDS, ALWAYS), (SECTION_IMAGE, image),
                       (SECTION_NAME, (DRIVER_NAME + '\0').encode('utf-16le'))):
        body += bytes(-len(body) % 4) + (4 + len(text)).to_bytes(3, 'little') + bytes([kind]) + text
    return new_file(DRIVER_GUID, TYPE_DRIVER, bytes(body))


def pack(raw, room):
    """Compresses `raw` with LZMA and pads the result to `room` bytes. Writes the unpacked size into
    the header, because OVMF needs it."""
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


def lighten(code, driver, address):
    """Returns the code file with this driver added, those of LEFT_OUT removed, and the rest divided
    into a packed and an unpacked volume. Of the packed volumes the last holds the drivers; the code
    in the one before it runs at a fixed address, so it must not move. The code file ends at
    4 GiB."""
    (at, header, size), (begin, end) = packed(code)
    raw, volumes = unpack(code, begin, end)
    first, last = volumes[-1]
    if last != len(raw):
        raise FirmwareError('something is behind the volume of drivers')
    names = {name_of(bytes(raw[first + at + header:first + at + size]))
             for at, header, size, _ in files(raw[first:last])}
    if missing := LEFT_OUT - names:
        print(f'firmware: this OVMF has no {" ".join(sorted(missing))}')
    early, others = divide(raw[first:last])
    start = next(files(raw[first:last]))[0]
    plain = bytearray(raw[first:first + HEADER_BYTES])
    struct.pack_into('<H', plain, 52, 0)  # no extended header: its GUID is the packed volume's
    plain = with_files(plain, others)
    raw[first:last] = with_files(raw[first:first + start], early + [driver_file(driver)])
    raw[first - 4:first - 1] = (len(raw) - first + 4).to_bytes(3, 'little')
    place = len(code) - (1 << 32) + address  # of the volume
    if address % 4096 == 0 or address % 16 != 0:
        raise FirmwareError(f'AT is {address:#x}: it must be a multiple of 16, else the DXE core '
                            'copies the volume, and not of 4096, else SEC takes it for its own')
    free, = struct.unpack_from('<Q', code, 32)
    shift = place - 24 - end  # the packed file grows up to the 24-byte header of the raw file
    if any(code[end:free].strip(b'\xff')) or place + len(plain) > free:
        raise FirmwareError(f'no room for a volume of {len(plain)} bytes at {address:#x}')
    code[end:free] = b'\xff' * (free - end)
    code[begin:place - 24] = pack(raw, place - 24 - begin)
    code[place - 24:place + len(plain)] = new_file(DRIVER_GUID, TYPE_RAW, plain)
    section = at + header
    for field, length in ((at + 20, size + shift), (section, size - header + shift)):
        code[field:field + 3] = length.to_bytes(3, 'little')
    code[place + len(plain):free] = b'\xff' * (free - place - len(plain))
    seal(code, at, header, size + shift)
    return code


def main():
    """The command line."""
    variables, code, driver, rom = map(pathlib.Path, sys.argv[1:4] + sys.argv[5:])
    rom.parent.mkdir(parents=True, exist_ok=True)
    try:
        text = variables.read_bytes() + lighten(bytearray(code.read_bytes()),
                                                driver.read_bytes(), int(sys.argv[4], 0))
    except (FirmwareError, OSError, lzma.LZMAError, struct.error) as problem:
        sys.exit(f'set-up: {code}: {problem}')
    part = rom.with_suffix('.part')
    part.write_bytes(text)
    os.replace(part, rom)


if __name__ == '__main__':
    main()
