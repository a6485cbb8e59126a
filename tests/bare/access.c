// SPDX-License-Identifier: GPL-2.0
/* Program interruption 0x1a: every way of touching a discarded block. */

#include "bare.h"

/*
 * Each stub touches the block under test at %r2.  A good block is at %r4, a
 * length of 8 in %r3 and %r5, zero in all other registers.
 */
INSN(load, "lg %r1,0(%r2)");
INSN(load_byte, "ic %r1,0(%r2)");
INSN(load_multiple, "lmg %r6,%r9,0(%r2)");
INSN(store, "stg %r3,0(%r2)");
INSN(store_byte, "mvi 0(%r2),1");
INSN(store_multiple, "stmg %r2,%r5,0(%r2)");
INSN(compare_and_swap, "csg %r1,%r3,0(%r2)");
INSN(compare_double_and_swap, "cdsg %r6,%r4,0(%r2)");
INSN(load_and_add, Z13("laag %r1,%r3,0(%r2)"));
INSN(add_immediate, "agsi 0(%r2),1");
INSN(test_and_set, "ts 0(%r2)");
INSN(store_clock, "stck 0(%r2)");
INSN(store_facility_list, "stfle 0(%r2)");
INSN(store_control, "stctg %c0,%c1,0(%r2)");
INSN(load_control, "lctlg %c9,%c10,0(%r2)");
INSN(mvc_source, "mvc 0(8,%r4),0(%r2)");
INSN(mvc_target, "mvc 0(8,%r2),0(%r4)");
INSN(mvc_source_256, "mvc 0(256,%r4),0(%r2)");
INSN(mvc_target_256, "mvc 0(256,%r2),0(%r4)");
INSN(clc_second, "clc 0(8,%r4),0(%r2)");
INSN(xc_target, "xc 0(8,%r2),0(%r4)");
INSN(translate_table, "tr 0(1,%r4),0(%r2)");
INSN(mvcl_source, "mvcl %r4,%r2");
INSN(mvcl_target, "mvcl %r2,%r4");
INSN(mvcle_source, "mvcle %r4,%r2,0\n\tjo mvcle_source");
INSN(mvcle_target, "mvcle %r2,%r4,0\n\tjo mvcle_target");
INSN(mvcos_source, "mvcos 0(%r4),0(%r2),%r3");
INSN(mvcos_target, "mvcos 0(%r2),0(%r4),%r3");
INSN(load_pair, "lpq %r6,0(%r2)");
INSN(store_pair, "stpq %r2,0(%r2)");
INSN(insert_under_mask, "icm %r1,15,0(%r2)");
INSN(store_under_mask, "stcm %r2,15,0(%r2)");
INSN(load_reversed, "lrvg %r1,0(%r2)");
INSN(load_floating_point, "ld %f0,0(%r2)");
INSN(load_access_registers, "lam %a2,%a5,0(%r2)");
INSN(store_access_registers, "stam %a2,%a5,0(%r2)");
INSN(and_immediate, "ni 0(%r2),1");
INSN(or_immediate, "oi 0(%r2),1");
INSN(compare_and_swap_32, "cs %r1,%r3,0(%r2)");
INSN(compare_double_and_swap_32, "cds %r6,%r4,0(%r2)");
INSN(compare_and_swap_and_purge, "cspg %r6,%r2");
INSN(load_and_add_32, Z13("laa %r1,%r3,0(%r2)"));
INSN(load_and_and, Z13("lang %r1,%r3,0(%r2)"));
INSN(load_and_or, Z13("laog %r1,%r3,0(%r2)"));
INSN(load_and_exclusive_or, Z13("laxg %r1,%r3,0(%r2)"));
INSN(clc_first, "clc 0(8,%r2),0(%r4)");
INSN(clc_second_256, "clc 0(256,%r4),0(%r2)");
INSN(clcl_first, "clcl %r2,%r4");
INSN(clcle_second, "clcle %r4,%r2,0\n\tjo clcle_second");
INSN(xc_itself, "xc 0(8,%r2),0(%r2)");
INSN(xc_target_256, "xc 0(256,%r2),0(%r4)");
INSN(oc_source, "oc 0(8,%r4),0(%r2)");
INSN(mvcin_source, "mvcin 0(1,%r4),0(%r2)");
INSN(translate_target, "tr 0(8,%r2),0(%r4)");
INSN(translate_and_test, "trt 0(8,%r2),0(%r4)");
INSN(translate_extended, "tre %r2,%r4\n\tjo translate_extended");
INSN(convert_to_decimal, "cvd %r3,0(%r2)");
INSN(unpack_source, "unpk 0(8,%r4),0(8,%r2)");
INSN(store_clock_extended, "stcke 0(%r2)");
INSN(store_cpu_id, "stidp 0(%r2)");
INSN(store_cpu_timer, "stpt 0(%r2)");
INSN(store_prefix, "stpx 0(%r2)");
INSN(set_prefix, "spx 0(%r2)");
INSN(set_clock_comparator, "sckc 0(%r2)");
INSN(load_control_32, "lctl %c9,%c10,0(%r2)");
INSN(load_using_real_address, "lurag %r1,%r2");
INSN(load_using_real_address_32, "lura %r1,%r2");
INSN(store_using_real_address, "sturg %r3,%r2");
INSN(store_using_real_address_32, "stura %r3,%r2");
INSN(test_block, "tb %r0,%r2");
INSN(test_protection, "tprot 0(%r2),0");

