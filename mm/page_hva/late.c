// SPDX-License-Identifier: GPL-2.0
/*
 * Page host virtual assist: state changes that are made late and together
 *
 * A state change costs an instruction that is slow on a hypervisor, and most pages
 * that could change theirs will change it back in a moment.  So whoever could do
 * it marks the block of memory instead, and a worker does it for all pages of
 * the block that need it, when the block has not been marked again for a while.
 * What use has made stable, and is not used any more, turns volatile this way, and
 * free pages become unused.
 *
 * What can not be done now, because somebody uses a page, is tried again later and
 * later, and for that no CPU is woken up.  If nothing is left, there is no timer.
 */
#include <linux/bitmap.h>
#include <linux/jiffies.h>
#include <linux/memblock.h>
#include <linux/memory_hotplug.h>
#include <linux/mm.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include "../internal.h"
#include "state.h"

/* A block that is never left alone is looked at in each so many passes. */
#define PASSES_BUSY	16
/* Pauses before what was left is tried again, in passes. */
#define PAUSE_MIN	2
#define PAUSE_MAX	128

/* Time between passes, in ms.  In debugfs, for tests. */
unsigned int page_hva_late_ms = 2000;

static unsigned long delay(unsigned int passes)
{
	return passes * msecs_to_jiffies(READ_ONCE(page_hva_late_ms));
}

static void late_queue(struct irq_work *work)
{
	struct page_hva_late *late = container_of(work, struct page_hva_late, queue);

	queue_delayed_work(system_unbound_wq, &late->pass, delay(1));
}

/**
 * __page_hva_late_mark - slow path of page_hva_late_mark()
 * @late: what is to be done
 * @block: where
 *
 * Whoever finds a block marked need not queue a pass: who marked it does, and the pass
 * that takes the mark away looks at the block in the next one.  So it does with a mark
 * that is made again before it is taken away.  A pass that is pending, tested after the
 * mark was made, has not begun, as the workqueue clears that before, with a full barrier
 * in between.
 *
 * Arming a timer takes locks, and debug objects allocate memory under one of
 * them.  So it is not done here, but in an interrupt.
 *
 * Context: Any.
 */
void __page_hva_late_mark(struct page_hva_late *late, unsigned long block)
{
	WRITE_ONCE(late->marked[block], 1);
	smp_mb();	/* the mark before the test */
	if (!delayed_work_pending(&late->pass))
		irq_work_queue(&late->queue);
}

/* What was left: the next pass looks at it again. */
static void late_again(struct work_struct *work)
{
	struct page_hva_late *late = container_of(to_delayed_work(work),
						  struct page_hva_late, again);

	WRITE_ONCE(late->again_due, true);
	/* Not before its time if it is queued: who was marked just now has to wait. */
	queue_delayed_work(system_unbound_wq, &late->pass, 0);
}

/* The lists of pages and the map of memory stay while a block is looked at. */
static bool late_block(struct page_hva_late *late, unsigned long block)
{
	unsigned long pfn = block << PAGE_HVA_BLOCK_ORDER;
	bool left = false;

	get_online_mems();
	/* Memory does not go online by less than a block. */
	if (pfn_to_online_page(pfn))
		left = late->block(pfn);
	put_online_mems();
	return left;
}

/*
 * Most of what is freed is allocated again at once, and most of what is used
 * is used again.  So blocks that were marked since the last pass wait for the
 * next one.  What happened a pass ago in a block at rest was delay(1) ago at least.
 *
 * No lock is held from one block to the next.
 */
static void late_pass(struct work_struct *work)
{
	struct page_hva_late *late = container_of(to_delayed_work(work),
						  struct page_hva_late, pass);
	bool busy_ones = !(++late->passes % PASSES_BUSY);
	bool again = xchg(&late->again_due, false), begun = false;
	unsigned long block;

	if (again) {
		bitmap_or(late->waiting, late->waiting, late->left, late->nr);
		bitmap_zero(late->left, late->nr);
	}
	for_each_set_bit(block, late->waiting, late->nr) {
		if (READ_ONCE(late->marked[block]) && !busy_ones)
			continue;
		if (late->begin && !begun)
			late->begin();
		begun = true;
		__clear_bit(block, late->waiting);
		if (late_block(late, block)) {
			__set_bit(block, late->left);
			/* Something else was left: begin with short pauses. */
			if (!again)
				late->pause = PAUSE_MIN;
		}
		cond_resched();
	}
	for (block = 0; block < late->nr; block++) {
		if (!READ_ONCE(late->marked[block]))
			continue;
		WRITE_ONCE(late->marked[block], 0);
		__set_bit(block, late->waiting);
	}
	if (!bitmap_empty(late->waiting, late->nr))
		queue_delayed_work(system_unbound_wq, &late->pass, delay(1));
	if (!bitmap_empty(late->left, late->nr) &&
	    queue_delayed_work(system_unbound_wq, &late->again,
			       delay(late->pause)))
		late->pause = min(2 * late->pause, PAUSE_MAX);
}

/* Pass until all that was marked before has been looked at. */
void page_hva_late_now(struct page_hva_late *late)
{
	int passes = 3;

	if (!late->nr)
		return;
	do {
		WRITE_ONCE(late->again_due, true);
		mod_delayed_work(system_unbound_wq, &late->pass, 0);
		flush_delayed_work(&late->pass);
	} while (--passes && !bitmap_empty(late->waiting, late->nr));
}

/* Something is to be done everywhere, after page_hva_late_init(). */
void page_hva_late_mark_all(struct page_hva_late *late)
{
	/* No pass is under way yet. */
	bitmap_fill(late->waiting, late->nr);
	queue_delayed_work(system_unbound_wq, &late->pass, delay(1));
}

/**
 * page_hva_late_init - begin to watch for marks
 * @late: what is to be done; marks that came before are lost
 *
 * Return: 0, or -ENOMEM.
 */
int __init page_hva_late_init(struct page_hva_late *late)
{
	unsigned long nr = DIV_ROUND_UP(max_pfn, PAGE_HVA_BLOCK_PAGES);
	unsigned long *bits = kvcalloc(2 * BITS_TO_LONGS(nr), sizeof(long),
				       GFP_KERNEL);
	u8 *marked = kvzalloc(nr, GFP_KERNEL);

	if (!bits || !marked) {
		kvfree(bits);
		kvfree(marked);
		return -ENOMEM;
	}
	init_irq_work(&late->queue, late_queue);
	INIT_DELAYED_WORK(&late->pass, late_pass);
	INIT_DEFERRABLE_WORK(&late->again, late_again);
	late->pause = PAUSE_MIN;
	late->waiting = bits;
	late->left = bits + BITS_TO_LONGS(nr);
	late->marked = marked;
	/* Whoever sees that there are blocks sees where their bits are. */
	smp_store_release(&late->nr, nr);
	return 0;
}
