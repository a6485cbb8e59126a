// SPDX-License-Identifier: GPL-2.0
/*
 * Page host virtual assist: make_stable, make_volatile and discard
 *
 * This is the one home of the state transitions of page-cache folios.  Two
 * page flags belong to it: PG_hva_lock serialises the transitions of a folio,
 * PG_hva_volatile says that the folio may be volatile, so that nobody has to
 * ask the host for what is known here.  See Documentation/mm/page_hva.rst.
 */
#define pr_fmt(fmt) "page_hva: " fmt

#include <linux/backing-dev.h>
#include <linux/bit_spinlock.h>
#include <linux/kmsan-checks.h>
#include <linux/kprobes.h>
#include <linux/memcontrol.h>
#include <linux/memory_hotplug.h>
#include <linux/mm.h>
#include <linux/page_hva.h>
#include <linux/pagemap.h>
#include <linux/swap.h>
#include <kunit/static_stub.h>
#include "internal.h"
#include "page_hva.h"
#include "page_hva_stat.h"

#define CREATE_TRACE_POINTS
#include <trace/events/page_hva.h>

DEFINE_STATIC_KEY_FALSE(page_hva_key);
DEFINE_STATIC_KEY_FALSE(page_hva_p_key);

/**
 * page_hva_enable - begin to make folios volatile
 * @p: make mapped folios of the swap cache potentially volatile
 *
 * Context: Boot, once, after the architecture found a host that delivers
 * discard faults.
 */
void __init page_hva_enable(bool p)
{
	/*
	 * KSM reads mapped anonymous memory, and has no hooks.  Guests under SIE
	 * have the storage keys of their memory to themselves.
	 */
	if (p && (IS_ENABLED(CONFIG_KSM) || IS_ENABLED(CONFIG_PGSTE)))
		pr_warn("no potentially volatile pages: KSM or KVM is configured\n");
	else if (p)
		static_branch_enable(&page_hva_p_key);
	static_branch_enable(&page_hva_key);
}

/*
 * The state lock.  make_volatile runs in interrupt context as well, when I/O
 * ends, so interrupts are off while it is held.  They also make its holder an
 * RCU reader.  A probe that hits its holder may run a BPF program that looks up
 * the same folio, for a build ID, and would wait for ever: no kprobes here, and
 * nothing is called that the function tracer knows.
 */
static nokprobe_inline void page_hva_lock(struct folio *folio)
{
	bit_spin_lock(PG_hva_lock, folio_flags(folio, 0));
}

static nokprobe_inline void page_hva_unlock(struct folio *folio)
{
	bit_spin_unlock(PG_hva_lock, folio_flags(folio, 0));
}

/**
 * __page_hva_make_stable - slow path of page_hva_make_stable()
 * @folio: the folio
 *
 * The flag of a discarded folio stays: it keeps the fast path from passing
 * the next user until the folio is out of the page cache.
 *
 * One discarded page discards a large folio.  The pages before it have become
 * stable, which does no harm: the flag still says that the folio may be gone,
 * the discarded page that it is, and page_hva_free() makes all of them stable.
 * Meanwhile the host has a little less to take.
 *
 * When it has been left alone for a while, it may become volatile again.
 *
 * The caller's reference keeps a large folio from being split, here and in
 * page_hva_make_volatile(), so the number of its pages does not change.
 *
 * Return: false if the folio was discarded.
 */
bool __page_hva_make_stable(struct folio *folio)
{
	unsigned long irqflags;
	bool volatile_before, stable = true;

	KUNIT_STATIC_STUB_REDIRECT(__page_hva_make_stable, folio);

	local_irq_save(irqflags);
	page_hva_lock(folio);
	volatile_before = folio_test_hva_volatile(folio);
	if (volatile_before) {
		unsigned int nr = folio_nr_pages(folio);

		stable = page_hva_pages_set_stable_if_resident(&folio->page, nr);
		if (stable) {
			folio_clear_hva_volatile(folio);
			page_hva_count_pages(PAGE_HVA_MADE_STABLE, nr);
		} else {
			page_hva_count(PAGE_HVA_GONE);
		}
	}
	page_hva_unlock(folio);
	local_irq_restore(irqflags);
	/* Not under the lock: what is attached here may look up folios. */
	if (volatile_before) {
		trace_page_hva_make_stable(folio, stable);
		if (stable)
			page_hva_candidate(folio);
	}
	return stable;
}
NOKPROBE_SYMBOL(__page_hva_make_stable);

