// SPDX-License-Identifier: GPL-2.0
/* Running code under test; page tables; the second CPU; the way out. */

#include "bare.h"

u8 pages[NPAGES][PAGE] __attribute__((aligned(PAGE)));

extern const u8 run_svc[], run_pgm[], run_restart[], cpu_start[];
void run_psw(void);
u8 boot_stack[4 * PAGE] __attribute__((aligned(8)));
asm(".globl boot_stack_end\nboot_stack_end = boot_stack + 4 * 4096");

/* Real address 0, in a way that the compiler does not take for a null pointer. */
struct lowcore *lowcore(void)
{
	u64 zero = 0;

	asm("" : "+d" (zero));
	return (void *)zero;
}

void lowcore_init(struct lowcore *lc)
{
	u64 *psw = lc->restart_new;

	for (; psw < lc->io_new + 2; psw += 2) {
		psw[0] = DISABLED_WAIT;
		psw[1] = 0xdead0000 + ((u64)psw & 0xfff);
	}
	lc->restart_new[0] = REAL;
	lc->restart_new[1] = (u64)run_restart;
	lc->svc_new[0] = REAL;
	lc->svc_new[1] = (u64)run_svc;
	lc->pgm_new[0] = REAL;
	lc->pgm_new[1] = (u64)run_pgm;
	lc->outcome = 0;
}

void load_psw(u64 mask, u64 addr)
{
	u64 psw[2] = { mask, addr };

	asm volatile("lpswe %0" : : "Q" (psw));
	__builtin_unreachable();
}

void __attribute__((noreturn)) unexpected(void)
{
	struct lowcore *lc = lowcore();

	say("Bail out! program interruption 0x%lx at 0x%lx, address 0x%lx\n",
	    (u64)lc->pgm_code, lc->pgm_old[1], lc->teid);
	load_psw(DISABLED_WAIT, 0xbad);
}

struct outcome run(u64 psw_mask, const void *code, const struct regs *in)
{
	struct lowcore *lc = lowcore();
	struct outcome o = {};

	lc->run_psw[0] = psw_mask;
	lc->run_psw[1] = (u64)code;
	for (int i = 0; i < 16; i++)
		lc->in_grs[i] = in->gr[i];
	lc->teid = -1UL;
	run_psw();
	asm volatile("" : : : "memory");
	if (lc->outcome == 2) {
		o.psw_addr = lc->svc_old[1];
	} else {
		o.code = lc->pgm_code;
		o.psw_addr = lc->pgm_old[1];
	}
	lc->outcome = 0;
	o.teid = lc->teid;
	for (int i = 0; i < 16; i++)
		o.out.gr[i] = lc->out_grs[i];
	return o;
}

/* R1 is %r1, R2 is %r2; one slot per M3. */
#define ESSA(m3) ".insn rrf,0xb9ab0000,%r1,%r2," #m3 ",0\n\tsvc 0\n\t.balign 8\n\t"
asm(".pushsection .text\n\t.balign 8\n\t.globl essa_slots\nessa_slots:\t"
    ESSA(0) ESSA(1) ESSA(2) ESSA(3) ESSA(4) ESSA(5) ESSA(6) ESSA(7)
    ESSA(8) ESSA(9) ESSA(10) ESSA(11) ESSA(12) ESSA(13) ESSA(14) ESSA(15)
    ".popsection");
extern const u8 essa_slots[16][8];

struct outcome essa_outcome(u64 psw_mask, int operation, u64 address)
{
	struct regs in = { .gr[1] = -1UL, .gr[2] = address };
	struct outcome o = run(psw_mask, essa_slots[operation], &in);

	/* Where the PSW points, relative to the instruction. */
	o.psw_addr -= (u64)essa_slots[operation];
	return o;
}

u64 essa(int operation, u64 address)
{
	struct outcome o = essa_outcome(REAL, operation, address);

	equal("ESSA interruption", o.code, NONE);
	return o.out.gr[1];
}

INSN(probe, "ic %r1,0(%r2)");

u64 ram_size(void)
{
	static u64 size;

	if (!size) {
		size = 1 << 20;
		while (run(REAL, probe, &(struct regs){ .gr[2] = size }).code == NONE)
			size += 1 << 20;
	}
	return size;
}

void set_prefix_to(u64 prefix)
{
	u32 operand = prefix;

	asm volatile("spx %0" : : "Q" (operand) : "memory");
}

u64 tod_ms(void)
{
	u64 tod;

	asm volatile("stck %0" : "=Q" (tod) : : "cc");
	return (tod >> 12) / 1000;
}

void fill(void *at, int byte, u64 len)
{
	for (volatile u8 *p = at; len--; p++)
		*p = byte;
}

bool filled(const void *at, int byte, u64 len)
{
	for (const volatile u8 *p = at; len--; p++)
		if (*p != byte)
			return 0;
	return 1;
}

bool same(const void *a, const void *b, u64 len)
{
	const volatile u8 *p = a, *q = b;

	while (len--)
		if (*p++ != *q++)
			return 0;
	return 1;
}

void copy(void *to, const void *from, u64 len)
{
	volatile u8 *p = to;
	const volatile u8 *q = from;

	while (len--)
		*p++ = *q++;
}