/* vectors_on() fills the registers that are stored here */
INSN(vector_load, Z13("vl %v20,0(%r2)"));
INSN(vector_store, Z13("vst %v16,0(%r2)"));
INSN(vector_load_multiple, Z13("vlm %v20,%v23,0(%r2)"));
INSN(vector_store_multiple, Z13("vstm %v16,%v19,0(%r2)"));
INSN(vector_load_with_length, Z13("vll %v20,%r3,0(%r2)"));
INSN(vector_store_with_length, Z13("vstl %v16,%r3,0(%r2)"));
INSN(vector_load_element, Z13("vleg %v20,0(%r2),1"));
INSN(vector_store_element, Z13("vsteg %v16,0(%r2),1"));
INSN(vector_load_and_replicate, Z13("vlrepg %v20,0(%r2)"));
INSN(vector_gather_element, Z13("vgef %v20,0(%v24,%r2),0"));
INSN(vector_scatter_element, Z13("vscef %v16,0(%v24,%r2),0"));
INSN(vector_load_to_boundary, Z13("vlbb %v20,0(%r2),6"));

/*
 * The last two are for other machines than QEMU: an instruction that is not there or
 * need not access its operand, and one that may end, or be done in part, when it gets
 * to the second block.
 */
enum { STORES = 1, ALIGNED = 2, RESUMES = 4, NEEDS_DAT = 8, REAL_ONLY = 16, QEMU_ONLY = 32,
       IN_PARTS = 64 };