/*
 * The page cache has a reference for each page of a large folio, each mapping
 * has at least one.  If there are none but those of the page cache and of the
 * caller, the folio is not mapped either: the refcount alone, in one load, is
 * proof.  What adds a mapping before its reference holds one of its own until
 * it has added both.
 *
 * Mapped large folios have to stay stable, whoever asks: their mapcount is
 * not next to the refcount.
 */
static nokprobe_inline bool page_hva_large_count_ok(struct folio *folio,
						    int refs)
{
	return folio_ref_count(folio) == folio_nr_pages(folio) + refs;
}

/*
 * mapcount and refcount of a small folio in one load.  Two loads would pass a
 * folio with a foreign reference in either order: whoever unmaps or maps it
 * between them is counted in one of them only.
 */
static nokprobe_inline bool page_hva_counts_ok(struct folio *folio,
					       bool read_end, bool *mapped)
{
	const int refs = !read_end;	/* the caller's */
	union {
		u64 both;
		struct {
			int mapcount;
			int refcount;
		};
	} count;

	*mapped = false;
	if (folio_test_large(folio))
		return page_hva_large_count_ok(folio, refs);

	BUILD_BUG_ON(offsetof(struct folio, _mapcount) % sizeof(u64));
	BUILD_BUG_ON(offsetof(struct folio, _refcount) !=
		     offsetof(struct folio, _mapcount) + sizeof(int));

	count.both = READ_ONCE(*(u64 *)&folio->_mapcount);
	*mapped = count.mapcount != -1;
	if (*mapped && read_end)
		return false;
	/* _mapcount starts at -1, and the page cache has a reference. */
	return count.refcount == count.mapcount + 1 + 1 + refs;
}

static nokprobe_inline bool page_hva_flags_ok(struct folio *folio,
					      bool read_end)
{
	const unsigned long set = BIT(PG_uptodate) | BIT(PG_lru);
	unsigned long flags = READ_ONCE(folio->flags);

	/* The lock is ours, and so is the read that was good. */
	flags ^= BIT(PG_locked);
	if (read_end)
		flags ^= BIT(PG_uptodate);
	return (flags & (set | BIT(PG_locked))) == set &&
	       page_hva_flags_eligible(flags);
}

/* mapping_can_writeback() calls functions, which might be traced. */
static nokprobe_inline bool page_hva_can_writeback(struct address_space *mapping)
{
	struct super_block *sb = mapping->host->i_sb;

	return sb_is_blkdev_sb(sb) || sb->s_bdi->capabilities & BDI_CAP_WRITEBACK;
}

/*
 * Can the mapping read the folio again, and does it learn of stores to it?  The
 * folio may be truncated at any time and its inode be freed, but not before an
 * RCU grace period; the caller has interrupts off.  The backing device is asked
 * for if there is a writable mapping only: its file keeps the super block, and
 * unmounting one waits for a grace period as well.
 */
static nokprobe_inline bool page_hva_mapping_ok(struct folio *folio)
{
	const unsigned long clear = BIT(AS_EXITING) | BIT(AS_UNEVICTABLE) |
				    BIT(AS_RELEASE_ALWAYS);
	struct address_space *mapping = READ_ONCE(folio->mapping);

	if (!mapping || (unsigned long)mapping & PAGE_MAPPING_FLAGS)
		return false;
	if (mapping_writably_mapped(mapping) && !page_hva_can_writeback(mapping))
		return false;
	return mapping->a_ops->read_folio && !(READ_ONCE(mapping->flags) & clear);
}

/*
 * Let the host discard a folio if that is safe.
 *
 * The counts prove that at the time of the snapshot only the page cache, page
 * tables and the caller had a reference.  Whoever took one later finds the
 * lock bit, see page_hva_make_stable().  Whoever had one before and put it
 * has done so after its stores to the flags, so these, loaded after the
 * counts, tell if the folio was dirtied.  Page faults that set up a writable
 * page table entry hold the folio lock or a reference until the folio is
 * dirty; a mapping that counts itself in the mapcount first
 * (filemap_map_pages) holds the folio lock until it has counted both.
 *
 * Context: Any; gives up rather than wait.
 * Return: true if the folio is volatile now.
 */
