// SPDX-License-Identifier: GPL-2.0
/* Enhanced DAT: large pages, many keys by one SSKE, and PFMF. */

#include "bare.h"

#define MB		(1UL << 20)
#define KEY		0x50
#define OTHER		0x30
#define SET_KEY		0x20000
#define CLEAR		0x10000
#define LARGE		0x01000

INSN(sske_multiple, ".insn rrf,0xb22b0000,%r1,%r2,1,0");
INSN(sske_single, ".insn rrf,0xb22b0000,%r1,%r2,0,0");
INSN(pfmf, ".insn rre,0xb9af0000,%r1,%r2");

/* Two MiB that nobody uses. */
static u64 area(void)
{
	return ram_size() - 4 * MB;
}

static struct outcome manage(u64 psw_mask, const u8 *code, u64 control, u64 at)
{
	struct regs in = { .gr = { [1] = control, [2] = at } };

	return run(psw_mask, code, &in);
}

static void keys_are(const char *what, u64 from, u64 to, int key)
{
	for (u64 at = from; at < to && !failed(); at += PAGE)
		equal(what, get_key(at) & 0xf8, key);
}

static void other_keys(void)
{
	for (u64 at = area(); at < area() + 2 * MB; at += PAGE)
		set_key(at, OTHER);
}

static void one_sske_sets_keys_up_to_the_next_mib(void)
{
	u64 from = area() + 250 * PAGE;
	struct outcome o;

	other_keys();
	o = manage(REAL, sske_multiple, KEY, from + 0x123);
	equal("interruption", o.code, NONE);
	equal("next address", o.out.gr[2], area() + MB + 0x123);
	keys_are("key before it", area(), from, OTHER);
	keys_are("key", from, area() + MB, KEY);
	keys_are("key behind it", area() + MB, area() + 2 * MB, OTHER);
}

static void one_sske_without_the_control_sets_one_key(void)
{
	struct outcome o;

	other_keys();
	o = manage(REAL, sske_single, KEY, area());
	equal("address", o.out.gr[2], area());
	keys_are("key", area(), area() + PAGE, KEY);
	keys_are("key behind it", area() + PAGE, area() + 2 * MB, OTHER);
}

static void pfmf_clears_and_sets_the_key_of_a_block(void)
{
	u64 at = area() + 5 * PAGE;
	struct outcome o;

	other_keys();
	fill((void *)area(), 0x11, 2 * MB);
	o = manage(REAL, pfmf, CLEAR | SET_KEY | KEY, at + 0x123);
	equal("interruption", o.code, NONE);
	equal("address", o.out.gr[2], at + 0x123);
	equal("it is clear", filled((void *)at, 0, PAGE), 1);
	equal("before it", filled((void *)(at - PAGE), 0x11, PAGE), 1);
	equal("behind it", filled((void *)(at + PAGE), 0x11, PAGE), 1);
	equal("key", get_key(at) & 0xf8, KEY);
	equal("key behind it", get_key(at + PAGE) & 0xf8, OTHER);
}

static void pfmf_clears_and_sets_keys_up_to_the_next_mib(void)
{
	u64 from = area() + 100 * PAGE;
	struct outcome o;

	other_keys();
	fill((void *)area(), 0x11, 2 * MB);
	o = manage(REAL, pfmf, CLEAR | SET_KEY | LARGE | KEY, from);
	equal("interruption", o.code, NONE);
	equal("next address", o.out.gr[2], area() + MB);
	equal("it is clear", filled((void *)from, 0, area() + MB - from), 1);
	equal("before it", filled((void *)area(), 0x11, from - area()), 1);
	equal("behind it", filled((void *)(area() + MB), 0x11, MB), 1);
	keys_are("key before it", area(), from, OTHER);
	keys_are("key", from, area() + MB, KEY);
	keys_are("key behind it", area() + MB, area() + 2 * MB, OTHER);
}

static void pfmf_leaves_alone_what_it_is_not_told_to_change(void)
{
	other_keys();
	fill((void *)area(), 0x11, PAGE);
	manage(REAL, pfmf, SET_KEY | KEY, area());
	equal("content", filled((void *)area(), 0x11, PAGE), 1);
	equal("key", get_key(area()) & 0xf8, KEY);
	manage(REAL, pfmf, CLEAR | OTHER, area());
	equal("content", filled((void *)area(), 0, PAGE), 1);
	equal("key", get_key(area()) & 0xf8, KEY);
}

