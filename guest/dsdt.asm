; SPDX-License-Identifier: Apache-2.0
; The DSDT that iasl compiled from dsdt.asl, as bytes of the image (declared in acpi_build.c).

section .rodata
align 16

global dsdt_aml:data hidden
global dsdt_aml_end:data hidden

dsdt_aml:
	incbin "guest/dsdt.aml"
dsdt_aml_end:

section .note.GNU-stack noalloc noexec nowrite progbits
