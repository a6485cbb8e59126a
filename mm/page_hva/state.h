/* SPDX-License-Identifier: GPL-2.0 */
/* Page host virtual assist: what the files of mm/page_hva/ share. */
#ifndef _MM_PAGE_HVA_STATE_H
#define _MM_PAGE_HVA_STATE_H

#include <linux/irq_work.h>
#include <linux/mm.h>
#include <linux/workqueue.h>

/* No folio with one of these turns volatile. */
#define PAGE_HVA_FLAGS_CLEAR	(BIT(PG_writeback) | BIT(PG_dirty) |	\
				 BIT(PG_arch_1) | BIT(PG_reserved) |	\
				 BIT(PG_private) | BIT(PG_private_2) |	\
				 BIT(PG_swapbacked) | BIT(PG_unevictable) | \
				 BIT(PG_mlocked) | BIT(PG_hva_volatile))

/* Only in the swap cache there are swap-backed folios with a copy elsewhere. */
static inline bool page_hva_flags_eligible(unsigned long flags)
{
	if (IS_ENABLED(CONFIG_SWAP) && (flags & BIT(PG_swapbacked)) &&
	    (flags & BIT(PG_swapcache)))
		flags &= ~BIT(PG_swapbacked);
	return !(flags & PAGE_HVA_FLAGS_CLEAR);
}

bool page_hva_try_volatile(struct folio *folio);
bool page_hva_is_gone(struct folio *folio);
int page_hva_remove(struct folio *folio, struct address_space *mapping);
bool page_hva_of_memcg(struct folio *folio, struct mem_cgroup *memcg);

extern atomic_t page_hva_swap_volatile, page_hva_swap_dropped;
extern atomic_t page_hva_swap_potentially;

bool page_hva_swap_excluded(struct folio *folio);
bool page_hva_swap_eligible(struct folio *folio, bool mapped);
void page_hva_swap_drop(struct folio *folio);
bool page_hva_swap_lookup(struct folio *folio, bool locked);
bool page_hva_swap_unmap(struct folio *folio);

/* Memory is watched by the block of so many pages. */
#define PAGE_HVA_BLOCK_ORDER	8
#define PAGE_HVA_BLOCK_PAGES	(1UL << PAGE_HVA_BLOCK_ORDER)

/**
 * struct page_hva_late - something that is done late, and for many pages at once
 * @block: does it for the block that begins at @pfn; returns true if there are
 *	   pages to come back for.  The memory does not go offline meanwhile.
 * @begin: called before the first block of a pass, or NULL
 * @nr: how many blocks there are
 */
struct page_hva_late {
	bool (*block)(unsigned long pfn);
	void (*begin)(void);
	unsigned long nr;
	/* private: to late.c */
	unsigned long *waiting, *left;
	u8 *marked;
	struct irq_work queue;
	struct delayed_work pass, again;
	unsigned int passes, pause;
	bool again_due;
};

int page_hva_late_init(struct page_hva_late *late);
void __page_hva_late_mark(struct page_hva_late *late, unsigned long block);
void page_hva_late_mark_all(struct page_hva_late *late);
void page_hva_late_now(struct page_hva_late *late);
void page_hva_settle(void);
void page_hva_unused_now(void);

extern unsigned int page_hva_late_ms;

#ifdef CONFIG_PAGE_HVA_DEBUG
void page_hva_sites_init(struct dentry *dir);
#else
static inline void page_hva_sites_init(struct dentry *dir)
{
}
#endif

/**
 * page_hva_late_mark - there is something to be done, when it is left alone
 * @late: what
 * @pfn: for this page
 *
 * Context: Any.
 */
static __always_inline void page_hva_late_mark(struct page_hva_late *late,
					       unsigned long pfn)
{
	unsigned long block = pfn >> PAGE_HVA_BLOCK_ORDER;

	if (block < late->nr && !READ_ONCE(late->marked[block]))
		__page_hva_late_mark(late, block);
}

#endif /* _MM_PAGE_HVA_STATE_H */
