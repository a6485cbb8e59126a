/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Page host virtual assist: clean page cache that the host may discard
 *
 * A folio is volatile when vmscan could drop it right now without I/O; the
 * host then may take it without asking.  The rules, and which hook follows
 * from which of them, are in Documentation/mm/page_hva.rst.
 *
 * page_hva_enabled() is a constant false if this is not configured, so that all
 * that is here vanishes, and a patched-out branch if it is off at boot.
 */
#ifndef _LINUX_PAGE_HVA_H
#define _LINUX_PAGE_HVA_H

#include <linux/fs.h>
#include <linux/highmem.h>
#include <linux/jump_label.h>
#include <linux/mm.h>
#include <linux/pagevec.h>
#include <linux/swap.h>
#include <linux/uaccess.h>
#include <linux/uio.h>

/*
 * Every place that makes a folio stable, or does what makes that necessary,
 * has a name.  A debug kernel can switch each of them off to show that it is
 * needed; mm/page_hva_debug.c has the names.
 */
enum page_hva_site {
	PAGE_HVA_SITE_LOOKUP,
	PAGE_HVA_SITE_SWAP_LOOKUP,
	PAGE_HVA_SITE_READ,
	PAGE_HVA_SITE_SHORT_READ,
	PAGE_HVA_SITE_READ_AGAIN,
	PAGE_HVA_SITE_FAULT,
	PAGE_HVA_SITE_COPY,
	PAGE_HVA_SITE_WP_SHARED,
	PAGE_HVA_SITE_GUP,
	PAGE_HVA_SITE_GUP_FAST,
	PAGE_HVA_SITE_MLOCK,
	PAGE_HVA_SITE_MIGRATE,
	PAGE_HVA_SITE_COLLAPSE,
	PAGE_HVA_SITE_SPLIT,
	PAGE_HVA_SITE_FREE,
	PAGE_HVA_SITE_SWEEP,
	PAGE_HVA_SITE_RECLAIM,
	PAGE_HVA_SITE_UNUSED,
	PAGE_HVA_SITE_SWAP_FREE,
	PAGE_HVA_SITE_SWAP_WRITE,
	PAGE_HVA_SITE_HAND_OVER,
	PAGE_HVA_SITE_READ_END,
	PAGE_HVA_SITE_CANDIDATE,
	PAGE_HVA_SITE_PRIVATE,
	PAGE_HVA_SITE_IN_CORE,
	PAGE_HVA_SITE_REFAULT,
	PAGE_HVA_SITE_SWAP_IN,
	PAGE_HVA_SITE_SWAP_DIRTY,
	PAGE_HVA_SITE_TOUCH_USER,
	PAGE_HVA_NR_SITES
};

DECLARE_STATIC_KEY_FALSE(page_hva_key);
DECLARE_STATIC_KEY_FALSE(page_hva_p_key);
DECLARE_STATIC_KEY_FALSE(page_hva_unused_key);

#ifdef CONFIG_PAGE_HVA
#include <asm/page_hva.h>

/* A folio with neither of these is stable. */
#define PAGE_HVA_FLAGS		(BIT(PG_hva_volatile) | BIT(PG_hva_lock))
#else
#define PAGE_HVA_FLAGS		0UL
#endif

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

/* Are mapped folios of the swap cache made potentially volatile, too? */
static __always_inline bool page_hva_p_enabled(void)
{
	return IS_ENABLED(CONFIG_PAGE_HVA) &&
	       static_branch_unlikely(&page_hva_p_key);
}

/* Do free pages become unused? */
static __always_inline bool page_hva_unused_enabled(void)
{
	return IS_ENABLED(CONFIG_PAGE_HVA) &&
	       static_branch_unlikely(&page_hva_unused_key);
}

#ifdef CONFIG_PAGE_HVA_DEBUG
extern unsigned long page_hva_skipped;

static inline bool page_hva_skip(enum page_hva_site site)
{
	return unlikely(READ_ONCE(page_hva_skipped) & BIT(site));
}

void page_hva_report_dirty(struct folio *folio);
#else
static inline bool page_hva_skip(enum page_hva_site site)
{
	return false;
}

static inline void page_hva_report_dirty(struct folio *folio)
{
}
#endif