static const struct access {
	const char *name;
	const u8 *code;
	int flags;
} accesses[] = {
	{ "load", load },
	{ "load_byte", load_byte, ALIGNED },
	{ "load_multiple", load_multiple },
	{ "store", store, STORES },
	{ "store_byte", store_byte, STORES | ALIGNED },
	{ "store_multiple", store_multiple, STORES },
	{ "compare_and_swap", compare_and_swap, STORES | ALIGNED },
	{ "compare_double_and_swap", compare_double_and_swap, STORES | ALIGNED },
	{ "load_and_add", load_and_add, STORES | ALIGNED | QEMU_ONLY },
	{ "add_immediate", add_immediate, STORES | ALIGNED },
	{ "test_and_set", test_and_set, STORES | ALIGNED },
	{ "store_clock", store_clock, STORES },
	{ "store_facility_list", store_facility_list, STORES | ALIGNED },
	{ "store_control", store_control, STORES | ALIGNED },
	{ "load_control", load_control, ALIGNED },
	{ "mvc_source", mvc_source },
	{ "mvc_target", mvc_target, STORES },
	{ "mvc_source_256", mvc_source_256 },
	{ "mvc_target_256", mvc_target_256, STORES },
	{ "clc_second", clc_second, IN_PARTS },
	{ "xc_target", xc_target, STORES },
	{ "translate_table", translate_table },
	{ "mvcl_source", mvcl_source, RESUMES },
	{ "mvcl_target", mvcl_target, STORES | RESUMES },
	{ "mvcle_source", mvcle_source, RESUMES },
	{ "mvcle_target", mvcle_target, STORES | RESUMES },
	{ "mvcos_source", mvcos_source, NEEDS_DAT | IN_PARTS },
	{ "mvcos_target", mvcos_target, STORES | NEEDS_DAT | IN_PARTS },
	{ "load_pair", load_pair, ALIGNED },
	{ "store_pair", store_pair, STORES | ALIGNED },
	{ "insert_under_mask", insert_under_mask, ALIGNED },
	{ "store_under_mask", store_under_mask, STORES | ALIGNED },
	{ "load_reversed", load_reversed },
	{ "load_floating_point", load_floating_point },
	{ "load_access_registers", load_access_registers },
	{ "store_access_registers", store_access_registers, ALIGNED },
	{ "and_immediate", and_immediate, ALIGNED },
	{ "or_immediate", or_immediate, STORES | ALIGNED },
	{ "compare_and_swap_32", compare_and_swap_32, STORES | ALIGNED },
	{ "compare_double_and_swap_32", compare_double_and_swap_32, STORES | ALIGNED },
	{ "compare_and_swap_and_purge", compare_and_swap_and_purge, ALIGNED },
	{ "load_and_add_32", load_and_add_32, STORES | ALIGNED | QEMU_ONLY },
	{ "load_and_and", load_and_and, ALIGNED | QEMU_ONLY },
	{ "load_and_or", load_and_or, STORES | ALIGNED | QEMU_ONLY },
	{ "load_and_exclusive_or", load_and_exclusive_or, STORES | ALIGNED | QEMU_ONLY },
	{ "clc_first", clc_first, IN_PARTS },
	{ "clc_second_256", clc_second_256, ALIGNED },
	{ "clcl_first", clcl_first, ALIGNED | RESUMES },
	{ "clcle_second", clcle_second, ALIGNED | RESUMES },
	{ "xc_itself", xc_itself },
	{ "xc_target_256", xc_target_256, STORES },
	{ "oc_source", oc_source },
	{ "mvcin_source", mvcin_source, ALIGNED },
	{ "translate_target", translate_target, STORES },
	{ "translate_and_test", translate_and_test, ALIGNED },
	{ "translate_extended", translate_extended, IN_PARTS },
	{ "convert_to_decimal", convert_to_decimal, STORES },
	{ "unpack_source", unpack_source },
	{ "store_clock_extended", store_clock_extended, STORES },
	{ "store_cpu_id", store_cpu_id, STORES | ALIGNED },
	{ "store_cpu_timer", store_cpu_timer, STORES | ALIGNED },
	{ "store_prefix", store_prefix, ALIGNED },
	{ "set_prefix", set_prefix, ALIGNED },
	{ "set_clock_comparator", set_clock_comparator, ALIGNED },
	{ "load_control_32", load_control_32, ALIGNED },
	{ "load_using_real_address", load_using_real_address, ALIGNED | REAL_ONLY },
	{ "load_using_real_address_32", load_using_real_address_32, ALIGNED | REAL_ONLY },
	{ "store_using_real_address", store_using_real_address, STORES | ALIGNED | REAL_ONLY },
	{ "store_using_real_address_32", store_using_real_address_32, STORES | ALIGNED | REAL_ONLY },
	{ "test_block", test_block, ALIGNED | REAL_ONLY },
	{ "test_protection", test_protection, ALIGNED | QEMU_ONLY },
	{ "vector_load", vector_load, QEMU_ONLY },
	{ "vector_store", vector_store, STORES | QEMU_ONLY },
	{ "vector_load_multiple", vector_load_multiple, QEMU_ONLY },
	{ "vector_store_multiple", vector_store_multiple, STORES | QEMU_ONLY },
	{ "vector_load_with_length", vector_load_with_length, QEMU_ONLY },
	{ "vector_store_with_length", vector_store_with_length, STORES | QEMU_ONLY },
	{ "vector_load_element", vector_load_element, QEMU_ONLY },
	{ "vector_store_element", vector_store_element, STORES | QEMU_ONLY },
	{ "vector_load_and_replicate", vector_load_and_replicate, QEMU_ONLY },
	{ "vector_gather_element", vector_gather_element, ALIGNED | QEMU_ONLY },
	{ "vector_scatter_element", vector_scatter_element, STORES | ALIGNED | QEMU_ONLY },
	{ "vector_load_to_boundary", vector_load_to_boundary, ALIGNED | QEMU_ONLY },
};

/* Vector instructions are allowed; %v16 to %v19 are all ones, %v24 is zero. */
static void vectors_on(void)
{
	u64 cr0;

	asm volatile("stctg %%c0,%%c0,%0" : "=Q" (cr0));
	cr0 |= 0x60000;
	asm volatile("lctlg %%c0,%%c0,%0" : : "Q" (cr0));
	asm volatile(Z13("vgbm %v16,0xffff\n\tvlr %v17,%v16\n\tvlr %v18,%v16\n\t"
			    "vlr %v19,%v16\n\tvgbm %v24,0"));
}

/* Where a page is for code that runs with this PSW. */
u64 address_of(u64 mask, int page)
{
	return mask & ~REAL ? dat_address(page) : (u64)pages[page];
}

struct outcome touch(u64 mask, const void *code, u64 address)
{
	struct regs in = { .gr = { [2] = address, [3] = 8, [4] = (u64)pages[GOOD], [5] = 8 } };

	return run(mask, code, &in);
}