static nokprobe_inline bool __page_hva_make_volatile(struct folio *folio,
						     bool read_end, bool swap)
{
	unsigned long irqflags;
	bool ok = false, mapped;

	local_irq_save(irqflags);
	if (!bit_spin_trylock(PG_hva_lock, folio_flags(folio, 0)))
		goto out;
	smp_mb();	/* lock bit before counts, pairs with make_stable */
	if (!page_hva_counts_ok(folio, read_end, &mapped)) {
		page_hva_count(PAGE_HVA_COUNT_BUSY);
	} else {
		smp_rmb();	/* counts before flags: dirty, then put */
		ok = page_hva_flags_ok(folio, read_end) &&
		     (swap ? page_hva_swap_eligible(folio, mapped) :
			     page_hva_mapping_ok(folio));
	}
	if (ok) {
		unsigned int nr = folio_nr_pages(folio);
		/* The dirty flag says it all for what is not mapped. */
		bool potentially = mapped && swap;

		if (swap && !potentially)
			folio_clear_hva_writable(folio);
		folio_set_hva_volatile(folio);
		page_hva_pages_set_volatile(&folio->page, nr, potentially);
		page_hva_count_pages(PAGE_HVA_MADE_VOLATILE, nr);
		if (swap)
			page_hva_count(potentially ? PAGE_HVA_SWAP_POTENTIALLY :
						     PAGE_HVA_SWAP_VOLATILE);
	}
	page_hva_unlock(folio);
out:
	local_irq_restore(irqflags);
	if (ok)
		trace_page_hva_make_volatile(folio);
	return ok;
}

/**
 * page_hva_make_volatile - let the host discard a folio that was left alone
 * @folio: the folio, which may be mapped; the caller has its lock and a reference
 *
 * Context: Any; gives up rather than wait.
 * Return: true if the folio is volatile now.
 */
bool page_hva_make_volatile(struct folio *folio)
{
	const bool swap = folio_test_swapbacked(folio);

	return !(swap && page_hva_swap_excluded(folio)) &&
	       __page_hva_make_volatile(folio, false, swap);
}
NOKPROBE_SYMBOL(page_hva_make_volatile);

/* Slow path of page_hva_read_end(). */
void __page_hva_read_end(struct folio *folio)
{
	if (!folio_test_swapbacked(folio))
		__page_hva_make_volatile(folio, true, false);
}
NOKPROBE_SYMBOL(__page_hva_read_end);

/**
 * __page_hva_free - volatile pages are being freed
 * @page: the first one, with PG_hva_volatile set; there are no references
 * @order: how many there are
 *
 * Each page of a large folio that stays volatile needs a flag of its own.
 *
 * No lock: the reference count is 0, so nobody else changes the state.
 */
void __page_hva_free(struct page *page, unsigned int order)
{
	unsigned int i;

	if (!page_hva_must_free_stable(page)) {
		for (i = 1; i < 1U << order; i++)
			__set_bit(PG_hva_unused, &page[i].flags);
		return;
	}
	page->flags &= ~(BIT(PG_hva_volatile) | BIT(PG_hva_writable));
	page_hva_pages_set_stable(page, 1U << order);
}

/* Slow path of page_hva_entry_gone(). */
bool __page_hva_entry_gone(struct page *page, unsigned int nr)
{
	return page_hva_pages_discarded(page, nr);
}

/* Slow path of page_hva_gone(). */
bool __page_hva_gone(struct folio *folio)
{
	return page_hva_pages_discarded(&folio->page, folio_nr_pages(folio));
}

/*
 * Is the folio, which the caller holds a reference to, without its content, or
 * without a part of it?
 */
static bool page_hva_is_gone(struct folio *folio)
{
	return folio_test_hva_volatile(folio) && __page_hva_gone(folio);
}

/*
 * Take a discarded folio out of page tables and page cache, much as reclaim
 * and truncation do.
 *
 * The folio lock keeps the inode from being evicted until the folio is out of
 * the page cache, and i_lock from then on until it is dropped; after that only
 * the folio may be touched.
 */