void page_hva_enable(bool p);
bool __page_hva_make_stable(struct folio *folio);
void __page_hva_read_end(struct folio *folio);
void __page_hva_candidate(unsigned long pfn);
void __page_hva_free(struct page *page, unsigned int order);
void __page_hva_freed(unsigned long pfn, unsigned int order);
bool __page_hva_transfer_dirty(struct folio *folio);
bool page_hva_discard_locked(struct folio *folio);
void page_hva_discard(struct folio *folio);
bool page_hva_discard_page(struct page *page);
void __page_hva_swap_in(struct folio *folio);
bool __page_hva_swap_free(struct folio *folio);
bool __page_hva_lookup(struct folio *folio, fgf_t fgp_flags);
void __page_hva_add_collision(struct address_space *mapping, pgoff_t index);
bool __page_hva_read_again(struct readahead_control *ractl, pgoff_t index,
			   pgoff_t mark, pgoff_t end);
void __page_hva_fault_gone(struct folio *folio, struct vm_fault *vmf,
			   bool mapping_locked, vm_fault_t *ret);
int __page_hva_read_lost(struct folio *folio, struct kiocb *iocb,
			 size_t count);
int __page_hva_copy(struct page *to, struct page *from, bool locked);
bool __page_hva_gone(struct folio *folio);
bool __page_hva_entry_gone(struct page *page, unsigned int nr);
bool __page_hva_sweep(struct pglist_data *pgdat, struct mem_cgroup *memcg,
		      unsigned long nr, unsigned long *reclaimed,
		      unsigned long *scanned);
void *__page_hva_shadow(struct folio *folio);
bool __page_hva_refault(struct folio *folio, void *shadow);

/**
 * page_hva_make_stable - claim the content of a folio
 * @folio: the folio; the caller holds a reference
 * @site: which hook calls
 *
 * As long as the caller keeps its reference, the folio does not turn volatile
 * again.
 *
 * The fast path can not miss a folio that turns volatile: the reference was
 * counted before the flags are loaded, with a full barrier in between, and
 * page_hva_make_volatile() takes the lock bit before it loads the count, with
 * a full barrier in between.  So either it sees the reference and gives up,
 * or the lock bit, or the flag that it leaves behind, is seen here.
 *
 * Context: Any; takes the state lock of the folio with interrupts off.
 * Return: true if the content is there and stays, false if the host discarded
 * it: the caller has to drop the folio and look it up again.
 */
static __always_inline bool page_hva_make_stable(struct folio *folio,
						 enum page_hva_site site)
{
	if (!page_hva_enabled() || page_hva_skip(site))
		return true;
	smp_mb();	/* count the reference before looking at the flags */
	if (likely(!(READ_ONCE(folio->flags) & PAGE_HVA_FLAGS)))
		return true;
	return __page_hva_make_stable(folio);
}

/**
 * page_hva_read_end - a folio has been read, and turns volatile
 * @folio: the folio; the caller has its lock, and sets PG_uptodate next
 *
 * If somebody has a reference to it, it does so later: filemap_add_folio() made it
 * a candidate.
 *
 * Context: Any.
 */
static __always_inline void page_hva_read_end(struct folio *folio)
{
	if (page_hva_enabled() && !page_hva_skip(PAGE_HVA_SITE_READ_END))
		__page_hva_read_end(folio);
}

/**
 * page_hva_candidate - a folio can turn volatile, now or soon
 * @folio: the folio; the caller has a reference to it, or its lock
 *
 * When nothing of this kind happens near it for some seconds, it turns volatile,
 * unless somebody uses it then.  What is locked then is looked at again.
 *
 * Context: Any.
 */
static __always_inline void page_hva_candidate(struct folio *folio)
{
	if (page_hva_enabled() && !page_hva_skip(PAGE_HVA_SITE_CANDIDATE))
		__page_hva_candidate(folio_pfn(folio));
}

/*
 * A free page may as well stay volatile: the flag means for a free page that the
 * host may have it, and arch_alloc_page() makes it stable.  That saves an ESSA,
 * and mm/page_hva_unused.c another one.  But not if free pages are touched, or if
 * a change bit would make the host preserve it.
 */
static __always_inline bool page_hva_must_free_stable(struct page *page)
{
	return !page_hva_unused_enabled() || want_init_on_free() ||
	       page_hva_p_enabled();
}

