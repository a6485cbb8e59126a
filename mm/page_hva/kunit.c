// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests for page host virtual assist
 *
 * A page plays the folio: nobody else knows it, so its flags, counts and
 * mapping can be set as each test needs them.  The host is the real one.
 */
#include <kunit/test.h>
#include <linux/mm.h>
#include <linux/pagemap.h>
#include "../internal.h"
#include "state.h"

struct hva_test {
	struct folio *folio;
	struct address_space mapping;
};

static int hva_read_folio(struct file *file, struct folio *folio)
{
	return -EIO;
}

static const struct address_space_operations hva_aops = {
	.read_folio = hva_read_folio,
};

static const struct address_space_operations hva_aops_no_read;

static unsigned int hva_usage(struct folio *folio)
{
	return page_hva_get_state(&folio->page) & ESSA_USAGE_MASK;
}

/* What a clean, idle, unmapped page-cache folio looks like to who has locked it. */
static void hva_make_eligible(struct hva_test *t)
{
	t->mapping.a_ops = &hva_aops;
	t->mapping.flags = 0;
	t->folio->mapping = &t->mapping;
	t->folio->flags |= BIT(PG_uptodate) | BIT(PG_lru) | BIT(PG_locked);
	set_page_count(&t->folio->page, 2);
}

static void hva_make_plain(struct hva_test *t)
{
	page_hva_pages_set_stable(&t->folio->page, folio_nr_pages(t->folio));
	t->folio->mapping = NULL;
	t->folio->flags &= ~(PAGEFLAGS_MASK & ~BIT(PG_waiters) & ~BIT(PG_head));
	atomic_set(&t->folio->_mapcount, -1);
	set_page_count(&t->folio->page, 1);
}

static int hva_init(struct kunit *test)
{
	struct hva_test *t;

	if (!page_hva_enabled())
		kunit_skip(test, "page_hva is off, or the host has no ESSA");
	t = kunit_kzalloc(test, sizeof(*t), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, t);
	t->folio = folio_alloc(GFP_KERNEL | __GFP_ZERO, 0);
	KUNIT_ASSERT_NOT_NULL(test, t->folio);
	hva_make_plain(t);
	hva_make_eligible(t);
	test->priv = t;
	return 0;
}

static void hva_exit(struct kunit *test)
{
	struct hva_test *t = test->priv;

	if (!t || !t->folio)
		return;
	hva_make_plain(t);
	folio_put(t->folio);
}

static bool hva_try(struct hva_test *t)
{
	return page_hva_try_volatile(t->folio);
}

/* Each helper leaves the usage state that its name says. */
static void hva_helpers_set_state(struct kunit *test)
{
	struct hva_test *t = test->priv;
	struct page *page = &t->folio->page;

	page_hva_set_stable(page);
	KUNIT_EXPECT_EQ(test, hva_usage(t->folio), ESSA_USAGE_STABLE);
	KUNIT_EXPECT_FALSE(test, page_hva_discarded(page));
	page_hva_set_volatile(page, false);
	KUNIT_EXPECT_EQ(test, hva_usage(t->folio), ESSA_USAGE_VOLATILE);
	page_hva_set_unused(page);
	KUNIT_EXPECT_EQ(test, hva_usage(t->folio), ESSA_USAGE_UNUSED);
	page_hva_set_stable(page);
	KUNIT_EXPECT_EQ(test, hva_usage(t->folio), ESSA_USAGE_STABLE);
}

/* Every state that ESSA can report, and whether the content is gone. */
static void hva_discarded_states(struct kunit *test)
{
	unsigned int usage, content;

	for (usage = 0; usage <= ESSA_USAGE_MASK; usage += ESSA_USAGE_UNUSED)
		for (content = 0; content <= ESSA_CONTENT_MASK; content++)
			KUNIT_EXPECT_EQ(test,
					page_hva_state_discarded(usage | content),
					usage == ESSA_USAGE_VOLATILE && content);
}

