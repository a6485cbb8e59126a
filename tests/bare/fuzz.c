// SPDX-License-Identifier: GPL-2.0
/*
 * A hostile guest: random ESSA, storage keys, accesses, prefixes, SIGP, resets, PFMF and
 * channel programs on all CPUs, while tests/fuzz-host takes blocks.
 *
 * Each CPU has blocks that only it uses, and a model of them: the states that the host can
 * have made of each, its bytes, and its storage key.  Every answer that the model knows is
 * compared.  Some more blocks are used by all CPUs at once; of these only what is never
 * allowed is noticed.
 *
 * The work comes in rounds.  What a CPU does in one depends on the seed, the round and the
 * CPU; only how the CPUs and the host meet in time is different each time.
 */

#include "bare.h"

#define MB		(1UL << 20)
#define MAX_CPUS	4
#define OPERATIONS	60		/* of each CPU in a round */
#define OWN		22		/* blocks of a CPU, at the end of a MiB */
#define BLOCKS		(OWN + 2)	/* and the second ones of its two prefix areas */
#define OWN_AT		0x1000000UL
#define SHARED		0x1800000UL	/* tests/fuzz-host knows this address */
#define NSHARED		8
#define DEVICE_MEMORY	(1UL << 30)	/* where QEMU puts it */
#define DEVICE_BYTES	(8 * MB)
#define WINDOWS		(WINDOW + 64 * MB)

#define VOLATILE_ZERO	ANY(Vz)
#define ZEROS		(ANY(Sz) | ANY(Uz) | ANY(Vz))
#define UNUSED		(ANY(Ur) | ANY(Uz))
#define STATES		(ANY(Sr) | ANY(Sp) | ANY(Sz) | UNUSED | ANY(Pr) | ANY(Vr) | ANY(Vz))
#define KEY_REFERENCED	4
enum { NO, YES, UNKNOWN };

struct block {
	u64 abs;
	u32 set;		/* the states that it can have had at the last look */
	bool nodat;
	bool written;		/* by a device or CPU that asks for no translation */
	bool known;		/* shadow is what it holds */
	bool maybe_zero;	/* ... or it holds zeros */
	u8 key, referenced, changed;
	u64 *shadow;
};

/* What a CPU did last, for whoever reads of a failure. */
struct note {
	const char *what;
	u64 block, more;
	u32 set;
};

struct cpu {
	u64 id, random, prefix, area[2];
	u64 round;		/* done */
	u64 operation;
	struct block block[BLOCKS];
	struct note note[16];
	u64 nnotes;
	u8 *buffer;		/* a page of its own */
	u64 faults, essas, checks;
	bool called;		/* an external call is pending, as nobody takes it */
	u64 count[24];
};

static struct cpu cpus[MAX_CPUS];
static struct lowcore home[MAX_CPUS] __attribute__((aligned(2 * PAGE)));
static struct lowcore other[MAX_CPUS] __attribute__((aligned(2 * PAGE)));
static u8 stacks[MAX_CPUS][4 * PAGE] __attribute__((aligned(8)));
static u8 buffers[MAX_CPUS][2 * PAGE] __attribute__((aligned(PAGE)));
static u64 shadows[MAX_CPUS][BLOCKS][PAGE / 8];

/* The command line: "fuzz NAME=NUMBER..." */
static u64 seed, ncpus, page_file, strict, always, guest_discard, migrates, devices;
int mode;

static volatile u32 say_lock, sigp_lock;

/* Locks and the end */

static bool try_lock(volatile u32 *lock)
{
	return __sync_bool_compare_and_swap(lock, 0, 1);
}

static void unlock(volatile u32 *lock)
{
	barrier();
	*lock = 0;
}

static void __attribute__((noreturn)) wrong(struct cpu *c, const char *what,
					    const struct block *b, u64 got, u64 want)
{
	u64 limit = tod_ms() + 2000;

	/* Whoever has it may be stopped. */
	while (!try_lock(&say_lock) && tod_ms() < limit)
		;
	say("@@wrong cpu %lu round %lu operation %lu: %s: 0x%lx, not 0x%lx; block 0x%lx\n",
	    c->id, c->round, c->operation, what, got, want, b ? b->abs : 0);
	for (u64 i = c->nnotes > 16 ? c->nnotes - 16 : 0; i < c->nnotes; i++) {
		struct note *n = &c->note[i % 16];

		say("@@note %s block 0x%lx (0x%lx) states 0x%lx\n", n->what, n->block, n->more,
		    (u64)n->set);
	}
	say("@@end\n");
	load_psw(DISABLED_WAIT, 0xbad);
}

static void note(struct cpu *c, const char *what, const struct block *b, u64 more)
{
	c->note[c->nnotes++ % 16] = (struct note){ what, b ? b->abs : 0, more, b ? b->set : 0 };
}

static u64 mix(u64 x)
{
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9UL;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebUL;
	return x ^ (x >> 31);
}

static u64 draw(struct cpu *c, u64 n)
{
	return mix(c->random += 0x9e3779b97f4a7c15UL) % n;
}

static void words(u64 *to, const u64 *from, u64 value, u64 count)
{
	for (u64 i = 0; i < count; i++)
		((volatile u64 *)to)[i] = from ? from[i] : value;
}

/* The model */

static bool in_prefix_area(const struct cpu *c, const struct block *b)
{
	return (b->abs & -(2 * PAGE)) == c->prefix;
}

/* An interruption counts as a write to all of the area, so the bit may be set. */
static u8 changed(const struct cpu *c, const struct block *b)
{
	return in_prefix_area(c, b) ? UNKNOWN : b->changed;
}

/* A zero block, unless something has written to it that the model can not follow. */
static void is_zero(struct block *b)
{
	words(b->shadow, 0, 0, PAGE / 8);
	b->known = !b->written;
	b->maybe_zero = 0;
}

/* All that the host can have made of it since. */
static u32 states(const struct cpu *c, const struct block *b)
{
	u32 set = b->set;

	if (set & ANY(Pr)) {
		set |= changed(c, b) != YES ? ANY(Vz) : 0;
		set |= changed(c, b) != NO && page_file ? ANY(Sp) : 0;
	}
	if (b->written || in_prefix_area(c, b))
		set |= set & (ANY(Sz) | ANY(Sp)) ? ANY(Sr) : 0;
	if (migrates && (set & ANY(Sp)))
		set |= ANY(Sr);		/* content comes with the memory */
	if ((set & ANY(Sr)) && page_file)
		set |= ANY(Sp);
	if (set & ANY(Vr))
		set |= ANY(Vz);
	if (set & ANY(Ur))
		set |= ANY(Uz);
	return set;
}

/* The host has told the state: there is only this one. */
static void is_in(struct block *b, u64 state)
{
	b->set = ANY(state);
	if (state & 2) {
		if ((state & 3) == 3)
			is_zero(b);
	} else {
		b->written = 0;
	}
}

/* What the operation makes of the state; more: or one of these. */
static u64 operation(u64 s, int op, u8 changed, u32 *more)
{
	static const u8 usage[] = { 0, Sr, Ur, Vr, Pr, Sr, Sr, Sr };
	bool resident = !(s & 3);

	if (op == GET || op == DISCARD || (op == SET_STABLE_IF_RESIDENT && !resident))
		return s;
	if (resident || op == SET_STABLE_RESIDENT)
		return usage[op];
	switch (op) {
	case SET_UNUSED:
		return Uz;
	case SET_POTENTIAL:
		if (s == Sp && changed == YES)
			return Sp;
		if (s == Sp && changed == UNKNOWN)
			*more = ANY(Sp);
		return Vz;
	case SET_VOLATILE:
		return Vz;
	default:
		return s == Sp ? Sp : Sz;
	}
}