/**
 * page_hva_free - a page is freed: whoever gets it next may touch it
 * @page: the page, the first one of a large folio; nobody has a reference
 * @order: how many pages there are
 */
static __always_inline void page_hva_free(struct page *page, unsigned int order)
{
	if (page_hva_enabled() && page->flags & PAGE_HVA_FLAGS &&
	    (order || page_hva_must_free_stable(page)) &&
	    !page_hva_skip(PAGE_HVA_SITE_FREE))
		__page_hva_free(page, order);
}

/**
 * page_hva_freed - free pages reach the lists of the page allocator
 * @pfn: the first page
 * @order: there are 2^order pages
 *
 * If nothing is freed near them for a while, they are made unused.
 *
 * Context: Any, with the zone lock held.
 */
static __always_inline void page_hva_freed(unsigned long pfn,
					   unsigned int order)
{
	if (page_hva_unused_enabled())
		__page_hva_freed(pfn, order);
}

/**
 * page_hva_swap_in - a folio is about to be mapped in a swap fault
 * @folio: the folio, which is locked
 * @vma: where
 *
 * With P, this is where the change bit begins to tell if the folio and its swap
 * slot differ.
 */
static inline void page_hva_swap_in(struct folio *folio,
				    struct vm_area_struct *vma)
{
	if (page_hva_p_enabled() && !(vma->vm_flags & VM_LOCKED) &&
	    !page_hva_skip(PAGE_HVA_SITE_SWAP_IN))
		__page_hva_swap_in(folio);
}

/**
 * page_hva_touch_user - let a discard fault happen where it can be handled
 * @uaddr: where an access with page faults disabled failed
 *
 * The page table entry of a potentially volatile page can be writable and dirty
 * although the page is gone: a page fault dirtied it for a store that was not
 * made.  Then fixup_user_fault() finds nothing to do.  A page that is there is
 * not discarded once more before a store: it turns volatile late.
 *
 * Context: May sleep; the mmap lock is not held.
 */
static inline void page_hva_touch_user(u32 __user *uaddr)
{
	u32 value;

	if (page_hva_p_enabled() && !page_hva_skip(PAGE_HVA_SITE_TOUCH_USER) &&
	    get_user(value, uaddr))
		return;	/* The caller will find out. */
}

/**
 * page_hva_swap_free - may a folio lose its swap slot?
 * @folio: the folio, which is locked and in the swap cache
 *
 * With the slot goes the other copy of its content.  What is not mapped has no
 * user, and needs none.
 *
 * Return: false if a user would lose the content.
 */
static inline bool page_hva_swap_free(struct folio *folio)
{
	return !page_hva_p_enabled() || __page_hva_swap_free(folio);
}

/**
 * page_hva_swap_write - claim the content of a folio to write it to swap
 * @folio: the folio, which is locked and was dirty
 *
 * The page fault of a store marks the page table entry dirty and returns.  If
 * the host discards the folio before the store is made, it is dirty and gone.
 *
 * Return: false if it is gone, and thus equal to its swap slot.
 */
static inline bool page_hva_swap_write(struct folio *folio)
{
	if (!page_hva_p_enabled() || !folio_test_hva_writable(folio))
		return true;
	if (!page_hva_make_stable(folio, PAGE_HVA_SITE_SWAP_WRITE))
		return false;
	/* What is written is not the old content of the slot. */
	folio_clear_hva_writable(folio);
	return true;
}

/**
 * page_hva_lookup - a look-up found a folio for somebody who uses its content
 * @folio: the folio, with a reference for the caller
 * @fgp_flags: FGP_NOCONTENT if the caller does not touch the content, FGP_LOCK if
 *	       the folio is locked
 *
 * Context: May sleep with FGP_LOCK only.
 * Return: true if the folio is good; false if it is gone, and with it the
 * reference and the lock.
 */
static __always_inline bool page_hva_lookup(struct folio *folio,
					    fgf_t fgp_flags)
{
	if (!page_hva_enabled())
		return true;
	smp_mb();	/* as in page_hva_make_stable() */
	return likely(!(READ_ONCE(folio->flags) & PAGE_HVA_FLAGS)) ||
	       __page_hva_lookup(folio, fgp_flags);
}

