/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Page host virtual assist: the hooks of mm/, for mm/internal.h
 *
 * A bool says that the content is there, or not needed; an int is 0, or an error.
 */
#ifndef _MM_PAGE_HVA_H
#define _MM_PAGE_HVA_H

#include <linux/highmem.h>
#include <linux/page_hva.h>
#include <linux/pagemap.h>
#include <linux/pagevec.h>

/* A folio with neither of these is stable; what is to be cleared when it is freed */
#ifdef CONFIG_PAGE_HVA
#define PAGE_HVA_FLAGS	(BIT(PG_hva_volatile) | BIT(PG_hva_lock))
#define PAGE_HVA_USED	(BIT(PG_hva_volatile) | BIT(PG_hva_writable))
#else
#define PAGE_HVA_FLAGS	0UL
#define PAGE_HVA_USED	0UL
#endif

bool __page_hva_make_stable(struct folio *folio);
void __page_hva_make_volatile(struct folio *folio);
void __page_hva_end_read(struct folio *folio);
bool __page_hva_lookup(struct folio *folio, fgf_t fgp_flags);
void __page_hva_make_room(struct address_space *mapping, pgoff_t index);
int __page_hva_reread(struct folio *folio, struct kiocb *iocb, size_t count);
void __page_hva_fault_gone(struct folio *folio, struct vm_fault *vmf,
			   bool mapping_locked, vm_fault_t *ret);
int __page_hva_copy(struct page *to, struct page *from, bool locked);
void __page_hva_free(struct page *page, unsigned int order);
int __page_hva_sweep(struct pglist_data *pgdat, struct mem_cgroup *memcg,
		     unsigned long nr, unsigned long *reclaimed,
		     unsigned long *scanned);
bool __page_hva_resident(struct page *page, unsigned int nr);
void *__page_hva_shadow(struct folio *folio);
int __page_hva_refault(struct folio *folio, void *shadow);
int __page_hva_readahead(struct readahead_control *ractl, pgoff_t index,
			 pgoff_t mark, pgoff_t end);
extern bool page_hva_may_free_volatile;
void __page_hva_make_unused(unsigned long pfn, unsigned int order);
void __page_hva_swap_in(struct folio *folio);
bool __page_hva_swap_claim(struct folio *folio);

/*
 * A folio that turns volatile can not be missed: the caller's reference was
 * counted before the flags are loaded, with a full barrier in between, and
 * whoever makes it volatile takes the lock bit before loading the count, with
 * a full barrier in between.  So either the reference is seen there, or the
 * lock bit, or the flag that is left behind, is seen here.
 */
static __always_inline bool page_hva_is_stable(struct folio *folio)
{
	smp_mb();	/* count the reference before looking at the flags */
	return likely(!(READ_ONCE(folio->flags) & PAGE_HVA_FLAGS));
}

/* Claim the content of a folio for as long as the caller has its reference. */
static __always_inline bool __must_check page_hva_make_stable(struct folio *folio)
{
	return !page_hva_enabled() || page_hva_is_stable(folio) ||
	       __page_hva_make_stable(folio);
}

/* A folio turns volatile when it has been left alone for some seconds. */
static __always_inline void page_hva_make_volatile(struct folio *folio)
{
	if (page_hva_enabled())
		__page_hva_make_volatile(folio);
}

/* A locked folio has been read, is uptodate next, and volatile if nobody has it. */
static __always_inline void page_hva_end_read(struct folio *folio)
{
	if (page_hva_enabled())
		__page_hva_end_read(folio);
}

/* Found for somebody who uses it; what is gone loses its lock and reference. */
static __always_inline bool __must_check
page_hva_lookup(struct folio *folio, fgf_t fgp_flags)
{
	return !page_hva_enabled() || page_hva_is_stable(folio) ||
	       __page_hva_lookup(folio, fgp_flags);
}

/* Whoever could not add a folio must not meet a discarded one there again. */
static inline void page_hva_make_room(struct address_space *mapping,
				      pgoff_t index, gfp_t gfp)
{
	if (page_hva_enabled() && gfpflags_allow_blocking(gfp))
		__page_hva_make_room(mapping, index);
}

/**
 * page_hva_claim - claim folios for a reader that can not fault, or keeps them
 * @fbatch: folios, with references; what is gone, and what comes after it, is not
 *	    in it any more, and if nothing is left the reader has to look again
 * @iocb: the read, which says if it may sleep
 * @count: how many bytes it wants
 *
 * It is here, and called if page_hva_enabled() only, as the compiler has to see that
 * nobody keeps the address of @fbatch, which filemap_read() has in registers.
 */
static noinline __maybe_unused int
page_hva_claim(struct folio_batch *fbatch, struct kiocb *iocb, size_t count)
{
	unsigned int i, nr = folio_batch_count(fbatch);
	int error = 0;

	for (i = 0; i < nr; i++)
		if (!page_hva_make_stable(fbatch->folios[i]))
			break;
	if (!i && nr)
		error = __page_hva_reread(fbatch->folios[0], iocb, count);
	while (nr-- > i)
		folio_put(fbatch->folios[nr]);
	fbatch->nr = i;
	return error;
}

/* Why did a copy end early?  0 if the folio was gone, and the read goes on. */
static inline int page_hva_reread(struct folio *folio, struct kiocb *iocb,
				  size_t count)
{
	return page_hva_enabled() ? __page_hva_reread(folio, iocb, count) : -EFAULT;
}