/* Block 0 is where the prefix is, and the other way round. */
static void pfmf_of_a_block_takes_a_real_address(void)
{
	struct lowcore *lc = lowcore();
	u8 *reserved = (u8 *)lc + PAGE;

	fill(reserved, 0x11, 8);
	manage(REAL, pfmf, CLEAR, PAGE);
	equal("second page of the prefix area", filled(reserved, 0, 8), 1);
}

static void pfmf_refuses(void)
{
	static const u64 bad[] = { 1, 0x100, 0x800, 0x2000, 0x7000, 0x40000, 0x80000000 };

	for (unsigned int i = 0; i < ARRAY_SIZE(bad); i++)
		equal("reserved", manage(REAL, pfmf, bad[i], area()).code, SPECIFICATION);
	equal("outside", manage(REAL, pfmf, CLEAR, ram_size()).code, ADDRESSING);
	equal("outside", manage(REAL, sske_multiple, KEY, ram_size()).code, ADDRESSING);
	equal("problem state", manage(PROBLEM, pfmf, CLEAR, area()).code, PRIVILEGED);
}

static void pfmf_of_a_discarded_block_is_nullified(void)
{
	struct outcome o;

	make_discarded(area());
	o = manage(REAL, pfmf, CLEAR, area());
	equal("interruption", o.code, DISCARDED);
	equal("block", o.teid & ~(PAGE - 1), area());
	equal("instruction", o.psw_addr, (u64)pfmf);
	o = manage(REAL, pfmf, CLEAR | LARGE, area() - 2 * PAGE);
	equal("the MiB before", o.code, NONE);
	o = manage(REAL, pfmf, CLEAR | LARGE, area());
	equal("interruption", o.code, DISCARDED);
	equal("address", o.out.gr[2], area());
	essa(SET_STABLE, area());
}

/* Large pages: what the entry of the segment table says is an absolute address. */

#define FORMAT		0x400		/* bits of the entry */
#define PROTECTED	0x200
#define ACCF_VALID	0x10000
#define ACC_3		0x3000
#define LARGE_ZERO	0x20000000UL	/* maps the MiB with absolute 0 */
#define LARGE_AREA	0x20100000UL	/* maps the MiB with the prefix area */
#define SMALL_ONE	(WINDOW + 0x50 * PAGE)	/* maps real block 1 */

INSN(protection_of, "tprot 0(%r2),0\n\tipm %r1\n\tsrl %r1,28");
INSN(wait_until_set, "0: lg %r1,0(%r2)\n\tltgr %r1,%r1\n\tjz 0b");

static void enhanced_dat(bool on)
{
	u64 control;

	asm volatile("stctg %%c0,%%c0,%0" : "=Q" (control));
	control = on ? control | 0x800000 : control & ~0x800000UL;
	asm volatile("lctlg %%c0,%%c0,%0" : : "Q" (control) : "memory");
}

static void map_large(u64 bits)
{
	enhanced_dat(1);
	dat_set_segment(LARGE_ZERO, FORMAT | bits);
	dat_set_segment(LARGE_AREA, area() | FORMAT | bits);
}

static void unmap_large(void)
{
	dat_set_segment(LARGE_ZERO, 0x20);
	dat_set_segment(LARGE_AREA, 0x20);
	enhanced_dat(0);
}

/* The prefix area is at the start of ours; the second blocks are told apart. */
static void prefix_in_the_area(void)
{
	copy((void *)area(), lowcore(), 2 * PAGE);
	fill((u8 *)lowcore() + PAGE, 0x5a, PAGE);
	fill((void *)(area() + PAGE), 0xa5, PAGE);
	dat_map(SMALL_ONE, PAGE);
	map_large(0);
	set_prefix_to(area());
}

static void no_prefix(void)
{
	set_prefix_to(0);
	unmap_large();
}

static void facility_8_is_what_it_says(void)
{
	u64 list;
	register u64 last asm("0") = 0;

	asm volatile("stfle %0" : "=Q" (list), "+d" (last) : : "cc");
	equal("bit 8", list >> (63 - 8) & 1, 1);
}