/* Nullified, ready for a retry, and reported with the absolute address. */
void discard_fault(const struct outcome *o, u64 psw_addr, u64 block)
{
	equal("interruption", o->code, DISCARDED);
	equal("absolute address", o->teid, block);
	equal("PSW at the instruction", o->psw_addr, psw_addr);
}

static void registers_unchanged(const struct outcome *o, u64 address)
{
	const struct regs in = { .gr = { [2] = address, [3] = 8, [4] = (u64)pages[GOOD], [5] = 8 } };

	for (int i = 0; i < 16; i++)
		equal("registers unchanged", o->out.gr[i], in.gr[i]);
}

void make_discarded(u64 block)
{
	/* KVM does not take what it shares: a page of zeros that was only read. */
	if (mode & REAL_KVM)
		*(volatile u8 *)block = *(volatile u8 *)block;
	essa(SET_VOLATILE, block);
	if (mode & REAL_KVM)
		host("discard");
	allowed("discarded", essa(GET, block), ANY(Vz));
}

/*
 * Touch a block while it is stable (so that every cached translation exists),
 * then while it is discarded, then again after "set stable".  The operand starts
 * in the block, or 4 bytes before it in a block that stays.
 */
static void one_access(const struct access *a, u64 mask, bool crosses)
{
	int before = mask & DAT_ON ? BAD + 1 : BAD - 1;
	u64 start = address_of(a->flags & REAL_ONLY ? REAL : mask, BAD);
	u64 block = (u64)pages[BAD], address = crosses ? start - 4 : start + 0x100;
	struct outcome o;

	fill(pages[before], 0x5a, PAGE);
	fill(pages[BAD], 0, PAGE);
	fill(pages[GOOD], 0, PAGE);
	o = touch(mask, a->code, address);
	equal("while stable", o.code, NONE);

	fill(pages[before], 0x5a, PAGE);
	fill(pages[GOOD], 0x33, PAGE);
	make_discarded(block);
	o = touch(mask, a->code, address);
	discard_fault(&o, (u64)a->code, block);
	allowed("still discarded", essa(GET, block), ANY(Vz));
	if (!(a->flags & RESUMES)) {
		registers_unchanged(&o, address);
		equal("good block unchanged", filled(pages[GOOD], 0x33, PAGE), 1);
		equal("block before unchanged", filled(pages[before], 0x5a, PAGE), 1);
	} else {
		/* May have done a part: the registers must say exactly which. */
		equal("operand and length", o.out.gr[2] + o.out.gr[3], address + 8);
		equal("other operand and length", o.out.gr[4] + o.out.gr[5], (u64)pages[GOOD] + 8);
		equal("in step", o.out.gr[3], o.out.gr[5]);
		equal("not into the block", o.out.gr[2] <= (crosses ? start : address), 1);
	}

	essa(SET_STABLE, block);
	o = run(mask, a->code, &o.out);
	equal("retry completes", o.code, NONE);
	if (a->flags & STORES)
		equal("operand stored", filled(pages[BAD], 0, 0x200), 0);
	/* No operand reaches farther. */
	equal("rest is zero", filled(pages[BAD] + 0x200, 0, PAGE - 0x200), 1);
	equal("resident", essa(GET, block), Sr);
}

static bool applies(const struct access *a, u64 mask, bool crosses)
{
	if ((mode & REAL_KVM) && (a->flags & (crosses ? QEMU_ONLY | IN_PARTS : QEMU_ONLY)))
		return 0;
	return !(crosses && (a->flags & ALIGNED)) &&
	       ((mask & DAT_ON) || !(a->flags & NEEDS_DAT));
}

static void accesses_to_a_discarded_block(const char *prefix, u64 mask, bool crosses)
{
	for (const struct access *a = accesses; a < accesses + ARRAY_SIZE(accesses); a++) {
		if (!applies(a, mask, crosses))
			continue;
		test_begin(prefix, a->name);
		one_access(a, mask, crosses);
		test_end();
	}
}

/* All of them again, as one test. */
static void all_accesses(u64 mask)
{
	for (const struct access *a = accesses; a < accesses + ARRAY_SIZE(accesses); a++) {
		for (int crosses = 0; crosses < 2 && !failed(); crosses++) {
			if (!applies(a, mask, crosses))
				continue;
			one_access(a, mask, crosses);
			if (failed())
				say("# access: %s\n", a->name);
		}
	}
}

static void all_accesses_in_24_bit_mode(void)
{
	all_accesses(AM24);
}

static void all_accesses_in_31_bit_mode(void)
{
	all_accesses(AM31);
}

static void all_accesses_translated_in_31_bit_mode(void)
{
	all_accesses(AM31 | DAT_ON);
}

/* Instruction fetch: code in the block itself. */

