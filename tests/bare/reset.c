// SPDX-License-Identifier: GPL-2.0
/*
 * What a reset does to states.  Here are three kinds: normal (diagnose 308 code 1)
 * clears no-DAT only; clear (code 0) and clear with an IPL (code 3, or "system
 * reset" from outside) make every block stable.  A subsystem reset is a part of each of
 * them, and no order of its own: what it does to states is what the normal one does.
 * KVM makes every block stable by all of them.
 */

#include "bare.h"

enum { MODIFIED_CLEAR = 0, LOAD_NORMAL = 1, LOAD_CLEAR = 3 };

/*
 * Blocks that the image does not cover: an IPL loads that again.  The program starts
 * anew after an IPL and finds here what it did before.
 */
#define FAR	0x2000000UL
#define MAGIC	0x7061676568766121UL
struct memory {
	u64 magic;
	u64 boots;
	u64 seen[3][8];			/* per boot: states after the reset */
};

static struct memory *memory(void)
{
	u64 at = FAR;

	asm("" : "+d" (at));
	return (void *)at;
}

static u64 block(int i)
{
	return FAR + (1 + i) * PAGE;
}

/* One block per state: an operation, what the host does then, an operation, the state. */
static const struct kind { u8 op[2], state; } none_kinds[8] = {
	{ { SET_STABLE }, Sr },
	{ { SET_STABLE_NODAT }, Sr | NODAT },
	{ { SET_UNUSED }, Ur },
	{ { SET_POTENTIAL }, Pr },
	{ { SET_VOLATILE, GET }, Vz },		/* volatile when the host discards */
	{ { SET_VOLATILE, SET_STABLE_NODAT }, Sz | NODAT },
	{ { SET_VOLATILE, SET_UNUSED }, Uz },
	{ { GET, SET_VOLATILE }, Vr },
};

/* Where the host is KVM, it swaps out all of them. */
static const struct kind kvm_kinds[8] = {
	{ { SET_STABLE }, Sp },
	{ { SET_STABLE_NODAT }, Sp | NODAT },
	{ { SET_UNUSED }, Ur | 2 },
	{ { SET_POTENTIAL }, Pr | 2 },
	{ { SET_VOLATILE }, Vr | 2 },
	{ { SET_VOLATILE, SET_VOLATILE }, Vz },
	{ { SET_VOLATILE, SET_UNUSED }, Uz },
	{ { GET, SET_POTENTIAL }, Vz },
};

static const struct kind *kinds;

static void enter_all(void)
{
	for (int i = 0; i < 8; i++) {
		essa(SET_STABLE, block(i));
		fill((void *)block(i), 0x50 + i, PAGE);
		if (kinds[i].op[0])
			essa(kinds[i].op[0], block(i));
	}
	host(mode & KVM ? "discard evict" : "discard volatile");
	for (int i = 0; i < 8; i++) {
		if (kinds[i].op[1])
			essa(kinds[i].op[1], block(i));
		equal("before", essa(GET, block(i)), kinds[i].state);
	}
}

/* After a clear reset, what was in which block is nobody's business. */
static void all_stable(const u64 *seen)
{
	for (int i = 0; i < 8; i++) {
		equal("usage, no-DAT", seen[i] & (USAGE | NODAT), 0);
		if (failed())
			say("# state before: 0x%lx\n", (u64)kinds[i].state);
	}
}

static void get_all(u64 *seen)
{
	for (int i = 0; i < 8; i++)
		seen[i] = essa(GET, block(i));
}

static void stable_content_is_kept(void)
{
	equal("stable block", filled((void *)block(0), 0x50, PAGE), 1);
	equal("block that was no-DAT", filled((void *)block(1), 0x51, PAGE), 1);
}

static void leave_all(void)
{
	for (int i = 0; i < 8; i++)
		essa(SET_STABLE, block(i));
}

static void normal_reset_clears_no_dat_only(void)
{
	u64 seen[8];
	struct outcome o;

	enter_all();
	diag308_reset(LOAD_NORMAL);
	get_all(seen);
	for (int i = 0; i < 8; i++)
		equal("state", seen[i], kinds[i].state & ~NODAT);
	o = touch(REAL, load, block(4));
	discard_fault(&o, (u64)load, block(4));
	stable_content_is_kept();
	equal("volatile block", filled((void *)block(7), 0x57, PAGE), 1);
	leave_all();
}

static void reset_makes_all_blocks_stable(int subcode)
{
	u64 seen[8];

	enter_all();
	diag308_reset(subcode);
	get_all(seen);
	all_stable(seen);
	equal("was discarded", touch(REAL, load, block(6)).code, NONE);
	equal("zeros", filled((void *)block(6), 0, PAGE), 1);
	stable_content_is_kept();
	leave_all();
}

static void modified_clear_reset_makes_all_blocks_stable(void)
{
	reset_makes_all_blocks_stable(MODIFIED_CLEAR);
}

static void normal_reset_makes_all_blocks_stable_too(void)
{
	reset_makes_all_blocks_stable(LOAD_NORMAL);
}

static void before_an_ipl(void)
{
	enter_all();
	equal("block volatility", touch(REAL, load, block(4)).code,
	      mode & KVM ? NONE : DISCARDED);
}

static void system_reset_by_the_operator_makes_all_blocks_stable(void)
{
	all_stable(memory()->seen[1]);
}

static void load_clear_reset_makes_all_blocks_stable(void)
{
	all_stable(memory()->seen[2]);
}

/* After an IPL every one of them must be usable, whatever it was. */
static void blocks_are_usable_after_an_ipl(void)
{
	for (int i = 0; i < 8; i++) {
		fill((void *)block(i), i, PAGE);
		equal("content", filled((void *)block(i), i, PAGE), 1);
		equal("resident", essa(GET, block(i)), Sr);
	}
}

/* Starts three times; the last boot prints all results. */
void test_reset(void)
{
	struct memory *m = memory();

	kinds = mode & KVM ? kvm_kinds : none_kinds;
	if (m->magic != MAGIC) {
		fill(m, 0, sizeof(*m));
		m->magic = MAGIC;
	} else {
		get_all(m->seen[++m->boots]);
	}
	if (m->boots < 2) {
		before_an_ipl();
		if (!m->boots) {
			say("@@reset\n");
			for (u64 limit = tod_ms() + 20000; tod_ms() < limit; )
				;
			say("Bail out! no reset within 20 s\n");
		} else {
			diag308_reset(LOAD_CLEAR);
		}
	}
	TEST(RESET, system_reset_by_the_operator_makes_all_blocks_stable);
	TEST(RESET, load_clear_reset_makes_all_blocks_stable);
	TEST(RESET, blocks_are_usable_after_an_ipl);
	TEST(RESET, modified_clear_reset_makes_all_blocks_stable);
	if (mode & KVM)
		TEST(RESET, normal_reset_makes_all_blocks_stable_too);
	else
		TEST(RESET, normal_reset_clears_no_dat_only);
}