/* It must be gone before the next instruction, unless the guest moves just then. */
static bool goes_at_once(int op, u8 changed, u64 from, u64 to)
{
	bool may = to == Vr || (to == Pr && changed == NO);

	if (migrates)
		return 0;
	if (op == DISCARD)
		return may || to == Ur;
	return always && may && (op == SET_VOLATILE || op == SET_POTENTIAL) && !(from & 2);
}

/* The answer of ESSA, and what follows from it */
static void essa_answered(struct cpu *c, struct block *b, int op, u64 state)
{
	u32 possible = states(c, b), more = 0;
	u64 next;

	c->essas++;
	c->checks++;
	if ((state & ~(u64)NODAT) > 15 || !(possible & ANY(state & 15)))
		wrong(c, "state", b, state, possible);
	if (!!(state & NODAT) != b->nodat)
		wrong(c, "no-DAT", b, state, b->nodat);
	state &= 15;
	is_in(b, state);
	next = operation(state, op, changed(c, b), &more);
	if (op == SET_STABLE)
		b->nodat = 0;
	if (op == SET_STABLE_NODAT)
		b->nodat = 1;
	if (goes_at_once(op, changed(c, b), state, next))
		next = next == Ur ? Uz : Vz;
	if (next != state)
		is_in(b, next);
	if (more)
		b->known = 0;
	b->set |= more;
}

/* What a device or a CPU may write without a translation. */
static void hit(struct cpu *c, u64 abs, u64 len)
{
	for (int i = 0; i < BLOCKS; i++) {
		struct block *b = &c->block[i];

		if (b->abs < abs + len && abs < b->abs + PAGE) {
			b->written = 1;
			b->known = 0;
			b->changed = b->referenced = UNKNOWN;
			b->set = states(c, b);
		}
	}
}

static u32 accessed(u32 set)
{
	u32 to = set & ~(ANY(Sp) | ANY(Sz) | ANY(Uz));

	to |= set & (ANY(Sp) | ANY(Sz)) ? ANY(Sr) : 0;
	return to | (set & ANY(Uz) ? ANY(Ur) : 0);
}

static u32 refused(u32 set)
{
	return strict == 2 ? set & UNUSED : strict ? set & ANY(Uz) : 0;
}

/* Whether it was done.  The blocks may be the same. */
static bool judge(struct cpu *c, const struct outcome *o, struct block **b, int nblocks,
		  bool store, u64 psw_addr)
{
	u32 set[2];
	u64 after;
	bool found = 0;

	c->checks++;
	for (int i = 0; i < nblocks; i++)
		set[i] = states(c, b[i]);
	if (o->code == NONE) {
		for (int i = 0; i < nblocks; i++) {
			u32 can = set[i] & ~(VOLATILE_ZERO | refused(set[i]));

			if (!can)
				wrong(c, "no interruption; states", b[i], o->code, set[i]);
			if (!(can & ~ZEROS))
				is_zero(b[i]);
			else if ((can & UNUSED) == UNUSED)
				b[i]->maybe_zero = 1;
			b[i]->set = accessed(can);
			b[i]->written = 0;
			b[i]->referenced = YES;
			if (store)
				b[i]->changed = YES;
		}
		return 1;
	}
	if (o->code != DISCARDED && o->code != ADDRESSING)
		wrong(c, "interruption", b[0], o->code, NONE);
	/* Nullified; an addressing exception suppresses, so it stands behind it. */
	after = o->code == ADDRESSING ? lowcore()->pgm_ilc : 0;
	if (psw_addr && o->psw_addr != psw_addr + after)
		wrong(c, "PSW", b[0], o->psw_addr, psw_addr + after);
	for (int i = 0; i < nblocks; i++) {
		bool it = o->code == DISCARDED ? o->teid == b[i]->abs && (set[i] & VOLATILE_ZERO)
			: refused(set[i]) && !found;

		b[i]->referenced = b[i]->changed = UNKNOWN;
		if (it && o->code == DISCARDED)
			is_in(b[i], Vz);
		else
			b[i]->set = set[i] | accessed(set[i]);
		if ((b[i]->set & UNUSED) == UNUSED)
			b[i]->maybe_zero = 1;
		found |= it;
	}
	if (!found)
		wrong(c, o->code == DISCARDED ? "discard fault" : "addressing exception; states",
		      b[0], o->teid, set[0]);
	c->faults += o->code == DISCARDED;
	return 0;
}

/* Accesses */

enum what { REGISTER, REGISTERS, BUFFER, ADD, SWAP, EXCLUSIVE_OR, STORE = 16 };

INSN(f_ic, "ic %r1,0(%r2)");
INSN(f_llgh, "llgh %r1,0(%r2)");
INSN(f_llgf, "llgf %r1,0(%r2)");
INSN(f_lg, "lg %r1,0(%r2)");
INSN(f_lmg, "lmg %r6,%r9,0(%r2)");
INSN(f_lpq, "lpq %r6,0(%r2)");
INSN(f_mvc_3, "mvc 0(3,%r4),0(%r2)");
INSN(f_mvc_256, "mvc 0(256,%r4),0(%r2)");
INSN(f_stc, "stc %r3,0(%r2)");
INSN(f_sth, "sth %r3,0(%r2)");
INSN(f_st, "st %r3,0(%r2)");
INSN(f_stg, "stg %r3,0(%r2)");
INSN(f_stmg, "stmg %r6,%r9,0(%r2)");
INSN(f_to_3, "mvc 0(3,%r2),0(%r4)");
INSN(f_to_256, "mvc 0(256,%r2),0(%r4)");
INSN(f_agsi, "agsi 0(%r2),1");
INSN(f_csg, "csg %r1,%r3,0(%r2)");
INSN(f_xc, "xc 0(17,%r2),0(%r4)");

static const struct access {
	const char *name;
	const u8 *code;
	u8 what;
	u16 len;
	u8 align;
} accesses[] = {
	{ "ic", f_ic, REGISTER, 1, 1 },
	{ "llgh", f_llgh, REGISTER, 2, 1 },
	{ "llgf", f_llgf, REGISTER, 4, 1 },
	{ "lg", f_lg, REGISTER, 8, 1 },
	{ "lmg", f_lmg, REGISTERS, 32, 1 },
	{ "lpq", f_lpq, REGISTERS, 16, 16 },
	{ "mvc from", f_mvc_3, BUFFER, 3, 1 },
	{ "mvc from", f_mvc_256, BUFFER, 256, 1 },
	{ "stc", f_stc, STORE | REGISTER, 1, 1 },
	{ "sth", f_sth, STORE | REGISTER, 2, 1 },
	{ "st", f_st, STORE | REGISTER, 4, 1 },
	{ "stg", f_stg, STORE | REGISTER, 8, 1 },
	{ "stmg", f_stmg, STORE | REGISTERS, 32, 1 },
	{ "mvc to", f_to_3, STORE | BUFFER, 3, 1 },
	{ "mvc to", f_to_256, STORE | BUFFER, 256, 1 },
	{ "agsi", f_agsi, STORE | ADD, 8, 8 },
	{ "csg", f_csg, STORE | SWAP, 8, 8 },
	{ "xc", f_xc, STORE | EXCLUSIVE_OR, 17, 1 },
};