static void a_large_page_is_not_prefixed(void)
{
	struct outcome zero, moved, small;

	prefix_in_the_area();
	zero = touch(DAT, load, LARGE_ZERO + PAGE);
	moved = touch(DAT, load, LARGE_AREA + PAGE);
	small = touch(DAT, load, SMALL_ONE);
	no_prefix();
	equal("absolute block 1", zero.out.gr[1], 0x5a5a5a5a5a5a5a5a);
	equal("block of the prefix area", moved.out.gr[1], 0xa5a5a5a5a5a5a5a5);
	equal("real block 1 of a small page", small.out.gr[1], 0xa5a5a5a5a5a5a5a5);
}

static void a_store_into_a_large_page_is_not_prefixed(void)
{
	struct regs in = { .gr = { [2] = LARGE_ZERO + PAGE + 8, [3] = 0x11 } };

	prefix_in_the_area();
	run(DAT, store, &in);
	in.gr[2] = LARGE_AREA + PAGE + 8;
	in.gr[3] = 0x22;
	run(DAT, store, &in);
	no_prefix();
	equal("absolute block 1", ((u64 *)lowcore())[PAGE / 8 + 1], 0x11);
	equal("block of the prefix area", *(u64 *)(area() + PAGE + 8), 0x22);
}

static void a_fetch_from_a_large_page_is_not_prefixed(void)
{
	struct outcome zero, moved;

	prefix_in_the_area();
	set_prefix_to(0);
	write_code((u8 *)lowcore() + PAGE);
	fill((void *)(area() + PAGE), 0, 8);	/* no instruction */
	set_prefix_to(area());
	zero = run(DAT, (void *)(LARGE_ZERO + PAGE), &(struct regs){});
	moved = run(DAT, (void *)(LARGE_AREA + PAGE), &(struct regs){});
	no_prefix();
	equal("absolute block 1", zero.code, NONE);
	equal("its code ran", zero.out.gr[1], 42);
	equal("block of the prefix area", moved.code, OPERATION);
}

/* STSI does not use a TLB in QEMU. */
static void system_information_in_a_large_page_is_not_prefixed(void)
{
	struct regs in = { .gr = { [0] = 0x10000001, [1] = 1, [2] = LARGE_ZERO + PAGE } };

	prefix_in_the_area();
	run(DAT, store_system_information, &in);
	no_prefix();
	equal("absolute block 1", filled((u8 *)lowcore() + PAGE, 0x5a, PAGE), 0);
	equal("block of the prefix area", filled((void *)(area() + PAGE), 0xa5, PAGE), 1);
}

static void load_real_address_of_a_large_page_is_the_absolute_address(void)
{
	struct outcome zero, moved, small;

	prefix_in_the_area();
	zero = run(DAT, load_real_address, &(struct regs){ .gr[2] = LARGE_ZERO + PAGE + 8 });
	moved = run(DAT, load_real_address, &(struct regs){ .gr[2] = LARGE_AREA + PAGE + 8 });
	small = run(DAT, load_real_address, &(struct regs){ .gr[2] = SMALL_ONE + 8 });
	no_prefix();
	equal("absolute block 1", zero.out.gr[1], PAGE + 8);
	equal("block of the prefix area", moved.out.gr[1], area() + PAGE + 8);
	equal("real block 1 of a small page", small.out.gr[1], PAGE + 8);
}

/* The monitor translates as a debugger does, while this CPU waits with DAT on. */
static void a_debugger_does_not_prefix_a_large_page(void)
{
	struct regs in = { .gr[2] = (u64)&lowcore()->restarted };

	prefix_in_the_area();
	lowcore()->restarted = 0;
	say("@@translates 0x%lx 0x%lx\n@@translates 0x%lx 0x%lx\n@@translates 0x%lx 0x%lx\n"
	    "@@done\n", LARGE_ZERO + PAGE, PAGE, LARGE_AREA + PAGE, area() + PAGE,
	    SMALL_ONE, area() + PAGE);
	run(DAT, wait_until_set, &in);
	no_prefix();
}

static void a_discarded_block_of_a_large_page_is_named_by_its_absolute_address(void)
{
	struct outcome before, zero, moved, small;

	prefix_in_the_area();
	before = touch(DAT, load, LARGE_ZERO + PAGE);
	make_discarded(PAGE);
	zero = touch(DAT, load, LARGE_ZERO + PAGE);
	small = touch(DAT, load, SMALL_ONE);
	essa(SET_STABLE, PAGE);
	touch(DAT, load, LARGE_AREA + PAGE);
	make_discarded(area() + PAGE);
	moved = touch(DAT, load, LARGE_AREA + PAGE);
	essa(SET_STABLE, area() + PAGE);
	no_prefix();
	equal("before", before.out.gr[1], 0x5a5a5a5a5a5a5a5a);
	discard_fault(&zero, (u64)load, PAGE);
	equal("real block 1 of a small page", small.code, NONE);
	discard_fault(&moved, (u64)load, area() + PAGE);
}

