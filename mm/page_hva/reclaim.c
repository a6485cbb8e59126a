// SPDX-License-Identifier: GPL-2.0
/*
 * Page host virtual assist: what reclaim does about discarded folios
 *
 * A discarded folio costs the guest nothing to give up, so it goes before any
 * other, and when it is read again that is no sign of a guest that is short of
 * memory.  Where it is on the LRU lists has nothing to do with it.
 */
#include <linux/jiffies.h>
#include <linux/memcontrol.h>
#include <linux/memory_hotplug.h>
#include <linux/mm.h>
#include <linux/mm_inline.h>
#include <linux/sched.h>
#include <linux/swap.h>
#include <linux/xarray.h>
#include "../internal.h"
#include "state.h"

/* One sweep looks at the flags of so many pages at most: 1 GiB. */
#define SWEEP_PAGES	(1UL << 18)
/* For so long nobody sweeps a node for the same cgroup after it brought little. */
#define SWEEP_PAUSE	HZ
#define SWEEP_SLOTS	64

/*
 * Where the next sweep of a node begins, and until when there is none of it for
 * the cgroups that share a slot.  Neither needs a lock: if two sweeps meet, each
 * folio is still isolated by one of them only.
 */
static unsigned long sweep_next[MAX_NUMNODES];
static unsigned long sweep_pause[MAX_NUMNODES][SWEEP_SLOTS];

/* Is @folio charged to @memcg, or to one below it?  NULL has all. */
bool page_hva_of_memcg(struct folio *folio, struct mem_cgroup *memcg)
{
	bool ret = true;
#ifdef CONFIG_MEMCG
	struct mem_cgroup *owner;

	if (!memcg)
		return true;
	rcu_read_lock();
	owner = folio_memcg(folio);
	ret = owner && mem_cgroup_is_descendant(owner, memcg);
	rcu_read_unlock();
#endif
	return ret;
}

/*
 * Isolate the folio of a page that seems to be discarded.  The page may be
 * freed and reused until there is a reference to it; what holds then is that a
 * folio on an LRU list with PG_hva_volatile set is clean, and in a page cache
 * or in the swap cache.
 */
static struct folio *isolate_gone(struct page *page, struct mem_cgroup *memcg)
{
	struct folio *folio = page_folio(page);
	bool isolated;

	if (!folio_try_get(folio))
		return NULL;
	/* To ask the host takes longer than all the rest. */
	isolated = page_folio(page) == folio && folio_test_lru(folio) &&
		   page_hva_of_memcg(folio, memcg) && page_hva_is_gone(folio) &&
		   folio_isolate_lru(folio);
	/* For the shadow: reclaim_pages() makes it inactive. */
	if (isolated && folio_test_active(folio))
		folio_set_workingset(folio);
	folio_put(folio);
	return isolated ? folio : NULL;
}

/**
 * __page_hva_sweep - slow path of page_hva_sweep()
 * @pgdat: the node
 * @memcg: whose folios are to be reclaimed, NULL for all
 * @nr: how many pages are wanted
 * @reclaimed: pages reclaimed so far; what is found here is added
 * @scanned: the same is added here
 *
 * LRU lists would have to be walked under their lock, and are different for the
 * two reclaimers.  The flags of the pages tell which may be volatile, and the
 * host which of these are discarded.  What is found is reclaimed as if it had
 * been found at the end of an LRU list.
 *
 * Context: Reclaim; may sleep.  Takes what reclaim_pages() takes.
 * Return: 0 if there is no need to reclaim others, else -EAGAIN.
 */
int __page_hva_sweep(struct pglist_data *pgdat, struct mem_cgroup *memcg,
		     unsigned long nr, unsigned long *reclaimed,
		     unsigned long *scanned)
{
	unsigned long first = pgdat->node_start_pfn;
	unsigned long end = pgdat_end_pfn(pgdat);
	unsigned long *pause, pfn, left, got = 0;
	unsigned int found = 0;
	LIST_HEAD(list);

	pause = &sweep_pause[pgdat->node_id]
			    [memcg ? mem_cgroup_id(memcg) % SWEEP_SLOTS : 0];
	if (time_before(jiffies, READ_ONCE(*pause)))
		return -EAGAIN;
	/* A folio in a batch of this CPU has a reference, and can not be freed. */
	lru_add_drain();

	pfn = READ_ONCE(sweep_next[pgdat->node_id]);
	left = min(end - first, SWEEP_PAGES);
	while (left && got < nr) {
		struct page *page;
		struct folio *folio;

		if (pfn < first || pfn >= end)
			pfn = first;
		page = pfn_to_online_page(pfn);
		pfn++;
		left--;
		if (!(pfn % 1024))
			cond_resched();
		/* The flag of a free page says that it is unused. */
		if (!page || !test_bit(PG_hva_volatile, &page->flags) ||
		    !page_ref_count(page))
			continue;
		folio = isolate_gone(page, memcg);
		if (!folio)
			continue;
		list_add(&folio->lru, &list);
		found += folio_nr_pages(folio);
		if (found < SWAP_CLUSTER_MAX && got + found < nr)
			continue;
		/* Some may be in use just now: then go on. */
		got += reclaim_pages(&list);
		found = 0;
	}
	WRITE_ONCE(sweep_next[pgdat->node_id], pfn);
	if (found)
		got += reclaim_pages(&list);
	/* All of it was looked at, for little: that is too much work. */
	if (!left && got < nr && got < SWAP_CLUSTER_MAX)
		WRITE_ONCE(*pause, jiffies + SWEEP_PAUSE);
	if (got)
		pgdat->kswapd_failures = 0;	/* as in shrink_node() */
	*reclaimed += got;
	*scanned += got;
	return got >= nr ? 0 : -EAGAIN;
}

/*
 * Values that workingset.c does not make: where it has the time of the eviction
 * there are only ones, which no counter of evictions reaches.  Node and cgroup
 * are 0, so that cachestat(), which unpacks what it finds, finds a node.
 */
#define SHADOW_INACTIVE	xa_mk_value(~0UL << (1 + NODES_SHIFT + \
					     MEM_CGROUP_ID_SHIFT) & LONG_MAX)
#define SHADOW_ACTIVE	xa_mk_value(xa_to_value(SHADOW_INACTIVE) | 1)

/**
 * __page_hva_shadow - slow path of page_hva_shadow()
 * @folio: a folio that is about to leave the page cache
 *
 * Return: what is left in its place if it was discarded, else NULL.
 */
void *__page_hva_shadow(struct folio *folio)
{
	if (!page_hva_is_gone(folio))
		return NULL;
	return folio_test_active(folio) || folio_test_workingset(folio) ?
	       SHADOW_ACTIVE : SHADOW_INACTIVE;
}

/**
 * __page_hva_refault - slow path of page_hva_refault()
 * @folio: the new folio
 * @shadow: what was left in the page cache
 *
 * The host does not know what the guest uses, so a discard says nothing about
 * the worth of a folio: what was active is active again, at once.  But it is not
 * marked as a part of the workingset that did not fit, for it did: whoever
 * waits for the read does not wait for memory that the guest could provide,
 * by ending a process for example, which is what PSI's users do.
 *
 * Return: 0 if a discarded folio was here, else -ENOENT.
 */
int __page_hva_refault(struct folio *folio, void *shadow)
{
	if (shadow != SHADOW_ACTIVE && shadow != SHADOW_INACTIVE)
		return -ENOENT;
	if (shadow == SHADOW_ACTIVE)
		folio_set_active(folio);
	count_vm_events(PAGE_HVA_REFAULTS, folio_nr_pages(folio));
	return 0;
}