/* Where an access goes: a piece of one block, or the end of one and the start of another. */
struct place {
	struct block *b[2];
	int nblocks;
	u64 psw_mask, address;
	u32 offset;
};

static u64 real_of(const struct cpu *c, u64 abs)
{
	if (abs < 2 * PAGE)
		return abs + c->prefix;
	return abs - c->prefix < 2 * PAGE ? abs - c->prefix : abs;
}

static struct block *any_block(struct cpu *c)
{
	return &c->block[draw(c, BLOCKS)];
}

static struct block *own_block(struct cpu *c)
{
	return &c->block[draw(c, OWN)];
}

/* In the window, blocks come in reverse order. */
static struct place choose(struct cpu *c, u32 len, u32 align)
{
	u64 i = draw(c, BLOCKS), where = draw(c, 3);
	struct place p = { .b = { &c->block[i] }, .nblocks = 1 };
	int step = where == 2 ? -1 : 1;
	u64 next = i + step;

	p.psw_mask = where ? DAT : REAL;
	if (align > 1)
		p.offset = draw(c, PAGE / align) * align;
	else if (draw(c, 3))
		p.offset = draw(c, PAGE - len + 1);
	else
		p.offset = PAGE - 1 - draw(c, len);
	if (p.offset + len > PAGE) {
		if (i >= OWN || next >= OWN) {
			p.offset = PAGE - len;
		} else {
			p.b[1] = &c->block[next];
			p.nblocks = 2;
		}
	}
	if (where == 2 && i < OWN)
		p.address = WINDOWS + c->id * MB + (OWN - 1 - i) * PAGE + p.offset;
	else
		p.address = real_of(c, p.b[0]->abs) + p.offset;
	return p;
}

static u8 *shadow_at(const struct place *p, u32 i)
{
	u32 at = p->offset + i;

	return (u8 *)p->b[at / PAGE]->shadow + at % PAGE;
}

static bool maybe_zero(const struct place *p, u32 i)
{
	return p->b[(p->offset + i) / PAGE]->maybe_zero;
}

static bool known(const struct place *p)
{
	return p->b[0]->known && (p->nblocks == 1 || p->b[1]->known);
}

static void compare(struct cpu *c, const struct place *p, const u8 *got, u32 len)
{
	c->checks++;
	for (u32 i = 0; i < len; i++)
		if (got[i] != *shadow_at(p, i) && (got[i] || !maybe_zero(p, i)))
			wrong(c, "byte", p->b[(p->offset + i) / PAGE], got[i],
			      *shadow_at(p, i));
}

/* A store to what may be zeros or not: nobody knows the rest any more. */
static void forget_doubtful(struct place *p)
{
	for (int i = 0; i < p->nblocks; i++) {
		if (p->b[i]->maybe_zero)
			p->b[i]->known = p->b[i]->maybe_zero = 0;
	}
}

static void access(struct cpu *c)
{
	const struct access *a = &accesses[draw(c, ARRAY_SIZE(accesses))];
	struct place p = choose(c, a->len, a->align);
	struct regs in = { .gr = { [2] = p.address, [4] = (u64)c->buffer } };
	bool store = a->what & STORE;
	u64 value[4], old = 0;
	struct outcome o;

	note(c, a->name, p.b[0], p.address);
	for (int i = 0; i < 4; i++)
		value[i] = mix(c->random + i + 1);
	in.gr[3] = value[0];
	if (a->what == (STORE | SWAP)) {
		copy(&old, shadow_at(&p, 0), 8);
		in.gr[1] = old;
	} else if (a->what == (STORE | REGISTERS)) {
		words(&in.gr[6], value, 0, 4);
	} else if ((a->what & ~STORE) != REGISTER) {
		for (int i = 0; i < 256; i += 32)
			words((u64 *)(c->buffer + i), value, 0, 4);
	}

	o = run(p.psw_mask, a->code, &in);
	if (!judge(c, &o, p.b, p.nblocks, store, (u64)a->code)) {
		/* TCG stores what comes before the second block, and will do it again. */
		if (a->what == (STORE | REGISTERS) && p.nblocks == 2 && p.b[0]->set != ANY(Vz))
			p.b[0]->known = 0;
		return;
	}
	if (!store) {
		if (!known(&p))
			return;
		if (a->what == REGISTER) {
			value[0] = o.out.gr[1];
			if (a->len == 1)
				value[0] &= 0xff;
			compare(c, &p, (u8 *)value + 8 - a->len, a->len);
		} else {
			compare(c, &p, a->what == REGISTERS ? (u8 *)&o.out.gr[6] : c->buffer,
				a->len);
		}
		return;
	}
	if (a->what == (STORE | SWAP)) {
		/* What it was compared with comes back in %r1. */
		if (known(&p) && !p.b[0]->maybe_zero && o.out.gr[1] != old)
			wrong(c, "csg", p.b[0], o.out.gr[1], old);
		if (p.b[0]->maybe_zero)
			p.b[0]->known = p.b[0]->maybe_zero = 0;
		if (!p.b[0]->known)
			return;
		copy(shadow_at(&p, 0), value, 8);
		return;
	}
	forget_doubtful(&p);
	if (a->what == (STORE | ADD)) {
		copy(&old, shadow_at(&p, 0), 8);
		old++;
		copy(shadow_at(&p, 0), &old, 8);
		return;
	}
	for (u32 i = 0; i < a->len; i++) {
		u8 *to = shadow_at(&p, i);

		switch (a->what & ~STORE) {
		case REGISTER:
			*to = ((u8 *)value)[8 - a->len + i];
			break;
		case EXCLUSIVE_OR:
			*to ^= ((u8 *)value)[i % 32];
			break;
		default:
			*to = ((u8 *)value)[i % 32];
		}
	}
}

/* Whole blocks, so that their content is known, and compared. */

INSN(f_fill, "mvcle %r2,%r4,0\n\tjo f_fill");
INSN(f_read, "mvcle %r4,%r2,0\n\tjo f_read");

static struct outcome whole(struct cpu *c, struct block *b, const u8 *code)
{
	struct regs in = { .gr = { [2] = real_of(c, b->abs), [3] = PAGE,
				   [4] = (u64)c->buffer, [5] = PAGE } };

	return run(draw(c, 2) ? DAT : REAL, code, &in);
}

static void fill_block(struct cpu *c)
{
	struct block *b = own_block(c);
	u64 value[4];
	struct outcome o;

	note(c, "fill", b, 0);
	for (int i = 0; i < 4; i++)
		value[i] = mix(c->random + i);
	for (u64 i = 0; i < PAGE; i += 32)
		words((u64 *)(c->buffer + i), value, 0, 4);
	o = whole(c, b, f_fill);
	if (judge(c, &o, &b, 1, 1, 0)) {
		words(b->shadow, (u64 *)c->buffer, 0, PAGE / 8);
		b->known = 1;
		b->maybe_zero = 0;
	} else if (b->set != ANY(Vz)) {
		b->known = 0;
	}
}

