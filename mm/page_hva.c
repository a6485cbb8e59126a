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
#include <linux/memory_hotplug.h>
#include <linux/mm.h>
#include <linux/page_hva.h>
#include <linux/pagemap.h>
#include <linux/swap.h>
#include <kunit/static_stub.h>
#include "internal.h"
#include "page_hva_stat.h"

DEFINE_STATIC_KEY_FALSE(page_hva_key);
DEFINE_PER_CPU(unsigned long [PAGE_HVA_NR_STATS], page_hva_stat);

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
 * ends, so interrupts are off while it is held.  They also make its holder an
 * RCU reader.
 */
static void page_hva_lock(struct folio *folio)
{
	bit_spin_lock(PG_hva_lock, folio_flags(folio, 0));
}

static void page_hva_unlock(struct folio *folio)
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
 * Return: false if the folio was discarded.
 */
bool __page_hva_make_stable(struct folio *folio)
{
	unsigned long irqflags;
	bool stable = true;

	KUNIT_STATIC_STUB_REDIRECT(__page_hva_make_stable, folio);

	local_irq_save(irqflags);
	page_hva_lock(folio);
	if (folio_test_hva_volatile(folio)) {
		stable = page_hva_set_stable_if_resident(&folio->page);
		if (stable) {
			folio_clear_hva_writable(folio);
			folio_clear_hva_volatile(folio);
		}
		page_hva_count(stable ? PAGE_HVA_MADE_STABLE : PAGE_HVA_GONE);
	}
	page_hva_unlock(folio);
	local_irq_restore(irqflags);
	return stable;
}

/*
 * mapcount and refcount of a small folio in one load.  Two loads would pass a
 * folio with a foreign reference in either order: whoever unmaps or maps it
 * between them is counted in one of them only.
 */
static bool page_hva_counts_ok(struct folio *folio, int refs,
			       enum page_hva_moment moment)
{
	union {
		u64 both;
		struct {
			int mapcount;
			int refcount;
		};
	} count;

	BUILD_BUG_ON(offsetof(struct folio, _mapcount) % sizeof(u64));
	BUILD_BUG_ON(offsetof(struct folio, _refcount) !=
		     offsetof(struct folio, _mapcount) + sizeof(int));

	count.both = READ_ONCE(*(u64 *)&folio->_mapcount);
	if (count.mapcount != -1 && moment != PAGE_HVA_AGED)
		return false;
	/* _mapcount starts at -1, and the page cache has a reference. */
	return count.refcount == count.mapcount + 1 + 1 + refs;
}

static bool page_hva_flags_ok(struct folio *folio, enum page_hva_moment moment)
{
	const unsigned long set = BIT(PG_uptodate) | BIT(PG_lru);
	unsigned long flags = READ_ONCE(folio->flags);

	/* The lock is ours, and the read that it is held for is good. */
	if (moment == PAGE_HVA_READ_END)
		flags ^= BIT(PG_locked) | BIT(PG_uptodate);
	return (flags & (set | BIT(PG_locked) | PAGE_HVA_FLAGS_CLEAR)) == set;
}

/*
 * Can the mapping read the folio again, and does it learn of stores to it?  The
 * folio may be truncated at any time and its inode be freed, but not before an
 * RCU grace period; the caller has interrupts off.  The backing device is asked
 * for if there is a writable mapping only: its file keeps the super block, and
 * unmounting one waits for a grace period as well.
 */
static bool page_hva_mapping_ok(struct folio *folio)
{
	struct address_space *mapping = READ_ONCE(folio->mapping);

	if (!mapping || (unsigned long)mapping & PAGE_MAPPING_FLAGS)
		return false;
	if (mapping_writably_mapped(mapping) && !mapping_can_writeback(mapping))
		return false;
	return mapping->a_ops->read_folio && !mapping_exiting(mapping) &&
	       !mapping_unevictable(mapping) && !mapping_release_always(mapping);
}

/**
 * __page_hva_make_volatile - slow path of page_hva_make_volatile()
 * @folio: the folio
 * @refs: references held by the caller
 * @moment: what the caller has just done with it
 *
 * The counts prove that at the time of the snapshot only the page cache, page
 * tables and the caller had a reference.  Whoever took one later finds the
 * lock bit, see page_hva_make_stable().  Whoever had one before and put it
 * has done so after its stores to the flags, so these, loaded after the
 * counts, tell if the folio was dirtied.  Page faults that set up a writable
 * page table entry hold the folio lock or a reference until the folio is
 * dirty; a mapping that counts itself in the mapcount first
 * (filemap_map_pages) holds a reference of its own until it has counted both.
 *
 * Return: true if the folio is volatile now.
 */