static void protection_of_a_large_page(void)
{
	map_large(PROTECTED);
	equal("load", touch(DAT, load, LARGE_AREA).code, NONE);
	equal("store", touch(DAT, store, LARGE_AREA).code, PROTECTION);
	equal("TPROT", touch(DAT, protection_of, LARGE_AREA).out.gr[1], 1);
	map_large(0);
	equal("store", touch(DAT, store, LARGE_AREA).code, NONE);
	equal("TPROT", touch(DAT, protection_of, LARGE_AREA).out.gr[1], 0);
	unmap_large();
}

static void protection_of_a_region(void)
{
	dat_load_region(PROTECTED);
	equal("store without EDAT", touch(DAT, store, area()).code, NONE);
	enhanced_dat(1);
	equal("store", touch(DAT, store, area()).code, PROTECTION);
	equal("load", touch(DAT, load, area()).code, NONE);
	dat_load_region(0);
	equal("store into a region without it", touch(DAT, store, area()).code, NONE);
	dat_load();
	enhanced_dat(0);
}

static void without_the_control_every_segment_has_a_page_table(void)
{
	fill(pages[GOOD], 0x77, PAGE);
	dat_set_segment(LARGE_ZERO, dat_segment(WINDOW) | FORMAT);
	equal("a small page",
	      touch(DAT, load, LARGE_ZERO + dat_address(GOOD) - WINDOW).out.gr[1],
	      0x7777777777777777);
	unmap_large();
}

/* Whatever the entry says of keys: each block has its own record. */
static void accesses_to_a_large_page_are_recorded(u64 bits)
{
	map_large(bits);
	set_key(area(), 0x10);
	set_key(area() + PAGE, 0x20);
	set_key(area() + 2 * PAGE, 0x30);
	touch(DAT, load, LARGE_AREA + PAGE);
	touch(DAT, store, LARGE_AREA + 2 * PAGE);
	equal("neither", get_key(area()), 0x10);
	equal("referenced", get_key(area() + PAGE), 0x24);
	equal("changed", get_key(area() + 2 * PAGE), 0x36);
	touch(DAT, store, LARGE_AREA + PAGE);
	equal("changed after a load", get_key(area() + PAGE), 0x26);
	unmap_large();
}

static void each_block_of_a_large_page_records_its_accesses(void)
{
	accesses_to_a_large_page_are_recorded(0);
	accesses_to_a_large_page_are_recorded(ACCF_VALID | ACC_3);
}

void test_edat(void)
{
	TEST(PLAIN, facility_8_is_what_it_says);
	TEST(PLAIN, a_large_page_is_not_prefixed);
	TEST(PLAIN, a_store_into_a_large_page_is_not_prefixed);
	TEST(PLAIN, a_fetch_from_a_large_page_is_not_prefixed);
	TEST(PLAIN, system_information_in_a_large_page_is_not_prefixed);
	TEST(PLAIN, load_real_address_of_a_large_page_is_the_absolute_address);
	TEST(PLAIN, a_debugger_does_not_prefix_a_large_page);
	TEST(ALWAYS, a_discarded_block_of_a_large_page_is_named_by_its_absolute_address);
	TEST(PLAIN, protection_of_a_large_page);
	TEST(PLAIN, protection_of_a_region);
	TEST(PLAIN, without_the_control_every_segment_has_a_page_table);
	TEST(PLAIN, each_block_of_a_large_page_records_its_accesses);
	TEST(PLAIN, one_sske_sets_keys_up_to_the_next_mib);
	TEST(PLAIN, one_sske_without_the_control_sets_one_key);
	TEST(PLAIN, pfmf_clears_and_sets_the_key_of_a_block);
	TEST(PLAIN, pfmf_clears_and_sets_keys_up_to_the_next_mib);
	TEST(PLAIN, pfmf_leaves_alone_what_it_is_not_told_to_change);
	TEST(PLAIN, pfmf_of_a_block_takes_a_real_address);
	TEST(PLAIN, pfmf_refuses);
	TEST(GONE_ON_REQUEST, pfmf_of_a_discarded_block_is_nullified);
}
