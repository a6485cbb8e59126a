/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Page host virtual assist: clean page cache that the host may discard
 *
 * A folio is volatile when vmscan could drop it right now without I/O; the
 * host then may take it without asking.  The rules, and which hook follows
 * from which of them, are in Documentation/mm/page_hva.rst.  The hooks of mm/
 * are in mm/page_hva.h.
 *
 * page_hva_enabled() is a constant false if this is not configured, so that all
 * that depends on it vanishes, and a patched-out branch if it is off at boot.
 */
#ifndef _LINUX_PAGE_HVA_H
#define _LINUX_PAGE_HVA_H

#include <linux/jump_label.h>
#include <linux/mm.h>

DECLARE_STATIC_KEY_FALSE(page_hva_key);
DECLARE_STATIC_KEY_FALSE(page_hva_unused_key);
DECLARE_STATIC_KEY_FALSE(page_hva_p_key);

void page_hva_enable(void);
void page_hva_enable_p(void);
int __page_hva_drop(struct page *page);

/**
 * page_hva_enabled - does this kernel make folios volatile?
 *
 * Return: true after page_hva_enable(); a patched-out branch until then.
 */
static __always_inline bool page_hva_enabled(void)
{
	return IS_ENABLED(CONFIG_PAGE_HVA) &&
	       static_branch_unlikely(&page_hva_key);
}

/* Do free pages become unused? */
static __always_inline bool page_hva_unused_enabled(void)
{
	return IS_ENABLED(CONFIG_PAGE_HVA) &&
	       static_branch_unlikely(&page_hva_unused_key);
}

/* Are mapped folios of the swap cache made potentially volatile, too? */
static __always_inline bool page_hva_p_enabled(void)
{
	return IS_ENABLED(CONFIG_PAGE_HVA) && IS_ENABLED(CONFIG_SWAP) &&
	       static_branch_unlikely(&page_hva_p_key);
}

/**
 * page_hva_drop - take a discarded page out of page tables and page cache
 * @page: the page, or NULL; there is no need for a reference
 *
 * Whoever accesses it again gets an ordinary page fault.  It may have been freed
 * and reused meanwhile: what is not discarded stays where it is.
 *
 * Context: May sleep; page table locks are not held.
 * Return: 0, or -EBUSY if it is discarded and can not be dropped: repeating the
 * access would fault for ever.
 */
static inline int page_hva_drop(struct page *page)
{
	return page_hva_enabled() && page ? __page_hva_drop(page) : 0;
}

#ifdef CONFIG_ARCH_HAS_PAGE_HVA
#include <asm/page_hva.h>
#endif

#if defined(CONFIG_PAGE_HVA_DEBUG) && !defined(_MM_PAGE_HVA_H)
#include <linux/page_hva_sites.h>
#endif

#endif /* _LINUX_PAGE_HVA_H */