bool __page_hva_make_volatile(struct folio *folio, int refs,
			      enum page_hva_moment moment)
{
	unsigned long irqflags;
	bool ok = false;

	local_irq_save(irqflags);
	if (!bit_spin_trylock(PG_hva_lock, folio_flags(folio, 0)))
		goto out;
	smp_mb();	/* lock bit before counts, pairs with make_stable */
	if (!page_hva_counts_ok(folio, refs, moment)) {
		page_hva_count(PAGE_HVA_COUNT_BUSY);
	} else {
		smp_rmb();	/* counts before flags: dirty, then put */
		ok = page_hva_flags_ok(folio, moment) &&
		     page_hva_mapping_ok(folio);
	}
	if (ok) {
		folio_set_hva_volatile(folio);
		page_hva_set_volatile(&folio->page, false);
		page_hva_count(PAGE_HVA_MADE_VOLATILE);
	}
	page_hva_unlock(folio);
out:
	local_irq_restore(irqflags);
	return ok;
}

/**
 * __page_hva_unmapped - make a folio volatile after its last unmap
 * @folio: a folio that is eligible; the caller puts its reference next
 *
 * Unmapping marks the folio accessed first, and if that activates it, a batch
 * of this CPU has a reference.
 *
 * Context: Page table locks may be held.
 */
void __page_hva_unmapped(struct folio *folio)
{
	if (__page_hva_make_volatile(folio, 1, PAGE_HVA_PUT))
		return;
	lru_add_drain();
	page_hva_make_volatile(folio, 1, PAGE_HVA_PUT);
}

/**
 * __page_hva_free - make a page stable that is being freed
 * @page: a page with PG_hva_volatile set and no references
 *
 * No lock: the reference count is 0, so nobody else changes the state.
 */
void __page_hva_free(struct page *page)
{
	__clear_bit(PG_hva_volatile, &page->flags);
	__clear_bit(PG_hva_writable, &page->flags);
	page_hva_set_stable(page);
	page_hva_count(PAGE_HVA_FREED);
}

/**
 * __page_hva_release_private - free what a clean folio does not need any more
 * @folio: a folio with private data; the caller has a reference
 *
 * As reclaim does it.  Data that is still in use, like a buffer of a journal
 * that is committing, stays until the next read.
 *
 * Whoever pinned the folio may dirty it later, which a filesystem can not cope
 * with if its data is gone.  Whoever pins it after the test finds a clean folio
 * without a writable page table entry: the page fault that makes one waits for
 * the folio lock, and lets the filesystem attach its data again.
 */
void __page_hva_release_private(struct folio *folio)
{
	if (folio_test_dirty(folio) || folio_test_writeback(folio) ||
	    !folio_trylock(folio))
		return;
	if (folio->mapping && !folio_test_dirty(folio) &&
	    !folio_maybe_dma_pinned(folio))
		filemap_release_folio(folio, GFP_NOWAIT | __GFP_NOWARN);
	folio_unlock(folio);
}

/* Is the folio, which the caller holds a reference to, without its content? */
static bool page_hva_is_gone(struct folio *folio)
{
	return folio_test_hva_volatile(folio) &&
	       page_hva_discarded(&folio->page);
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

	unmap_mapping_folio(folio);
	if (folio_mapped(folio)) {
		pr_warn_ratelimited("pfn %lx is discarded and can not be unmapped\n",
				    folio_pfn(folio));
		return false;
	}

	spin_lock(&mapping->host->i_lock);
	xa_lock_irq(&mapping->i_pages);
	__filemap_remove_folio(folio, NULL);
	xa_unlock_irq(&mapping->i_pages);
	if (mapping_shrinkable(mapping))
		inode_add_lru(mapping->host);
	spin_unlock(&mapping->host->i_lock);

	if (free_folio)
		free_folio(folio);
	folio_put(folio);
	page_hva_count(PAGE_HVA_DISCARDS);
	return true;
}

/* Get rid of the folio at @index if it is discarded and nobody has locked it. */
static bool page_hva_discard_index(struct address_space *mapping, pgoff_t index)
{
	struct folio *folio = filemap_get_entry(mapping, index);
	bool done = false;

	if (!folio || xa_is_value(folio))
		return false;
	if (page_hva_is_gone(folio) && folio_trylock(folio)) {
		if (folio->mapping == mapping && page_hva_is_gone(folio))
			done = page_hva_remove(folio, mapping);
		folio_unlock(folio);
	}
	folio_put(folio);
	return done;
}