static void read_block(struct cpu *c)
{
	struct block *b = own_block(c);
	struct place p = { .b = { b }, .nblocks = 1 };
	struct outcome o;

	note(c, "read", b, 0);
	o = whole(c, b, f_read);
	if (judge(c, &o, &b, 1, 0, 0) && b->known)
		compare(c, &p, c->buffer, PAGE);
}

/* Code in a block: "lghi %r1,N; svc 0" */

#define CODE_AT	0x800

static void run_block(struct cpu *c)
{
	struct block *b = own_block(c);
	u8 *code = (u8 *)b->shadow + CODE_AT;
	u64 window = draw(c, 2), at = window ? WINDOWS + c->id * MB +
		(OWN - 1 - (b - c->block)) * PAGE : b->abs;
	static const u8 zeros[6];
	bool is_code = code[0] == 0xa7 && code[1] == 0x19 && code[2] < 128 &&
		code[4] == 0x0a && !code[5];
	struct outcome o;

	if (!b->known || !(is_code || same(code, zeros, 6))) {
		u8 text[6] = { 0xa7, 0x19, draw(c, 128), draw(c, 256), 0x0a };
		struct place p = { .b = { b }, .nblocks = 1, .offset = CODE_AT };

		note(c, "write code", b, 0);
		for (int i = 0; i < 6; i++)
			c->buffer[i] = text[i];
		for (int i = 0; i < 6; i += 3) {
			o = run(REAL, f_to_3, &(struct regs){ .gr = { [2] = b->abs + CODE_AT + i,
				[4] = (u64)c->buffer + i } });
			if (!judge(c, &o, &b, 1, 1, 0))
				return;
			forget_doubtful(&p);
			copy(code + i, text + i, 3);
		}
		return;
	}
	note(c, "run", b, window);
	o = run(window ? DAT : REAL, (void *)(at + CODE_AT), &(struct regs){});
	if (o.code == OPERATION && (!is_code || b->maybe_zero || (states(c, b) & ANY(Uz)))) {
		o.code = NONE;
		judge(c, &o, &b, 1, 0, 0);
		return;
	}
	if (!judge(c, &o, &b, 1, 0, at + CODE_AT))
		return;
	if (!is_code)
		wrong(c, "zeros ran", b, o.out.gr[1], 0);
	if (o.out.gr[1] != (u64)(code[2] << 8 | code[3]) || o.psw_addr != at + CODE_AT + 6)
		wrong(c, "code", b, o.out.gr[1], code[2] << 8 | code[3]);
}

/* ESSA */

#define ESSA_SLOT(m3) ".insn rrf,0xb9ab0000,%r1,%r2," #m3 ",0\n\tsvc 0\n\t.balign 8\n\t"
#define ESSA_LOAD(m3) ".insn rrf,0xb9ab0000,%r1,%r2," #m3 ",0\n\tlg %r3,0(%r4)\n\tsvc 0\n\t"	\
		      ".balign 16\n\t"
asm(".pushsection .text\n\t.balign 16\n\t.globl f_essa\nf_essa:\t"
    ESSA_SLOT(0) ESSA_SLOT(1) ESSA_SLOT(2) ESSA_SLOT(3) ESSA_SLOT(4) ESSA_SLOT(5)
    ESSA_SLOT(6) ESSA_SLOT(7) ESSA_SLOT(8) ESSA_SLOT(9) ESSA_SLOT(10) ESSA_SLOT(11)
    ESSA_SLOT(12) ESSA_SLOT(13) ESSA_SLOT(14) ESSA_SLOT(15)
    ".balign 16\n\t.globl f_essa_load\nf_essa_load:\t"
    ESSA_LOAD(0) ESSA_LOAD(1) ESSA_LOAD(2) ESSA_LOAD(3) ESSA_LOAD(4) ESSA_LOAD(5)
    ESSA_LOAD(6) ESSA_LOAD(7) ESSA_LOAD(8) ESSA_LOAD(9) ESSA_LOAD(10) ESSA_LOAD(11)
    ESSA_LOAD(12) ESSA_LOAD(13) ESSA_LOAD(14) ESSA_LOAD(15)
    ".popsection");
extern const u8 f_essa[16][8], f_essa_load[16][16];

static int any_operation(struct cpu *c)
{
	int op = draw(c, guest_discard ? 9 : 8);

	return op == 8 ? DISCARD : op;
}

static void set_state(struct cpu *c, struct block *b, int op)
{
	struct outcome o;

	note(c, "essa", b, op);
	o = run(REAL, f_essa[op], &(struct regs){ .gr = { [2] = b->abs + draw(c, PAGE) } });
	if (o.code != NONE)
		wrong(c, "ESSA", b, o.code, NONE);
	essa_answered(c, b, op, o.out.gr[1]);
}

static void essa_operation(struct cpu *c)
{
	set_state(c, any_block(c), any_operation(c));
}

/* What follows ESSA in the same piece of code finds the state that it left. */
static void essa_and_load(struct cpu *c)
{
	struct block *b = own_block(c);
	int op = any_operation(c);
	struct regs in = { .gr = { [2] = b->abs, [4] = b->abs + draw(c, 512) * 8 } };
	struct place p = { .b = { b }, .nblocks = 1, .offset = in.gr[4] - b->abs };
	struct outcome o;

	note(c, "essa and load", b, op);
	o = run(REAL, f_essa_load[op], &in);
	essa_answered(c, b, op, o.out.gr[1]);
	if (judge(c, &o, &b, 1, 0, (u64)f_essa_load[op] + 4) && b->known)
		compare(c, &p, (u8 *)&o.out.gr[3], 8);
}

/* One that the machine does not have, or beyond its memory. */
static void bad_essa(struct cpu *c)
{
	bool beyond = draw(c, 2);
	int op = beyond ? any_operation(c) : (int)(8 + draw(c, 7));
	u64 at = beyond ? mix(c->random) | 1UL << 40 : c->block[0].abs;
	struct outcome o;

	note(c, "bad essa", 0, op);
	o = run(REAL, f_essa[op], &(struct regs){ .gr = { [2] = at } });
	if (o.code != (beyond ? ADDRESSING : SPECIFICATION))
		wrong(c, "bad ESSA", 0, o.code, beyond ? ADDRESSING : SPECIFICATION);
}

/* Memory of a device, if there is one just now: nothing is taken from it. */
static void device_memory(struct cpu *c)
{
	u64 at = DEVICE_MEMORY + draw(c, DEVICE_BYTES);
	bool essa = draw(c, 2);
	int op = any_operation(c);
	struct outcome o;

	note(c, "device memory", 0, at);
	o = run(REAL, essa ? f_essa[op] : f_ic, &(struct regs){ .gr = { [2] = at } });
	c->checks++;
	if (o.code != ADDRESSING && (o.code != NONE || (essa && (o.out.gr[1] & 3))))
		wrong(c, "device memory", 0, o.code == NONE ? o.out.gr[1] : o.code, Sr);
}

/* Storage keys */

INSN(f_sske, "sske %r1,%r2");
INSN(f_sske_many, ".insn rrf,0xb22b0000,%r1,%r2,1,0");
INSN(f_iske, "iske %r1,%r2");
INSN(f_rrbe, "rrbe %r0,%r2\n\tipm %r1\n\tsrl %r1,28");
INSN(f_pfmf, ".insn rre,0xb9af0000,%r1,%r2");

