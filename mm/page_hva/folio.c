// SPDX-License-Identifier: GPL-2.0
/*
 * Page host virtual assist: make stable, make volatile, drop
 *
 * This is the one home of the state transitions of page-cache folios.  Two
 * page flags belong to it: PG_hva_lock serialises the transitions of a folio,
 * PG_hva_volatile says that the folio may be volatile, so that nobody has to
 * ask the host for what is known here.  See Documentation/mm/page_hva.rst.
 */
#define pr_fmt(fmt) "page_hva: " fmt

#include <linux/backing-dev.h>
#include <linux/bitops.h>
#include <linux/kmsan-checks.h>
#include <linux/kprobes.h>
#include <linux/memcontrol.h>
#include <linux/memory_hotplug.h>
#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/swap.h>
#include <linux/vmstat.h>
#include "../internal.h"
#include "state.h"

#define CREATE_TRACE_POINTS
#include <trace/events/page_hva.h>

DEFINE_STATIC_KEY_FALSE(page_hva_key);

/**
 * page_hva_enable - begin to make folios volatile
 *
 * Context: Boot, once, after the architecture found a host that delivers
 * discard faults.
 */
void __init page_hva_enable(void)
{
	static_branch_enable(&page_hva_key);
}

/*
 * The state lock.  make_volatile runs in interrupt context as well, when I/O
 * ends, so interrupts are off while it is held.  That also makes its holder an
 * RCU reader.  A probe that hits its holder may run a BPF program that looks up
 * the same folio, for a build ID, and would wait for ever: no kprobes here, and
 * nothing is called that the function tracer knows.
 */
static nokprobe_inline void page_hva_lock(struct folio *folio)
{
	while (test_and_set_bit_lock(PG_hva_lock, folio_flags(folio, 0)))
		cpu_relax();
}

static nokprobe_inline void page_hva_unlock(struct folio *folio)
{
	clear_bit_unlock(PG_hva_lock, folio_flags(folio, 0));
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
 * The caller's reference keeps a large folio from being split, here and in
 * try_volatile(), so the number of its pages does not change.
 *
 * Return: false if the folio was discarded.
 */
bool __page_hva_make_stable(struct folio *folio)
{
	unsigned long irqflags;
	bool volatile_before, stable = true;

	local_irq_save(irqflags);
	page_hva_lock(folio);
	volatile_before = folio_test_hva_volatile(folio);
	if (volatile_before) {
		unsigned int nr = folio_nr_pages(folio);

		stable = page_hva_pages_set_stable_if_resident(&folio->page, nr);
		if (stable) {
			folio_clear_hva_volatile(folio);
			count_vm_events(PAGE_HVA_MADE_STABLE, nr);
		}
	}
	page_hva_unlock(folio);
	local_irq_restore(irqflags);
	/* Not under the lock: what is attached here may look up folios. */
	if (volatile_before) {
		trace_page_hva_make_stable(folio, stable);
		if (stable)
			page_hva_make_volatile(folio);
	}
	return stable;
}
NOKPROBE_SYMBOL(__page_hva_make_stable);

/*
 * The page cache has a reference for each page of a large folio, each mapping has one.
 * If there are none but those of the page cache and of the caller, the folio is not
 * mapped either: the refcount alone, in one load, is proof.  What adds a mapping
 * before its reference holds one of its own until it has added both.
 *
 * With mappings, the refcount is loaded first.  Who unmaps counts the mapping down,
 * and then puts its reference; so a mapping that is counted had its reference when the
 * refcount was loaded, unless it was added in between, and nobody does that:
 * kept_by_mapping() has seen to it.  If the sum is right nothing is left for a foreign
 * reference.
 */
static nokprobe_inline bool page_hva_large_counts_ok(struct folio *folio,
						     bool read_end)
{
	int maps = folio_ref_count(folio) - folio_nr_pages(folio) - !read_end;

	if (!maps || read_end)
		return !maps;
	smp_rmb();	/* refcount before mapcount: unmapped, then put */
	return atomic_read(&folio->_large_mapcount) + 1 == maps;
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
		return page_hva_large_counts_ok(folio, read_end);

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
static nokprobe_inline bool make_volatile(struct folio *folio, bool read_end,
					  bool swap)
{
	unsigned long irqflags;
	bool ok = false, mapped;

	local_irq_save(irqflags);
	if (test_and_set_bit_lock(PG_hva_lock, folio_flags(folio, 0)))
		goto out;
	smp_mb();	/* lock bit before counts, pairs with make_stable */
	if (page_hva_counts_ok(folio, read_end, &mapped)) {
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
		count_vm_events(PAGE_HVA_MADE_VOLATILE, nr);
		if (swap)
			atomic_inc(potentially ? &page_hva_swap_potentially :
						 &page_hva_swap_volatile);
	}
	page_hva_unlock(folio);
out:
	local_irq_restore(irqflags);
	if (ok)
		trace_page_hva_make_volatile(folio);
	return ok;
}

/**
 * page_hva_try_volatile - let the host discard a folio that was left alone
 * @folio: the folio, which may be mapped; the caller has its lock and a reference, and
 *	   if it is large and mapped, holds i_mmap_rwsem and has asked kept_by_mapping()
 *
 * Context: Any; gives up rather than wait.
 * Return: true if the folio is volatile now.
 */
bool page_hva_try_volatile(struct folio *folio)
{
	const bool swap = IS_ENABLED(CONFIG_SWAP) && folio_test_swapbacked(folio);

	return !(swap && page_hva_swap_excluded(folio)) &&
	       make_volatile(folio, false, swap);
}
NOKPROBE_SYMBOL(page_hva_try_volatile);

/**
 * __page_hva_end_read - slow path of page_hva_end_read()
 * @folio: the folio; the caller has its lock, and sets PG_uptodate next
 *
 * If somebody has a reference to it, it turns volatile later: filemap_add_folio()
 * has said so.
 *
 * Context: Any.
 */
void __page_hva_end_read(struct folio *folio)
{
	if (!folio_test_swapbacked(folio))
		make_volatile(folio, true, false);
}
NOKPROBE_SYMBOL(__page_hva_end_read);

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

	if (!page_hva_must_free_stable()) {
		for (i = 1; i < 1U << order; i++)
			__set_bit(PG_hva_unused, &page[i].flags);
		return;
	}
	page->flags &= ~(BIT(PG_hva_volatile) | BIT(PG_hva_writable));
	page_hva_pages_set_stable(page, 1U << order);
}

/* Slow path of page_hva_resident(). */
bool __page_hva_resident(struct page *page, unsigned int nr)
{
	return !page_hva_pages_discarded(page, nr);
}

/**
 * page_hva_is_gone - is a folio without its content, or without a part of it?
 * @folio: the folio; the caller has a reference
 *
 * Return: true if the host has discarded it.
 */
bool page_hva_is_gone(struct folio *folio)
{
	return folio_test_hva_volatile(folio) &&
	       page_hva_pages_discarded(&folio->page, folio_nr_pages(folio));
}

/**
 * page_hva_remove - take a discarded folio out of page tables and page cache
 * @folio: the folio; the caller has its lock and a reference
 * @mapping: where it is
 *
 * Much as reclaim and truncation do.
 *
 * The folio lock keeps the inode from being evicted until the folio is out of
 * the page cache, and i_lock from then on until it is dropped; after that only
 * the folio may be touched.
 *
 * Context: May sleep.
 * Return: 0, or -EBUSY if something keeps it mapped.
 */
int page_hva_remove(struct folio *folio, struct address_space *mapping)
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
		return -EBUSY;
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
	trace_page_hva_drop(folio);
	if (isolated) {
		/* Who frees a folio clears these only if it is on an LRU list. */
		folio_clear_active(folio);
		folio_clear_unevictable(folio);
		folio_put(folio);
	}
	folio_put_refs(folio, nr);
	count_vm_events(PAGE_HVA_DROPPED, nr);
	return 0;
}

