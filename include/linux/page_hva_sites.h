/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Page host virtual assist: each hook can be switched off, to show what it is for
 *
 * This comes after the definitions of the hooks, and puts a test before the use of
 * each.  The test has a descriptor in a section of its own, as dynamic debug has,
 * with the name of the function that uses the hook: mm/page_hva/sites.c.
 */
#ifndef _LINUX_PAGE_HVA_SITES_H
#define _LINUX_PAGE_HVA_SITES_H

#include <linux/compiler.h>

struct page_hva_site {
	const char *verb, *function;
	bool off;
};

#define PAGE_HVA_OFF(name)						\
({									\
	static struct page_hva_site __aligned(8) __used			\
		__section("__page_hva_sites") __site = {		\
		.verb = #name, .function = __func__,			\
	};								\
	unlikely(READ_ONCE(__site.off));				\
})

/* What it is to do nothing, for each */
#define page_hva_enabled()						\
	(page_hva_enabled() && !PAGE_HVA_OFF(enabled))
#define page_hva_make_stable(folio)					\
	(PAGE_HVA_OFF(make_stable) || page_hva_make_stable(folio))
#define page_hva_make_volatile(folio)					\
	(PAGE_HVA_OFF(make_volatile) ? (void)0 : page_hva_make_volatile(folio))
#define page_hva_end_read(folio)					\
	(PAGE_HVA_OFF(end_read) ? (void)0 : page_hva_end_read(folio))
#define page_hva_lookup(folio, flags)					\
	(PAGE_HVA_OFF(lookup) || page_hva_lookup(folio, flags))
#define page_hva_make_room(mapping, index, gfp)				\
	(PAGE_HVA_OFF(make_room) ? (void)0 :				\
	 page_hva_make_room(mapping, index, gfp))
#define page_hva_claim(fbatch, iocb, count)				\
	(PAGE_HVA_OFF(claim) ? 0 : page_hva_claim(fbatch, iocb, count))
#define page_hva_reread(folio, iocb, count)				\
	(PAGE_HVA_OFF(reread) ? -EFAULT : page_hva_reread(folio, iocb, count))
#define page_hva_fault(folio, vmf, locked, ret)				\
	(PAGE_HVA_OFF(fault) || page_hva_fault(folio, vmf, locked, ret))
#define page_hva_copy(to, from, vmf, locked)				\
	(PAGE_HVA_OFF(copy) ?						\
	 (copy_user_highpage(to, from, (vmf)->address, (vmf)->vma), 0) :	\
	 page_hva_copy(to, from, vmf, locked))
#define page_hva_vm_locked(vma)						\
	(PAGE_HVA_OFF(vm_locked) ? (void)0 : page_hva_vm_locked(vma))
#define page_hva_free(page, order)					\
	(PAGE_HVA_OFF(free) ? (void)0 : page_hva_free(page, order))
#define page_hva_resident(page, nr)					\
	(PAGE_HVA_OFF(resident) || page_hva_resident(page, nr))
#define page_hva_sweep(pgdat, memcg, nr, reclaimed, scanned)		\
	(PAGE_HVA_OFF(sweep) ? -EAGAIN :				\
	 page_hva_sweep(pgdat, memcg, nr, reclaimed, scanned))
#define page_hva_shadow(folio)						\
	(PAGE_HVA_OFF(shadow) ? NULL : page_hva_shadow(folio))
#define page_hva_refault(folio, shadow)					\
	(PAGE_HVA_OFF(refault) ? -ENOENT : page_hva_refault(folio, shadow))
#define page_hva_readahead(ractl, index, mark, end)			\
	(PAGE_HVA_OFF(readahead) ? -ENOENT :				\
	 page_hva_readahead(ractl, index, mark, end))
#define page_hva_make_unused(pfn, order)				\
	(PAGE_HVA_OFF(make_unused) ? (void)0 : page_hva_make_unused(pfn, order))
#define page_hva_swap_in(folio, vma)					\
	(PAGE_HVA_OFF(swap_in) ? (void)0 : page_hva_swap_in(folio, vma))
#define page_hva_swap_claim(folio)					\
	(PAGE_HVA_OFF(swap_claim) || page_hva_swap_claim(folio))
#define page_hva_drop(page)						\
	(PAGE_HVA_OFF(drop) ? 0 : page_hva_drop(page))

/* Of the architecture */
#define page_hva_set_stable_data(page)					\
	(PAGE_HVA_OFF(set_stable_data) ? (void)0 :			\
	 page_hva_set_stable_data(page))
#define page_hva_make_all_stable()					\
	(PAGE_HVA_OFF(make_all_stable) ? (void)0 :			\
	 page_hva_make_all_stable())

#endif /* _LINUX_PAGE_HVA_SITES_H */
