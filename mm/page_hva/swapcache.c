// SPDX-License-Identifier: GPL-2.0
/*
 * Page host virtual assist: folios of the swap cache
 *
 * A clean folio in the swap cache is a copy of its swap slot.  It can be
 * volatile while it is not mapped: then nobody can store to it without a
 * look-up first, and look-ups make it stable.  Once it is mapped it stays
 * stable, as a store dirties the page table entry only: unless it is potentially
 * volatile, see potential.c.
 *
 * So whoever takes a folio out of the swap cache and keeps its content has it
 * from a look-up or from a page table, and it is stable.  Only reclaim finds
 * folios on the LRU, and of a clean one that is not mapped it keeps nothing.
 */
#define pr_fmt(fmt) "page_hva: " fmt

#include <linux/kprobes.h>
#include <linux/memcontrol.h>
#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/swap.h>
#include <linux/vmstat.h>
#include <linux/workqueue.h>
#include "../internal.h"
#include "../swap.h"
#include "state.h"

/* For tests, in debugfs */
atomic_t page_hva_swap_volatile, page_hva_swap_potentially, page_hva_swap_dropped;

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
 * swap_remove - take a discarded folio out of the swap cache
 * @folio: the folio; the caller has the lock and a reference
 *
 * As reclaim does it: the swap slot is in use until the folio is gone, and is
 * free afterwards if no page table refers to it.
 *
 * Context: Any with interrupts on; does not sleep.
 * Return: false if somebody else has a reference, or has it isolated.
 */
static bool swap_remove(struct folio *folio)
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
	count_vm_event(PAGE_HVA_DROPPED);
	atomic_inc(&page_hva_swap_dropped);
	return true;
}

static void drain(struct work_struct *work)
{
	lru_add_drain_all();
}

/*
 * Swapping in waits for a discarded folio to leave the swap cache, and calls
 * page_hva_swap_drop() again and again; but it may not sleep there.  The
 * folio was mapped when a batch of another CPU got it, and lost that mapping to
 * munmap() before anybody met it.
 */
static DECLARE_WORK(drain_work, drain);

/**
 * page_hva_swap_drop - unmap a discarded folio and remove it
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
void page_hva_swap_drop(struct folio *folio)
{
	bool may_sleep = folio_mapped(folio);

	if (may_sleep) {
		if (!page_hva_swap_unmap(folio))
			return;
		folio_clear_dirty(folio);
	}
	if (swap_remove(folio))
		return;
	/* A batch may have a reference. */
	if (!may_sleep) {
		schedule_work(&drain_work);
		return;
	}
	lru_add_drain_all();
	swap_remove(folio);
}

/**
 * page_hva_swap_lookup - __page_hva_lookup() of a folio of the swap cache
 * @folio: the folio, which may be volatile
 * @locked: the caller has its lock
 *
 * Dropping it sleeps if it is mapped.  Whoever looks up a folio that others map
 * swaps in, and may sleep, or says FGP_NOCONTENT.
 *
 * Return: false if it is gone, and with it the reference and the lock.
 */
bool page_hva_swap_lookup(struct folio *folio, bool locked)
{
	if (page_hva_make_stable(folio))
		return true;
	if (locked || folio_trylock(folio)) {
		if (page_hva_is_gone(folio) && folio_test_swapcache(folio))
			page_hva_swap_drop(folio);
		folio_unlock(folio);
	}
	folio_put(folio);
	return false;
}