static void key_is(struct block *b, u64 key)
{
	b->key = key;
	b->referenced = !!(key & KEY_REFERENCED);
	b->changed = !!(key & KEY_CHANGED);
}

static void check_key(struct cpu *c, struct block *b, u64 bit, u8 model, u64 got)
{
	if (in_prefix_area(c, b))
		return;
	if (model != UNKNOWN && !!(got & bit) != model)
		wrong(c, bit == KEY_CHANGED ? "changed" : "referenced", b, got, model);
}

static void use_key(struct cpu *c)
{
	struct block *b = any_block(c);
	struct regs in = { .gr = { [2] = real_of(c, b->abs) } };
	u64 what = draw(c, 4), got;

	b->set = states(c, b);	/* by the change bit that it had */
	if (what == 0) {
		in.gr[1] = draw(c, 128) * 2;
		note(c, "sske", b, in.gr[1]);
		run(REAL, f_sske, &in);
		key_is(b, in.gr[1]);
		return;
	}
	if (what == 1 && b - c->block < OWN && !draw(c, 4)) {
		in.gr[1] = draw(c, 128) * 2;
		note(c, "sske many", b, in.gr[1]);
		got = run(REAL, f_sske_many, &in).out.gr[2];
		if (got != OWN_AT + (c->id + 1) * MB)
			wrong(c, "sske", b, got, OWN_AT + (c->id + 1) * MB);
		for (; b < c->block + OWN; b++) {
			b->set = states(c, b);
			key_is(b, in.gr[1]);
		}
		return;
	}
	note(c, what == 2 ? "rrbe" : "iske", b, 0);
	if (what == 2) {
		got = run(REAL, f_rrbe, &in).out.gr[1] << 1;
	} else {
		got = run(REAL, f_iske, &in).out.gr[1] & 0xff;
		if ((got ^ b->key) & 0xf8)
			wrong(c, "key", b, got, b->key);
	}
	c->checks++;
	check_key(c, b, KEY_REFERENCED, b->referenced, got);
	check_key(c, b, KEY_CHANGED, b->changed, got);
	b->changed = !!(got & KEY_CHANGED);
	b->referenced = what == 2 ? NO : !!(got & KEY_REFERENCED);
}

static void frame_management(struct cpu *c)
{
	u64 i = draw(c, OWN), key = draw(c, 128) * 2;
	bool clear = draw(c, 4), set_key = draw(c, 2), large = !draw(c, 4);
	struct regs in = { .gr = { [1] = clear << 16 | set_key << 17 | large << 12 | key,
				   [2] = c->block[i].abs } };
	u64 end = large ? OWN : i + 1;
	struct outcome o;

	note(c, "pfmf", &c->block[i], in.gr[1]);
	o = run(draw(c, 2) ? DAT : REAL, f_pfmf, &in);
	if (o.code != NONE && !clear)
		wrong(c, "PFMF", &c->block[i], o.code, NONE);
	/* It ends at the first block that is not there, with those before it cleared. */
	for (u64 j = i; j < end && clear; j++) {
		struct block *b = &c->block[j];
		struct outcome one = o;
		u32 set = states(c, b);
		bool last = o.code == DISCARDED ? o.teid == b->abs :
			    o.code == ADDRESSING && refused(set);

		/* Which one was refused is not told. */
		if (o.code == ADDRESSING && last && (set & ~refused(set))) {
			for (; j < OWN; j++) {
				b = &c->block[j];
				b->set = states(c, b) | accessed(states(c, b));
				b->known = 0;
				b->changed = b->referenced = UNKNOWN;
			}
			return;
		}
		if (!last)
			one.code = NONE;
		judge(c, &one, &b, 1, 1, last ? (u64)f_pfmf : 0);
		if (last)
			return;
		words(b->shadow, 0, 0, PAGE / 8);
		b->known = 1;
		b->maybe_zero = 0;
	}
	if (o.code != NONE)
		wrong(c, "PFMF", &c->block[i], o.code, NONE);
	if (large && o.out.gr[2] != OWN_AT + (c->id + 1) * MB)
		wrong(c, "PFMF address", &c->block[i], o.out.gr[2], OWN_AT + (c->id + 1) * MB);
	for (u64 j = i; j < end && set_key; j++) {
		struct block *b = &c->block[j];

		b->set = states(c, b);
		key_is(b, key);
	}
}

/* Prefix */

static void move_prefix(struct cpu *c, u64 to)
{
	note(c, "spx", 0, to);
	/* Both second blocks: what has happened to them in the area is not known. */
	for (int i = OWN; i < BLOCKS; i++) {
		c->block[i].set = states(c, &c->block[i]);
		c->block[i].changed = c->block[i].referenced = UNKNOWN;
		c->block[i].written = 1;
	}
	if (to == c->prefix)
		return;
	copy((void *)real_of(c, to), lowcore(), PAGE);
	set_prefix_to(to);
	c->prefix = to;
	for (int i = OWN; i < BLOCKS; i++) {
		c->block[i].set = states(c, &c->block[i]);
		c->block[i].changed = c->block[i].referenced = UNKNOWN;
	}
}

/* SIGP */

static int sigp(u64 id, int order, u64 parameter)
{
	register u64 reg1 asm("1") = parameter;
	int cc;

	asm volatile("sigp %1,%2,0(%3)\n\tipm %0\n\tsrl %0,28"
		     : "=d" (cc), "+d" (reg1) : "d" (id), "a" (order) : "cc", "memory");
	return cc;
}

enum { SENSE = 1, EXTERNAL_CALL, EMERGENCY, START, STOP, RESTART, SET_PREFIX = 0xd,
       STORE_STATUS = 0xe, SENSE_RUNNING = 0x15, STORE_ADDITIONAL = 0x17 };

/* cc 1, and the status has "stopped" */
static bool is_stopped(u64 id)
{
	register u64 status asm("1") = 0;
	int cc;

	asm volatile("sigp %1,%2,0(%3)\n\tipm %0\n\tsrl %0,28"
		     : "=d" (cc), "+d" (status) : "d" (id), "a" (SENSE) : "cc", "memory");
	return cc == 1 && (status & 0x40);
}

/* What is pending stays so, also when the guest moves. */
static void call_itself(struct cpu *c)
{
	register u64 status asm("1") = 0;
	int cc;

	asm volatile("sigp %1,%2,0(%3)\n\tipm %0\n\tsrl %0,28"
		     : "=d" (cc), "+d" (status) : "d" (c->id), "a" (SENSE) : "cc", "memory");
	c->checks++;
	if (cc == 2)
		return;
	if (c->called && !(cc == 1 && (status & 0x80)))
		wrong(c, "external call", 0, status, 0x80);
	if (!c->called)
		c->called = sigp(c->id, EXTERNAL_CALL, 0) != 2;
}

static void signal(struct cpu *c)
{
	static const u8 orders[] = { SENSE, EXTERNAL_CALL, EMERGENCY, SENSE_RUNNING, 0x12, 0x55 };
	u64 id = draw(c, MAX_CPUS + 1), order = orders[draw(c, ARRAY_SIZE(orders))];
	bool stop = draw(c, 2);
	u64 at = own_block(c)->abs + draw(c, 4) * 1024;

	if (!stop || id >= ncpus || id == c->id) {
		note(c, "sigp", 0, order);
		sigp(id, order, 1);
		return;
	}
	/* Two that stop each other would stay so. */
	if (!try_lock(&sigp_lock))
		return;
	note(c, "sigp stop", 0, id);
	while (sigp(id, STOP, 0) == 2)
		;
	while (!is_stopped(id))
		;
	hit(c, at, 1024);
	sigp(id, draw(c, 2) ? STORE_STATUS : STORE_ADDITIONAL, at);
	hit(c, at, 1024);
	while (sigp(id, START, 0) == 2)
		;
	unlock(&sigp_lock);
}