static void hva_eligible(struct kunit *test)
{
	struct hva_test *t = test->priv;

	KUNIT_ASSERT_TRUE(test, hva_try(t));
	KUNIT_EXPECT_TRUE(test, folio_test_hva_volatile(t->folio));
	KUNIT_EXPECT_EQ(test, hva_usage(t->folio), ESSA_USAGE_VOLATILE);
	/* It is volatile already. */
	KUNIT_EXPECT_FALSE(test, hva_try(t));

	if (page_hva_discarded(&t->folio->page)) {
		/* policy=always: gone, and it stays so. */
		KUNIT_EXPECT_FALSE(test, page_hva_make_stable(t->folio));
		KUNIT_EXPECT_TRUE(test, folio_test_hva_volatile(t->folio));
	} else {
		KUNIT_EXPECT_TRUE(test, page_hva_make_stable(t->folio));
		KUNIT_EXPECT_FALSE(test, folio_test_hva_volatile(t->folio));
		KUNIT_EXPECT_EQ(test, hva_usage(t->folio), ESSA_USAGE_STABLE);
	}
}

static void hva_ineligible_flags(struct kunit *test)
{
	static const enum pageflags set[] = {
		PG_writeback, PG_dirty, PG_arch_1, PG_reserved,
		PG_private, PG_private_2, PG_swapbacked, PG_unevictable,
		PG_mlocked, PG_hva_lock,
	};
	/* The caller's lock is one of them: without it, it is somebody else's. */
	static const enum pageflags clear[] = { PG_uptodate, PG_lru, PG_locked };
	struct hva_test *t = test->priv;
	int i;

	for (i = 0; i < ARRAY_SIZE(set); i++) {
		set_bit(set[i], &t->folio->flags);
		KUNIT_EXPECT_FALSE_MSG(test, hva_try(t),
				       "with flag %d", set[i]);
		clear_bit(set[i], &t->folio->flags);
	}
	for (i = 0; i < ARRAY_SIZE(clear); i++) {
		clear_bit(clear[i], &t->folio->flags);
		KUNIT_EXPECT_FALSE_MSG(test, hva_try(t),
				       "without flag %d", clear[i]);
		set_bit(clear[i], &t->folio->flags);
	}
	KUNIT_EXPECT_TRUE(test, hva_try(t));
}

static void hva_ineligible_mapping(struct kunit *test)
{
	static const enum mapping_flags flags[] = {
		AS_EXITING, AS_UNEVICTABLE, AS_RELEASE_ALWAYS,
	};
	struct hva_test *t = test->priv;
	int i;

	for (i = 0; i < ARRAY_SIZE(flags); i++) {
		set_bit(flags[i], &t->mapping.flags);
		KUNIT_EXPECT_FALSE_MSG(test, hva_try(t),
				       "with mapping flag %d", flags[i]);
		clear_bit(flags[i], &t->mapping.flags);
	}
	t->mapping.a_ops = &hva_aops_no_read;
	KUNIT_EXPECT_FALSE(test, hva_try(t));
	t->mapping.a_ops = &hva_aops;
	t->folio->mapping = NULL;
	KUNIT_EXPECT_FALSE(test, hva_try(t));
	t->folio->mapping = (void *)((unsigned long)&t->mapping |
				     PAGE_MAPPING_ANON);
	KUNIT_EXPECT_FALSE(test, hva_try(t));
	t->folio->mapping = &t->mapping;
	KUNIT_EXPECT_TRUE(test, hva_try(t));
}

/* The swap cache: who owns the slot does not matter, a mapping does. */
static void hva_swap_cache(struct kunit *test)
{
	static const struct {
		unsigned long kind;
		int mapcount;
		bool ok;
	} cases[] = {
		{ PAGE_MAPPING_ANON, 0, true },
		{ PAGE_MAPPING_ANON, 1, false },
		/* Without KSM nobody looks at this. */
		{ PAGE_MAPPING_KSM, 0, !IS_ENABLED(CONFIG_KSM) },
		{ PAGE_MAPPING_MOVABLE, 0, false },
		{ 0, 0, true },			/* read ahead */
	};
	struct hva_test *t = test->priv;
	int i;

	if (!IS_ENABLED(CONFIG_SWAP))
		kunit_skip(test, "no swap");
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		t->folio->flags |= BIT(PG_swapbacked) | BIT(PG_swapcache);
		t->folio->mapping = NULL;
		if (cases[i].kind)
			t->folio->mapping = (void *)((unsigned long)&t->mapping |
						     cases[i].kind);
		atomic_set(&t->folio->_mapcount, cases[i].mapcount - 1);
		set_page_count(&t->folio->page, cases[i].mapcount + 2);
		KUNIT_EXPECT_EQ_MSG(test, hva_try(t), cases[i].ok, "case %d", i);
		hva_make_plain(t);
		hva_make_eligible(t);
	}
}