/* Whoever could not add a folio at @index must not meet a discarded one there. */
static inline void page_hva_add_collision(struct address_space *mapping,
					  pgoff_t index, gfp_t gfp)
{
	if (page_hva_enabled() && gfpflags_allow_blocking(gfp))
		__page_hva_add_collision(mapping, index);
}

/**
 * page_hva_read_again - does readahead meet a discarded folio?
 * @ractl: the readahead
 * @index: where it is, next to what @ractl has already
 * @mark: where the next readahead begins
 * @end: where this one ends
 *
 * A discarded folio keeps its slot in the page cache, and readahead stops at
 * occupied slots, so that reading a file again would be done a page at a time.
 *
 * Context: As page_cache_ra_unbounded(), with the invalidate lock held.
 * Return: true if it did, and it is not in the way any more: it is a part of @ractl,
 * locked and with a reference as if it had just been added, or it was removed.
 */
static inline bool page_hva_read_again(struct readahead_control *ractl,
				       pgoff_t index, pgoff_t mark,
				       pgoff_t end)
{
	return page_hva_enabled() && !page_hva_skip(PAGE_HVA_SITE_READ_AGAIN) &&
	       __page_hva_read_again(ractl, index, mark, end);
}

/**
 * page_hva_stable_or_discard - claim the content, or get rid of the folio
 * @folio: the folio; the caller holds a reference, but not its lock
 * @site: which hook calls
 *
 * Context: May sleep; page table locks are not held.
 * Return: false if the folio was discarded and is now out of the page cache.
 */
static inline bool page_hva_stable_or_discard(struct folio *folio,
					      enum page_hva_site site)
{
	if (likely(page_hva_make_stable(folio, site)))
		return true;
	page_hva_discard(folio);
	return false;
}

/**
 * page_hva_copy - copy a page for somebody who is about to store to it
 * @to: a new page
 * @from: the page to copy; the caller holds a reference
 * @vmf: the page fault
 * @locked: the folio of @from is locked
 *
 * The copy ends early if the host takes @from, so there is no need to make it
 * stable.  Then it is removed from the page cache.
 *
 * Context: May sleep; page table locks are not held.
 * Return: 0, -EAGAIN if it is gone and the fault is to be repeated, or -EHWPOISON.
 */
static __always_inline int page_hva_copy(struct page *to, struct page *from,
					 struct vm_fault *vmf, bool locked)
{
	if (page_hva_enabled() && !page_hva_skip(PAGE_HVA_SITE_COPY))
		return __page_hva_copy(to, from, locked);
	return copy_mc_user_highpage(to, from, vmf->address, vmf->vma) ?
	       -EHWPOISON : 0;
}

/**
 * page_hva_drop_discarded - a copy from a mapped page failed: it may be gone
 * @page: the page or NULL; the caller needs no reference
 *
 * For a copy with an exception table entry from what page tables map.
 *
 * Context: May sleep; page table locks are not held.
 */
static inline void page_hva_drop_discarded(struct page *page)
{
	if (page_hva_enabled() && page)
		page_hva_discard_page(page);
}

/**
 * page_hva_gup_stable - claim the content of a folio for GUP
 * @folio: the folio, mapped in @vma
 * @vma: where it is mapped
 * @referenced: the caller took a reference, for somebody who uses the content
 *
 * Populating locked memory takes no reference, but has to end with pages that
 * are there.  The page table lock keeps the mapping's reference, so the folio
 * can not be freed before one is taken here.
 *
 * Context: The page table lock is held.
 * Return: true if the content is there, or not needed; false if it is gone, and
 * the caller has a reference in any case.
 */
static inline bool page_hva_gup_stable(struct folio *folio,
				       struct vm_area_struct *vma,
				       bool referenced)
{
	if (!page_hva_enabled() ||
	    (!referenced && !(vma->vm_flags & VM_LOCKED)) ||
	    likely(page_hva_make_stable(folio, PAGE_HVA_SITE_GUP)))
		return true;
	if (!referenced)
		folio_get(folio);
	return false;
}

/**
 * page_hva_fault_must_stay - does a page fault need a page that stays?
 * @vmf: the fault
 *
 * A fault that waited for I/O must end with a stable page, or an access could
 * be starved by a host that is quicker at discarding: mapping what happens
 * to be in the page cache around it is not good enough.  A page that is mlocked
 * must be stable anyway.
 *
 * Return: true if it does; always false if page host virtual assist is off.
 */
