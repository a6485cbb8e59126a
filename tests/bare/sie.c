// SPDX-License-Identifier: GPL-2.0
/*
 * A guest in SIE, and what its host sees of it: ESSA, and storage that the host
 * protects.  No Linux on either side.  Runs in Hercules.
 *
 * The guest has 1 MiB, mapped page by page, with a PGSTE for each page.  It runs
 * one instruction; the next one is SIE, which always is intercepted.
 */

#include "bare.h"

int mode = 1;		/* there is only one */

#define GUEST_CODE	0x2000
#define SUBJECT		0x5000		/* the page that is operated on */
#define INVALID		0x400UL
#define PROTECT		0x200UL
#define LOCK		(1UL << 55)
#define GUEST_CHANGED	(1UL << 49)
#define ZERO		(1UL << 31)
#define IN_PGSTE(state)	((u64)((state) & USAGE) << 22)
#define INTERCEPTED	4		/* the interception codes: an instruction */
#define INTERRUPTED	8		/* a program interruption of the guest */
#define CBRL_FULL	0xff8

struct control {
	u8 pad0[2], modes, pad3[0x50 - 0x3];
	u8 code, pad51[5];
	u16 instruction;
	u8 pad58[0x62 - 0x58], ecb2, pad63;
	u32 scao;
	u8 pad68[0x88 - 0x68];
	u64 extent, psw[2], gr14, gr15;
	u8 padb0[0xce - 0xb0];
	u16 interruption;
	u8 padd0[0x1b8 - 0xd0];
	u64 cbrlo;
	u8 pad1c0[0x200 - 0x1c0];
};

#define CMMA		0x80

static struct control control __attribute__((aligned(512)));
static u64 segments[2048] __attribute__((aligned(4 * PAGE)));
static struct { u64 pte[256], pgste[256]; } table __attribute__((aligned(PAGE)));
static u8 storage[16][PAGE] __attribute__((aligned(PAGE)));
static u64 released[512] __attribute__((aligned(PAGE)));

INSN(start_guest, ".insn s,0xb2140000,0(%r15)");

static u64 *pte(u64 address)
{
	return &table.pte[address / PAGE];
}

static u64 *pgste(u64 address)
{
	return &table.pgste[address / PAGE];
}

static void guest_init(void)
{
	u64 asce = (u64)segments | 3;

	fill(&control, 0, sizeof(control));
	fill(storage, 0, sizeof(storage));
	for (u64 i = 0; i < ARRAY_SIZE(segments); i++)
		segments[i] = 0x20;
	segments[0] = (u64)&table;
	for (u64 i = 0; i < 256; i++) {
		table.pte[i] = i < ARRAY_SIZE(storage) ? (u64)storage[i] : INVALID;
		table.pgste[i] = 0;
	}
	control.modes = 8;		/* z/Architecture */
	control.cbrlo = (u64)released;
	asm volatile("lctlg %%c1,%%c1,%0\n\tptlb" : : "Q" (asce) : "memory");
}

/* Let the guest do one instruction; the registers are in and out. */
static struct outcome guest(const void *code, u64 gr1, u64 gr2)
{
	struct regs in = { .gr[1] = gr1, .gr[2] = gr2, .gr[15] = (u64)&control };
	u8 *at = storage[GUEST_CODE / PAGE];

	copy(at, code, 4);
	copy(at + 4, start_guest, 4);
	control.psw[0] = REAL;
	control.psw[1] = GUEST_CODE;
	control.code = 0;
	return run(REAL, start_guest, &in);
}

static u16 guest_interruption(void)
{
	return control.code == INTERRUPTED ? control.interruption : NONE;
}

extern const u8 essa_slots[16][8];

/* ESSA in the guest, that is interpreted; the result is what it gives. */
static u64 guest_essa(int operation, u64 address)
{
	struct outcome o = guest(essa_slots[operation], -1UL, address);

	equal("host interruption", o.code, NONE);
	equal("interception", control.code, INTERCEPTED);
	equal("of the instruction after ESSA", control.instruction, 0xb214);
	equal("guest interruption", guest_interruption(), NONE);
	return o.out.gr[1];
}