/* One reference of the page cache, one of the caller, and one for each mapping */
static void hva_counts(struct kunit *test)
{
	static const struct {
		int mapcount, refcount;
		bool ok;
	} cases[] = {
		{ 0, 2, true },
		{ 0, 3, false },		/* a foreign reference */
		{ 0, 1, false },		/* not in the cache */
		{ 1, 3, true },			/* mapped */
		{ 1, 4, false },
		{ 2, 4, true },
		{ 2, 3, false },
	};
	struct hva_test *t = test->priv;
	int i;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		atomic_set(&t->folio->_mapcount, cases[i].mapcount - 1);
		set_page_count(&t->folio->page, cases[i].refcount);
		KUNIT_EXPECT_EQ_MSG(test, hva_try(t), cases[i].ok, "case %d", i);
		hva_make_plain(t);
		hva_make_eligible(t);
	}
}

/* The end of a read: locked by the reader, not uptodate yet, and nobody else. */
static void hva_end_read(struct kunit *test)
{
	struct hva_test *t = test->priv;

	set_page_count(&t->folio->page, 1);
	page_hva_end_read(t->folio);
	KUNIT_EXPECT_FALSE(test, folio_test_hva_volatile(t->folio));
	clear_bit(PG_uptodate, &t->folio->flags);
	set_page_count(&t->folio->page, 2);
	page_hva_end_read(t->folio);
	KUNIT_EXPECT_FALSE(test, folio_test_hva_volatile(t->folio));
	atomic_set(&t->folio->_mapcount, 0);
	page_hva_end_read(t->folio);
	KUNIT_EXPECT_FALSE(test, folio_test_hva_volatile(t->folio));
	atomic_set(&t->folio->_mapcount, -1);
	set_page_count(&t->folio->page, 1);
	page_hva_end_read(t->folio);
	KUNIT_EXPECT_TRUE(test, folio_test_hva_volatile(t->folio));
}

/* A folio that was used is a candidate, and the next passes make it volatile. */
static void hva_late(struct kunit *test)
{
	struct hva_test *t = test->priv;

	KUNIT_ASSERT_TRUE(test, hva_try(t));
	if (page_hva_discarded(&t->folio->page))
		kunit_skip(test, "the host discards at once");
	KUNIT_EXPECT_TRUE(test, page_hva_make_stable(t->folio));
	/* Somebody uses it. */
	clear_bit(PG_locked, &t->folio->flags);
	page_hva_settle();
	KUNIT_EXPECT_FALSE(test, folio_test_hva_volatile(t->folio));
	/* Now only the page cache has it: it is tried again, without another mark. */
	page_ref_dec(&t->folio->page);
	page_hva_settle();
	KUNIT_EXPECT_TRUE(test, folio_test_hva_volatile(t->folio));
	page_ref_inc(&t->folio->page);
}

/* Dirty folios are none, nor is what can not be read again. */
static void hva_late_not(struct kunit *test)
{
	struct hva_test *t = test->priv;

	clear_bit(PG_locked, &t->folio->flags);
	page_ref_dec(&t->folio->page);
	set_bit(PG_dirty, &t->folio->flags);
	page_hva_make_volatile(t->folio);
	page_hva_settle();
	KUNIT_EXPECT_FALSE(test, folio_test_hva_volatile(t->folio));
	clear_bit(PG_dirty, &t->folio->flags);
	set_bit(AS_UNEVICTABLE, &t->mapping.flags);
	page_hva_make_volatile(t->folio);
	page_hva_settle();
	KUNIT_EXPECT_FALSE(test, folio_test_hva_volatile(t->folio));
	page_ref_inc(&t->folio->page);
}

