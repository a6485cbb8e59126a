// SPDX-License-Identifier: GPL-2.0
/*
 * Page host virtual assist: folios that were used turn volatile again
 *
 * A look-up, a pipe, a socket, GUP, a page fault and writeback leave a folio stable.
 * When nothing of that kind has happened near it for some seconds, it is looked at
 * here, and turns volatile if nobody has a reference to it.  It may be mapped: an
 * access that faults because the host took the page has it for some seconds at
 * least, which is all that an instruction needs to make progress.
 */
#include <linux/init.h>
#include <linux/interval_tree.h>
#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/swap.h>
#include "../internal.h"
#include "state.h"

static bool volatile_block(unsigned long pfn);

static struct page_hva_late volatile_late = {
	.block = volatile_block,
	.begin = lru_add_drain_all,	/* batches have references */
};

/**
 * __page_hva_make_volatile - slow path of page_hva_make_volatile()
 * @folio: the folio; the caller has a reference to it, or its lock
 *
 * When nothing of this kind happens near it for some seconds, it turns volatile,
 * unless somebody uses it then.  What is locked then is looked at again.
 *
 * Context: Any.
 */
void __page_hva_make_volatile(struct folio *folio)
{
	page_hva_late_mark(&volatile_late, folio_pfn(folio));
}

/*
 * Do those that map the folio keep it stable?  The caller holds i_mmap_rwsem until it
 * has made it volatile.
 *
 * Locked memory does.  PG_mlocked is not enough: a folio loses it for a while when one
 * of those that lock it unlocks it.  mlock() sets VM_LOCKED first, then waits for who
 * may not have seen it, in page_hva_vm_locked(), and then makes stable what is mapped.
 * What is mapped later is made stable by the page fault.
 *
 * So does fork(), if refcount and mapcount have to be loaded one after the other: who
 * maps the folio in between would hide a foreign reference.  Page faults need the
 * folio lock for that.  fork() adds the child's VMA to i_mmap before it copies page
 * tables, and holds the mmap_lock of the child all the time.  If the VMA is not there
 * yet, it has to wait for the caller.
 */
static bool kept_by_mapping(struct folio *folio)
{
	struct rb_root_cached *tree = &folio->mapping->i_mmap;
	const bool two_loads = folio_test_large(folio) || folio_test_private(folio);
	struct vm_area_struct *vma;

	vma_interval_tree_foreach(vma, tree, folio->index,
				  folio_next_index(folio) - 1)
		if (READ_ONCE(vma->vm_flags) & VM_LOCKED ||
		    (two_loads && rwsem_is_locked(&vma->vm_mm->mmap_lock)))
			return true;
	smp_rmb();	/* mmap_lock before counts: mapped, then unlocked */
	return false;
}

/*
 * Whoever has a reference may dirty the folio later, as direct I/O into a mapping of it
 * does, and a file system can not cope with that if its data is gone.  So there must be
 * none but those of the page cache, of page tables, of the data and of the caller.  Who
 * gets one after the test finds a clean folio without a writable page table entry: the
 * page fault that makes one waits for the folio lock, and lets the file system
 * attach its data again.
 *
 * Who unmaps the folio counts that down before the reference is put, so with the
 * refcount loaded first nothing is taken for a mapping that is not one.
 */
static bool private_unused(struct folio *folio)
{
	int refs = folio_ref_count(folio);

	smp_rmb();	/* refcount before mapcount */
	return refs == folio_mapcount(folio) + folio_nr_pages(folio) + 1 + 1;
}

#ifdef CONFIG_PAGE_HVA_DEBUG
#define private_unused(folio)	(PAGE_HVA_OFF(private) || private_unused(folio))
#endif

/* Free what a clean folio does not need any more: buffer heads, for example. */
static bool release_private(struct folio *folio)
{
	return !folio_test_private(folio) ||
	       (private_unused(folio) &&
		filemap_release_folio(folio, GFP_NOWAIT | __GFP_NOWARN));
}

/*
 * Make a folio volatile that the caller has locked.  Return: true if it is worth
 * to try again, as it is in use now.
 */
static bool in_use(struct folio *folio)
{
	struct address_space *mapping = folio->mapping;
	bool mapped, left;

	/* What is dirty is marked again when it has been written. */
	if (!folio_test_uptodate(folio) || folio_test_dirty(folio) ||
	    folio_test_writeback(folio) || folio_test_hva_volatile(folio))
		return false;
	if (folio_test_swapbacked(folio)) {
		if (!IS_ENABLED(CONFIG_SWAP) || page_hva_swap_excluded(folio) ||
		    (folio_mapped(folio) && !folio_test_hva_writable(folio)))
			return false;
	/* MADV_FREE makes anonymous memory look like that of files. */
	} else if (!mapping || folio_test_anon(folio) ||
		   !mapping->a_ops->read_folio || mapping_release_always(mapping) ||
		   mapping_unevictable(mapping)) {
		return false;
	}
	if (folio_test_mlocked(folio) || folio_test_unevictable(folio))
		return true;
	/* The fault that mapped a folio of the swap cache looked at VM_LOCKED. */
	mapped = folio_mapped(folio) && !folio_test_anon(folio);
	if (mapped && !i_mmap_trylock_read(mapping))
		return true;
	left = (mapped && kept_by_mapping(folio)) || !release_private(folio) ||
	       !page_hva_try_volatile(folio);
	if (mapped)
		i_mmap_unlock_read(mapping);
	return left;
}

/*
 * Look at one page of a block.  What it was when its flags were loaded does not matter
 * any more when there is a reference and the lock; tail pages are not on LRU lists.
 */
static bool page_in_use(struct page *page)
{
	unsigned long flags = READ_ONCE(page->flags);
	struct folio *folio = (struct folio *)page;
	bool left = true;

	if (!(flags & BIT(PG_lru)) ||
	    flags & (BIT(PG_hva_volatile) | BIT(PG_dirty) | BIT(PG_writeback)) ||
	    (flags & BIT(PG_swapbacked) && !(flags & BIT(PG_swapcache))))
		return false;
	if (!folio_try_get(folio))
		return false;
	if (page_folio(page) != folio || !folio_test_lru(folio)) {
		left = false;
	} else if (folio_trylock(folio)) {
		left = in_use(folio);
		folio_unlock(folio);
	}
	folio_put(folio);
	return left;
}

static bool volatile_block(unsigned long pfn)
{
	struct page *page = pfn_to_page(pfn);
	bool left = false;
	unsigned long i;

	for (i = 0; i < PAGE_HVA_BLOCK_PAGES; i++)
		left |= page_in_use(page + i);
	return left;
}

/**
 * page_hva_settle - make volatile or unused now what would be later, for tests
 *
 * Context: May sleep.
 */
void page_hva_settle(void)
{
	page_hva_late_now(&volatile_late);
	page_hva_unused_now();
}

static int __init volatile_init(void)
{
	return page_hva_enabled() ? page_hva_late_init(&volatile_late) : 0;
}
subsys_initcall(volatile_init);
