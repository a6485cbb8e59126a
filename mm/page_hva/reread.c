// SPDX-License-Identifier: GPL-2.0
/*
 * Page host virtual assist: discarded folios are read again in their place
 */
#include <linux/kprobes.h>
#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/rmap.h>
#include <linux/swap.h>
#include <linux/vmstat.h>
#include "../internal.h"
#include "state.h"
#include <trace/events/page_hva.h>

/*
 * Make a discarded folio look as if it had just been added to the page cache, to
 * be read.  It keeps its place there, on the LRU and with its cgroup: that saves
 * most of what it costs to free and to allocate one.
 *
 * Whoever got a reference earlier may have seen PG_uptodate, and would take the
 * empty pages for content: freezing fails if there is one.  Whoever gets one later
 * does not see PG_uptodate any more, and waits for the lock.  Look-ups spin while the
 * count is frozen: no interrupts, and no probes that may look it up.  Who holds the
 * lock of its LRU list changes flags without a reference, so this does it atomically.
 */
static noinline bool reuse(struct folio *folio)
{
	unsigned int nr = folio_nr_pages(folio);
	unsigned long irqflags;
	bool frozen;

	/* It is locked, which whoever maps an unmapped folio has to wait for. */
	if (folio_mapped(folio)) {
		unmap_mapping_folio(folio);
		lru_add_drain();	/* may have activated it */
	}
	local_irq_save(irqflags);
	/* The page cache, and the caller */
	frozen = folio_ref_freeze(folio, nr + 1);
	if (frozen) {
		folio_clear_uptodate(folio);
		/* They tell something about what was read, to fs-verity for example. */
		folio_clear_checked(folio);
		folio_clear_mappedtodisk(folio);
		page_hva_pages_set_stable(&folio->page, nr);
		folio_clear_hva_volatile(folio);
		folio_ref_unfreeze(folio, nr + 1);
	}
	local_irq_restore(irqflags);
	if (!frozen)
		return false;

	/* As in __page_hva_refault() */
	if (folio_test_workingset(folio)) {
		folio_clear_workingset(folio);
		folio_activate(folio);
	}
	page_hva_make_volatile(folio);
	trace_page_hva_drop(folio);
	count_vm_events(PAGE_HVA_DROPPED, nr);
	count_vm_events(PAGE_HVA_REFAULTS, nr);
	return true;
}
NOKPROBE_SYMBOL(reuse);

/* Could readahead have added such a folio?  Collapse makes others. */
static bool readable(struct address_space *mapping, struct folio *folio,
		     pgoff_t index, pgoff_t end)
{
	return folio->index == index && folio_next_index(folio) <= end &&
	       folio_order(folio) >= mapping_min_folio_order(mapping) &&
	       folio_order(folio) <= mapping_max_folio_order(mapping);
}

/**
 * __page_hva_readahead - slow path of page_hva_readahead()
 * @ractl: the readahead
 * @index: where there may be a folio in its way, next to what @ractl has already
 * @mark: where the next readahead begins
 * @end: where this one ends
 *
 * A discarded folio keeps its slot in the page cache, and readahead stops at
 * occupied slots, so that reading a file again would be done a page at a time.
 *
 * Context: As page_cache_ra_unbounded(), with the invalidate lock held.
 * Return: 0 if there was one, and it is a part of @ractl, locked and with a
 * reference as if it had just been added, or was dropped; -ENOENT if there was
 * none, or nothing to be done.
 */
int __page_hva_readahead(struct readahead_control *ractl, pgoff_t index,
			 pgoff_t mark, pgoff_t end)
{
	struct address_space *mapping = ractl->mapping;
	struct folio *folio = filemap_get_entry(mapping, index);
	int ret = -ENOENT;

	if (!folio || xa_is_value(folio))
		return ret;
	/* Waiting for a lock with other folios locked could be a deadlock. */
	if (!folio_test_hva_volatile(folio) || !folio_trylock(folio))
		goto put;
	if (folio->mapping != mapping || !page_hva_is_gone(folio))
		goto unlock;
	if (readable(mapping, folio, index, end) && reuse(folio)) {
		folio_clear_readahead(folio);
		if (folio_contains(folio, mark))
			folio_set_readahead(folio);
		/* The lock and the reference are those of the read now. */
		ractl->_nr_pages += folio_nr_pages(folio);
		return 0;
	}
	if (!page_hva_remove(folio, mapping))
		ret = 0;
unlock:
	folio_unlock(folio);
put:
	folio_put(folio);
	return ret;
}
