// SPDX-License-Identifier: GPL-2.0
/*
 * Policy "kvm": what Linux KVM makes of ESSA.
 *
 * The model is pgste_perform_essa() in arch/s390/mm/pgtable.c of Linux, with the states
 * that its caller reports: a block is not resident when the host's page table entry is
 * invalid, because it is swapped out or merely old.
 */

#include "bare.h"

#define FAR	0x2000000UL
#define OPS	8
#define CONTENT(i)	(1 + (i) % 200)

enum kind { PRESENT, OLD, SWAPPED };

struct model {
	u8 usage;
	bool invalid, zero, nodat;
	bool lost;			/* no longer what was written */
};

static u64 far(int i)
{
	return FAR + i * PAGE;
}

static u64 reported(const struct model *m)
{
	return m->usage | (m->invalid ? 2 : 0) | (m->invalid && m->zero ? 1 : 0) |
	       (m->nodat ? NODAT : 0);
}

/* No block is changed: the guest has no keys. */
static void perform_essa(struct model *m, int op, enum kind kind)
{
	bool discard = 0;

	switch (op) {
	case SET_STABLE:
		m->usage = Sr;
		m->nodat = 0;
		break;
	case SET_UNUSED:
	case SET_VOLATILE:
		m->usage = op == SET_UNUSED ? Ur : Vr;
		discard = m->invalid;
		break;
	case SET_POTENTIAL:
		m->usage = m->invalid ? Vr : Pr;
		discard = m->invalid && !m->zero;
		break;
	case SET_STABLE_RESIDENT:
		m->usage = Sr;
		break;
	case SET_STABLE_IF_RESIDENT:
		if (!m->invalid)
			m->usage = Sr;
		break;
	case SET_STABLE_NODAT:
		m->usage = Sr;
		m->nodat = 1;
		break;
	}
	if (discard) {
		m->zero = 1;
		m->lost |= kind == SWAPPED;
	}
}

/* Every usage, then every operation, then every operation again: one block for each. */
static const u8 usages[] = { SET_STABLE, SET_UNUSED, SET_VOLATILE, SET_POTENTIAL };
static struct model models[4 * OPS * OPS];

static void follow_the_model(enum kind kind)
{
	int n = ARRAY_SIZE(models);

	/* Paging in makes the page table entries new. */
	for (int i = 0; i < n; i++) {
		essa(SET_STABLE, far(i));
		fill((void *)far(i), CONTENT(i), PAGE);
	}
	host("discard evict");
	for (int i = 0; i < n; i++) {
		int op = usages[i / (OPS * OPS)];

		models[i] = (struct model){};
		fill((void *)far(i), CONTENT(i), PAGE);
		equal("present", essa(GET, far(i)), Sr);
		essa(op, far(i));
		perform_essa(&models[i], op, PRESENT);
		models[i].invalid = kind != PRESENT;
		models[i].lost = kind == SWAPPED && op == SET_UNUSED;
	}
	if (kind != PRESENT)
		host(kind == OLD ? "discard age" : "discard evict");
	for (int i = 0; i < n; i++) {
		struct model *m = &models[i];
		int first = i / OPS % OPS, second = i % OPS;
		u64 before = reported(m);
		struct outcome o;

		equal("state by the host", essa(GET, far(i)), before);
		equal("old state", essa(first, far(i)), before);
		perform_essa(m, first, kind);
		before = reported(m);
		equal("new state", essa(GET, far(i)), before);
		equal("old state", essa(second, far(i)), before);
		perform_essa(m, second, kind);
		equal("new state", essa(GET, far(i)), reported(m));

		/* Any access, whatever the state is */
		o = touch(i & 1 ? REAL : DAT, load, far(i));
		equal("interruption", o.code, NONE);
		equal("content", o.out.gr[1], m->lost ? 0 : 0x0101010101010101 * CONTENT(i));
		equal("all of it", filled((void *)far(i), m->lost ? 0 : CONTENT(i), PAGE), 1);
		m->invalid = 0;
		equal("usage stays", essa(GET, far(i)), reported(m));
		if (failed()) {
			say("# usage by %lu, then operations %lu and %lu\n",
			    (u64)usages[i / (OPS * OPS)], (u64)first, (u64)second);
			break;
		}
	}
	for (int i = 0; i < n; i++)
		essa(SET_STABLE, far(i));
}

static void operations_on_present_blocks(void)
{
	follow_the_model(PRESENT);
}

static void operations_on_old_blocks(void)
{
	follow_the_model(OLD);
}

static void operations_on_swapped_out_blocks(void)
{
	follow_the_model(SWAPPED);
}

/* The story that facts about KVM are about, in words of its own. */
static void volatile_loses_data_without_an_interruption(void)
{
	essa(SET_STABLE, far(0));
	fill((void *)far(0), 0x5a, PAGE);
	host("discard evict");
	equal("swapped out", essa(SET_VOLATILE, far(0)), Sp);
	equal("marked zero", essa(GET, far(0)), Vz);
	equal("not made stable", essa(SET_STABLE_IF_RESIDENT, far(0)), Vz);
	equal("still volatile", essa(GET, far(0)), Vz);
	equal("no interruption", touch(DAT, load, far(0)).code, NONE);
	equal("zeros", filled((void *)far(0), 0, PAGE), 1);
	equal("resident", essa(SET_STABLE, far(0)), Vr);
}