/* Channel programs and a virtio-rng that is told to write anywhere */

enum { NOP = 3, TIC = 8, WRITE_FEATURES = 0x11, READ_FEATURES = 0x12, SET_QUEUE = 0x13,
       READ_CONFIG = 0x22, READ_QUEUE = 0x32, WRITE_STATUS = 0x31, RESET_DEVICE = 0x33,
       SET_INDICATORS = 0x43, SET_CONFIG_INDICATORS = 0x53, READ_STATUS = 0x72,
       SET_ADAPTER = 0x73, SET_REVISION = 0x83, SENSE_ID = 0xe4, BASIC_SENSE = 0x04 };
#define CHAIN		0x40
#define SUPPRESS_LENGTH	0x20
#define INDIRECT_DATA	0x04

#define ENTRIES		8		/* of the queue */

struct ccw { u8 command, flags; u16 count; u32 address; };

INSN(f_stsch, "lgr %r1,%r3\n\tstsch 0(%r2)");
INSN(f_msch, "lgr %r1,%r3\n\tmsch 0(%r2)");
INSN(f_tsch, "lgr %r1,%r3\n\ttsch 0(%r2)\n\tipm %r1\n\tsrl %r1,28");
INSN(f_ssch, "lgr %r1,%r3\n\tssch 0(%r2)\n\tipm %r1\n\tsrl %r1,28");

static u64 io(struct cpu *c, const u8 *code, const void *operand)
{
	struct outcome o = run(REAL, code, &(struct regs){ .gr = { [2] = (u64)operand,
			       [3] = 0x10000 + c->id } });

	if (o.code != NONE)
		wrong(c, "I/O instruction", 0, o.code, NONE);
	return o.out.gr[1];
}

/* Runs it and takes its status, whatever that is. */
static void start_program(struct cpu *c, u64 ccws)
{
	u32 orb[8] = { 0, 0x00c0ff00, ccws };
	u32 irb[24];
	u64 limit = tod_ms() + 1000;

	barrier();
	io(c, f_ssch, orb);
	while (io(c, f_tsch, irb) && tod_ms() < limit)
		;
}

static void simple_command(struct cpu *c, int command, void *data, u32 len)
{
	struct ccw *ccw = (struct ccw *)(c->buffer + PAGE);

	*ccw = (struct ccw){ command, SUPPRESS_LENGTH, len, (u64)data };
	start_program(c, (u64)ccw);
}

static void enable_device(struct cpu *c)
{
	u32 schib[13];

	io(c, f_stsch, schib);
	schib[1] |= 0x00800000;
	io(c, f_msch, schib);
}

/* An address in a block that may be in any state, often at its end. */
static u64 any_address(struct cpu *c, u32 align)
{
	u64 offset = draw(c, 3) ? draw(c, PAGE) : PAGE - align * (1 + draw(c, 3));

	return own_block(c)->abs + offset / align * align;
}

/* The block has this data, or is zero; whether it can have both is said. */
static void put(struct cpu *c, u64 at, const void *data, u32 len)
{
	struct block *b = &c->block[(at - c->block[0].abs) / PAGE];
	struct place p = { .b = { b }, .nblocks = 1, .offset = at % PAGE };
	struct outcome o;

	if (at % PAGE + len > PAGE)
		return;
	copy(c->buffer, data, len);
	for (u32 i = 0; i + 8 <= len; i += 8) {
		o = run(REAL, f_stg, &(struct regs){ .gr = { [2] = at + i,
			[3] = *(u64 *)(c->buffer + i) } });
		if (!judge(c, &o, &b, 1, 1, 0))
			return;
		forget_doubtful(&p);
		copy((u8 *)b->shadow + at % PAGE + i, c->buffer + i, 8);
	}
}

static void some_states(struct cpu *c, u64 at)
{
	struct block *b = &c->block[(at - c->block[0].abs) / PAGE];

	if (draw(c, 2))
		set_state(c, b, any_operation(c));
}

/* Whether the block has this at that address, or zeros. */
static bool has_or_zero(struct cpu *c, u64 at, const void *data, u32 len)
{
	struct block *b = &c->block[(at - c->block[0].abs) / PAGE];
	u8 *is = (u8 *)b->shadow + at % PAGE;

	return at % PAGE + len <= PAGE && b->known &&
	       (same(is, data, len) || filled(is, 0, len));
}

/*
 * The commands by which the device writes, and those by which it reads.  What it takes
 * for an address must be ours or zero: any other is one where it could write later.
 */
static void channel_program(struct cpu *c)
{
	static const u8 writes[] = { SENSE_ID, BASIC_SENSE, READ_FEATURES, READ_CONFIG,
				     READ_QUEUE, READ_STATUS };
	static const u8 reads[] = { NOP, WRITE_FEATURES, WRITE_STATUS, RESET_DEVICE, SET_REVISION,
				    SET_QUEUE, SET_INDICATORS, SET_CONFIG_INDICATORS };
	struct ccw ccws[4] __attribute__((aligned(8)));
	u64 n = 1 + draw(c, 4), at = any_address(c, 8);
	u32 *list = (u32 *)(c->buffer + PAGE + 256);
	struct { u64 at, len; } written[4] = {};

	note(c, "channel program", 0, at);
	for (u64 i = 0; i < n; i++) {
		bool write = draw(c, 2);
		struct ccw *w = &ccws[i];

		w->command = write ? writes[draw(c, ARRAY_SIZE(writes))]
				   : reads[draw(c, ARRAY_SIZE(reads))];
		w->flags = SUPPRESS_LENGTH | (i < n - 1 ? CHAIN : 0);
		w->count = draw(c, 3) ? 1 + draw(c, 64) : draw(c, 2000);
		w->address = any_address(c, 1);
		some_states(c, w->address);
		if (write) {
			written[i].at = w->address;
			written[i].len = w->count;
			hit(c, w->address, w->count);
		}
		if (w->command == SET_QUEUE || w->command == SET_INDICATORS ||
		    w->command == SET_CONFIG_INDICATORS) {
			u64 data[2] = { any_address(c, 8), PAGE << 32 | ENTRIES };

			if (w->command == SET_QUEUE)
				data[0] &= -PAGE;
			w->address &= -8U;
			w->count = w->command == SET_QUEUE ? 16 : 8;
			put(c, w->address, data, 16);
			some_states(c, w->address);
			if (!has_or_zero(c, w->address, data, 16))
				w->command = NOP;
			continue;
		}
		/* Where the device writes, a list of zeros would be absolute zero. */
		if (!draw(c, 4)) {
			u32 data = w->address & -PAGE;

			w->flags |= INDIRECT_DATA;
			for (int j = 0; j < 8; j++)
				list[8 * i + j] = data;
			if (write) {
				w->address = (u64)(list + 8 * i);
				w->count = draw(c, 2000);
				written[i].at = data;
				written[i].len = PAGE;
				hit(c, data, PAGE);
			} else {
				w->address &= -8U;
			}
		}
	}
	/* The program itself may be in such a block: it is there, or zero. */
	if (draw(c, 2) || at % PAGE + n * 8 > PAGE) {
		copy(c->buffer + PAGE, ccws, n * 8);
		start_program(c, (u64)c->buffer + PAGE);
	} else {
		put(c, at, ccws, n * 8);
		some_states(c, at);
		if (has_or_zero(c, at, ccws, n * 8))
			start_program(c, at);
	}
	simple_command(c, RESET_DEVICE, 0, 0);
	/* ESSA has come between. */
	for (u64 i = 0; i < n; i++)
		hit(c, written[i].at, written[i].len);
}