static inline bool page_hva_fault_must_stay(struct vm_fault *vmf)
{
	return page_hva_enabled() && (vmf->flags & FAULT_FLAG_TRIED ||
				      vmf->vma->vm_flags & VM_LOCKED);
}

/**
 * page_hva_fault_stable - does a page fault get a folio that stays?
 * @folio: the locked folio that the fault found
 * @vmf: the fault
 * @mapping_locked: the invalidate lock of its mapping is held
 * @ret: what it did so far; a discarded folio makes it a major fault
 *
 * A store to a shared mapping is about to dirty the folio.  One to a private
 * mapping copies it, see page_hva_copy(); for others see
 * page_hva_fault_must_stay().
 *
 * If the folio is gone, the fault has to wait for the I/O itself.  Its caller
 * might retry it as if for the first time (populate does), which drops the
 * reference after each read.
 *
 * Context: May sleep.
 * Return: false if the folio was discarded; with it go its lock and the reference
 * of the fault.
 */
static inline bool page_hva_fault_stable(struct folio *folio,
					 struct vm_fault *vmf,
					 bool mapping_locked, vm_fault_t *ret)
{
	bool store = vmf->flags & FAULT_FLAG_WRITE &&
		     vmf->vma->vm_flags & VM_SHARED;

	if (!page_hva_enabled() ||
	    (!store && !(*ret & VM_FAULT_MAJOR) && !page_hva_fault_must_stay(vmf)) ||
	    likely(page_hva_make_stable(folio, PAGE_HVA_SITE_FAULT)))
		return true;
	__page_hva_fault_gone(folio, vmf, mapping_locked, ret);
	return false;
}

/* Can a reader to @iter not fault?  A copy to user memory can, in the exception table. */
static __always_inline bool page_hva_must_claim(struct iov_iter *iter)
{
	return page_hva_enabled() && !user_backed_iter(iter);
}

/**
 * page_hva_claim - claim what a reader found that can not fault, or keeps references
 * @fbatch: folios, with references
 * @iocb: the read
 * @count: how many bytes it wants
 *
 * This is not in mm/page_hva.c as the compiler has to see that nobody keeps the address
 * of @fbatch: filemap_read() has a part of it in registers.
 *
 * Context: May sleep, unless @iocb says no; called if page_hva_enabled() only.
 * Return: 0 or an error.  What is gone, and what comes after it, is not in @fbatch any
 * more.  If nothing is left, the reader has to look again unless there is an error.
 */
static noinline __maybe_unused int page_hva_claim(struct folio_batch *fbatch,
						  struct kiocb *iocb,
						  size_t count)
{
	unsigned int i, nr = folio_batch_count(fbatch);
	int error = 0;

	for (i = 0; i < nr; i++)
		if (!page_hva_make_stable(fbatch->folios[i], PAGE_HVA_SITE_READ))
			break;
	if (!i && nr)
		error = __page_hva_read_lost(fbatch->folios[0], iocb, count);
	while (nr-- > i)
		folio_put(fbatch->folios[nr]);
	fbatch->nr = i;
	return error;
}

/**
 * page_hva_read_lost - a copy from a folio of the page cache ended early
 * @folio: the folio
 * @iocb: the read
 * @count: how many bytes it wants from here on
 *
 * Context: May sleep, unless @iocb says no.
 * Return: 0 if the folio was discarded and the read is to be continued,
 * -EAGAIN if it was and @iocb must not wait, and -EFAULT otherwise.
 */
static inline int page_hva_read_lost(struct folio *folio, struct kiocb *iocb,
				     size_t count)
{
	if (!page_hva_enabled() || page_hva_skip(PAGE_HVA_SITE_SHORT_READ))
		return -EFAULT;
	return __page_hva_read_lost(folio, iocb, count);
}

/**
 * page_hva_gone - did the host discard a folio?
 * @folio: the folio; the caller has a reference, or the lock of its LRU list
 *
 * For reclaim it does not matter then who accessed it, and when: there is nothing
 * to keep.  What is gone stays gone until the folio is out of the page cache, or has no
 * references and is read again in its place.  Only folios that may be volatile
 * cost an ESSA.
 *
 * Return: true if its content is not there.
 */
