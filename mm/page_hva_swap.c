// SPDX-License-Identifier: GPL-2.0
/*
 * Page host virtual assist: folios of the swap cache
 *
 * A clean folio in the swap cache is a copy of its swap slot.  It can be
 * volatile while it is not mapped: then nobody can store to it without a
 * look-up first, and look-ups make it stable.  Once it is mapped it stays
 * stable, as a store dirties the page table entry only.
 *
 * That is, unless the change bit of its storage key says it: with page_hva=on,p
 * the bit is cleared when a folio that equals its slot gets its first mapping,
 * and PG_hva_writable says that it counts.  When left alone, such a folio turns
 * potentially volatile: the host does not discard it if it was changed.
 *
 * So whoever takes a folio out of the swap cache and keeps its content has it
 * from a look-up or from a page table, and it is stable.  Only reclaim finds
 * folios on the LRU, and of a clean one that is not mapped it keeps nothing.
 */
#define pr_fmt(fmt) "page_hva: " fmt

#include <linux/kprobes.h>
#include <linux/memcontrol.h>
#include <linux/mm.h>
#include <linux/page_hva.h>
#include <linux/pagemap.h>
#include <linux/rmap.h>
#include <linux/swap.h>
#include <linux/workqueue.h>
#include "internal.h"
#include "page_hva.h"
#include "page_hva_stat.h"
#include "swap.h"

/* How often a discarded folio is tried to be unmapped before there is a warning. */
#define PAGE_HVA_UNMAP_TRIES	3

/**
 * page_hva_swap_excluded - is there no need to look at a folio any closer?
 * @folio: a swap-backed folio; the caller has its lock
 *
 * Shmem stays stable, in the swap cache as well.  What is left of a slot that shmem
 * has given up has no user, and looks like anonymous memory.
 *
 * The entry is that of the folio while it is locked, and a slot does not go while
 * a folio of the swap cache has it.
 *
 * Context: Not under the state lock: __swap_count() can be traced.
 * Return: true if the folio does not turn volatile.
 */
bool page_hva_swap_excluded(struct folio *folio)
{
	return !folio_test_swapcache(folio) ||
	       __swap_count(folio->swap) == SWAP_MAP_SHMEM;
}

/**
 * page_hva_swap_eligible - does the swap slot of a folio hold its content?
 * @folio: a swap-backed folio, found clean and uptodate, locked by the caller
 * @mapped: whether there were mappings when the references were counted
 *
 * What was stored through a page table entry is in the dirty flag once it is
 * unmapped: the flag is set before the mapcount goes, and is loaded after it.
 * Under the folio lock a folio can be clean and not be written yet: added to
 * swap just now, or on its way from add_to_swap() to writeback.  That is somebody
 * else's lock.
 *
 * A KSM page can be compared with others although it is not mapped.  Large
 * folios are read into the swap cache for shmem only.  A mapped folio
 * becomes potentially volatile only, see page_hva_swap_in().
 */
bool notrace page_hva_swap_eligible(struct folio *folio, bool mapped)
{
	return (!mapped || folio_test_hva_writable(folio)) &&
	       folio_test_swapcache(folio) && !folio_test_large(folio) &&
	       !folio_test_ksm(folio) && !__folio_test_movable(folio);
}
NOKPROBE_SYMBOL(page_hva_swap_eligible);	/* under the state lock */

/*
 * page_hva_swap_remove - take a discarded folio out of the swap cache
 * @folio: the folio; the caller has the lock and a reference
 *
 * As reclaim does it: the swap slot is in use until the folio is gone, and is
 * free afterwards if no page table refers to it.
 *
 * Context: Any with interrupts on; does not sleep.
 * Return: false if somebody else has a reference, or has it isolated.
 */