static bool page_hva_remove(struct folio *folio, struct address_space *mapping)
{
	void (*free_folio)(struct folio *folio) = mapping->a_ops->free_folio;
	unsigned int nr = folio_nr_pages(folio);
	void *shadow = NULL;
	bool isolated;

	/* It is locked, which whoever maps an unmapped folio has to wait for. */
	if (folio_mapped(folio))
		unmap_mapping_folio(folio);
	if (folio_mapped(folio)) {
		pr_warn_ratelimited("pfn %lx is discarded and can not be unmapped\n",
				    folio_pfn(folio));
		return false;
	}

	/* Off the LRU, PG_active says where it was; with MGLRU then only. */
	isolated = folio_isolate_lru(folio);

	spin_lock(&mapping->host->i_lock);
	xa_lock_irq(&mapping->i_pages);
	/* As in __remove_mapping(): an inode that goes must not get shadows. */
	if (folio_is_file_lru(folio) && !mapping_exiting(mapping))
		shadow = page_hva_shadow(folio);
	__filemap_remove_folio(folio, shadow);
	xa_unlock_irq(&mapping->i_pages);
	if (mapping_shrinkable(mapping))
		inode_add_lru(mapping->host);
	spin_unlock(&mapping->host->i_lock);

	if (free_folio)
		free_folio(folio);
	trace_page_hva_discard(folio);
	if (isolated) {
		/* Who frees a folio clears these only if it is on an LRU list. */
		folio_clear_active(folio);
		folio_clear_unevictable(folio);
		folio_put(folio);
	}
	folio_put_refs(folio, nr);
	page_hva_count_pages(PAGE_HVA_DISCARDS, nr);
	return true;
}

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
static noinline bool page_hva_reuse(struct folio *folio)
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
	page_hva_candidate(folio);
	trace_page_hva_discard(folio);
	page_hva_count_pages(PAGE_HVA_DISCARDS, nr);
	page_hva_count_pages(PAGE_HVA_REFAULTS, nr);
	return true;
}
NOKPROBE_SYMBOL(page_hva_reuse);

/* Could readahead have added such a folio?  Collapse makes others. */
static bool page_hva_readable(struct address_space *mapping,
			      struct folio *folio, pgoff_t index, pgoff_t end)
{
	return folio->index == index && folio_next_index(folio) <= end &&
	       folio_order(folio) >= mapping_min_folio_order(mapping) &&
	       folio_order(folio) <= mapping_max_folio_order(mapping);
}

/**
 * __page_hva_read_again - slow path of page_hva_read_again()
 * @ractl: the readahead
 * @index: where there may be a folio in its way
 * @mark: where the next readahead begins
 * @end: where this one ends
 *
 * Context: As page_cache_ra_unbounded(), with the invalidate lock held.
 * Return: true if a folio was there and is a part of @ractl now, or was removed.
 */
bool __page_hva_read_again(struct readahead_control *ractl, pgoff_t index,
			   pgoff_t mark, pgoff_t end)
{
	struct address_space *mapping = ractl->mapping;
	struct folio *folio = filemap_get_entry(mapping, index);
	bool ret = false;

	if (!folio || xa_is_value(folio))
		return false;
	/* Waiting for a lock with other folios locked could be a deadlock. */
	if (!folio_test_hva_volatile(folio) || !folio_trylock(folio))
		goto put;
	if (folio->mapping != mapping || !page_hva_is_gone(folio))
		goto unlock;
	if (page_hva_readable(mapping, folio, index, end) &&
	    page_hva_reuse(folio)) {
		folio_clear_readahead(folio);
		if (folio_contains(folio, mark))
			folio_set_readahead(folio);
		/* The lock and the reference are those of the read now. */
		ractl->_nr_pages += folio_nr_pages(folio);
		return true;
	}
	ret = page_hva_remove(folio, mapping);
unlock:
	folio_unlock(folio);
put:
	folio_put(folio);
	return ret;
}

/**
 * page_hva_discard_locked - remove a discarded folio from the page cache
 * @folio: the folio; the caller has a reference and the lock
 *
 * Context: May sleep.
 * Return: true if the folio is not in the way any more: it was removed, by us
 * or by somebody else, or will be if the access is repeated; false if it was not
 * discarded after all, or can not be removed.
 */
bool page_hva_discard_locked(struct folio *folio)
{
	struct address_space *mapping = folio->mapping;

	VM_WARN_ON_ONCE_FOLIO(!folio_test_locked(folio), folio);
	if (!page_hva_is_gone(folio))
		return false;
	if (folio_test_swapcache(folio)) {
		page_hva_swap_discard(folio);
		return true;
	}
	if (!mapping)
		return !folio_mapped(folio);
	if (folio_test_anon(folio)) {
		pr_warn_ratelimited("pfn %lx is discarded and can not be read again\n",
				    folio_pfn(folio));
		return false;
	}
	return page_hva_remove(folio, mapping);
}

