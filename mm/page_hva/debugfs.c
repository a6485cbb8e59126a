// SPDX-License-Identifier: GPL-2.0
/*
 * Page host virtual assist: debugfs
 *
 * page_hva/state: pages of all memory by usage and content state
 * page_hva/settle: writing to it makes volatile at once what would be later
 * page_hva/late_ms: for how long pages have to be left alone, at least
 * page_hva/swap_*: what became of folios of the swap cache, as counted since boot
 */
#define pr_fmt(fmt) "page_hva: " fmt

#include <linux/debugfs.h>
#include <linux/memblock.h>
#include <linux/init.h>
#include <linux/memory_hotplug.h>
#include <linux/mm.h>
#include <linux/sched.h>
#include <linux/seq_file.h>
#include "../internal.h"
#include "state.h"

static int state_show(struct seq_file *m, void *v)
{
	/* Indexed by the two bits of each, as ESSA reports them. */
	static const char * const usage_name[] = {
		"stable", "unused", "potentially-volatile", "volatile",
	};
	unsigned long pages[4][4] = {};
	unsigned long pfn, end = max_pfn;
	unsigned int state;
	int usage;

	/* What goes offline under our hands is an addressing exception. */
	get_online_mems();
	for (pfn = 0; pfn < end; pfn++) {
		struct page *page;

		if (!(pfn % 4096)) {
			put_online_mems();
			cond_resched();
			get_online_mems();
		}
		page = pfn_to_online_page(pfn);
		if (!page)
			continue;
		state = page_hva_get_state(page);
		pages[(state & ESSA_USAGE_MASK) >> 2][state & ESSA_CONTENT_MASK]++;
	}
	put_online_mems();
	seq_printf(m, "%-20s %12s %12s %12s\n",
		   "pages", "resident", "preserved", "zero");
	for (usage = 0; usage < ARRAY_SIZE(usage_name); usage++)
		seq_printf(m, "%-20s %12lu %12lu %12lu\n", usage_name[usage],
			   pages[usage][ESSA_CONTENT_RESIDENT],
			   pages[usage][ESSA_CONTENT_PRESERVED],
			   pages[usage][ESSA_CONTENT_ZERO]);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(state);

static ssize_t settle_write(struct file *file, const char __user *buf,
			    size_t count, loff_t *ppos)
{
	page_hva_settle();
	return count;
}

static const struct file_operations settle_fops = {
	.owner		= THIS_MODULE,
	.write		= settle_write,
};

static int __init page_hva_debug_init(void)
{
	struct dentry *dir;

	if (!page_hva_enabled())
		return 0;
	dir = debugfs_create_dir("page_hva", NULL);
	debugfs_create_file("state", 0400, dir, NULL, &state_fops);
	debugfs_create_file("settle", 0200, dir, NULL, &settle_fops);
	debugfs_create_u32("late_ms", 0600, dir, &page_hva_late_ms);
	if (IS_ENABLED(CONFIG_SWAP)) {
		debugfs_create_atomic_t("swap_made_volatile", 0400, dir,
					&page_hva_swap_volatile);
		debugfs_create_atomic_t("swap_dropped", 0400, dir,
					&page_hva_swap_dropped);
		debugfs_create_atomic_t("swap_potentially", 0400, dir,
					&page_hva_swap_potentially);
	}
	page_hva_sites_init(dir);
	return 0;
}
late_initcall(page_hva_debug_init);
