/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Page host virtual assist: the s390 side of linux/page_hva.h
 *
 * The states, what ESSA returns and the discard fault are described in
 * Documentation/arch/s390/page_hva.rst.  All functions take a page of the
 * configured storage, need no lock and work in any context; serialising
 * transitions of one page is the business of mm/page_hva/.
 */
#ifndef _ASM_S390_PAGE_HVA_H
#define _ASM_S390_PAGE_HVA_H

#include <linux/mm.h>
#include <asm/asm-extable.h>
#include <asm/page-states.h>

#ifdef CONFIG_PAGE_HVA

/**
 * page_hva_get_state - ask the host for the state of a page
 * @page: the page
 *
 * Return: usage (ESSA_USAGE_MASK) and content (ESSA_CONTENT_MASK) state.
 */
static inline unsigned int page_hva_get_state(struct page *page)
{
	return essa(page_to_phys(page), ESSA_GET_STATE) &
	       (ESSA_USAGE_MASK | ESSA_CONTENT_MASK);
}

/**
 * page_hva_state_discarded - is this the state of a discarded page?
 * @state: what page_hva_get_state() returned
 *
 * A volatile page with preserved content does not exist in the architecture,
 * but Linux as a KVM host reports one for a page that it swapped out and that
 * ESSA can not bring back: for the guest it is gone just the same.
 *
 * Return: true if the page is volatile and its content is not there.
 */
static inline bool page_hva_state_discarded(unsigned int state)
{
	return (state & ESSA_USAGE_MASK) == ESSA_USAGE_VOLATILE &&
	       (state & ESSA_CONTENT_MASK) != ESSA_CONTENT_RESIDENT;
}

/**
 * page_hva_discarded - did the host take the content of a page?
 * @page: the page
 *
 * Return: true if the next access to @page ends in a discard fault.
 */
static inline bool page_hva_discarded(struct page *page)
{
	return page_hva_state_discarded(page_hva_get_state(page));
}

/**
 * page_hva_set_unused - tell the host that the content has no value
 * @page: the page; not to be touched before it is stable again
 */
static inline void page_hva_set_unused(struct page *page)
{
	essa(page_to_phys(page), ESSA_SET_UNUSED);
}

/**
 * page_hva_set_stable - make a page stable whatever happened to its content
 * @page: the page; reads as zeros if it was discarded
 */
static inline void page_hva_set_stable(struct page *page)
{
	essa(page_to_phys(page), ESSA_SET_STABLE);
}

/**
 * page_hva_has_unused - does the host want to know which pages are free?
 *
 * Return: true if there is ESSA, and it is not switched off by cmma=off.
 */
static inline bool page_hva_has_unused(void)
{
	return cmma_flag;
}

/**
 * page_hva_set_stable_data - make a page stable that is not used otherwise
 * @page: the page, which nobody has a reference to
 *
 * The page is no page table now.
 */
static inline void page_hva_set_stable_data(struct page *page)
{
	/* On an LRU list others change the flags of the page at the same time. */
	if (test_bit(PG_hva_dat, &page->flags))
		clear_bit(PG_hva_dat, &page->flags);
	if (cmma_flag < 2)
		essa(page_to_phys(page), ESSA_SET_STABLE);
	else
		essa(page_to_phys(page), ESSA_SET_STABLE_NODAT);
}

/**
 * page_hva_pages_set_stable - make pages stable that are not used otherwise
 * @page: the first of them; nobody has a reference
 * @nr: how many there are
 *
 * What the host discarded of them reads as zeros.
 */
static inline void page_hva_pages_set_stable(struct page *page, unsigned int nr)
{
	while (nr--)
		page_hva_set_stable_data(page++);
}

/**
 * page_hva_set_volatile - allow the host to discard a page
 * @page: the page
 * @writable: the page can be stored to without the kernel knowing; the host
 *	      preserves it if the change bit of its storage key is set
 */