/*
 * Discarded folios keep their slots in the page cache, and readahead stops at
 * occupied slots.  So drop them together, or reading them again would be done
 * a page at a time.  The lock on @folio keeps its inode from being freed.
 */
static void page_hva_discard_around(struct folio *folio,
				    struct address_space *mapping)
{
	pgoff_t window = max(1UL, inode_to_bdi(mapping->host)->ra_pages);
	pgoff_t index;

	for (index = folio->index + 1; index < folio->index + window; index++)
		if (!page_hva_discard_index(mapping, index))
			break;
	for (index = folio->index; index && folio->index - index < window / 2;)
		if (!page_hva_discard_index(mapping, --index))
			break;
}

/**
 * page_hva_discard_locked - remove a discarded folio from the page cache
 * @folio: the folio; the caller has a reference and the lock
 *
 * The neighbours that were discarded with it go, too.
 *
 * Context: May sleep.
 * Return: true if the folio is not in the way any more: it was removed, by us
 * or by somebody else; false if it was not discarded after all, or can not be
 * removed.
 */
bool page_hva_discard_locked(struct folio *folio)
{
	struct address_space *mapping = folio->mapping;

	VM_WARN_ON_ONCE_FOLIO(!folio_test_locked(folio), folio);
	if (!page_hva_is_gone(folio))
		return false;
	if (!mapping)
		return !folio_mapped(folio);
	if (folio_test_anon(folio))
		return false;
	page_hva_discard_around(folio, mapping);
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
 * still discarded, it is the one that was accessed, as a page is never in the
 * hands of the page allocator in that state (page_hva_free()), and a page that
 * left them is stable until somebody with a reference to it makes it volatile.
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
 * __page_hva_lookup_gone - slow path of page_hva_lookup()
 * @folio: a discarded folio that a look-up found; loses the reference
 * @locked: the folio is locked; it is unlocked and removed
 *
 * A look-up that does not lock must not sleep either, so the folio is only
 * reported as absent.  It is removed by page_hva_add_collision() at the latest.
 */
void __page_hva_lookup_gone(struct folio *folio, bool locked)
{
	if (locked) {
		page_hva_discard_locked(folio);
		folio_unlock(folio);
	}
	folio_put(folio);
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
	if (!page_hva_discard_index(mapping, index))
		cond_resched();
}

/**
 * __page_hva_short_read - slow path of page_hva_short_read()
 * @folio: the folio
 * @iocb: the read
 * @pin: where to keep a reference to the folio that takes its place
 *
 * Readahead alone is not enough: what it brings in can be discarded again
 * before it is copied.  The reference in @pin is taken before the folio is
 * read, so it stays stable.
 *
 * The folio may have been truncated meanwhile.  Then reading goes on with
 * whatever the file has there now, just as if it had come a little later.
 *
 * Context: May sleep, unless @iocb says no.
 * Return: 0, -EAGAIN, or another error.
 */
int __page_hva_short_read(struct folio *folio, struct kiocb *iocb,
			  struct folio **pin)
{
	struct file *file = iocb->ki_filp;
	struct address_space *mapping = file->f_mapping;
	struct folio *new;

	if (!page_hva_is_gone(folio))
		return -EFAULT;
	if (iocb->ki_flags & (IOCB_NOWAIT | IOCB_NOIO | IOCB_WAITQ))
		return -EAGAIN;
	page_hva_unpin(pin);
	page_hva_discard(folio);
	if (folio_pos(folio) >= i_size_read(mapping->host))
		return 0;

	page_cache_sync_readahead(mapping, &file->f_ra, file, folio->index,
				  max(1U, file->f_ra.ra_pages));
	filemap_invalidate_lock_shared(mapping);
	new = read_cache_folio(mapping, folio->index, NULL, file);
	filemap_invalidate_unlock_shared(mapping);
	if (IS_ERR(new))
		return PTR_ERR(new);
	*pin = new;
	return 0;
}

/**
 * page_hva_unpin - drop what page_hva_short_read() kept
 * @pin: where it kept it
 */
void page_hva_unpin(struct folio **pin)
{
	if (!*pin)
		return;
	page_hva_make_volatile(*pin, 1, PAGE_HVA_PUT);
	folio_put(*pin);
	*pin = NULL;
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
	return folio_mark_dirty(folio);
}