static const u8 code42[] = { 0xa7, 0x19, 0, 42, 0x0a, 0 };	/* lghi %r1,42; svc 0 */

void write_code(void *at)
{
	copy(at, code42, sizeof(code42));
}

void code_runs(u64 mask, u64 code)
{
	struct outcome o = run(mask, (void *)code, &(struct regs){});

	equal("completes", o.code, NONE);
	equal("result", o.out.gr[1], 42);
}

static void fetch(u64 mask)
{
	u64 code = address_of(mask, BAD), block = (u64)pages[BAD];
	struct outcome o;

	for (int i = 0; i < (mode & REAL_KVM ? 3 : 100); i++) {
		write_code(pages[BAD]);
		code_runs(mask, code);
		code_runs(mask, code);
		make_discarded(block);
		o = run(mask, (void *)code, &(struct regs){});
		discard_fault(&o, code, block);
		essa(SET_STABLE, block);
		o = run(mask, (void *)code, &(struct regs){});
		equal("zeros are no instruction", o.code, OPERATION);
	}
}

static void fetch_real(void)
{
	fetch(REAL);
}

static void fetch_translated(void)
{
	fetch(DAT);
}

static void fetch_in_24_bit_mode(void)
{
	fetch(AM24);
}

static void fetch_translated_in_31_bit_mode(void)
{
	fetch(AM31 | DAT_ON);
}

/* The second half of the instruction is in the discarded block. */
static void fetch_across(u64 mask)
{
	int before = mask == DAT ? BAD + 1 : BAD - 1;
	u64 code = address_of(mask, BAD) - 2, block = (u64)pages[BAD];
	struct outcome o;

	copy(pages[before] + PAGE - 2, code42, 2);
	copy(pages[BAD], code42 + 2, sizeof(code42) - 2);
	code_runs(mask, code);
	make_discarded(block);
	o = run(mask, (void *)code, &(struct regs){});
	discard_fault(&o, code, block);
	essa(SET_STABLE, block);
	copy(pages[BAD], code42 + 2, sizeof(code42) - 2);
	code_runs(mask, code);
}

static void fetch_across_blocks_real(void)
{
	fetch_across(REAL);
}

static void fetch_across_blocks_translated(void)
{
	fetch_across(DAT);
}

/* A branch that ran many times; the host may have linked both ends. */
static void branch_into_a_discarded_block(void)
{
	static const u8 br2[] = { 0x07, 0xf2 };
	u64 block = (u64)pages[BAD];
	static const u8 jlu[] = { 0xc0, 0xf4, 0, 0, 0x08, 0 };	/* to the next block */
	struct outcome o;

	for (int direct = 0; direct < 2; direct++) {
		copy(pages[BAD - 1], direct ? jlu : br2, direct ? 6 : 2);
		write_code(pages[BAD]);
		for (int i = 0; i < 100; i++) {
			o = touch(REAL, pages[BAD - 1], block);
			equal("completes", o.code, NONE);
		}
		make_discarded(block);
		o = touch(REAL, pages[BAD - 1], block);
		discard_fault(&o, block, block);
		essa(SET_STABLE, block);
	}
}

/* The target of EXECUTE: the PSW points at EXECUTE itself. */
INSN(execute, "ex %r0,0(%r2)");
INSN(execute_relative, "exrl %r0,pages+2*4096");
_Static_assert(BAD == 2, "execute_relative names the block");

static void execute_target(const u8 *code)
{
	static const u8 lgr13[] = { 0xb9, 0x04, 0, 0x13 };	/* lgr %r1,%r3 */
	static const u64 masks[] = { REAL, DAT };	/* DAT maps real addresses to themselves, too */
	u64 block = (u64)pages[BAD];

	for (u64 i = 0; i < ARRAY_SIZE(masks); i++) {
		u64 mask = masks[i];
		struct outcome o;

		copy(pages[BAD], lgr13, sizeof(lgr13));
		o = touch(mask, code, block);
		equal("completes", o.code, NONE);
		equal("result", o.out.gr[1], 8);
		make_discarded(block);
		o = touch(mask, code, block);
		discard_fault(&o, (u64)code, block);
		registers_unchanged(&o, block);
		essa(SET_STABLE, block);
		copy(pages[BAD], lgr13, sizeof(lgr13));
		o = touch(mask, code, block);
		equal("retry completes", o.code, NONE);
	}
}

static void target_of_execute(void)
{
	execute_target(execute);
}

static void target_of_execute_relative_long(void)
{
	execute_target(execute_relative);
}