/*
 * Drop a folio that the caller has locked, and has a reference to, if it is
 * discarded.  It may sleep.
 *
 * Return: 0 if it is not in the way any more: it was dropped, by us or by
 * somebody else, or will be if the access is repeated; -EBUSY if it was not
 * discarded after all, or can not be dropped.
 */
static int drop_locked(struct folio *folio)
{
	struct address_space *mapping = folio->mapping;

	if (!page_hva_is_gone(folio))
		return -EBUSY;
	if (folio_test_swapcache(folio)) {
		page_hva_swap_drop(folio);
		return 0;
	}
	if (!mapping)
		return folio_mapped(folio) ? -EBUSY : 0;
	if (folio_test_anon(folio)) {
		pr_warn_ratelimited("pfn %lx is discarded and can not be read again\n",
				    folio_pfn(folio));
		return -EBUSY;
	}
	return page_hva_remove(folio, mapping);
}

/**
 * __page_hva_drop - slow path of page_hva_drop()
 * @page: a page that may be discarded
 *
 * Between the access and now the page can have been freed and reused: the
 * folio is looked up without a reference, and only then tied down.  If it is
 * still discarded, it is the one that was accessed: nobody gets a reference to
 * a free page, arch_alloc_page() makes pages stable before they have one, and
 * then they are so until somebody with a reference to it makes it volatile.
 * If not, there is nothing to do: the access is repeated and finds the page
 * table entry gone, or the page stable.
 *
 * Context: May sleep; page table locks are not held.
 * Return: 0, or -EBUSY if there is no way to get rid of it.
 */
int __page_hva_drop(struct page *page)
{
	struct folio *folio = page_folio(page);
	int ret = 0;

	if (!folio_try_get(folio))
		return 0;
	if (page_folio(page) == folio &&
	    (page_hva_discarded(page) || page_hva_is_gone(folio))) {
		folio_lock(folio);
		ret = drop_locked(folio);
		if (ret && !page_hva_discarded(page))
			ret = 0;
		folio_unlock(folio);
	}
	folio_put(folio);
	return ret;
}

