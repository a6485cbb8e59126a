// SPDX-License-Identifier: GPL-2.0
/* Discards that come from outside: the runner obeys lines that begin with "@@". */

#include "bare.h"

static u64 page(int i)
{
	return (u64)pages[i];
}

/* Asks, and waits until the block shows that it is gone. */
static void host_discards(const char *what, u64 block)
{
	u64 limit = tod_ms() + 20000;

	say("@@discard %s\n", what);
	while ((essa(GET, block) & 3) == 0) {
		if (tod_ms() > limit) {
			equal("the host discards within 20 s", 0, 1);
			return;
		}
	}
}

static void the_host_takes_volatile_blocks(void)
{
	u64 address = dat_address(BAD);
	struct outcome o;

	fill(pages[0], 0x5a, NPAGES * PAGE);
	essa(SET_VOLATILE, page(BAD));
	essa(SET_VOLATILE, page(BAD + 3));
	equal("not gone yet", touch(REAL, load, page(BAD)).code, NONE);
	equal("not gone yet", touch(DAT, load, address).code, NONE);
	host_discards("volatile", page(BAD));
	o = touch(REAL, load, page(BAD));
	discard_fault(&o, (u64)load, page(BAD));
	o = touch(DAT, store, address);
	discard_fault(&o, (u64)store, page(BAD));
	allowed("the other one", essa(GET, page(BAD + 3)), ANY(Vz));
	equal("stable blocks stay", filled(pages[BAD + 1], 0x5a, 2 * PAGE), 1);
	equal("stable blocks stay", filled(pages[0], 0x5a, BAD * PAGE), 1);
	essa(SET_STABLE, page(BAD));
	essa(SET_STABLE, page(BAD + 3));
	equal("zeros", filled(pages[BAD], 0, PAGE), 1);
	equal("zeros", filled(pages[BAD + 3], 0, PAGE), 1);
}

static void the_host_takes_a_block_of_code(void)
{
	static const u64 masks[] = { REAL, DAT };

	for (u64 i = 0; i < ARRAY_SIZE(masks); i++) {
		u64 code = address_of(masks[i], BAD);
		struct outcome o;

		write_code(pages[BAD]);
		code_runs(masks[i], code);
		essa(SET_VOLATILE, page(BAD));
		code_runs(masks[i], code);
		host_discards("volatile", page(BAD));
		o = run(masks[i], (void *)code, &(struct regs){});
		discard_fault(&o, code, page(BAD));
		essa(SET_STABLE, page(BAD));
		o = run(masks[i], (void *)code, &(struct regs){});
		equal("zeros are no instruction", o.code, OPERATION);
	}
}

/* The host discards all the time.  It must not do so after it said that a block stays. */
static void a_block_made_stable_stays_while_the_host_discards(void)
{
	u64 lost = 0, stayed = 0, gone = 0, limit = tod_ms() + 10000;

	say("@@discards\n");
	for (int n = 1; tod_ms() < limit; n++) {
		bool stays[NPAGES];

		for (int i = 0; i < NPAGES; i++) {
			essa(SET_STABLE, page(i));
			fill(pages[i], (n + i) % 256, 16);
			essa(SET_VOLATILE, page(i));
		}
		for (volatile int i = 0; i < n % 64 * 8; i++)
			;
		for (int i = 0; i < NPAGES; i++)
			stays[i] = !(essa(SET_STABLE_IF_RESIDENT, page(i)) & 3);
		/* Whoever was about to discard one has done so by then. */
		for (volatile int i = 0; i < n % 2 * 4000; i++)
			;
		for (int i = 0; i < NPAGES; i++) {
			stayed += stays[i];
			gone += !stays[i];
			lost += stays[i] && (touch(REAL, load, page(i)).code != NONE ||
					     !filled(pages[i], (n + i) % 256, 16));
		}
	}
	host("enough");
	for (int i = 0; i < NPAGES; i++)
		essa(SET_STABLE, page(i));
	equal("lost", lost, 0);
	equal("both happened", stayed > 1000 && gone > 50, 1);
	say("# %lu stayed, %lu were gone\n", stayed, gone);
}

