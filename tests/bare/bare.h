/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Bare-metal tests of ESSA and block volatility: no operating system, so that a
 * failure is the host's.
 *
 * A rule of the architecture is one small function named after it.  Code under
 * test is a stub (INSN) that run() executes with chosen registers and PSW and
 * that ends in SVC, or in the program interruption that the test is about.  C
 * code itself runs untranslated.
 */
#ifndef BARE_H
#define BARE_H

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long u64;
typedef _Bool bool;

#define PAGE		4096UL
#define ARRAY_SIZE(a)	(sizeof(a) / sizeof(*(a)))
#define barrier()	asm volatile("bcr 15,0" : : : "memory")

/* The prefix area.  From 0x300 on it is ours and known to start.S. */
struct lowcore {
	u8 pad0[0x8c];
	u8 pgm_zero, pgm_ilc;
	u16 pgm_code;
	u8 pad90[0xa8 - 0x90];
	u64 teid;
	u8 padb0[0x140 - 0xb0];
	u64 svc_old[2], pgm_old[2];
	u8 pad160[0x1a0 - 0x160];
	u64 restart_new[2], ext_new[2], svc_new[2], pgm_new[2], mck_new[2], io_new[2];
	u8 pad200[0x300 - 0x200];
	u64 run_psw[2];
	u64 outcome;
	u64 restarted;
	u64 stack;
	u8 pad328[0x400 - 0x328];
	u64 saved_grs[16], in_grs[16], out_grs[16];
	u8 pad580[2 * PAGE - 0x580];
};

/* PSW masks */
#define AM24		0x0000000000000000UL
#define AM31		0x0000000080000000UL
#define REAL		0x0000000180000000UL
#define DAT		0x0400000180000000UL
#define DAT_ON		0x0400000000000000UL
#define PROBLEM		0x0001000180000000UL
#define DISABLED_WAIT	0x0002000180000000UL

/* Program interruption codes */
enum {
	NONE = 0,
	OPERATION = 0x01,
	PRIVILEGED = 0x02,
	PROTECTION = 0x04,
	ADDRESSING = 0x05,
	SPECIFICATION = 0x06,
	NOT_MAPPED = 0x11,
	DISCARDED = 0x1a,
};

/* ESSA: operations, and the states that come back */
enum { GET, SET_STABLE, SET_UNUSED, SET_VOLATILE, SET_POTENTIAL, SET_STABLE_RESIDENT,
       SET_STABLE_IF_RESIDENT, SET_STABLE_NODAT, DISCARD = 15 };
enum { Sr = 0x0, Sp = 0x2, Sz = 0x3, Ur = 0x4, Uz = 0x7, Pr = 0x8, Vr = 0xc, Vz = 0xf };
#define USAGE		0x0c
#define NODAT		0x20
#define ANY(state)	(1U << (state))		/* element of a set of states */

/* What to boot with is a bit; the command line names it. */
enum {
	PLAIN = 1,		/* the host discards on command only */
	ALWAYS = 2,		/* ... by the ESSA that makes a block volatile */
	ABSENT = 4,		/* no ESSA at all */
	NODAT_ABSENT = 8,	/* no facility 147 */
	STRICT = 16,		/* access to a discarded unused block is refused */
	STRICT_ALL = 32,	/* ... to any unused block */
	RESET = 64,		/* a reset starts the program again */
	RANDOM = 128,		/* the host discards by a random choice */
	POISON = 256,		/* discarded blocks are not freed, but filled */
	GUEST_DISCARD = 512,	/* ESSA 15: the guest asks for a discard */
	PRESERVED = 1024,	/* there is a page file */
	KVM = 2048,		/* the host behaves as Linux KVM */
	BENCH = 4096,		/* no tests: for tests/bench-host */
	BENCH_QUICK = 8192,
	DEVICE = 16384,		/* as ALWAYS, with a page file and a virtio-rng; device.c only */
	FIRST_KEY = 32768,	/* nothing but the first use of storage keys */
	REAL_KVM = 65536,	/* a guest of KVM, which discards on request; a z10 */
	KVM_MIGRATES = 131072,	/* the same, but KVM executes ESSA and discards nothing */
	BENCH_SCALE = 262144,	/* half of the memory at a time */
	ON_KVM = REAL_KVM | KVM_MIGRATES,
	GONE_ON_REQUEST = ALWAYS | REAL_KVM,	/* make_discarded() works */
};
extern int mode;