static inline bool page_hva_gone(struct folio *folio)
{
	return page_hva_enabled() && folio_test_hva_volatile(folio) &&
	       !page_hva_skip(PAGE_HVA_SITE_RECLAIM) && __page_hva_gone(folio);
}

/* The same for an entry of the page cache, which may be freed meanwhile. */
static inline bool page_hva_entry_gone(struct folio *folio, unsigned int nr)
{
	return page_hva_enabled() && READ_ONCE(folio->flags) & PAGE_HVA_FLAGS &&
	       !page_hva_skip(PAGE_HVA_SITE_IN_CORE) &&
	       __page_hva_entry_gone(&folio->page, nr);
}

/* The same for the page that a page table entry maps, whose lock is held. */
static inline bool page_hva_pte_gone(struct vm_area_struct *vma,
				     unsigned long addr, pte_t pte)
{
	struct folio *folio;

	if (!page_hva_enabled() || page_hva_skip(PAGE_HVA_SITE_IN_CORE))
		return false;
	folio = vm_normal_folio(vma, addr, pte);
	return folio && folio_test_hva_volatile(folio) &&
	       __page_hva_entry_gone(pte_page(pte), 1);
}

/**
 * page_hva_sweep - reclaim discarded folios before any other
 * @pgdat: the node
 * @memcg: whose folios are to be reclaimed, NULL for all
 * @nr: how many pages are wanted
 * @reclaimed: pages reclaimed so far; what is found here is added
 * @scanned: the same is added here
 *
 * Context: Reclaim; may sleep.
 * Return: true if there is no need to reclaim others.
 */
static inline bool page_hva_sweep(struct pglist_data *pgdat,
				  struct mem_cgroup *memcg, unsigned long nr,
				  unsigned long *reclaimed,
				  unsigned long *scanned)
{
	return page_hva_enabled() && !page_hva_skip(PAGE_HVA_SITE_SWEEP) &&
	       __page_hva_sweep(pgdat, memcg, nr, reclaimed, scanned);
}

/* What to leave in the page cache for a folio that goes: NULL if it is not gone. */
static inline void *page_hva_shadow(struct folio *folio)
{
	return page_hva_enabled() && folio_test_hva_volatile(folio) ?
	       __page_hva_shadow(folio) : NULL;
}

/**
 * page_hva_refault - is this the refault of a discarded folio?
 * @folio: the new folio, locked and not yet on an LRU list
 * @shadow: what was left in the page cache
 *
 * Return: true if it is, and all is done.
 */
static inline bool page_hva_refault(struct folio *folio, void *shadow)
{
	return page_hva_enabled() && !page_hva_skip(PAGE_HVA_SITE_REFAULT) &&
	       __page_hva_refault(folio, shadow);
}

/**
 * page_hva_transfer_dirty - collect what the hardware knows about stores
 * @folio: a mapped or formerly mapped folio, which the caller keeps alive
 *
 * The storage key is read for potentially volatile folios only: input from a
 * device sets the change bit, so that it would make dirty folios of all.
 *
 * Return: true if the folio was dirtied.
 */
static __always_inline bool page_hva_transfer_dirty(struct folio *folio)
{
	return page_hva_p_enabled() && folio_test_hva_writable(folio) &&
	       !page_hva_skip(PAGE_HVA_SITE_SWAP_DIRTY) &&
	       __page_hva_transfer_dirty(folio);
}

/* A folio becomes dirty: if it is volatile, a make_stable hook is missing. */
static inline void page_hva_check_dirty(struct folio *folio)
{
	if (IS_ENABLED(CONFIG_PAGE_HVA_DEBUG) && page_hva_enabled() &&
	    folio_test_hva_volatile(folio))
		page_hva_report_dirty(folio);
}

/*
 * The hardware dirty bit of a page, split in test and clear so that the page
 * can be made stable in between.  Architectures without one are never dirty.
 */
#ifndef page_test_dirty
static inline bool page_test_dirty(struct page *page)
{
	return false;
}
#endif

#ifndef page_clear_dirty
static inline void page_clear_dirty(struct page *page)
{
}
#endif

#endif /* _LINUX_PAGE_HVA_H */