/**
 * __page_hva_lookup - slow path of page_hva_lookup()
 * @folio: the folio, which may be volatile
 * @fgp_flags: how it was looked up
 *
 * A look-up that does not lock must not sleep either, so a discarded folio is only
 * reported as absent.  It is dropped by page_hva_make_room() at the latest.
 *
 * Context: May sleep with FGP_LOCK only.
 * Return: false if it is gone, and with it the reference and the lock.
 */
bool __page_hva_lookup(struct folio *folio, fgf_t fgp_flags)
{
	if (fgp_flags & FGP_NOCONTENT)
		return true;
	if (folio_test_swapcache(folio))
		return page_hva_swap_lookup(folio, fgp_flags & FGP_LOCK);
	if (page_hva_make_stable(folio))
		return true;
	if (fgp_flags & FGP_LOCK) {
		drop_locked(folio);
		folio_unlock(folio);
	}
	folio_put(folio);
	return false;
}

/**
 * __page_hva_make_room - make room for who was told that there is room
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
void __page_hva_make_room(struct address_space *mapping, pgoff_t index)
{
	struct folio *folio = filemap_get_entry(mapping, index);
	int ret = -EBUSY;

	if (!folio || xa_is_value(folio))
		return;
	if (page_hva_is_gone(folio) && folio_trylock(folio)) {
		if (folio->mapping == mapping && page_hva_is_gone(folio))
			ret = page_hva_remove(folio, mapping);
		folio_unlock(folio);
	}
	folio_put(folio);
	if (ret)
		cond_resched();
}

/**
 * __page_hva_fault_gone - slow path of page_hva_fault()
 * @folio: the locked folio, which is discarded; is unlocked and put
 * @vmf: the fault
 * @mapping_locked: the invalidate lock is held
 * @ret: what it did so far
 *
 * From here on the fault is like one that did not find the folio at all: a major
 * fault, that waits for the I/O itself, as its caller might retry it as if for the
 * first time (populate does), which drops the reference after each read.  So the
 * first time others are read along with it.  They may be discarded again before
 * the fault gets there; the next time it reads the folio alone, and keeps it.
 */
void __page_hva_fault_gone(struct folio *folio, struct vm_fault *vmf,
			   bool mapping_locked, vm_fault_t *ret)
{
	struct vm_area_struct *vma = vmf->vma;
	struct file *file = vma->vm_file;

	drop_locked(folio);
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
 * __page_hva_reread - slow path of page_hva_reread()
 * @folio: the folio that is in the way of a read
 * @iocb: the read
 * @count: how many bytes it wants from here on
 *
 * Drops the folio, and reads others along with it as a read does that does not find
 * it.  They may be discarded again at once, so this sees to it that the one that comes
 * next is there and stable.  It is read with a reference held; and when that is put it
 * stays stable for some seconds, see page_hva_make_volatile().
 *
 * The folio may have been truncated meanwhile.  Then reading goes on with
 * whatever the file has there now, just as if it had come a little later.
 *
 * Context: May sleep, unless @iocb says no.
 * Return: 0 if the read may go on, -EFAULT if @folio is not gone, -EAGAIN, or another
 * error.
 */
int __page_hva_reread(struct folio *folio, struct kiocb *iocb, size_t count)
{
	struct file *file = iocb->ki_filp;
	struct address_space *mapping = file->f_mapping;
	/* What replaces a large folio can be smaller. */
	pgoff_t index = max_t(pgoff_t, folio->index, iocb->ki_pos >> PAGE_SHIFT);

	if (!page_hva_is_gone(folio))
		return -EFAULT;
	if (iocb->ki_flags & (IOCB_NOWAIT | IOCB_NOIO | IOCB_WAITQ))
		return -EAGAIN;
	page_hva_drop(&folio->page);
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

/**
 * __page_hva_copy - copy a page for somebody who is about to store to it
 * @to: a new page
 * @from: the page to copy; the caller has a reference
 * @locked: the folio of @from is locked
 *
 * The copy ends early if the host takes @from, so there is no need to make it
 * stable.  Then it is dropped.
 *
 * Context: May sleep; page table locks are not held.
 * Return: 0, -EAGAIN if it is gone and the fault is to be repeated, or -EHWPOISON:
 * to fail for another reason, or to fail again, would be repeated for ever.
 */
int __page_hva_copy(struct page *to, struct page *from, bool locked)
{
	struct folio *folio = page_folio(from);
	int ret;

	if (page_hva_copy_page(page_to_virt(to), page_to_virt(from))) {
		kmsan_unpoison_memory(page_to_virt(to), PAGE_SIZE);
		return 0;
	}
	if (!locked)
		folio_lock(folio);
	ret = drop_locked(folio);
	if (!locked)
		folio_unlock(folio);
	return ret ? -EHWPOISON : -EAGAIN;
}