/*
 * A fault that stores to a shared mapping is about to dirty the folio.  One that
 * waited for I/O must end with a page that stays, or a quick host could starve an
 * access, and so must mlock.  What is gone loses its lock and reference.
 */
static inline bool __must_check
page_hva_fault(struct folio *folio, struct vm_fault *vmf, bool mapping_locked,
	       vm_fault_t *ret)
{
	bool store = vmf->flags & FAULT_FLAG_WRITE &&
		     vmf->vma->vm_flags & VM_SHARED;

	if (!page_hva_enabled() ||
	    (!store && !(*ret & VM_FAULT_MAJOR) &&
	     !(vmf->flags & FAULT_FLAG_TRIED) &&
	     !(vmf->vma->vm_flags & VM_LOCKED)) ||
	    page_hva_make_stable(folio))
		return true;
	__page_hva_fault_gone(folio, vmf, mapping_locked, ret);
	return false;
}

/* mlock() has set VM_LOCKED: who looks at the VMAs of a folio sees it, or is done. */
static inline void page_hva_vm_locked(struct vm_area_struct *vma)
{
	if (page_hva_enabled() && vma->vm_file && vma->vm_flags & VM_LOCKED) {
		i_mmap_lock_write(vma->vm_file->f_mapping);
		i_mmap_unlock_write(vma->vm_file->f_mapping);
	}
}

/* Copy what may be volatile.  -EAGAIN: it is gone, repeat the fault. */
static __always_inline int page_hva_copy(struct page *to, struct page *from,
					 struct vm_fault *vmf, bool locked)
{
	if (page_hva_enabled())
		return __page_hva_copy(to, from, locked);
	return copy_mc_user_highpage(to, from, vmf->address, vmf->vma) ?
	       -EHWPOISON : 0;
}

/*
 * A free page may as well stay volatile: the flag means for a free page that the
 * host may have it, and arch_alloc_page() makes it stable.  That saves an ESSA,
 * and mm/page_hva/unused.c another one.  But not if free pages are touched, or if
 * a change bit would make the host preserve it.
 */
static __always_inline bool page_hva_must_free_stable(void)
{
	return !READ_ONCE(page_hva_may_free_volatile) || want_init_on_free() ||
	       page_hva_p_enabled();
}

/* Pages are freed: whoever gets them next may touch them. */
static __always_inline void page_hva_free(struct page *page, unsigned int order)
{
	if (page_hva_enabled() && page->flags & PAGE_HVA_USED &&
	    (order || page_hva_must_free_stable()))
		__page_hva_free(page, order);
}

/* Of @nr pages of a folio.  What is gone stays so until it is dropped or read again. */
static inline bool page_hva_resident(struct page *page, unsigned int nr)
{
	return !page_hva_enabled() ||
	       !(READ_ONCE(page_folio(page)->flags) & PAGE_HVA_FLAGS) ||
	       __page_hva_resident(page, nr);
}

/* Reclaim discarded folios before any other; 0 if no others are wanted then */
static inline int
page_hva_sweep(struct pglist_data *pgdat, struct mem_cgroup *memcg,
	       unsigned long nr, unsigned long *reclaimed, unsigned long *scanned)
{
	return page_hva_enabled() ?
	       __page_hva_sweep(pgdat, memcg, nr, reclaimed, scanned) : -EAGAIN;
}

/* What to leave in the page cache for a folio that goes, NULL if it is not gone */
static inline void *page_hva_shadow(struct folio *folio)
{
	return page_hva_enabled() && folio_test_hva_volatile(folio) ?
	       __page_hva_shadow(folio) : NULL;
}

/* 0 if @shadow is that of a discarded folio, and all is done */
static inline int page_hva_refault(struct folio *folio, void *shadow)
{
	return page_hva_enabled() ? __page_hva_refault(folio, shadow) : -ENOENT;
}

/* 0 if there was a discarded folio, and it is a part of @ractl now, or dropped */
static inline int page_hva_readahead(struct readahead_control *ractl,
				     pgoff_t index, pgoff_t mark, pgoff_t end)
{
	return page_hva_enabled() ?
	       __page_hva_readahead(ractl, index, mark, end) : -ENOENT;
}

/* Free pages reach the allocator's lists; unused when left alone.  Zone lock held. */
static __always_inline void page_hva_make_unused(unsigned long pfn,
						 unsigned int order)
{
	if (page_hva_unused_enabled())
		__page_hva_make_unused(pfn, order);
}

/* A locked folio is about to be mapped by a swap fault. */
static inline void page_hva_swap_in(struct folio *folio,
				    struct vm_area_struct *vma)
{
	if (page_hva_p_enabled() && !(vma->vm_flags & VM_LOCKED))
		__page_hva_swap_in(folio);
}

/* Claim a locked folio that is about to lose its slot, or to be written to it. */
static inline bool __must_check page_hva_swap_claim(struct folio *folio)
{
	return !page_hva_p_enabled() || !folio_test_hva_writable(folio) ||
	       __page_hva_swap_claim(folio);
}

#ifdef CONFIG_PAGE_HVA_DEBUG
#include <linux/page_hva_sites.h>
#endif

#endif /* _MM_PAGE_HVA_H */