struct regs { u64 gr[16]; };

struct outcome {
	u16 code;		/* NONE: completed */
	u64 psw_addr, teid;
	struct regs out;
};

/* A stub in the middle of the text, by name. */
#define INSN(name, text)						\
	extern const u8 name[];						\
	asm(".pushsection .text\n.balign 4\n.globl " #name "\n" #name ":\t" text		\
	    "\n\tsvc 0\n.popsection")

/* What a z10, for which this is compiled to run under KVM, does not have. */
#define Z13(text)	".machine push\n\t.machine z13\n\t" text "\n\t.machine pop"

/* bare.c */
void load_psw(u64 mask, u64 addr) __attribute__((noreturn));
struct outcome run(u64 psw_mask, const void *code, const struct regs *in);
u64 essa(int operation, u64 address);
struct outcome essa_outcome(u64 psw_mask, int operation, u64 address);
struct lowcore *lowcore(void);
void lowcore_init(struct lowcore *lc);
u64 ram_size(void);
void set_prefix_to(u64 prefix);
u64 tod_ms(void);
void fill(void *at, int byte, u64 len);
bool filled(const void *at, int byte, u64 len);
bool same(const void *a, const void *b, u64 len);
void copy(void *to, const void *from, u64 len);

/* Pages for the tests, and where DAT maps them: in reverse order. */
#define NPAGES	16
#define WINDOW	0x10000000UL
extern u8 pages[NPAGES][PAGE];
u64 dat_address(int page);
void dat_map(u64 virt, u64 real);
void dat_set_segment(u64 virt, u64 entry);
u64 dat_segment(u64 virt);
void dat_load_region(u64 bits);
void dat_init(void);
void dat_load(void);
void diag308_reset(int subcode);

/* Asks the runner for something, and waits until it was done. */
void host(const char *request);
void host_at(const char *request, u64 address, const char *more);

/* Storage keys: the change bit decides what becomes of a potentially volatile block. */
#define KEY_CHANGED	2
void set_key(u64 address, int key);
int get_key(u64 address);

void cpu1_init(void);
void cpu1_run(void (*job)(void));
void cpu1_wait(void);
void cpu1_stop(void);
u64 cpu1_prefix(void);

/* access.c: stubs and how to judge them, also for several CPUs */
#define BAD	2		/* the block under test */
#define GOOD	8		/* the other operand */
extern const u8 load[], store[], mvc_target[], compare_and_swap[];
extern const u8 load_real_address[], store_system_information[];
extern const u8 translate_target[], translate_extended[];
struct outcome touch(u64 psw_mask, const void *code, u64 address);
void discard_fault(const struct outcome *o, u64 psw_addr, u64 block);
void make_discarded(u64 block);
u64 address_of(u64 psw_mask, int page);
void write_code(void *at);		/* returns 42 in %r1 */
void code_runs(u64 psw_mask, u64 code);

/* tap.c */
void say(const char *format, ...) __attribute__((format(printf, 1, 2)));
void test_begin(const char *prefix, const char *name);
void test_end(void);
int test_totals(void);
/* Each prints a diagnostic and fails the running test when it does not hold. */
void equal(const char *what, u64 got, u64 want);
void allowed(const char *what, u64 state, u32 set);
bool failed(void);

/* The tests, in the order in which they run. */
void test_keys(void);
void test_exceptions(void);
void test_states(void);
void test_access(void);
void test_prefix(void);
void test_reset(void);
void test_preserved(void);
void test_discard(void);
void test_kvm(void);
void test_edat(void);
void test_upstream(void);
void test_first_key(void);
void bench(void);
void test_host(void);
void test_cpus(void);
void test_device(void);

/* One TAP line. */
#define TEST(modes, function)						\
	do {								\
		if (mode & (modes)) {					\
			test_begin("", #function);			\
			function();					\
			test_end();					\
		}							\
	} while (0)

#endif
