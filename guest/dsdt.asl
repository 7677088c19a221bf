// SPDX-License-Identifier: Apache-2.0
// The devices that every guest has; guest/memmap.h has the same addresses. The processors and PCI
// differ between VMs: guest/acpi_build.c puts them into an SSDT.
DefinitionBlock ("", "DSDT", 2, "UMBRA ", "UMBRADSD", 1)
{
    // Soft off: the first value goes into PM1 control as SLP_TYP (PM1_SLP_TYP_S5).
    Name (\_S5, Package () { 5, 0, 0, 0 })

    Scope (\_SB)
    {
        // The serial port, 16550A.
        Device (COM1)
        {
            Name (_HID, EisaId ("PNP0501"))
            Name (_UID, 1)
            Name (_CRS, ResourceTemplate ()
            {
                IO (Decode16, 0x03F8, 0x03F8, 1, 8)
                IRQNoFlags () { 4 }
            })
        }

        // The CMOS clock.
        Device (RTC)
        {
            Name (_HID, EisaId ("PNP0B00"))
            Name (_CRS, ResourceTemplate ()
            {
                IO (Decode16, 0x0070, 0x0070, 1, 2)
                IRQNoFlags () { 8 }
            })
        }

        // pvpanic, to which a kernel reports its panic (QEMU: docs/specs/pvpanic.rst).
        Device (PEVT)
        {
            Name (_HID, "QEMU0001")
            Name (_CRS, ResourceTemplate ()
            {
                IO (Decode16, 0x0505, 0x0505, 1, 1)
            })
            Name (_STA, 0x0B)
        }
    }
}
