// SPDX-License-Identifier: GPL-2.0
/*
 * Page host virtual assist: free pages become unused, late and together
 *
 * Telling the host of each page that is freed, and again when it is allocated,
 * costs two instructions per page for pages that are free for a moment only.
 * So here free pages are made unused by a worker, when nothing was freed near
 * them for a while; PG_hva_unused says which they are, and the architecture
 * makes those stable in arch_alloc_page().
 */
#define pr_fmt(fmt) "page_hva: " fmt

#include <linux/bitmap.h>
#include <linux/init.h>
#include <linux/irq_work.h>
#include <linux/kcore.h>
#include <linux/memblock.h>
#include <linux/memory.h>
#include <linux/memory_hotplug.h>
#include <linux/mm.h>
#include <linux/page_hva.h>
#include <linux/slab.h>
#include <linux/workqueue.h>
#include "internal.h"
#include "page_hva_stat.h"

/* Pages are watched by the block, the allocator's lists are locked by the batch. */
#define BLOCK_ORDER	8
#define BLOCK_PAGES	(1UL << BLOCK_ORDER)
#define BATCH_PAGES	32UL

/* A block that is never left alone is looked at in each so many passes. */
#define PASSES_BUSY	16
#define PASS_DELAY	(2 * HZ)

DEFINE_STATIC_KEY_FALSE(page_hva_unused_key);

/* One bit per block: pages were freed since the last pass, or before that. */
static unsigned long *freed_blocks, *waiting_blocks;
static unsigned long nr_blocks;

static void unused_pass(struct work_struct *work);
static DECLARE_DELAYED_WORK(unused_work, unused_pass);

static void unused_queue(struct irq_work *work)
{
	queue_delayed_work(system_unbound_wq, &unused_work, PASS_DELAY);
}

/*
 * Arming a timer takes locks, and debug objects allocate memory under one of
 * them.  So it is not done under the zone lock, but in an interrupt after it.
 */
static DEFINE_IRQ_WORK(unused_irq_work, unused_queue);

/**
 * __page_hva_freed - slow path of page_hva_freed()
 * @pfn: the first page
 * @order: there are 2^order pages
 *
 * Whoever finds the bit of a block set need not queue a pass: who set it does,
 * and the pass that clears the bit looks at all blocks whose bit it cleared in
 * the next one.  A pass that is pending, tested after the bit was set, has not
 * begun, as the workqueue clears that before, with a full barrier in between.
 *
 * Context: Any, with the zone lock held.
 */
void __page_hva_freed(unsigned long pfn, unsigned int order)
{
	unsigned long last = (pfn + (1UL << order) - 1) >> BLOCK_ORDER;
	unsigned long block;

	for (block = pfn >> BLOCK_ORDER; block <= last; block++) {
		if (block >= nr_blocks || test_bit(block, freed_blocks))
			continue;
		set_bit(block, freed_blocks);
		smp_mb__after_atomic();	/* the bit before the test */
		if (!delayed_work_pending(&unused_work))
			irq_work_queue(&unused_irq_work);
	}
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
		if (i >= end || test_bit(PG_hva_unused, &page->flags))
			continue;
		page_hva_set_unused(page);
		__set_bit(PG_hva_unused, &page->flags);
		page_hva_count(PAGE_HVA_MADE_UNUSED);
	}
	spin_unlock_irq(&zone->lock);
}

static void set_block_unused(unsigned long block)
{
	unsigned long pfn = block << BLOCK_ORDER, end = pfn + BLOCK_PAGES;

	/* Sections do not go away meanwhile, and are not smaller than a block. */
	get_online_mems();
	for (; pfn < end && pfn_to_online_page(pfn); pfn += BATCH_PAGES)
		set_batch_unused(pfn_to_page(pfn));
	put_online_mems();
}

/*
 * Most of what is freed is allocated again at once, and the allocator takes
 * what was freed last.  So blocks in which pages were freed since the last pass
 * wait for the next one.  What was freed a pass ago into a block at rest has
 * been there for PASS_DELAY at least.
 */
static void unused_pass(struct work_struct *work)
{
	static unsigned int passes;
	bool busy_ones = !(++passes % PASSES_BUSY);
	unsigned long block, i;

	for_each_set_bit(block, waiting_blocks, nr_blocks) {
		if (test_bit(block, freed_blocks) && !busy_ones)
			continue;
		__clear_bit(block, waiting_blocks);
		set_block_unused(block);
		cond_resched();
	}
	for (i = 0; i < BITS_TO_LONGS(nr_blocks); i++)
		if (READ_ONCE(freed_blocks[i]))
			waiting_blocks[i] |= xchg(&freed_blocks[i], 0);
	if (!bitmap_empty(waiting_blocks, nr_blocks))
		queue_delayed_work(system_unbound_wq, &unused_work, PASS_DELAY);
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
	nr_blocks = DIV_ROUND_UP(max_pfn, BLOCK_PAGES);
	freed_blocks = kvcalloc(BITS_TO_LONGS(nr_blocks), sizeof(long), GFP_KERNEL);
	waiting_blocks = kvcalloc(BITS_TO_LONGS(nr_blocks), sizeof(long), GFP_KERNEL);
	if (!freed_blocks || !waiting_blocks) {
		kvfree(freed_blocks);
		kvfree(waiting_blocks);
		return -ENOMEM;
	}
	/* The pages that are free already */
	bitmap_fill(waiting_blocks, nr_blocks);
	hotplug_memory_notifier(unused_memory_notify, DEFAULT_CALLBACK_PRI);
#ifdef CONFIG_PROC_KCORE
	if (register_mem_pfn_is_ram(unused_pfn_is_ram))
		pr_warn("/proc/kcore will try to read unused pages\n");
#endif
	static_branch_enable(&page_hva_unused_key);
	queue_delayed_work(system_unbound_wq, &unused_work, PASS_DELAY);
	return 0;
}
late_initcall(unused_init);