static int count_gone(void)
{
	int gone = 0;

	for (int i = 0; i < 8; i++)
		gone += essa(GET, page(i)) == Vz;
	return gone;
}

static void the_host_takes_as_many_as_asked_for(void)
{
	int gone = 0;

	fill(pages[0], 0x5a, NPAGES * PAGE);
	for (int i = 0; i < 8; i++)
		essa(SET_VOLATILE, page(i));
	/* Which ones is the host's choice; it takes them while no CPU runs. */
	say("@@discard volatile 3\n");
	for (u64 limit = tod_ms() + 20000; !gone && tod_ms() < limit; )
		gone = count_gone();
	gone = count_gone();
	equal("gone", gone, 3);
	for (int i = 0; i < 8; i++)
		essa(SET_STABLE, page(i));
}

static void take_unused_block(void)
{
	fill(pages[BAD], 0x5a, PAGE);
	essa(SET_UNUSED, page(BAD));
	host_discards("unused", page(BAD));
	allowed("gone", essa(GET, page(BAD)), ANY(Uz));
}

static void the_host_takes_unused_blocks(void)
{
	take_unused_block();
	essa(SET_STABLE, page(BAD));
	allowed("zero", essa(GET, page(BAD)), ANY(Sz));
	equal("content is gone", filled(pages[BAD], 0, PAGE), 1);
	allowed("resident", essa(GET, page(BAD)), ANY(Sr));
}

static void a_discarded_unused_block_reads_as_zeros(void)
{
	take_unused_block();
	equal("zeros", filled(pages[BAD], 0, PAGE), 1);
	essa(SET_STABLE, page(BAD));
}

static void both_refused(void)
{
	equal("load", touch(REAL, load, page(BAD)).code, ADDRESSING);
	equal("store", touch(REAL, store, page(BAD)).code, ADDRESSING);
	equal("translated load", touch(DAT, load, dat_address(BAD)).code, ADDRESSING);
	equal("translated store", touch(DAT, store, dat_address(BAD)).code, ADDRESSING);
	equal("fetch", touch(REAL, pages[BAD], 0).code, ADDRESSING);
}

static void strict_refuses_a_discarded_unused_block(void)
{
	equal("while stable", touch(DAT, load, dat_address(BAD)).code, NONE);
	take_unused_block();
	both_refused();
	essa(SET_STABLE, page(BAD));
	equal("stable again", touch(DAT, load, dat_address(BAD)).code, NONE);
}

static void strict_accepts_a_resident_unused_block(void)
{
	fill(pages[BAD], 0x5a, PAGE);
	essa(SET_UNUSED, page(BAD));
	equal("load", touch(REAL, load, page(BAD)).code, NONE);
	essa(SET_STABLE, page(BAD));
}

static void strict_all_refuses_any_unused_block(void)
{
	for (int i = 0; i < 100; i++) {
		write_code(pages[BAD]);
		code_runs(REAL, page(BAD));
		equal("while stable", touch(DAT, load, dat_address(BAD)).code, NONE);
		essa(SET_UNUSED, page(BAD));
		both_refused();
		essa(SET_STABLE, page(BAD));
		equal("stable again", touch(DAT, load, dat_address(BAD)).code, NONE);
	}
}

void test_host(void)
{
	TEST(PLAIN | REAL_KVM, the_host_takes_volatile_blocks);
	TEST(PLAIN | REAL_KVM, the_host_takes_a_block_of_code);
	TEST(REAL_KVM, a_block_made_stable_stays_while_the_host_discards);
	TEST(PLAIN, the_host_takes_as_many_as_asked_for);
	TEST(PLAIN | STRICT | STRICT_ALL, the_host_takes_unused_blocks);
	TEST(PLAIN, a_discarded_unused_block_reads_as_zeros);
	TEST(STRICT | STRICT_ALL, strict_refuses_a_discarded_unused_block);
	TEST(STRICT, strict_accepts_a_resident_unused_block);
	TEST(STRICT_ALL, strict_all_refuses_any_unused_block);
}