/* Only a part of the target is in the discarded block. */
static void target_of_execute_across_blocks(void)
{
	static const u8 lgr13[] = { 0xb9, 0x04, 0, 0x13 };
	u64 block = (u64)pages[BAD];
	struct outcome o;

	for (int i = 0; i < 2; i++) {
		copy(pages[BAD] - 2, lgr13, sizeof(lgr13));
		o = touch(REAL, execute, block - 2);
		equal("completes", o.code, NONE);
		equal("result", o.out.gr[1], 8);
		make_discarded(block);
		o = touch(REAL, execute, block - 2);
		discard_fault(&o, (u64)execute, block);
		registers_unchanged(&o, block - 2);
		essa(SET_STABLE, block);
	}
}

/* The operand of the target: EXECUTE is what has to be retried. */
INSN(execute_mvc, "exrl %r5,mvc_up_to_256");
INSN(mvc_up_to_256, "mvc 0(1,%r2),0(%r4)");

static void operand_of_an_executed_instruction(void)
{
	static const u64 masks[] = { REAL, DAT };
	u64 block = (u64)pages[BAD];

	for (u64 i = 0; i < ARRAY_SIZE(masks); i++) {
		u64 address = address_of(masks[i], BAD);
		struct outcome o;

		fill(pages[GOOD], 0x33, PAGE);
		make_discarded(block);
		o = touch(masks[i], execute_mvc, address);
		discard_fault(&o, (u64)execute_mvc, block);
		registers_unchanged(&o, address);
		essa(SET_STABLE, block);
		o = run(masks[i], execute_mvc, &o.out);
		equal("retry completes", o.code, NONE);
		equal("moved", filled(pages[BAD], 0x33, 9), 1);
		equal("and no more", pages[BAD][9], 0);
	}
}

/* A hint touches nothing, and VLBB stops at the boundary. */
INSN(prefetch, "pfd 1,0(%r2)");

static void prefetch_and_load_to_boundary_do_not_touch(void)
{
	static const u64 masks[] = { REAL, DAT };
	u64 block = (u64)pages[BAD];

	for (u64 i = 0; i < ARRAY_SIZE(masks); i++) {
		make_discarded(block);
		equal("PFD", touch(masks[i], prefetch, address_of(masks[i], BAD)).code, NONE);
		if (!(mode & REAL_KVM))
			equal("VLBB", touch(masks[i], vector_load_to_boundary,
					    address_of(masks[i], BAD) - 4).code, NONE);
		allowed("still discarded", essa(GET, block), ANY(Vz));
		essa(SET_STABLE, block);
	}
}

/* The operand begins at the end of 24-bit storage and wraps to zero. */
static void an_operand_that_wraps_in_24_bit_mode(void)
{
	u64 block = (1UL << 24) - PAGE;
	struct outcome o;

	equal("while stable", touch(AM24, load, -4UL).code, NONE);
	make_discarded(block);
	o = touch(AM24, load, -4UL);
	discard_fault(&o, (u64)load, block);
	equal("the next block", touch(REAL, load, block + PAGE).code, NONE);
	essa(SET_STABLE, block);
	equal("retry completes", touch(AM24, load, -4UL).code, NONE);
}

/* TPROT asks whether an access would succeed; no condition code says that it is gone. */
INSN(tprot_cc, "tprot 0(%r2),0\n\tipm %r1\n\tsrl %r1,28");

static void test_protection_of_a_discarded_block_is_an_access(void)
{
	static const u64 masks[] = { REAL, DAT };
	u64 block = (u64)pages[BAD];

	for (u64 i = 0; i < ARRAY_SIZE(masks); i++) {
		u64 address = address_of(masks[i], BAD);
		struct outcome o;

		o = touch(masks[i], tprot_cc, address);
		equal("condition code", o.out.gr[1], 0);
		make_discarded(block);
		o = touch(masks[i], tprot_cc, address);
		discard_fault(&o, (u64)tprot_cc, block);
		essa(SET_STABLE, block);
		o = touch(masks[i], tprot_cc, address);
		equal("condition code", o.out.gr[1], 0);
	}
}