/* The queue as it was before virtio 1.0. */
struct descriptor { u64 address; u32 len; u16 flags, next; };

static void notify(struct cpu *c)
{
	register u64 gr1 asm("1") = 3;
	register u64 gr2 asm("2") = 0x10000 + c->id;
	register u64 gr3 asm("3") = 0;

	asm volatile("diag %%r2,%%r4,0x500" : "+d" (gr2) : "d" (gr1), "d" (gr3) : "memory");
}

static void virtio_request(struct cpu *c)
{
	u64 i = draw(c, OWN - 1), queue = c->block[i].abs, table = any_address(c, 32);
	struct { u64 queue; u32 align; u16 index, entries; } info = { queue, PAGE, 0, ENTRIES };
	struct descriptor d[ENTRIES] = {};
	struct { u16 flags, index, ring[ENTRIES]; u16 pad[2]; } available = { .index = 1 + draw(c, 3) };
	u64 indicators = any_address(c, 8), limit;
	u8 status = 7;

	note(c, "virtio", &c->block[i], indicators);
	for (int j = 0; j < 2; j++)
		if (draw(c, 2))
			set_state(c, &c->block[i + j], SET_STABLE_RESIDENT);
	for (int j = 0; j < ENTRIES; j++) {
		d[j].address = draw(c, 16) ? any_address(c, 1) : mix(c->random) | 1UL << 40;
		d[j].len = draw(c, 16) ? 1 + draw(c, 3 * PAGE) : (u32)mix(c->random);
		d[j].flags = draw(c, 8) ? 2 | draw(c, 2) : draw(c, 8);
		d[j].next = draw(c, ENTRIES + 1);
		if (d[j].flags & 4) {
			d[j].address = table;
			d[j].len = 32;
		} else if (d[j].address < OWN_AT + MAX_CPUS * MB) {
			u64 end = OWN_AT + (c->id + 1) * MB;

			/* The blocks behind are those of somebody else. */
			if (d[j].len > end - d[j].address)
				d[j].len = end - d[j].address;
			hit(c, d[j].address, d[j].len);
			some_states(c, d[j].address);
		}
		available.ring[j] = draw(c, ENTRIES);
	}
	/* A device that reads a table of which it has just written a part could go anywhere. */
	for (int j = 0; j < ENTRIES; j++) {
		u64 from = d[j].address, to = from + d[j].len;

		if ((from < queue + PAGE && queue < to) ||
		    (from < (table & -PAGE) + PAGE && (table & -PAGE) < to && !(d[j].flags & 4)))
			return;
	}
	if (table - queue < 2 * PAGE || (indicators & -PAGE) == queue ||
	    (indicators & -PAGE) == (table & -PAGE))
		return;
	put(c, table, d, 32);
	some_states(c, table);
	put(c, queue, d, sizeof(d));
	put(c, queue + sizeof(d), &available, sizeof(available));
	some_states(c, queue);
	some_states(c, queue + PAGE);
	if (!has_or_zero(c, table, d, 32) || !has_or_zero(c, queue, d, sizeof(d)))
		return;
	hit(c, queue + PAGE, PAGE);
	hit(c, indicators, 8);
	copy(c->buffer, &info, sizeof(info));
	copy(c->buffer + 64, &indicators, 8);
	c->buffer[128] = status;
	simple_command(c, RESET_DEVICE, 0, 0);
	simple_command(c, SET_QUEUE, c->buffer, 16);
	simple_command(c, SET_INDICATORS, c->buffer + 64, 8);
	simple_command(c, WRITE_STATUS, c->buffer + 128, 1);
	notify(c);
	if (draw(c, 2)) {
		/* While it works, or did already. */
		set_state(c, &c->block[i + 1], any_operation(c));
	}
	limit = tod_ms() + draw(c, 20);
	while (tod_ms() < limit)
		;
	simple_command(c, RESET_DEVICE, 0, 0);
	hit(c, queue + PAGE, PAGE);
	hit(c, indicators, 8);
	for (int j = 0; j < ENTRIES; j++)
		if (d[j].address != table)
			hit(c, d[j].address, d[j].len);
}

/* I/O instructions whose operand is in a block of any state */
static void io_operand(struct cpu *c)
{
	static const u8 *const codes[] = { f_stsch, f_tsch };
	const u8 *code = codes[draw(c, 2)];
	struct block *b = own_block(c);
	u64 at = b->abs + draw(c, (PAGE - 96) / 4) * 4;
	struct outcome o;

	note(c, "I/O operand", b, at);
	o = run(draw(c, 2) ? DAT : REAL, code, &(struct regs){ .gr = { [2] = at,
		[3] = 0x10000 + c->id } });
	if (judge(c, &o, &b, 1, 1, 0)) {
		b->known = 0;
		b->changed = UNKNOWN;
	}
}

/* What races */

static void shared_blocks(struct cpu *c)
{
	u64 i = draw(c, NSHARED), at = SHARED + i * PAGE;
	const struct access *a = &accesses[draw(c, ARRAY_SIZE(accesses))];
	struct outcome o;

	note(c, "shared", 0, i);
	if (draw(c, 2)) {
		o = run(REAL, f_essa[any_operation(c)], &(struct regs){ .gr = { [2] = at } });
		c->essas++;
		if (o.code != NONE || (o.out.gr[1] & ~(u64)NODAT) > 15 ||
		    !(STATES & ANY(o.out.gr[1] & 15)))
			wrong(c, "shared ESSA", 0, o.out.gr[1], o.code);
		return;
	}
	/* The last one has no block behind it that may be touched. */
	if (a->align > 1)
		at += draw(c, PAGE / a->align) * a->align;
	else
		at += draw(c, PAGE - (i == NSHARED - 1 ? a->len : 0));
	o = run(draw(c, 2) ? DAT : REAL, a->code,
		&(struct regs){ .gr = { [2] = at, [4] = (u64)c->buffer } });
	if (o.code == DISCARDED && o.teid - (at & -PAGE) <= PAGE && !(o.teid % PAGE)) {
		c->faults++;
		return;
	}
	if (o.code != NONE && !(strict && o.code == ADDRESSING))
		wrong(c, "shared access", 0, o.code, o.teid);
}

/* Rounds */

static const struct operation {
	const char *name;
	void (*run)(struct cpu *c);
	u8 weight;
} operations[] = {
	{ "essa", essa_operation, 40 },
	{ "essa-load", essa_and_load, 15 },
	{ "bad-essa", bad_essa, 1 },
	{ "device-memory", device_memory, 1 },
	{ "access", access, 50 },
	{ "fill", fill_block, 12 },
	{ "read", read_block, 6 },
	{ "run", run_block, 12 },
	{ "key", use_key, 12 },
	{ "pfmf", frame_management, 3 },
	{ "shared", shared_blocks, 30 },
	{ "spx", 0, 3 },
	{ "sigp", signal, 3 },
	{ "channel", channel_program, 2 },
	{ "virtio", virtio_request, 2 },
	{ "io-operand", io_operand, 2 },
};

