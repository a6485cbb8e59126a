// SPDX-License-Identifier: GPL-2.0
/* Enhanced DAT: many keys by one SSKE, and PFMF. */

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

void test_edat(void)
{
	TEST(PLAIN, one_sske_sets_keys_up_to_the_next_mib);
	TEST(PLAIN, one_sske_without_the_control_sets_one_key);
	TEST(PLAIN, pfmf_clears_and_sets_the_key_of_a_block);
	TEST(PLAIN, pfmf_clears_and_sets_keys_up_to_the_next_mib);
	TEST(PLAIN, pfmf_leaves_alone_what_it_is_not_told_to_change);
	TEST(PLAIN, pfmf_of_a_block_takes_a_real_address);
	TEST(PLAIN, pfmf_refuses);
	TEST(ALWAYS, pfmf_of_a_discarded_block_is_nullified);
}