static bool page_hva_swap_remove(struct folio *folio)
{
	struct address_space *mapping;
	swp_entry_t entry;

	if (folio_mapped(folio) || folio_test_writeback(folio) ||
	    !folio_isolate_lru(folio))
		return false;
	entry = folio->swap;
	mapping = swap_address_space(entry);
	xa_lock_irq(&mapping->i_pages);
	/* The swap cache, the caller, and the isolation from the LRU */
	if (!folio_ref_freeze(folio, 3)) {
		xa_unlock_irq(&mapping->i_pages);
		folio_putback_lru(folio);
		return false;
	}
	__delete_from_swap_cache(folio, entry, NULL);
	mem_cgroup_swapout(folio, entry);
	xa_unlock_irq(&mapping->i_pages);
	put_swap_folio(folio, entry);
	folio_clear_active(folio);
	folio_clear_unevictable(folio);
	folio_ref_unfreeze(folio, 1);
	page_hva_count(PAGE_HVA_DISCARDS);
	page_hva_count(PAGE_HVA_SWAP_DISCARDS);
	return true;
}

static void page_hva_drain(struct work_struct *work)
{
	lru_add_drain_all();
}

/*
 * Swapping in waits for a discarded folio to leave the swap cache, and calls
 * page_hva_swap_discard() again and again; but it may not sleep there.  The
 * folio was mapped when a batch of another CPU got it, and lost that mapping to
 * munmap() before anybody met it.
 */
static DECLARE_WORK(page_hva_drain_work, page_hva_drain);

/*
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
static bool page_hva_swap_unmap(struct folio *folio)
{
	int tries = 0;

	for (;;) {
		try_to_unmap(folio, TTU_SYNC | TTU_IGNORE_MLOCK);
		if (!folio_mapped(folio))
			return true;
		if (++tries == PAGE_HVA_UNMAP_TRIES)
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
 * page_hva_swap_discard - unmap a discarded folio and remove it
 * @folio: the folio, which is in the swap cache; the caller has the lock and a
 *	   reference
 *
 * It equals its swap slot, or the host would have kept it.  If it is dirty, a
 * page fault marked a page table entry in advance of a store that did not come
 * about: the store will fault again.
 *
 * Unmapping takes the anon_vma lock, as reclaim and migration do with a folio
 * locked, and as a page fault does below the mmap lock.  Nobody accesses user
 * memory with page faults enabled under an anon_vma lock, so the discard fault
 * does not come from there.
 *
 * If it can not be unmapped now, whoever accesses it does that again, and gets
 * here again: that is no reason to end a process.  If it only can not be
 * removed, look-ups do that later.
 *
 * Context: May sleep if the folio is mapped.
 */
void page_hva_swap_discard(struct folio *folio)
{
	bool may_sleep = folio_mapped(folio);

	if (may_sleep) {
		if (!page_hva_swap_unmap(folio))
			return;
		folio_clear_dirty(folio);
	}
	if (page_hva_swap_remove(folio))
		return;
	/* A batch may have a reference. */
	if (!may_sleep) {
		schedule_work(&page_hva_drain_work);
		return;
	}
	lru_add_drain_all();
	page_hva_swap_remove(folio);
}

/**
 * __page_hva_swap_free - slow path of page_hva_swap_free()
 * @folio: the folio
 *
 * Under the folio lock an unmapped folio stays so: who maps one that the swap
 * cache had gets the lock first, and then finds that it is not there any more.
 *
 * PG_hva_writable compares the folio with its slot, so it goes with the slot.
 * What was stored until now is in page table entries, or in PG_dirty.  Unmapping
 * may have seen the flag just before: then it sets PG_dirty, as the caller does.
 * But the slot may turn out to have other users, and be written next:
 * page_hva_swap_write() needs the flag of a folio that may be discarded.
 *
 * Return: false if the folio was discarded and is mapped.
 */
bool __page_hva_swap_free(struct folio *folio)
{
	if (folio_mapped(folio) &&
	    !page_hva_make_stable(folio, PAGE_HVA_SITE_SWAP_FREE))
		return false;
	if (folio_test_hva_writable(folio) && !folio_test_hva_volatile(folio))
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
	page_clear_dirty(&folio->page);
	folio_set_hva_writable(folio);
	page_hva_candidate(folio);
}