/* The shadow of a discarded folio is none that workingset.c makes. */
static void hva_shadow(struct kunit *test)
{
	struct hva_test *t = test->priv;
	unsigned long early;
	void *shadow;

	/* An early eviction, without memory cgroups, from node 0 */
	for (early = 0; early < 8; early++)
		KUNIT_EXPECT_NE(test, 0, page_hva_refault(t->folio,
							   xa_mk_value(early)));
	KUNIT_ASSERT_TRUE(test, hva_try(t));
	shadow = page_hva_shadow(t->folio);
	if (!page_hva_discarded(&t->folio->page)) {
		KUNIT_EXPECT_NULL(test, shadow);
		return;
	}
	KUNIT_EXPECT_TRUE(test, xa_is_value(shadow));
	KUNIT_EXPECT_EQ(test, 0, page_hva_refault(t->folio, shadow));
	KUNIT_EXPECT_FALSE(test, folio_test_active(t->folio));
	folio_set_active(t->folio);
	shadow = page_hva_shadow(t->folio);
	folio_clear_active(t->folio);
	KUNIT_EXPECT_EQ(test, 0, page_hva_refault(t->folio, shadow));
	KUNIT_EXPECT_TRUE(test, folio_test_active(t->folio));
}

/* A free page may stay volatile, and is stable when it is allocated. */
static void hva_freed_and_allocated(struct kunit *test)
{
	struct hva_test *t = test->priv;

	KUNIT_ASSERT_TRUE(test, hva_try(t));
	page_hva_free(&t->folio->page, 0);
	arch_alloc_page(&t->folio->page, 0);
	KUNIT_EXPECT_FALSE(test, folio_test_hva_volatile(t->folio));
	KUNIT_EXPECT_EQ(test, hva_usage(t->folio), ESSA_USAGE_STABLE);
}

#define HVA_ORDER 2
#define HVA_PAGES (1 << HVA_ORDER)

/* Replace the folio by a large one that is eligible. */
static void hva_make_large(struct kunit *test)
{
	struct hva_test *t = test->priv;

	hva_make_plain(t);
	folio_put(t->folio);
	t->folio = folio_alloc(GFP_KERNEL | __GFP_COMP | __GFP_ZERO, HVA_ORDER);
	KUNIT_ASSERT_NOT_NULL(test, t->folio);
	hva_make_plain(t);
	hva_make_eligible(t);
	set_page_count(&t->folio->page, HVA_PAGES + 1);
}

/* How many of its pages have this usage state? */
static int hva_pages(struct folio *folio, unsigned int usage)
{
	int i, pages = 0;

	for (i = 0; i < HVA_PAGES; i++)
		pages += (page_hva_get_state(folio_page(folio, i)) &
			  ESSA_USAGE_MASK) == usage;
	return pages;
}

static void hva_free_and_allocate(struct hva_test *t)
{
	page_hva_free(&t->folio->page, HVA_ORDER);
	arch_alloc_page(&t->folio->page, HVA_ORDER);
}

static void hva_large_as_a_whole(struct kunit *test)
{
	struct hva_test *t = test->priv;

	hva_make_large(test);
	KUNIT_ASSERT_TRUE(test, hva_try(t));
	KUNIT_EXPECT_TRUE(test, folio_test_hva_volatile(t->folio));
	KUNIT_EXPECT_EQ(test, hva_pages(t->folio, ESSA_USAGE_VOLATILE), HVA_PAGES);
	KUNIT_EXPECT_FALSE(test, hva_try(t));

	if (!page_hva_pages_discarded(&t->folio->page, HVA_PAGES)) {
		KUNIT_EXPECT_TRUE(test, page_hva_make_stable(t->folio));
		KUNIT_EXPECT_FALSE(test, folio_test_hva_volatile(t->folio));
		KUNIT_EXPECT_EQ(test, hva_pages(t->folio, ESSA_USAGE_STABLE),
				HVA_PAGES);
		KUNIT_EXPECT_TRUE(test, hva_try(t));
	}
	hva_free_and_allocate(t);
	KUNIT_EXPECT_FALSE(test, folio_test_hva_volatile(t->folio));
	KUNIT_EXPECT_EQ(test, hva_pages(t->folio, ESSA_USAGE_STABLE), HVA_PAGES);
}

