// SPDX-License-Identifier: GPL-2.0
/*
 * Page host virtual assist: free pages become unused, late and together
 *
 * Telling the host of each page that is freed, and again when it is allocated,
 * costs two instructions per page for pages that are free for a moment only.
 * So here free pages are made unused when nothing was freed near them for a
 * while; PG_hva_unused says which they are, and the architecture makes those
 * stable in arch_alloc_page().  What was volatile when it was freed has that flag
 * already, and becomes unused as well: PG_hva_told says for which the host knows.
 */
#define pr_fmt(fmt) "page_hva: " fmt

#include <linux/init.h>
#include <linux/kcore.h>
#include <linux/memory.h>
#include <linux/memory_hotplug.h>
#include <linux/mm.h>
#include <linux/vmstat.h>
#include "../internal.h"
#include "state.h"

/* The allocator's lists are locked for so many pages at once. */
#define BATCH_PAGES	32UL

DEFINE_STATIC_KEY_FALSE(page_hva_unused_key);
/* A key is patched place by place: no page stays volatile before each is patched. */
bool page_hva_may_free_volatile;

static bool unused_block(unsigned long pfn);

static struct page_hva_late unused_late = { .block = unused_block };

/* Slow path of page_hva_make_unused(). */
void __page_hva_make_unused(unsigned long pfn, unsigned int order)
{
	unsigned long end = pfn + (1UL << order);

	for (; pfn < end; pfn += PAGE_HVA_BLOCK_PAGES)
		page_hva_late_mark(&unused_late, pfn);
}

/* How many pages from @page on are free together?  0 if @page is not free. */
static unsigned long free_pages_from(struct page *page)
{
	unsigned long pfn = page_to_pfn(page);
	unsigned int order;

	for (order = 0; order <= MAX_PAGE_ORDER; order++) {
		unsigned long skip = pfn & ((1UL << order) - 1);

		if (PageBuddy(page - skip) && buddy_order(page - skip) >= order)
			return (1UL << buddy_order(page - skip)) - skip;
	}
	return 0;
}

/*
 * Make the free pages of a batch unused.  The zone lock keeps them where they
 * are.  Nobody allocates one and misses the flag: a page leaves the lists under
 * this lock, and arch_alloc_page() looks at the flag after that.  Nobody else
 * writes to the flags of a page in these lists without the lock.
 *
 * Interrupts are off for one batch, so for BATCH_PAGES state changes at most.
 */
static void set_batch_unused(struct page *page)
{
	struct zone *zone = page_zone(page);
	unsigned long i, end = 0;

	spin_lock_irq(&zone->lock);
	for (i = 0; i < BATCH_PAGES; i++, page++) {
		if (page_zone(page) != zone)
			break;
		/* Only the first page can be in the midst of free ones. */
		if (!i)
			end = free_pages_from(page);
		else if (i >= end && PageBuddy(page))
			end = i + (1UL << buddy_order(page));
		if (i >= end || test_bit(PG_hva_told, &page->flags))
			continue;
		page_hva_set_unused(page);
		page->flags |= BIT(PG_hva_unused) | BIT(PG_hva_told);
		count_vm_event(PAGE_HVA_MADE_UNUSED);
	}
	spin_unlock_irq(&zone->lock);
}

static bool unused_block(unsigned long pfn)
{
	unsigned long end = pfn + PAGE_HVA_BLOCK_PAGES;

	for (; pfn < end; pfn += BATCH_PAGES)
		set_batch_unused(pfn_to_page(pfn));
	return false;
}

/* Make free pages unused now, for tests. */
void page_hva_unused_now(void)
{
	page_hva_late_now(&unused_late);
}

/*
 * The flags of pages that come back online start at 0, whatever became of the
 * pages when they went offline.
 */
static int unused_memory_notify(struct notifier_block *nb, unsigned long action,
				void *data)
{
	struct memory_notify *arg = data;
	unsigned long i;

	if (action == MEM_GOING_ONLINE)
		for (i = 0; i < arg->nr_pages; i++)
			page_hva_set_stable_data(pfn_to_page(arg->start_pfn + i));
	return NOTIFY_OK;
}

#ifdef CONFIG_PROC_KCORE
/*
 * /proc/kcore shows unused pages as zeros.  A page can turn unused just after
 * this test; the copy has an exception table entry, and ends in zeros as well.
 */
static int unused_pfn_is_ram(unsigned long pfn)
{
	struct page *page = pfn_to_online_page(pfn);

	return !page || page_ref_count(page) ||
	       !test_bit(PG_hva_unused, &page->flags);
}
#endif

static int __init unused_init(void)
{
	/* The pattern is looked for when a page is allocated again. */
	if (!page_hva_has_unused() || page_poisoning_enabled_static())
		return 0;
	if (page_hva_late_init(&unused_late))
		return -ENOMEM;
	hotplug_memory_notifier(unused_memory_notify, DEFAULT_CALLBACK_PRI);
#ifdef CONFIG_PROC_KCORE
	if (register_mem_pfn_is_ram(unused_pfn_is_ram))
		pr_warn("/proc/kcore will try to read unused pages\n");
#endif
	static_branch_enable(&page_hva_unused_key);
	WRITE_ONCE(page_hva_may_free_volatile, true);
	/* The pages that are free already */
	page_hva_late_mark_all(&unused_late);
	return 0;
}
late_initcall(unused_init);
