// SPDX-License-Identifier: GPL-2.0
/*
 * Page host virtual assist: is there a host for it, and the discard fault
 */
#define pr_fmt(fmt) "page_hva: " fmt

#include <linux/extable.h>
#include <linux/init.h>
#include <linux/kdebug.h>
#include <linux/kprobes.h>
#include <linux/memblock.h>
#include <linux/memory_hotplug.h>
#include <linux/mm.h>
#include <linux/page_hva.h>
#include <linux/ptrace.h>
#include <linux/sched/debug.h>
#include <linux/sched/signal.h>
#include <linux/sizes.h>
#include <linux/uaccess.h>
#include <linux/vmstat.h>
#include <asm/asm-extable.h>
#include <asm/extable.h>
#include <asm/fault.h>
#include <asm/gmap.h>
#include <asm/sysinfo.h>
#include <asm/uv.h>
#include "../kernel/entry.h"
#include <trace/events/page_hva.h>

static enum { MODE_OFF, MODE_ON, MODE_FORCE } mode __initdata;
static bool potentially __initdata;

static int __init page_hva_setup(char *str)
{
	static const char * const names[] = { "off", "on", "force" };
	char *comma = str ? strchr(str, ',') : NULL;
	int i;

	potentially = comma && !strcmp(comma, ",p");
	if (potentially)
		*comma = 0;
	i = str ? match_string(names, ARRAY_SIZE(names), str) : -EINVAL;
	if (i < 0) {
		pr_err("page_hva=%s is not understood, it takes off, on or force, the latter two with ,p\n",
		       str ?: "");
		return -EINVAL;
	}
	mode = i;
	return 0;
}
early_param("page_hva", page_hva_setup);

/*
 * z/VM delivers discard faults.  Of the hosts that say they are KVM, those do
 * whose control program identifier begins with "KVM/CMM2", which is told to the
 * guest in EBCDIC.  Others lose data instead.  "KVM/CMM2V" discards a potentially
 * volatile page even if it was changed.
 */
static bool __init host_delivers_discard_faults(void)
{
	static const u8 cmm2v[9] __initconst = {
		0xd2, 0xe5, 0xd4, 0x61, 0xc3, 0xd4, 0xd4, 0xf2, 0xe5
	};
	struct sysinfo_3_2_2 *vm;
	bool found = false;

	if (MACHINE_IS_VM)
		return true;
	vm = (struct sysinfo_3_2_2 *)get_zeroed_page(GFP_KERNEL);
	if (!vm)
		return false;
	if (stsi(vm, 0, 0, 0) >= 3 && !stsi(vm, 3, 2, 2) && vm->count)
		found = !memcmp(vm->vm[0].cpi, cmm2v, sizeof(cmm2v) - 1);
	if (potentially && found && vm->vm[0].cpi[8] == cmm2v[8]) {
		pr_warn("this host knows of no potentially volatile pages: there are none\n");
		potentially = false;
	}
	free_page((unsigned long)vm);
	return found;
}

static int __init page_hva_init(void)
{
	if (mode == MODE_OFF)
		return 0;
	if (is_prot_virt_guest()) {
		pr_warn("refused: the pages of a protected virtualization guest are not the host's to discard\n");
	} else if (!cmma_flag) {
		pr_warn("refused: no ESSA instruction, or switched off by cmma=off\n");
	} else if (host_delivers_discard_faults()) {
		pr_info("enabled: the host may discard clean page cache\n");
		page_hva_enable();
	} else if (mode == MODE_FORCE) {
		pr_warn("forced: if this host does not deliver discard faults, page cache reads as zeros after a discard and data is lost\n");
		page_hva_enable();
	} else {
		pr_warn("refused: this host is not known to deliver discard faults; page_hva=force overrides that, at the risk of data loss\n");
	}
	if (IS_ENABLED(CONFIG_SWAP) && page_hva_enabled() && potentially)
		page_hva_enable_p();
	return 0;
}
arch_initcall(page_hva_init);

/* MOVE WITH OPTIONAL SPECIFICATIONS, which all user accesses are made of. */
struct mvcos_insn {
	u8 op1;
	u8 r3 : 4;
	u8 op2 : 4;
	u16 b1 : 4;
	u16 d1 : 12;
	u16 b2 : 4;
	u16 d2 : 12;
} __packed;

static unsigned long operand_address(struct pt_regs *regs, unsigned int base,
				     unsigned int displacement)
{
	return (base ? regs->gprs[base] : 0) + displacement;
}

/*
 * Does a kernel address range of at most two pages touch a page frame?  Not by
 * arithmetic: stacks and vmalloc areas are not part of the identity mapping.
 */
static bool kernel_range_touches(unsigned long address, unsigned long length,
				 unsigned long pfn)
{
	unsigned long ends[] = { address, address + length - 1 };
	int i;

	for (i = 0; i < ARRAY_SIZE(ends); i++) {
		unsigned long real;
		int cc;

		asm volatile("	lra	%[real],0(%[virt])\n"
			     "	ipm	%[cc]\n"
			     "	srl	%[cc],28\n"
			     : [real] "=d" (real), [cc] "=d" (cc)
			     : [virt] "a" (ends[i])
			     : "cc");
		if (!cc && phys_to_pfn(real) == pfn)
			return true;
	}
	return false;
}

/*
 * Did the kernel access the page on behalf of a user address?  The fault tells
 * the absolute address only, so look at the instruction.  It was nullified:
 * the PSW points to it.
 *
 * If both operands lie in the page, the access counts as one to the kernel
 * operand: its caller gets rid of the page, and the page fault of the repeated
 * copy does the same for the user operand.
 */