/**
 * page_hva_discard - lock a folio, remove it if it is discarded, unlock it
 * @folio: the folio; the caller has a reference
 *
 * Context: May sleep; page table locks are not held.
 */
void page_hva_discard(struct folio *folio)
{
	folio_lock(folio);
	page_hva_discard_locked(folio);
	folio_unlock(folio);
}

/**
 * page_hva_discard_page - handle a discard fault on a page
 * @page: the page that the host says was accessed while it was discarded
 *
 * Between the access and now the page can have been freed and reused: the
 * folio is looked up without a reference, and only then tied down.  If it is
 * still discarded, it is the one that was accessed: nobody gets a reference to
 * a free page, arch_alloc_page() makes pages stable before they have one, and
 * then they are so until somebody with a reference to it makes it volatile.
 * If not, there is nothing to do: the access is repeated and finds the page
 * table entry gone, or the page stable.
 *
 * Context: May sleep.
 * Return: false if the page is discarded and there is no way to get rid of
 * it: repeating the access would fault for ever.
 */
bool page_hva_discard_page(struct page *page)
{
	struct folio *folio = page_folio(page);
	bool ok = true;

	if (!folio_try_get(folio))
		return true;
	if (page_folio(page) == folio && page_hva_discarded(page)) {
		folio_lock(folio);
		ok = page_hva_discard_locked(folio) ||
		     !page_hva_discarded(page);
		folio_unlock(folio);
	}
	folio_put(folio);
	return ok;
}

/**
 * __page_hva_lookup - slow path of page_hva_lookup()
 * @folio: the folio, which may be volatile
 * @fgp_flags: how it was looked up
 *
 * A look-up that does not lock must not sleep either, so a discarded folio is only
 * reported as absent.  It is removed by page_hva_add_collision() at the latest,
 * or here if it is in the swap cache: removing it from there does not sleep.
 *
 * Return: false if it is gone, and with it the reference and the lock.
 */
bool __page_hva_lookup(struct folio *folio, fgf_t fgp_flags)
{
	bool locked = fgp_flags & FGP_LOCK;

	if (fgp_flags & FGP_NOCONTENT ||
	    page_hva_skip(folio_test_swapcache(folio) ?
			  PAGE_HVA_SITE_SWAP_LOOKUP : PAGE_HVA_SITE_LOOKUP) ||
	    __page_hva_make_stable(folio))
		return true;
	if (!locked && folio_test_swapcache(folio))
		locked = folio_trylock(folio);
	if (locked) {
		page_hva_discard_locked(folio);
		folio_unlock(folio);
	}
	folio_put(folio);
	return false;
}

/**
 * __page_hva_add_collision - make room for who was told that there is room
 * @mapping: where a folio could not be added
 * @index: as there is one at this index
 *
 * A discarded folio is reported as absent, so the next step of whoever looked
 * it up is to add another one and to look again if that fails.  Readahead gets
 * here with locks on other folios, so this only tries to get the lock; whoever
 * has it gets a chance to proceed before the next look.
 *
 * Context: May sleep.
 */
void __page_hva_add_collision(struct address_space *mapping, pgoff_t index)
{
	struct folio *folio = filemap_get_entry(mapping, index);
	bool removed = false;

	if (!folio || xa_is_value(folio))
		return;
	if (page_hva_is_gone(folio) && folio_trylock(folio)) {
		removed = folio->mapping == mapping && page_hva_is_gone(folio) &&
			  page_hva_remove(folio, mapping);
		folio_unlock(folio);
	}
	folio_put(folio);
	if (!removed)
		cond_resched();
}

/**
 * __page_hva_fault_gone - slow path of page_hva_fault_stable()
 * @folio: the locked folio, which is discarded; is unlocked and put
 * @vmf: the fault
 * @mapping_locked: the invalidate lock is held
 * @ret: what it did so far
 *
 * From here on the fault is like one that did not find the folio at all.  So the
 * first time others are read along with it.  They may be discarded again before
 * the fault gets there; the next time it reads the folio alone, and keeps it.
 */
void __page_hva_fault_gone(struct folio *folio, struct vm_fault *vmf,
			   bool mapping_locked, vm_fault_t *ret)
{
	struct vm_area_struct *vma = vmf->vma;
	struct file *file = vma->vm_file;

	page_hva_discard_locked(folio);
	folio_unlock(folio);
	folio_put(folio);
	if (!(*ret & VM_FAULT_MAJOR)) {
		count_vm_event(PGMAJFAULT);
		count_memcg_event_mm(vma->vm_mm, PGMAJFAULT);
		*ret |= VM_FAULT_MAJOR;
	}
	vmf->flags |= FAULT_FLAG_TRIED;
	if (!mapping_locked && !(vma->vm_flags & VM_RAND_READ))
		page_cache_sync_readahead(file->f_mapping, &file->f_ra, file,
					  vmf->pgoff,
					  max(1U, file->f_ra.ra_pages));
}