static inline void page_hva_set_volatile(struct page *page, bool writable)
{
	if (writable)
		essa(page_to_phys(page), ESSA_SET_POT_VOLATILE);
	else
		essa(page_to_phys(page), ESSA_SET_VOLATILE);
}

/**
 * page_hva_pages_set_volatile - allow the host to discard the pages of a folio
 * @page: the first of them
 * @nr: how many there are
 * @writable: see page_hva_set_volatile()
 */
static inline void page_hva_pages_set_volatile(struct page *page,
					       unsigned int nr, bool writable)
{
	while (nr--)
		page_hva_set_volatile(page++, writable);
}

/**
 * page_hva_set_stable_if_resident - make a page stable unless it is gone
 * @page: the page
 *
 * Return: true if @page is stable with its content, false if it was discarded
 * and still is.
 */
static inline bool page_hva_set_stable_if_resident(struct page *page)
{
	return !page_hva_state_discarded(essa(page_to_phys(page),
					      ESSA_SET_STABLE_IF_RESIDENT));
}

/**
 * page_hva_pages_set_stable_if_resident - make pages stable unless one is gone
 * @page: the first of them
 * @nr: how many there are
 *
 * Return: true if all are stable with their content; false if one of them was
 * discarded and still is.  Those before it are stable, the others are not.
 */
static inline bool page_hva_pages_set_stable_if_resident(struct page *page,
							 unsigned int nr)
{
	while (nr--)
		if (!page_hva_set_stable_if_resident(page++))
			return false;
	return true;
}

/**
 * page_hva_pages_discarded - did the host take the content of any page?
 * @page: the first of them
 * @nr: how many there are
 *
 * Return: true if an access to one of the pages ends in a discard fault.
 */
static inline bool page_hva_pages_discarded(struct page *page, unsigned int nr)
{
	while (nr--)
		if (page_hva_discarded(page++))
			return true;
	return false;
}

/*
 * Clear the change bit of the storage key: the host preserves a potentially
 * volatile page that has it.  There is no need to read the key first: all keys are
 * the default one, except those of guests under SIE, whose pages are never
 * potentially volatile.  That the reference bit goes as well does not matter, Linux
 * does not use it.
 */
static inline void page_hva_clear_changed(struct page *page)
{
	page_set_storage_key(page_to_phys(page), PAGE_DEFAULT_KEY, 1);
}

/**
 * page_hva_copy_page - copy a page that may be discarded meanwhile
 * @to: the kernel address of a stable page
 * @from: the kernel address of the page to copy
 *
 * As copy_page(), with an exception table entry.  MVCL counts down what is left to
 * do, and it is nullified by a discard fault, or does a part before it.
 *
 * Return: true if all of it was copied, false if @from is discarded.
 */
static inline bool page_hva_copy_page(void *to, void *from)
{
	union register_pair dst, src;

	dst.even = (unsigned long)to;
	dst.odd  = PAGE_SIZE;
	src.even = (unsigned long)from;
	src.odd  = 0xb0000000UL | PAGE_SIZE;
	asm volatile(
		"0:	mvcl	%[dst],%[src]\n"
		"1:\n"
		EX_TABLE(0b, 1b)
		: [dst] "+&d" (dst.pair), [src] "+&d" (src.pair)
		: : "memory", "cc");
	return !(dst.odd & 0xffffff);
}

void __arch_alloc_page(struct page *page, int order);

/* Each page that is allocated passes here, before its first user touches it. */
static __always_inline void arch_alloc_page(struct page *page, int order)
{
	if (page_hva_unused_enabled() &&
	    (order || page->flags & (BIT(PG_hva_unused) | BIT(PG_hva_dat))))
		__arch_alloc_page(page, order);
}

#endif /* CONFIG_PAGE_HVA */

void __page_hva_make_all_stable(void);

/* The memory is about to be somebody else's, who may know nothing of states. */
static inline void page_hva_make_all_stable(void)
{
	if (IS_ENABLED(CONFIG_PAGE_HVA) && cmma_flag)
		__page_hva_make_all_stable();
}

#endif /* _ASM_S390_PAGE_HVA_H */