/* One discarded page discards the folio, whichever it is. */
static void hva_large_one_page_gone(struct kunit *test)
{
	struct hva_test *t = test->priv;
	int gone, i;

	for (gone = 0; gone < HVA_PAGES; gone++) {
		hva_make_large(test);
		KUNIT_ASSERT_TRUE(test, hva_try(t));
		if (!page_hva_discarded(&t->folio->page))
			kunit_skip(test, "the host does not discard at once");
		for (i = 0; i < HVA_PAGES; i++)
			if (i != gone)
				page_hva_set_stable(folio_page(t->folio, i));
		KUNIT_EXPECT_FALSE_MSG(test, page_hva_make_stable(t->folio),
				       "page %d", gone);
		KUNIT_EXPECT_TRUE(test, folio_test_hva_volatile(t->folio));
		KUNIT_EXPECT_EQ(test, hva_pages(t->folio, ESSA_USAGE_STABLE),
				HVA_PAGES - 1);
		hva_free_and_allocate(t);
		KUNIT_EXPECT_EQ(test, hva_pages(t->folio, ESSA_USAGE_STABLE),
				HVA_PAGES);
	}
}

/* One reference of the page cache for each page, and the caller's */
static void hva_large_counts(struct kunit *test)
{
	struct hva_test *t = test->priv;
	int more;

	hva_make_large(test);
	for (more = 1 - HVA_PAGES; more <= HVA_PAGES + 1; more++) {
		set_page_count(&t->folio->page, HVA_PAGES + more);
		KUNIT_EXPECT_EQ_MSG(test, hva_try(t), more == 1, "%d more", more);
		hva_free_and_allocate(t);
	}
}

/* A mapping has a reference, too. */
static void hva_large_mapped(struct kunit *test)
{
	struct hva_test *t = test->priv;
	int maps, more;

	hva_make_large(test);
	for (maps = 1; maps <= HVA_PAGES + 1; maps++) {
		atomic_set(&t->folio->_large_mapcount, maps - 1);
		/* A mapping, and no reference for it: there is no such folio. */
		for (more = maps > 1 ? -1 : 0; more <= 1; more++) {
			set_page_count(&t->folio->page, HVA_PAGES + 1 + maps + more);
			KUNIT_EXPECT_EQ_MSG(test, hva_try(t), !more,
					    "%d mappings, %d more", maps, more);
			hva_free_and_allocate(t);
		}
	}
	atomic_set(&t->folio->_large_mapcount, -1);
}

/* What was stored after the change bit was cleared is not discarded. */
static void hva_change_bit(struct kunit *test)
{
	struct hva_test *t = test->priv;
	struct page *page = &t->folio->page;

	WRITE_ONCE(*(int *)page_address(page), 1);
	page_hva_clear_changed(page);
	WRITE_ONCE(*(int *)page_address(page), 2);
	page_hva_set_volatile(page, true);
	KUNIT_EXPECT_NE(test, hva_usage(t->folio), ESSA_USAGE_VOLATILE);
	KUNIT_EXPECT_TRUE(test, page_hva_set_stable_if_resident(page));
	KUNIT_EXPECT_EQ(test, READ_ONCE(*(int *)page_address(page)), 2);
}

static struct kunit_case page_hva_cases[] = {
	KUNIT_CASE(hva_helpers_set_state),
	KUNIT_CASE(hva_discarded_states),
	KUNIT_CASE(hva_eligible),
	KUNIT_CASE(hva_ineligible_flags),
	KUNIT_CASE(hva_ineligible_mapping),
	KUNIT_CASE(hva_swap_cache),
	KUNIT_CASE(hva_counts),
	KUNIT_CASE(hva_end_read),
	KUNIT_CASE(hva_late),
	KUNIT_CASE(hva_late_not),
	KUNIT_CASE(hva_shadow),
	KUNIT_CASE(hva_freed_and_allocated),
	KUNIT_CASE(hva_large_as_a_whole),
	KUNIT_CASE(hva_large_one_page_gone),
	KUNIT_CASE(hva_large_counts),
	KUNIT_CASE(hva_large_mapped),
	KUNIT_CASE(hva_change_bit),
	{}
};

static struct kunit_suite page_hva_suite = {
	.name = "page_hva",
	.init = hva_init,
	.exit = hva_exit,
	.test_cases = page_hva_cases,
};

kunit_test_suite(page_hva_suite);

MODULE_DESCRIPTION("KUnit tests for page host virtual assist");
MODULE_LICENSE("GPL");