static void random_operation(struct cpu *c)
{
	u64 total = 0, pick, i;

	for (i = 0; i < ARRAY_SIZE(operations); i++)
		total += operations[i].weight;
	pick = draw(c, total);
	for (i = 0; pick >= operations[i].weight; i++)
		pick -= operations[i].weight;
	if (!devices && i >= ARRAY_SIZE(operations) - 3)
		i = 0;
	c->count[i]++;
	if (!operations[i].run)
		move_prefix(c, c->area[draw(c, 2)]);
	else
		operations[i].run(c);
}

static void one_round(struct cpu *c)
{
	c->random = mix(mix(seed) + c->round * MAX_CPUS + c->id);
	for (c->operation = 0; c->operation < OPERATIONS; c->operation++)
		random_operation(c);
	call_itself(c);
	move_prefix(c, c->area[0]);
}

static struct cpu *this_cpu(void)
{
	u16 id;

	asm volatile("stap %0" : "=Q" (id) : : "memory");
	return &cpus[id];
}

/*
 * All CPUs but the first one: each round begins with a restart, and ends stopped, so that a
 * CPU that has nothing to do costs the host no time.
 */
static void other_cpu(void)
{
	struct cpu *c = this_cpu();

	dat_load();
	one_round(c);
	barrier();
	c->round++;
	for (;;)
		sigp(c->id, STOP, 0);
}

static void start_others(void)
{
	/* Nobody stops one of them before it runs. */
	while (!try_lock(&sigp_lock))
		;
	for (u64 i = 1; i < ncpus; i++) {
		/* A stop that is still pending would come in the next round. */
		while (!is_stopped(i))
			;
		while (sigp(i, SET_PREFIX, (u64)&home[i]) == 2)
			;
		while (sigp(i, RESTART, 0) == 2)
			;
	}
	unlock(&sigp_lock);
}

/* The other CPUs have ended their round. */
static void reset(struct cpu *first)
{
	bool normal = draw(first, 2);

	note(first, "diag 308", 0, normal);
	/* A stop that is pending outlives a reset of the CPU. */
	for (u64 i = 1; i < ncpus; i++)
		while (!is_stopped(i))
			;
	first->count[ARRAY_SIZE(operations)]++;
	diag308_reset(normal);
	dat_load();
	for (u64 i = 0; i < ncpus; i++)
		cpus[i].called = 0;
	for (u64 i = 0; i < ncpus; i++) {
		for (int j = 0; j < BLOCKS; j++) {
			struct block *b = &cpus[i].block[j];
			u32 set = states(&cpus[i], b);

			b->nodat = 0;
			b->set = set;
			if (normal)
				continue;
			if ((set & UNUSED) == UNUSED)
				b->maybe_zero = 1;
			b->set = set & (ANY(Sr) | ANY(Ur) | ANY(Vr) | ANY(Pr)) ? ANY(Sr) : 0;
			b->set |= set & ZEROS ? ANY(Sz) : 0;
			b->set |= set & ANY(Sp);
			/* It was discarded, or not: the next ESSA tells. */
			if ((b->set & ANY(Sz)) && (b->set & ~ANY(Sz)))
				b->maybe_zero = 1;
		}
	}
	for (u64 i = 0; i < ncpus; i++)
		if (devices)
			enable_device(&cpus[i]);
}

static void totals(void)
{
	say("@@totals");
	for (u64 i = 0; i <= ARRAY_SIZE(operations); i++) {
		u64 n = 0;

		for (u64 j = 0; j < ncpus; j++)
			n += cpus[j].count[i];
		say(" %s=%lu", i < ARRAY_SIZE(operations) ? operations[i].name : "reset", n);
	}
	for (u64 i = 1; i < ncpus; i++) {
		cpus[0].essas += cpus[i].essas;
		cpus[0].faults += cpus[i].faults;
		cpus[0].checks += cpus[i].checks;
		cpus[i].essas = cpus[i].faults = cpus[i].checks = 0;
	}
	say(" ESSA=%lu fault=%lu check=%lu\n", cpus[0].essas, cpus[0].faults, cpus[0].checks);
}

extern const char command_line[];

static u64 number(const char *name)
{
	u64 value = 0;

	for (const char *at = command_line; *at; at++) {
		const char *p = at, *q = name;

		while (*q && *p == *q)
			p++, q++;
		if (*q || *p != '=')
			continue;
		for (p++; *p >= '0' && *p <= '9'; p++)
			value = value * 10 + *p - '0';
		break;
	}
	return value;
}

extern const u8 cpu_start[];

static void init_cpu(struct cpu *c, u64 id)
{
	c->id = id;
	c->area[0] = id ? (u64)&home[id] : 0;
	c->area[1] = (u64)&other[id];
	c->prefix = c->area[0];
	c->buffer = buffers[id];
	for (int i = 0; i < BLOCKS; i++) {
		struct block *b = &c->block[i];

		b->abs = i < OWN ? OWN_AT + (id + 1) * MB - (OWN - i) * PAGE
			 : c->area[i - OWN] + PAGE;
		b->set = ANY(Sr);
		b->shadow = shadows[id][i];
		b->known = i < OWN;
		b->written = 1;
		if (i < OWN) {
			fill((void *)b->abs, 0, PAGE);
			dat_map(WINDOWS + id * MB + (OWN - 1 - i) * PAGE, b->abs);
		}
		set_key(real_of(&cpus[0], b->abs), 0);
		key_is(b, 0);
		b->referenced = b->changed = UNKNOWN;
	}
	/* fill() was before the key was set, so this is what the key says. */
	for (int i = 0; i < OWN; i++)
		c->block[i].set |= page_file ? ANY(Sp) : 0;
	if (id) {
		lowcore_init(&home[id]);
		home[id].restart_new[1] = (u64)cpu_start;
		home[id].stack = (u64)stacks[id] + sizeof(stacks[id]) - 160;
	}
}

void main(void)
{
	struct cpu *first = &cpus[0];

	lowcore_init(lowcore());
	seed = number("seed");
	ncpus = number("cpus");
	page_file = number("page-file");
	strict = number("strict");
	always = number("always");
	guest_discard = number("guest-discard");
	migrates = number("migrates");
	devices = number("devices");
	dat_init();
	for (u64 i = 0; i < ncpus; i++)
		init_cpu(&cpus[i], i);
	for (u64 i = 0; i < NSHARED; i++)
		set_key(SHARED + i * PAGE, 0);
	for (u64 i = 0; i < ncpus; i++)
		if (devices)
			enable_device(&cpus[i]);
	cpu1_run(other_cpu);		/* what each CPU runs that is started */
	for (;;) {
		start_others();
		one_round(first);
		first->round++;
		for (u64 i = 1; i < ncpus; i++)
			while (cpus[i].round != first->round)
				barrier();
		say("@@round %lu\n", first->round);
		if (first->round % 8 == 1)
			totals();
		if (!draw(first, 8))
			reset(first);
	}
}