static bool is_user_access(struct pt_regs *regs, struct mvcos_insn insn,
			   unsigned long pfn)
{
	union oac oac = { .val = regs->gprs[0] };
	unsigned long length;

	/* The compare and swap loops of the futex operations */
	if (psw_bits(regs->psw).as == PSW_BITS_AS_SECONDARY)
		return true;
	if (insn.op1 != 0xc8 || insn.op2 != 0)
		return false;
	length = min(regs->gprs[insn.r3], PAGE_SIZE);
	if (!length)
		return false;
	if (!(oac.oac1.a && oac.oac1.as == PSW_BITS_AS_SECONDARY) &&
	    kernel_range_touches(operand_address(regs, insn.b1, insn.d1),
				 length, pfn))
		return false;
	if (!(oac.oac2.a && oac.oac2.as == PSW_BITS_AS_SECONDARY) &&
	    kernel_range_touches(operand_address(regs, insn.b2, insn.d2),
				 length, pfn))
		return false;
	return true;
}

/* Was a guest of ours running, on the page tables of its host process? */
static bool is_guest_access(struct pt_regs *regs)
{
	struct gmap *gmap;

	if (!IS_ENABLED(CONFIG_PGSTE))
		return false;
	gmap = (struct gmap *)get_lowcore()->gmap;
	return gmap && gmap->asce == regs->cr1;
}

/**
 * do_discard_fault - program interruption 0x1a, block volatility
 * @regs: registers; int_parm_long has the absolute address of the page
 *
 * An access through page tables, by user space or on its behalf, is repeated
 * once the page is out of the page cache: then it is an ordinary page fault.
 * A copy from the page by the kernel ends short if it has an exception table
 * entry; the kernel code that expects this cleans up.
 *
 * Context: Program check; interrupts as they were at the access.
 */
void do_discard_fault(struct pt_regs *regs)
{
	unsigned long pfn = phys_to_pfn(regs->int_parm_long);
	struct mvcos_insn insn = { };
	struct page *page;

	/*
	 * Before kprobes reset the PSW of an instruction that they single-step
	 * out of line to where it came from: there is a breakpoint now.
	 */
	if (!user_mode(regs) && !is_guest_access(regs))
		memcpy(&insn, (void *)regs->psw.addr, sizeof(insn));
	/* The instruction was nullified, see do_exception(). */
	clear_thread_flag(TIF_PER_TRAP);
	if (kprobe_page_fault(regs, 0x1a))
		return;

	count_vm_event(user_mode(regs) ? PAGE_HVA_FAULTS_USER :
					 PAGE_HVA_FAULTS_KERNEL);
	trace_page_hva_discard_fault(pfn, regs->psw.addr, user_mode(regs));
	page = pfn_to_online_page(pfn);
	if (user_mode(regs) || is_guest_access(regs) ||
	    (!faulthandler_disabled() && is_user_access(regs, insn, pfn))) {
		/*
		 * No page: its memory went offline since the access, so it was
		 * freed, and no page table refers to it any more.
		 */
		if (page_hva_enabled() && !page_hva_drop(page)) {
			/* Whoever ends anyway needs no further attempts. */
			if (!user_mode(regs) && fatal_signal_pending(current))
				fixup_exception(regs);
			return;
		}
	}
	if (!user_mode(regs) && fixup_exception(regs))
		return;

	pr_alert_ratelimited("access to discarded page %lx, state %x\n", pfn,
			     page ? page_hva_get_state(page) : 0);
	if (user_mode(regs)) {
		force_sig_fault(SIGBUS, BUS_ADRERR,
				(void __user *)regs->psw.addr);
		return;
	}
	die(regs, "Access to a discarded page");
}

NOKPROBE_SYMBOL(do_discard_fault);

/*
 * Set a block stable if there is one at this absolute address.  An addressing
 * exception suppresses the instruction: the PSW points to the next one.
 */
static bool set_stable_if_configured(unsigned long paddr)
{
	int configured = 0;

	asm volatile(
		"	.insn	rrf,0xb9ab0000,%%r1,%[paddr],%[cmd],0\n"
		"0:	lhi	%[configured],1\n"
		"1:\n"
		EX_TABLE(0b, 1b)
		: [configured] "+d" (configured)
		: [paddr] "d" (paddr), [cmd] "i" (ESSA_SET_STABLE)
		: "1", "memory");
	return configured;
}

/**
 * __page_hva_make_all_stable - make all memory stable for whoever runs next
 *
 * The next kernel, or the program that writes a dump, may know nothing of page
 * states, and must not find a page that faults or that the host takes away.
 * What the host took already reads as zeros from now on.  Unused pages
 * need it with page_hva=off as well.
 *
 * No page can turn volatile or unused after the loop has passed it: the other
 * CPUs are stopped, and this one neither ends I/O nor frees memory any more.
 *
 * Nothing but max_pfn is taken for granted, as the kernel may have crashed: no
 * locks, no allocations, no struct page.  Where there is no memory, ESSA ends
 * in an addressing exception, and the rest of that megabyte, the smallest unit
 * of memory, is skipped.
 *
 * Context: This CPU is the only one, with interrupts off.
 */
void __page_hva_make_all_stable(void)
{
	unsigned long end = PFN_PHYS(max_pfn);
	unsigned long paddr = 0;

	while (paddr < end) {
		if (set_stable_if_configured(paddr))
			paddr += PAGE_SIZE;
		else
			paddr = ALIGN(paddr + 1, SZ_1M);
	}
}
