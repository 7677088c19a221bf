/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto/simd.h"
#include "vmm/base/cpu.h"
#include "vmm/base/err.h"
#include "vmm/base/x86.h"

#define XCR0_AVX_STATE	  (XCR0_SSE | XCR0_AVX)
#define XCR0_AVX512_STATE (XCR0_OPMASK | XCR0_ZMM_HI256 | XCR0_HI16_ZMM)

/* The assembler repeats a line once for each register; \\i in it is the number. */
#define LOW_SIXTEEN  ".irp i,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n\t"
#define HIGH_SIXTEEN ".irp i,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31\n\t"
#define MOVE(registers, line, base) \
	__asm__ volatile(registers line "\n\t.endr" : : "r"(base) : "memory")

void simd_begin(struct simd_save *save)
{
	__asm__ volatile("movaps %%xmm0, 0(%0)\n\t"
			 "movaps %%xmm1, 16(%0)\n\t"
			 "movaps %%xmm2, 32(%0)\n\t"
			 "movaps %%xmm3, 48(%0)\n\t"
			 "movaps %%xmm4, 64(%0)\n\t"
			 "movaps %%xmm5, 80(%0)\n\t"
			 "movaps %%xmm6, 96(%0)\n\t"
			 "movaps %%xmm7, 112(%0)\n\t"
			 "movaps %%xmm8, 128(%0)\n\t"
			 "movaps %%xmm9, 144(%0)\n\t"
			 "movaps %%xmm10, 160(%0)\n\t"
			 "movaps %%xmm11, 176(%0)\n\t"
			 "movaps %%xmm12, 192(%0)\n\t"
			 "movaps %%xmm13, 208(%0)\n\t"
			 "movaps %%xmm14, 224(%0)\n\t"
			 "movaps %%xmm15, 240(%0)"
			 :
			 : "r"(save)
			 : "memory");
}

void simd_end(const struct simd_save *save)
{
	__asm__ volatile("movaps 0(%0), %%xmm0\n\t"
			 "movaps 16(%0), %%xmm1\n\t"
			 "movaps 32(%0), %%xmm2\n\t"
			 "movaps 48(%0), %%xmm3\n\t"
			 "movaps 64(%0), %%xmm4\n\t"
			 "movaps 80(%0), %%xmm5\n\t"
			 "movaps 96(%0), %%xmm6\n\t"
			 "movaps 112(%0), %%xmm7\n\t"
			 "movaps 128(%0), %%xmm8\n\t"
			 "movaps 144(%0), %%xmm9\n\t"
			 "movaps 160(%0), %%xmm10\n\t"
			 "movaps 176(%0), %%xmm11\n\t"
			 "movaps 192(%0), %%xmm12\n\t"
			 "movaps 208(%0), %%xmm13\n\t"
			 "movaps 224(%0), %%xmm14\n\t"
			 "movaps 240(%0), %%xmm15"
			 :
			 : "r"(save)
			 : "memory");
}

int simd_plan(struct simd_plan *plan, enum simd_set set)
{
	uint64_t offered, needed;

	if ((cpu_cpuid(1, 0).ecx & CPUID_1_ECX_XSAVE) == 0) {
		return ERR_UNSUPPORTED;
	}
	offered = cpu_cpuid(0xd, 0).eax;
	needed = XCR0_AVX_STATE | (set == SIMD_ZMM ? XCR0_AVX512_STATE : 0);
	if ((offered & needed) != needed) {
		return ERR_UNSUPPORTED;
	}
	plan->zmm = (offered & XCR0_AVX512_STATE) == XCR0_AVX512_STATE;
	plan->high = set == SIMD_ZMM;
	plan->xcr0 = XCR0_AVX_STATE | (plan->zmm ? XCR0_AVX512_STATE : 0);
	plan->see_inuse = (cpu_cpuid(0xd, 1).eax & CPUID_D_1_EAX_XGETBV1) != 0;
	return 0;
}

void simd_begin_wide(struct simd_wide_save *save, const struct simd_plan *plan)
{
	save->xcr0 = cpu_xgetbv(0);
	if ((save->xcr0 & plan->xcr0) != plan->xcr0) {
		/* XSETBV requires bit 0, which is always set. Bits are only added. */
		cpu_xsetbv(0, save->xcr0 | plan->xcr0);
	}
	save->inuse = plan->see_inuse ? cpu_xgetbv(1) : plan->xcr0;
	if ((save->inuse & XCR0_ZMM_HI256) != 0) {
		MOVE(LOW_SIXTEEN, "vmovdqa64 %%zmm\\i, 64*\\i(%0)", save->reg);
	} else if ((save->inuse & XCR0_AVX) != 0) {
		MOVE(LOW_SIXTEEN, "vmovdqa %%ymm\\i, 64*\\i(%0)", save->reg);
	} else {
		MOVE(LOW_SIXTEEN, "movaps %%xmm\\i, 64*\\i(%0)", save->reg);
	}
	if (plan->high && (save->inuse & XCR0_HI16_ZMM) != 0) {
		MOVE(HIGH_SIXTEEN, "vmovdqa64 %%zmm\\i, 64*\\i(%0)", save->reg);
	}
}

void simd_end_wide(const struct simd_wide_save *save, const struct simd_plan *plan)
{
	if ((save->inuse & XCR0_ZMM_HI256) != 0) {
		MOVE(LOW_SIXTEEN, "vmovdqa64 64*\\i(%0), %%zmm\\i", save->reg);
	} else if ((save->inuse & XCR0_AVX) != 0) {
		/* These loads zero the bits above YMM, which were zero before. */
		MOVE(LOW_SIXTEEN, "vmovdqa 64*\\i(%0), %%ymm\\i", save->reg);
	} else {
		__asm__ volatile("vzeroupper" : : : "memory");
		MOVE(LOW_SIXTEEN, "movaps 64*\\i(%0), %%xmm\\i", save->reg);
	}
	if (plan->high && (save->inuse & XCR0_HI16_ZMM) != 0) {
		MOVE(HIGH_SIXTEEN, "vmovdqa64 64*\\i(%0), %%zmm\\i", save->reg);
	} else if (plan->high) {
		MOVE(HIGH_SIXTEEN, "vpxord %%zmm\\i, %%zmm\\i, %%zmm\\i", save->reg);
	}
	if ((save->xcr0 & plan->xcr0) != plan->xcr0) {
		cpu_xsetbv(0, save->xcr0);
	}
}