/* A page with these states, and what ESSA makes of it. */
static void essa_makes(int operation, bool resident, u64 before, u64 answer, u64 after,
		       bool released_now)
{
	control.cbrlo = (u64)released;
	*pte(SUBJECT) = (u64)storage[SUBJECT / PAGE] | (resident ? 0 : INVALID);
	*pgste(SUBJECT) = before;
	asm volatile("ptlb" : : : "memory");
	equal("answer", guest_essa(operation, SUBJECT), answer);
	equal("PGSTE", *pgste(SUBJECT), after);
	equal("entries of the block release list", control.cbrlo - (u64)released,
	      released_now ? 8 : 0);
	if (released_now)
		equal("block on the list", released[0], SUBJECT);
}

static void essa_is_no_instruction_of_the_host(void)
{
	equal("interruption", essa_outcome(REAL, GET, SUBJECT).code, OPERATION);
}

static void essa_is_intercepted_without_cmma(void)
{
	struct outcome o;

	guest_init();
	o = guest(essa_slots[SET_UNUSED], -1UL, SUBJECT);
	equal("host interruption", o.code, NONE);
	equal("interception", control.code, INTERCEPTED);
	equal("instruction", control.instruction, 0xb9ab);
	equal("R1", o.out.gr[1], -1UL);
	equal("PGSTE", *pgste(SUBJECT), 0);
}

static void essa_is_interpreted_for_resident_blocks(void)
{
	guest_init();
	control.ecb2 = CMMA;
	for (int old = 0; old <= 0xc; old += 4) {
		u64 before = IN_PGSTE(old) | GUEST_CHANGED;

		essa_makes(GET, 1, before, old, before, 0);
		essa_makes(SET_STABLE, 1, before, old, IN_PGSTE(Sr) | GUEST_CHANGED, 0);
		essa_makes(SET_UNUSED, 1, before, old, IN_PGSTE(Ur) | GUEST_CHANGED, 0);
		essa_makes(SET_VOLATILE, 1, before, old, IN_PGSTE(Vr) | GUEST_CHANGED, 0);
		essa_makes(SET_POTENTIAL, 1, before, old, IN_PGSTE(Pr) | GUEST_CHANGED, 0);
		essa_makes(SET_STABLE_IF_RESIDENT, 1, before, old,
			   IN_PGSTE(Sr) | GUEST_CHANGED, 0);
	}
}

static void essa_discards_what_is_paged_out(void)
{
	guest_init();
	control.ecb2 = CMMA;
	essa_makes(GET, 0, 0, Sp, 0, 0);
	essa_makes(SET_STABLE, 0, IN_PGSTE(Vr), Vr | 2, 0, 0);
	essa_makes(SET_UNUSED, 0, 0, Sp, IN_PGSTE(Ur) | ZERO, 1);
	essa_makes(SET_VOLATILE, 0, 0, Sp, IN_PGSTE(Vr) | ZERO, 1);
	essa_makes(SET_POTENTIAL, 0, 0, Sp, IN_PGSTE(Vr) | ZERO, 1);
	essa_makes(SET_POTENTIAL, 0, GUEST_CHANGED, Sp, GUEST_CHANGED, 0);
	essa_makes(SET_POTENTIAL, 0, GUEST_CHANGED | ZERO, Sz,
		   IN_PGSTE(Vr) | GUEST_CHANGED | ZERO, 0);
}

static void essa_leaves_a_discarded_block_alone(void)
{
	u64 discarded = IN_PGSTE(Vr) | ZERO;

	guest_init();
	control.ecb2 = CMMA;
	essa_makes(GET, 0, discarded, Vz, discarded, 0);
	essa_makes(SET_STABLE_IF_RESIDENT, 0, discarded, Vz, discarded, 0);
	essa_makes(SET_STABLE, 0, discarded, Vz, ZERO, 0);
}

static void essa_is_intercepted_when_the_list_is_full(void)
{
	struct outcome o;

	guest_init();
	control.ecb2 = CMMA;
	control.cbrlo = (u64)released + CBRL_FULL;
	o = guest(essa_slots[SET_UNUSED], -1UL, SUBJECT);
	equal("interception", control.code, INTERCEPTED);
	equal("instruction", control.instruction, 0xb9ab);
	equal("R1", o.out.gr[1], -1UL);
	equal("PGSTE", *pgste(SUBJECT), 0);
	equal("offset", control.cbrlo, (u64)released + CBRL_FULL);
}

static void essa_needs_a_page_table(void)
{
	struct outcome o;

	guest_init();
	control.ecb2 = CMMA;
	control.extent = 1 << 20;
	o = guest(essa_slots[GET], -1UL, 1 << 20);
	equal("host interruption", o.code, 0x10);
	equal("address", o.teid & -PAGE, 1 << 20);
	equal("the guest is at the instruction", control.psw[1], GUEST_CODE);
}

