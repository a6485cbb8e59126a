// SPDX-License-Identifier: GPL-2.0
/*
 * Page host virtual assist: debugfs
 *
 * page_hva/state: pages of all memory by usage and content state
 * page_hva/settle: writing to it makes volatile at once what would be later
 * page_hva/late_ms: for how long pages have to be left alone, at least
 * page_hva/skip:  make_stable hooks by name, and whether each is switched off
 *		   (CONFIG_PAGE_HVA_DEBUG)
 * page_hva/lru_cache_disable: 1 disables the LRU batches of all CPUs, 0 enables
 *		   them again (CONFIG_PAGE_HVA_DEBUG)
 */
#define pr_fmt(fmt) "page_hva: " fmt

#include <linux/debugfs.h>
#include <linux/memblock.h>
#include <linux/init.h>
#include <linux/memory_hotplug.h>
#include <linux/mm.h>
#include <linux/mutex.h>
#include <linux/page_hva.h>
#include <linux/sched.h>
#include <linux/seq_file.h>
#include <linux/swap.h>
#include <linux/uaccess.h>
#include "page_hva.h"

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

#ifdef CONFIG_PAGE_HVA_DEBUG
unsigned long page_hva_skipped;

static const char * const site_name[PAGE_HVA_NR_SITES] = {
	[PAGE_HVA_SITE_LOOKUP]		= "lookup",
	[PAGE_HVA_SITE_SWAP_LOOKUP]	= "swap_lookup",
	[PAGE_HVA_SITE_READ]		= "read",
	[PAGE_HVA_SITE_SHORT_READ]	= "short_read",
	[PAGE_HVA_SITE_READ_AGAIN]	= "read_again",
	[PAGE_HVA_SITE_FAULT]		= "fault",
	[PAGE_HVA_SITE_COPY]		= "copy",
	[PAGE_HVA_SITE_WP_SHARED]	= "wp_shared",
	[PAGE_HVA_SITE_GUP]		= "gup",
	[PAGE_HVA_SITE_GUP_FAST]	= "gup_fast",
	[PAGE_HVA_SITE_MLOCK]		= "mlock",
	[PAGE_HVA_SITE_MIGRATE]		= "migrate",
	[PAGE_HVA_SITE_COLLAPSE]	= "collapse",
	[PAGE_HVA_SITE_SPLIT]		= "split",
	[PAGE_HVA_SITE_HAND_OVER]	= "hand_over",
	[PAGE_HVA_SITE_FREE]		= "free",
	[PAGE_HVA_SITE_SWEEP]		= "sweep",
	[PAGE_HVA_SITE_RECLAIM]		= "reclaim",
	[PAGE_HVA_SITE_UNUSED]		= "unused",
	[PAGE_HVA_SITE_SWAP_FREE]	= "swap_free",
	[PAGE_HVA_SITE_SWAP_WRITE]	= "swap_write",
	[PAGE_HVA_SITE_READ_END]	= "read_end",
	[PAGE_HVA_SITE_CANDIDATE]	= "candidate",
	[PAGE_HVA_SITE_PRIVATE]		= "private",
	[PAGE_HVA_SITE_IN_CORE]		= "in_core",
	[PAGE_HVA_SITE_REFAULT]		= "refault",
	[PAGE_HVA_SITE_SWAP_IN]		= "swap_in",
	[PAGE_HVA_SITE_SWAP_DIRTY]	= "swap_dirty",
	[PAGE_HVA_SITE_TOUCH_USER]	= "touch_user",
};

/**
 * page_hva_report_dirty - a volatile folio is marked dirty
 * @folio: the folio
 *
 * Its content may be gone by the time it is written back.  Potentially volatile
 * folios are marked in advance of a store, by GUP for MADV_POPULATE_WRITE; the
 * store itself sets the change bit.
 */
void page_hva_report_dirty(struct folio *folio)
{
	if (folio_test_hva_writable(folio))
		return;
	WARN_ONCE(1, "page_hva: volatile pfn %lx is marked dirty, flags %lx\n",
		  folio_pfn(folio), folio->flags);
}

static int skip_show(struct seq_file *m, void *v)
{
	int site;

	for (site = 0; site < PAGE_HVA_NR_SITES; site++)
		seq_printf(m, "%s %s\n", site_name[site],
			   page_hva_skip(site) ? "off" : "on");
	return 0;
}

static int skip_open(struct inode *inode, struct file *file)
{
	return single_open(file, skip_show, NULL);
}

/* Switch off the hooks named in @list, a comma separated list. */
static int skip_parse(char *list)
{
	char *word;

	while ((word = strsep(&list, ",\n ")) != NULL) {
		int site;

		if (!*word)
			continue;
		site = match_string(site_name, PAGE_HVA_NR_SITES, word);
		if (site < 0)
			return site;
		WRITE_ONCE(page_hva_skipped, page_hva_skipped | BIT(site));
		pr_warn("hook %s is switched off: data will be lost\n", word);
	}
	return 0;
}

static ssize_t skip_write(struct file *file, const char __user *buf,
			  size_t count, loff_t *ppos)
{
	char list[256];
	int rc;

	if (count >= sizeof(list))
		return -EINVAL;
	if (copy_from_user(list, buf, count))
		return -EFAULT;
	list[count] = 0;
	rc = skip_parse(list);
	return rc ? rc : count;
}

static const struct file_operations skip_fops = {
	.owner		= THIS_MODULE,
	.open		= skip_open,
	.read		= seq_read,
	.write		= skip_write,
	.llseek		= seq_lseek,
	.release	= single_release,
};

static int __init skip_setup(char *list)
{
	if (skip_parse(list))
		pr_err("page_hva_skip= names a hook that does not exist\n");
	return 1;
}
__setup("page_hva_skip=", skip_setup);

/*
 * A batch of folios on their way to the LRU has a reference to each, and a
 * folio with a foreign reference does not turn volatile.  That helps a page
 * fault to make progress by luck; without the batches, only the rules do.
 * Memory offlining and contiguous allocation disable them as well, for a while.
 */
static bool lru_disabled;
static DEFINE_MUTEX(lru_disabled_mutex);

static int lru_disabled_get(void *data, u64 *val)
{
	*val = READ_ONCE(lru_disabled);
	return 0;
}

static int lru_disabled_set(void *data, u64 val)
{
	if (val > 1)
		return -EINVAL;
	mutex_lock(&lru_disabled_mutex);
	if (val && !lru_disabled)
		lru_cache_disable();
	else if (!val && lru_disabled)
		lru_cache_enable();
	WRITE_ONCE(lru_disabled, val);
	mutex_unlock(&lru_disabled_mutex);
	return 0;
}
DEFINE_DEBUGFS_ATTRIBUTE(lru_disabled_fops, lru_disabled_get, lru_disabled_set,
			 "%llu\n");
#endif /* CONFIG_PAGE_HVA_DEBUG */

static int __init page_hva_debug_init(void)
{
	struct dentry *dir;

	if (!page_hva_enabled())
		return 0;
	dir = debugfs_create_dir("page_hva", NULL);
	debugfs_create_file("state", 0400, dir, NULL, &state_fops);
	debugfs_create_file("settle", 0200, dir, NULL, &settle_fops);
	debugfs_create_u32("late_ms", 0600, dir, &page_hva_late_ms);
#ifdef CONFIG_PAGE_HVA_DEBUG
	debugfs_create_file("skip", 0600, dir, NULL, &skip_fops);
	debugfs_create_file_unsafe("lru_cache_disable", 0600, dir, NULL,
				   &lru_disabled_fops);
#endif
	return 0;
}
late_initcall(page_hva_debug_init);
