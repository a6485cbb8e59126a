// SPDX-License-Identifier: GPL-2.0
/* The instruction itself: what it refuses, and how it takes its operands. */

#include "bare.h"

static void refused(u64 psw_mask, int operation, u64 address, int code)
{
	struct outcome o = essa_outcome(psw_mask, operation, address);

	equal("interruption", o.code, code);
	equal("PSW after the instruction", o.psw_addr, 4);
	equal("R1 unchanged", o.out.gr[1], -1UL);
	equal("R2 unchanged", o.out.gr[2], address);
}

static u64 page0(void)
{
	return (u64)pages[0];
}

static void absent_facility_is_an_operation_exception(void)
{
	for (int m3 = 0; m3 < 16; m3++)
		refused(REAL, m3, page0(), OPERATION);
}

static void m3_of_8_to_15_is_a_specification_exception(void)
{
	/* 15 is something else only for guests that were promised so. */
	for (int m3 = 8; m3 < (mode & GUEST_DISCARD ? 15 : 16); m3++)
		refused(REAL, m3, page0(), SPECIFICATION);
}

static void set_stable_no_dat_without_facility_147_is_a_specification_exception(void)
{
	refused(REAL, SET_STABLE_NODAT, page0(), SPECIFICATION);
}

static void problem_state_is_a_privileged_operation_exception(void)
{
	for (int m3 = 0; m3 < 16; m3++)
		refused(PROBLEM, m3, page0(), PRIVILEGED);
}

static void block_outside_storage_is_an_addressing_exception(void)
{
	static const u64 outside[] = { 1UL << 31, 1UL << 40, -4096UL, -1UL };

	for (int m3 = 0; m3 < 7; m3++) {
		refused(REAL, m3, ram_size(), ADDRESSING);
		for (u64 i = 0; i < ARRAY_SIZE(outside); i++)
			refused(REAL, m3, outside[i], ADDRESSING);
	}
	equal("last block", essa_outcome(REAL, GET, ram_size() - 1).code, NONE);
}

static void low_12_bits_of_r2_are_ignored(void)
{
	fill(pages[0], 1, 2 * PAGE);
	essa(SET_UNUSED, page0() + 0xfff);
	allowed("this block", essa(GET, page0()), ANY(Ur) | ANY(Uz));
	allowed("odd address", essa(GET, page0() + 1), ANY(Ur) | ANY(Uz));
	allowed("next block", essa(GET, page0() + PAGE), ANY(Sr));
	essa(SET_STABLE, page0() + 0x123);
	allowed("this block", essa(GET, page0()), ANY(Sr) | ANY(Sz));
}

static void addressing_mode(u64 psw_mask, u64 ignored)
{
	struct outcome o;

	fill(pages[0], 1, PAGE);
	o = essa_outcome(psw_mask, SET_UNUSED, page0() | ignored);
	equal("interruption", o.code, NONE);
	allowed("this block", essa(GET, page0()), ANY(Ur) | ANY(Uz));
	equal("R2 unchanged", o.out.gr[2], page0() | ignored);
	essa(SET_STABLE, page0());
}

static void in_24_bit_mode_8_to_23_is_all_of_the_address(void)
{
	addressing_mode(AM24, 0xffffffffff000000);
}

static void in_31_bit_mode_bits_above_are_ignored(void)
{
	addressing_mode(AM31, 0xffffffff80000000);
}

static void r2_is_an_absolute_address_whatever_the_prefix_and_dat_are(void)
{
	static u8 prefix_area[2 * PAGE] __attribute__((aligned(2 * PAGE)));
	u64 prefix = (u64)prefix_area, absolute0 = PAGE, old_prefix = 0;

	copy(prefix_area, lowcore(), sizeof(prefix_area));
	asm volatile("spx %0" : : "Q" (((u32 []){ prefix })[0]) : "memory");
	essa(SET_UNUSED, absolute0);
	allowed("absolute", essa(GET, absolute0), ANY(Ur) | ANY(Uz));
	allowed("prefix area", essa(GET, prefix + PAGE), ANY(Sr));
	essa(SET_STABLE, absolute0);
	asm volatile("spx %0" : : "Q" (((u32 []){ old_prefix })[0]) : "memory");
}

/* STSI 3.2.2: the control-program identifier is how the host says that it delivers 0x1a. */
static void stsi_names_the_host(void)
{
	static u8 sysib[PAGE] __attribute__((aligned(PAGE)));
	/* "KVM/CMM2", "KVM/CMM2V", "KVM/Linux" and blanks, in EBCDIC */
	static const u8 cmm[16] = { 0xd2, 0xe5, 0xd4, 0x61, 0xc3, 0xd4, 0xd4, 0xf2, 0x40,
				    0x40, 0x40, 0x40, 0x40, 0x40, 0x40, 0x40 };
	static const u8 kvm[16] = { 0xd2, 0xe5, 0xd4, 0x61, 0xc3, 0xd4, 0xd4, 0xf2, 0xe5,
				    0x40, 0x40, 0x40, 0x40, 0x40, 0x40, 0x40 };
	static const u8 other[16] = { 0xd2, 0xe5, 0xd4, 0x61, 0xd3, 0x89, 0x95, 0xa4, 0xa7,
				      0x40, 0x40, 0x40, 0x40, 0x40, 0x40, 0x40 };
	register u64 function asm("0") = 0x30000002;
	register u64 selector asm("1") = 2;

	asm volatile("stsi 0(%2)" : "+d" (function), "+d" (selector)
		     : "a" (sysib) : "cc", "memory");
	/* 32 bytes of header; the identifier is 24 bytes into the first description. */
	equal("identifier", same(sysib + 32 + 24, mode & (ABSENT | KVM) ? other :
						  mode & ON_KVM ? kvm : cmm, 16), 1);
}

void test_exceptions(void)
{
	TEST(ABSENT, absent_facility_is_an_operation_exception);
	TEST(~ABSENT, m3_of_8_to_15_is_a_specification_exception);
	TEST(NODAT_ABSENT | ON_KVM, set_stable_no_dat_without_facility_147_is_a_specification_exception);
	TEST(~ABSENT, problem_state_is_a_privileged_operation_exception);
	TEST(~ABSENT, block_outside_storage_is_an_addressing_exception);
	TEST(~ABSENT, low_12_bits_of_r2_are_ignored);
	TEST(~ABSENT, in_24_bit_mode_8_to_23_is_all_of_the_address);
	TEST(~ABSENT, in_31_bit_mode_bits_above_are_ignored);
	TEST(~ABSENT, r2_is_an_absolute_address_whatever_the_prefix_and_dat_are);
	TEST(PLAIN | ABSENT | KVM | ON_KVM, stsi_names_the_host);
}
