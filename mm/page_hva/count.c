// SPDX-License-Identifier: GPL-2.0
/*
 * Page host virtual assist: how much is volatile, and how much the host took
 *
 * /sys/kernel/mm/page_hva/ has it for the whole system, in volatile_bytes and
 * discarded_bytes, and memory.page_hva for each memory cgroup.  Discarded memory still is
 * charged, and counts as cached, but it costs I/O to use it.
 *
 * Nobody keeps count, as that would cost something whenever a page changes its state.
 * Whoever asks has the flags of all pages looked at, and the host asked about those
 * that may be discarded.
 */
#include <linux/capability.h>
#include <linux/cgroup.h>
#include <linux/init.h>
#include <linux/kobject.h>
#include <linux/memblock.h>
#include <linux/memcontrol.h>
#include <linux/memory_hotplug.h>
#include <linux/mm.h>
#include <linux/sched.h>
#include <linux/seq_file.h>
#include <linux/sysfs.h>
#include "../internal.h"
#include "state.h"

struct count {
	unsigned long resident, discarded;
};

/* A folio may come and go while it is looked at: this is no more than a count. */
static void count_page(struct page *page, struct mem_cgroup *memcg,
		       struct count *count)
{
	struct folio *folio = (struct folio *)page;

	/* The flag of a free page says that it is unused. */
	if (!test_bit(PG_hva_volatile, &page->flags) || !folio_try_get(folio))
		return;
	if (page_folio(page) == folio && folio_test_lru(folio) &&
	    folio_test_hva_volatile(folio) && page_hva_of_memcg(folio, memcg)) {
		if (page_hva_is_gone(folio))
			count->discarded += folio_nr_pages(folio);
		else
			count->resident += folio_nr_pages(folio);
	}
	folio_put(folio);
}

static struct count count_all(struct mem_cgroup *memcg)
{
	struct count count = {};
	struct page *page;
	unsigned long pfn, i;

	for (pfn = 0; pfn < max_pfn; pfn += PAGE_HVA_BLOCK_PAGES) {
		/* Memory does not go offline by less than a block. */
		get_online_mems();
		page = pfn_to_online_page(pfn);
		for (i = 0; page && i < PAGE_HVA_BLOCK_PAGES; i++)
			count_page(page + i, memcg, &count);
		put_online_mems();
		cond_resched();
	}
	return count;
}

static ssize_t volatile_bytes_show(struct kobject *kobj,
				   struct kobj_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%lu\n", count_all(NULL).resident << PAGE_SHIFT);
}

static ssize_t discarded_bytes_show(struct kobject *kobj,
				    struct kobj_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%lu\n", count_all(NULL).discarded << PAGE_SHIFT);
}

static struct kobj_attribute volatile_attr =
	__ATTR_RO_MODE(volatile_bytes, 0400);
static struct kobj_attribute discarded_attr =
	__ATTR_RO_MODE(discarded_bytes, 0400);

static struct attribute *page_hva_attrs[] = {
	&volatile_attr.attr,
	&discarded_attr.attr,
	NULL,
};

static const struct attribute_group page_hva_group = {
	.name = "page_hva",
	.attrs = page_hva_attrs,
};

#ifdef CONFIG_MEMCG
static int memcg_page_hva_show(struct seq_file *m, void *v)
{
	struct count count;

	/* It is not for free. */
	if (!capable(CAP_SYS_ADMIN))
		return -EPERM;
	count = count_all(mem_cgroup_from_seq(m));
	seq_printf(m, "volatile %lu\ndiscarded %lu\n",
		   count.resident << PAGE_SHIFT, count.discarded << PAGE_SHIFT);
	return 0;
}

/* Each with an end marker */
static struct cftype memcg_files[][2] = {
	{ { .name = "page_hva", .seq_show = memcg_page_hva_show } },
	{ { .name = "page_hva", .seq_show = memcg_page_hva_show } },
};

static void __init memcg_init(void)
{
	WARN_ON(cgroup_add_dfl_cftypes(&memory_cgrp_subsys, memcg_files[0]));
	if (IS_ENABLED(CONFIG_MEMCG_V1))
		WARN_ON(cgroup_add_legacy_cftypes(&memory_cgrp_subsys, memcg_files[1]));
}
#else
static void __init memcg_init(void)
{
}
#endif

static int __init count_init(void)
{
	if (!page_hva_enabled())
		return 0;
	if (sysfs_create_group(mm_kobj, &page_hva_group))
		return -ENOMEM;
	memcg_init();
	return 0;
}
late_initcall(count_init);