/* MVCLE and MVCL over three blocks, the middle one discarded: what was done is done. */
static void a_long_move_stops_at_the_discarded_block(void)
{
	static const u8 *const codes[] = { mvcle_target, mvcl_target, mvcle_source, mvcl_source };
	static const u64 masks[] = { REAL, DAT };
	u64 block = (u64)pages[BAD];

	for (u64 i = 0; i < ARRAY_SIZE(codes); i++) {
		for (u64 j = 0; j < ARRAY_SIZE(masks); j++) {
			int first = masks[j] == DAT ? BAD + 1 : BAD - 1;
			u64 address = address_of(masks[j], first);
			/* r2 and r4 swap their roles in the code by its name */
			struct regs in = { .gr = { [2] = address, [3] = 3 * PAGE,
						   [4] = (u64)pages[GOOD], [5] = 3 * PAGE } };
			struct outcome o;

			fill(pages[BAD - 1], 0x11 + i, 3 * PAGE);
			fill(pages[GOOD], 0x77 + i, 3 * PAGE);
			make_discarded(block);
			o = run(masks[j], codes[i], &in);
			equal("interruption", o.code, DISCARDED);
			equal("absolute address", o.teid, block);
			equal("PSW at the instruction", o.psw_addr, (u64)codes[i]);
			equal("address and length", o.out.gr[2] + o.out.gr[3], address + 3 * PAGE);
			equal("in step", o.out.gr[3], o.out.gr[5]);
			equal("not into the block", o.out.gr[2] <= address + PAGE, 1);
			equal("block after unchanged",
			      filled(pages[2 * BAD - first], 0x11 + i, PAGE), 1);
			essa(SET_STABLE, block);
			o = run(masks[j], codes[i], &o.out);
			equal("retry completes", o.code, NONE);
			if (i < 2) {
				equal("moved", filled(pages[BAD - 1], 0x77 + i, 3 * PAGE), 1);
			} else {
				equal("moved", filled(pages[GOOD], 0x11 + i, PAGE), 1);
				equal("zeros", filled(pages[GOOD + 1], 0, PAGE), 1);
				equal("moved", filled(pages[GOOD + 2], 0x11 + i, PAGE), 1);
			}
		}
	}
}

/* Whole blocks; the condition-code option is for invalid translations only. */
INSN(move_page_from, "mvpg %r4,%r2");
INSN(move_page_to, "mvpg %r2,%r4");

static void move_page(void)
{
	static const u8 *const codes[] = { move_page_from, move_page_to };
	static const u64 masks[] = { REAL, DAT }, options[] = { 0, 0x100 };
	u64 block = (u64)pages[BAD];

	for (int i = 0; i < 8; i++) {
		const u8 *code = codes[i & 1];
		u64 mask = masks[i >> 1 & 1];
		struct regs in = { .gr = { [0] = options[i >> 2], [2] = address_of(mask, BAD),
					   [4] = (u64)pages[GOOD] } };
		struct outcome o = run(mask, code, &in);

		equal("while stable", o.code, NONE);
		make_discarded(block);
		fill(pages[GOOD], 0x33, PAGE);
		o = run(mask, code, &in);
		discard_fault(&o, (u64)code, block);
		equal("good block unchanged", filled(pages[GOOD], 0x33, PAGE), 1);
		essa(SET_STABLE, block);
		o = run(mask, code, &o.out);
		equal("retry completes", o.code, NONE);
		equal("moved", same(pages[BAD], pages[GOOD], PAGE), 1);
	}
}

INSN(store_system_information, "stsi 0(%r2)");

static void store_system_information_into_a_discarded_block(void)
{
	struct regs in = { .gr = { [0] = 0x10000001, [1] = 1, [2] = (u64)pages[BAD] } };
	struct outcome o;

	make_discarded((u64)pages[BAD]);
	o = run(REAL, store_system_information, &in);
	discard_fault(&o, (u64)store_system_information, (u64)pages[BAD]);
	essa(SET_STABLE, (u64)pages[BAD]);
	o = run(REAL, store_system_information, &o.out);
	equal("retry completes", o.code, NONE);
	equal("stored", filled(pages[BAD], 0, PAGE), 0);
}

static void retry_reads_zeros(void)
{
	u64 block = (u64)pages[BAD];
	struct outcome o;

	fill(pages[BAD], 0x5a, PAGE);
	make_discarded(block);
	o = touch(REAL, load, block);
	discard_fault(&o, (u64)load, block);
	essa(SET_STABLE, block);
	o.out.gr[1] = -1UL;
	o = run(REAL, load, &o.out);
	equal("completes", o.code, NONE);
	equal("zeros", o.out.gr[1], 0);
}

static void in_24_and_31_bit_mode_too(void)
{
	static const u64 masks[] = { AM24, AM31 };
	u64 block = (u64)pages[BAD];

	for (u64 i = 0; i < ARRAY_SIZE(masks); i++) {
		struct outcome o;

		fill(pages[BAD], 0x5a, PAGE);
		make_discarded(block);
		o = touch(masks[i], load, block | 0xffffffff80000000);
		equal("interruption", o.code, DISCARDED);
		equal("absolute address", o.teid, block);
		essa(SET_STABLE, block);
	}
}

/* LRA translates and touches nothing: a handler may resolve its operand by it. */
INSN(load_real_address, "lra %r1,0(%r2)");