static void volatile_and_swapped_out_is_not_lost(void)
{
	essa(SET_STABLE, far(0));
	fill((void *)far(0), 0x5a, PAGE);
	essa(SET_VOLATILE, far(0));
	host("discard evict");
	equal("volatile, preserved", essa(SET_STABLE_IF_RESIDENT, far(0)), Vr | 2);
	equal("refused", essa(GET, far(0)), Vr | 2);
	equal("content intact", filled((void *)far(0), 0x5a, PAGE), 1);
	essa(SET_STABLE, far(0));
}

static void an_old_block_is_not_resident(void)
{
	essa(SET_STABLE, far(0));
	fill((void *)far(0), 0x5a, PAGE);
	essa(SET_VOLATILE, far(0));
	host("discard age");
	equal("old", essa(SET_STABLE_IF_RESIDENT, far(0)), Vr | 2);
	equal("refused", essa(GET, far(0)), Vr | 2);
	essa(SET_VOLATILE, far(0));
	equal("marked zero", essa(GET, far(0)), Vz);
	equal("content intact all the same", filled((void *)far(0), 0x5a, PAGE), 1);
	equal("resident", essa(SET_STABLE, far(0)), Vr);
}

static void set_stable_resident_does_not_make_resident(void)
{
	essa(SET_STABLE, far(0));
	fill((void *)far(0), 0x5a, PAGE);
	host("discard evict");
	essa(SET_STABLE_RESIDENT, far(0));
	equal("still out", essa(GET, far(0)), Sp);
	equal("content intact", filled((void *)far(0), 0x5a, PAGE), 1);
}

static void code_in_any_state_runs(void)
{
	static const u8 operations[] = { SET_VOLATILE, SET_UNUSED, SET_POTENTIAL };

	for (u64 i = 0; i < ARRAY_SIZE(operations); i++) {
		essa(SET_STABLE, far(0));
		write_code((void *)far(0));
		essa(operations[i], far(0));
		code_runs(DAT, far(0));
		host("discard age");
		code_runs(REAL, far(0));
		code_runs(DAT, far(0));
	}
	essa(SET_STABLE, far(0));
}

static volatile bool stop;
static volatile u64 wrong, count1;

static void use_blocks_on_cpu1(void)
{
	while (!stop) {
		for (int i = 0; i < 64; i++) {
			volatile u64 *at = (u64 *)far(i);

			wrong += at[3] != count1;
			at[3] = count1 + 1;
		}
		count1++;
	}
}

static void both_cpus_while_blocks_are_aged_and_evicted(void)
{
	wrong = count1 = stop = 0;
	for (int i = 0; i < 64; i++) {
		essa(SET_STABLE, far(i));
		fill((void *)far(i), 0, PAGE);
		if (i % 2)
			essa(SET_VOLATILE, far(i));
	}
	cpu1_run(use_blocks_on_cpu1);
	for (int i = 0; i < 20; i++) {
		host(i % 3 ? "discard age" : "discard evict");
		for (int j = 0; j < 64; j++)
			essa(GET, far(j));
	}
	stop = 1;
	cpu1_wait();
	equal("wrong words", wrong, 0);
	equal("it ran", count1 > 20, 1);
	for (int i = 0; i < 64; i++)
		essa(SET_STABLE, far(i));
}

/* With storage keys: a block that is out and was changed cannot be thrown away. */
static void a_changed_block_that_is_out_is_not_taken(void)
{
	for (int i = 0; i < 2; i++) {
		essa(SET_STABLE, far(i));
		fill((void *)far(i), 0x5a, PAGE);
		set_key(far(i), i ? KEY_CHANGED : 0);
	}
	host("discard evict");
	essa(SET_POTENTIAL, far(0));
	essa(SET_POTENTIAL, far(1));
	equal("not changed", essa(GET, far(0)), Vz);
	equal("changed", essa(GET, far(1)), Sp);
	essa(SET_STABLE, far(0));
	equal("content lost", filled((void *)far(0), 0, PAGE), 1);
	equal("content intact", filled((void *)far(1), 0x5a, PAGE), 1);
}

void test_kvm(void)
{
	if (!(mode & KVM))
		return;
	TEST(~0, operations_on_present_blocks);
	TEST(~0, operations_on_old_blocks);
	TEST(~0, operations_on_swapped_out_blocks);
	TEST(~0, volatile_loses_data_without_an_interruption);
	TEST(~0, volatile_and_swapped_out_is_not_lost);
	TEST(~0, an_old_block_is_not_resident);
	TEST(~0, set_stable_resident_does_not_make_resident);
	TEST(~0, code_in_any_state_runs);
	TEST(~0, cpu1_init);
	TEST(~0, both_cpus_while_blocks_are_aged_and_evicted);
	cpu1_stop();
	TEST(~0, a_changed_block_that_is_out_is_not_taken);
}
