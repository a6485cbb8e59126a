// SPDX-License-Identifier: GPL-2.0
/* States of a block, and what each operation makes of them. */

#include "bare.h"

static u64 page(void)
{
	return (u64)pages[0];
}

/*
 * What every operation makes of every state, as sets.  "Resident" rows are for
 * a host that discards nothing of its own accord.  Sz becomes Sr by an access
 * only, or by operation 5, which brings the block in.
 */
struct row { int from; u32 to[8]; };

static const struct row resident_rows[] = {
	/*	GET      1        2        3        4        5        6        7 */
	{ Sr, { ANY(Sr), ANY(Sr), ANY(Ur), ANY(Vr), ANY(Pr), ANY(Sr), ANY(Sr), ANY(Sr) } },
	{ Ur, { ANY(Ur), ANY(Sr), ANY(Ur), ANY(Vr), ANY(Pr), ANY(Sr), ANY(Sr), ANY(Sr) } },
	{ Vr, { ANY(Vr), ANY(Sr), ANY(Ur), ANY(Vr), ANY(Pr), ANY(Sr), ANY(Sr), ANY(Sr) } },
	{ Pr, { ANY(Pr), ANY(Sr), ANY(Ur), ANY(Vr), ANY(Pr), ANY(Sr), ANY(Sr), ANY(Sr) } },
};

static const struct row zero_rows[] = {
	{ Sz, { ANY(Sz), ANY(Sz), ANY(Uz), ANY(Vz), ANY(Vz), ANY(Sr), ANY(Sz), ANY(Sz) } },
	{ Uz, { ANY(Uz), ANY(Sz), ANY(Uz), ANY(Vz), ANY(Vz), ANY(Sr), ANY(Uz), ANY(Sz) } },
	{ Vz, { ANY(Vz), ANY(Sz), ANY(Uz), ANY(Vz), ANY(Vz), ANY(Sr), ANY(Vz), ANY(Sz) } },
};

/* Brings the test block into one of the states above. */
static void enter(int state)
{
	static const u8 usage_op[16] = { [Sr] = SET_STABLE, [Ur] = SET_UNUSED,
					 [Vr] = SET_VOLATILE, [Pr] = SET_POTENTIAL };

	essa(SET_STABLE, page());
	fill(pages[0], 0x5a, PAGE);
	if ((state & 3) == 3)
		make_discarded(page());
	essa(usage_op[state & USAGE], page());
	allowed("state to start from", essa(GET, page()), ANY(state));
}

static void transitions(const struct row *rows, int nrows)
{
	int operations = mode & (NODAT_ABSENT | ON_KVM) ? 7 : 8;

	for (int i = 0; i < nrows; i++) {
		for (int op = 0; op < operations; op++) {
			int from = rows[i].from;
			u32 to = rows[i].to[op];

			/* KVM leaves it to the next access. */
			if ((mode & REAL_KVM) && op == SET_STABLE_RESIDENT && (from & 3))
				to = ANY(Sz);
			enter(from);
			equal("old state", essa(op, page()), from);
			allowed(op == GET ? "get" : "new state", essa(GET, page()) & ~NODAT,
				to);
			if (failed())
				say("# operation %lu on state 0x%lx\n", (u64)op, (u64)from);
			essa(SET_STABLE, page());
		}
	}
}

static void resident_blocks_change_their_usage(void)
{
	transitions(resident_rows, ARRAY_SIZE(resident_rows));
}

static void zero_blocks_change_their_usage(void)
{
	transitions(zero_rows, ARRAY_SIZE(zero_rows));
}

static void all_blocks_are_stable_at_start(void)
{
	for (u64 at = 0; at < ram_size(); at += PAGE)
		allowed("block", essa(GET, at), ANY(Sr) | ANY(Sp) | ANY(Sz));
}

static void usage_keeps_the_content_of_a_resident_block(void)
{
	static const u8 there[] = { SET_VOLATILE, SET_POTENTIAL };
	static const u8 back[] = { SET_STABLE, SET_STABLE_RESIDENT, SET_STABLE_IF_RESIDENT };

	for (u64 i = 0; i < ARRAY_SIZE(there); i++) {
		for (u64 j = 0; j < ARRAY_SIZE(back); j++) {
			fill(pages[0], 0x11 + i + j, PAGE);
			essa(there[i], page());
			equal("content kept", filled(pages[0], 0x11 + i + j, PAGE), 1);
			fill(pages[0], 0x77, PAGE);	/* a store is no discard either */
			essa(back[j], page());
			equal("content kept", filled(pages[0], 0x77, PAGE), 1);
		}
	}
}

static void first_access_makes_a_stable_zero_block_resident(void)
{
	enter(Sz);
	equal("reads as zeros", filled(pages[0], 0, PAGE), 1);
	equal("state", essa(GET, page()), Sr);
	enter(Sz);
	pages[0][17] = 1;
	equal("state", essa(GET, page()), Sr);
	equal("stored", pages[0][17], 1);
}

static void set_stable_of_a_discarded_block_gives_zeros(void)
{
	static const u8 operations[] = { SET_STABLE, SET_STABLE_RESIDENT };

	for (u64 i = 0; i < ARRAY_SIZE(operations); i++) {
		enter(Vz);
		essa(operations[i], page());
		equal("reads as zeros", filled(pages[0], 0, PAGE), 1);
	}
}

static void an_unused_zero_block_reads_as_zeros(void)
{
	enter(Uz);
	equal("reads as zeros", filled(pages[0], 0, PAGE), 1);
	essa(SET_STABLE, page());
}

static void set_stable_no_dat_marks_and_set_stable_clears(void)
{
	fill(pages[0], 1, PAGE);
	equal("old state", essa(SET_STABLE_NODAT, page()), Sr);
	equal("marked", essa(GET, page()), Sr | NODAT);
	equal("old state", essa(SET_STABLE_NODAT, page()), Sr | NODAT);
	equal("neighbour", essa(GET, page() + PAGE) & NODAT, 0);
	equal("old state", essa(SET_STABLE, page()), Sr | NODAT);
	equal("cleared", essa(GET, page()), Sr);
	equal("content kept", filled(pages[0], 1, PAGE), 1);
}

static void set_stable_no_dat_makes_any_usage_stable(void)
{
	static const u8 usage_ops[] = { SET_UNUSED, SET_VOLATILE, SET_POTENTIAL };

	for (u64 i = 0; i < ARRAY_SIZE(usage_ops); i++) {
		essa(SET_STABLE, page());
		essa(usage_ops[i], page());
		essa(SET_STABLE_NODAT, page());
		equal("state", essa(GET, page()) & (USAGE | NODAT), NODAT);
	}
	essa(SET_STABLE, page());
}

void test_states(void)
{
	TEST(~0, all_blocks_are_stable_at_start);
	TEST(PLAIN | NODAT_ABSENT | STRICT | STRICT_ALL | ON_KVM, resident_blocks_change_their_usage);
	TEST(GONE_ON_REQUEST, zero_blocks_change_their_usage);
	TEST(PLAIN | ON_KVM, usage_keeps_the_content_of_a_resident_block);
	TEST(GONE_ON_REQUEST, first_access_makes_a_stable_zero_block_resident);
	TEST(GONE_ON_REQUEST, set_stable_of_a_discarded_block_gives_zeros);
	TEST(GONE_ON_REQUEST, an_unused_zero_block_reads_as_zeros);
	TEST(PLAIN | ALWAYS, set_stable_no_dat_marks_and_set_stable_clears);
	TEST(PLAIN | ALWAYS, set_stable_no_dat_makes_any_usage_stable);
}