/*
 * Until when reads take one folio at a time, because the host discarded what was
 * read ahead before anybody got to see it.
 */
static unsigned long page_hva_quick_host = INITIAL_JIFFIES;

static bool page_hva_is_gone_at(struct address_space *mapping, pgoff_t index)
{
	struct folio *folio = filemap_get_entry(mapping, index);
	bool gone;

	if (!folio || xa_is_value(folio))
		return false;
	gone = page_hva_is_gone(folio);
	folio_put(folio);
	return gone;
}

/**
 * __page_hva_read_lost - slow path of page_hva_read_lost()
 * @folio: the folio that is in the way of a read
 * @iocb: the read
 * @count: how many bytes it wants from here on
 *
 * Removes the folio, and reads others along with it as a read does that does not find
 * it.  They may be discarded again at once, so this sees to it that the one that comes
 * next is there and stable.  It is read with a reference held; and when that is put it
 * stays stable for some seconds, see page_hva_candidate().
 *
 * The folio may have been truncated meanwhile.  Then reading goes on with
 * whatever the file has there now, just as if it had come a little later.
 *
 * Context: May sleep, unless @iocb says no.
 * Return: 0 if the read may go on, -EFAULT if @folio is not gone, -EAGAIN, or another
 * error.
 */
int __page_hva_read_lost(struct folio *folio, struct kiocb *iocb, size_t count)
{
	struct file *file = iocb->ki_filp;
	struct address_space *mapping = file->f_mapping;
	/* What replaces a large folio can be smaller. */
	pgoff_t index = max_t(pgoff_t, folio->index, iocb->ki_pos >> PAGE_SHIFT);

	if (!page_hva_is_gone(folio))
		return -EFAULT;
	if (iocb->ki_flags & (IOCB_NOWAIT | IOCB_NOIO | IOCB_WAITQ))
		return -EAGAIN;
	page_hva_discard(folio);
	if (time_after_eq(jiffies, READ_ONCE(page_hva_quick_host)))
		page_cache_sync_readahead(mapping, &file->f_ra, file, index,
					  DIV_ROUND_UP(count, PAGE_SIZE));
	if (page_hva_is_gone_at(mapping, index))
		WRITE_ONCE(page_hva_quick_host, jiffies + HZ);
	if ((loff_t)index << PAGE_SHIFT >= i_size_read(mapping->host))
		return 0;

	filemap_invalidate_lock_shared(mapping);
	folio = read_cache_folio(mapping, index, NULL, file);
	filemap_invalidate_unlock_shared(mapping);
	if (IS_ERR(folio))
		return PTR_ERR(folio);
	folio_put(folio);
	return 0;
}

/* Slow path of page_hva_copy(). */
int __page_hva_copy(struct page *to, struct page *from, bool locked)
{
	struct folio *folio = page_folio(from);
	bool gone;

	if (page_hva_copy_page(page_to_virt(to), page_to_virt(from))) {
		kmsan_unpoison_memory(page_to_virt(to), PAGE_SIZE);
		return 0;
	}
	if (!locked)
		folio_lock(folio);
	gone = page_hva_discard_locked(folio);
	if (!locked)
		folio_unlock(folio);
	/* To fail for another reason, or to fail again, would be repeated for ever. */
	return gone ? -EAGAIN : -EHWPOISON;
}

/**
 * __page_hva_transfer_dirty - move the hardware dirty bit to the folio
 * @folio: a potentially volatile folio
 *
 * The order matters.  The folio is made stable before the bit is cleared: a
 * host that finds it clear would discard the only copy of what was stored.
 * And it is marked dirty last, as only a stable folio may be dirty.
 *
 * Return: true if the folio was dirtied.
 */
bool __page_hva_transfer_dirty(struct folio *folio)
{
	if (!page_test_dirty(&folio->page))
		return false;
	if (!__page_hva_make_stable(folio))
		return false;
	page_clear_dirty(&folio->page);
	folio_clear_hva_writable(folio);
	return folio_mark_dirty(folio);
}