static void essa_errors_are_the_guests(void)
{
	guest_init();
	control.ecb2 = CMMA;
	guest(essa_slots[8], -1UL, SUBJECT);
	equal("no such operation", guest_interruption(), SPECIFICATION);
	guest(essa_slots[GET], -1UL, 2 << 20);
	equal("no such block", guest_interruption(), ADDRESSING);
}

INSN(guest_store, "st %r1,0(%r2)");
INSN(guest_load, "l %r1,0(%r2)");

static void host_protection_is_the_hosts(void)
{
	struct outcome o;
	u32 *word = (u32 *)storage[SUBJECT / PAGE];

	guest_init();
	*pte(SUBJECT) |= PROTECT;
	asm volatile("ptlb" : : : "memory");
	/* A load first, so that there is a TLB entry. */
	o = guest(guest_load, 1, SUBJECT);
	equal("load: host interruption", o.code, NONE);
	o = guest(guest_store, 0x12345678, SUBJECT);
	equal("host interruption", o.code, PROTECTION);
	equal("address and kind", o.teid & ~0x3UL & ~0xf8UL, SUBJECT | 4);
	equal("the guest is at the store", control.psw[1], GUEST_CODE);
	equal("nothing is stored", *word, 0);
	*pte(SUBJECT) &= ~PROTECT;
	asm volatile("ptlb" : : : "memory");
	o = guest(guest_store, 0x12345678, SUBJECT);
	equal("then: host interruption", o.code, NONE);
	equal("it is stored", *word, 0x12345678);
}

static void host_protection_comes_before_the_key(void)
{
	struct outcome o;

	guest_init();
	*pte(SUBJECT) |= PROTECT;
	asm volatile("ptlb" : : : "memory");
	set_key((u64)storage[SUBJECT / PAGE], 0x50);
	o = guest(guest_store, 1, SUBJECT);
	set_key((u64)storage[SUBJECT / PAGE], 0);
	equal("host interruption", o.code, PROTECTION);
	equal("guest interruption", guest_interruption(), NONE);
}

INSN(guest_ipte, ".insn rre,0xb2210000,%r1,%r2");

/* The page with the guest's page table is one that the host protects, or has not. */
static void ipte_that_the_host_ends_leaves_no_lock_behind(void)
{
	static const u64 bits[] = { PROTECT, INVALID };
	static const u16 codes[] = { PROTECTION, NOT_MAPPED };
	static u8 sca[PAGE] __attribute__((aligned(PAGE)));
	volatile u64 *entry = (u64 *)storage[SUBJECT / PAGE];

	for (u64 i = 0; i < ARRAY_SIZE(bits); i++) {
		struct outcome o;

		guest_init();
		control.scao = (u64)sca;
		*pte(SUBJECT) |= bits[i];
		asm volatile("ptlb" : : : "memory");
		o = guest(guest_ipte, SUBJECT, 0);
		equal("host interruption", o.code, codes[i]);
		equal("the guest is at IPTE", control.psw[1], GUEST_CODE);
		equal("lock", sca[0], 0);
		equal("nothing is stored", *entry, 0);
		*pte(SUBJECT) &= ~bits[i];
		asm volatile("ptlb" : : : "memory");
		o = guest(guest_ipte, SUBJECT, 0);
		equal("then: host interruption", o.code, NONE);
		equal("interception", control.instruction, 0xb214);
		equal("it is stored", *entry, INVALID);
		equal("lock", sca[0], 0);
	}
}

void main(void)
{
	lowcore_init(lowcore());
	TEST(1, essa_is_no_instruction_of_the_host);
	TEST(1, essa_is_intercepted_without_cmma);
	TEST(1, essa_is_interpreted_for_resident_blocks);
	TEST(1, essa_discards_what_is_paged_out);
	TEST(1, essa_leaves_a_discarded_block_alone);
	TEST(1, essa_is_intercepted_when_the_list_is_full);
	TEST(1, essa_needs_a_page_table);
	TEST(1, essa_errors_are_the_guests);
	TEST(1, host_protection_is_the_hosts);
	TEST(1, host_protection_comes_before_the_key);
	TEST(1, ipte_that_the_host_ends_leaves_no_lock_behind);
	load_psw(DISABLED_WAIT, test_totals() ? 0xbad : 0xfff);
}