/* The compiler is free to call these. */
void *memset(void *at, int byte, u64 len)
{
	fill(at, byte, len);
	return at;
}

void *memcpy(void *to, const void *from, u64 len)
{
	copy(to, from, len);
	return to;
}

static void wait_for_host(const char *request)
{
	volatile u64 *restarted = &lowcore()->restarted;

	for (u64 limit = tod_ms() + 20000; !*restarted; ) {
		if (tod_ms() > limit) {
			say("# %s: not done within 20 s\n", request);
			equal("the host answers", 0, 1);
			return;
		}
	}
}

void host(const char *request)
{
	lowcore()->restarted = 0;
	say("@@%s\n@@done\n", request);
	wait_for_host(request);
}

void host_at(const char *request, u64 address, const char *more)
{
	lowcore()->restarted = 0;
	say("@@%s 0x%lx %s\n@@done\n", request, address, more);
	wait_for_host(request);
}

void set_key(u64 address, int key)
{
	asm volatile("sske %0,%1" : : "d" ((u64)key), "a" (address) : "memory");
}

int get_key(u64 address)
{
	u64 key = 0;

	asm volatile("iske %0,%1" : "+d" (key) : "a" (address) : "memory");
	return key & 0xff;
}

/* DAT: one segment table (2 GiB); page tables of 1 MiB each. */

#define SEGMENT		(1UL << 20)
#define MAX_TABLES	80

static u64 segments[2048] __attribute__((aligned(PAGE)));
static u64 tables[MAX_TABLES][256] __attribute__((aligned(2048)));

void dat_map(u64 virt, u64 real)
{
	static int used;
	u64 *segment = &segments[virt / SEGMENT], *table;

	if (*segment & 0x20) {
		table = tables[used++];
		for (int i = 0; i < 256; i++)
			table[i] = 0x400;
		*segment = (u64)table;
	}
	table = (u64 *)(*segment & ~0x7ffUL);
	table[virt / PAGE % 256] = real;
}

/* The entry as it is, for translations that dat_map() does not make. */
void dat_set_segment(u64 virt, u64 entry)
{
	segments[virt / SEGMENT] = entry;
	asm volatile("ptlb" : : : "memory");
}

u64 dat_segment(u64 virt)
{
	return segments[virt / SEGMENT];
}

/* Translate by a region third table with one valid entry, which has these bits. */
void dat_load_region(u64 bits)
{
	static u64 regions[512] __attribute__((aligned(PAGE)));
	u64 asce = (u64)regions | 4;	/* region third table, one page of it */

	for (u64 i = 1; i < ARRAY_SIZE(regions); i++)
		regions[i] = 0x24;
	regions[0] = (u64)segments | 7 | bits;
	asm volatile("lctlg %%c1,%%c1,%0" : : "Q" (asce) : "memory");
}

u64 dat_address(int page)
{
	return WINDOW + (NPAGES - 1 - page) * PAGE;
}

/* Each CPU has to do this once. */
void dat_load(void)
{
	u64 asce = (u64)segments | 3;	/* segment table, full length */

	asm volatile("lctlg %%c1,%%c1,%0" : : "Q" (asce));
}

void dat_init(void)
{
	for (u64 i = 0; i < ARRAY_SIZE(segments); i++)
		segments[i] = 0x20;
	for (u64 at = 0; at < ram_size(); at += PAGE)
		dat_map(at, at);
	for (int i = 0; i < NPAGES; i++)
		dat_map(dat_address(i), (u64)pages[i]);
	dat_load();
}

/* The second CPU. */

static struct lowcore lowcore1 __attribute__((aligned(2 * PAGE)));
static u8 stack1[4 * PAGE] __attribute__((aligned(8)));
static void (*volatile job1)(void);

static int sigp(int order, u64 parameter)
{
	register u64 reg1 asm("1") = parameter;
	int cc;

	asm volatile("sigp %1,%2,0(%3)\n\tipm %0\n\tsrl %0,28"
		     : "=d" (cc), "+d" (reg1) : "d" (1UL), "a" (order) : "cc", "memory");
	return cc;
}

void cpu_loop(void)
{
	for (;;) {
		while (!job1)
			barrier();
		job1();
		barrier();
		job1 = 0;
	}
}

void cpu1_init(void)
{
	lowcore_init(&lowcore1);
	lowcore1.restart_new[0] = REAL;
	lowcore1.restart_new[1] = (u64)cpu_start;
	lowcore1.stack = (u64)stack1 + sizeof(stack1) - 160;
	barrier();
	equal("SIGP set prefix", sigp(0x0d, (u64)&lowcore1), 0);
	equal("SIGP restart", sigp(0x06, 0), 0);
	cpu1_run(dat_load);
	cpu1_wait();
}

void cpu1_run(void (*job)(void))
{
	barrier();
	job1 = job;
}

void cpu1_wait(void)
{
	while (job1)
		barrier();
}

u64 cpu1_prefix(void)
{
	return (u64)&lowcore1;
}

void cpu1_stop(void)
{
	while (sigp(0x05, 0) == 2)
		barrier();
}
