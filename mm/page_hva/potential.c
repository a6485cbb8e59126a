// SPDX-License-Identifier: GPL-2.0
/*
 * Page host virtual assist: mapped folios of the swap cache
 *
 * Whether a mapped folio equals its swap slot is known to its page table entries
 * only.  The change bit of the storage key knows it, too: with page_hva=on,p it is
 * cleared when a folio that equals its slot gets its first mapping, and
 * PG_hva_writable says that it counts.  When left alone, such a folio turns
 * potentially volatile: the host does not discard it if it was changed.
 *
 * Linux itself does not look at the bit.  A page table entry is marked dirty by
 * the page fault of the first store, and gives that to PG_dirty when it goes, so
 * what is not mapped any more, and clean, equals its slot.
 */
#define pr_fmt(fmt) "page_hva: " fmt

#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/rmap.h>
#include <linux/swap.h>
#include "../internal.h"
#include "state.h"

/* How often a discarded folio is tried to be unmapped before there is a warning. */
#define UNMAP_TRIES	3

DEFINE_STATIC_KEY_FALSE(page_hva_p_key);

/**
 * page_hva_enable_p - make mapped folios of the swap cache potentially volatile
 *
 * Context: Boot, once, after page_hva_enable().
 */
void __init page_hva_enable_p(void)
{
	/*
	 * KSM reads mapped anonymous memory, and has no hooks.  Guests under SIE
	 * have the storage keys of their memory to themselves.
	 */
	if (IS_ENABLED(CONFIG_KSM) || IS_ENABLED(CONFIG_PGSTE))
		pr_warn("no potentially volatile pages: KSM or KVM is configured\n");
	else
		static_branch_enable(&page_hva_p_key);
}

/**
 * page_hva_swap_unmap - unmap a discarded folio, which puts its swap entry back
 * @folio: the folio; the caller has the lock and a reference
 *
 * There are two obstacles, and both pass.  A pin: nobody keeps one who finds the
 * folio discarded.  And the slot can have so many users that to count one more
 * takes a page, which the walk with its spinlocks may fail to get.  Here
 * is the place to wait for one.
 *
 * Context: May sleep.
 * Return: false if the folio is still mapped.
 */
bool page_hva_swap_unmap(struct folio *folio)
{
	int tries = 0;

	for (;;) {
		try_to_unmap(folio, TTU_SYNC | TTU_IGNORE_MLOCK);
		if (!folio_mapped(folio))
			return true;
		if (++tries == UNMAP_TRIES)
			break;
		add_swap_count_continuation(folio->swap, GFP_NOIO);
		cond_resched();
	}
	if (!folio_maybe_dma_pinned(folio))
		pr_warn_ratelimited("pfn %lx is discarded and can not be unmapped yet\n",
				    folio_pfn(folio));
	return false;
}

/**
 * __page_hva_swap_claim - slow path of page_hva_swap_claim()
 * @folio: the folio, with PG_hva_writable, and locked
 *
 * With the slot goes the other copy of its content, and what is written to it is not
 * its old content: either way the flag does not compare the two any more.  What was
 * stored until now is in page table entries, or in PG_dirty.
 *
 * The page fault of a store marks a page table entry dirty and returns.  If the
 * host discards the folio before the store is made, it is dirty and gone, and equals
 * its slot.
 *
 * What has neither mappings nor users of its slot needs no content.  It stays
 * so under the folio lock: whoever maps one that the swap cache had gets the lock
 * first, and then finds that it is not there any more.  If it is volatile, its flags
 * go when it is freed.
 *
 * The users of a slot can go at any time.  So swap_writepage() claims before it
 * looks if the slot can be freed: a claim that was made keeps the content, and one
 * that was not needed stays so, and then the slot is freed.
 *
 * Return: false if it is gone, and somebody needs it.
 */
bool __page_hva_swap_claim(struct folio *folio)
{
	if ((folio_mapped(folio) || __swap_count(folio->swap)) &&
	    !page_hva_make_stable(folio))
		return false;
	if (!folio_test_hva_volatile(folio))
		folio_clear_hva_writable(folio);
	return true;
}

/**
 * __page_hva_swap_in - slow path of page_hva_swap_in()
 * @folio: the folio
 *
 * Nobody can store to the folio now: it is not mapped, and whoever had a
 * reference for storing to it has marked it dirty before the reference goes.
 * While there is such a reference the folio does not turn volatile.
 */
void __page_hva_swap_in(struct folio *folio)
{
	VM_WARN_ON_ONCE_FOLIO(folio_test_hva_writable(folio) &&
			      !folio_test_swapcache(folio), folio);
	if (!folio_test_swapcache(folio) || folio_test_large(folio) ||
	    folio_test_ksm(folio) || folio_mapped(folio) ||
	    folio_test_writeback(folio) || folio_test_dirty(folio))
		return;
	page_hva_clear_changed(&folio->page);
	folio_set_hva_writable(folio);
	page_hva_make_volatile(folio);
}