static void load_real_address_of_a_discarded_block_translates(void)
{
	u64 block = (u64)pages[BAD];
	struct outcome o;

	make_discarded(block);
	o = touch(DAT, load_real_address, dat_address(BAD) + 0x18);
	equal("completes", o.code, NONE);
	equal("real address", o.out.gr[1], block + 0x18);
	allowed("still discarded", essa(GET, block), ANY(Vz));
	essa(SET_STABLE, block);
}

static void both_operands_discarded_fault_one_after_the_other(void)
{
	u64 block = (u64)pages[BAD], good = (u64)pages[GOOD];
	u64 first;
	struct outcome o;

	make_discarded(block);
	make_discarded(good);
	o = touch(DAT, mvc_source, dat_address(BAD));
	first = o.teid;
	equal("interruption", o.code, DISCARDED);
	equal("one of them", first == block || first == good, 1);
	essa(SET_STABLE, first);
	o = run(DAT, mvc_source, &o.out);
	equal("interruption", o.code, DISCARDED);
	equal("the other", o.teid, first == block ? good : block);
	essa(SET_STABLE, o.teid);
	o = run(DAT, mvc_source, &o.out);
	equal("completes", o.code, NONE);
}

static void neighbours_of_a_discarded_block_stay(void)
{
	fill(pages[BAD - 1], 0x5a, 3 * PAGE);
	make_discarded((u64)pages[BAD]);
	equal("before", filled(pages[BAD - 1], 0x5a, PAGE), 1);
	equal("after", filled(pages[BAD + 1], 0x5a, PAGE), 1);
	essa(SET_STABLE, (u64)pages[BAD]);
}

/* A loop in one piece: it turns its own operand volatile and touches it. */
INSN(volatile_then_load, ".insn rrf,0xb9ab0000,%r1,%r2,3,0\n\tlg %r1,0(%r2)");

static void the_instruction_after_essa_sees_its_effect(void)
{
	struct outcome o;

	fill(pages[BAD], 0x5a, PAGE);
	o = touch(REAL, volatile_then_load, (u64)pages[BAD]);
	discard_fault(&o, (u64)volatile_then_load + 4, (u64)pages[BAD]);
	essa(SET_STABLE, (u64)pages[BAD]);
}

void test_access(void)
{
	if (mode & GONE_ON_REQUEST) {
		if (mode & ALWAYS)
			vectors_on();
		accesses_to_a_discarded_block("real_", REAL, 0);
		accesses_to_a_discarded_block("translated_", DAT, 0);
		accesses_to_a_discarded_block("real_crossing_", REAL, 1);
		accesses_to_a_discarded_block("translated_crossing_", DAT, 1);
	}
	TEST(ALWAYS, all_accesses_in_24_bit_mode);
	TEST(ALWAYS, all_accesses_in_31_bit_mode);
	TEST(ALWAYS, all_accesses_translated_in_31_bit_mode);
	TEST(GONE_ON_REQUEST, fetch_real);
	TEST(GONE_ON_REQUEST, fetch_translated);
	TEST(GONE_ON_REQUEST, fetch_in_24_bit_mode);
	TEST(GONE_ON_REQUEST, fetch_translated_in_31_bit_mode);
	TEST(GONE_ON_REQUEST, fetch_across_blocks_real);
	TEST(GONE_ON_REQUEST, fetch_across_blocks_translated);
	TEST(GONE_ON_REQUEST, branch_into_a_discarded_block);
	TEST(GONE_ON_REQUEST, target_of_execute);
	TEST(GONE_ON_REQUEST, target_of_execute_relative_long);
	TEST(GONE_ON_REQUEST, target_of_execute_across_blocks);
	TEST(GONE_ON_REQUEST, operand_of_an_executed_instruction);
	TEST(GONE_ON_REQUEST, prefetch_and_load_to_boundary_do_not_touch);
	TEST(ALWAYS, test_protection_of_a_discarded_block_is_an_access);
	TEST(GONE_ON_REQUEST, a_long_move_stops_at_the_discarded_block);
	TEST(GONE_ON_REQUEST, move_page);
	TEST(GONE_ON_REQUEST, store_system_information_into_a_discarded_block);
	TEST(GONE_ON_REQUEST, retry_reads_zeros);
	TEST(GONE_ON_REQUEST, in_24_and_31_bit_mode_too);
	TEST(GONE_ON_REQUEST, an_operand_that_wraps_in_24_bit_mode);
	TEST(GONE_ON_REQUEST, load_real_address_of_a_discarded_block_translates);
	TEST(GONE_ON_REQUEST, both_operands_discarded_fault_one_after_the_other);
	TEST(GONE_ON_REQUEST, neighbours_of_a_discarded_block_stay);
	TEST(ALWAYS, the_instruction_after_essa_sees_its_effect);
}
